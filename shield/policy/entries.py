"""What is remembered of an address, a network and a client: one slotted entry each, and nothing else.

The hot path touches these directly through the handle that the edge keeps per connection, so the entries hold their
bucket (`tat`) and score inline. What few have anything of (bans, challenges) is in an object of its own, `rare`, which
makes the two 80 bytes smaller. Of an address and of a client, `shadow` is what `tat` would be if pressure had no
effect: demand is counted against it (see pressure.py). A score is kept as its value at `scored_at` (see reputation.py).

Tables: key as below, at most `tables.addresses` and so on, forgotten after `identity.idle` seconds without use, evicted
as table.py says; bytes per entry in identity.py. Entries are made by identity.py and live in its tables. An `overflow`
entry is shared by strangers: the one of those who come while a table is full, and those of an address behind which more
clients are than are told apart. It has a bucket, and never a score, a ban or a bought pass, which would be theirs all.
"""

from __future__ import annotations

import enum
from typing import Final, Generic, TypeVar

from shield.model import Reason
from shield.policy.bucket import Rate

SCORE_THAT_MATTERS: Final = 8.0
"""The most that soft signals make. An entry with more is not forgotten to make room for a newcomer. With half of it the
200,000 addresses of a botnet, which only ignored challenges, filled the tables in seven minutes, and newcomers shared
what is for those without a place: a quarter to a half of their visits failed (`shield simulate botnet`)."""

CLIENT_HALF_LIFE: Final = 600.0
PLACE_HALF_LIFE: Final = 3600.0
"""Seconds. The defaults of reputation.py; here they only say when a score has ceased to matter."""


def matters(score: float, scored_at: float, half_life: float, now: float) -> bool:
    """Whether a score keeps its entry from being forgotten. It decays, or the wicked of old would fill the tables."""
    return score > SCORE_THAT_MATTERS and score * 2.0 ** ((scored_at - now) / half_life) > SCORE_THAT_MATTERS


class NetworkEntry:
    """An IPv4 /24 or IPv6 /48, or an IPv6 /56 within it. Key: its text."""

    __slots__ = ("grants", "live", "name", "overflow", "queued", "rate", "score", "scored_at", "span", "tat")

    def __init__(self, name: str, rate: float, span: float, overflow: bool = False) -> None:
        self.name = name
        self.overflow = overflow
        self.rate = rate  # units/s
        self.span = span  # burst / rate, seconds
        self.live = True
        self.queued = 0.0
        self.tat = 0.0
        self.score = 0.0
        self.scored_at = 0.0
        self.grants = 0.0  # tat of the bucket of silently granted passes

    def restrains(self, now: float) -> bool:
        return self.tat > now or self.grants > now or matters(self.score, self.scored_at, PLACE_HALF_LIFE, now)


class Rare:
    """What few addresses and clients have anything of: bans, challenges, what an operator or DNS says of them."""

    __slots__ = (
        "banned_until",
        "bought",
        "granted_at",
        "granted_to",
        "hard",
        "ignored_at",
        "named",
        "offered_until",
        "overflow",
        "refused_since",
        "relapses",
        "vouched",
    )

    def __init__(self) -> None:
        self.banned_until = 0.0
        self.relapses = 0
        self.overflow = False
        # of an address
        self.named: Reason | None = None  # ALLOWLISTED or DENYLISTED by the operator
        self.vouched: bool | None = None  # what DNS says of a client that claims to be a crawler
        self.hard = 0.0  # the part of the score that hard signals made
        # of a client
        self.offered_until = 0.0  # a challenge is outstanding until then
        self.ignored_at = 0.0  # when it was last held against the client that it ignored one
        self.bought: Pass | None = None  # the pass bought last: stands in for a while where the cookie cannot come
        self.granted_at = float("-inf")  # when it was last given a pass silently
        self.granted_to = b""  # of an entry that several share: the key of the one who got it
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
        "shadow",
        "site",
        "tat",
    )

    banned_until = Rarely[float]()
    hard = Rarely[float]()
    named = Rarely["Reason | None"]()
    overflow = Rarely[bool]()
    relapses = Rarely[int]()
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
        self.site = site  # the /56 of an IPv6 address
        self.live = True
        self.queued = 0.0
        self.tat = 0.0
        self.shadow = 0.0
        self.score = 0.0
        self.scored_at = 0.0
        self.clients = 0  # client entries told apart behind it
        self.rare = NOTHING
        if named is not None or overflow:
            self.named = named
            self.overflow = overflow

    def restrains(self, now: float) -> bool:
        return (
            self.tat > now or self.rare.banned_until > now or matters(self.score, self.scored_at, PLACE_HALF_LIFE, now)
        )


class ClientEntry:
    """A program at an address. Key: a keyed hash of the address, User-Agent, Accept-Language and JA4."""

    __slots__ = (
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

    banned_until = Rarely[float]()
    bought = Rarely["Pass | None"]()
    granted_at = Rarely[float]()
    granted_to = Rarely[bytes]()
    ignored_at = Rarely[float]()
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
        self.windows = 0  # good windows so far (see history.py)
        self.window = 0.0  # when the last one began
        self.rare = NOTHING
        if overflow:
            self.overflow = True

    def restrains(self, now: float) -> bool:
        return (
            self.tat > now or self.rare.banned_until > now or matters(self.score, self.scored_at, CLIENT_HALF_LIFE, now)
        )


class Record:
    """The history of one client or pass. Times in monotonic seconds, `units` of cost served."""

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
    """How a pass was come by."""

    EARNED = 1
    BOUGHT = 2
    API_KEY = 3  # never a token


class Pass:
    """A pass in use: the subject that its holder's requests are charged to.

    The edge may keep it for as long as it likes: the engine looks again whenever `check_at` has come, or the pass is
    seen from another network, so an expired, revoked or forgotten one does nothing.
    """

    __slots__ = (
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
        "span",
        "taken",
        "tat",
        "window",
        "windows",
    )

    def __init__(
        self, key: bytes, kind: PassKind, rate: Rate, issued: float, ends: float, record: Record | None
    ) -> None:
        self.key = key
        self.kind = kind
        self.rate = rate.rate
        self.burst = rate.burst
        self.span = rate.burst / rate.rate
        self.issued = issued
        self.ends = ends  # of the token
        self.expires = ends  # of the budget; earlier while the pass is scarce
        self.check_at = ends
        self.scarce = False  # bought, and the attack is not over: small bucket, short life
        self.bought_in = ""  # the network, while it counts as one of its live bought passes
        self.limited_at = 0.0  # when it was last above its budget, while it is scarce
        self.paid_until = ends  # while it is scarce: it is not renewed beyond
        self.revoked = False
        self.record = record
        self.live = True
        self.queued = 0.0
        self.tat = 0.0
        self.filled_at = 0.0  # up to when its bucket was filled at less than its rate
        self.shadow = 0.0
        self.taken = 0.0  # units, as a bought pass under attack
        self.window = 0.0
        self.windows = 0
        self.network = ""  # where it was last seen
        self.seen: list[tuple[str, float]] = []  # networks of late; at most one too many

    def fill(self, factor: float, now: float) -> None:
        """Let the bucket fill at `factor` of its rate since this was called last; its burst stays what it is.

        To be called before it is charged.
        """
        debt = self.tat - self.filled_at
        if debt > 0.0:
            self.tat = now + max(0.0, debt - factor * (now - self.filled_at))
        self.filled_at = now

    def restrains(self, now: float) -> bool:
        return self.tat > now or (self.scarce and self.expires > now) or (self.revoked and self.ends > now)
