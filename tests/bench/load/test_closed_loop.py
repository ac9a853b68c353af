"""The closed loop: every request is sent, answered and counted, by wrk as by our own generator."""

from __future__ import annotations

import asyncio
import sys
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
from bench.load import closed_loop, generators, websocket
from bench.load.plan import Plan, Result, merged, share
from bench.origins import small_origin
from bench.peers.plan import Certificate
from tests.bench.serving import SMALL, listening, server_context


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
            plan = Plan(guard.Target("127.0.0.1", port), connections=7, seconds=5, requests=200, close=close)
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
            plan = Plan(guard.Target("127.0.0.1", port), connections=2, seconds=5, requests=20, body=10_240)
            result = await closed_loop.Generator(plan).run()
        assert (result.requests, seen, result.statuses) == (20, 20 * 10_240, {"200": 20})

    async def test_a_download_is_counted_in_bytes(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            where = guard.Target("127.0.0.1", port, "/bytes/300000")
            result = await closed_loop.Generator(Plan(where, connections=2, seconds=5, requests=10)).run()
        assert result.requests == 10
        assert 3_000_000 < result.bytes < 3_010_000

    async def test_a_run_by_time_ends_and_says_how_fast(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            plan = Plan(guard.Target("127.0.0.1", port), connections=2, seconds=0.1)
            result = await closed_loop.Generator(plan).run()
        assert result.requests > 2
        assert result.rate == pytest.approx(result.requests / result.seconds)
        assert sum(result.statuses.values()) == result.requests

    async def test_a_refusal_after_the_time_is_not_counted(self) -> None:
        """With thousands of connections there were more refusals than answers: -326 answers/s."""

        class Late(small_origin.Origin):
            def data_received(self, data: bytes) -> None:
                asyncio.get_running_loop().call_later(0.3, super().data_received, data)

        async with listening(lambda: Late(SMALL.replace(b"200 OK", b"503 No"))) as port:
            plan = Plan(guard.Target("127.0.0.1", port), connections=2, seconds=0.1)
            result = await closed_loop.Generator(plan).run()
        assert (result.requests, result.refused, result.statuses) == (0, 0, {})

    async def test_a_server_that_is_gone_is_a_failure(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            pass
        result = await closed_loop.Generator(Plan(guard.Target("127.0.0.1", port), connections=3, seconds=1)).run()
        assert (result.requests, result.failed) == (0, 3)


class TestTls:
    @pytest.mark.parametrize("close", [False, True])
    async def test_every_connection_makes_a_full_handshake_of_tls_1_3(self, close: bool, made: Certificate) -> None:
        handshakes: list[tuple[str | None, bool]] = []

        class Secure(small_origin.Origin):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                seen: Any = transport.get_extra_info("ssl_object")
                handshakes.append((seen.version(), seen.session_reused))
                super().connection_made(transport)

        async with listening(lambda: Secure(SMALL), server_context(made)) as port:
            where = guard.Target("127.0.0.1", port, tls=True)
            plan = Plan(where, connections=3, seconds=5, requests=30, close=close)
            result = await closed_loop.Generator(plan).run()
        assert (result.requests, result.failed, result.statuses) == (30, 0, {"200": 30})
        assert handshakes == [("TLSv1.3", False)] * (30 if close else 3)

    async def test_a_server_without_tls_is_a_failure(self) -> None:
        async with listening() as port:
            where = guard.Target("127.0.0.1", port, tls=True)
            result = await closed_loop.Generator(Plan(where, connections=2, seconds=1, requests=2)).run()
        assert (result.requests, result.failed) == (0, 2)


class TestVaried:
    async def test_no_two_requests_have_the_same_cookie(self) -> None:
        seen: list[bytes] = []

        class Noting(small_origin.Origin):
            def data_received(self, data: bytes) -> None:
                seen.append(data)
                super().data_received(data)

        async with listening(lambda: Noting(SMALL)) as port:
            where = guard.Target("127.0.0.1", port)
            for varied, different in ((True, 20), (False, 1)):
                seen.clear()
                plan = Plan(where, connections=2, seconds=5, requests=20, varied=varied)
                assert (await closed_loop.Generator(plan).run()).requests == 20
                assert len(set(seen)) == different
                assert len({len(request) for request in seen}) == 1

    @pytest.mark.skipif(not generators.have_wrk(), reason="wrk is not on PATH")
    async def test_wrk_does_the_same(self) -> None:
        seen: set[bytes] = set()
        number = 0

        class Noting(small_origin.Origin):
            def data_received(self, data: bytes) -> None:
                nonlocal number
                number += 1
                seen.add(data)
                super().data_received(data)

        async with listening(lambda: Noting(SMALL)) as port:
            plan = Plan(guard.Target("127.0.0.1", port), connections=4, seconds=1, varied=True)
            result = await asyncio.to_thread(generators.with_wrk, plan, frozenset(own_cores()[:2]))
        assert result.requests > 4
        assert len(seen) == number
        assert {len(request) for request in seen} == {len(closed_loop.Generator(plan).render())}


class TestGenerators:
    """Several of our own side by side are one."""

    def test_they_share_the_work(self) -> None:
        assert share(20_000, 3) == [6667, 6667, 6666]
        assert share(0, 2) == [0, 0]

    def test_what_they_saw_is_added_up(self) -> None:
        one = Result(10, 1.0, 100, 1, 2, 0.1, 0.5, {"200": 9, "429": 1})
        other = Result(30, 2.0, 300, 0, 0, 0.3, 0.4, {"200": 30})
        assert merged([one, other]) == Result(40, 2.0, 400, 1, 2, 0.2, 0.5, {"200": 39, "429": 1})

    def test_both_ways_of_making_load_send_the_number(self, tmp_path: Path) -> None:
        (port,) = free_ports(1)
        with running([]) as started:
            argv = [sys.executable, "-m", "bench.origins.small_origin", "--port", str(port)]
            started.append(launch("origin", argv, tmp_path, frozenset(own_cores())))
            wait_until_answers(started[0], port)
            cores = frozenset(own_cores()[:2])
            plan = Plan(guard.Target("127.0.0.1", port), connections=4, seconds=10, requests=101)
            assert generators.with_own(plan, cores).statuses == {"200": 101}
            echo = Plan(guard.Target("127.0.0.1", port, "/echo"), connections=4, seconds=10, requests=50)
            assert websocket.run(echo, cores).requests == 50
