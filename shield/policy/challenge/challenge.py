"""Challenges: a price in computing for one more newcomer, not a proof of humanity.

Native solvers are 30 to 1000 times faster than a phone. The bucket is the defence; the puzzle sets the rate at which
new buckets can be had. A challenge is stateless and costs one MAC to mint:

    base64url( version u8 = 1 | alg u8 | k u8 | target u64 | expiry u32 | place 2 bytes | count u16 | mark 4 bytes |
               mac 12 bytes | client 4 bytes )

The MAC also covers the program (fingerprint.py), so an answer is worth nothing to another one. The mark is a short MAC
without it, which tells the answer of another program (FOREIGN) from a forged one. `client` hides four bytes of the
client's key: it says whether the answer comes from the address that was challenged. A visitor may have several: IPv4
and IPv6 race, a phone changes its network, a carrier or a VPN picks another way out for the next connection. So the
answer may come from another address, where the challenge was as dear as one for there would be, to within
`MOVING_DISCOUNT`: nobody gains by asking where it is cheap and answering where it is dear. Where it is dearer only
because nobody is known there, or because of what others did there, one answer in twenty may have cost less: a visitor's
IPv6 may be known and the IPv4 not, or one of a carrier's networks and not the next, or the next may have a bad name.
And it must come to the process that minted it or to a worker beside it, which `place` tells: others do not know what is
spent. Otherwise it is FOREIGN. With seed =
SHA-256(token), the sub-puzzle i of k is solved by a nonce n with `SHA-256(seed | u32 i | u64 n)[:8] < target` (all
big-endian; 44 bytes are one SHA-256 block). With target = 2^64 k / E it takes E hashes on average, and k = 16 of them
make the p99 of the solving time 1.67 times the mean (one puzzle: 4.6 times).

That is algorithm 1. A graphics card does a thousand times as many of these hashes as a browser does on a core.
Algorithm 2 is HashWX (replies/hashwx.py), of which it does 36 times as many at most. Prices are in hashes of SHA-256,
and one of HashWX counts as 32. Who cannot do HashWX, having no WebAssembly, answers the challenge in SHA-256 that comes
with it. So may who has a graphics card: hence of the accepted answers one in twenty may be in SHA-256, and the others
find it BUSY.

An answer is verified in the order MAC, expiry, not spent, hashes: what is cheap and stops most comes first. Only
accepted challenges are remembered, until they expire. When that memory is full, answers are refused as BUSY rather than
accepted twice. Hashing has a time budget: a bucket that fills at `verify_share` seconds a second. The MAC is not
charged to it, since it costs less than reading the request did, and forged answers must not use up the honest ones'
budget.

Table of spent challenges: key = the token's MAC; at most `tables.spent`; lifetime = the challenge's; nothing is evicted
before it has expired; `SPENT_BYTES` each.
"""

from __future__ import annotations

import enum
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from cachetools import Cache

from shield.policy.board.claims import Claims
from shield.policy.bucket import Bucket, Rate
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.cluster.answers import Answers
from shield.policy.keys import TAG_BYTES, Keys, challenge_tag, mark_tag
from shield.policy.news import NOBODY, News
from shield.policy.rows import count, key, number
from shield.policy.status import TableStatus

__all__ = ["Algorithm", "Challenge", "ChallengeSettings", "Challenger", "CheckWork", "Redeemed", "Redemption", "solved"]

