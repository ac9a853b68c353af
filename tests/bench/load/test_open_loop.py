"""The open loop: requests leave when they are due, and latency counts from then."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import socket
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.common import guard
from bench.common.processes import (
    free_ports,
    launch,
    own_cores,
    running,
    wait_until_answers,
)
from bench.load import open_loop
from bench.origins import small_origin
from bench.suites import latency
from tests.bench.serving import SMALL, listening


class SimulatedWire:
    """A server behind as many connections as one likes, in simulated time: `answered(t)` is when it has answered what
    it was asked at t. Each poll takes 10 us; from second `late` on one takes as long as `pause`."""

    def __init__(self, answered: Callable[[float], float], late: float = math.inf, pause: float = 0.0) -> None:
        self.answered = answered
        self.late = late
        self.pause = pause
        self.now = 0.0
        self.due: list[tuple[float, int]] = []  # a heap of answers, by connection
        self.made = 0

    def clock(self) -> float:
        return self.now

    def connect(self) -> Any:
        self.made += 1
        number = self.made

        class Socket:
            fileno = staticmethod(lambda: number)
            close = staticmethod(lambda: None)
            recv = staticmethod(lambda size: SMALL)
            send = staticmethod(lambda data: heapq.heappush(self.due, (self.answered(self.now), number)))

        return Socket()

    def forget(self, connection: Any) -> None:
        raise AssertionError("nothing is lost here")

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        wake = self.now + max(timeout, 1e-5)
        self.now = max(self.now + 1e-5, min([wake, *(when for when, _ in self.due[:1])]))
        if self.now >= self.late:
            self.now, self.late = self.now + self.pause, math.inf
        found = []
        while self.due and self.due[0][0] <= self.now:
            found.append((heapq.heappop(self.due)[1], 1))
        return found


class TestOpenLoop:
    def simulated(self, wire: SimulatedWire, **plan: Any) -> tuple[open_loop.Result, open_loop.Generator]:
        made = open_loop.Plan(guard.Target("127.0.0.1", 1), **{"rate": 500.0, "seconds": 2.0, "warmup": 0.0, **plan})
        generator = open_loop.Generator(made, wire)
        return generator.run(), generator

    async def play(self, port: int, **plan: Any) -> open_loop.Result:
        made = open_loop.Plan(guard.Target("127.0.0.1", port), **{"warmup": 0.0, **plan})
        return await asyncio.to_thread(open_loop.Generator(made).run)

    def test_arrivals_are_random_and_the_same_for_everybody(self) -> None:
        times = open_loop.schedule(1000.0, 10.0, 1)
        assert times == open_loop.schedule(1000.0, 10.0, 1)
        assert times != open_loop.schedule(1000.0, 10.0, 2)
        assert len(times) == pytest.approx(10_000, rel=0.05)
        assert 0 < times[0] < times[-1] < 10
        gaps = [later - at for at, later in itertools.pairwise(times)]
        assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)  # exponential

    @pytest.mark.parametrize("spin", [False, True])
    def test_a_known_delay_is_measured_right(self, spin: bool) -> None:
        result, _ = self.simulated(SimulatedWire(lambda asked: asked + 0.003), spin=spin)
        assert (result.answered, result.waited, result.failed) == (result.due, 0, 0)
        assert result.p50 == pytest.approx(0.003, abs=2e-5)
        assert result.p999 == pytest.approx(0.003, abs=1e-4)  # two that are due at once are sent one after the other

    @pytest.mark.parametrize("connections", [1000, 8])
    def test_a_stall_is_in_the_percentiles_at_the_share_of_its_time(self, connections: int) -> None:
        """100 ms of 2 s: 5 % of the requests meet it, and 1 % of all wait longer than 80 ms, however few could be sent
        meanwhile. A closed loop of 8 connections would see it 8 times."""
        begins, ends = 0.5, 0.6

        def answered(asked: float) -> float:
            return ends if begins <= asked < ends else asked

        result, generator = self.simulated(SimulatedWire(answered), connections=connections)
        expected = [max(0.0, ends - generator.begin - due) for due in generator.dues if due >= begins - generator.begin]
        met = [latency for latency in generator.latencies if latency > 0.01]
        assert len(met) == sum(0.01 < latency < ends - begins for latency in expected)
        assert result.p99 == pytest.approx(0.08, abs=0.02)
        assert (result.waited > 30) == (connections == 8)

    def test_the_generators_own_lateness_is_told(self) -> None:
        wire = SimulatedWire(lambda asked: asked + 0.01, late=0.5, pause=0.02)
        result, _ = self.simulated(wire, spin=True)
        assert result.late.sent_p50 < 1e-4
        assert 0.015 < result.late.sent_most < 0.0201  # ten were due in those 20 ms; the first had to wait longest
        assert result.late.sent_p999 > 0.01
        assert result.late.noticed_most == pytest.approx(0.02, abs=1e-4)
        assert latency.why_thrown_out(result) is None  # 0.5 % of them: not in the p99
        wire = SimulatedWire(lambda asked: asked + 0.01, late=0.5, pause=0.1)
        result, _ = self.simulated(wire, spin=True)
        assert "late, in a p99 of" in str(latency.why_thrown_out(result))

    async def test_every_request_is_sent_and_counted(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            result = await self.play(port, rate=400, seconds=0.25, connections=4)
        due = len(open_loop.schedule(400, 0.25, 0))
        assert (result.due, result.answered, result.refused, result.failed) == (due, due, 0, 0)
        assert 0 < result.p50 <= result.p90 <= result.p99 <= result.p999

    async def test_a_warm_up_is_sent_and_not_counted(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            result = await self.play(port, rate=400, seconds=0.25, warmup=0.125)
        due = sum(at >= 0.125 for at in open_loop.schedule(400, 0.25, 0))
        assert (result.due, result.answered, result.failed) == (due, due, 0)

    def test_an_origin_that_delays_and_stalls_is_measured_in_its_own_process(self, tmp_path: Path) -> None:
        """Lower bounds only: whatever else this machine does makes it longer."""
        cores = frozenset(own_cores())
        for setting, quantile_, least in (("--delay=0.005", "p50", 0.005), ("--stall=0.1", "p99", 0.06)):
            (port,) = free_ports(1)
            argv = [sys.executable, "-m", "bench.origins.known_origin", "--port", str(port), setting, "--seconds", "60"]
            with running([]) as started:
                started.append(launch("known", argv, tmp_path, cores))
                wait_until_answers(started[0], port)
                plan = open_loop.Plan(guard.Target("127.0.0.1", port), 400, 1.0, warmup=0.0)
                result = open_loop.run(plan, cores)
            assert (result.failed, result.refused) == (0, 0)
            assert getattr(result, quantile_) >= least

    async def test_answers_in_pieces_refusals_and_closed_connections(self) -> None:
        refused = SMALL.replace(b"200 OK", b"429 No")

        class Closing(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport: Any = transport
                self.asked = 0

            def data_received(self, data: bytes) -> None:
                self.asked += 1
                if self.asked == 3:
                    self.transport.close()
                    return
                self.transport.write(refused[:30])
                asyncio.get_running_loop().call_soon(self.transport.write, refused[30:])

        async with listening(Closing) as port:
            result = await self.play(port, rate=300, seconds=0.1, connections=2)
        assert result.answered == result.refused
        # each third of either connection: n // 3 + m // 3 where n + m are due, so one less where both leave a rest
        assert result.failed in {result.due // 3, (result.due - 2) // 3}
        assert result.answered + result.failed == result.due

    def test_an_answer_is_complete_at_its_length_only(self) -> None:
        connection = open_loop.Connection(socket.socket())
        with connection.socket:
            assert [connection.feed(SMALL[at : at + 7]) for at in range(0, len(SMALL), 7)][:-1] == [0] * (
                (len(SMALL) - 1) // 7
            )
            assert connection.length == len(SMALL)
            assert connection.feed(SMALL) == 200
            for wrong in (SMALL + b"x", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
                with pytest.raises(ValueError, match="answer"):
                    connection.feed(wrong)
                connection.buffer = b""
