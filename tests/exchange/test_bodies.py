"""Request bodies and the slots: nobody holds one whose client the service waits for.

The data path is real, and so is the policy; sockets, the loop and the clock are moved by hand (tests/fuzz/memory.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.suites.rig import START
from bench.suites.rig import engine as engine_of
from shield.client.connection import ClientConnection
from shield.exchange import spool as spool_module
from shield.exchange import upload as upload_module
from shield.exchange.exchange import RESPONDING, SENT, Exchange
from shield.http.settings import HttpSettings
from shield.model import Tier
from shield.policy.routes import RoutesSettings
from shield.upstream.connection import UpstreamConnection
from shield.upstream.server import Server
from tests.fuzz.memory import Link, Memory, Transport

KB: Final = 1000
HIGH: Final = 65536
"""bytes that an upstream transport takes before it asks for a pause, as asyncio's do."""
BIG: Final = 1_000_000_000
RATE: Final = 1e9
"""units/s that the rig's engine grants everybody."""


class Upstream(Transport):
    """A connection to a server that reads only while it is not `stuck`."""

    def __init__(self, world: World, connection: UpstreamConnection, heard: Callable[[bytes], None]) -> None:
        super().__init__(world.loop, connection, None)
        self._world = world
        self._connection = connection
        self._pass = heard
        self._waiting = bytearray()
        self.paused = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self._waiting += data
        if self._world.stuck:
            if len(self._waiting) > HIGH and not self.paused:
                self.paused = True
                self._connection.pause_writing()
        else:
            self.read()

    def read(self) -> None:
        """The server reads what there is."""
        data, self._waiting = bytes(self._waiting), bytearray()
        if data:
            self._pass(data)
        if self.paused:
            self.paused = False
            self._connection.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)


class Sender:
    """A client at `address` with a request that has a body, of which `left` bytes are not sent yet."""

    def __init__(self, world: World, address: str, head: bytes = b"", length: int = 0, path: str = "/up") -> None:
        self.world = world
        self.address = address
        self.left = length
        self.waiting = 0  # bytes that it would like to send
        self.chunked = b"chunked" in head
        self.connection = ClientConnection(world.serving)
        self.transport = Transport(world.loop, self.connection)
        self.paused = False
        self.transport.get_extra_info = self._info  # type: ignore[method-assign]
        self.transport.pause_reading = self._pause  # type: ignore[method-assign]
        self.transport.resume_reading = self._resume  # type: ignore[method-assign]
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        self.world.people.append(self)
        framing = head or (b"Content-Length: %d\r\n" % length if length else b"")
        method = b"POST" if framing else b"GET"
        self._feed(b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, path.encode(), framing))

    def _info(self, name: str, default: Any = None) -> Any:
        return (self.address, 4711) if name == "peername" else default

    def _pause(self) -> None:
        self.paused = True

    def _resume(self) -> None:
        self.paused = False

    def _feed(self, data: bytes) -> None:
        if not self.transport.closed:
            self.connection.data_received(data)
            self.world.loop.settle()

    def send(self, count: int) -> None:
        """Send so much more of the body, as far as Shield reads it."""
        self.waiting = min(self.waiting + count, self.left)
        while self.waiting and not self.paused and not self.transport.closed:
            now = min(self.waiting, 65536)
            self.waiting -= now
            self.left -= now
            data = b"x" * now
            if self.chunked:
                data = b"%x\r\n%b\r\n" % (now, data) + (b"" if self.left else b"0\r\n\r\n")
            self._feed(data)

    def leave(self) -> None:
        if not self.transport.closed:
            self.transport.close()
            self.world.loop.settle()

    @property
    def status(self) -> int:
        """Of the answer; 0 before."""
        heard = bytes(self.transport.written).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        return int(heard[9:12]) if heard else 0

    @property
    def exchange(self) -> Exchange | None:
        return self.connection._exchange


