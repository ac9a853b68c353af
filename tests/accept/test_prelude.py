"""Before HTTP: PROXY protocol headers, ClientHellos whole and in pieces, and what bounds handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import pytest

from shield.accept import arrival, handshakes, prelude
from shield.accept.certificate_files import CertificateSettings
from shield.accept.tls import TlsSettings
from shield.http.forwarded import Forwarding
from shield.policy.bucket import Rate
from shield.wire.proxy_protocol import LOCAL, MOST_V2, SIGNATURE, Ends, write
from tests.harness import Client, get, shielded, soon

SOME = Ends("203.0.113.9", 4711, "198.51.100.1", 443)
SIX = Ends("2001:db8::9", 4711, "2001:db8::1", 443)
TRUSTED = Forwarding(("127.0.0.1",), "x-forwarded-for")


def settings(tls: Any, **options: Any) -> TlsSettings:
    return TlsSettings((CertificateSettings(str(tls.certificate), str(tls.key)),), **options)


class TlsClient:
    """A client whose handshake is made by hand, over a raw connection."""

    def __init__(
        self, client: Client, tls: Any, protocols: tuple[str, ...] = ("http/1.1",), session: Any = None
    ) -> None:
        self.client = client
        context = ssl.create_default_context(cafile=str(tls.authority))
        if protocols:
            context.set_alpn_protocols(protocols)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")

    def hello(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._out.read()

    async def shake_hands(self) -> None:
        """What comes after the hello."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._receive()
        await self.client.send(self._out.read())

    async def ask(self, request: bytes) -> bytes:
        self.tls.write(request)
        await self.client.send(self._out.read())
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self._receive()

    async def _receive(self) -> None:
        if not await self.client.more():
            raise ConnectionError("closed")
        self._in.write(bytes(self.client.buffer))
        self.client.buffer.clear()


# PROXY protocol, plain


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("ends", [SOME, SIX], ids=["IPv4", "IPv6"])
async def test_the_client_is_the_one_in_the_header(version: Any, ends: Ends) -> None:
    async with shielded(proxied=True, forwarding=TRUSTED) as (shield, origin), await shield.client() as client:
        await client.send(write(version, ends) + get("/1", "X-Forwarded-For: 192.0.2.66") + get("/2"))
        for path in ("/1", "/2"):
            assert (await client.response()).body == b"GET " + path.encode()
        assert {address for address, *_ in shield.engine.identified} == {ends.source}, "which is not trusted itself"
        assert [request.get("X-Forwarded-For") for request in origin.requests] == [ends.source] * 2


async def test_a_header_byte_by_byte() -> None:
    for version in ("v1", "v2"):
        async with shielded(proxied=True, forwarding=TRUSTED) as (shield, _), await shield.client() as client:
            await client.send_slowly(write(version, SOME) + get("/1"))  # type: ignore[arg-type]
            assert (await client.response()).status == 200
            assert shield.engine.identified[0][0] == SOME.source
            assert len(shield.prelude) == 0


async def test_a_header_in_two_segments_and_a_request_much_later() -> None:
    header = write("v2", SOME)
    async with shielded(proxied=True, forwarding=TRUSTED) as (shield, _), await shield.client() as client:
        for piece in (header[:5], header[5:20], header[20:]):
            await client.send(piece)
            await asyncio.sleep(0.01)
        await soon(lambda: shield.metrics.connections_open == 1)
        await client.send(get("/"))
        assert (await client.response()).status == 200


async def test_a_large_header_with_tlvs() -> None:
    tlvs = bytes(MOST_V2 - 28)
    packed = write("v2", SOME)
    header = packed[:14] + struct.pack(">H", 12 + len(tlvs)) + packed[16:] + tlvs
    async with shielded(proxied=True, forwarding=TRUSTED) as (shield, _), await shield.client() as client:
        await client.send(header[:3000])
        await asyncio.sleep(0.01)
        await client.send(header[3000:] + get("/"))
        assert (await client.response()).status == 200


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_a_connection_of_the_proxys_own(version: str) -> None:
    async with shielded(proxied=True, forwarding=TRUSTED) as (shield, _), await shield.client() as client:
        await client.send(LOCAL[version] + get("/", "X-Forwarded-For: 192.0.2.66"))
        assert (await client.response()).status == 200
        assert shield.engine.identified[0][0] == "192.0.2.66", "it is trusted, as without a header"


