"""Active health checks against real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from shield.operator.metrics import Metrics
from shield.upstream.connection import UpstreamConnection
from shield.upstream.dial import Dialer
from shield.upstream.health import probe, watch
from shield.upstream.pool import Pool
from shield.upstream.resolve import Resolver
from shield.upstream.server import Server
from shield.upstream.settings import UpstreamSettings
from tests.harness import Origin, reply


async def healthy(url: str, notes: list[str] | None = None, **settings: Any) -> bool | None:
    resolver = Resolver("", lambda: 0.0)
    told = [] if notes is None else notes
    pool = Pool(
        UpstreamSettings(**settings),
        [url],
        Metrics(),
        resolver,
        UpstreamConnection,
        lambda event, _: told.append(event),
    )
    try:
        return await probe(pool, pool.servers[0])
    finally:
        await resolver.close()


@pytest.mark.parametrize(
    ("answer", "ok"),
    [
        (reply(), True),
        (reply(b"", status="204 No Content"), True),
        (reply(b"", "Location: http://127.0.0.1:1/", status="302 Found"), True),
        (reply(status="404 Not Found"), False),
        (reply(status="503 No"), False),
        (b"SSH-2.0-x\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", False),
    ],
)
async def test_a_path_is_asked_for(answer: bytes, ok: bool) -> None:
    async with Origin({"/healthz": answer}) as origin:
        assert await healthy(origin.url, health_path="/healthz") is ok
        assert [r.target for r in origin.requests] == ["/healthz"]
        assert origin.requests[0].get("Host") == f"127.0.0.1:{origin.port}"


async def test_interim_responses_are_not_the_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    for answer, ok in ((reply(), True), (reply(status="500 No"), False), (b"HTTP/1.1 200 OK\r\nX", False)):
        async with Origin({"/": early + answer}) as origin:
            assert await healthy(origin.url, health_path="/", health_timeout=0.5) is ok
    async with Origin({"/": b"HTTP/1.1 101 No\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"}) as origin:
        assert not await healthy(origin.url, health_path="/", health_timeout=0.1)


async def test_a_path_with_a_space() -> None:
    async with Origin({"/a%20b?c=%C3%A4": reply()}) as origin:
        assert await healthy(origin.url, health_path="/a b?c=\xe4")


async def test_without_a_path_a_connection_is_enough() -> None:
    async with Origin() as origin:
        assert await healthy(origin.url)
        assert origin.requests == []
        port = origin.port
    assert not await healthy(f"http://127.0.0.1:{port}")
    assert not await healthy(f"http://127.0.0.1:{port}", health_path="/")


async def test_silence_is_not_health() -> None:
    async with Origin({"/": None}) as origin:
        assert not await healthy(origin.url, health_path="/", health_timeout=0.05)


@pytest.mark.parametrize("path", ["", "/"])
async def test_a_lack_of_descriptors_is_neither_health_nor_sickness(path: str) -> None:
    notes: list[str] = []
    async with Origin({"/": reply()}) as origin:
        for url in (origin.url, "unix:/nowhere.sock"):
            before = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))  # what is open stays so; a new one would be >= 3
            try:
                well = await healthy(url, notes, health_path=path)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            assert well is None
    assert notes == ["out_of_files"] * 2


async def test_a_unix_socket_is_checked(tmp_path: Path) -> None:
    async with Origin({"/": reply()}, path=f"{tmp_path}/a.sock") as origin:
        assert await healthy(origin.url, health_path="/")
        assert await healthy(origin.url)
    assert not await healthy(f"unix:{tmp_path}/none.sock", health_path="/")


@pytest.mark.parametrize("checked", [True, False])
async def test_a_reset_before_the_handshake_leaves_no_socket_that_would_close_another(
    checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop closes the descriptor and forgets to tell the object, which closed it again when it was collected."""
    listening = socket.create_server(("127.0.0.1", 0))
    dialled: list[socket.socket] = []

    async def dial(dialer: Dialer, *to: Any) -> socket.socket:
        sock = await connect(dialer, *to)
        listening.close()  # with the connection in its backlog, which is reset so
        dialled.append(sock)
        return sock

    connect = Dialer.dial
    monkeypatch.setattr(Dialer, "dial", dial)
    path = {"health_path": "/"} if checked else {}  # without one it connects as requests do
    assert await healthy(f"https://127.0.0.1:{listening.getsockname()[1]}", **path) is False
    (sock,) = dialled
    assert sock.fileno() == -1


async def test_https_is_verified_as_for_requests(tls: Any) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    async with Origin({"/": reply()}, context=context) as origin:
        assert await healthy(origin.url, health_path="/", ca=str(tls.authority))
        assert await healthy(origin.url, health_path="/", verify=False)
        assert not await healthy(origin.url, health_path="/")
        assert not await healthy(origin.url, health_path="/", ca=str(tls.authority), server_name="other.example")


async def test_every_address_of_a_name_is_tried_as_for_requests() -> None:
    """localhost is ::1 first on most machines; a server on 127.0.0.1 is healthy all the same."""
    async with Origin({"/": reply()}) as origin:
        resolver = Resolver("", lambda: 0.0)
        url = f"http://app.example:{origin.port}"
        pool = Pool(
            UpstreamSettings(health_path="/"),
            [url],
            Metrics(),
            resolver,
            UpstreamConnection,
            lambda event, server: None,
        )
        resolver._known["app.example"] = (1.0, ["127.0.0.2", "127.0.0.1"])
        assert await probe(pool, pool.servers[0])
        resolver._known["app.example"] = (1.0, ["127.0.0.2", "127.0.0.3"])
        assert not await probe(pool, pool.servers[0])


def watched(count: int, **settings: Any) -> tuple[Pool, list[tuple[str, str]]]:
    notes: list[tuple[str, str]] = []
    names = [f"http://127.0.0.1:{port}" for port in range(1, count + 1)]
    resolver: Any = None
    pool = Pool(
        UpstreamSettings(**settings), names, Metrics(), resolver, UpstreamConnection, lambda *note: notes.append(note)
    )
    return pool, notes


async def test_a_check_that_could_not_be_made_says_nothing() -> None:
    made, notes = watched(1, unhealthy_after=1)
    results = iter([None, None, False])
    rounds = 0

    async def probe(server: Server) -> bool | None:
        return next(results)

    async def sleep(seconds: float) -> None:
        nonlocal rounds
        rounds += 1
        assert made.servers[0].healthy == (rounds < 3)
        if rounds == 3:
            raise asyncio.CancelledError

    with contextlib.suppress(asyncio.CancelledError):
        await watch(made, probe, lambda: 0.0, sleep)
    assert [event for event, _ in notes] == ["upstream_down"]


async def test_servers_are_watched_each_round() -> None:
    made, notes = watched(2, unhealthy_after=2, health_interval=5.0)
    results = iter([(False, True), (False, True), (True, True)])
    sleeps: list[float] = []
    current: dict[str, bool] = {}

    async def probe(server: Server) -> bool:
        if server is made.servers[0]:
            current.update(zip((s.name for s in made.servers), next(results), strict=True))
        return current[server.name]

    async def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await watch(made, probe, lambda: 1.0, sleep)
    assert sleeps == [5.0] * 3
    name = made.servers[0].name
    assert notes == [("upstream_down", name), ("upstream_up", name)]
