"""What is behind Shield comes and goes: servers die and return, names move, certificates are right or wrong."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

Client = Callable[..., aiohttp.ClientSession]

FREE = {"allow": ["127.0.0.0/8"]}
"""Limits are not what is tried here."""


def named(name: str, seconds: float = 0.0) -> web.Application:
    """A site that says which of several it is."""

    async def say(_: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(text=name)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", say)
    return app


async def ask(session: aiohttp.ClientSession, shield: Any, method: str = "GET") -> str:
    """What the server said, or the status if it is an error."""
    async with session.request(method, shield.url("/"), headers={"Accept": "application/json"}) as response:
        text = await response.text()
        return text if response.status == 200 else str(response.status)


async def burst(session: aiohttp.ClientSession, shield: Any, times: int) -> Counter[str]:
    return Counter(await asyncio.gather(*(ask(session, shield) for _ in range(times))))


async def test_a_server_that_dies_is_not_noticed_and_returns_slowly(
    start: Callable[..., Any], serve: Any, client: Client
) -> None:
    urls = [await serve(named(name, 0.02)) for name in "abc"]
    shield = await start(
        upstream={
            "servers": urls,
            "health_interval": 0.2,
            "unhealthy_after": 2,
            "eject_after": 2,
            "eject_seconds": 1,
            "slow_return": 60,
        },
        identity=FREE,
    )
    session = client()
    got = await burst(session, shield, 90)
    assert set(got) == set("abc")
    assert max(got.values()) < 60, "all of them work"

    await serve.stop(urls[0])
    down = asyncio.create_task(shield.logged("upstream_down", server=urls[0]))
    while not down.done():
        assert set(await burst(session, shield, 20)) <= set("abc"), "its requests are tried elsewhere"
    await down
    assert set(await burst(session, shield, 30)) == set("bc")
    status = await shield.status()
    assert [server["healthy"] for server in status["upstream"]] == [False, True, True]
    assert (await shield.asked("/readyz"))[0] == 200

    assert await serve(named("a", 0.02), port=int(urls[0].rpartition(":")[2])) == urls[0]
    await shield.logged("upstream_up", server=urls[0])
    got = Counter[str]()
    async with asyncio.timeout(30):
        while not got["a"]:
            got += await burst(session, shield, 60)
    assert set(got) == set("abc")
    assert got["a"] < got.total() / 6, "a third is its share, later"

    for url in urls:
        await serve.stop(url)
    await shield.until(lambda status: not any(server["healthy"] for server in status["upstream"]))
    assert (await shield.asked("/readyz"))[0] == 503
    assert (await shield.asked("/healthz"))[0] == 200
    async with session.get(shield.url("/"), headers={"Accept": "application/json"}) as response:
        assert response.status == 503
        assert response.headers["Retry-After"]
        assert (await response.json(content_type=None))["reason"] == "upstream_unavailable"


async def test_a_server_that_answers_with_errors_is_ejected_and_tried_again(
    start: Callable[..., Any], serve: Any, client: Client
) -> None:
    broken = True

    async def sometimes(_: web.Request) -> web.Response:
        return web.Response(status=503 if broken else 200, text="bad")

    bad = web.Application()
    bad.router.add_get("/", sometimes)
    urls = [await serve(bad), await serve(named("good"))]
    shield = await start(
        upstream={"servers": urls, "eject_after": 3, "eject_seconds": 0.5, "slow_return": 0.1}, identity=FREE
    )
    session = client()
    async with asyncio.timeout(30):
        while not shield.seen("upstream_ejected", server=urls[0]):
            assert await ask(session, shield) in ("503", "good")
        broken = False
        while await ask(session, shield) != "bad":
            pass


async def test_a_unix_socket(start: Callable[..., Any], serve: Any, client: Client, tmp_path: Path) -> None:
    url = await serve(named("behind a file"), unix=tmp_path / "app.sock")
    shield = await start(upstream={"servers": [url], "health_path": "/healthz", "health_interval": 0.1})
    session = client()
    assert await ask(session, shield) == "behind a file"
    assert await ask(session, shield, "POST") == "behind a file"
    await serve.stop(url)
    assert await ask(session, shield) == "502"
    await shield.logged("upstream_down")
    assert await ask(session, shield) == "503"


async def test_https_is_verified_unless_told_otherwise(
    start: Callable[..., Any], serve: Any, client: Client, tls: Any
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    url = await serve(named("secret"), tls=context)

    async def outcome(**settings: Any) -> tuple[str, str, bool]:
        """What a client gets, what the log says, and what a health check finds."""
        shield = await start(
            upstream={
                "servers": [url],
                "health_path": "/",
                "health_interval": 0.1,
                "unhealthy_after": 100 if "health" not in settings else 1,
                **{key: value for key, value in settings.items() if key != "health"},
            }
        )
        got = await ask(client(), shield)
        error = (await shield.logged("upstream_connect_failed"))["error"] if got == "502" else ""
        return got, error, bool((await shield.status())["upstream"][0]["healthy"])

    right, unknown, wrong, trusting, checked = await asyncio.gather(
        outcome(ca=tls.authority),
        outcome(),
        outcome(ca=tls.authority, server_name="other.example"),
        outcome(verify=False),
        outcome(ca=tls.authority, health=True),
    )
    assert right == ("secret", "", True)
    assert trusting == ("secret", "", True)
    assert checked == ("secret", "", True)
    assert unknown[0] == wrong[0] == "502"
    assert "unable to get local issuer certificate" in unknown[1]
    assert "other.example" in wrong[1]


class Names(asyncio.DatagramProtocol):
    """A name server that knows one IPv4 address for every name, for one second."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.where = ""
        self.asked = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        end = data.index(b"\0", 12) + 5
        kind = struct.unpack(">H", data[end - 4 : end - 2])[0]
        record = b""
        if kind == 1:  # A; there are no others
            self.asked += 1
            record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + bytes(map(int, self.address.split(".")))
        head = data[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, bool(record), 0, 0)
        self.transport.sendto(head + data[12:end] + record, peer)


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    """That name server, listening at `names.where`."""
    names = Names("127.0.0.2")
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: names, ("127.0.0.1", 0))
    names.where = "127.0.0.1:{}".format(transport.get_extra_info("sockname")[1])
    yield names
    transport.abort()
    await asyncio.sleep(0)


