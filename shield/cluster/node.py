"""The rounds of one node: every tenth of a second it tells the others what is new, hears what they say, and settles
what clients have used.

    told      its beat: places that mint challenges, pressure, requests in flight; and news (policy/cluster/side.py)
    heard     the beats of the others, and their news
    settled   leases (policy/cluster/leases.py)

All of it is one call, and its answer (script.py). Where a machine has several workers, each settles for the clients
that it serves; the one that leads speaks for all. A round that fails is told again with the next.

While the store does not answer the node decides by itself, and takes its part of each limit. When it is back, the bans
that are in force and the operator's rules are told again: what one side has learned meanwhile the other one learns now.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Protocol

import orjson

from shield import __version__
from shield.cluster.script import LEAVE, ROUND
from shield.cluster.settings import ClusterSettings
from shield.cluster.store import LostError, Store
from shield.operator.status import ClusterStatus
from shield.policy.cluster.changes import Change, Changes
from shield.policy.cluster.members import Members
from shield.policy.cluster.seals import Seals
from shield.policy.cluster.side import SHARED, Side
from shield.policy.keys import Keys
from shield.policy.rows import number, text
from shield.policy.rules.rule import Rule
from shield.policy.sites import Sites

ROUND_SECONDS: Final = 0.1
MANY: Final = 10
"""Nodes, beyond which rounds are rarer: each reads the beats of all."""
FORGOTTEN: Final = 10.0
"""Seconds after which a node that does not speak is none any more."""
KEPT: Final = 3600.0
"""Seconds for which news are kept. They are told again after half of that, for nodes that come later."""
ROWS: Final = 100
"""In one piece of news, 25 KB at most."""
MOST_ROWS: Final = 1000
"""Told in one round."""
MOST_READ: Final = 64
"""Pieces of news that are read in one round."""
SLICE: Final = 250
"""Rows that are taken at a time, in 3 ms, in which no request is served."""
REPLAYED: Final = 60.0
"""Seconds between when a piece of news says it was written, and when the store says it came: beyond them it was written
before, and put there again by somebody else, or a clock is wrong."""
CLOCKS: Final = 2.0
"""Seconds by which the clocks of two nodes may differ before that is said."""
LOOK_SECONDS: Final = 0.25
AGAIN: Final = frozenset({"client", "address", "pass"})
"""Kinds of rows that are told again."""
_BEGIN: Final = b"0-0"
_LATENCIES: Final = 256


class Desk(Protocol):
    """Whoever has the operator's rules. `watch` is called after each change."""

    watch: Callable[[], None] | None

    def rules(self) -> Sequence[Rule]:
        """Those that hold now."""
        ...

    def pardons(self) -> list[str]:
        """Subjects that were pardoned since the last call."""
        ...

    def adopt(self, changes: Sequence[Change], pardons: Sequence[str]) -> None:
        """Go by what was changed at other nodes."""
        ...


class Log(Protocol):
    def event(self, name: str, **fields: Any) -> None: ...


@dataclass(slots=True)
class _Other:
    """What another node has said last, and when its beat last changed (monotonic seconds)."""

    said: dict[str, Any]
    beat: int
    at: float


