"""The waiting room: clients that have solved a challenge under attack, and get a pass as soon as one can be had.

Passes are issued at a rate (pricing.py). Who is next is decided by network, not by client, so that a thousand solvers
behind one network come after one behind another:

    1. known networks; but `strangers` of the passes goes to the others while some of them wait
    2. of these, the networks with the fewest live bought passes
    3. of these, one network drawn by lot
    4. within a network, the client that has waited longest

With `market.by_network` off, the client that has waited longest is next, as if all were in one network.

Nobody waits for more than `most_wait` seconds: then the place is lost, and the challenge has to be solved again. Half
of the places are for known networks and half for the others, so neither keeps the other out. Where a half is full,
`COMPARED` of its waiters are drawn by lot, and a newcomer gets the place of the worst of them if more others wait, or
more passes are live, behind that one's network than behind its own. An equal never loses its place to a newcomer.
Otherwise the newcomer is told to send the same answer again.

A place is claimed with a ticket, `base64url( version u8 = 1 | id 10 bytes | mac 16 bytes )`. The ticket is bound to
nobody, as a pass is not: an address may change while its client waits. A place that was won is kept for `most_wait`
seconds more, and the same pass may be claimed again, since an answer may be lost on the way.

Table: key = the ticket's id; at most `tables.waiting` that wait, and as many that have won; lifetime at most twice
`most_wait`; `WAITER_BYTES` each. The networks kept are those that wait or hold live bought passes, so there are no more
of them than of these.
"""

from __future__ import annotations

import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterator
from hmac import compare_digest
from typing import Any, Final

from shield.policy.challenge.challenge import Redeemed
from shield.policy.keys import TAG_BYTES, Keys, ticket_tag
from shield.policy.news import NOBODY, News
from shield.policy.pricing.settings import PricingSettings
from shield.policy.rows import count, key, number, text
from shield.policy.status import TableStatus

VERSION: Final = b"\x01"
ID_BYTES: Final = 10
TICKET_CHARS: Final = 36  # 27 bytes
COMPARED: Final = 8
"""Waiters that one newcomer to a full room is compared with: one network that has a third of the room is found 24
times of 25."""