VERSION: Final = 1
BODY: Final = struct.Struct(">BBBQI2sH")
MARK_BYTES: Final = 4
MAC_BYTES: Final = 12
KEPT_BYTES: Final = 16
"""Of the MAC that is made: the first MAC_BYTES are sent, the others hide `client`."""
MOVING_DISCOUNT: Final = 2
"""An answer from another address is taken for so much less than a challenge for there costs: the market may have moved
while it was solved."""
MOVERS: Final = 1 / 20
"""Of the accepted answers, those that may have been cheaper than `MOVING_DISCOUNT` allows: too few for a botnet to live
on, and more than move while they solve to where nobody is known, or to where somebody else has misbehaved."""
MOST_MOVERS: Final = 20.0
"""At once."""
PLACE_BYTES: Final = 2
TOKEN_CHARS: Final = 52  # 39 bytes
BUSY_SECONDS: Final = 2  # after which a client that is told BUSY is to try again, at least
MOST_NONCE: Final = 1 << 53  # what a JavaScript number holds exactly
HASH_SECONDS: Final = 1e-6  # measured 0.9 µs with the packing, in CPython 3.11
HASHWX_SECONDS: Final = 120e-6  # measured 107 to 117 µs: to make the function, and to run it once in the interpreter
HASHWX_WEIGHT_BITS: Final = 5
"""One hash of HashWX takes a browser as long as 2^5 of SHA-256: V8 on one core did 160,000 a second with 4,096 to a
function, compiling included, and 5.9 million of SHA-256 in SIMD."""
HASHWX_PARTS: Final = 4
"""A challenge in HashWX has so many times fewer sub-puzzles, for each takes so much longer to check."""
FALLBACK_SHARE: Final = 1 / 20
"""Of accepted answers, those that may be in SHA-256 where HashWX is asked for: who has a graphics card prefers it."""
MOST_FALLBACKS: Final = 20.0
"""At once."""
FALLBACK_EVERY: Final = 10.0
"""s, after which one more may be, however few others answer."""
SPENT_BYTES: Final = 110
"""Bytes of a 16-byte key with its expiry and its entry in the deque, by tracemalloc over 20,000."""


CheckWork = Callable[[str, int, Sequence[int]], int]
"""(token, target, nonces) -> how many sub-puzzles in a row, from the first, are solved. As `solved` does."""


class Algorithm(enum.IntEnum):
    """Which hashes a challenge asks for, by their number in its token."""

    SHA_256 = 1
    HASHWX = 2


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a client is asked to do. `expires_in` in whole seconds. `hashwx`: the same in HashWX, where that is asked
    for; who cannot do it answers this one."""

    token: str
    k: int
    target: int
    expected_hashes: int
    expires_in: int
    hashwx: Challenge | None = None


class Redeemed(enum.Enum):
    """What became of an answer."""

    ACCEPTED = "accepted"
    MALFORMED = "malformed"
    FORGED = "forged"  # not minted here
    FOREIGN = "foreign"  # minted for another program, elsewhere, or where it is cheaper
    EXPIRED = "expired"
    SPENT = "spent"
    WRONG = "wrong"  # a nonce that solves nothing
    BUSY = "busy"  # no time to verify, or no room to remember: try again
    WAITING = "waiting"  # right, but it is not its turn yet: claim the pass with the ticket


@dataclass(frozen=True, slots=True)
class Redemption:
    """The result of an answer; with ACCEPTED the pass token and the seconds it may be kept.

    With WAITING the ticket, how many seconds it will take, about, and after how many to ask again. With BUSY after how
    many seconds to send the same again.
    """

    result: Redeemed
    pass_token: str = ""
    lifetime: int = 0
    ticket: str = ""
    wait: int = 0
    retry_after: int = BUSY_SECONDS


class Spent(Cache[bytes, float]):
    """Accepted challenges until they expire. All live equally long, so the oldest expires first."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._order: deque[bytes] = deque()

    def forget(self, now: float) -> None:
        """Drop what has expired."""
        order = self._order
        while order and self[order[0]] <= now:
            del self[order.popleft()]

    def full(self, now: float) -> bool:
        """Whether nothing more can be remembered at `now`."""
        if len(self) < self.maxsize:
            return False
        self.forget(now)
        return len(self) >= self.maxsize

    def add(self, key: bytes, expires: float) -> None:
        """Remember a challenge; only when not full."""
        self[key] = expires
        self._order.append(key)