class World(Memory):
    """A service with `limit` slots. `known` are addresses whose clients count as known."""

    def __init__(self, limit: int = 20, before: tuple[Any, float] | None = None, **http: Any) -> None:
        """`before`: the engine and the clock of a world that has ended, since a new engine takes 0.3 s."""
        self.stuck = self.mute = False
        self.people: list[Sender] = []
        self.uploads: list[Upstream] = []
        self.unanswered: list[tuple[Link, bytes, bytes, bytes]] = []
        super().__init__(self._reply, HttpSettings(**http), None, before[0] if before else engine_of(concurrency=limit))
        self.now = before[1] if before else START
        self.pool.connect = self._connect  # type: ignore[method-assign]
        self.spools = self.serving.forwarder.spools
        self.streams = self.serving.forwarder.streams
        self.limit = limit
        self.engine.tick(self.now)

    async def _connect(self, server: Server, *_: object) -> UpstreamConnection:
        link = Link(self)
        link.transport = transport = Upstream(self, link.connection, link._read)
        link.connection.transport = transport  # type: ignore[assignment]
        self.links.append(link)
        self.uploads.append(transport)
        return link.connection

    def _reply(self, link: Link, method: bytes, target: bytes, body: bytes) -> Sequence[bytes]:
        if self.mute:
            self.unanswered.append((link, method, target, body))
            return ()
        said = b"%d" % len(body)
        return (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said),)

    def speak(self) -> None:
        """The service answers all that it has not answered yet."""
        self.mute = False
        waiting, self.unanswered = self.unanswered, []
        for one in waiting:
            one[0]._answer(*one[1:])
        self.loop.settle()

    def pass_time(self, seconds: float) -> None:
        """The timers of a process run, every eighth of a second."""
        for _ in range(max(1, round(seconds * 8))):
            self.now += 1 / 8
            self.serving.connections.sweep.sweep(self.now)
            self.streams.sweep(self.now)
            self.serving.forwarder.resume(self.engine.tick(self.now), self.now)
            self.loop.settle()
        for sender in self.people:
            sender.send(0)

    def read(self) -> None:
        """The servers read all that waits for them."""
        stuck, self.stuck = self.stuck, False
        for transport in self.uploads:
            if not transport.closed:
                transport.read()
                self.loop.settle()
        self.stuck = stuck

    def refused(self) -> str:
        """Why anything was refused so far."""
        metrics = self.serving.metrics
        verdicts = {action: dict(reasons) for action, reasons in metrics.verdicts.items() if action != "forward"}
        return f"{verdicts}, {metrics.faults}, pressure {self.engine.pressure:.2f}, {self.engine.waiting} waiting"

    def ask(self, address: str) -> int:
        """A GET, and the status of its answer; 0 when there is none yet."""
        who = Sender(self, address, path="/page")
        status = who.status
        if status:
            who.leave()
        return status

    def holders(self) -> list[Exchange]:
        """Exchanges that hold a slot, but for those whose clients have hung up."""
        found = [sender.exchange for sender in self.people]
        left = {request for _, _, request in self.engine._admission._left}
        return [one for one in found if one is not None and one.request.has_slot and one.request not in left]

    def check(self) -> None:
        """What holds at any time."""
        holders = self.holders()
        assert self.engine.in_flight == len(holders) + len(self.engine._admission._left)
        for exchange in holders:
            upload = exchange._upload
            if upload is None or upload.over:
                continue  # the service has the whole request, or gets it as soon as there is a connection
            assert exchange.state in (SENT, RESPONDING)
            assert upload.draining, "the service waits for the client"
            assert upload._blocked, "what is here was not sent as fast as the service reads"
        spools = self.spools
        assert 0 <= spools.shares.total <= spools.shares.most
        assert spools.open == sum(
            1 for one in self.people if one.exchange and one.exchange._body and one.exchange._body._spool
        )
        strangers = [
            one
            for one in self.people
            if one.exchange and one.exchange.slot and one.exchange.slot._lagging and one.exchange.request.tier >= 2
        ]
        assert len(strangers) <= self.limit
        for sender in self.people:
            exchange = sender.exchange
            if exchange is not None and exchange._body is not None:
                assert sum(map(len, exchange._body.pieces)) <= self.serving.forwarder.body_buffer_bytes + 65536

    def end(self) -> None:
        for sender in self.people:
            sender.leave()
        self.pool.close()
        self.loop.settle()
        self.engine.end()  # what people have hung up on
        assert self.engine.in_flight == self.engine.waiting == 0
        assert (self.spools.open, self.spools.shares.total) == (0, 0)
        assert (self.streams.laggards, self.serving.metrics.streams_open) == (0, 0)
        assert not self.streams.waiting
        assert self.server.outstanding == 0
        assert self.serving.metrics.connections_open == 0


