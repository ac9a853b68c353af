"""What the policy has learned besides the history, as plain rows, so that it may outlive a process.

A row is a list: its kind, then JSON values. Times are of the wall clock, since no other clock outlives a restart.

    client, address, network   scores of note, bans and relapses
    pass                       passes that are scarce or revoked: the others are read from their token
    spent                      challenges that were answered
    drop                       addresses that are dropped, or were
    wait                       places in the waiting room
    left                       a place that was given to somebody else; only for other workers, as are
    paid                       what was charged to the buckets of a client, or a pass
    seen                       a network in which a pass is used
    pardon                     a client or an address whose ban the operator has lifted
    minting                    by which this process knows its own challenges; only for the heir of this very process
    route, limit               what the service was found to take; of use only before the same service
    price, weather             what a pass costs; pressure, demand and the attack that is on

Of several sites each engine gives and takes its own route, limit, price, weather, wait and left; the first one
also what is known of clients, which is the same for all (clients.py).

Scores below LEAST_SCORE are left out, and each table gives no more than MOST_SCORES of them: who has less loses little
by being forgotten. Bans are left out never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from shield.policy.board.paid import Paid
from shield.policy.challenge.challenge import Challenger
from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.drops import Drops
from shield.policy.entries import AddressEntry, ClientEntry, NetworkEntry
from shield.policy.identity import Identity
from shield.policy.keys import TAG_BYTES
from shield.policy.news import News
from shield.policy.passes import Passes
from shield.policy.pricing.pricing import Pricing
from shield.policy.reputation import Reputation
from shield.policy.routes import Routes
from shield.policy.rows import count, key, number, text
from shield.policy.windows import Windows

LEAST_SCORE: Final = 2.0
"""Points: half of what halves a rate."""
MOST_SCORES: Final = 20_000
OF_THE_SERVICE: Final = frozenset({"route", "limit"})
"""Kinds of rows that mean nothing before another service."""

Row = list[Any]


class Remembered:
    """Gives rows, and takes them."""

    __slots__ = (
        "_challenger", "_concurrency", "_drops", "_identity", "_passes", "_pricing", "_reputation",
        "_routes", "_takers", "_windows", "journal", "of_clients", "wall_offset",
    )  # fmt: skip

    def __init__(
        self,
        *,
        identity: Identity,
        drops: Drops,
        reputation: Reputation,
        passes: Passes,
        challenger: Challenger,
        pricing: Pricing,
        routes: Routes,
        concurrency: Concurrency,
        windows: Windows,
        wall_offset: float,
        journal: News,
        paid: Paid | None = None,
        of_clients: bool = True,
    ) -> None:
        """`of_clients`: gives what is known of clients, too."""
        self.journal = journal
        """What must outlive a crash."""
        self._identity = identity
        self.of_clients = of_clients
        self._drops = drops
        self._reputation = reputation
        self._passes = passes
        self._challenger = challenger
        self._pricing = pricing
        self._routes = routes
        self._concurrency = concurrency
        self._windows = windows
        self.wall_offset = wall_offset  # wall clock minus ours
        self._takers: dict[str, Callable[[Row, float], bool]] = {
            "client": self._take_client,
            "address": self._take_address,
            "network": self._take_network,
            "pass": lambda row, now: passes.restore(row, self.wall_offset, now, owes=paid is None),
            "seen": passes.seen,
            "pardon": self._take_pardon,
            "spent": challenger.restore,
            "minting": lambda row, _: challenger.inherit(row),
            "drop": self._take_drop,
            "wait": lambda row, now: pricing.room.restore(row, self.wall_offset, now),
            "left": lambda row, _: pricing.room.drop(row),
            "paid": lambda row, now: paid is not None and paid.take(row, now),
            "network_paid": lambda row, now: paid is not None and paid.take_network(row, now),
            "route": lambda row, _: routes.restore(row),
            "limit": concurrency.restore,
            "price": lambda row, _: pricing.restore(row),
            "weather": lambda row, now: windows.restore(row, self.wall_offset, now),
        }

    def rows(self, now: float, heir: bool) -> Iterator[Row | None]:
        """All of it. None for what is looked at and left out, so that the caller may pause after so many. `heir`: they
        go to the process that follows, or to the next service of this one, and nowhere else."""
        yield ["weather", *self._windows.weather_row(self.wall_offset)]
        yield ["limit", *self._concurrency.row()]
        yield ["price", *self._pricing.row()]
        yield from (["route", *row] for row in self._routes.rows())
        yield from (["wait", *row] for row in self._pricing.room.rows(self.wall_offset))
        if self.of_clients:
            yield from self._rows_of_clients(now, heir)

    def _rows_of_clients(self, now: float, heir: bool) -> Iterator[Row | None]:
        if heir:
            yield ["minting", *self._challenger.inheritance()]
        yield from (["spent", *row] for row in self._challenger.rows(now))
        yield from (row and ["pass", *row] for row in self._passes.rows(self.wall_offset, now))
        yield from self._of_clients(now)
        yield from self._of_addresses(now)
        yield from self._of_networks(now)
        yield from (["drop", *row] for row in self._drops.rows(self.wall_offset))

    def noted(self) -> Iterator[Row]:
        """What the journal has noted since the last call, as rows."""
        return (self.row(kind, thing) for kind, thing in self.journal.take())

    def row(self, kind: str, thing: Any) -> Row:
        """What others are to hear of a thing (news.py), as a row that they load()."""
        match kind:
            case "client":
                return self._of_client(thing)
            case "address":
                return self._of_address(thing)
            case "pass":
                return [kind, *self._passes.row(thing, self.wall_offset)]
            case "spent":
                return [kind, *self._challenger.row(*thing)]
            case "pardon":
                named = ["", thing.name] if isinstance(thing, AddressEntry) else [thing.key.hex(), ""]
                return [kind, *named]
            case "seen":
                return [kind, thing.key.hex(), thing.network]
            case "route":
                return [kind, *self._routes.row(thing)]
            case "wait":
                return [kind, *self._pricing.room.row(thing, self.wall_offset)]
            case _:
                return ["left", thing.id.hex()]

    def load(self, rows: Iterable[Any], now: float, same_service: bool = True) -> int:
        """Take rows that `rows` made, of whatever process; how many were taken. What makes no sense, has ended, or is
        of another service is left out."""
        taken = 0
        for row in rows:
            try:
                kind, *values = row
                if same_service or kind not in OF_THE_SERVICE:
                    taken += self._takers[kind](values, now)
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
        return taken

    # scores and bans

    def _of_clients(self, now: float) -> Iterator[Row | None]:
        scores = MOST_SCORES
        for entry in tuple(self._identity.clients.values()):
            noted = not entry.rare.overflow and self._reputation.remembers(entry, now)
            if not noted and (
                entry.rare.overflow or scores <= 0 or self._reputation.of_client(entry, now) < LEAST_SCORE
            ):
                yield None
                continue
            scores -= not noted
            yield self._of_client(entry)

    def _of_client(self, entry: ClientEntry) -> Row:
        return ["client", entry.key.hex(), entry.source.name, *self._score(entry), entry.shared, *self._ban(entry)]

    def _of_addresses(self, now: float) -> Iterator[Row | None]:
        scores = MOST_SCORES
        for entry in tuple(self._identity.addresses.values()):
            noted = self._reputation.remembers(entry, now)
            if not noted and (scores <= 0 or self._reputation.of_source(entry, now) < LEAST_SCORE):
                yield None
                continue
            scores -= not noted
            yield self._of_address(entry)

    def _of_address(self, entry: AddressEntry) -> Row:
        return ["address", entry.name, *self._score(entry), entry.rare.hard, *self._ban(entry)]

    def _of_networks(self, now: float) -> Iterator[Row | None]:
        scores = MOST_SCORES
        for entry in tuple(self._identity.networks.values()):
            if scores <= 0 or self._reputation.of_source(entry, now) < LEAST_SCORE:
                yield None
                continue
            scores -= 1
            yield ["network", entry.name, *self._score(entry)]

    def _score(self, entry: ClientEntry | AddressEntry | NetworkEntry) -> tuple[float, float]:
        return entry.score, entry.scored_at + self.wall_offset

    def _ban(self, entry: ClientEntry | AddressEntry) -> tuple[float, int]:
        return entry.rare.banned_until + self.wall_offset, entry.rare.relapses

    def _take_client(self, row: Row, now: float) -> bool:
        name, home, score, at, shared, until, relapses = row
        entry = self._identity.restore(key(name, TAG_BYTES), text(home), now)
        if entry is None:
            return False
        self._take_score(entry, score, at, now)
        entry.shared = max(entry.shared, number(shared, 0.0))
        self._take_ban(entry, until, relapses, now)
        return True

    def _take_address(self, row: Row, now: float) -> bool:
        home, score, at, hard, until, relapses = row
        entry = self._identity.restore_source(text(home), now)
        if entry.rare.overflow:
            return False
        self._take_score(entry, score, at, now)
        entry.hard = max(entry.rare.hard, number(hard, 0.0))
        self._take_ban(entry, until, relapses, now)
        return True

    def _take_network(self, row: Row, now: float) -> bool:
        name, score, at = row
        entry = self._identity.restore_network(text(name), now)
        if entry.overflow:
            return False
        self._take_score(entry, score, at, now)
        return True

    def _take_drop(self, row: Row, now: float) -> bool:
        home, until, times = row
        source = self._identity.restore_source(text(home), now)
        if source.name != home:
            return False
        return self._drops.restore(source, number(until) - self.wall_offset, count(times), now)

    def _take_pardon(self, row: Row, now: float) -> bool:
        name, home = row
        if name:
            client = self._identity.clients.get(key(name, TAG_BYTES))
            return client is not None and self._reputation.pardon(client, now) > 0
        source = self._identity.addresses.get(text(home))
        return source is not None and self._reputation.pardon(source, now) > 0

    def _take_score(self, entry: ClientEntry | AddressEntry | NetworkEntry, score: Any, at: Any, now: float) -> None:
        """The higher of two: several processes may have known the same one."""
        most = self._reputation.settings.most_score
        score, at = number(score, -most, most), number(at) - self.wall_offset
        if abs(score) > abs(entry.score):
            entry.score, entry.scored_at = score, min(at, now)

    def _take_ban(self, entry: ClientEntry | AddressEntry, until: Any, relapses: Any, now: float) -> None:
        self._reputation.restore_ban(entry, number(until) - self.wall_offset, min(count(relapses), 64), now)
