"""Who holds how many connections, and which of them goes first when there are too many.

    limit                                     beyond it
    of an address (IPv4 /32, IPv6 /64)        its least deserving connection is closed, or the newcomer's
    of its network (IPv4 /24, IPv6 /48)       likewise
    of all                                    the least deserving of all is closed, or no more are accepted
    http.unsent_bytes waiting to be sent      connections are closed until an eighth of that is free

Of an address that is dropped (policy/drops.py) all are closed, and no new one is let in.

Least deserving is, in this order:

    1  nothing is under way: it is silent, in the middle of a head, or idle
    2  part of a request's body has come, and the upstream has seen none of it
    3  its answer is complete, and its client has not taken all of it for UNREAD_SECONDS
    4  as 1, but of somebody with a history or a pass
    5  anything else: its request is with the upstream, or waits for its turn there; a WebSocket; a known client's
       body, or answer

and among equals one of the network that has most connections, there of the address that has most (the order of
policy/shares.py), then the one that would be closed soonest anyway. One of the last kind goes only for a newcomer whose
network has fewer connections, or whose address has fewer of the network's, those with a history counting a quarter. If
nobody need give way so, newcomers wait.

Of those whose answers take too much memory, the connections of the network, and there of the address, go first for
which most is unsent (policy/shares.py), whatever is under way on them: memory that is not there cannot be waited for.
Somebody with a history or a pass may have four times what a stranger may.

At most DRAWN connections are looked at for a newcomer, drawn by lot: who holds most is drawn most. (A scan of 32 takes
some 10 µs.) Nothing is done while all are open that need be, except to count.

Connections of trusted proxies belong to many clients and are not limited by address, nor are those from networks in
`identity.allow`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, MutableMapping
from random import random
from sys import intern
from typing import TYPE_CHECKING, Final, Protocol

from shield.model import Tier
from shield.policy.locations import locate
from shield.policy.shares import WEIGHTS, Holding, Shares
from shield.wire.transport import Backlog

if TYPE_CHECKING:
    from shield.client.peer import Peer
    from shield.client.watch import Watch
    from shield.operator.log import AccessLog
    from shield.policy.engine import Engine

DRAWN: Final = 256
GLANCE: Final = 32
"""Looks after which one of the first kind is good enough."""
RELIEF: Final = 8
"""One part in so many of the bound on what is unsent is freed at a time. To look at all connections takes some 10 µs
for each that has something unsent, and as much as was freed must be written before it is done again."""
TELL_SECONDS: Final = 1.0
"""Between two lines of the log about the same thing."""

MOST_PER_ADDRESS: Final = 4096
MOST_PER_NETWORK: Final = 16_384
"""By default at most; else a quarter and a half of all. A browser keeps six: so 680 browsers behind one address, each
used within `timeouts.keep_alive`, are not too many, nor are 2,700 in a network."""

NOTHING_UNDER_WAY, UNSENT, UNREAD, _KNOWN, UNDER_WAY = range(5)
"""What Guest.stake() says: what would be lost. _KNOWN is the rank of a known client's connection with nothing under
way."""
UNREAD_SECONDS: Final = 2.0
"""s. As long as that the end of an answer is taken for on its way: a few round trips of a bad line."""
_NOBODYS: Final = (0, 0)
_ALONE: Final = (WEIGHTS[Tier.T3], WEIGHTS[Tier.T3])  # the share of a stranger's only connection

REASONS: Final = (
    "refused_address",  # its address has too many, and all of them are in use
    "refused_network",
    "refused",  # all connections are in use, and its network or address has as many as any
    "displaced_address",  # it gave way to a newer one of its address
    "displaced_network",
    "displaced",  # it gave way to a newcomer when all connections were in use
    "displaced_unsent",  # too much waited to be sent to all, and most of it to its network and address
    "expired",  # timeouts.connection
    "dropped",  # its address goes on against refusals (policy/drops.py)
)
"""Labels of shield_connections_closed_total."""


def share_of(configured: int, total: int, parts: int, most: int) -> int:
    """The limit of an address or network: as configured, or one of `parts` parts of the `total`, up to `most`."""
    return min(configured or min(max(1, total // parts), most), total)


NOWHERE: Final = ("", "")
"""The whereabouts of a connection that is not limited."""


class Guest(Protocol):
    """A client connection, as far as it matters here. `seat` and `whereabouts` are Crowding's: its place in the list of
    all, and the line and the network that it is counted for, both empty where it is not limited."""

    seat: int
    whereabouts: tuple[str, str]

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""

    @property
    def watch(self) -> Watch:
        """Until when it would live anyway."""

    def stake(self, now: float) -> int:
        """What would be lost if it were closed now."""

    def held(self) -> int:
        """bytes that wait for the client, and those of its requests' bodies that are in memory."""

    def displace(self, now: float) -> None:
        """Close to make room for another one."""