@pytest.fixture
def worlds() -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(*args: Any, **http: Any) -> World:
        made.append(World(*args, **http))
        return made[-1]

    yield make
    for world in made:
        world.end()


# the attack


@pytest.mark.parametrize(
    ("number", "addresses", "pace", "spools"),
    [(60, 10, 20 * KB, 1 << 30), (25, 5, 17_500, 1 << 30), (60, 10, 20 * KB, 24 << 20), (25, 5, 17_500, 0)],
)
def test_uploads_just_above_a_pace_keep_nobody_out(
    worlds: Callable[..., World], number: int, addresses: int, pace: int, spools: int
) -> None:
    """60 uploads at 20 kB/s held every slot, and users got 2 to 23 % of their answers."""
    world = worlds(20, body_spools_bytes=spools)
    uploads = [Sender(world, f"192.0.2.{1 + i % addresses}", length=BIG) for i in range(number)]
    for second in range(40):
        for upload in uploads:
            upload.send(pace)
        assert [world.ask(f"198.51.{second}.{user}") for user in range(5)] == [200] * 5
        world.check()
        assert not world.holders(), "nobody is at the service"
        world.pass_time(1)
    assert not any(upload.status for upload in uploads), "nobody's upload is lost"


def test_uploads_at_a_phones_pace_all_get_through(worlds: Callable[..., World]) -> None:
    world = worlds(20)
    uploads = [Sender(world, f"192.0.2.{1 + i % 10}", length=600 * KB) for i in range(60)]
    for _ in range(15):
        for upload in uploads:
            upload.send(20 * KB)
        world.pass_time(1)
    world.pass_time(19)  # stalled, nearly as long as timeouts.progress allows
    for _ in range(15):
        for upload in uploads:
            upload.send(20 * KB)
        world.pass_time(1)
        world.check()
    assert [upload.status for upload in uploads] == [200] * 60
    assert {len(body) for _, _, body in world.seen} == {600 * KB}


# one body


@pytest.mark.parametrize("head", [b"", b"Transfer-Encoding: chunked\r\n"], ids=["length", "chunked"])
@pytest.mark.parametrize(
    "http",
    [{}, {"body_spool_bytes": 0}, {"body_spool_bytes": 2 << 20}, {"body_buffer_bytes": 0}, {"body_spools_bytes": 0}],
    ids=["spooled", "streamed", "both", "no memory", "no room"],
)
def test_a_large_body_comes_through_as_it_was(worlds: Callable[..., World], http: dict[str, int], head: bytes) -> None:
    world = worlds(1, **http)
    upload = Sender(world, "192.0.2.1", head, length=5 << 20)
    world.stuck = True
    while upload.left:
        upload.send(300 * KB)
        world.check()
        world.read()
        world.check()
    world.stuck = False
    world.read()
    assert upload.status == 200
    ((_, _, body),) = world.seen
    assert body == b"x" * (5 << 20)


