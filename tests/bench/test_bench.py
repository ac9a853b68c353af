"""The bench itself: it refuses to leave loopback, its statistics are right, its origin and load do what they say."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import heapq
import importlib.util
import itertools
import json
import math
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from bench.__main__ import main
from bench.common import guard
from bench.common.processes import (
    ask,
    free_ports,
    group_resident_bytes,
    launch,
    own_cores,
    pinned,
    running,
    share_out,
    wait_until_answers,
)
from bench.common.stats import Sample, median, quantile, ratio_of_rounds, recovery, sliding_p95, spread
from bench.load import attackers, closed_loop, open_loop, users
from bench.origins import capacity_origin, known_origin, small_origin
from bench.peers import PEERS, contender, nginx, shield
from bench.peers.plan import Limits, Setup
from bench.plots import report
from bench.suites import contest, latency, memory, micro, throughput
from bench.suites.workloads import WORKLOADS
from shield.config.load import load as load_config
from shield.config.settings import Config
from shield.operator.exposition import registry
from shield.operator.metrics import Metrics


class TestGuard:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "127.255.255.254", "::1", "localhost"])
    def test_loopback_is_let_through(self, host: str) -> None:
        assert guard.loopback(host) in {host, "127.0.0.1"}

    @pytest.mark.parametrize(
        "host",
        ["10.0.0.1", "128.0.0.1", "126.255.255.255", "0.0.0.0", "192.168.1.1", "::", "::2", "::ffff:127.0.0.1",
         "fe80::1", "example.org", "localhost.example.org", "127.0.0.1.example.org", "127.1", "2130706433", ""],
    )  # fmt: skip
    def test_everything_else_is_refused(self, host: str) -> None:
        with pytest.raises(guard.Refused):
            guard.loopback(host)

    @pytest.mark.parametrize(
        "url",
        ["http://10.0.0.1:80/", "https://127.0.0.1:443/", "http://127.0.0.1/", "http://127.0.0.1:0/", "127.0.0.1:80",
         "http://127.0.0.1:80@10.0.0.1:80/", "http://user@127.0.0.1:80/", "http://127.0.0.1:99999/",
         "http://127.0.0.1:80/a b", "http://127.0.0.1:80/\N{SNOWMAN}"],
    )  # fmt: skip
    def test_a_target_is_plain_http_on_loopback(self, url: str) -> None:
        with pytest.raises(guard.Refused):
            guard.target(url)

    def test_a_target_keeps_path_and_query(self) -> None:
        assert guard.target("http://[::1]:8080/a?b=c").url == "http://[::1]:8080/a?b=c"
        assert guard.target("http://localhost:8080") == guard.Target("127.0.0.1", 8080, "/")

    @pytest.mark.parametrize(
        ("tool", "extra"),
        [
            (closed_loop.main, []),
            (open_loop.main, ["--rate", "1"]),
            (users.main, ["--plan", "plan.json", "--out", "out.json"]),
            (attackers.main, ["--plan", "plan.json", "--out", "out.json"]),
        ],
    )
    def test_no_tool_sends_load_elsewhere(
        self,
        tool: Callable[[], None],
        extra: list[str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["tool", "--target", "http://192.0.2.1:80/", *extra])
        with pytest.raises(SystemExit) as stopped:
            tool()
        assert stopped.value.code == 2
        assert "127.0.0.0/8 and ::1 only, not to 192.0.2.1" in capsys.readouterr().err

    @pytest.mark.parametrize("tool", [small_origin.main, capacity_origin.main, known_origin.main])
    def test_no_origin_listens_elsewhere(
        self, tool: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["tool", "--host", "0.0.0.0", "--port", "1", "--side-port", "2"])
        with pytest.raises(SystemExit):
            tool()
        assert "not to 0.0.0.0" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "arguments",
        [
            ["throughput", "--rounds", "0"],
            ["throughput", "--seconds", "3600"],
            ["throughput", "--seconds", "nan"],
            ["throughput", "--peers", "somebody"],
            ["throughput", "--workloads", "everything"],
            ["latency", "--seconds", "0"],
            ["memory", "--clients", "1000000000"],
            ["memory", "--connections", "100000"],
            ["micro", "--repeats", "0"],
            ["micro", "--cases", "breathing"],
            ["all", "--suites", "none"],
            ["attack", "--rate", "1000000"],
            ["attack", "--scenes", "the internet"],
            ["attack", "--seconds", "86400"],
            ["attack", "--target", "http://127.0.0.1:80/"],
            ["sing"],
            [],
        ],
    )
    def test_what_is_out_of_bounds_is_refused(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert "error:" in capsys.readouterr().err


class TestStatistics:
    def test_quantile_is_the_nearest_rank(self) -> None:
        values = list(range(100, 0, -1))
        assert [quantile(values, q) for q in (0.0, 0.5, 0.95, 1.0)] == [1, 50, 95, 100]
        assert quantile([7.0], 0.99) == 7.0
        assert math.isnan(quantile([], 0.5))

    def test_rounds_are_compared_in_pairs(self) -> None:
        # The machine halves its speed in the second round: the ratio does not see it.
        assert ratio_of_rounds([200.0, 100.0, 220.0], [100.0, 50.0, 100.0]) == 2.0
        assert spread([90.0, 100.0, 110.0]) == pytest.approx(0.2)
        assert median([]) != median([])  # NaN

    def test_p95_slides_and_counts_failures_as_patience(self) -> None:
        good = [Sample(t / 10, 0.1, True) for t in range(100)]
        assert {p95 for _, p95 in sliding_p95(good, 0.0, 10.0, 10.0)} == {0.1}
        # Refused at once, between seconds 4 and 5: fast, and as bad as an answer that never came.
        refused = [Sample(s.meant, 0.001, False) if 4 <= s.meant < 5 else s for s in good]
        points = dict(sliding_p95(refused, 0.0, 10.0, 10.0))
        assert points[4.5] == points[5.0] == points[6.75] == 10.0
        assert points[3.75] == points[7.0] == 0.1

    def test_p95_says_nothing_of_few_samples(self) -> None:
        assert sliding_p95([Sample(1.0, 0.1, True)] * 4, 0.0, 3.0, 10.0) == []

    def recovered(self, latency: Callable[[float], float], bound: float = 0.5) -> float | None:
        """When users are back whose requests at second t of a 30 s attack take latency(t); calm ones take 0.1 s."""
        samples = [Sample(t / 10, latency(t / 10) if t >= 0 else 0.1, True) for t in range(-50, 300)]
        points = sliding_p95(samples, 0.0, 30.0, 10.0)
        return recovery(points, samples, 0.0, 30.0, bound, 10.0).seconds

    def test_recovery_is_when_the_windows_after_the_onset_are_below_the_bound_again(self) -> None:
        assert self.recovered(lambda t: 0.1) == 0.0
        assert self.recovered(lambda t: 3.0) is None
        # Slow until second 3; the last slow request leaves the 2 s window at 4.9 less what a p95 forgives.
        assert self.recovered(lambda t: 3.0 if t < 3 else 0.1) == pytest.approx(5.0, abs=0.25)
        assert self.recovered(lambda t: 3.0 if 1 <= t < 3 else 0.1) == pytest.approx(5.0, abs=0.25)

    def test_a_late_bunch_of_clicks_is_no_onset_but_a_late_collapse_is_no_recovery(self) -> None:
        assert self.recovered(lambda t: 3.0 if 12 <= t < 12.5 else 0.1) == 0.0
        assert self.recovered(lambda t: 3.0 if 12 <= t < 20 else 0.1) == pytest.approx(22.0, abs=0.25)
        assert self.recovered(lambda t: 3.0 if t < 3 or t > 20 else 0.1) is None

    @pytest.mark.parametrize("number", [2, 3, 4, 8])
    def test_the_proxy_has_a_core_to_itself(self, number: int) -> None:
        cores = share_out(range(number))
        assert len(cores.proxy) == 1
        assert cores.load
        assert cores.origin
        assert not cores.proxy & (cores.load | cores.origin)
        assert (cores.load == cores.origin) == (number == 2)

    def test_a_table_is_aligned_and_json_has_no_nan(self) -> None:
        assert report.table(["", "rate"], [["a", "1"], ["long", "10,000"]]).splitlines() == [
            "|      |   rate |",
            "| ---- | -----: |",
            "| a    |      1 |",
            "| long | 10,000 |",
        ]
        assert report.clean({"a": [math.nan, math.inf, 1.5]}) == {"a": [None, None, 1.5]}
        assert report.figure(math.nan) == "-"


@contextlib.asynccontextmanager
async def listening(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def say(port: int, *pieces: bytes) -> bytes:
    """Everything that comes back until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


