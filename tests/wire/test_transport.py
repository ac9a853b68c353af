"""The transport: what asyncio promises of one, at the end of a socket whose other end is ours."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shield.wire import transport as wire
from shield.wire.spill import Spill
from shield.wire.transport import AT_ONCE, MOST_PIECES, READ_BYTES, WRITE_HIGH, Backlog, SocketTransport
from shield.wire.turns import Turns
from tests.harness import soon

BIG = bytes(range(256)) * 4096  # 1 MiB, more than the small buffers of these sockets take
VERBS = ("connection_made", "data_received", "eof_received", "pause_writing", "resume_writing", "connection_lost")


class Bug(Exception):
    pass


class Protocol(asyncio.Protocol):
    """Writes down what it is told; `on` says what else a verb does."""

    def __init__(self, **on: Callable[[SocketTransport], Any]) -> None:
        self.on = on
        self.told: list[str] = []
        self.data = bytearray()
        self.keep_open = False
        self.wire: Any = None
        self.lost_with: BaseException | None = None

    def _tell(self, verb: str) -> None:
        self.told.append(verb)
        if verb in self.on:
            self.on[verb](self.wire)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = transport
        self._tell("connection_made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._tell("data_received")

    def eof_received(self) -> bool:
        self._tell("eof_received")
        return self.keep_open

    def pause_writing(self) -> None:
        self._tell("pause_writing")

    def resume_writing(self) -> None:
        self._tell("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost_with = exc
        self._tell("connection_lost")

    @property
    def lost(self) -> bool:
        return "connection_lost" in self.told

    def count(self, verb: str) -> int:
        return self.told.count(verb)


class Bench:
    """Wires and their other ends. What the loop's handler is told is in `errors`."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.errors: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.turns = Turns(self.loop, time.monotonic)
        self.backlog = Backlog()
        self.peers: list[socket.socket] = []
        self.wires: list[tuple[SocketTransport, Protocol, int]] = []

    def pair(self, tcp: bool = False) -> tuple[socket.socket, socket.socket]:
        """Two ends with small buffers."""
        if tcp:
            with socket.create_server(("127.0.0.1", 0)) as server:
                peer = socket.create_connection(server.getsockname())
                ours, _ = server.accept()
        else:
            ours, peer = socket.socketpair()
        for sock in (ours, peer):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        peer.setblocking(False)
        self.peers.append(peer)
        return ours, peer

    def wire(self, protocol: Protocol, tcp: bool = False, say: bytes = b"", read_out: bool = False) -> socket.socket:
        """Start a wire for `protocol` whose peer has said something already; returns the peer's end."""
        ours, peer = self.pair(tcp)
        if say:
            peer.sendall(say)
        accepted = socket.SocketType(ours.family, ours.type, 0, ours.detach())  # as the listener makes them
        number = accepted.fileno()
        made = SocketTransport(self.loop, self.turns, self.backlog, accepted, "peer", protocol, read_out)
        self.wires.append((made, protocol, number))
        made.start()
        return peer

    async def receive(self, peer: socket.socket, count: int) -> bytes:
        """What the peer gets, `count` bytes or until the end."""
        data = bytearray()
        async with asyncio.timeout(5):
            while len(data) < count:
                piece = await self.loop.sock_recv(peer, 65536)
                if not piece:
                    break
                data += piece
        return bytes(data)

    def end(self) -> None:
        """Close what is left; nothing may stay behind."""
        for made, _, _ in self.wires:
            made.abort()
        for peer in self.peers:
            peer.close()

    def check(self) -> None:
        for made, protocol, number in self.wires:
            assert protocol.count("connection_made") == protocol.count("connection_lost") == 1, protocol.told
            assert protocol.told[0] == "connection_made"
            assert protocol.told[-1] == "connection_lost"
            assert 0 <= protocol.count("pause_writing") - protocol.count("resume_writing") <= 1, protocol.told
            assert made.get_extra_info("socket").fileno() == -1
            assert made.is_closing()
            assert not made.is_reading()
            assert made.get_write_buffer_size() == 0
            assert not self.loop.remove_reader(number)
            assert not self.loop.remove_writer(number)


