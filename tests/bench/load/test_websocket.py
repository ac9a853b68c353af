"""WebSocket load: no message is lost or changed."""

from __future__ import annotations

import asyncio
from typing import Any

from bench.common import guard
from bench.load import websocket
from bench.load.plan import Plan, Result
from bench.origins import small_origin
from tests.bench.serving import SMALL, listening


class TestWebSocketLoad:
    async def play(self, port: int, **changes: Any) -> Result:
        where = guard.Target("127.0.0.1", port, "/echo")
        plan = Plan(where, **{"connections": 3, "seconds": 5.0, **changes})
        return await websocket.Generator(plan).run()

    def test_a_frame_is_masked(self) -> None:
        sent = websocket.masked(b"hello")
        assert sent[:2] == b"\x81\x85"
        assert bytes(byte ^ sent[2 + place % 4] for place, byte in enumerate(sent[6:])) == b"hello"

    async def test_a_run_by_number_sends_exactly_that_number(self) -> None:
        async with listening() as port:
            result = await self.play(port, requests=100)
        assert (result.requests, result.upgrades, result.failed, result.refused) == (100, 3, 0, 0)
        assert result.statuses == {"101": 3}
        assert 0 < result.p50 <= result.p99

    async def test_a_run_by_time_ends(self) -> None:
        async with listening() as port:
            result = await self.play(port, seconds=0.1)
        assert result.requests > 3
        assert result.failed == 0

    async def test_a_refused_upgrade_is_refused_and_failed(self) -> None:
        refusal = SMALL.replace(b"200 OK", b"429 Too Many Requests")

        class Refusing(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                self.transport.write(refusal)

        async with listening(Refusing) as port:
            result = await self.play(port)
        assert (result.requests, result.upgrades, result.failed, result.refused) == (0, 0, 3, 3)

    async def test_a_message_that_comes_back_changed_is_a_failure(self) -> None:
        class Lying(small_origin.Echo):
            def data_received(self, data: bytes) -> None:
                self.transport.write(b"\x81\x20" + b"somebody else's".ljust(32))

        class Liar(small_origin.Origin):
            def data_received(self, data: bytes) -> None:
                self.transport.write(small_origin.accepted(data))
                self.transport.set_protocol(Lying(self.transport))

        async with listening(lambda: Liar(SMALL)) as port:
            result = await self.play(port, seconds=1.0)
        assert (result.requests, result.upgrades, result.failed) == (0, 3, 3)

    async def test_a_server_that_is_gone_is_a_failure(self) -> None:
        async with listening() as port:
            pass
        result = await self.play(port)
        assert (result.requests, result.upgrades, result.failed) == (0, 0, 3)