class Crowding:
    """How many connections clients have, and which ones. Bounded by the listener's limit. `backlog` is what waits to be
    sent to them."""

    __slots__ = (
        "_addresses",
        "_all",
        "_clock",
        "_closed",
        "_engine",
        "_log",
        "_networks",
        "_said",
        "_trusts",
        "backlog",
        "per_address",
        "per_network",
    )

    def __init__(
        self,
        engine: Engine,
        log: AccessLog,
        closed: MutableMapping[str, int],
        trusts: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        """`closed` counts by REASONS, `trusts` knows the addresses of trusted proxies."""
        self._engine = engine
        self._log = log
        self._closed = closed
        closed.update(dict.fromkeys(REASONS, 0))  # a counter that appears late loses its first step
        self._trusts = trusts
        self._clock = clock
        self.per_address = MOST_PER_ADDRESS
        self.per_network = MOST_PER_NETWORK
        self.backlog = Backlog()
        self._all: list[Guest] = []  # each knows its index, its `seat`
        self._addresses: dict[str, int] = {}  # how many each has
        self._networks: dict[str, int] = {}
        self._said: dict[str, tuple[float, int]] = {}  # by reason: when, and how many there had been by then

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<Crowding {len(self._all)} of {len(self._addresses)} addresses in {len(self._networks)} networks>"

    def add(self, connection: Guest) -> None:
        """A connection is open; its peer is known by address."""
        connection.seat = len(self._all)
        self._all.append(connection)
        address = connection.peer.address
        if address and not connection.peer.trusted and not self._engine.allows(address):
            home, network = whereabouts(address)
            home, network = intern(home), intern(network)  # one of each for all connections from there: 110 bytes less
            connection.whereabouts = home, network
            self._addresses[home] = self._addresses.get(home, 0) + 1
            self._networks[network] = self._networks.get(network, 0) + 1

    def remove(self, connection: Guest) -> None:
        """It is closed, or as good as that."""
        seat = connection.seat
        if seat < 0:
            return
        connection.seat = -1
        last = self._all.pop()
        if last is not connection:
            self._all[seat] = last
            last.seat = seat
        home, network = connection.whereabouts
        if home:
            _lower(self._addresses, home)
            _lower(self._networks, network)

    def admit(self, address: str) -> bool:
        """Whether a connection from `address` may stay. Closes another one of its address or network if need be."""
        dropped = self._engine.drops.active
        if dropped and whereabouts(address)[0] in dropped and not self.unlimited(address):
            self._closed["dropped"] += 1
            return False
        count = len(self._all)
        if count < self.per_address and count < self.per_network:
            return True
        home, network = whereabouts(address)
        if self._addresses.get(home, 0) >= self.per_address and not self.unlimited(address):
            return self._make_room_at(home, "", "address", address)
        if self._networks.get(network, 0) >= self.per_network and not self.unlimited(address):
            return self._make_room_at("", network, "network", address)
        return True

    def unlimited(self, address: str) -> bool:
        """Whether no limit of addresses and networks holds for an address."""
        return self._trusts(address) or self._engine.allows(address)

    def stranger(self, address: str) -> bool:
        """Whether nobody at an address has a history, and it is not one of those that are always let in."""
        return not (self._engine.deserves(address, None) or self.unlimited(address))

    def _make_room_at(self, home: str, network: str, kind: str, newcomer: str) -> bool:
        connection = self._least(home, network)
        if connection is None or not self._yields(connection, newcomer):
            self._count(f"refused_{kind}", home or network)
            return False
        self._close(connection, f"displaced_{kind}", home or network)
        return True

    def least(self) -> Guest | None:
        """The least deserving of all, for make_room(); None when none of those looked at may be closed for anybody."""
        return self._least("", "")

    def make_room(self, connection: Guest, newcomer: str) -> bool:
        """Close `connection` for one from the address `newcomer`, unless that deserves it less. Whether it may stay."""
        if not self._yields(connection, newcomer):
            self._count("refused", whereabouts(newcomer)[1])
            return False
        self._close(connection, "displaced", connection.whereabouts[1])
        return True

    def _yields(self, connection: Guest, newcomer: str) -> bool:
        """Whether `connection` gives way: always, if nothing is under way on it that only shares decide about."""
        if self._rank(connection) != UNDER_WAY or self.unlimited(newcomer):
            return True
        home, network = whereabouts(newcomer)
        weight = WEIGHTS[Tier.T1 if self._engine.deserves(home, None) else Tier.T3]
        theirs = self._charge(connection)
        if connection.whereabouts[1] != network:
            return theirs[0] > weight * (self._networks.get(network, 0) + 1)
        return connection.whereabouts[0] != home and theirs[1] > weight * (self._addresses.get(home, 0) + 1)

    def relieve(self) -> None:
        """Too much waits to be sent, or is kept of bodies: close the connections that deserve it least."""
        most = self.backlog.most
        if self.backlog.full():
            shares: Shares[Guest] = Shares(most, recallable=True)
            for connection in self._all:
                held = connection.held()
                if held:
                    shares.add(self._holding(connection), held)
            while shares.total > most - most // RELIEF:
                holding = shares.least()
                assert holding is not None  # noqa: S101 - or the total would be 0
                shares.give(holding, holding.amount)
                self._close(holding.owner, "displaced_unsent", holding.owner.whereabouts[1])
        self.backlog.relieved()

    def _holding(self, connection: Guest) -> Holding[Guest]:
        tier = Tier.T1 if self._deserves(connection) else Tier.T3
        client = connection.peer.client
        if client is None:
            return Holding(connection, tier, None, *connection.whereabouts)
        return Holding(connection, tier, client.key, client.home, client.network)

    def drop(self, homes: Container[str]) -> None:
        """Close the connections of these addresses, but for those of clients with a history or a pass."""
        for connection in [one for one in self._all if one.whereabouts[0] in homes]:
            if not self._deserves(connection):
                self._closed["dropped"] += 1
                self.remove(connection)
                connection.displace(self._clock())

    def expired(self) -> None:
        """One is about to be closed for its age."""
        self._closed["expired"] += 1

    def _close(self, connection: Guest, reason: str, where: str) -> None:
        self._count(reason, where)
        self.remove(connection)
        connection.displace(self._clock())

    def _least(self, home: str, network: str) -> Guest | None:
        """The least deserving of an address, of a network, or of all, as far as DRAWN tell."""
        connections = self._all
        count = len(connections)
        best: Guest | None = None
        best_rank, best_share, best_end = UNDER_WAY, _ALONE, 0.0
        for look in range(min(count, DRAWN)):
            if look == GLANCE and best_rank == NOTHING_UNDER_WAY:
                break
            connection = connections[look] if count <= DRAWN else connections[int(random() * count)]  # noqa: S311 - no secret
            if (home and connection.whereabouts[0] != home) or (network and connection.whereabouts[1] != network):
                continue
            rank = self._rank(connection)
            if rank > best_rank:
                continue
            share = self._charge(connection) if rank == UNDER_WAY else self._share(connection)
            if rank < best_rank or share > best_share or (share == best_share and connection.watch.deadline < best_end):
                best, best_rank, best_share, best_end = connection, rank, share, connection.watch.deadline
        return best

    def _rank(self, connection: Guest) -> int:
        """The kind of a connection, in the order of this module's docstring."""
        stake = connection.stake(self._clock())
        if stake == UNDER_WAY or not self._deserves(connection):
            return stake
        return _KNOWN if stake == NOTHING_UNDER_WAY else UNDER_WAY

    def _deserves(self, connection: Guest) -> bool:
        peer, home = connection.peer, connection.whereabouts[0]
        if not home:  # it is not limited, unless it was reset before it was accepted
            return peer.address != ""
        return self._engine.deserves(peer.client or home, peer.shown_pass)

    def _share(self, connection: Guest) -> tuple[int, int]:
        """How many connections its network has, and its address."""
        home, network = connection.whereabouts
        return self._networks.get(network, 0), self._addresses.get(home, 0)

    def _charge(self, connection: Guest) -> tuple[int, int]:
        """The same, as it counts for what is under way on it."""
        weight = WEIGHTS[Tier.T1 if self._deserves(connection) else Tier.T3]
        network, address = self._share(connection)
        return weight * network, weight * address

    def _count(self, reason: str, where: str) -> None:
        """Count a connection that was closed, and tell the log now and then."""
        self._closed[reason] += 1
        count = self._closed[reason]
        now = self._clock()
        since, told = self._said.get(reason, (float("-inf"), 0))
        if now - since >= TELL_SECONDS:
            self._said[reason] = (now, count)
            verb = "refused" if reason.startswith("refused") else "displaced"
            self._log.event(f"connections_{verb}", reason=reason, at=where, count=count - told, open=len(self._all))


def whereabouts(address: str) -> tuple[str, str]:
    """The line and the network that a textual address belongs to."""
    if ":" not in address:
        return address, address[: address.rfind(".")]
    _, home, network, _ = locate(address)
    return home, network


def _lower(counts: dict[str, int], key: str) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