SMALL = small_origin.render(b"hello")
CLOSE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class TestOrigin:
    @pytest.mark.parametrize(
        ("request_bytes", "answers"),
        [
            ([CLOSE], 1),
            ([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + CLOSE], 2),
            ([b"GET / HTTP/1.1\r\nHo", b"st: x\r\n\r\n" + CLOSE], 2),
            ([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234", b"56789" + CLOSE], 2),
            (
                [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n" + CLOSE],
                2,
            ),
        ],
    )
    async def test_each_request_has_one_answer(self, request_bytes: list[bytes], answers: int) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            assert await say(port, *request_bytes) == SMALL * answers

    async def test_sizes_and_head(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            answer = await say(port, CLOSE.replace(b"GET / ", b"GET /bytes/70000 "))
            assert len(answer.partition(b"\r\n\r\n")[2]) == 70_000
            assert await say(port, CLOSE.replace(b"GET", b"HEAD")) == SMALL[: -len(b"hello")]
            assert b"Content-Length: 0\r\n" in await say(port, CLOSE.replace(b"GET / ", b"GET /bytes/9e9 "))


class TestLoad:
    @pytest.mark.parametrize("close", [False, True])
    async def test_a_run_by_number_sends_exactly_that_number(self, close: bool) -> None:
        seen = 0

        class Counting(small_origin.Origin):
            def data_received(self, data: bytes) -> None:
                nonlocal seen
                seen += data.count(b"GET / ")
                super().data_received(data)

        async with listening(lambda: Counting(SMALL)) as port:
            plan = closed_loop.Plan(
                guard.Target("127.0.0.1", port), connections=7, seconds=5, requests=200, close=close
            )
            result = await closed_loop.Generator(plan).run()
        assert (result.requests, seen, result.failed, result.statuses) == (200, 200, 0, {"200": 200})
        assert 0 < result.p50 <= result.p99

    async def test_a_body_is_sent_whole_and_read_whole(self) -> None:
        seen = 0

        class Counting(small_origin.Origin):
            def on_body(self, body: bytes) -> None:
                nonlocal seen
                seen += len(body)

        async with listening(lambda: Counting(SMALL)) as port:
            plan = closed_loop.Plan(guard.Target("127.0.0.1", port), connections=2, seconds=5, requests=20, body=10_240)
            result = await closed_loop.Generator(plan).run()
        assert (result.requests, seen, result.statuses) == (20, 20 * 10_240, {"200": 20})

    async def test_a_download_is_counted_in_bytes(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            where = guard.Target("127.0.0.1", port, "/bytes/300000")
            result = await closed_loop.Generator(closed_loop.Plan(where, connections=2, seconds=5, requests=10)).run()
        assert result.requests == 10
        assert 3_000_000 < result.bytes < 3_010_000

    async def test_a_run_by_time_ends_and_says_how_fast(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            plan = closed_loop.Plan(guard.Target("127.0.0.1", port), connections=2, seconds=0.1)
            result = await closed_loop.Generator(plan).run()
        assert result.requests > 2
        assert result.rate == pytest.approx(result.requests / result.seconds)
        assert sum(result.statuses.values()) - result.requests <= 2  # those under way when the time was up

    async def test_a_server_that_is_gone_is_a_failure(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            pass
        result = await closed_loop.Generator(
            closed_loop.Plan(guard.Target("127.0.0.1", port), connections=3, seconds=1)
        ).run()
        assert (result.requests, result.failed) == (0, 3)


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
            argv = [sys.executable, "-m", "bench.origins.known_origin", "--port", str(port), setting, "--seconds", "15"]
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

    def row(self, peer: str, number: int, seconds: float, **change: Any) -> dict[str, Any]:
        late = dataclasses.asdict(open_loop.Lateness(*[1e-6] * 6))
        found = {"peer": peer, "round": number, "rate": 100, "late": late, "failed": 0, "refused": 0, "foreign": 0.01}
        return {**found, "thrown_out": None, **dict.fromkeys(open_loop.QUANTILES, seconds), **change}

    def test_what_a_proxy_adds_is_taken_within_a_round(self) -> None:
        # The machine is slow in round 1, for both.
        rows = [
            self.row("direct", 0, 0.001),
            self.row("shield", 0, 0.003),
            self.row("shield", 1, 0.012),
            self.row("direct", 1, 0.010),
            self.row("shield", 1, 0.5, thrown_out="the generator was late"),
        ]
        found = latency.summary(rows)
        assert found["shield"]["added"]["p99"] == pytest.approx(0.002)
        assert found["direct"]["added"]["p99"] == 0.0

    def test_failures_lost_rounds_and_a_busy_machine_are_problems(self) -> None:
        good = self.row("shield", 0, 0.001)
        assert latency.judge([good], 1) == []
        for change in ({"failed": 1}, {"refused": 1}, {"foreign": 0.5}, {"thrown_out": "late"}):
            assert len(latency.judge([good | change], 1)) == 1, change
        assert latency.judge([good | {"thrown_out": "late"}, good], 1) == []  # it was played again

    def test_a_proxy_that_seems_to_be_faster_than_none_is_a_problem(self) -> None:
        rows = [
            self.row(peer, 0, seconds, rate=rate)
            for rate in (100, 200, 300)
            for peer, seconds in (("direct", 0.001), ("shield", 0.002), ("envoy", 0.0005 if rate == 200 else 0.002))
        ]
        (problem,) = latency.judge(rows, 1)
        assert problem.startswith("Envoy, local_ratelimit adds less than nothing")

    def test_a_generator_that_measures_wrongly_is_a_problem(self) -> None:
        def checks(delay: float, stall: float, carried: float) -> dict[str, dict[str, float]]:
            return {
                "delay": {"expected": 0.002, "measured": delay},
                "stall": {"expected": 0.09, "measured": stall},
                "overload": {"expected": 10_000.0, "measured": carried},
            }

        assert latency.judge_checks(checks(0.00205, 0.088, 9500.0)) == []
        assert latency.judge_checks(checks(0.00205, 0.088, math.nan)) == []  # a machine too fast to be overloaded
        for wrong in ((0.0015, 0.09, 1e4), (0.0025, 0.09, 1e4), (math.nan, 0.09, 1e4), (0.002, 0.004, 1e4)):
            assert len(latency.judge_checks(checks(*wrong))) == 1
        assert len(latency.judge_checks(checks(0.00205, 0.09, 5000.0))) == 1

    def test_shield_is_held_against_envoy_at_half_load(self) -> None:
        def at(shield: float, envoy: float) -> list[dict[str, Any]]:
            peers = {name: {"added": {"p99": added}} for name, added in (("shield", shield), ("envoy", envoy))}
            return [{"share": 0.25, "peers": {}}, {"share": 0.5, "peers": peers}]

        assert latency.held_against_envoy(at(0.002, 0.001)) == []
        assert len(latency.held_against_envoy(at(0.0021, 0.001))) == 1
        assert len(latency.held_against_envoy(at(math.nan, 0.001))) == 1
        assert latency.held_against_envoy(at(0.001, -0.001)) == []  # judge() says that noise hides it
        assert latency.held_against_envoy([{"share": 0.5, "peers": {"shield": {}}}]) == []


class TestPeers:
    def setup_for(self, folder: Path, limits: Limits, window: float | None = None) -> Setup:
        return Setup(folder, 8081, 8082, 8083, limits, 4, window)

    @pytest.mark.parametrize("limits", list(Limits))
    @pytest.mark.parametrize("window", [None, 2.0])
    def test_shield_takes_the_config_that_the_bench_writes(
        self, limits: Limits, window: float | None, tmp_path: Path
    ) -> None:
        shield.plan(self.setup_for(tmp_path, limits, window))
        loaded = load_config(str(tmp_path / "shield.toml"))
        assert loaded.upstream.max_concurrency == 4
        assert (loaded.history.window == 2.0) == (window is not None)
        if limits is Limits.SENSIBLE:
            assert loaded.limits == Config().limits
            assert loaded.log == Config().log

    def test_shield_challenges_everybody_when_told(self, tmp_path: Path) -> None:
        setup = dataclasses.replace(self.setup_for(tmp_path, Limits.OUT_OF_REACH), challenge=True)
        assert 'challenge.mode = "always"' in shield.plan(setup).says
        assert load_config(str(tmp_path / "shield.toml")).challenge.mode == "always"

    @pytest.mark.parametrize("name", [name for name in PEERS if name not in {"direct", "shield"}])
    def test_a_peer_is_complete(self, name: str, tmp_path: Path) -> None:
        peer = PEERS[name]
        if why := peer.missing():
            pytest.skip(why)
        plan = peer.plan(self.setup_for(tmp_path, Limits.OUT_OF_REACH))
        assert plan.port == 8081
        assert Path(plan.argv[0]).is_file()
        assert (plan.says == "") == (name == "aiohttp")

    def test_a_peer_is_waited_for_until_its_configuration_is_loaded(self, tmp_path: Path) -> None:
        (port,) = free_ports(1)
        code = (
            "import http.server\n"
            "class Handler(http.server.BaseHTTPRequestHandler):\n"
            "    asked = 0\n"
            "    def do_GET(self):\n"
            "        Handler.asked += 1\n"
            "        self.send_response(404 if Handler.asked < 3 else 200)\n"
            "        self.end_headers()\n"
            f"http.server.HTTPServer(('127.0.0.1', {port}), Handler).serve_forever()\n"
        )
        with running([]) as started:
            started.append(launch("late", [sys.executable, "-c", code], tmp_path, frozenset(own_cores())))
            wait_until_answers(started[0], port, unready=404)
            assert ask(port)[0] == 200
            assert started[0].wrote().count("404") == 2

    def test_nginx_accepts_its_config(self, tmp_path: Path) -> None:
        if why := nginx.missing():
            pytest.skip(why)
        for limits in Limits:
            plan = nginx.plan(self.setup_for(tmp_path, limits))
            done = subprocess.run([*plan.argv, "-t"], capture_output=True, text=True, check=False)
            assert "test is successful" in done.stderr, done.stderr

    def test_shields_counters_are_read_as_shield_writes_them(self) -> None:
        metrics = Metrics()
        metrics.verdicts["forward"]["ok"] += 5
        metrics.verdicts["limit"]["client_rate"] += 3
        text = generate_latest(registry(metrics.families)).decode()
        assert contest.gained({}, contender.verdicts(text)) == {"forward/ok": 5.0, "limit/client_rate": 3.0}

    def test_processes_are_counted_and_ended_with_their_children(self, tmp_path: Path) -> None:
        code = (
            "import subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "end = time.process_time() + 0.1\n"
            "while time.process_time() < end: pass\n"
            "print(child.pid, flush=True); time.sleep(60)\n"
        )
        with running([]) as started:
            process = launch("spin", [sys.executable, "-c", code], tmp_path, frozenset(own_cores()))
            started.append(process)
            deadline = time.monotonic() + 10
            while not process.wrote().strip() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert process.cpu_seconds() >= 0.05
            child = int(process.wrote())
        assert process.popen.returncode is not None
        deadline = time.monotonic() + 10  # the kernel needs a moment; what is left may be a zombie until init looks
        while time.monotonic() < deadline and (left := self.state(child)) not in {"", "Z"}:
            time.sleep(0.01)
        assert left in {"", "Z"}

    def state(self, pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return ""

    def test_ports_differ(self) -> None:
        assert len(set(free_ports(20))) == 20

    def test_pinning_replaces_itself_by_the_command(self) -> None:
        assert pinned(["wrk", "-t1"], frozenset({1, 0}))[-2:] == ["wrk", "-t1"]


class TestJudgement:
    """A fast wrong answer is no answer, and the bench says so."""

    def judge(self, result: closed_loop.Result, counted: dict[str, float] | None) -> list[str]:
        bench = contest.Contest(
            WORKLOADS["proxied"], share_out([0, 1]), 1.0, False, None, 0  # type: ignore[arg-type]
        )  # fmt: skip
        return bench.judge(contender.Contender("shield", "Shield", "", 1, None, (2, "/metrics")), result, counted)

    def result(self, requests: int, refused: int = 0) -> closed_loop.Result:
        return closed_loop.Result(requests, 1.0, 1, refused, 0, 0.001, 0.002)

    def test_the_metrics_have_to_show_what_was_sent(self) -> None:
        assert self.judge(self.result(1000), {"forward/ok": 1000.0}) == []
        assert self.judge(self.result(1000), {"forward/ok": 1064.0}) == []  # one under way on each connection
        assert len(self.judge(self.result(1000), {"forward/ok": 1065.0})) == 1
        assert self.judge(self.result(1000), {"forward/ok": 1000.0, "queue/at_capacity": 70.0}) == []
        assert len(self.judge(self.result(1000), {"forward/ok": 999.0})) == 1

    def test_refusals_where_none_are_due_are_a_problem(self) -> None:
        assert len(self.judge(self.result(1000, refused=1), {"forward/ok": 999.0, "limit/client_rate": 1.0})) == 1


class TestMicro:
    @pytest.mark.parametrize("name", list(micro.CASES))
    async def test_a_case_times_what_its_title_says(self, name: str) -> None:
        # The cases check that themselves: an engine that decides otherwise fails here.
        batch = micro.CASES[name].make()
        assert batch(5) >= 0.0
        assert batch(5) >= 0.0

    def test_the_table_has_every_case_and_all_is_one_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("pyperf", reason="it comes with the bench extra")
        few = ["--processes", "1", "--repeats", "2", "--cases", "gcra", "refusal"]
        assert main(["micro", *few, "--json", str(tmp_path / "m.json")]) == 0
        table = capsys.readouterr().out
        assert "one GCRA check" in table
        assert (tmp_path / "m.md").read_text() in table + "\n"
        results = json.loads((tmp_path / "m.json").read_text())
        assert [len(case["repeats"]) for case in results["cases"].values()] == [2, 2]
        assert all(0 < case["least"] <= case["median"] for case in results["cases"].values())
        assert not report.stem("all").endswith(("-", "all"))

    def test_what_costs_too_much_is_told(self) -> None:
        case = {"title": "decide()", "median": 6.1, "wanted": 6.0}
        assert micro.judge({"a": case, "b": case | {"median": 5.9}, "c": case | {"wanted": None}}) == [
            "decide(): 6.10 µs, at most 6 are wanted"
        ]

    def test_without_pyperf_it_says_so(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        assert main(["micro"]) == 1
        assert "pyperf is not installed" in capsys.readouterr().err

    def test_a_suite_that_fails_does_not_keep_the_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def broken(_: object) -> None:
            raise RuntimeError("no such core")

        monkeypatch.setattr(throughput, "play", broken)
        monkeypatch.setattr(micro, "play", lambda arguments: {"suite": "micro", "cases": {}, "problems": []})
        monkeypatch.setattr(micro, "markdown", lambda results: "# micro")
        json_file = tmp_path / "all.json"
        assert main(["all", "--suites", "throughput", "micro", "--json", str(json_file)]) == 1
        told = capsys.readouterr().out
        assert "throughput failed: no such core" in told
        assert "not to quote" not in told
        assert json.loads(json_file.read_text())["suites"]["micro"]["suite"] == "micro"
        assert main(["all", "--quick", "--suites", "micro", "--json", str(json_file)]) == 0
        assert "not to quote" in json_file.with_suffix(".md").read_text()


class TestMemory:
    def test_every_client_is_one_of_its_own(self) -> None:
        addresses = {memory.address(number) for number in range(250_000)}
        assert len(addresses) == 250_000
        assert len({address.rpartition(".")[0] for address in addresses}) == 2500
        assert memory.address(memory.MANY + memory.WARM - 1) == "10.39.25.100"

    def test_clients_in_the_tables_are_those_that_were_driven(self) -> None:
        said: list[int] = []
        row = memory.in_a_process(1000, said.append)
        assert said == [0]
        connections = {"wanted": 5, "connections": 5, "readings": [{"open": 1}, {"open": 6, "step": "silent"}]}
        assert memory.judge([row], connections) == []
        # Some of it lies in pages that the warm-up had touched already; 100,000 tell more.
        assert 0 <= row["bytes"] < 10_000
        assert 200 < sum(row["tables"][name]["claimed"] for name in memory.CLAIMED) < 2000

    def test_figures_of_fewer_clients_or_connections_are_problems(self) -> None:
        tables = {"addresses": {"entries": 10, "claimed": 1.0}, "clients": {"entries": 9, "claimed": 1.0}}
        connections = {"wanted": 6, "connections": 5, "readings": [{"open": 0}, {"open": 4, "step": "silent"}]}
        assert len(memory.judge([{"clients": 10, "tables": tables}], connections)) == 3

    def test_more_bytes_than_wanted_are_told(self) -> None:
        clients = [{"clients": 1000, "bytes": 749.0}, {"clients": 2000, "bytes": 751.0}]
        connections = {"silent": 8000.0, "used": 9000.0}
        assert memory.held_against_wanted(clients, connections) == [
            "with 2,000 clients, each takes 751 bytes, at most 750 are wanted",
            "a connection that is idle after a request takes 9,000 bytes, at most 8,192 are wanted",
        ]

    def test_an_exchange_ends_with_the_answer(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(SMALL)
            memory.exchange([ours])
            assert theirs.recv(1000) == memory.REQUEST
            theirs.sendall(SMALL.replace(b"200 OK", b"503 No"))
            with pytest.raises(RuntimeError, match="503"):
                memory.exchange([ours])

    def test_resident_bytes_are_those_of_the_session(self, tmp_path: Path) -> None:
        code = "import time; held = b'x' * 50_000_000; print('there', flush=True); time.sleep(60)"
        with running([]) as started:
            started.append(launch("holder", [sys.executable, "-c", code], tmp_path, frozenset(own_cores())))
            deadline = time.monotonic() + 10
            while not started[0].wrote().strip() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert 50_000_000 < group_resident_bytes(started[0].pid) < 100_000_000


class TestPlots:
    """Each plot takes what its suite writes."""

    def test_all_suites_are_drawn_beside_one_file(self, tmp_path: Path) -> None:
        plot = pytest.importorskip("bench.plots.plot", reason="matplotlib is not installed", exc_type=ImportError)
        turns = [{"rate": rate, "bytes_per_second": 1e6 * rate} for rate in (9.0, 11.0)]
        peer = {"title": "Shield", "rate": 10.0, "bytes_per_second": 1e7, "turns": turns}
        peers = {"direct": peer, "shield": peer}
        workload = {"title": "Proxied", "unit": "requests", "transfer": False, "peers": peers}
        case = {"title": "one GCRA check", "median": 0.5, "wanted": 1.0}
        added = {"added": dict.fromkeys(open_loop.QUANTILES, 0.001)}
        rates = [{"rate": rate, "peers": {"direct": added, "shield": added}} for rate in (100, 200)]
        suites = {
            "throughput": {
                "suite": "throughput",
                "workloads": {"proxied": workload, "download": {**workload, "transfer": True}},
            },
            "latency": {"suite": "latency", "rates": rates, "titles": {"direct": "origin alone", "shield": "Shield"}},
            "memory": {
                "suite": "memory",
                "clients": [{"clients": 1000, "bytes": 700.0}],
                "connections": {"connections": 10, "silent": 3000.0, "used": 5000.0},
                "wanted": memory.WANTED,
            },
            "micro": {"suite": "micro", "cases": {"gcra": case, "parse": {**case, "title": "parse", "wanted": None}}},
        }
        names = plot.draw({"suite": "all", "suites": suites}, tmp_path / "day.json")
        assert {Path(name).name for name in names} == {
            f"day-all-{suite}.{kind}" for suite in suites for kind in ("png", "svg")
        }
        assert all(Path(name).stat().st_size > 1000 for name in names)
