"""Whole processes that end TLS: names, reloads, tickets, redirects, floods of handshakes; PROXY protocol in and out."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import pytest
import trustme
from aiohttp import web

from shield.wire import proxy_protocol
from shield.wire.proxy_protocol import Ends, Header, write
from tests.integration.conftest import Shield

SOME = Ends("203.0.113.9", 4711, "198.51.100.1", 443)
REQUEST = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


class Authority:
    """Issues certificates into files, as [[tls.certificates]] wants them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()

    def issue(self, file: str, *names: str) -> dict[str, Path]:
        issued = self._authority.issue_cert(*names)
        chain, key = self._folder / f"{file}.pem", self._folder / f"{file}.key"
        key.write_bytes(issued.private_key_pem.bytes())
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return {"chain": chain, "key": key}

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


class Connection:
    """A client, in a thread of its own since its socket blocks. `header` comes before TLS."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None,
        name: str | None = "a.example",
        header: bytes = b"",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.sock: Any = socket.create_connection(("127.0.0.1", port), 10)
        self.sock.sendall(header)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname=name, session=session)

    def ask(self, request: bytes = REQUEST) -> http.client.HTTPResponse:
        self.sock.sendall(request)
        response = http.client.HTTPResponse(self.sock)
        response.begin()
        response.read()
        return response

    def close(self) -> None:
        self.sock.close()


async def connect(*arguments: Any, **options: Any) -> Connection:
    return await asyncio.to_thread(Connection, *arguments, **options)


async def names_shown(port: int, context: ssl.SSLContext, name: str) -> list[str]:
    """Those in the certificate for a client that asks for `name`."""
    context.check_hostname = False
    connection = await connect(port, context, name)
    try:
        return [text for _, text in connection.sock.getpeercert()["subjectAltName"]]
    finally:
        connection.close()


async def test_names_reload_and_connections_that_outlive_it(
    start: Callable[..., Awaitable[Shield]], serve: Any, site: web.Application, authority: Authority
) -> None:
    shield = await start(
        tls={"certificates": [authority.issue("a", "a.example"), authority.issue("b", "b.example", "*.b.example")]},
        upstream={"servers": [await serve(site)]},
    )
    context = authority.client()
    kept = await connect(shield.port, context)
    assert (await asyncio.to_thread(kept.ask)).status == 200
    assert await names_shown(shield.port, context, "x.b.example") == ["b.example", "*.b.example"]
    assert await names_shown(shield.port, context, "other.example") == ["a.example"]

    authority.issue("a", "a.example", "new.example")
    loaded = await shield.logged("certificate_loaded", within=20)
    assert loaded["names"] == ["a.example", "new.example"]
    assert await names_shown(shield.port, context, "new.example") == ["a.example", "new.example"]
    assert (await asyncio.to_thread(kept.ask)).status == 200, "open connections are left alone"

    (authority._folder / "b.pem").write_text("half a file")
    await shield.logged("certificate_not_loaded", within=20, effect="the old one stays")
    assert await names_shown(shield.port, context, "b.example") == ["b.example", "*.b.example"]
    kept.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_sessions_are_resumed_by_one_and_the_same_client(
    start: Callable[..., Awaitable[Shield]], serve: Any, site: web.Application, authority: Authority, version: Any
) -> None:
    shield = await start(
        tls={"certificates": [authority.issue("a", "a.example"), authority.issue("b", "b.example")]},
        upstream={"servers": [await serve(site)]},
    )
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    for name in ("a.example", "b.example"):
        first = await connect(shield.port, context, name)
        assert (await asyncio.to_thread(first.ask)).status == 200  # and the tickets with it
        session = first.sock.session
        first.close()
        again = await connect(shield.port, context, name, session=session)
        assert again.sock.session_reused
        assert (await asyncio.to_thread(again.ask)).status == 200
        again.close()
    status = await shield.until(lambda status: status["handshakes"]["resumed"] == 2)
    assert status["handshakes"]["completed"] == 2
    text = (await shield.asked("/metrics"))[1]
    assert 'shield_tls_handshakes_total{outcome="resumed"} 2.0' in text
    assert 'shield_tls_handshakes_total{outcome="rate"} 0.0' in text
    await shield.logged("request", count=4)
    assert len({line["client"] for line in shield.seen("request")}) == 1, "the ticket is no part of who it is"


async def test_redirect_and_hsts(
    start: Callable[..., Awaitable[Shield]], serve: Any, site: web.Application, authority: Authority
) -> None:
    async def token(_: web.Request) -> web.Response:
        return web.Response(text="proof")

    site.router.add_get("/.well-known/acme-challenge/token", token)
    shield = await start(
        tls={
            "certificates": [authority.issue("a", "a.example")],
            "redirect_from": ["127.0.0.1:0"],
            "redirect_port": 8443,
            "acme": True,
            "hsts": 63072000,
        },
        upstream={"servers": [await serve(site)]},
    )
    secure = await connect(shield.port, authority.client())
    answer = await asyncio.to_thread(secure.ask)
    assert answer.getheader("Strict-Transport-Security") == "max-age=63072000"
    secure.close()

    plain = int((await shield.logged("started"))["redirect_from"][0].rpartition(":")[2])
    connection = await connect(plain, None)

    async def ask(host: str, path: str) -> http.client.HTTPResponse:
        return await asyncio.to_thread(connection.ask, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    answer = await ask("a.example", "/page?x=1")
    assert (answer.status, answer.getheader("Location")) == (308, "https://a.example:8443/page?x=1")
    assert answer.getheader("Strict-Transport-Security") is None
    assert (await ask("evil.example", "/")).status == 421
    answer = await ask("a.example", "/.well-known/acme-challenge/token")
    assert answer.status == 200
    assert answer.getheader("Strict-Transport-Security") is None
    connection.close()


async def test_workers(
    start: Callable[..., Awaitable[Shield]], serve: Any, site: web.Application, authority: Authority
) -> None:
    shield = await start(
        listen={"workers": 2},
        tls={"certificates": [authority.issue("a", "a.example")], "redirect_from": ["127.0.0.1:0"]},
        upstream={"servers": [await serve(site)]},
    )
    context = authority.client()
    for _ in range(4):
        secure = await connect(shield.port, context)
        assert (await asyncio.to_thread(secure.ask)).status == 200
        secure.close()
    plain = int((await shield.logged("started"))["redirect_from"][0].rpartition(":")[2])
    connection = await connect(plain, None)
    assert (await asyncio.to_thread(connection.ask)).status == 308
    connection.close()
    status = await shield.until(lambda status: status["handshakes"]["completed"] == 4)
    assert len(status["workers"]) == 2


@pytest.mark.slow
async def test_a_flood_of_handshakes_is_survived_by_everybody_else(
    start: Callable[..., Awaitable[Shield]], serve: Any, site: web.Application, authority: Authority
) -> None:
    """Whole hellos from one address, as fast as they go and never finished, 64 at once."""
    shield = await start(
        tls={
            "certificates": [authority.issue("a", "a.example")],
            "handshakes": 32,
            "handshake_rate": {"rate": 50, "burst": 100},
        },
        upstream={"servers": [await serve(site)]},
    )
    context = authority.client()
    wire, nowhere = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(nowhere, wire, server_hostname="a.example").do_handshake()
    hello = wire.read()
    loop = asyncio.get_running_loop()
    tries = 0

    async def attack() -> None:
        nonlocal tries
        while tries < 3000:
            tries += 1
            with contextlib.suppress(OSError), socket.socket() as sock:
                sock.setblocking(False)
                sock.bind(("127.0.0.66", 0))
                await loop.sock_connect(sock, ("127.0.0.1", shield.port))
                await loop.sock_sendall(sock, hello)
                async with asyncio.timeout(0.2):
                    while await loop.sock_recv(sock, 4096):
                        pass

    attackers = [asyncio.create_task(attack()) for _ in range(64)]
    for _ in range(20):
        honest = await connect(shield.port, context)
        assert (await asyncio.to_thread(honest.ask)).status == 200
        honest.close()
    await asyncio.gather(*attackers, return_exceptions=True)
    status = await shield.until(lambda status: status["connections"]["open"] == 0)
    handshakes = status["handshakes"]
    assert handshakes["completed"] == 20
    assert handshakes["rate"] > 1500
    files = shield.files()
    assert files < 60, "all sockets were returned"


class ProxiedOrigin:
    """Reads a PROXY header, and one request after the other."""

    def __init__(self) -> None:
        self.headers: list[Header] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while isinstance(header := proxy_protocol.read(data), int):
                data += await reader.readexactly(1)
            self.headers.append(header)
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_proxy_protocol_in_and_out(
    start: Callable[..., Awaitable[Shield]], authority: Authority, version: Any, secure: bool
) -> None:
    async with ProxiedOrigin() as origin:
        shield = await start(
            listen={"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True},
            tls={"certificates": [authority.issue("a", "a.example")] if secure else []},
            upstream={"servers": [origin.url], "proxy_protocol": version, "health_interval": 3600},
        )
        context = authority.client() if secure else None
        client = await connect(shield.port, context, header=write(version, SOME))
        for _ in range(2):
            assert (await asyncio.to_thread(client.ask)).status == 200
        client.close()
        assert [header.ends for header in origin.headers if header.ends] == [SOME] * 2
        await shield.logged("request", count=2, address=SOME.source)

        without = await connect(shield.port, None)
        with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
            await asyncio.to_thread(without.ask)
        without.close()
        status = await shield.until(lambda status: status["faults"]["proxy_header"] == 1)
        assert status["faults"]["proxy_header"] == 1
        await shield.logged("fault", fault="proxy_header", address="127.0.0.1")
