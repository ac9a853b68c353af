"""What is remembered of an address, a network, a client, a pass and a history: one slotted object each.

These are the values that the parts of the policy share. They refer to each other, so they are in one file, and have
little behaviour: what an attribute means, and when it changes, is the business of one part.

    who is it            identity.py keeps the tables of addresses, networks and clients; passes.py that of passes
    what may it spend    limits.py charges the buckets: `tat` (see bucket.py) and `shadow`
    how did it behave    reputation.py keeps scores and bans; history.py keeps windows and records
    what was it given    redemption.py and judge.py: challenges, passes, grants

The hot path reads and writes the attributes themselves, since a method call costs 60 ns each.

`shadow` is what `tat` would be if pressure had no effect; demand is counted against it. A score is kept as its value at
`scored_at`. What few addresses and clients have anything of (bans, challenges) is in an object of its own, `rare`,
which makes the entries of all others 80 bytes smaller.

An `overflow` entry is shared by strangers: by those who come while a table is full, or by the clients of an address
behind which more come than are told apart. It has a bucket. It never has a score, a ban or a bought pass, since those
would be everybody's. How the tables are bounded is in table.py.
"""

from __future__ import annotations

import enum
from typing import Final, Generic, NamedTuple, TypeVar

from shield.model import Reason
from shield.policy.bucket import Rate

NEVER: Final = float("-inf")
"""Seconds of the clock; when something was that never was."""

SCORE_THAT_MATTERS: Final = 8.0
"""Points. The most that soft signals make. An entry with more is not forgotten to make room for a newcomer.

With half of it, the 200,000 addresses of a botnet that only ignored challenges filled the tables in seven minutes, and
newcomers had to share the overflow entry: a quarter to a half of their visits failed (`shield simulate botnet`)."""

CLIENT_HALF_LIFE: Final = 600.0
ADDRESS_HALF_LIFE: Final = 3600.0
"""Seconds. The defaults of reputation.py; here they only say when a score has ceased to matter."""


def matters(score: float, scored_at: float, half_life: float, now: float) -> bool:
    """Whether a score keeps its entry from being forgotten. It decays, or old offenders would fill the tables."""
    return score > SCORE_THAT_MATTERS and score * 2.0 ** ((scored_at - now) / half_life) > SCORE_THAT_MATTERS


class NetworkRates(NamedTuple):
    """Rate (units/s) and burst / rate (seconds) of the buckets of the three kinds of network."""

    v4: tuple[float, float]
    v6_48: tuple[float, float]
    v6_56: tuple[float, float]


class NetworkEntry:
    """An IPv4 /24 or IPv6 /48, or an IPv6 /56 within it. Key: its text."""

    __slots__ = (
        "grants",
        "insisted_at",
        "live",
        "name",
        "overflow",
        "queued",
        "rate",
        "score",
        "scored_at",
        "shadow",
        "span",
        "tat",
    )

    def __init__(self, name: str, rate: float, span: float, overflow: bool = False) -> None:
        self.name = name
        self.overflow = overflow
        self.rate = rate  # units/s
        self.span = span  # burst / rate, in seconds
        self.live = True  # false once its table has forgotten it
        self.queued = 0.0
        self.tat = 0.0
        self.score = 0.0
        self.scored_at = 0.0
        self.shadow = 0.0
        self.insisted_at = 0.0
        self.grants = 0.0  # tat of the bucket of passes that are given silently

    def restrains(self, now: float) -> bool:
        return self.tat > now or self.grants > now or matters(self.score, self.scored_at, ADDRESS_HALF_LIFE, now)