async def test_a_trusted_client_behind_a_trusted_proxy() -> None:
    trusted = Forwarding(("127.0.0.1", "203.0.113.0/24"), "x-forwarded-for")
    async with shielded(proxied=True, forwarding=trusted) as (shield, _), await shield.client() as client:
        await client.send(write("v1", SOME) + get("/", "X-Forwarded-For: 192.0.2.66"))
        assert (await client.response()).status == 200
        assert shield.engine.identified[0][0] == "192.0.2.66"


@pytest.mark.parametrize(
    "data",
    [
        get("/"),
        b"PROXY TCP4 1.2.3.4\r\n" + get("/"),
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n" + get("/"),
        SIGNATURE + b"\x21\x11\xff\xff" + get("/"),
        b"\r\n\r\n" + get("/"),
    ],
)
async def test_without_a_header_a_trusted_proxy_is_cut_off(data: bytes) -> None:
    async with shielded(proxied=True, forwarding=TRUSTED) as (shield, origin), await shield.client() as client:
        await client.feed(data)
        assert await client.gone()
        assert shield.metrics.faults["proxy_header"] == 1
        assert not origin.requests
        assert not shield.engine.identified


async def test_a_header_that_ends_too_early() -> None:
    async with shielded(proxied=True, forwarding=TRUSTED) as (shield, _):
        async with await shield.client() as client:
            await client.send(b"PROXY TC")
            client.half_close()
            assert await client.gone()
        await soon(lambda: shield.metrics.faults["proxy_header"] == 1)
        async with await shield.client() as client:  # a monitor that only looks whether somebody listens
            client.half_close()
            assert await client.gone()
        assert shield.metrics.faults["proxy_header"] == 1


async def test_a_header_that_does_not_come_in_time() -> None:
    late = TlsSettings(handshake_timeout=0.05)
    async with shielded(proxied=True, forwarding=TRUSTED, tls=late) as (shield, _), await shield.client() as client:
        await client.send(b"PROXY TC")
        assert await client.gone()
        assert shield.metrics.faults["proxy_header"] == 1


@pytest.mark.parametrize("header", [write("v1", SOME), write("v2", SOME)], ids=["v1", "v2"])
async def test_nobody_else_is_believed(header: bytes) -> None:
    """RFC 9112 section 2.2 allows for one empty line before a request; version 2 begins with two."""
    other = Forwarding(("192.0.2.0/24",), "x-forwarded-for")
    async with shielded(proxied=True, forwarding=other) as (shield, origin):
        async with await shield.client() as client:
            await client.feed(header + get("/"))
            assert (await client.response()).status == 400
        async with await shield.client() as client:
            assert (await client.ask(get("/1"))).status == 200
        assert [request.target for request in origin.requests] == ["/1"]
        assert shield.engine.identified[0][0] == "127.0.0.1"


async def test_headers_are_not_read_unless_configured() -> None:
    async with shielded(forwarding=TRUSTED) as (shield, origin), await shield.client() as client:
        await client.feed(write("v1", SOME) + get("/"))
        assert (await client.response()).status == 400
        assert not origin.requests


# TLS