class Challenger:
    """Mints and verifies challenges. Who is challenged, and what follows from an answer, is the engine's business.

    It has more than 15 attributes because an answer is checked against the settings, the keys, what is spent and three
    budgets, one after the other. `check_hashwx`: checks an answer in HashWX; None where SHA-256 is asked for.
    """

    def __init__(
        self,
        settings: ChallengeSettings,
        keys: Keys,
        entropy: Callable[[int], bytes],
        spent: int,
        wall_offset: float,
        check_work: CheckWork,
        claims: Claims | None = None,
        journal: News = NOBODY,
        check_hashwx: CheckWork | None = None,
        answers: Answers | None = None,
    ) -> None:
        self._check_hashwx = check_hashwx
        self._fallbacks = Bucket(Rate(1.0 / FALLBACK_EVERY, MOST_FALLBACKS))
        self._settings = settings
        self._answers = answers  # to challenges of other nodes; None: there are none
        self._claims = claims  # of the other workers; None: there are none
        self._journal = journal
        self._check_work = check_work
        self._keys = keys
        self._wall_offset = wall_offset
        self._time = Bucket(Rate(settings.verify_share, settings.verify_share))
        self._entropy = entropy
        self._place = b"" if claims is None else claims.place  # drawn with the first challenge
        self._count = 0
        self._movers = MOST_MOVERS  # answers that may be cheaper
        self.spent = Spent(spent)

    def price(self, market: float, score: float, known_network: bool) -> int:
        """Expected hashes: the market's times 2^(score/4), an eighth of it in a known network, within [E0, cap].

        A negative score (a good reputation) lowers nothing.
        """
        settings = self._settings
        price: float = min(market * 2.0 ** (max(score, 0.0) / settings.doubling), settings.most_hashes)
        return int(max(settings.least_hashes, price / settings.known_discount if known_network else price))

    def mint(self, client: bytes, program: bytes, expected: int, now: float) -> Challenge:
        """A challenge for the client with this key, which is this program: of `expected` hashes of SHA-256, or of as
        many of HashWX as take as long."""
        k = self._settings.sub_puzzles
        plain = self._mint(client, program, Algorithm.SHA_256, k, expected, now)
        if self._check_hashwx is None:
            return plain
        fewer, hashes = max(1, k // HASHWX_PARTS), max(1, expected >> HASHWX_WEIGHT_BITS)
        return replace(plain, hashwx=self._mint(client, program, Algorithm.HASHWX, fewer, hashes, now))

    def _mint(
        self, client: bytes, program: bytes, algorithm: Algorithm, k: int, expected: int, now: float
    ) -> Challenge:
        settings = self._settings
        target = min(k * (1 << 64) // expected, (1 << 64) - 1)
        expiry = int(now + self._wall_offset + settings.lifetime)
        self.places()
        self._count = count = self._count + 1 & 0xFFFF
        body = BODY.pack(VERSION, algorithm, k, target, expiry, self._place, count)
        body += mark_tag(self._keys.current, body)
        tag = challenge_tag(self._keys.current, body + program)
        token = urlsafe_b64encode(body + tag[:MAC_BYTES] + _hidden(client, tag)).decode()
        return Challenge(token, k, target, expected, int(settings.lifetime))

    def verify(
        self,
        client: bytes,
        program: bytes,
        token: str,
        nonces: Sequence[int],
        price: int,
        now: float,
        former: bytes | None = None,
        cheapest: int | None = None,
    ) -> tuple[Redeemed, int]:
        """Check an answer; with ACCEPTED also log2 of the hashes that were asked. An accepted one is spent.

        `price` is what a challenge for this client would cost now, `cheapest` what it would if it came from a known
        network and an address with no bad name; None if that is `price`. `former` is the client's name under the
        previous key, by which a challenge minted before a change of keys knows it.
        """
        read = _read(token)
        if read is None:
            return Redeemed.MALFORMED, 0
        body, mac, hidden = read
        keys = self._keys.both()
        tags = [challenge_tag(key, body + program) for key in keys]
        tag = next((each for each in tags if compare_digest(each[:MAC_BYTES], mac)), None)
        if tag is None:
            plain, mark = body[:-MARK_BYTES], body[-MARK_BYTES:]
            ours = any(compare_digest(mark_tag(key, plain), mark) for key in keys)
            return Redeemed.FOREIGN if ours else Redeemed.FORGED, 0
        _, algorithm, k, target, expiry, place, _ = BODY.unpack(body[:-MARK_BYTES])
        hashwx = algorithm == Algorithm.HASHWX
        check = self._check_hashwx if hashwx else self._check_work
        moved = hidden != _hidden(client, tag) and (former is None or hidden != _hidden(former, tag))
        paid = (k << 64 + HASHWX_WEIGHT_BITS * hashwx) * MOVING_DISCOUNT
        cheap = moved and paid < price * target
        if moved and not self._knows(place) and (self._answers is None or place not in self._answers.others):
            return Redeemed.FOREIGN, 0
        if cheap and (cheapest is None or self._movers < 1.0 or paid < cheapest * target):
            return Redeemed.FOREIGN, 0
        expires = expiry - self._wall_offset
        if expires <= now or check is None:  # HashWX is no longer asked for
            return Redeemed.EXPIRED, 0
        if self._claims is not None:
            self.hear(now)
        if tag in self.spent:
            return Redeemed.SPENT, 0
        elsewhere = self._answers is not None and place not in self.places()
        if elsewhere and self._answers is not None:
            if place not in self._answers.others:
                return Redeemed.FOREIGN, 0
            if self._answers.asked(tag) is False:
                return Redeemed.SPENT, 0
            if self._answers.waits(tag):
                self._answers.ask(tag, place, expires, now)
                return Redeemed.BUSY, 0
        if len(nonces) != k or not all(type(n) is int and 0 <= n < MOST_NONCE for n in nonces):
            return Redeemed.MALFORMED, 0
        fallback = self._check_hashwx is not None and not hashwx
        if fallback and self._fallbacks.wait(1.0, now):
            return Redeemed.BUSY, 0
        seconds = HASHWX_SECONDS if hashwx else HASH_SECONDS
        if self._time.wait(k * seconds, now) or self.spent.full(now):
            return Redeemed.BUSY, 0
        right = check(token, target, nonces)
        self._time.spend(min(right + 1, k) * seconds, now)
        if right < k:
            return Redeemed.WRONG, 0
        if elsewhere and self._answers is not None and not self._answers.asked(tag):
            self._answers.ask(tag, place, expires, now)
            return Redeemed.BUSY, 0
        if not self.first(tag, expires, now):
            return Redeemed.SPENT, 0
        self.spent.add(tag, expires)
        self._movers = self._movers - 1.0 if cheap else min(self._movers + MOVERS, MOST_MOVERS)
        if fallback:
            self._fallbacks.spend(1.0, now)
        elif hashwx:
            self._fallbacks.give(FALLBACK_SHARE)
        self._journal.changed("spent", (tag, expires))
        return Redeemed.ACCEPTED, max(0, 64 + HASHWX_WEIGHT_BITS * hashwx + k.bit_length() - target.bit_length())

    def age(self, client: bytes, program: bytes, token: str, now: float, former: bytes | None = None) -> float | None:
        """Seconds since a challenge was minted for this very client and program, and up to one more. None when it was
        not, has expired, or is spent, as far as is known here."""
        ticket = self._ticket(client, program, token, former)
        if ticket is None:
            return None
        tag, expires = ticket
        if self._claims is not None:
            self.hear(now)
        if expires <= now or tag in self.spent or self.spent.full(now):
            return None
        return now - (expires - self._settings.lifetime)

    def spend(self, client: bytes, program: bytes, token: str, now: float, former: bytes | None = None) -> bool:
        """Spend a challenge that has an age without an answer; False when somebody has, at another worker."""
        ticket = self._ticket(client, program, token, former)
        if ticket is None or not self.first(*ticket, now):
            return False
        self.spent.add(*ticket)
        self._journal.changed("spent", ticket)
        return True

    def _ticket(self, client: bytes, program: bytes, token: str, former: bytes | None) -> tuple[bytes, float] | None:
        """What a challenge that was minted for this client is known by when it is spent, and when it expires."""
        read = _read(token)
        if read is None:
            return None
        body, mac, hidden = read
        tags = (challenge_tag(key, body + program) for key in self._keys.both())
        tag = next((each for each in tags if compare_digest(each[:MAC_BYTES], mac)), None)
        if tag is None or all(hidden != _hidden(each, tag) for each in (client, former or client)):
            return None
        *_, expiry, place, _ = BODY.unpack(body[:-MARK_BYTES])
        return (tag, expiry - self._wall_offset) if self._knows(place) else None

    def hear(self, now: float) -> None:
        """Remember what was spent at other workers. Where there is no room, nothing is accepted here either."""
        assert self._claims is not None  # noqa: S101 - the caller asks
        for tag, expires in self._claims.read():
            if tag not in self.spent and expires > now and not self.spent.full(now):
                self.spent.add(tag, expires)

    def first(self, tag: bytes, expires: float, now: float) -> bool:
        """Whether no other worker has claimed what `tag` stands for, or does so now (board/crew.py)."""
        if self._claims is None:
            return True
        self._claims.claim(tag, expires)
        self.hear(now)
        return tag not in self.spent

    def _knows(self, place: bytes) -> bool:
        """Whether it is known here which challenges of that place are spent."""
        return place == self._place if self._claims is None else place in self._claims.places

    def places(self) -> frozenset[bytes]:
        """The places that challenges of this machine carry."""
        if self._claims is not None:
            return self._claims.places
        if not self._place:
            self._place = self._entropy(PLACE_BYTES)
        return frozenset((self._place,))

    def spend_for(self, tag: bytes, expires: float, now: float) -> bool:
        """Spend a challenge of this machine for another one, which has an answer; False when it is spent."""
        if tag in self.spent or self.spent.full(now) or not self.first(tag, expires, now):
            return False
        self.spent.add(tag, expires)
        self._journal.changed("spent", (tag, expires))
        return True

    def rows(self, now: float) -> Iterator[list[Any]]:
        """The spent challenges as plain rows: tag as hex, and when it expires by the wall clock."""
        for tag, expires in tuple(self.spent.items()):
            if expires > now:
                yield self.row(tag, expires)

    def row(self, tag: bytes, expires: float) -> list[Any]:
        """One of these rows."""
        return [tag.hex(), expires + self._wall_offset]

    def restore(self, row: list[Any], now: float) -> bool:
        """Take such a row from before a restart; whether there was room. ValueError when it makes no sense."""
        tag, expires = row
        name, until = key(tag, TAG_BYTES), number(expires) - self._wall_offset
        if name in self.spent or not now < until <= now + self._settings.lifetime or self.spent.full(now):
            return False
        self.spent.add(name, until)
        return True

    def inheritance(self) -> list[Any]:
        """What the challenges of this process are known by, as a plain row."""
        return [self._place.hex(), self._count]

    def inherit(self, row: list[Any]) -> bool:
        """Be in the place of the process that made such a row, which mints no more, and whose spent challenges are
        known here. ValueError when it makes no sense."""
        place, minted = row
        self._place, self._count = key(place, PLACE_BYTES), count(minted) & 0xFFFF
        if self._claims is not None:
            self._claims.inherit(self._place)
        return True

    def status(self) -> TableStatus:
        """The fill of the table of spent challenges."""
        return TableStatus(entries=len(self.spent), max=int(self.spent.maxsize), bytes_per_entry=SPENT_BYTES)


def solved(token: str, target: int, nonces: Sequence[int]) -> int:
    """How many sub-puzzles in a row, from the first, the nonces solve. Stops at the first that is not."""
    seed = sha256(token.encode("ascii")).digest()
    for i, nonce in enumerate(nonces):
        digest = sha256(seed + i.to_bytes(4, "big") + nonce.to_bytes(8, "big")).digest()
        if int.from_bytes(digest[:8], "big") >= target:
            return i
    return len(nonces)


def _hidden(client: bytes, tag: bytes) -> bytes:
    """Four bytes of a client's key, hidden by what is not sent of the MAC."""
    return bytes(mine ^ other for mine, other in zip(client, tag[MAC_BYTES:KEPT_BYTES], strict=False))


def _read(token: str) -> tuple[bytes, bytes, bytes] | None:
    """Body, MAC and `client` of a token that has the form of one."""
    if len(token) != TOKEN_CHARS:
        return None
    try:
        raw = urlsafe_b64decode(token)
    except ValueError:
        return None
    return raw[: BODY.size + MARK_BYTES], raw[-KEPT_BYTES : MAC_BYTES - KEPT_BYTES], raw[MAC_BYTES - KEPT_BYTES :]