class Rare:
    """The rare attributes of one address or client: bans, challenges, what the operator or DNS says of it.

    They are more than 15 attributes in one object because few entries have any of them: an entry without keeps one
    reference to nothing.
    """

    __slots__ = (
        "asked_as",
        "asked_at",
        "banned_until",
        "bought",
        "granted_at",
        "granted_to",
        "hard",
        "ignored_at",
        "insisted_at",
        "named",
        "offered_until",
        "overflow",
        "paid_at",
        "refused_since",
        "relapses",
        "spared_until",
        "unanswered",
        "unanswered_at",
        "unheeded",
        "unheeded_at",
        "vouched",
    )

    def __init__(self) -> None:
        self.banned_until = 0.0
        self.relapses = 0
        self.overflow = False
        self.insisted_at = 0.0  # when it last asked under pressure for more than its nominal bucket admits (squeeze.py)
        self.unanswered = 0  # requests that were challenged since the last answer; of a client one a second counts
        self.unanswered_at = 0.0  # when the last of them came
        # of an address
        self.named: Reason | None = None  # ALLOWLISTED or DENYLISTED by the operator
        self.vouched: bool | None = None  # what DNS says of a client that claims to be a crawler
        self.hard = 0.0  # the part of the score that hard signals made
        self.unheeded = 0.0  # refused requests, those that drained away taken off ...
        self.unheeded_at = 0.0  # ... at that time (drops.py)
        self.paid_at = float("-inf")  # when a challenge was answered from there, or a pass shown, last (drops.py)
        self.spared_until = 0.0  # until when the pass that a client there has bought may stand in for a cookie
        # of a client
        self.offered_until = 0.0  # until when a challenge is outstanding
        self.asked_at = NEVER  # when it was challenged first, while it is counted as not in yet (challenged.py)
        self.asked_as = 0  # as what it is counted
        self.ignored_at = 0.0  # when its score last rose because it ignored one
        self.bought: Pass | None = None  # the pass bought last: stands in for a while where the cookie cannot come
        self.granted_at = float("-inf")  # when it was last given a pass silently
        self.granted_to = b""  # of an entry that several share: the key of the client that got the pass
        self.refused_since = 0.0  # since when it has been challenged, or turned away in a brownout, and got nothing


NOTHING: Final = Rare()
"""The `rare` of all who have nothing of it. Never changed: it would be everybody's."""

T = TypeVar("T")