async def test_a_name_is_followed_when_it_moves(
    start: Callable[..., Any], serve: Any, client: Client, names: Names
) -> None:
    """Also while the server at the old address lives on and connections to it are in use."""
    old = await serve(named("old"), host="127.0.0.2")
    port = int(old.rpartition(":")[2])
    await serve(named("new"), host="127.0.0.3", port=port)
    shield = await start(
        upstream={"servers": [f"http://app.test:{port}"], "resolver": names.where, "health_interval": 0.2},
        identity=FREE,
    )
    session = client()
    assert await ask(session, shield) == "old"
    names.address = "127.0.0.3"
    async with asyncio.timeout(30):
        while await ask(session, shield) != "new":
            await shield.status()
    assert set(await burst(session, shield, 20)) == {"new"}
    assert names.asked < 10, "an answer is kept as long as it says"
    names.transport.abort()  # the last answer is better than none
    assert set(await burst(session, shield, 20)) == {"new"}


async def test_nobody_there(start: Callable[..., Any], client: Client) -> None:
    shield = await start(
        upstream={"servers": ["http://127.0.0.1:1", "http://nowhere.invalid:80"], "unhealthy_after": 100}
    )
    got = await burst(client(), shield, 10)
    assert set(got) == {"502"}
    for server, error in (("http://127.0.0.1:1", "refused"), ("http://nowhere.invalid:80", "cannot resolve")):
        line = await shield.logged("upstream_connect_failed", server=server)
        assert error in line["error"].lower()