@pytest.mark.parametrize("version", ["", "v1", "v2"])
async def test_a_hello_byte_by_byte(tls: Any, version: Any) -> None:
    options: dict[str, Any] = {"proxied": True, "forwarding": TRUSTED} if version else {}
    async with shielded(tls=settings(tls), **options) as (shield, origin), await shield.client() as client:
        secure = TlsClient(client, tls)
        await client.send_slowly((write(version, SOME) if version else b"") + secure.hello())
        await secure.shake_hands()
        assert (await secure.ask(get("/"))).startswith(b"HTTP/1.1 200")
        source = SOME.source if version else "127.0.0.1"
        assert shield.engine.identified[0][0] == source
        assert origin.requests[0].get("Forwarded") == f"for={source};proto=https;host=a.example"
        assert len(shield.prelude) == 0


async def test_a_hello_in_several_records(tls: Any) -> None:
    async with shielded(tls=settings(tls)) as (shield, _), await shield.client() as client:
        secure = TlsClient(client, tls)
        message = secure.hello()[5:]
        pieces = [message[:1], message[1:60], message[60:]]
        for piece in pieces:
            await client.send(struct.pack(">BHH", 22, 0x0301, len(piece)) + piece)
            await asyncio.sleep(0.005)
        await secure.shake_hands()
        assert (await secure.ask(get("/"))).startswith(b"HTTP/1.1 200")


async def test_looks_are_few_however_small_the_pieces(tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = prelude.Prelude._look

    def counted(self: Any, arrived: Any) -> None:
        nonlocal looks
        looks += 1
        look(self, arrived)

    monkeypatch.setattr(prelude.Prelude, "_look", counted)
    async with shielded(tls=settings(tls)) as (shield, _), await shield.client() as client:
        secure = TlsClient(client, tls)
        data = secure.hello()
        for byte in data:
            await client.send(bytes((byte,)))
            await asyncio.sleep(0.0005)
        await secure.shake_hands()
        assert len(data) > 400
        assert looks <= 6


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x00\x05\x02\0\0\x01\0", b"\x80\x2e\x01\x00\x02", b"\x16\x03\x01\x40\x01" + b"x" * 9],
)
async def test_what_is_no_hello_is_closed_without_a_word(tls: Any, data: bytes) -> None:
    async with shielded(tls=settings(tls)) as (shield, _), await shield.client() as client:
        await client.feed(data)
        assert await client.gone()
        assert not client.buffer
        assert shield.metrics.handshakes == {"no_hello": 1}
        assert shield.metrics.connections_total == 0


@pytest.mark.parametrize("data", [get("/"), get("/", method="OPTIONS"), b"GET / ", b"DELET"])
async def test_plain_http_on_the_tls_port_is_told_where_it_is(tls: Any, data: bytes) -> None:
    async with shielded(tls=settings(tls)) as (shield, _), await shield.client() as client:
        await client.send(data)
        answer = await client.response()
        assert (answer.status, answer.get("Connection")) == (400, "close")
        assert b"https://" in answer.body
        assert await client.gone()
        assert shield.metrics.handshakes == {"no_hello": 1}
        assert shield.metrics.faults == {"http_on_tls_port": 1}
        assert shield.log.faults == ["http_on_tls_port"]
        assert shield.engine.signals == []


async def test_a_page_full_of_plain_pictures_takes_no_handshake_from_the_neighbours(tls: Any) -> None:
    """`<img src="http://site:443/1.png">` took one of the handshakes that the visitor's address has a second."""
    async with shielded(tls=settings(tls, handshake_rate=Rate(1.0, 2.0))) as (shield, _):
        for _ in range(9):
            async with await shield.client() as client:
                await client.send(get("/"))
                assert (await client.response()).status == 400
        async with await shield.client() as client:
            neighbour = TlsClient(client, tls)
            await client.send(neighbour.hello())
            await neighbour.shake_hands()
        await soon(lambda: shield.metrics.handshakes == {"no_hello": 9, "completed": 1})


