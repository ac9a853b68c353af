"""How a client comes to speak HTTP/2: by ALPN over TLS, or because it knows (h2c); never by Upgrade."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from shield.accept.certificate_files import CertificateSettings
from shield.accept.tls import TlsSettings
from shield.http.settings import HttpSettings
from tests.client.h2.peer import ACK, PREFACE, SETTINGS, Frames, Peer, frame, headers, request, settings
from tests.harness import Shield, get, reply, shielded, soon

H2 = HttpSettings(h2=True)


class Authority:
    """Issues the certificate of a.example, and trusts it."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("a.example")
        chain, key = folder / "chain.pem", folder / "key.pem"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        self.settings = TlsSettings((CertificateSettings(str(chain), str(key)),), hsts=300)
        self._authority = authority

    def context(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class TlsClient:
    """A client over TLS, as Peer uses one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.buffer = bytearray()
        self.protocol = writer.get_extra_info("ssl_object").selected_alpn_protocol()

    @classmethod
    async def open(cls, shield: Shield, context: ssl.SSLContext) -> TlsClient:
        return cls(*await asyncio.open_connection("127.0.0.1", shield.port, ssl=context, server_hostname="a.example"))

    async def feed(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def more(self) -> bool:
        data = await self._reader.read(262_144)
        self.buffer += data
        return bool(data)

    def close(self) -> None:
        self._writer.close()


async def _peer(client: TlsClient) -> Peer:
    peer = Peer(client)  # type: ignore[arg-type]
    peer.connection.initiate_connection()
    await peer.flush()
    return peer


def _https(path: str = "/", *fields: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name, b"https" if name == b":scheme" else value) for name, value in request(path, *fields)]


async def test_it_is_the_first_choice_over_tls(authority: Authority) -> None:
    page = reply(b"page", "Content-Type: text/html", "Cache-Control: private")
    async with shielded({"/": page}, tls=authority.settings, http=H2) as (shield, origin):
        client = await TlsClient.open(shield, authority.context("http/1.1", "h2"))
        assert client.protocol == "h2"
        peer = await _peer(client)
        shield.engine.grants = {"/": "token"}
        answer = await peer.ask(_https("/", ("user-agent", "test")))
        assert (answer.status, answer.body) == (200, b"page")
        assert answer.get("strict-transport-security") == "max-age=300"
        assert "token" in (answer.get("set-cookie") or "")
        assert (await origin.got()).get("X-Forwarded-Proto") == "https"
        await soon(lambda: shield.log.requests)
        assert (shield.log.versions, shield.log.programs[0][:1]) == (["2"], "t")
        assert shield.engine.programs[0] != ""
        client.close()


async def test_a_scheme_that_lies_is_refused_over_tls_too(authority: Authority) -> None:
    async with shielded(tls=authority.settings, http=H2) as (shield, origin):
        client = await TlsClient.open(shield, authority.context("h2"))
        peer = await _peer(client)
        number = await peer.begin(request())
        assert (await peer.answer(number)).reset == 1
        assert origin.requests == []
        client.close()


@pytest.mark.parametrize("offered", [("http/1.1",), ()], ids=["http/1.1", "nothing"])
async def test_who_does_not_offer_it_speaks_http_1(authority: Authority, offered: tuple[str, ...]) -> None:
    async with shielded(tls=authority.settings, http=H2) as (shield, _):
        client = await TlsClient.open(shield, authority.context(*offered))
        await client.feed(get("/", "Connection: close"))
        while await client.more():
            pass
        assert client.buffer.startswith(b"HTTP/1.1 200 ")
        client.close()


async def test_it_can_be_turned_off(authority: Authority) -> None:
    async with shielded(tls=authority.settings, http=HttpSettings(h2=False)) as (shield, _):
        client = await TlsClient.open(shield, authority.context("h2", "http/1.1"))
        assert client.protocol == "http/1.1"
        client.close()
        with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset, as the loop has it
            await TlsClient.open(shield, authority.context("h2"))


async def test_an_upload_and_a_download_over_tls(authority: Authority) -> None:
    body = bytes(range(256)) * 4000
    async with shielded(tls=authority.settings, http=H2) as (shield, origin):
        client = await TlsClient.open(shield, authority.context("h2"))
        peer = await _peer(client)
        said = [*_https("/up", ("content-length", str(len(body))))]
        said[0] = (b":method", b"POST")
        assert (await peer.ask(said, body)).status == 200
        assert (await origin.got()).body == body
        client.close()


# without TLS


@pytest.mark.parametrize("slowly", [False, True], ids=["whole", "by byte"])
async def test_prior_knowledge(slowly: bool) -> None:
    async with shielded(h2c=True) as (shield, origin):
        frames = Frames(await shield.client())
        data = PREFACE + settings() + frame(SETTINGS, ACK, 0) + headers(request("/a"))
        await frames.send(data, slowly=slowly)
        told = await frames.until(lambda told: told.answered)
        assert (told.answered, told.goaways) == ([1], [])
        assert (await origin.got()).target == "/a"
        assert (shield.metrics.connections_total, shield.metrics.connections_open) == (1, 1)
        assert len(shield.crowding) == len(shield.connections) == 1
        await frames.settled()
        frames.close()
        await soon(lambda: len(shield.connections) == 0)
        assert (len(shield.crowding), shield.metrics.connections_open) == (0, 0)


async def test_the_same_port_speaks_http_1() -> None:
    async with shielded(h2c=True) as (shield, _), await shield.client() as client:
        assert (await client.ask(get("/"))).status == 200
        answer = await client.ask(b"PRI * HTTP/2.0\r\n\r\n")  # behind a request it is no preface
        assert answer.status == 505


async def test_without_h2c_the_preface_is_another_version() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        assert (await client.ask(PREFACE)).status == 505


@pytest.mark.parametrize("h2c", [False, True])
async def test_nobody_is_upgraded(h2c: bool) -> None:
    async with shielded(h2c=h2c) as (shield, origin), await shield.client() as client:
        fields = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
        assert (await client.ask(get("/", *fields))).status == 200
        got = await origin.got()
        assert (got.get("Upgrade"), got.get("HTTP2-Settings"), got.get("Connection")) == (None, None, None)


async def test_what_comes_in_place_of_the_rest_of_the_preface_ends_it() -> None:
    async with shielded(h2c=True) as (shield, origin):
        frames = Frames(await shield.client())
        await frames.send(b"PRI * HTTP/2.0\r\n\r\n" + b"GET /evil HTTP/1.1\r\nHost: a.example\r\n\r\n")
        told = await frames.until(lambda told: told.closed)
        assert told.goaways == [1]
        assert origin.requests == []
        frames.close()