class Rarely(Generic[T]):
    """An attribute of an entry that is kept in its `rare`, which is made when there is something to keep.

    Setting it is the only way to change what is there. The hot path reads `entry.rare.banned_until` and the like, which
    costs nothing; reading `entry.banned_until` takes 0.15 µs.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, entry: AddressEntry | ClientEntry, owner: type) -> T:
        value: T = getattr(entry.rare, self._name)
        return value

    def __set__(self, entry: AddressEntry | ClientEntry, value: T) -> None:
        if entry.rare is NOTHING:
            if getattr(NOTHING, self._name) == value:
                return
            entry.rare = Rare()
        setattr(entry.rare, self._name, value)


class AddressEntry:
    """An IPv4 /32 or IPv6 /64. Key: its text."""

    __slots__ = (
        "clients",
        "live",
        "name",
        "network",
        "queued",
        "rare",
        "score",
        "scored_at",
        "served",
        "shadow",
        "site",
        "tat",
    )

    banned_until = Rarely[float]()
    hard = Rarely[float]()
    insisted_at = Rarely[float]()
    unanswered = Rarely[int]()
    unanswered_at = Rarely[float]()
    named = Rarely["Reason | None"]()
    overflow = Rarely[bool]()
    paid_at = Rarely[float]()
    relapses = Rarely[int]()
    spared_until = Rarely[float]()
    unheeded = Rarely[float]()
    unheeded_at = Rarely[float]()
    vouched = Rarely["bool | None"]()

    def __init__(
        self,
        name: str,
        network: NetworkEntry,
        site: NetworkEntry | None,
        named: Reason | None,
        overflow: bool = False,
    ) -> None:
        self.name = name
        self.network = network
        self.site = site  # the /56 of an IPv6 address; None for IPv4
        self.live = True
        self.queued = 0.0
        self.tat = 0.0
        self.shadow = 0.0
        self.score = 0.0
        self.scored_at = 0.0
        self.clients = 0  # clients behind it that have entries of their own
        self.served = 0  # of these and of those that share an entry, entries that had a good response in calm weather
        self.rare = NOTHING
        if named is not None or overflow:
            self.named = named
            self.overflow = overflow

    def restrains(self, now: float) -> bool:
        if self.tat > now or self.rare.banned_until > now:
            return True
        return matters(self.score, self.scored_at, ADDRESS_HALF_LIFE, now)


class ClientEntry:
    """One program at an address. Key: a keyed hash of the address, User-Agent, Accept-Language and JA4.

    It has more than 15 attributes because it has a bucket, a score, a history, a visit, and a place in a table.
    """

    __slots__ = (
        "answered",
        "begun",
        "key",
        "live",
        "queued",
        "rare",
        "record",
        "score",
        "scored_at",
        "shadow",
        "shared",
        "source",
        "tat",
        "window",
        "windows",
    )

    asked_as = Rarely[int]()
    asked_at = Rarely[float]()
    banned_until = Rarely[float]()
    bought = Rarely["Pass | None"]()
    granted_at = Rarely[float]()
    granted_to = Rarely[bytes]()
    ignored_at = Rarely[float]()
    insisted_at = Rarely[float]()
    unanswered = Rarely[int]()
    unanswered_at = Rarely[float]()
    offered_until = Rarely[float]()
    overflow = Rarely[bool]()
    refused_since = Rarely[float]()
    relapses = Rarely[int]()

    def __init__(self, key: bytes, source: AddressEntry, record: Record | None, overflow: bool = False) -> None:
        self.key = key
        self.source = source
        self.record = record  # its history, if it has one
        self.live = True
        self.queued = 0.0
        self.tat = 0.0
        self.shadow = 0.0
        self.score = 0.0
        self.shared = 0.0  # the part of the score that reached the address and network
        self.scored_at = 0.0
        self.begun = NEVER  # its visit (visits.py)
        self.answered = NEVER  # when it last had a good answer
        self.windows = 0  # good windows so far (see history.py); negative: none are counted
        self.window = 0.0  # when the last one began
        self.rare = NOTHING
        if overflow:
            self.overflow = True

    def restrains(self, now: float) -> bool:
        if self.tat > now or self.rare.banned_until > now:
            return True
        return matters(self.score, self.scored_at, CLIENT_HALF_LIFE, now)


class Record:
    """The history of one client or pass: first and last visit (monotonic seconds), good windows, units served."""

    __slots__ = ("address", "first", "key", "last", "live", "network", "units", "windows")

    def __init__(self, key: bytes, address: str, network: str, first: float, last: float, windows: int, units: float):
        self.key = key
        self.address = address
        self.network = network
        self.first = first
        self.last = last
        self.windows = windows
        self.units = units
        self.live = True


class PassKind(enum.IntEnum):
    """How its holder came by a pass."""

    EARNED = 1  # given silently in calm weather
    BOUGHT = 2  # the answer to a challenge
    API_KEY = 3  # configured by the operator; has no token
    RULE = 4  # likewise: the bucket of a limit that the operator has made at run time
    WAITED = 5  # sold as a bought one, for waiting instead of work


class Pass:
    """A pass in use: the budget that its holder's requests are charged to, wherever they come from.

    Whoever has it may keep it for as long as it likes. The engine looks again whenever `check_at` has come or the pass
    is seen from another network, so an expired, revoked or forgotten one does nothing.

    While it is **scarce** (bought, and the attack is not over) it has a small bucket and a short life. It has more than
    15 attributes because it is a bucket, a holder of a history and an entry of a table in one.
    """

    __slots__ = (
        "begun",
        "bought_in",
        "burst",
        "check_at",
        "ends",
        "expires",
        "filled_at",
        "issued",
        "key",
        "kind",
        "limited_at",
        "live",
        "network",
        "paid_until",
        "queued",
        "rate",
        "record",
        "revoked",
        "scarce",
        "seen",
        "shadow",
        "sold_at",
        "span",
        "taken",
        "tat",
        "told_at",
        "window",
        "windows",
    )

    def __init__(
        self,
        key: bytes,
        kind: PassKind,
        rate: Rate,
        issued: float,
        ends: float,
        record: Record | None,
        sold_at: str | None = None,
    ) -> None:
        self.key = key
        self.sold_at = sold_at  # the site, if it was bought
        self.kind = kind
        self.record = record  # its history, if it has one
        self.issued = issued
        self.ends = ends  # when the token ends
        self.expires = ends  # when the budget ends; earlier while the pass is scarce
        self.check_at = ends
        # its bucket
        self.rate = rate.rate
        self.burst = rate.burst
        self.span = rate.burst / rate.rate  # seconds
        self.tat = 0.0
        self.shadow = 0.0
        # while it is scarce
        self.scarce = False
        self.bought_in = ""  # the network, while the pass counts as one of its live bought passes
        self.filled_at = 0.0  # until when its bucket was filled at less than its rate
        self.limited_at = 0.0  # when it was last above its budget
        self.paid_until = ends  # it is not renewed beyond
        self.taken = 0.0  # units
        self.begun = NEVER  # when it first took any, if it was bought
        self.told_at = 0.0  # when other workers last heard of it
        # its history
        self.window = 0.0
        self.windows = 0
        # where it was seen
        self.network = ""
        self.seen: list[tuple[str, float]] = []  # regions of late, and when; at most one too many
        self.revoked = False
        # its table
        self.live = True
        self.queued = 0.0

    def make_scarce(self, expires: float, paid_until: float) -> None:
        """Give it a short life that good use renews, at most to `paid_until`."""
        self.scarce = True
        self.expires = expires
        self.paid_until = paid_until
        self.check_at = 0.0  # with each request: its bucket fills as fast as there is room

    def make_ordinary(self, rate: Rate) -> None:
        """Give it the bucket of an ordinary pass, and the life of its token."""
        self.scarce = False
        self.rate = rate.rate
        self.resize(rate.burst)
        self.expires = self.check_at = self.ends

    def resize(self, burst: float) -> None:
        """Have a bucket of `burst` units from now on."""
        self.burst = burst
        self.span = burst / self.rate

    def fill(self, factor: float, now: float) -> None:
        """Let the bucket fill at `factor` of its rate since this was called last; its burst stays what it is.

        To be called before it is charged.
        """
        debt = self.tat - self.filled_at
        if debt > 0.0:
            self.tat = now + max(0.0, debt - factor * (now - self.filled_at))
        self.filled_at = now

    def owe(self, debt: float, factor: float, now: float) -> bool:
        """Have at least so much to fill (seconds of its rate) at `now`, as far as the bucket goes: another worker has
        charged it. Whether that is more than before."""
        self.fill(factor, now)
        at = now + min(debt, self.span)
        more = at > self.tat
        self.tat = max(self.tat, at)
        return more

    def renew(self, until: float) -> None:
        """Let a scarce pass live until then, but not longer than was paid for."""
        self.expires = min(until, self.paid_until)

    def move(self, network: str, region: str, now: float, window: float) -> int:
        """Note that it is seen in another network of that region; in how many regions it was within the last `window`
        seconds."""
        self.network = network
        self.seen = [(name, at) for name, at in self.seen if name != region and at + window > now]
        self.seen.append((region, now))
        return len(self.seen)

    def revoke(self) -> None:
        """Let it be worth nothing from now on."""
        self.revoked = True
        self.check_at = 0.0

    def forget(self) -> None:
        """Called when the table drops this pass. Marks it so that connections which hold it look it up again."""
        self.live = False
        self.check_at = 0.0

    def revive(self) -> None:
        """It is in the table again."""
        self.live = True
        self.check_at = self.expires

    def restrains(self, now: float) -> bool:
        return self.tat > now or (self.scarce and self.expires > now) or (self.revoked and self.ends > now)