def test_a_streamed_body_gives_its_slot_back_while_its_client_stalls_and_gets_it_again(
    worlds: Callable[..., World],
) -> None:
    world = worlds(1, body_spool_bytes=0)
    world.mute = True
    upload = Sender(world, "192.0.2.1", length=300 * KB)
    upload.send(100 * KB)
    assert upload.exchange is not None
    assert (upload.exchange.state, world.engine.in_flight, world.streams.laggards) == (SENT, 0, 1)
    other = Sender(world, "198.51.100.1", path="/page")
    assert world.engine.in_flight == 1
    upload.send(200 * KB)
    assert (world.engine.waiting, world.seen[1:]) == (1, []), "its end waits for the slot"
    world.mute = True
    waiting, world.unanswered = world.unanswered, []
    world.speak()
    waiting[0][0]._answer(*waiting[0][1:])
    world.loop.settle()
    assert (other.status, upload.status) == (200, 200)
    assert (world.engine.in_flight, world.streams.laggards) == (0, 0)


def test_one_that_leaves_while_its_end_waits_leaves_nothing(worlds: Callable[..., World]) -> None:
    world = worlds(1, body_spool_bytes=0)
    upload = Sender(world, "192.0.2.1", length=300 * KB)
    upload.send(100 * KB)
    world.mute = True
    Sender(world, "198.51.100.1", path="/page")
    upload.send(200 * KB)
    assert world.engine.waiting == 1
    upload.leave()
    assert world.engine.waiting == 0


