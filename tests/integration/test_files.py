"""Few descriptors: who is inside goes on, and nothing is blamed on the service."""

from __future__ import annotations

import asyncio
import resource
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web

Client = Callable[..., aiohttp.ClientSession]
WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: site\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def _socket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for _ in socket:
        pass
    return socket


async def test_websockets_leave_descriptors_for_new_clients_and_for_the_operator(
    launch: Callable[..., Any], serve: Callable[..., Awaitable[str]], client: Client, site: web.Application
) -> None:
    """A WebSocket has two descriptors and no slot: as many as clients were let in once took all that there were."""
    shell = shutil.which("sh")
    assert shell is not None
    site.router.add_get("/ws", _socket)
    shield = await launch(
        prefix=(shell, "-c", 'ulimit -n 400; exec "$@"', "sh"),
        upstream={"servers": [await serve(site)], "health_interval": 0.1, "unhealthy_after": 1},
        limits={"address": {"rate": 1000, "burst": 10000}, "client": {"rate": 1000, "burst": 10000}},
        listen={"max_connections_per_address": 1000, "max_connections_per_network": 1000},  # so all may be one's
    )
    await shield.begin()
    (started,) = shield.seen("started")
    limit, streams = started["connections"], started["streams"]
    assert 2 * limit <= 400 - 128
    assert 1 < streams < limit
    writers = []
    statuses = []
    try:
        for _ in range(limit - 2):
            reader, writer = await asyncio.open_connection("127.0.0.1", shield.port)
            writers.append(writer)
            writer.write(WEBSOCKET)
            async with asyncio.timeout(30):
                statuses.append(int((await reader.readuntil(b"\r\n\r\n"))[9:12]))
        assert statuses == [101] * streams + [503] * (limit - 2 - streams)
        async with client().get(shield.url("/page")) as response:
            assert response.status == 200
        status = await shield.status()
        assert (status["ready"], status["connections"]["streams"]) == (True, streams)
        assert status["faults"]["streams_full"] == statuses.count(503)
    finally:
        for writer in writers:
            writer.transport.abort()
    await shield.until(lambda status: status["connections"]["streams"] == 0)
    assert not [line for line in shield.lines if line["event"] in ("upstream_down", "out_of_files", "accepting_paused")]


async def test_without_a_descriptor_for_the_service_requests_are_503_and_the_service_is_not_down(
    start: Callable[..., Any], serve: Callable[..., Awaitable[str]], client: Client, site: web.Application
) -> None:
    shield = await start(
        upstream={
            "servers": [await serve(site), await serve(site)],
            "keep_alive_connections": 0,
            "health_interval": 0.05,
            "unhealthy_after": 1,
            "eject_after": 1,
        }
    )
    session = client(limit=1)
    async with session.get(shield.url("/page")) as response:
        assert response.status == 200  # and this connection stays
    before = resource.prlimit(shield.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(
        shield.pid, resource.RLIMIT_NOFILE, (3, before[1])
    )  # what is open stays so; a new one would be >= 3
    try:
        async with session.get(shield.url("/page")) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
        await shield.logged("request", status=503, fault="out_of_files")
        await shield.logged("out_of_files", count=10)  # most of them by health checks
    finally:
        resource.prlimit(shield.pid, resource.RLIMIT_NOFILE, before)
    async with session.get(shield.url("/page")) as response:
        assert response.status == 200
    status = await shield.status()
    assert status["ready"]
    assert [server["ejected"] for server in status["upstream"]] == [False, False]
    assert not [line for line in shield.lines if line["event"].startswith("upstream_")]