class NetworkLine:
    """The waiters of one network, and how many of its bought passes are live."""

    __slots__ = ("index", "known", "live", "name", "rank", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.known = False
        self.live = 0
        self.waiters: dict[bytes, Waiter] = {}  # the oldest first
        self.rank: tuple[bool, int] = (True, 0)  # of the lines equal to it that it stands in: unknown, live
        self.index = 0  # among these


class Waiter:
    """One place in the room. `won`: it may be claimed; `pass_token` is set once it was, `here` if at this worker."""

    __slots__ = ("among", "here", "id", "index", "line", "pass_token", "since", "until", "won", "work")

    def __init__(self, id_: bytes, line: NetworkLine, work: int, now: float, until: float) -> None:
        self.id = id_
        self.line = line
        self.work = work  # log2 of the hashes paid
        self.since = now
        self.until = until
        self.among: list[Waiter] = []  # the half of the room
        self.index = 0  # in it
        self.won = False
        self.here = False
        self.pass_token = ""


class Room:
    """The waiters, at most `size` of them. `entropy(n)` returns n random bytes."""

    __slots__ = (
        "_by_network",
        "_due",
        "_entropy",
        "_half",
        "_halves",
        "_keys",
        "_lines",
        "_most_wait",
        "_news",
        "_order",
        "_places",
        "_ranks",
        "_size",
        "_strangers",
        "_won",
    )

    def __init__(
        self, settings: PricingSettings, size: int, keys: Keys, entropy: Callable[[int], bytes], news: News = NOBODY
    ) -> None:
        self._news = news
        self._by_network = by_network = settings.by_network
        self._strangers = settings.strangers
        self._keys = keys
        self._entropy = entropy
        self._size = size
        self._most_wait = settings.most_wait
        self._places: dict[bytes, Waiter] = {}  # waiting and won
        self._halves: tuple[list[Waiter], list[Waiter]] = ([], [])  # waiting: unknown, known; for drawing lots
        self._half = size - size // 2 if by_network else size
        self._lines: dict[str, NetworkLine] = {}
        self._ranks: dict[tuple[bool, int], list[NetworkLine]] = {}  # lines in which somebody waits
        self._order: deque[Waiter] = deque()  # by when they came; some have left
        self._won: deque[Waiter] = deque()  # by when they won
        self._due = 0.0  # of a pass that known networks owe the others

    @property
    def waiting(self) -> int:
        """How many have not won yet."""
        return len(self._halves[False]) + len(self._halves[True])

    def fresh(self, network: str) -> bool:
        """Whether nobody of a network waits or holds a live bought pass."""
        return not self._by_network or network not in self._lines

    def live(self, network: str) -> int:
        """Live bought passes of a network."""
        line = self._lines.get(self._name(network))
        return 0 if line is None else line.live

    def full(self, known: bool) -> bool:
        """Whether a newcomer, of a known network or another, needs somebody else's place."""
        return len(self._among(known)) >= self._half

    def worse(self, network: str, known: bool) -> Waiter | None:
        """Draws `COMPARED` waiters by lot, and returns the one that must give its place to a newcomer of `network`, or
        None."""
        line = self._lines.get(self._name(network))
        found: Waiter | None = None
        most = line.live + len(line.waiters) + 1 if line is not None else 1
        for waiter in self._drawn(self._among(known)):
            share = waiter.line.live + len(waiter.line.waiters)
            if share > most:
                found, most = waiter, share
        return found

    def enter(
        self, network: str, known: bool, work: int, now: float, worse: Waiter | None = None, place: bytes = b""
    ) -> Waiter:
        """Give a newcomer a place, a new one or this; when the room is full, that of one who is `worse`."""
        if worse is not None:
            self._leave(worse)
            self._news.changed("left", worse)
        line = self._line(network)
        if known and not line.known:
            line.known = True
            if line.waiters:  # it has become known while they wait
                self._part(line)
                self._join(line)
        waiter = Waiter(place or self._entropy(ID_BYTES), line, work, now, now + self._most_wait)
        self._places[waiter.id] = waiter
        waiter.among = self._among(known)
        waiter.index = len(waiter.among)
        waiter.among.append(waiter)
        self._order.append(waiter)
        if len(self._order) > 2 * self._size:
            self._order = deque(each for each in self._order if each.id in self._places and not each.won)
        if not line.waiters:
            self._join(line)
        line.waiters[waiter.id] = waiter
        self._news.changed("wait", waiter)
        return waiter

    def issue(self, now: float) -> None:
        """Let the waiter whose turn it is win; somebody must wait."""
        rank = min(self._ranks)
        if not rank[0]:
            self._due = min(self._due + self._strangers, 1.0)
            if self._due == 1.0:
                rank = min((each for each in self._ranks if each[0]), default=rank)
                self._due -= rank[0]
        equals = self._ranks[rank]
        line = equals[int.from_bytes(self._entropy(4), "big") % len(equals)]
        self._win(next(iter(line.waiters.values())), now + self._most_wait, True)

    def _win(self, waiter: Waiter, until: float, counts: bool) -> None:
        """Let a waiter claim its place until then. `counts`: as a live pass of its network, until it has one."""
        self._stop_waiting(waiter)
        waiter.won = True
        waiter.until = until
        self._won.append(waiter)
        self.hold(waiter.line.name, int(counts))
        self._news.changed("wait", waiter)
        if len(self._won) > self._size:
            self._give_up(self._won.popleft())

    def hold(self, network: str, passes: int) -> None:
        """Count live bought passes of a network: more, or (negative) fewer."""
        line = self._line(network)
        if line.waiters:
            self._part(line)
        line.live += passes
        if line.waiters:
            self._join(line)
        elif not line.live:
            del self._lines[line.name]

    def expire(self, now: float) -> None:
        """Take the places of those who have waited for too long, or did not claim what they won."""
        order, won = self._order, self._won
        while order:
            waiter = order[0]
            if waiter.id in self._places and not waiter.won:
                if waiter.until > now:
                    break
                self._leave(waiter)
            order.popleft()
        while won and won[0].until <= now:
            self._give_up(won.popleft())

    def turns(self, waiter: Waiter) -> int:
        """Passes that will be issued, about, before it is this waiter's turn."""
        line = waiter.line
        unknown = line.rank[0]
        equals = sum(len(lines) for rank, lines in self._ranks.items() if rank < line.rank and rank[0] is unknown)
        equals += len(self._ranks[line.rank]) * len(line.waiters)
        if not unknown:
            return equals
        all_known = sum(len(lines) for rank, lines in self._ranks.items() if not rank[0])
        return min(all_known + equals, math.ceil(equals / self._strangers))

    def ticket(self, waiter: Waiter) -> str:
        """What a waiter claims the place with."""
        body = VERSION + waiter.id
        return urlsafe_b64encode(body + ticket_tag(self._keys.current, body)).decode()

    def find(self, ticket: str) -> Waiter | Redeemed:
        """The place that a ticket stands for, or what is wrong with it: MALFORMED, FORGED, EXPIRED (or lost)."""
        if len(ticket) != TICKET_CHARS:
            return Redeemed.MALFORMED
        try:
            raw = urlsafe_b64decode(ticket)
        except ValueError:
            return Redeemed.MALFORMED
        body, tag = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
        if not any(compare_digest(ticket_tag(key, body), tag) for key in self._keys.both()):
            return Redeemed.FORGED
        return self._places.get(body[1:], Redeemed.EXPIRED)

    def rows(self, shift: float) -> Iterator[list[Any]]:
        """The places as plain rows, the oldest first. `shift`: from our clock to that of the rows."""
        return (self.row(waiter, shift) for waiter in tuple(self._places.values()))

    def row(self, waiter: Waiter, shift: float) -> list[Any]:
        """A place as a plain row."""
        line, times = waiter.line, (waiter.since + shift, waiter.until + shift)
        return [waiter.id.hex(), line.name, line.known, waiter.work, *times, waiter.won, waiter.pass_token]

    def restore(self, row: list[Any], shift: float, now: float) -> bool:
        """Take such a row from before a restart; whether there was room. ValueError when it makes no sense."""
        id_, network, known, work, since, until, won, token = row
        name, place, since = text(network), key(id_, ID_BYTES), number(since) - shift
        until = min(number(until) - shift, now + self._most_wait)
        if place in self._places:
            return self._renew(self._places[place], won is True, text(token), until)
        if until <= now or self.full(known is True):
            return False
        waiter = self.enter(name, known is True, count(work), min(since, now), place=place)
        waiter.until = until
        if won is True:
            self._win(waiter, until, not token)
            waiter.pass_token = text(token)
        return True

    def claimed(self, waiter: Waiter, token: str) -> None:
        """Keep the pass that was had for a place."""
        waiter.pass_token = token
        self._news.changed("wait", waiter)

    def drop(self, row: list[Any]) -> bool:
        """Let go of the place of a waiter that had to give it to another one, at another worker. ValueError when the
        row makes no sense."""
        waiter = self._places.get(key(row[0], ID_BYTES))
        if waiter is None or waiter.won:
            return False
        self._leave(waiter)
        return True

    def _renew(self, waiter: Waiter, won: bool, token: str, until: float) -> bool:
        """Take what another worker says of a place that is known here; whether that was new."""
        new = False
        if won and not waiter.won:
            self._win(waiter, until, True)
            new = True
        if waiter.won and token and not waiter.pass_token:
            waiter.pass_token = token
            self.hold(waiter.line.name, -1)  # from now on it is the pass that counts
            new = True
        return new

    def status(self) -> TableStatus:
        """The table's fill."""
        return TableStatus(entries=len(self._places), max=2 * self._size, bytes_per_entry=WAITER_BYTES)

    def _name(self, network: str) -> str:
        return network if self._by_network else ""

    def _line(self, network: str) -> NetworkLine:
        name = self._name(network)
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = NetworkLine(name)
        return line

    def _join(self, line: NetworkLine) -> None:
        """Put a line among those that are equal to it."""
        line.rank = (not line.known, line.live)
        equals = self._ranks.setdefault(line.rank, [])
        line.index = len(equals)
        equals.append(line)

    def _part(self, line: NetworkLine) -> None:
        """Take it out again: the last takes its index."""
        equals = self._ranks[line.rank]
        last = equals.pop()
        if last is not line:
            equals[line.index] = last
            last.index = line.index
        elif not equals:
            del self._ranks[line.rank]

    def _stop_waiting(self, waiter: Waiter) -> None:
        last = waiter.among.pop()
        if last is not waiter:
            waiter.among[waiter.index] = last
            last.index = waiter.index
        line = waiter.line
        del line.waiters[waiter.id]
        if not line.waiters:
            self._part(line)

    def _leave(self, waiter: Waiter) -> None:
        self._stop_waiting(waiter)
        del self._places[waiter.id]
        self.hold(waiter.line.name, 0)

    def _give_up(self, waiter: Waiter) -> None:
        """Forget a place that was won."""
        del self._places[waiter.id]
        if not waiter.pass_token:
            self.hold(waiter.line.name, -1)

    def _among(self, known: bool) -> list[Waiter]:
        return self._halves[known and self._by_network]

    def _drawn(self, among: list[Waiter]) -> Iterator[Waiter]:
        for _ in range(min(COMPARED, len(among))):
            yield among[int.from_bytes(self._entropy(4), "big") % len(among)]


WAITER_BYTES: Final = 700
"""Bytes of a waiter with its line, ticket's id and places, by tracemalloc over 16,000 of as many networks."""