def test_a_service_that_answers_while_the_end_waits_is_heard(worlds: Callable[..., World]) -> None:
    world = worlds(1, body_spool_bytes=0)
    upload = Sender(world, "192.0.2.1", length=300 * KB)
    upload.send(100 * KB)
    world.mute = True
    Sender(world, "198.51.100.1", path="/page")
    upload.send(200 * KB)
    assert world.engine.waiting == 1
    world.links[0].connection.data_received(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    world.loop.settle()
    assert (upload.status, world.engine.waiting) == (413, 0)
    assert world.links[0].transport.closed, "its request was not sent whole"


def test_a_body_whose_end_waits_in_vain_is_503(worlds: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_module, "LATE_SECONDS", 30.0)
    world = worlds(1, body_spool_bytes=0)
    upload = Sender(world, "192.0.2.1", length=300 * KB)
    upload.send(100 * KB)
    world.mute = True
    Sender(world, "198.51.100.1", path="/page")
    upload.send(200 * KB)
    world.pass_time(25)
    assert (upload.status, world.links[0].transport.closed) == (0, False), "the service has nearly all of it"
    world.pass_time(25)
    assert upload.status == 503
    assert world.links[0].transport.closed
    assert not world.streams.waiting


def test_a_body_whose_end_was_turned_away_asks_again_and_is_not_lost(worlds: Callable[..., World]) -> None:
    """A gigabyte that the service had read was lost to a queue that was full in the moment in which it ended."""
    world = worlds(1, body_spool_bytes=0)
    upload = Sender(world, "192.0.2.1", length=300 * KB)
    upload.send(100 * KB)
    world.mute = True
    Sender(world, "198.51.100.1", path="/page")
    upload.send(200 * KB)
    turned_away = False
    for _ in range(300):
        world.pass_time(1 / 8)
        turned_away = turned_away or upload.exchange in world.streams.waiting
    assert (turned_away, upload.status) == (True, 0)
    world.speak()
    world.pass_time(2)
    assert upload.status == 200
    assert len(world.seen[-1][2]) == 300 * KB
    assert (world.engine.in_flight, world.streams.laggards) == (0, 0)


def test_large_uploads_of_one_address_leave_room_for_that_of_another(worlds: Callable[..., World]) -> None:
    """Whoever came first had all places for bodies that are streamed, for as long as its bodies took."""
    world = worlds(2, body_spool_bytes=0)
    greedy = [Sender(world, "192.0.2.1", length=BIG) for _ in range(4)]
    for upload in greedy:
        upload.send(100 * KB)
    assert [upload.paused for upload in greedy] == [False, False, True, True]
    other = Sender(world, "198.51.100.1", length=300 * KB)
    other.send(300 * KB)
    assert other.status == 200
    world.pass_time(1)
    assert sorted(upload.status for upload in greedy) == [0, 0, 0, 503]
    assert world.serving.metrics.faults == {"streams_full": 1}


def test_a_service_that_is_slower_than_a_streamed_upload_is_paid_for_what_it_does(worlds: Callable[..., World]) -> None:
    """Once it had no slot, an upload could keep the service busy to its end for nothing."""
    world = worlds(1, body_spool_bytes=0)
    upload = Sender(world, "192.0.2.1", length=BIG)
    upload.send(100 * KB)
    entry = upload.connection.peer.client.entry  # type: ignore[union-attr]
    before = entry.shadow
    world.stuck = True
    upload.send(200 * KB)
    assert upload.paused
    world.now += 0.3
    world.read()
    assert not upload.paused
    upload.leave()
    assert (entry.shadow - before) * RATE == pytest.approx(30, abs=2), "0.3 s are 30 units"


def test_a_huge_upload_to_a_slow_service_costs_no_more_than_the_dearest_request(worlds: Callable[..., World]) -> None:
    """After a gigabyte at 40 MB/s its client got 429 for what it asked next, in calm weather."""
    world = worlds(1, body_spool_bytes=0)
    upload = Sender(world, "192.0.2.1", length=2000 * KB)
    upload.send(100 * KB)
    entry = upload.connection.peer.client.entry  # type: ignore[union-attr]
    before = entry.shadow
    world.stuck = True
    while upload.left:
        upload.send(200 * KB)
        world.now += 2
        world.read()
    world.stuck = False
    world.read()
    assert upload.status == 200
    assert (entry.shadow - before) * RATE == pytest.approx(RoutesSettings().most_cost, abs=2)


def test_a_spooled_body_is_sent_again_to_another_connection(worlds: Callable[..., World]) -> None:
    world = worlds(1)
    assert world.ask("192.0.2.9") == 200
    kept = world.links[0]
    world.stuck = True
    upload = Sender(world, "192.0.2.1", b"Content-Length: 1000000\r\n", length=1_000_000)
    upload.connection._exchange.head.method = "PUT"  # type: ignore[union-attr]
    upload.send(1_000_000)
    assert kept.transport.get_write_buffer_size()
    kept.connection.eof_received()
    kept.transport.close()
    world.loop.settle()
    world.stuck = False
    world.read()
    assert upload.status == 200
    assert [len(body) for _, _, body in world.seen] == [0, 1_000_000]


def test_what_the_service_reads_for_long_is_charged(worlds: Callable[..., World]) -> None:
    world = worlds(1)
    world.stuck = True
    upload = Sender(world, "192.0.2.1", length=1_000_000)
    upload.send(1_000_000)
    entry = upload.connection.peer.client.entry  # type: ignore[union-attr]
    before = entry.shadow
    world.now += 0.3
    world.read()
    world.stuck = False
    world.read()
    assert upload.status == 200
    assert (entry.shadow - before) * RATE == pytest.approx(30, abs=2), "0.3 s are 30 units"


# room


def test_bodies_without_room_wait_and_are_let_in_one_after_the_other(worlds: Callable[..., World]) -> None:
    world = worlds(1, body_spool_bytes=0)
    uploads = [Sender(world, "192.0.2.1", length=300 * KB) for _ in range(4)]
    for upload in uploads:
        upload.send(100 * KB)
    assert len(world.streams.waiting) == 3
    assert [upload.paused for upload in uploads] == [False, True, True, True]
    for upload in uploads:
        upload.send(200 * KB)
    for _ in range(4):
        world.check()
        world.pass_time(2)
    assert [upload.status for upload in uploads] == [200] * 4


def test_a_body_that_waits_for_room_in_vain_is_503_and_no_fault_of_its_client(worlds: Callable[..., World]) -> None:
    world = worlds(1, body_spool_bytes=0)
    first, second = [Sender(world, f"192.0.2.{i}", length=BIG) for i in range(2)]
    for _ in range(65):
        first.send(100 * KB)
        second.send(100 * KB)
        world.pass_time(1)
    assert (first.status, second.status) == (0, 503)
    assert world.serving.metrics.faults == {"streams_full": 1}
    assert second.connection.peer.client.entry.score == 0  # type: ignore[union-attr]


def test_who_holds_most_of_the_spools_waits_and_a_newcomer_finds_room(worlds: Callable[..., World]) -> None:
    world = worlds(1, body_spool_bytes=64 << 20, body_spools_bytes=32 << 20)
    world.streams.places.most = 0  # nothing can be streamed
    greedy = [Sender(world, "192.0.2.1", length=BIG) for _ in range(8)]
    for _ in range(60):
        for upload in greedy:
            upload.send(1_000_000)
    assert all(upload.paused for upload in greedy)
    assert world.spools.shares.total <= 16 << 20, "no more than is left"
    late = Sender(world, "203.0.113.1", length=4 << 20)
    late.send(4 << 20)
    assert late.status == 200
    world.check()


def test_a_known_client_finds_more_room_than_a_stranger(worlds: Callable[..., World]) -> None:
    world = worlds(1, body_spools_bytes=9 << 20)
    world.streams.places.most = 0
    stranger, known = (Sender(world, address, length=BIG) for address in ("192.0.2.1", "198.51.100.1"))
    known.exchange.request.tier = Tier.T1  # type: ignore[union-attr]
    stranger.send(9 << 20)
    held = world.spools.shares.total
    assert stranger.paused
    assert held <= 5 << 20
    known.send(3 << 20)
    assert not known.paused


# the disk


@pytest.mark.parametrize("what", ["no directory", "full", "short writes"])
def test_a_disk_that_takes_nothing_fails_no_request(
    worlds: Callable[..., World], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    written: list[int] = []
    pwrite = os.pwrite

    def full(descriptor: int, data: memoryview, at: int) -> int:
        written.append(at)
        if what == "full" and len(written) > 2:
            raise OSError(28, "No space left on device")
        return pwrite(descriptor, data[:10_000] if what == "short writes" else data, at)

    monkeypatch.setattr(spool_module.os, "pwrite", full)
    world = worlds(1, body_spool_directory=str(tmp_path / "none") if what == "no directory" else str(tmp_path))
    for _ in range(2):
        upload = Sender(world, "192.0.2.1", length=1_000_000)
        while upload.left:
            upload.send(50 * KB)
            world.check()
        assert upload.status == 200
    assert [body for _, _, body in world.seen] == [b"x" * 1_000_000] * 2
    told = [name for name, _ in world.log.events]
    assert told == ([] if what == "short writes" else ["bodies_not_spooled"])
    assert not list(tmp_path.iterdir())


def test_a_disk_that_becomes_full_under_many_bodies_is_told_of_once(
    worlds: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each body that was being written told of it: thirteen lines for forty uploads."""
    world = worlds(1)
    uploads = [Sender(world, f"192.0.{i}.1", length=1_000_000) for i in range(5)]
    for upload in uploads:
        upload.send(200 * KB)
        world.check()
    assert world.spools.open >= 4

    def full(descriptor: int, data: memoryview, at: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_module.os, "pwrite", full)
    for upload in uploads:
        while upload.left:
            upload.send(50 * KB)
            world.check()
    assert [upload.status for upload in uploads] == [200] * 5
    assert [name for name, _ in world.log.events] == ["bodies_not_spooled"]


def test_a_body_that_the_disk_does_not_give_back_is_an_error_of_ours(
    worlds: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = worlds(1)
    upload = Sender(world, "192.0.2.1", length=1_000_000)
    upload.send(900 * KB)
    monkeypatch.setattr(spool_module.os, "pread", lambda *_: b"")
    upload.send(100 * KB)
    assert upload.status == 500
    assert world.serving.metrics.faults["internal"] == 1


# any schedule

KNOWN: Final = ("203.0.113.7", "203.0.113.8")
ADDRESSES: Final = ("192.0.2.1", "192.0.2.2", "198.51.100.3", *KNOWN)

_steps = st.one_of(
    st.tuples(
        st.just("open"), st.sampled_from(ADDRESSES), st.sampled_from([3, 70_000, 300_000, 3_000_000]), st.booleans()
    ),
    *[
        st.tuples(st.just("send"), st.integers(0, n), st.sampled_from([1, 17_500, 100_000, 1_000_000]))
        for n in (0, 0, 2, 9)
    ],
    st.tuples(st.just("leave"), st.integers(0, 9)),
    st.tuples(st.just("time"), st.sampled_from([0.1, 1.0, 10.0])),
    st.tuples(st.just("stick")),
    st.tuples(st.just("read")),
    st.tuples(st.just("mute")),
    st.tuples(st.just("speak")),
)


_engines: list[tuple[Any, float]] = []


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(_steps, min_size=8, max_size=40), spool=st.sampled_from([0, 100_000, 2 << 20]))
def test_no_slot_is_ever_held_for_a_client_whatever_clients_do(steps: list[tuple[Any, ...]], spool: int) -> None:
    """At any moment each slot is held by a request that the service has whole, or of which it has something to read;
    so a known client's request gets one unless the service has as much to do as it can."""
    world = World(3, _engines.pop() if _engines else None, body_spool_bytes=spool, body_spools_bytes=6 << 20)
    uploads: list[Sender] = []
    try:
        for step in steps:
            match step:
                case ("open", address, length, chunked):
                    head = b"Transfer-Encoding: chunked\r\n" if chunked else b""
                    upload = Sender(world, address, head, length)
                    if address in KNOWN and upload.exchange is not None:
                        upload.exchange.request.tier = Tier.T1
                    uploads.append(upload)
                case ("send", number, count) if number < len(uploads):
                    uploads[-1 - number].send(count)
                case ("leave", number) if number < len(uploads):
                    uploads[-1 - number].leave()
                case ("time", seconds):
                    world.pass_time(seconds)
                case ("stick",):
                    world.stuck = True
                case ("read",):
                    world.stuck = False
                    world.read()
                case ("mute",):
                    world.mute = True
                case ("speak",):
                    world.speak()
            world.check()
            if not (world.stuck or world.mute or world.unanswered or world.engine.in_flight):
                assert world.ask(KNOWN[0]) == 200, world.refused()
        world.stuck = False
        world.read()
        world.speak()
        world.check()
        assert not world.holders(), "the service has done all that it could"
    finally:
        world.end()
    _engines.append((world.engine, world.now))


@pytest.mark.parametrize("told", [b"first part", b""], ids=["begins", "head only"])
def test_a_service_that_answers_during_the_uploads_keeps_nobody_out(worlds: Callable[..., World], told: bytes) -> None:
    """It begins its answer to each of a few uploads that never end; no slot is held for what it does not do."""
    world = worlds(4, body_spool_bytes=0)
    world.mute = True
    uploads = [Sender(world, f"192.0.{i % 4}.1", length=3000 * KB) for i in range(8)]
    for upload in uploads:
        upload.send(100 * KB)
    world.pass_time(1)
    for link in list(world.links):
        link.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + told)
    world.loop.settle()
    for _ in range(8):
        world.pass_time(0.5)
        for upload in uploads:
            upload.send(10 * KB)
    world.mute = False
    page = Sender(world, "198.51.100.1", path="/page")
    world.pass_time(2)
    assert page.status == 200
    for upload in uploads:
        upload.leave()
    world.pass_time(1)
    assert (world.engine.in_flight, world.streams.laggards) == (0, 0)