async def test_a_client_with_nothing_in_common_is_told(tls: Any) -> None:
    def old(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES128-SHA")

    def strange(context: ssl.SSLContext) -> None:
        context.set_ecdh_curve("secp521r1")

    def other(context: ssl.SSLContext) -> None:
        context.set_alpn_protocols(["h3", "acme-tls/1"])

    async with shielded(tls=settings(tls)) as (shield, _):
        for change, alert in (
            (old, "HANDSHAKE_FAILURE"),
            (strange, "HANDSHAKE_FAILURE"),
            (other, "(?i)no.application.protocol"),
        ):
            context = ssl.create_default_context(cafile=str(tls.authority))
            change(context)
            with pytest.raises(ssl.SSLError, match=alert):
                await asyncio.open_connection("127.0.0.1", shield.port, ssl=context, server_hostname="localhost")
        assert shield.metrics.handshakes == {"incompatible": 3}


async def test_a_client_that_stops_in_its_hello(tls: Any) -> None:
    async with shielded(tls=settings(tls, handshake_timeout=0.05)) as (shield, _):
        for data in (b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
            async with await shield.client() as client:
                await client.send(data)
                assert await client.gone()
        assert shield.metrics.handshakes == {"timeout": 3}
        assert len(shield.prelude) == 0


async def test_a_client_that_leaves_in_its_hello(tls: Any) -> None:
    async with shielded(tls=settings(tls)) as (shield, _):
        for leave in (Client.half_close, Client.close, Client.reset):
            async with await shield.client() as client:
                await client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                await soon(lambda: len(shield.prelude) == 1)
                leave(client)
                await soon(lambda: len(shield.prelude) == 0)
        assert shield.metrics.handshakes == {"failed": 3}
        async with await shield.client():
            pass
        assert shield.metrics.handshakes == {"failed": 3}, "whoever says nothing was no handshake"


async def test_a_client_that_stops_after_its_hello(tls: Any) -> None:
    async with shielded(tls=settings(tls, handshake_timeout=0.1)) as (shield, _), await shield.client() as client:
        await client.send(TlsClient(client, tls).hello())
        await client.rest()
        await soon(lambda: shield.metrics.handshakes == {"timeout": 1} and len(shield.prelude) == 0)


class Broken:
    """A socket that was reset after its bytes had been looked at."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if flags & socket.MSG_PEEK:
            return self._sock.recv(size, flags)  # type: ignore[no-any-return]
        raise ConnectionResetError


async def test_a_reset_between_two_looks(tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = prelude.Prelude.open

    def broken(self: Any, sock: Any, peer: Any, begin: Any) -> None:
        opened(self, Broken(sock), peer, begin)  # type: ignore[arg-type]

    monkeypatch.setattr(prelude.Prelude, "open", broken)
    async with shielded(proxied=True, forwarding=TRUSTED, tls=settings(tls)) as (shield, _):
        async with await shield.client() as client:
            await client.feed(write("v1", SOME))
            assert await client.gone()
        assert len(shield.prelude) == 0
    async with shielded(tls=settings(tls)) as (shield, _):
        async with await shield.client() as client:
            await client.feed(TlsClient(client, tls, ("h3",)).hello())
            assert await client.gone()
        assert len(shield.prelude) == 0
        assert shield.metrics.handshakes == {"incompatible": 1}


async def test_a_kernel_that_wakes_us_too_early(tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if SO_RCVLOWAT had no meaning."""
    monkeypatch.setattr(prelude, "AGAIN_SECONDS", 0.001)
    async with shielded(tls=settings(tls)) as (shield, _), await shield.client() as client:
        secure = TlsClient(client, tls)
        data = secure.hello()
        await client.send(data[:100])
        await soon(lambda: len(shield.prelude) == 1)
        (arrived,) = shield.prelude._waiting
        arrived.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        await client.send(data[100:200])
        for _ in range(20):
            await asyncio.sleep(0.001)
        await client.send(data[200:])
        await secure.shake_hands()
        assert (await secure.ask(get("/"))).startswith(b"HTTP/1.1 200")


# bounds


async def test_handshakes_of_an_address_are_limited(tls: Any) -> None:
    few = settings(tls, handshake_rate=Rate(1.0, 3.0))
    async with shielded(tls=few) as (shield, _):
        for admitted in (True, True, True, False, False):
            async with await shield.client() as client:
                secure = TlsClient(client, tls)
                await client.feed(secure.hello())
                assert await client.gone() is not admitted if not admitted else True
                if admitted:
                    await secure.shake_hands()
        async with await shield.client(source="127.0.0.2") as client:
            secure = TlsClient(client, tls)
            await client.send(secure.hello())
            await secure.shake_hands()
        await soon(lambda: shield.metrics.handshakes == {"completed": 4, "rate": 2})
        shield.clock.offset += 1.5
        async with await shield.client() as client:
            secure = TlsClient(client, tls)
            await client.send(secure.hello())
            await secure.shake_hands()


async def test_a_proxys_clients_have_a_rate_each(tls: Any) -> None:
    few = settings(tls, handshake_rate=Rate(0.1, 1.0))
    async with shielded(tls=few, proxied=True, forwarding=TRUSTED) as (shield, _):
        for number, admitted in ((1, True), (1, False), (2, True)):
            async with await shield.client() as client:
                secure = TlsClient(client, tls)
                await client.feed(write("v1", Ends(f"203.0.113.{number}", 1, "192.0.2.1", 2)) + secure.hello())
                if admitted:
                    await secure.shake_hands()
                else:
                    assert await client.gone()
    async with shielded(tls=few, forwarding=TRUSTED) as (shield, _):
        for _ in range(5):  # a proxy that says nothing of its clients brings all of them
            async with await shield.client() as client:
                secure = TlsClient(client, tls)
                await client.send(secure.hello())
                await secure.shake_hands()


async def test_addresses_are_forgotten(tls: Any) -> None:
    async with shielded(tls=settings(tls)) as (shield, _):
        async with await shield.client() as client:
            secure = TlsClient(client, tls)
            await client.send(secure.hello())
            await secure.shake_hands()
        table = shield.handshakes._handshakers
        assert list(table) == ["127.0.0.1"]
        shield.clock.offset += handshakes.IDLE + 10
        shield.listener.expire(shield.clock())
        assert not table
        assert table.maxsize == handshakes.ADDRESSES


async def test_of_one_address_with_many_handshakes_one_gives_way(tls: Any) -> None:
    async with shielded(tls=settings(tls, handshakes=3)) as (shield, _), contextlib.AsyncExitStack() as stack:
        clients = []
        for source in ("127.0.0.3", "127.0.0.2", "127.0.0.2"):
            client = await stack.enter_async_context(await shield.client(source=source))
            clients.append((client, TlsClient(client, tls)))
            await client.send(clients[-1][1].hello())
            await soon(lambda: len(shield.handshakes._under_way) == len(clients))
        for source, outcome in (("127.0.0.2", "crowded"), ("127.0.0.1", "displaced"), ("127.0.0.2", "crowded")):
            client = await stack.enter_async_context(await shield.client(source=source))
            clients.append((client, TlsClient(client, tls)))
            await client.feed(clients[-1][1].hello())
            await soon(lambda outcome=outcome: shield.metrics.handshakes[outcome])
            shield.metrics.handshakes[outcome] = 0
        await clients[1][0].rest()
        for number in (0, 2, 4):
            await clients[number][1].shake_hands()
        await soon(lambda: shield.metrics.handshakes["completed"] == 3)
        await soon(lambda: not any(entry.under_way for entry in shield.handshakes._handshakers.values()))


async def test_handshakes_in_all_are_limited_and_the_oldest_gives_way(tls: Any) -> None:
    async with shielded(tls=settings(tls, handshakes=2)) as (shield, _), contextlib.AsyncExitStack() as stack:

        async def begin() -> tuple[Client, TlsClient]:
            client = await stack.enter_async_context(await shield.client())
            secure = TlsClient(client, tls)
            await client.feed(secure.hello())
            return client, secure

        (first, _), (_, second) = await begin(), await begin()
        await soon(lambda: len(shield.handshakes._under_way) == 2)
        refused, _ = await begin()
        assert await refused.gone()
        assert shield.metrics.handshakes == {"crowded": 1}

        shield.clock.offset += arrival.PATIENCE
        _, late = await begin()
        await late.shake_hands()
        assert (await late.ask(get("/"))).startswith(b"HTTP/1.1 200")
        await first.rest()
        assert await first.gone(), "it has had its time"
        await second.shake_hands()
        await soon(lambda: shield.metrics.handshakes == {"crowded": 1, "displaced": 1, "completed": 2})


def descriptors() -> int:
    """Open in this process; 0 where nobody says."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


async def test_nothing_is_left_of_handshakes_that_end_in_any_way(tls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "PATIENCE", 0.0)
    wild = settings(tls, handshakes=3, handshake_rate=Rate(1e6, 1e6))
    async with shielded(tls=wild) as (shield, _):
        gc.collect()
        before = descriptors()
        for turn in range(60):
            client = await shield.client()
            hello = TlsClient(client, tls).hello()
            await client.feed(hello[: (len(hello), 50, 3)[turn % 3]])
            if turn % 2:
                client.reset()
            else:
                await asyncio.sleep(0.002)
                client.close()
        await soon(lambda: len(shield.prelude) == 0)
        await asyncio.sleep(0.01)
        gc.collect()
        await soon(lambda: descriptors() <= before)
        async with await shield.client() as client:
            secure = TlsClient(client, tls)
            await client.send(secure.hello())
            await secure.shake_hands()
            assert (await secure.ask(get("/"))).startswith(b"HTTP/1.1 200")


async def test_arrivals_count_towards_the_limit_of_connections(tls: Any) -> None:
    async with shielded(tls=settings(tls), limit=3) as (shield, _):
        clients = [await shield.client() for _ in range(4)]
        for client in clients:
            await client.send(b"\x16\x03\x01")
        await soon(lambda: shield.told("accepting_paused"))
        for client in clients:
            client.close()
        await soon(lambda: shield.told("accepting_resumed"))
        async with await shield.client() as client:
            secure = TlsClient(client, tls)
            await client.send(secure.hello())
            await secure.shake_hands()


async def test_who_does_not_begin_a_handshake_gives_way_before_connections_that_are_open(tls: Any) -> None:
    async with shielded(tls=settings(tls), limit=3) as (shield, _), contextlib.AsyncExitStack() as stack:
        idle = await stack.enter_async_context(await shield.client())
        secure = TlsClient(idle, tls)
        await idle.send(secure.hello())
        await secure.shake_hands()
        assert (await secure.ask(get("/"))).startswith(b"HTTP/1.1 200")
        silent = [await stack.enter_async_context(await shield.client()) for _ in range(2)]
        for client in silent:
            await client.send(b"\x16\x03\x01")
            await soon(lambda client=client: len(shield.prelude) == 1 + silent.index(client))
        shield.clock.offset += arrival.PATIENCE
        newcomer = await stack.enter_async_context(await shield.client())
        late = TlsClient(newcomer, tls)
        await newcomer.send(late.hello())
        await late.shake_hands()
        assert await silent[0].gone()
        assert shield.metrics.handshakes == {"completed": 2, "displaced": 1}
        assert (await secure.ask(get("/"))).startswith(b"HTTP/1.1 200")


async def test_stopping_drops_those_that_have_said_nothing(tls: Any) -> None:
    async with (
        shielded(tls=settings(tls)) as (shield, _),
        await shield.client() as silent,
        await shield.client() as speaking,
    ):
        secure = TlsClient(speaking, tls)
        await silent.send(b"\x16\x03\x01")
        await speaking.send(secure.hello())
        await soon(lambda: len(shield.prelude._waiting) == len(shield.handshakes._under_way) == 1)
        shield.listener.stop()
        assert await silent.gone()
        await secure.shake_hands()
        assert (await secure.ask(get("/"))).startswith(b"HTTP/1.1 200")