@pytest.fixture
async def bench() -> Any:
    made = Bench()
    yield made
    made.end()
    await soon(lambda: all(protocol.lost for _, protocol, _ in made.wires))
    made.check()


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    yield
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


# reading


async def test_what_has_come_already_is_read_at_once(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol, say=b"hello")
    assert protocol.told == ["connection_made", "data_received"]
    peer.send(b" there")
    await soon(lambda: protocol.data == b"hello there")
    assert protocol.wire.get_extra_info("peername") == "peer"
    assert protocol.wire.get_extra_info("nothing", 3) == 3


async def test_whoever_sends_without_end_gets_one_read_a_turn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_BYTES", 100)
    reads: dict[str, list[int]] = {"flood": [], "other": []}
    flood = Protocol(data_received=lambda _: reads["flood"].append(len(flood.data)))
    other = Protocol(data_received=lambda _: reads["other"].append(len(reads["flood"])))
    peer, quiet = bench.wire(flood), bench.wire(other)
    peer.send(b"x" * 4000)
    quiet.send(b"me too")
    await soon(lambda: len(flood.data) == 4000)
    assert reads["flood"] == list(range(100, 4100, 100))
    assert reads["other"][0] <= 1


@pytest.mark.parametrize("verb", ["connection_made", "data_received"])
async def test_reading_may_be_paused_from_within(bench: Bench, verb: str) -> None:
    protocol = Protocol(**{verb: lambda made: made.pause_reading()})
    peer = bench.wire(protocol, say=b"one")
    heard = b"" if verb == "connection_made" else b"one"
    peer.send(b" two")
    for _ in range(5):
        await asyncio.sleep(0)
    assert protocol.data == heard
    assert not protocol.wire.is_reading()
    protocol.on = {}
    protocol.wire.resume_reading()
    assert protocol.wire.is_reading()
    await soon(lambda: protocol.data == b"one two")