class Node:
    """One worker's part. `run` until it is cancelled, then `leave`. It has more than 15 attributes because it holds
    both what is said and what is heard."""

    __slots__ = (
        "_before", "_changes", "_clock", "_count", "_desk", "_latency", "_log", "_lost_at", "_lost_rows", "_mark",
        "_others", "_read_until", "_retell", "_rows", "_run", "_same", "_settings", "_side", "_since", "_sites",
        "_store", "_told_at", "_wall_offset", "members", "seals",
    )  # fmt: skip

    def __init__(
        self,
        settings: ClusterSettings,
        sites: Sites,
        keys: Keys,
        desk: Desk,
        log: Log,
        clock: Callable[[], float],
        wall_offset: float,
    ) -> None:
        """Raises StartError where the client of the store is missing."""
        side = sites.first.clients.side
        assert side is not None  # noqa: S101 - it was built for a cluster
        self._settings = settings
        self._sites = sites
        self._side: Side = side
        self._desk = desk
        self._log = log
        self._clock = clock
        self._wall_offset = wall_offset
        self._store = Store(settings)
        self.seals = Seals(keys)
        self.members = Members(settings.node or node_name(), settings.nodes)
        side.answers.node = self.members.node
        side.answers.wall_offset = wall_offset
        self._changes = Changes(self.members.node)
        self._changes.begin(desk.rules())
        desk.watch = self._rules_changed
        self._same = _digest(repr([engine_settings(site) for site in sites]))
        self._run = os.urandom(6).hex()
        self._count = 0  # rounds
        self._since = _BEGIN  # the news read last
        self._read_until = False  # whether all that was there has been read
        self._mark = b""
        self._others: dict[str, _Other] = {}
        self._rows: deque[list[Any]] = deque(maxlen=MOST_ROWS * 8)  # to be told, of what is no row of the engine's
        self._retell: Iterator[list[Any] | None] | None = None
        self._told_at = clock()
        self._lost_at: float | None = None
        self._lost_rows = 0  # pieces of news that were not believed for their time
        self._before: tuple[str, ...] = ()
        self._latency: deque[float] = deque(maxlen=_LATENCIES)

    # The rounds

    async def run(self) -> None:
        """Make rounds until cancelled."""
        while True:
            try:
                seconds = await self.round()
            except LostError:
                await self._wait_lost(self._store.pause())
                continue
            self._found()
            pause = ROUND_SECONDS * max(1.0, self.members.count / MANY) * random.uniform(0.9, 1.1)  # noqa: S311
            await asyncio.sleep(max(pause - seconds, 0.01) if not self._side.asked else 0.01)

    async def leave(self, gone: bool) -> None:
        """Settle what is on lease, and say that this node is `gone`; as far as the store answers."""
        if self.members.connected(self._clock()):
            try:
                await self.round()
                if gone and self._sites.first.speaks:
                    await self._store.call(LEAVE, self._keys()[:2], [self.members.node])
            except LostError:
                pass
        await self._store.close()

    async def round(self) -> float:
        """Make one round; the seconds that the store took. Raises LostError."""
        now, first = self._clock(), self._sites.first
        speaks = first.speaks
        self._lay_out(speaks, now)
        rows = self._side.take(MOST_ROWS) if speaks else []
        also = [self._rows.popleft() for _ in range(min(len(self._rows), MOST_ROWS))] if speaks else []
        news = [self._sealed(part, now) for part in _parts([*rows, *also], ROWS)]
        leases = self._side.leases
        charged = [] if leases is None else leases.settle(now)
        self._count += 1
        keys = [*self._keys(), *(self._key("b:", one.name) for one in charged)]
        values: list[Any] = [
            self.members.node,
            self._beat(now) if speaks else b"",
            FORGOTTEN,
            f"{self._run}-{self._count}",
        ]
        values += [self._since, MOST_READ if speaks else 0, int(KEPT), len(news), *news]
        for one in charged:
            values += [f"{one.paid:.6f}", f"{one.asked:.6f}", f"{one.most:.3f}", f"{one.most_asked:.3f}"]
        try:
            answer = await self._store.call(ROUND, keys, values)
            time, mark, beats, entries, taken = _answer(answer, len(charged))
        except LostError:
            self._side.take_back(rows)
            self._rows.extendleft(reversed(also))
            if leases is not None:
                leases.failed(charged)
            raise
        later = self._clock()
        self._latency.append(later - now)
        if leases is not None:
            leases.settled(charged, taken, later)
        self._hear_beats(beats, later)
        if mark != self._mark:
            if self._mark:  # the store has lost everything
                self._since, self._read_until = _BEGIN, False
                self._tell_again()
                entries = []
            self._mark = mark
        if speaks:
            await self._hear_news(entries, time)
        self.go_by_members(later)
        return later - now

    def go_by_members(self, now: float) -> None:
        """Take this node's part of the limits."""
        members, settings = self.members, self._settings
        rates, bursts = members.limits(settings.lease, now)
        if self._side.leases is not None:
            self._side.leases.lease(bursts, members.count)
        slots = members.slots if settings.one_service else _whole
        machines = members.count if settings.one_service else 1
        for engine in self._sites:
            engine.share(rates, bursts, slots, now, machines, machines > 1 and not members.connected(now))

    async def _wait_lost(self, seconds: float) -> None:
        """A round has failed: wait, and go by that once it was too long ago that one succeeded."""
        until = self._clock() + seconds
        while True:
            now = self._clock()
            if not self.members.connected(now):
                self.go_by_members(now)
                self._side.answers.others = frozenset()
                if self._lost_at is None:
                    self._lost_at = now
                    self._log.event(
                        "cluster_lost",
                        store=self._settings.store,
                        error=self._store.reason,
                        nodes=self.members.count,
                        effect="this node takes its part of each limit, and hears of no bans",
                    )
            self._sites.first.tell_machines()  # what there is no room for is told again
            if now >= until:
                return
            await asyncio.sleep(min(LOOK_SECONDS, until - now))

    def _found(self) -> None:
        """A round has succeeded."""
        names = self.members.names
        if self._lost_at is not None or not self._before:
            lost = 0.0 if self._lost_at is None else round(self._clock() - self._lost_at, 1)
            self._log.event("cluster_joined", store=self._settings.store, nodes=list(names), lost_seconds=lost)
            self._tell_again()
        elif names != self._before:
            for name in set(names) ^ set(self._before):
                here = name in names
                self._log.event("cluster_node_joined" if here else "cluster_node_left", node=name, nodes=len(names))
        self._lost_at = None
        self._before = names

    # What is told

    def _lay_out(self, speaks: bool, now: float) -> None:
        """Bring together what is to be told."""
        self._sites.first.tell_machines()
        if not speaks:
            return
        self._rules_changed()
        if self._read_until:
            self._rows.extend(["pardoned", subject] for subject in self._desk.pardons())
        first = self.members.names[:1] == (self.members.node,)
        if first and now > self._told_at + KEPT / 2:
            self._tell_again()
        if self._retell is not None and self._side.untold < MOST_ROWS:
            chunk = list(itertools.islice(self._retell, MOST_ROWS))
            if not chunk:
                self._retell = None
            for row in chunk:
                if row is not None and row[0] in AGAIN:
                    self._side.tell(row)

    def _rules_changed(self) -> None:
        if self._read_until:  # before that, what is newer is not known
            self._rows.extend(self._changes.changed(self._desk.rules(), self._clock() + self._wall_offset))

    def _tell_again(self) -> None:
        """Tell the bans that are in force, passes, and the rules, for whoever has not heard of them."""
        now = self._clock()
        self._told_at = now
        self._retell = self._sites.first.export_learned(now)
        if self._read_until:
            self._rows.extend(self._changes.all(now + self._wall_offset))

    def _sealed(self, rows: Sequence[list[Any]], now: float) -> bytes:
        wall = round(now + self._wall_offset, 3)
        return self.seals.seal("news", orjson.dumps([self.members.node, self._run, wall, rows]))

    def _beat(self, now: float) -> bytes:
        engines = list(self._sites)
        said = {
            "beat": self._count,
            "run": self._run,
            "wall": round(now + self._wall_offset, 3),
            "places": [place.hex() for place in sorted(self._sites.first.clients.challenger.places())],
            "latency": round(self._latency[-1], 4) if self._latency else 0.0,
            "pressure": round(max(engine.pressure for engine in engines), 3),
            "attack": any(engine.attack for engine in engines),
            "in_flight": sum(engine.in_flight for engine in engines),
            "slots": sum(engine.concurrency_limit for engine in engines),
            "rules": _digest(repr(sorted((rule.slot, rule.value) for rule in self._desk.rules()))),
            "settings": self._same,
            "counted": {engine.site: engine.counting.told for engine in engines if engine.counting is not None},
            "version": __version__,
        }
        return self.seals.seal(f"beat {self.members.node}", orjson.dumps(said))

    # What is heard

    def _hear_beats(self, beats: Sequence[tuple[str, bytes]], now: float) -> None:
        others: dict[str, _Other] = {}
        for name, value in beats:
            if name == self.members.node:
                continue
            content = self.seals.open(f"beat {name}", value)
            if content is None:
                continue
            try:
                said = orjson.loads(content)
                beat = int(number(said["beat"], 0.0))
                [bytes.fromhex(text(place)) for place in said["places"]]
            except (KeyError, TypeError, ValueError):
                self.seals.senseless()
                continue
            before = self._others.get(name)
            same = before is not None and before.beat == beat and before.said.get("run") == said.get("run")
            at = before.at if same and before is not None else now
            if now - at < FORGOTTEN:
                others[name] = _Other(said, beat, at)
        self._others = others
        self.members.heard(others, now)
        if self._settings.one_service:
            self._hear_counted(others)
        places = (bytes.fromhex(place) for other in others.values() for place in other.said["places"])
        self._side.answers.others = frozenset(places)

    def _hear_counted(self, others: Mapping[str, _Other]) -> None:
        for engine in self._sites:
            said = {name: other.said.get("counted", {}).get(engine.site) for name, other in others.items()}
            if engine.counting is not None:
                try:
                    engine.counting.hear({name: report for name, report in said.items() if report is not None})
                except (TypeError, ValueError):
                    self.seals.senseless()

    async def _hear_news(self, entries: Sequence[tuple[bytes, bytes]], store_time: float) -> None:
        """Take the news in the order in which they came."""
        if len(entries) < MOST_READ:
            self._read_until = True
        rows: list[list[Any]] = []
        changes: list[Change] = []
        pardons: list[str] = []
        for id_, value in entries:
            self._since = id_
            content = self.seals.open("news", value)
            if content is None:
                continue
            try:
                _, run, wall, told = orjson.loads(content)
                came = int(id_.split(b"-")[0]) / 1000.0
                if abs(came - number(wall)) > REPLAYED:
                    self._lost_rows += 1
                    continue
                if text(run) == self._run:
                    continue
                fresh = abs(store_time - came) < REPLAYED
                for row in told:
                    match row:
                        case ["change", *change]:
                            made = self._changes.take(change, self._clock() + self._wall_offset)
                            changes += [] if made is None else [made]
                        case ["pardoned", str(subject)]:
                            pardons += [subject] if fresh else []
                        case ["wish", *wish]:
                            self._wished(wish)
                        case ["grant", *grant]:
                            self._side.answers.granted(grant)
                            rows.append(row)
                        case [str(kind), *_] if kind in SHARED:
                            rows.append(row)
            except (KeyError, TypeError, ValueError):
                self.seals.senseless()
        for part in _parts(rows, SLICE):
            self._sites.first.hear_machines(part, self._clock())
            await asyncio.sleep(0)
        if changes or pardons:
            self._desk.adopt(changes, pardons)

    def _wished(self, row: list[Any]) -> None:
        challenger = self._sites.first.clients.challenger
        self._side.answers.wished(row, challenger.places(), challenger.spend_for, self._clock())

    # What is shown

    def status(self) -> ClusterStatus:
        """The nodes, and how it goes."""
        now, leases, members = self._clock(), self._side.leases, self.members
        connected = members.connected(now)
        rates, bursts = members.limits(self._settings.lease, now)
        latency = sorted(self._latency) or [0.0]
        here: dict[str, Any] = {"node": members.node, "here": True, "age": 0.0, "version": __version__}
        return ClusterStatus(
            store=self._settings.store,
            name=self._settings.name,
            node=members.node,
            connected=connected,
            error="" if connected else self._store.reason,
            lost_seconds=0.0 if self._lost_at is None else round(now - self._lost_at, 1),
            count=members.count,
            nodes=[
                here | self._figures(),
                *(
                    {"node": name, "here": False, "age": round(now - other.at, 3)} | _shown(other.said)
                    for name, other in sorted(self._others.items())
                ),
            ],
            rates=round(rates, 4),
            bursts=round(bursts, 4),
            latency=round(latency[len(latency) // 2], 5),
            latency_most=round(latency[-1], 5),
            rounds=self._count,
            failed=self._store.failed,
            leases=0 if leases is None else leases.noted,
            untold=self._side.untold + len(self._rows),
            lost=self._side.lost + (0 if leases is None else leases.lost),
            rejected=self.seals.rejected | {"old": self._lost_rows},
            disagreements=list(self._disagreements(now)),
        )

    def _figures(self) -> dict[str, Any]:
        engines = list(self._sites)
        return {
            "pressure": round(max(engine.pressure for engine in engines), 3),
            "attack": any(engine.attack for engine in engines),
            "in_flight": sum(engine.in_flight for engine in engines),
            "slots": sum(engine.concurrency_limit for engine in engines),
            "latency": round(self._latency[-1], 4) if self._latency else 0.0,
        }

    def _disagreements(self, now: float) -> Iterator[str]:
        """What is not the same at other nodes, in words."""
        rules = _digest(repr(sorted((rule.slot, rule.value) for rule in self._desk.rules())))
        for name, other in sorted(self._others.items()):
            said = other.said
            if said.get("version") != __version__:
                yield f"{name} runs version {said.get('version')}, this node {__version__}"
            if said.get("settings") != self._same:
                yield f"{name} has other limits in its config"
            if said.get("rules") != rules:
                yield f"{name} has other rules of the operator's"
            wall = said.get("wall")
            apart = other.at + self._wall_offset - wall if isinstance(wall, float) else 0.0
            if abs(apart) > CLOCKS:
                yield f"the clock of {name} is {abs(apart):.1f} s {'behind' if apart > 0 else 'ahead'}"

    def _keys(self) -> list[bytes]:
        return [self._key(name) for name in ("nodes", "alive", "news", "mark")]

    def _key(self, name: str, more: bytes = b"") -> bytes:
        return b"{%b}:%b%b" % (self._settings.name.encode(), name.encode(), more)


def node_name() -> str:
    """The host's name, as far as a node may have it."""
    return re.sub(r"[^0-9A-Za-z_.-]", "-", socket.gethostname())[:64] or "node"


def engine_settings(engine: Any) -> str:
    """What must be the same at all nodes of a site, in some form."""
    return f"{engine.site} {engine.nominal_limits}"


def _whole(slots: int) -> int:
    return slots


def _digest(words: str) -> str:
    return blake2b(words.encode(), digest_size=6).hexdigest()


def _parts(rows: Sequence[list[Any]], size: int) -> Iterator[Sequence[list[Any]]]:
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


def _shown(said: dict[str, Any]) -> dict[str, Any]:
    """Of what another node says, what is shown."""
    return {name: said.get(name) for name in ("version", "pressure", "attack", "in_flight", "slots", "latency")}


Answer = tuple[float, bytes, list[tuple[str, bytes]], list[tuple[bytes, bytes]], list[tuple[float, float]]]


def _answer(answer: Any, buckets: int) -> Answer:
    """What the function gave. Raises LostError when that is something else."""
    try:
        micros, mark, beats, entries, taken = answer
        nodes = [(beats[at].decode("ascii"), beats[at + 1]) for at in range(0, len(beats), 2)]
        news = [(entries[at], entries[at + 1]) for at in range(0, len(entries), 2)]
        used = [(float(one.split(b" ")[0]), float(one.split(b" ")[1])) for one in taken]
        if len(used) != buckets or not isinstance(mark, bytes):
            raise ValueError("another answer")
        return int(micros) / 1e6, mark, nodes, news, used
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise LostError(f"this is no answer of Shield's function: {error}") from None
