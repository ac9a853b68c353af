"""PROXY protocol towards the upstream: whose connection each one is, and that it stays so."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from shield.accept.certificate_files import CertificateSettings
from shield.accept.tls import TlsSettings
from shield.http.forwarded import Forwarding
from shield.upstream.health import probe
from shield.upstream.settings import UpstreamSettings
from shield.wire import proxy_protocol
from shield.wire.proxy_protocol import Ends, Header, write
from tests.harness import Link, Origin, Shield, get, post, soon

SOME = Ends("203.0.113.9", 4711, "198.51.100.1", 443)
TRUSTED = Forwarding(("127.0.0.1",), "x-forwarded-for")


class Proxied(Origin):
    """An origin whose connections must begin with a PROXY header; over TLS before TLS."""

    def __init__(self, *arguments: Any, inner: ssl.SSLContext | None = None, **options: Any) -> None:
        super().__init__(*arguments, preamble=self._read_header, **options)
        self.headers: list[Header] = []
        self._inner = inner

    async def _read_header(self, link: Link) -> None:
        data = b""
        while isinstance(found := proxy_protocol.read(data), int):
            data += await link.reader.readexactly(1)
        self.headers.append(found)
        if self._inner is not None:
            await link.writer.start_tls(self._inner)


def ends_of(client: Any) -> Ends:
    """As the client itself sees its connection."""
    return Ends(*client.sock.getsockname()[:2], *client.sock.getpeername()[:2])


def upstream(version: Any, **options: Any) -> UpstreamSettings:
    return UpstreamSettings(proxy_protocol=version, **options)


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_each_request_has_a_connection_that_begins_with_its_client(version: str) -> None:
    async with Proxied() as origin, Shield(origin.url, upstream=upstream(version)) as shield:
        async with await shield.client() as one, await shield.client(source="127.0.0.7") as other:
            expected = []
            for client in (one, other, one):
                assert (await client.ask(get("/1"))).body == b"GET /1"
                assert (await client.ask(post("/2", b"x" * 100_000))).body == b"POST /2"
                expected += [ends_of(client)] * 2
            assert [header.ends for header in origin.headers] == expected
        assert len(origin.links) == len(origin.requests) == 6
        assert {request.get("Connection") for request in origin.requests} == {"close"}
        assert not shield.pool.servers[0].idle


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_what_a_header_has_told_is_passed_on(version: Any) -> None:
    async with (
        Proxied() as origin,
        Shield(origin.url, upstream=upstream(version), proxied=True, forwarding=TRUSTED) as shield,
        await shield.client() as client,
    ):
        await client.send(write("v2", SOME) + get("/"))
        assert (await client.response()).status == 200
        assert [header.ends for header in origin.headers] == [SOME]


async def test_of_a_client_that_a_proxy_names_only_the_address_is_known() -> None:
    async with (
        Proxied() as origin,
        Shield(origin.url, upstream=upstream("v2"), forwarding=TRUSTED) as shield,
        await shield.client() as client,
    ):
        here = ends_of(client)
        for named, told in (("192.0.2.66", "192.0.2.66"), ("2001:db8::1", "2001:db8::1")):
            assert (await client.ask(get("/", f"X-Forwarded-For: {named}"))).status == 200
            ends = origin.headers[-1].ends
            assert ends is not None
            assert (ends.source, ends.source_port, ends.destination_port) == (told, 0, here.destination_port)


async def test_tls_on_both_sides(tls: Any) -> None:
    inner = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    inner.load_cert_chain(tls.certificate, tls.key)
    settings = TlsSettings((CertificateSettings(str(tls.certificate), str(tls.key)),))
    async with Proxied(inner=inner) as origin:
        url = f"https://localhost:{origin.port}"
        towards = upstream("v2", ca=str(tls.authority))
        async with Shield(url, upstream=towards, tls=settings) as shield:
            context = ssl.create_default_context(cafile=str(tls.authority))
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", shield.port, ssl=context, server_hostname="localhost"
            )
            writer.write(get("/1"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            ours, theirs = (writer.get_extra_info(name)[:2] for name in ("sockname", "peername"))
            assert [header.ends for header in origin.headers] == [Ends(*ours, *theirs)]
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("path", ["", "/healthz"])
async def test_checks_are_connections_of_our_own(version: str, path: str) -> None:
    async with Proxied() as origin, Shield(origin.url, upstream=upstream(version, health_path=path)) as shield:
        assert await probe(shield.pool, shield.pool.servers[0])
        await soon(lambda: len(origin.headers) == 1)
        assert origin.headers[0].ends is None
        assert [request.target for request in origin.requests] == ([path] if path else [])
