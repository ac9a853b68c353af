"""TLS over Shield's own transport: what waits is counted, ends are said, and nothing is lost between the two."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shield.wire.tls_transport import RECORD_BYTES, TlsTransport
from shield.wire.transport import Backlog, SocketTransport
from shield.wire.turns import Turns
from tests.harness import soon

BIG = bytes(range(256)) * 8000


class Heard(asyncio.Protocol):
    """A server that remembers, and answers with what `answers` names."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = self.lost = False
        self.paused: list[bool] = []
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def pause_writing(self) -> None:
        self.paused.append(True)

    def resume_writing(self) -> None:
        self.paused.append(False)


class Bench:
    """One server's end, and a client's socket."""

    def __init__(self, tls: Any) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(tls.certificate, tls.key)
        self.trusting = ssl.create_default_context(cafile=str(tls.authority))
        self.backlog = Backlog()
        self.protocol = Heard()
        self.failed = 0
        loop = asyncio.get_running_loop()
        ours, self.theirs = socket.socketpair()
        for sock in (ours, self.theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.theirs.setblocking(False)
        self.transport = TlsTransport(self.context, lambda _: self.protocol, self._fail)
        bare = socket.SocketType(ours.family, ours.type, 0, ours.detach())
        self.lower = SocketTransport(
            loop, Turns(loop, time.monotonic), self.backlog, bare, ("192.0.2.1", 1), self.transport
        )
        self.lower.start()

    def _fail(self) -> None:
        self.failed += 1

    async def client(self, context: ssl.SSLContext | None = None) -> Peer:
        peer = Peer(self.theirs, context or self.trusting)
        await peer.shake_hands()
        await soon(lambda: self.protocol.transport)
        return peer


class Peer:
    """A client that reads only when it is told to."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")

    async def flush(self, change: int = 0) -> None:
        """Send what there is, its last byte changed by so much."""
        data = bytearray(self._outgoing.read())
        if data:
            data[-1] ^= change
            await self._loop.sock_sendall(self._sock, data)

    async def hear(self) -> bool:
        data = await self._loop.sock_recv(self._sock, 65536)
        self._incoming.write(data)
        return bool(data)

    async def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                await self.hear()
            except ssl.SSLError:
                await self.flush()  # the alert
                raise
            else:
                await self.flush()
                return

    async def send(self, data: bytes, change: int = 0) -> None:
        self.tls.write(data)
        await self.flush(change)

    async def bye(self) -> None:
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        await self.flush()

    async def read(self, count: int = -1) -> bytes:
        """So many bytes, or all to the end that the server says."""
        found = bytearray()
        while count < 0 or len(found) < count:
            try:
                data = self.tls.read(65536)
            except ssl.SSLWantReadError:
                assert await self.hear(), "the end came without a word"
            except ssl.SSLZeroReturnError:  # both have said it
                break
            else:
                if not data:
                    break
                found += data
        return bytes(found)


class Counted:
    """A buffer of OpenSSL's that remembers how much it was given or asked for at once."""

    def __init__(self, bio: ssl.MemoryBIO) -> None:
        self._bio = bio
        self.sizes: list[int] = []

    def write(self, data: bytes) -> None:
        self.sizes.append(len(data))

    def read(self) -> bytes:
        data = self._bio.read()
        self.sizes.append(len(data))
        return data


@pytest.fixture
async def bench(tls: Any) -> AsyncIterator[Bench]:
    made = Bench(tls)
    yield made
    made.transport.abort()
    made.theirs.close()
    await soon(lambda: made.protocol.lost or made.failed)
    assert made.backlog.waiting == 0


async def test_what_is_said_comes_through_both_ways_and_the_end_is_said_too(bench: Bench) -> None:
    client = await bench.client()
    await client.send(BIG)
    await soon(lambda: len(bench.protocol.data) == len(BIG))
    assert bench.protocol.data == BIG
    bench.transport.write(BIG)
    bench.transport.close()
    bench.transport.close()
    bench.transport.write(b"nobody hears this")
    assert bench.transport.is_closing()
    assert await client.read() == BIG
    await soon(lambda: bench.protocol.lost)
    assert not bench.failed


async def test_what_the_client_does_not_read_is_counted_to_the_last_byte(bench: Bench) -> None:
    """The loop's own transport said that nothing waited, so no bound held for it."""
    client = await bench.client()
    bench.transport.set_write_buffer_limits(high=100_000)
    for _ in range(20):
        bench.transport.write(BIG[:50_000])
        await asyncio.sleep(0)
    waiting = bench.transport.get_write_buffer_size()
    assert 500_000 < waiting == bench.backlog.waiting < 20 * 50_500
    assert bench.protocol.paused == [True]
    assert await client.read(20 * 50_000) == BIG[:50_000] * 20
    await soon(lambda: bench.backlog.waiting == 0)
    assert bench.protocol.paused == [True, False]


async def test_a_client_that_does_not_trust_us_is_no_connection(bench: Bench) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await bench.client(ssl.create_default_context())
    await soon(lambda: bench.failed)
    assert (bench.failed, bench.protocol.transport) == (1, None)
    assert "Socket" in repr(bench.transport)


async def test_a_client_with_no_cipher_in_common_is_told_so(bench: Bench) -> None:
    bench.trusting.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # and the certificate is for ECDSA
    bench.trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
        await bench.client()
    await soon(lambda: bench.failed)


async def test_a_record_that_was_tampered_with_ends_the_connection_with_an_alert(bench: Bench) -> None:
    client = await bench.client()
    await client.send(b"good")
    await client.send(b"bad", change=1)
    await soon(lambda: bench.protocol.lost)
    assert bench.protocol.data == b"good"
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        await client.read()


async def test_the_end_that_the_client_says_is_heard_and_answered(bench: Bench) -> None:
    client = await bench.client()
    await client.send(b"bye")
    await client.bye()
    await soon(lambda: bench.protocol.lost)
    assert (bytes(bench.protocol.data), bench.protocol.ended) == (b"bye", True)
    assert await client.read() == b""


@pytest.mark.parametrize("how", ["without a word", "with a word", "with a bad record"])
async def test_a_client_that_has_gone_is_known_at_once_although_it_takes_nothing(bench: Bench, how: str) -> None:
    """What it had not read kept the end from the protocol: the service worked on for nobody, until a deadline."""
    client = await bench.client()
    bench.transport.write(BIG[:200_000])
    await soon(lambda: bench.backlog.waiting)
    if how == "with a word":
        await client.bye()
    elif how == "with a bad record":
        await client.send(b"bad", change=1)
    else:
        bench.theirs.shutdown(socket.SHUT_WR)
    await soon(lambda: bench.protocol.ended)
    assert bench.transport.is_closing()
    bench.transport.write(b"nobody hears this")
    assert bench.backlog.waiting
    assert not bench.protocol.lost
    assert await client.read(200_000) == BIG[:200_000], "it may still take what it was sent"
    await soon(lambda: bench.protocol.lost)


async def test_large_pieces_leave_nothing_behind(bench: Bench) -> None:
    """OpenSSL's buffers keep the size that they have once had: 90 KiB for each connection that was idle again."""
    client = await bench.client()
    await client.send(BIG[:300_000])
    await soon(lambda: len(bench.protocol.data) == 300_000)
    bench.transport.write(BIG[:300_000])
    assert await client.read(300_000) == BIG[:300_000]
    fed, taken = Counted(ssl.MemoryBIO()), Counted(bench.transport._outgoing)
    bench.transport._incoming = fed  # type: ignore[assignment]
    bench.transport.data_received(bytes(100_000))
    bench.transport._outgoing = taken  # type: ignore[assignment]
    assert (max(fed.sizes), sum(fed.sizes)) == (RECORD_BYTES, 100_000)
    bench.transport.write(BIG[:300_000])
    assert max(taken.sizes) < RECORD_BYTES + 300
    assert sum(taken.sizes) > 300_000


async def test_nothing_is_read_while_reading_is_paused(bench: Bench) -> None:
    client = await bench.client()
    bench.transport.pause_reading()
    assert not bench.transport.is_reading()
    await client.send(b"later")
    await asyncio.sleep(0.01)
    assert not bench.protocol.data
    bench.transport.resume_reading()
    await soon(lambda: bench.protocol.data == b"later")


async def test_what_is_known_of_the_connection(bench: Bench) -> None:
    await bench.client()
    transport = bench.transport
    assert transport.get_extra_info("sslcontext") is bench.context
    assert transport.get_extra_info("ssl_object").version() == "TLSv1.3"
    assert transport.get_extra_info("peername") == ("192.0.2.1", 1)
    assert transport.get_extra_info("nothing", 7) == 7
    assert (transport.resumed, transport.can_write_eof()) == (False, False)
    assert "TLSv1.3" in repr(transport)