async def test_reading_may_be_paused_and_resumed_in_a_later_wake_up(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    protocol.on["data_received"] = lambda made: (made.pause_reading(), made.resume_reading(), made.pause_reading())
    for number in range(5):
        peer.send(b"%d" % number)
        await soon(lambda number=number: len(protocol.data) == number + 1)
        assert not protocol.wire.is_reading()
        protocol.wire.resume_reading()
    assert protocol.data == b"01234"


async def test_a_peer_that_is_not_read_is_held_up(bench: Bench) -> None:
    protocol = Protocol(connection_made=lambda made: made.pause_reading())
    peer = bench.wire(protocol)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < len(BIG):
            sent += peer.send(bytes(4096))
    assert sent < len(BIG)
    assert protocol.data == b""


async def test_nothing_is_read_for_who_has_closed(bench: Bench) -> None:
    for verb in ("close", "abort"):
        protocol = Protocol(connection_made=lambda made, verb=verb: getattr(made, verb)())
        bench.wire(protocol, say=b"too late")
        await soon(lambda protocol=protocol: protocol.lost)
        assert protocol.told == ["connection_made", "connection_lost"]
        assert protocol.lost_with is None


# writing


async def test_what_is_written_in_one_turn_leaves_in_one_piece(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    protocol.wire.write(b"one")
    protocol.wire.write(b"")
    protocol.wire.write(memoryview(b" two"))
    with pytest.raises(BlockingIOError):
        peer.recv(100)
    assert protocol.wire.get_write_buffer_size() == 7
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert peer.recv(100) == b"one two"
    assert protocol.wire.get_write_buffer_size() == 0


async def test_a_large_piece_leaves_at_once_behind_what_was_written_before(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    protocol.wire.write(b"small")
    protocol.wire.write(b"x" * AT_ONCE)
    assert peer.recv(6) == b"smallx"


async def test_order_is_kept_however_it_is_written(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    sizes = (1, AT_ONCE - 1, 1, AT_ONCE, 3, 5 * AT_ONCE, *([7] * 3 * MOST_PIECES), AT_ONCE + 1, 2)
    sent = b""
    received = asyncio.create_task(bench.receive(peer, 3 * sum(sizes)))
    for turn in range(3):
        for at, size in enumerate(sizes):
            piece = b"%d/%d;" % (turn, at) * size
            protocol.wire.write(piece[:size])
            sent += piece[:size]
        await asyncio.sleep(0)
    assert await received == sent
    await soon(lambda: protocol.wire.get_write_buffer_size() == 0)


async def test_a_slow_reader_pauses_the_protocol_and_resumes_it_once(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    protocol.wire.write(BIG)
    assert protocol.told == ["connection_made", "pause_writing"]
    protocol.wire.write(b"more")
    left = protocol.wire.get_write_buffer_size()
    assert left > WRITE_HIGH
    got = await bench.receive(peer, len(BIG) - WRITE_HIGH // 2)
    assert protocol.count("resume_writing") == 0
    got += await bench.receive(peer, len(BIG) + 4 - len(got))
    assert got == BIG + b"more"
    await soon(lambda: protocol.count("resume_writing"))
    await asyncio.sleep(0)
    assert protocol.told == ["connection_made", "pause_writing", "resume_writing"]


async def test_what_the_kernel_does_not_take_is_in_the_backlog(bench: Bench) -> None:
    backlog = bench.backlog
    fast, slow, gone = Protocol(), Protocol(), Protocol()
    peer = bench.wire(fast)
    fast.wire.write(b"taken at once")
    assert await bench.receive(peer, 13) == b"taken at once"
    assert backlog.waiting == 0
    peer, other = bench.wire(slow), bench.wire(gone)
    for protocol in (slow, gone):
        protocol.wire.write(BIG)
        protocol.wire.write(b"more")
    waiting = [protocol.wire.get_write_buffer_size() for protocol in (slow, gone)]
    assert backlog.waiting == sum(waiting) > WRITE_HIGH
    gone.wire.abort()
    other.close()
    assert await bench.receive(peer, len(BIG) + 4) == BIG + b"more"
    await soon(lambda: backlog.waiting == 0)


async def test_what_waits_goes_to_the_file_when_memory_has_enough_of_it(bench: Bench) -> None:
    """1,500 answers that nobody read held 138 MB of memory until their deadlines ended them."""
    told: list[OSError] = []
    spill = bench.backlog.spill = Spill(100_000, "", time.monotonic, told.append)
    first, second, third = Protocol(), Protocol(), Protocol()
    peers = [bench.wire(protocol) for protocol in (first, second, third)]
    sent = [bytes([65 + number]) * len(BIG) for number in range(3)]
    for protocol, data in zip((first, second, third), sent, strict=True):
        protocol.wire.write(data)
        protocol.wire.write(b"end")
    backlog = bench.backlog
    assert backlog.waiting > 3 * WRITE_HIGH
    assert backlog.waiting - backlog.spilled < 100_000
    assert "on disk" in repr(backlog)
    waiting = [protocol.wire.get_write_buffer_size() for protocol in (first, second, third)]
    assert sum(waiting) == backlog.waiting
    third.wire.abort()
    assert await bench.receive(peers[1], len(BIG) + 3) == sent[1] + b"end"
    second.wire.write(b"and more")
    second.wire.close()
    assert await bench.receive(peers[1], 100) == b"and more"
    first.wire.write_eof()
    assert await bench.receive(peers[0], len(BIG) + 100) == sent[0] + b"end", "then the end of what is said"
    await soon(lambda: backlog.waiting == 0 and backlog.spilled == 0)
    assert spill.used == 0
    assert first.count("resume_writing") == first.count("pause_writing") == 1
    assert told == []


async def test_order_is_kept_through_the_file(bench: Bench) -> None:
    bench.backlog.spill = Spill(0, "", time.monotonic, lambda _: None)
    protocol = Protocol()
    peer = bench.wire(protocol)
    sizes = (40_000, 1, 3000, 1, 4096, 20_000, 1, 1, 65_536, 5)
    sent = b""
    heard = b""
    for turn in range(20):
        for at, size in enumerate(sizes):
            piece = (b"%d/%d;" % (turn, at) * size)[:size]
            protocol.wire.write(piece)
            sent += piece
        heard += await bench.receive(peer, 70_000)
    assert bench.backlog.spilled > 0
    assert heard + await bench.receive(peer, len(sent) - len(heard)) == sent
    await soon(lambda: bench.backlog.waiting == 0)
    assert bench.backlog.spilled == 0


@pytest.mark.parametrize("fails", ["writing", "reading", "sending"])
async def test_a_disk_that_fails_loses_what_is_on_it_and_nothing_else(
    bench: Bench, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[OSError] = []
    bench.backlog.spill = Spill(0, "", time.monotonic, told.append)

    def broken(*_: Any) -> Any:
        raise OSError("broken")

    if fails == "writing":
        monkeypatch.setattr(Spill, "write", broken)
    protocol = Protocol()
    peer = bench.wire(protocol)
    protocol.wire.write(BIG)
    if fails == "writing":
        assert bench.backlog.spilled == 0 < bench.backlog.waiting
        assert await bench.receive(peer, len(BIG)) == BIG
    elif fails == "reading":
        assert bench.backlog.spilled > 0
        monkeypatch.setattr(Spill, "read", broken)
        assert len(await bench.receive(peer, len(BIG))) < len(BIG)
    else:
        assert bench.backlog.spilled > 0
        reset(peer)
        await soon(lambda: protocol.lost)
    assert len(told) == (fails != "sending")
    if fails != "writing":
        await soon(lambda: protocol.lost)
        assert bench.backlog.spilled == bench.backlog.waiting == 0


async def test_a_few_bytes_that_wait_keep_no_more_than_as_many_again(bench: Bench) -> None:
    """The last byte of a piece kept all of it, and the backlog counted one: 1,500 answers of 46 KiB that were nearly
    taken held 66 MiB that no bound saw."""
    peer = bench.wire(Protocol())
    wire, _, _ = bench.wires[-1]
    piece = BIG[:60_000]  # of which the kernel takes less than half
    before = sys.getrefcount(piece)
    wire.write(piece)
    assert 0 < wire.get_write_buffer_size() < 60_000
    heard = bytearray()
    while wire.get_write_buffer_size() >= 30_000:
        assert sys.getrefcount(piece) > before
        heard += await bench.loop.sock_recv(peer, 1000)
    assert sys.getrefcount(piece) == before
    while len(heard) < 60_000:
        heard += await bench.loop.sock_recv(peer, 1000)
    assert heard == piece


async def test_the_mark_at_which_the_protocol_is_paused(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    protocol.wire.set_write_buffer_limits(high=2 * len(BIG))
    protocol.wire.write(BIG)
    protocol.wire.write(BIG)
    assert protocol.count("pause_writing") == 0
    protocol.wire.set_write_buffer_limits()
    protocol.wire.write(b"x")
    assert protocol.count("pause_writing") == 1
    assert len(await bench.receive(peer, 2 * len(BIG) + 1)) == 2 * len(BIG) + 1


async def test_a_protocol_may_write_while_it_is_resumed(bench: Bench) -> None:
    rounds = 3

    def again(made: SocketTransport) -> None:
        nonlocal rounds
        if rounds:
            rounds -= 1
            made.write(BIG)
        else:
            made.write(b"end")
            made.close()

    protocol = Protocol(resume_writing=again)
    peer = bench.wire(protocol)
    protocol.wire.write(BIG)
    assert await bench.receive(peer, 5 * len(BIG)) == BIG * 4 + b"end"
    await soon(lambda: protocol.lost)
    assert protocol.told == ["connection_made", *(("pause_writing", "resume_writing") * 4), "connection_lost"]


@pytest.mark.parametrize("verb", ["close", "abort"])
async def test_a_protocol_may_close_while_it_is_paused(bench: Bench, verb: str) -> None:
    protocol = Protocol(pause_writing=lambda made: getattr(made, verb)())
    peer = bench.wire(protocol)
    protocol.wire.write(BIG)
    assert not protocol.lost
    received = await bench.receive(peer, 2 * len(BIG))
    assert (received == BIG) == (verb == "close")
    await soon(lambda: protocol.lost)
    assert protocol.lost_with is None


async def test_many_small_pieces_for_a_peer_that_does_not_read(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    protocol.wire.write(BIG)
    pieces = [b"%05d" % number for number in range(20_000)]
    for piece in pieces:
        protocol.wire.write(piece)
    assert await bench.receive(peer, len(BIG) + 100_000) == BIG + b"".join(pieces)


# half-close


async def test_our_half_is_closed_behind_what_is_unsent(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    assert protocol.wire.can_write_eof()
    protocol.wire.write(BIG)
    protocol.wire.write(b"small")
    protocol.wire.write_eof()
    protocol.wire.write(b"never")
    assert await bench.receive(peer, 2 * len(BIG)) == BIG + b"small"
    peer.send(b"still here")
    await soon(lambda: protocol.data == b"still here")
    peer.close()
    await soon(lambda: protocol.lost)


async def test_our_half_is_closed_with_nothing_to_send(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    protocol.wire.write_eof()
    assert await bench.receive(peer, 1) == b""
    protocol.wire.write(b"never")
    peer.send(b"still here")
    await soon(lambda: protocol.data == b"still here")


async def test_a_peer_that_has_closed_its_half_is_answered_if_the_protocol_says_so(bench: Bench) -> None:
    protocol = Protocol()
    protocol.keep_open = True
    peer = bench.wire(protocol, say=b"question")
    peer.shutdown(socket.SHUT_WR)
    await soon(lambda: protocol.count("eof_received"))
    protocol.wire.pause_reading()
    protocol.wire.resume_reading()
    assert not protocol.wire.is_reading()
    protocol.wire.write(BIG)
    assert await bench.receive(peer, len(BIG)) == BIG
    assert not protocol.lost
    protocol.wire.close()
    assert await bench.receive(peer, 1) == b""
    await soon(lambda: protocol.lost)
    assert protocol.count("eof_received") == 1


async def test_otherwise_it_is_closed_once_all_is_sent(bench: Bench) -> None:
    protocol = Protocol(eof_received=lambda made: made.write(BIG))
    peer = bench.wire(protocol)
    peer.shutdown(socket.SHUT_WR)
    assert await bench.receive(peer, 2 * len(BIG)) == BIG
    await soon(lambda: protocol.lost)
    assert protocol.lost_with is None


async def test_a_peer_that_is_gone_before_our_half_is_closed(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol, tcp=True)
    reset(peer)
    protocol.wire.write_eof()
    await soon(lambda: protocol.lost)
    assert isinstance(protocol.lost_with, ConnectionResetError)


# the end


async def test_close_sends_what_is_unsent(bench: Bench) -> None:
    for data in (b"small", BIG):
        protocol = Protocol()
        peer = bench.wire(protocol)
        protocol.wire.write(data)
        protocol.wire.close()
        protocol.wire.close()
        protocol.wire.write(b"never")
        assert protocol.wire.is_closing()
        assert not protocol.lost
        peer.send(b"nobody reads this")
        with contextlib.suppress(ConnectionResetError):  # closed with something unread
            assert await bench.receive(peer, 2 * len(BIG)) == data
        await soon(lambda protocol=protocol: protocol.lost)
        assert protocol.data == b""
        protocol.wire.write(b"never")
        protocol.wire.write_eof()
        protocol.wire.close()
        protocol.wire.abort()
        protocol.wire.pause_reading()
        protocol.wire.resume_reading()
        await asyncio.sleep(0)
        assert protocol.count("connection_lost") == 1


@pytest.mark.parametrize("closed", [False, True])
async def test_abort_drops_what_is_unsent(bench: Bench, closed: bool) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol)
    protocol.wire.write(BIG)
    if closed:
        protocol.wire.close()
        await bench.receive(peer, 10_000)
        assert not protocol.lost
    protocol.wire.abort()
    protocol.wire.write(b"never")
    assert not protocol.lost
    assert len(await bench.receive(peer, len(BIG))) < len(BIG) // 2
    await soon(lambda: protocol.lost)
    assert protocol.lost_with is None
    assert protocol.count("resume_writing") == 0


async def test_a_wire_is_dropped_by_its_protocol(bench: Bench) -> None:
    """Its protocol is told last, and once; what it does then changes nothing."""

    def at_the_end(made: SocketTransport) -> None:
        made.write(b"never")
        made.close()
        made.abort()
        made.write_eof()

    protocol = Protocol(connection_lost=at_the_end)
    peer = bench.wire(protocol)
    peer.close()
    await soon(lambda: protocol.lost)
    for _ in range(3):
        await asyncio.sleep(0)
    assert protocol.told == ["connection_made", "eof_received", "connection_lost"]
    assert "lost" in repr(protocol.wire)


@pytest.mark.parametrize("size", [5, AT_ONCE])
async def test_writing_to_a_peer_that_was_reset(bench: Bench, size: int) -> None:
    protocol = Protocol()
    reset(bench.wire(protocol, tcp=True))
    protocol.wire.write(b"x" * size)
    protocol.wire.write(b"x" * size)
    assert not protocol.lost
    await soon(lambda: protocol.lost)
    assert isinstance(protocol.lost_with, ConnectionError)
    assert protocol.count("data_received") == protocol.count("eof_received") == 0
    assert bench.errors == []


async def test_a_peer_is_reset_while_it_is_written_to(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol, tcp=True)
    protocol.wire.pause_reading()
    protocol.wire.write(BIG * 16)
    assert protocol.count("pause_writing") == 1
    await bench.receive(peer, 10_000)
    reset(peer)
    await soon(lambda: protocol.lost)
    assert isinstance(protocol.lost_with, ConnectionError)
    assert protocol.count("resume_writing") == 0


@pytest.mark.parametrize("waiting", [False, True])
async def test_a_reset_behind_the_last_words_is_no_end_in_good_order(
    bench: Bench, waiting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop tells of a reset once, and what is left must be read nevertheless."""
    monkeypatch.setattr(wire, "READ_BYTES", 1000)
    protocol = Protocol()
    peer = bench.wire(protocol, tcp=True, read_out=True)
    if waiting:
        protocol.wire.write(BIG * 16)
    peer.send(b"last words" * 250)
    reset(peer)
    await soon(lambda: protocol.lost)
    assert protocol.data == b"last words" * 250
    assert isinstance(protocol.lost_with, ConnectionError)
    assert protocol.count("eof_received") == 0


async def test_a_reset_behind_the_last_words_of_a_peer_that_is_read_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "READ_BYTES", 1000)
    protocol = Protocol(data_received=lambda made: made.pause_reading())
    peer = bench.wire(protocol, tcp=True)
    peer.send(b"last words" * 250)
    reset(peer)
    for size in (1000, 2000, 2500):
        await soon(lambda size=size: len(protocol.data) == size)
        assert not protocol.lost
        protocol.wire.resume_reading()
    await soon(lambda: protocol.lost)
    assert isinstance(protocol.lost_with, ConnectionResetError)


async def test_a_peer_that_takes_no_more_is_read_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_BYTES", 1000)
    for read_out, heard in ((True, b"no, thanks" * 250), (False, b"")):
        protocol = Protocol()
        peer = bench.wire(protocol, tcp=True, read_out=read_out)
        peer.send(b"no, thanks" * 250)
        reset(peer)
        protocol.wire.write(bytes(AT_ONCE))  # before the poller has said anything
        protocol.wire.write(b"never")
        await soon(lambda protocol=protocol: protocol.lost)
        assert protocol.data == heard
        assert isinstance(protocol.lost_with, ConnectionError)


@pytest.mark.parametrize("verb", ["close", "abort"])
async def test_it_is_heard_out_as_long_as_anybody_listens(
    bench: Bench, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "READ_BYTES", 1000)
    protocol = Protocol(data_received=lambda made: getattr(made, verb)())
    peer = bench.wire(protocol, tcp=True, read_out=True)
    peer.send(b"no, thanks" * 250)
    reset(peer)
    protocol.wire.write(bytes(AT_ONCE))
    await soon(lambda: protocol.lost)
    assert len(protocol.data) == 1000


async def test_an_abort_is_final_where_a_peer_is_read_out(bench: Bench) -> None:
    protocol = Protocol()
    peer = bench.wire(protocol, tcp=True, read_out=True)
    peer.send(b"no, thanks")
    reset(peer)
    protocol.wire.write(bytes(AT_ONCE))
    protocol.wire.abort()
    await soon(lambda: protocol.lost)
    assert protocol.data == b""


async def test_a_descriptor_may_be_used_again_at_once(bench: Bench) -> None:
    """The number of a wire that has ended, however it did, belongs to the next one."""
    numbers = set()
    for turn in range(40):
        protocol = Protocol()
        peer = bench.wire(protocol, tcp=True)
        made, _, number = bench.wires.pop()
        numbers.add(number)
        if turn % 2:
            made.write(BIG * 8)
        if turn % 8 >= 4:
            made.pause_reading()
        if turn % 5 == 0:
            peer.send(b"x")
        if turn % 4 >= 2:
            reset(peer)
            if turn % 8 >= 4:
                made.resume_reading()
        else:
            made.abort()
        await soon(lambda protocol=protocol: protocol.lost)
        peer.close()
        other = Protocol()
        peer = bench.wire(other)
        peer.send(b"hello")
        await soon(lambda other=other: other.data == b"hello")
        other.wire.write(b"you")
        assert await bench.receive(peer, 3) == b"you"
        bench.wires.pop()
        other.wire.abort()
        await soon(lambda other=other: other.lost)
        peer.close()
        assert protocol.count("data_received") <= 1
    assert len(numbers) < 10
    assert bench.errors == []


# bugs


@pytest.mark.parametrize("verb", VERBS)
async def test_a_protocol_that_fails_is_told_of_and_ends_alone(bench: Bench, verb: str) -> None:
    def fail(_: SocketTransport) -> None:
        raise Bug(verb)

    good = Protocol(data_received=lambda made: made.write(bytes(good.data)))
    bystander = bench.wire(good)
    with no_descriptor_left():
        bad = Protocol(**{verb: fail})
        peer = bench.wire(bad, say=b"hello")
        if verb in ("pause_writing", "resume_writing"):
            bad.wire.write(BIG)  # whoever writes is not to blame
            bad.wire.write(BIG)
            with contextlib.suppress(ConnectionResetError):
                await bench.receive(peer, 2 * len(BIG))
        elif verb == "connection_lost":
            bad.wire.abort()
        bystander.send(b"still here")
        if verb == "eof_received":
            peer.shutdown(socket.SHUT_WR)
        assert await bench.receive(bystander, 10) == b"still here"
        await soon(lambda: bad.lost)
        for _ in range(3):
            await asyncio.sleep(0)
        assert bad.count("connection_lost") == bad.count("connection_made") == 1
        assert [context["exception"].args for context in bench.errors] == [(verb,)]
        assert bench.errors[0]["transport"] is bad.wire
        if verb != "connection_lost":
            assert isinstance(bad.lost_with, Bug)
        peer.close()
    assert not good.lost


async def test_wires_of_one_batch_are_all_settled(bench: Bench) -> None:
    """Whatever one of them does meanwhile: fail, end, or have others write."""
    others: list[Protocol] = []

    def stir(_: SocketTransport) -> None:
        for other in others:
            other.wire.write(b"stirred")
        raise Bug

    first = Protocol(connection_lost=stir)
    bench.wire(first)
    peers = []
    for _ in range(10):
        others.append(Protocol())
        peers.append(bench.wire(others[-1]))
    for other in others[:5]:
        other.wire.write(b"before ")
    first.wire.abort()
    for other in others[5:]:
        other.wire.write(b"after ")
    for at, peer in enumerate(peers):
        expected = b"before " if at < 5 else b"after "
        assert await bench.receive(peer, len(expected) + 7) == expected + b"stirred"
    assert len(bench.errors) == 1


async def test_what_cannot_be_sent_ends_its_connection_only(bench: Bench) -> None:
    bad, good = Protocol(), Protocol()
    bench.wire(bad)
    peer = bench.wire(good)
    bad.wire.write("no bytes")
    good.wire.write(b"fine")
    assert await bench.receive(peer, 4) == b"fine"
    await soon(lambda: bad.lost)
    assert isinstance(bench.errors[0]["exception"], TypeError)


async def test_a_loop_that_cannot_watch_ends_the_connection(bench: Bench) -> None:
    """epoll has a limit of its own (max_user_watches)."""
    loop: Any = bench.loop

    class Full:
        call_exception_handler = loop.call_exception_handler
        remove_reader = loop.remove_reader

        def add_reader(self, *_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    protocol = Protocol()
    bench.loop = Full()  # type: ignore[assignment]
    bench.wire(protocol)
    bench.loop = loop
    await soon(lambda: protocol.lost)
    assert len(bench.errors) == 1


def test_one_read_is_what_the_limits_are_made_for() -> None:
    assert READ_BYTES == 64 * 1024
