"""The service with a hard capacity: what it does, and what it cannot."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import pytest

from bench.origins import capacity_origin


class Clock:
    """call_later in simulated time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> None:
        heapq.heappush(self.due, (self.now + seconds, len(self.due) + id(arguments), callback, arguments))

    def run(self, until: float) -> None:
        while self.due and self.due[0][0] <= until:
            self.now, _, callback, arguments = heapq.heappop(self.due)
            callback(*arguments)
        self.now = until


class FakeExchange:
    def __init__(self, source: str, complete: bool = True, written: bool = True, waiting: bool = False) -> None:
        self.source = source
        self.waiting = waiting
        self.complete = complete
        self.written = written
        self.has_thread = False
        self.answered = 0

    def sender(self) -> str:
        return capacity_origin.class_of(self.source)

    def weight(self) -> float:
        return 1.0

    def waits(self) -> bool:
        return self.waiting

    def answer(self) -> bool:
        self.answered += 1
        return self.written


class TestCapacityOrigin:
    def rate(self, concurrency: int) -> float:
        """Served per second when so many requests are always there."""
        clock = Clock()
        service = capacity_origin.Service(4, 0.020, 64, 0.02, clock.later)

        class Again(FakeExchange):
            def answer(self) -> bool:
                clock.later(0.0, service.arrive, self)
                return True

        for _ in range(concurrency):
            service.arrive(Again("127.2.0.1"))  # type: ignore[arg-type]
        clock.run(20.0)
        assert service.most_taken == min(concurrency, 64)
        return service.served / 20.0

    def test_it_serves_200_a_second_at_its_best_and_less_beyond(self) -> None:
        assert self.rate(1) == pytest.approx(50, rel=0.05)
        assert self.rate(4) == pytest.approx(200, rel=0.05)
        assert self.rate(20) == pytest.approx(200 / 1.32, rel=0.05)
        assert self.rate(64) == pytest.approx(200 / 2.2, rel=0.05)
        assert self.rate(500) == pytest.approx(200 / 2.2, rel=0.05)

    def test_slow_bodies_and_slow_readers_hold_threads_and_do_no_work(self) -> None:
        clock = Clock()
        service = capacity_origin.Service(4, 0.020, 2, 0.02, clock.later)
        sender, reader, other = (FakeExchange("x", complete=False), FakeExchange("x", written=False), FakeExchange("x"))
        for exchange in (sender, reader, other):
            service.arrive(exchange)  # type: ignore[arg-type]
        clock.run(1.0)
        assert (service.taken, service.busy, len(service.backlog), other.answered) == (2, 0, 1, 0)
        service.release(reader)  # type: ignore[arg-type]
        clock.run(2.0)
        assert (service.taken, len(service.backlog), other.answered) == (1, 0, 1)
        service.work(sender)  # type: ignore[arg-type]
        clock.run(3.0)
        assert (service.taken, service.busy, sender.answered) == (0, 0, 1)

    def test_what_waits_holds_a_thread_and_does_no_work(self) -> None:
        clock = Clock()
        service = capacity_origin.Service(4, 0.020, 64, 0.02, clock.later)
        waits = FakeExchange("127.16.0.1", waiting=True)
        service.arrive(waits)  # type: ignore[arg-type]
        clock.run(capacity_origin.WAIT - 0.1)
        assert (service.taken, service.busy, waits.answered) == (1, 0, 0)
        clock.run(capacity_origin.WAIT + 0.1)
        assert (service.taken, waits.answered) == (0, 1)

    def test_it_says_how_late_its_timers_were(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        monkeypatch.setattr(capacity_origin.time, "monotonic", lambda: clock.now)
        service = capacity_origin.Service(4, 0.020, 64, 0.02, clock.later)
        service.tick(0.0)
        clock.run(0.6)
        assert [late for _, late in service.counters()["late"]] == pytest.approx([0.0, 0.0])
        service.tick(clock.now - 0.3)  # as it would be called, had the loop stood still
        assert service.counters()["late"] == [[0.0, pytest.approx(0.0)], [0.5, pytest.approx(0.3)]]

    def test_requests_are_counted_by_who_sent_them(self) -> None:
        service = capacity_origin.Service(4, 0.020, 64, 0.02, Clock().later)
        for source in ("127.16.0.1", "127.99.9.9", "127.2.0.1", "127.3.0.1", "127.0.0.1", "::1"):
            service.arrive(FakeExchange(source))  # type: ignore[arg-type]
        counters = service.counters()
        assert counters["arrived"] == {"attacker": 2, "user": 1, "newcomer": 1, "other": 2}
        assert sum(sum(counts.values()) for _, counts in counters["timeline"]) == 6

    def test_the_last_forwarded_address_counts_and_the_abuser_by_its_path(self) -> None:
        connection = capacity_origin.Connection(None)  # type: ignore[arg-type]
        connection.peer = "127.2.0.9"
        assert connection.exchange.source() == "127.2.0.9"
        connection.exchange.fields[b"x-forwarded-for"] = b"127.16.0.5, 127.2.0.1"
        assert connection.exchange.sender() == "user"
        connection.exchange.url = b"/abuse"
        assert connection.exchange.sender() == "attacker"
