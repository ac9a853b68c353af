"""The clients against Shield itself, where everybody is challenged."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from shield.solving.challenge import Budget
from tests.integration import conftest as processes
from tests.solving.conftest import ByAiohttp, ByAsyncHttpx, ByHttpx, Node, Serve

warm, launch, start = processes.warm, processes.launch, processes.start


async def test_each_client_gets_in(start: Any, serve: Serve, node: Node | None) -> None:
    async def origin(request: web.Request) -> web.Response:
        return web.Response(body=await request.read() or b"in")

    challenge = {"mode": "always", "least_hashes": 256, "most_hashes": 1024}
    shield = await start(upstream={"servers": [await serve(origin)]}, challenge=challenge)
    for kind in (ByHttpx, ByAsyncHttpx, ByAiohttp):
        client = kind(agent=f"{kind.__name__}/1", budget=Budget(seconds=20))  # who has paid is known by its program
        assert await client.ask("PUT", shield.url("/some"), b"body") == (200, b"body")
        assert await client.ask("GET", shield.url("/more")) == (200, b"in")
        await client.close()
    clients = 3
    if node is not None:
        assert await node.call(shield.url("/some"), method="PUT", body="body") == [[200, "body"]]
        assert await node.call(shield.url("/more")) == [[200, "in"]]
        clients = 4
    assert (await shield.status())["challenges"] == {"minted": clients, "redeemed": {"accepted": clients}}
