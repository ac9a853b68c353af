"""Limits of connections, and whose goes first when there are too many."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.client.crowding import (
    DRAWN,
    GLANCE,
    NOTHING_UNDER_WAY,
    REASONS,
    RELIEF,
    UNDER_WAY,
    UNREAD,
    UNREAD_SECONDS,
    UNSENT,
    Crowding,
    share_of,
)
from shield.client.watch import Limits, TimeoutSettings, Watch
from shield.http.forwarded import Forwarding
from shield.upstream.settings import UpstreamSettings
from tests.exchange.test_exchange import SWITCHED, WEBSOCKET
from tests.harness import (
    QUEUED,
    Client,
    Link,
    PermissiveEngine,
    QuietLog,
    Received,
    Shield,
    get,
    post,
    reply,
    shielded,
    soon,
)


class FakePeer:
    def __init__(self, address: str, trusted: bool) -> None:
        self.address = address
        self.trusted = trusted
        self.client = None
        self.shown_pass = None


class FakeConnection:
    def __init__(self, address: str, stake: int = NOTHING_UNDER_WAY, deadline: float = 0.0, trusted: bool = False):
        self.peer = FakePeer(address, trusted)
        self.seat = -1
        self.whereabouts = ("", "")
        self.watch = Watch(Limits(TimeoutSettings(), UpstreamSettings()), 0.0, last=False)
        self.watch.deadline = deadline
        self.at_stake = stake
        self.displaced = 0
        self.waiting = 0

    def stake(self, now: float) -> int:
        return self.at_stake

    def held(self) -> int:
        return 0 if self.displaced else self.waiting

    def displace(self, now: float) -> None:
        self.displaced += 1


class Crowd:
    """Connections that are none."""

    def __init__(self, per_address: int = 100, per_network: int = 100) -> None:
        self.engine = PermissiveEngine()
        self.log = QuietLog()
        self.closed: dict[str, int] = {}
        self.now = 77.0
        self.connections = Crowding(
            self.engine,  # type: ignore[arg-type]
            self.log,  # type: ignore[arg-type]
            self.closed,
            lambda address: address == "192.0.2.1",
            lambda: self.now,
        )
        self.connections.per_address = per_address
        self.connections.per_network = per_network

    def make_room(self, newcomer: str = "198.51.100.1") -> bool:
        connection = self.connections.least()
        return connection is not None and self.connections.make_room(connection, newcomer)

    def add(self, *arguments: Any, **options: Any) -> Any:
        connection: Any = FakeConnection(*arguments, **options)
        self.connections.add(connection)
        return connection


def displaced(*connections: Any) -> list[int]:
    return [number for number, connection in enumerate(connections) if connection.displaced]


def test_the_defaults_are_shares_of_all_up_to_what_no_office_needs() -> None:
    assert share_of(0, 8000, 4, 4096) == 2000
    assert share_of(0, 500_000, 4, 4096) == 4096
    assert share_of(0, 2, 4, 4096) == 1
    assert share_of(50, 8000, 4, 4096) == 50
    assert share_of(9000, 8000, 4, 4096) == 8000


def test_counts_go_with_the_connections() -> None:
    crowd = Crowd()
    connections = [crowd.add(f"127.0.{n // 4}.{n % 4}") for n in range(40)] + [crowd.add("2001:db8::1"), crowd.add("")]
    assert repr(crowd.connections) == "<Crowding 42 of 41 addresses in 11 networks>"
    for connection in connections[::2] + connections[1::2]:
        crowd.connections.remove(connection)
        crowd.connections.remove(connection)
    assert repr(crowd.connections) == "<Crowding 0 of 0 addresses in 0 networks>"
    assert crowd.closed == dict.fromkeys(REASONS, 0)


def test_a_line_of_ipv6_is_a_64_and_its_network_a_48() -> None:
    crowd = Crowd(per_address=2, per_network=3)
    connections = [crowd.add("2001:db8::1"), crowd.add("2001:db8::2")]
    assert crowd.connections.admit("2001:db8::3")
    assert sum(connection.displaced for connection in connections) == 1
    assert len(crowd.connections) == 1
    for subnet in (1, 2):
        crowd.add(f"2001:db8:0:{subnet}::1")
    assert crowd.connections.admit("2001:db8:0:9::1"), "one of its network makes room"
    assert crowd.closed["displaced_address"] == crowd.closed["displaced_network"] == 1
    assert crowd.connections.admit("2001:db8:1::1")


def test_an_address_at_its_limit_replaces_its_own() -> None:
    crowd = Crowd(per_address=3)
    others = [crowd.add("10.0.0.1", deadline=1.0) for _ in range(2)]
    own = [crowd.add("10.0.0.2", deadline=deadline) for deadline in (30.0, 10.0, 20.0)]
    assert crowd.connections.admit("10.0.0.2")
    assert displaced(*own) == [1], "the one that would be closed soonest anyway"
    assert displaced(*others) == []


def test_an_address_that_uses_all_its_connections_gets_no_more() -> None:
    crowd = Crowd(per_address=3)
    connections = [crowd.add("10.0.0.2", UNDER_WAY) for _ in range(3)]
    assert not crowd.connections.admit("10.0.0.2")
    assert crowd.connections.admit("10.0.0.3")
    assert displaced(*connections) == []
    assert crowd.closed["refused_address"] == 1


def test_a_network_at_its_limit_replaces_its_own() -> None:
    crowd = Crowd(per_address=5, per_network=6)
    connections = [crowd.add(f"10.0.0.{n}") for n in (1, 2, 2, 2, 3, 4)]
    assert crowd.connections.admit("10.0.1.1"), "it is in another"
    assert crowd.connections.admit("10.0.0.9")
    assert displaced(*connections) in ([1], [2], [3]), "of the address that holds most"
    for connection in connections:
        connection.at_stake = UNDER_WAY
    crowd.add("10.0.0.9", UNDER_WAY)
    assert not crowd.connections.admit("10.0.0.2"), "its address has most"
    assert crowd.connections.admit("10.0.0.10"), "an address with two of them has one too many, whatever they do"
    assert Counter(one.peer.address for one in connections if one.displaced) == {"10.0.0.2": 2}
    crowd.add("10.0.0.10", UNDER_WAY)
    assert not crowd.connections.admit("10.0.0.11"), "all have one"
    assert crowd.closed["refused_network"] == 2


def test_trusted_proxies_are_not_limited_by_address_and_go_last() -> None:
    crowd = Crowd(per_address=1, per_network=1)
    proxies = [crowd.add("192.0.2.1", trusted=True) for _ in range(5)]
    assert crowd.connections.admit("192.0.2.1")
    stranger = crowd.add("10.0.0.1")
    assert crowd.make_room()
    assert displaced(stranger, *proxies) == [0]
    assert crowd.make_room()
    assert sum(connection.displaced for connection in proxies) == 1


def test_strangers_with_nothing_under_way_go_first_then_bodies_then_unread_answers_then_the_known() -> None:
    crowd = Crowd()
    crowd.engine.deserving = {"10.0.0.1", "10.0.0.2"}
    known = crowd.add("10.0.0.1")
    uploading = crowd.add("10.0.0.2", UNSENT)
    body = crowd.add("10.1.0.1", UNSENT)
    unread = crowd.add("10.4.0.1", UNREAD)
    reading = crowd.add("10.0.0.1", UNREAD)
    idle = crowd.add("10.2.0.1")
    busy = crowd.add("10.3.0.1", UNDER_WAY)
    order = []
    while crowd.make_room():
        order.append(displaced(known, uploading, body, idle, busy, unread, reading))
    assert order == [[3], [2, 3], [2, 3, 5], [0, 2, 3, 5]], "what is under way stays, and what a known client moves"
    assert len(crowd.connections) == 3


def test_it_is_one_of_those_who_hold_most() -> None:
    crowd = Crowd(per_address=1000, per_network=2000)
    few = [crowd.add(f"10.{n}.0.1") for n in range(1500)]
    many = [crowd.add("10.200.0.1") for _ in range(500)]
    for _ in range(200):
        assert crowd.make_room()
    assert len(displaced(*few)) < 10, "a fifth hold one address, and 32 are looked at: 1 in 1,000 misses it"
    assert len(displaced(*few)) + len(displaced(*many)) == 200


_stakes = st.sampled_from([NOTHING_UNDER_WAY, UNSENT, UNREAD, UNDER_WAY])
_wheres = st.tuples(st.integers(1, 3), st.integers(1, 3), _stakes)
_newcomers = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=GLANCE)


@given(st.lists(_wheres, min_size=1, max_size=GLANCE), _newcomers)
def test_whoever_has_most_gives_up_connections_first(
    wheres: list[tuple[int, int, int]], newcomers: list[tuple[int, int]]
) -> None:
    """The guarantee: for a newcomer a connection is closed on which least is under way, and of these one of the network
    that has most, and there of the address. One whose request is under way goes only for a newcomer whose network, or
    address in it, has fewer: so nobody is turned away while another network has two more than theirs."""
    crowd = Crowd(per_address=1000, per_network=1000)
    open_ = [crowd.add(f"10.0.{network}.{address}", stake) for network, address, stake in wheres]
    for network, address in newcomers:
        home = f"10.0.{network}.{address}"
        networks = Counter(one.whereabouts[1] for one in open_)
        homes = Counter(one.whereabouts[0] for one in open_)
        there = crowd.make_room(home)
        if not there:
            assert all(one.at_stake == UNDER_WAY for one in open_)
            most = max(networks.values(), default=0)
            assert most <= networks[f"10.0.{network}"] + 1
            if most == networks[f"10.0.{network}"]:
                heavy = {where for where, count in networks.items() if count == most}
                if heavy == {f"10.0.{network}"}:
                    assert max(homes[one.whereabouts[0]] for one in open_) <= homes[home] + 1
            continue
        (gone,) = [one for one in open_ if one.displaced]
        open_.remove(gone)
        rivals = [one for one in open_ if one.at_stake <= gone.at_stake]
        assert all(one.at_stake == gone.at_stake for one in rivals)
        if gone.at_stake == UNDER_WAY:
            there = gone.whereabouts
            assert networks[there[1]] > networks[f"10.0.{network}"] + 1 or (
                there[1] == f"10.0.{network}" and homes[there[0]] > homes[home] + 1
            )
        mine = networks[gone.whereabouts[1]], homes[gone.whereabouts[0]]
        assert mine == max([mine, *((networks[one.whereabouts[1]], homes[one.whereabouts[0]]) for one in rivals)])


_waiting = st.tuples(st.integers(1, 3), st.integers(1, 3), st.booleans(), st.integers(0, 60))


@given(st.lists(_waiting, max_size=40), st.integers(1, 400))
def test_whoever_has_most_unsent_is_closed_first(waiting: list[tuple[int, int, bool, int]], most: int) -> None:
    """The guarantee: nobody is closed for it while another network, or another address of the network, has more, those
    with a history counting for a quarter; and it ends with an eighth free."""
    crowd = Crowd()
    crowd.engine.deserving = {f"10.0.{network}.3" for network in range(1, 4)}
    backlog = crowd.connections.backlog
    backlog.limit(most, lambda: None)
    order: list[Any] = []

    class Told(FakeConnection):
        def displace(self, now: float) -> None:
            super().displace(now)
            order.append(self)

    connections: list[Any] = []
    for network, address, known, amount in waiting:
        connections.append(Told(f"10.0.{network}.{3 if known else address % 3}"))
        connections[-1].waiting = amount
        crowd.connections.add(connections[-1])
    backlog.changed(sum(connection.waiting for connection in connections))
    total = backlog.waiting
    crowd.connections.relieve()
    assert bool(order) == (total > most)
    charges: Counter[Any] = Counter()
    for connection in connections:
        for where in connection.whereabouts:
            charges[where] += connection.waiting * (1 if connection.peer.address.endswith(".3") else 4)
    for connection in order:
        assert total > most - most // RELIEF, "no more than is needed"
        home, network = connection.whereabouts
        networks = {each.whereabouts[1] for each in connections}
        homes = {each.whereabouts[0] for each in connections if each.whereabouts[1] == network}
        assert charges[network] == max(charges[where] for where in networks)
        assert charges[home] == max(charges[where] for where in homes)
        for where in connection.whereabouts:
            charges[where] -= connection.waiting * (1 if connection.peer.address.endswith(".3") else 4)
        total -= connection.waiting
    assert not order or total <= most - most // RELIEF


def test_no_more_than_a_few_are_looked_at() -> None:
    crowd = Crowd()
    looked = Counter[int]()

    class Busy(FakeConnection):
        def stake(self, now: float) -> int:
            looked[0] += 1
            return UNDER_WAY

    for n in range(5000):
        crowd.connections.add(Busy(f"10.{n // 250}.{n % 250}.1"))  # type: ignore[arg-type]
    assert not crowd.make_room()
    assert looked[0] == DRAWN


def test_the_log_is_told_once_a_second() -> None:
    crowd = Crowd(per_address=1)
    for _ in range(3):
        for _ in range(50):
            crowd.add("10.0.0.1")
            crowd.connections.admit("10.0.0.1")
        crowd.now += 1.0
    name, details = crowd.log.events[1]
    assert len(crowd.log.events) == 3
    assert name == "connections_displaced"
    assert details == {"reason": "displaced_address", "at": "10.0.0.1", "count": 50, "open": 1}


# with sockets


async def silent(shield: Shield, stack: contextlib.AsyncExitStack, number: int, **options: Any) -> list[Client]:
    """So many connections in the middle of a head."""
    before = len(shield.crowding)
    clients = [await stack.enter_async_context(await shield.client(**options)) for _ in range(number)]
    for client in clients:
        await client.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n")
    await soon(lambda: len(shield.crowding) >= before + number)
    return clients


async def test_a_newcomer_gets_in_when_silent_connections_hold_all_places() -> None:
    async with shielded(limit=20) as (shield, _), contextlib.AsyncExitStack() as stack:
        flood = await silent(shield, stack, 20)
        for n in range(5):
            user = await stack.enter_async_context(await shield.client(source=f"127.2.{n}.1"))
            assert (await user.ask(get("/page"))).status == 200
        assert shield.metrics.connections_closed["displaced"] == 5
        assert not shield.told("accepting_paused")
        await soon(lambda: shield.metrics.connections_open == len(shield.crowding) == 20)
        shield.advance(11)
        answers = [await client.rest() for client in flood]
        assert Counter(answer[:12] for answer in answers) == {b"": 5, b"HTTP/1.1 408": 15}


async def test_one_whose_request_is_under_way_is_not_closed_for_who_has_as_many() -> None:
    async with shielded({"/slow": None}, limit=4) as (shield, origin), contextlib.AsyncExitStack() as stack:
        sources = [f"127.1.{number}.1" for number in range(4)]
        clients = [await stack.enter_async_context(await shield.client(source=source)) for source in sources]
        for client in clients:
            await client.send(get("/slow"))
        await origin.got(4)
        late = await stack.enter_async_context(await shield.client())
        await late.send(get("/x"))
        await soon(lambda: shield.told("accepting_paused"))
        shield.listener.retry()
        assert len(shield.crowding) == 4, "nothing has changed"
        await origin.links[0].send(reply())
        await soon(lambda: any(connection.stake(shield.clock()) == NOTHING_UNDER_WAY for connection in shield.accepted))
        shield.listener.retry()
        assert (await late.response()).status == 200
        assert shield.metrics.connections_closed["displaced"] == 1
        assert len(shield.engine.cancelled) == 0


async def test_two_networks_that_use_all_connections_keep_nobody_out() -> None:
    """Answers that nobody read counted as under way: 300 of them, of 40 addresses, held every connection for as long as
    they were opened again, and nobody else was let in."""
    limit = 12
    answers = {"/": reply(b"x" * 200_000), "/slow": None}
    async with shielded(answers, limit=limit) as (shield, _), contextlib.AsyncExitStack() as stack:
        for sock in shield.listener._sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for number in range(limit):
            source = f"127.1.{number % 2}.{number}"
            client = await stack.enter_async_context(await shield.client(source=source, receive_buffer=4096))
            await client.send(get("/slow" if number < 4 else "/"))
        now = shield.clock
        await soon(lambda: len(shield.accepted) == limit)
        await soon(lambda: all(one.stake(now()) == UNDER_WAY for one in shield.accepted))
        for number in range(3):
            user = await stack.enter_async_context(await shield.client(source=f"127.2.{number}.1"))
            assert (await user.ask(get("/page"))).status == 200
        assert shield.metrics.connections_closed["displaced"] == 3
        shield.advance(UNREAD_SECONDS)
        kinds = Counter(one.stake(now()) for one in shield.crowding._all)
        assert kinds[UNREAD] >= 7, "by now they go before what the service works for"
        assert kinds[UNREAD] + kinds[UNDER_WAY] == limit - 1, "each user's went for the next one's"


async def test_a_websocket_that_is_closed_for_others_leaves_nothing() -> None:
    """Its exchange was told, and the tunnel not: the connection to the service stayed for ever."""

    async def switch(link: Link, request: Received) -> None:
        await link.send(SWITCHED)
        await link.read()
        link.close()

    async with shielded({}, switch, limit=2) as (shield, origin), contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            client = await stack.enter_async_context(await shield.client(source="127.1.1.1"))
            await client.send(get("/ws", *WEBSOCKET))
            assert (await client.response()).status == 101
        user = await stack.enter_async_context(await shield.client(source="127.2.1.1"))
        await user.send(b"GET")
        await soon(lambda: shield.metrics.connections_closed["displaced"] == 1)
        await soon(lambda: sum(link.lost.is_set() for link in origin.links) == 1)
        assert shield.metrics.tunnels_open == shield.metrics.streams_open == 1
        assert shield.metrics.faults["displaced"] == 1


@pytest.mark.parametrize("chunks", [False, True])
async def test_an_upload_of_which_nothing_was_sent_on_gives_way(chunks: bool) -> None:
    upload = get("/up", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n"
    async with shielded(limit=1) as (shield, origin), await shield.client() as client:
        await client.send(upload if chunks else post("/up", bytes(10))[:-5])
        await soon(lambda: shield.engine.decided)
        async with await shield.client(source="127.2.0.1") as other:
            assert (await other.ask(get("/page"))).status == 200
        assert await client.gone()
        assert [request.target for request in origin.requests] == ["/page"]
        assert len(shield.engine.cancelled) == 1


async def test_a_request_that_waits_for_its_turn_stays() -> None:
    async with shielded(limit=2) as (shield, _), await shield.client() as client:
        shield.engine.verdicts = {"/queued": QUEUED}
        await client.send(get("/queued"))
        await soon(lambda: shield.engine.queued)
        async with await shield.client() as idle, await shield.client(source="127.2.0.1") as other:
            await idle.ask(get("/x"))
            shield.listener.retry()
            assert (await other.ask(get("/page"))).status == 200
        now = shield.clock()
        shield.forwarder.resume([shield.engine.let_in()], now)
        assert (await client.response()).status == 200


async def test_an_address_has_its_limit_and_trusted_proxies_have_none() -> None:
    async with shielded({"/slow": None}, per_address=3) as (shield, origin), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await shield.client()) for _ in range(3)]
        for client in clients:
            await client.send(get("/slow"))
        await origin.got(3)
        async with await shield.client() as fourth:
            with contextlib.suppress(ConnectionError):
                await fourth.send(get("/x"))
            assert await fourth.gone()
        assert shield.metrics.connections_closed["refused_address"] == 1
        async with await shield.client(source="127.0.0.2") as other:
            assert (await other.ask(get("/x"))).status == 200
    forwarding = Forwarding(("127.0.0.1",), "x-forwarded-for")
    async with (
        shielded({"/slow": None}, per_address=2, per_network=2, forwarding=forwarding) as (shield, origin),
        contextlib.AsyncExitStack() as stack,
    ):
        for _ in range(5):
            client = await stack.enter_async_context(await shield.client())
            await client.send(get("/slow"))
        await origin.got(5)


async def test_an_old_connection_ends_with_its_next_answer() -> None:
    timeouts = replace(TimeoutSettings(), connection=100.0, keep_alive=1000.0)
    async with shielded(timeouts=timeouts) as (shield, _), await shield.client() as client:
        assert (await client.ask(get("/x"))).get("Connection") is None
        shield.advance(99)
        assert (await client.ask(get("/x"))).get("Connection") is None
        shield.advance(2)
        assert (await client.ask(get("/x"))).get("Connection") == "close"
        assert await client.gone()
        assert shield.metrics.connections_closed["expired"] == 1


async def test_a_websocket_outlives_its_connections_time() -> None:
    async def echo(link: Link, request: Received) -> None:
        await link.send(SWITCHED)
        while data := await link.read():
            await link.send(data)
        link.close()

    timeouts = replace(TimeoutSettings(), connection=100.0)
    async with shielded(None, echo, timeouts=timeouts) as (shield, _), await shield.client() as client:
        shield.clock.offset += 50
        await client.send(get("/ws", *WEBSOCKET))
        assert (await client.response()).status == 101
        shield.advance(200)
        await client.send(b"ping")
        assert await client.exactly(4) == b"ping"


def test_those_for_whose_network_and_address_most_is_unsent_go_first() -> None:
    crowd = Crowd()
    told: list[int] = []
    crowd.connections.backlog.limit(800, lambda: told.append(crowd.connections.backlog.waiting))
    crowd.engine.deserving = {"198.51.100.3"}
    many = [crowd.add(f"198.51.100.{number % 2}", stake=UNDER_WAY) for number in range(8)]
    known, alone, reads = crowd.add("198.51.100.3"), crowd.add("203.0.113.1"), crowd.add("203.0.113.2")
    for connection in [*many, known, alone]:
        connection.waiting = 80
        crowd.connections.backlog.changed(80)
    crowd.connections.relieve()
    assert not told
    crowd.connections.backlog.changed(1)
    assert told == [801]
    crowd.connections.backlog.changed(1)
    assert told == [801], "once"
    crowd.connections.relieve()
    assert len(displaced(*many)) == 2, "until an eighth is free"
    assert {connection.whereabouts[0] for connection in many if connection.displaced} == {
        "198.51.100.0",
        "198.51.100.1",
    }
    assert not displaced(known, alone, reads)
    assert crowd.closed["displaced_unsent"] == 2
    crowd.connections.relieve()
    assert len(displaced(*many)) == 2, "what is left fits, whatever is still counted"
    crowd.connections.backlog.changed(1)
    assert len(told) == 2, "it is told again"
    assert repr(crowd.connections.backlog) == "<Backlog 803 and 0 of 800 bytes, 0 on disk>"


def test_no_limit_holds_for_addresses_that_the_operator_allows() -> None:
    """identity.allow: never limited. A monitor's pool was cut to the share of an address."""
    crowd = Crowd(per_address=2, per_network=3)
    crowd.engine.allowed.add("203.0.113.9")
    connections = [crowd.add("203.0.113.9") for _ in range(9)]
    assert crowd.connections.admit("203.0.113.9")
    neighbours = [crowd.add(f"203.0.113.{n}") for n in range(2)]
    assert crowd.connections.admit("203.0.113.77"), "nor are others in its network limited for it"
    assert not displaced(*connections, *neighbours)
    assert crowd.connections.least() in neighbours
    assert crowd.connections.unlimited("203.0.113.9")
    assert not crowd.connections.unlimited("203.0.113.10")
