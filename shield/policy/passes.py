"""Passes: what a client shows to be known wherever it comes from, and what it may spend.

A pass is a signed token with an id, a time and the work paid for it. It is a refillable budget, not a ticket: its id
is the subject of the limits, so sharing it shares the budget.

    base64url( version u8 = 1 | kind u8 (1 earned, 2 bought) | id 8 bytes | issued u32 | work u8 | mac 16 bytes )

**Earned** passes are given silently in calm weather to clients that enter the history. **Bought** ones are the answer
to a challenge: with a small bucket whose rate depends on how many there are, alive for `bought_idle` seconds after it
was last used well, and for `bought_life` under pressure, until the attack is over; then they become ordinary ones. Used
well means a good response, and no request above its budget in the last ten seconds: who asks for more than it has pays
again. Any pass seen from more than eight networks in ten minutes is revoked.

The table of passes in use: key = id, at most `tables.passes`, forgotten an hour after the last use, evicted as
table.py says, `PASS_BYTES` each; one that was bought for the attack, or revoked, is not evicted. A pass whose entry
was forgotten is read again from its token. A bought one is so for its first `bought_idle` seconds only (before a
restart, or by another worker, it was bought for sure); later nobody could tell that it has not lapsed.
"""

from __future__ import annotations

import heapq
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable
from hmac import compare_digest
from typing import Any, Final

from shield.policy.bucket import Rate
from shield.policy.entries import Pass, PassKind
from shield.policy.history import History
from shield.policy.keys import Keys, pass_tag
from shield.policy.table import Table

VERSION: Final = 1
BODY: Final = struct.Struct(">BB8sIB")
TOKEN_CHARS: Final = 42  # 31 bytes without padding
PASS_BYTES: Final = 650
"""Bytes per pass in use, by tracemalloc over 20,000."""


class Passes:
    """Signs passes, reads them, and keeps those in use."""

    def __init__(
        self,
        *,
        keys: Keys,
        entropy: Callable[[int], bytes],
        history: History,
        ordinary: Rate,
        bought: Rate,
        lifetime: float,
        bought_idle: float,
        bought_life: float,
        greed: float,
        most_networks: int,
        networks_window: float,
        lapsed: Callable[[str, int], None],
        size: int,
        wall_offset: float,
        notes: deque[tuple[str, dict[str, Any]]],
    ) -> None:
        self._notes = notes
        self._sign_with = keys.current
        self._verify_with = keys.both()
        self._entropy = entropy
        self._history = history
        self._ordinary = ordinary
        self._bought = bought
        self._lifetime = lifetime
        self._bought_idle = bought_idle
        self._bought_life = bought_life
        self._greed = greed
        self._most_networks = most_networks
        self._networks_window = networks_window
        self._lapsed = lapsed
        self._wall_offset = wall_offset
        self._live_bought: list[tuple[float, bytes, Pass]] = []  # heap by when to look whether it expired
        self.attack = False
        self.pressed = False
        self.factor = 1.0  # on the rate at which buckets of scarce passes fill
        self.burst = bought.burst  # units; of scarce passes, more where there is plenty
        self.ended_at = 0.0  # when the last attack ended
        self.table: Table[bytes, Pass] = Table(size, 3600.0, self._nobodys, _forget)

    @property
    def bought(self) -> int:
        """Bought passes that are alive; those that lapsed are subtracted by `expire`."""
        return len(self._live_bought)

    def earn(self, now: float) -> str:
        """A token given silently."""
        return self._sign(PassKind.EARNED, self._entropy(8), now, 0)

    def buy(self, work: int, network: str, now: float) -> tuple[str, Pass] | None:
        """A pass for `work` (log2 of the hashes paid), and its token. None when the table is full of such passes.

        While it is scarce it is one of `network`; `lapsed(network, -1)` is called when it has ceased to be.
        """
        key = self._entropy(8)
        bought = self._enter_bought(key, now, now)
        if bought is None:
            return None
        if bought.scarce:
            bought.bought_in = network
        return self._sign(PassKind.BOUGHT, key, now, work), bought

    def _enter_bought(self, key: bytes, issued: float, now: float) -> Pass | None:
        """The entry of a bought pass that is not in the table; None when there is no room."""
        bought = Pass(key, PassKind.BOUGHT, self._bought, issued, issued + self._lifetime, None)
        if self.attack:
            bought.scarce = True
            bought.expires = issued + self._bought_idle
            bought.check_at = 0.0  # always: its bucket fills as fast as there is room
            bought.paid_until = issued + self._bought_life
        else:
            self._make_ordinary(bought)
        if self.table.enter(key, bought, now) is not bought:
            return None
        if bought.scarce:
            heapq.heappush(self._live_bought, (bought.expires, key, bought))
        return bought

    def present(self, token: str, now: float) -> Pass | None:
        """The pass that `token` stands for; None when it is forged, has ended, or was revoked. Costs one MAC."""
        if len(token) != TOKEN_CHARS:
            return None
        try:
            raw = urlsafe_b64decode(token + "==")
        except ValueError:
            return None
        body, tag = raw[:-16], raw[-16:]
        for key in self._verify_with:
            if compare_digest(pass_tag(key, body), tag):
                break
        else:
            return None
        _, kind, id_, issued_wall, _ = BODY.unpack(body)  # only we sign, so it is well-formed
        issued = issued_wall - self._wall_offset
        if issued + self._lifetime <= now:
            return None
        known = self.table.get(id_)
        if known is None:
            record = self._history.get(id_)
            if kind == PassKind.BOUGHT and record is None:
                if issued + self._bought_idle <= now:
                    return None  # it lapsed, or nobody could tell
                return self._enter_bought(id_, issued, now)  # bought before a restart, or from another worker
            known = Pass(id_, PassKind(kind), self._ordinary, issued, issued + self._lifetime, record)
            known = self.table.enter(id_, known, now)
        return known if self._valid(known, now) else None

    def check(self, token: Pass, network: str, now: float) -> Pass | None:
        """Look again at a pass that is used at `now` from `network`: what it is now, None when it is void."""
        if not token.live:
            again = self.table.get(token.key)
            if again is None:
                if token.scarce:
                    return None
                again = self.table.enter(token.key, token, now)
                if again is token:
                    token.live, token.check_at = True, token.expires
            token = again
        if not self._valid(token, now):
            return None
        if token.scarce:
            token.fill(self.factor, now)
            token.burst = self.burst
            token.span = token.burst / token.rate
        if token.network != network:
            token.network = network
            if token is not self.table.shared and self._roams(token, network, now):
                token.revoked = True
                token.check_at = 0.0
                self._notes.append(("pass_revoked", {"pass": token.key.hex(), "networks": len(token.seen)}))
                return None
        return token

    def renew(self, token: Pass, now: float) -> None:
        """A scarce pass got a good response: it lives on, unless it was above its budget a moment ago."""
        if not self.pressed:
            token.paid_until = now + self._bought_life  # between two floods there is enough for all
        if token.limited_at + self._greed <= now:
            token.expires = min(now + self._bought_idle, token.paid_until)

    def expire(self, now: float) -> None:
        """Forget idle passes and stop counting bought ones that lapsed."""
        self.table.expire(now)
        heap = self._live_bought
        while heap and heap[0][0] <= now:
            _, key, token = heap[0]
            if token.scarce and token.expires > now:
                heapq.heapreplace(heap, (token.expires, key, token))
            else:
                heapq.heappop(heap)
                if token.bought_in:
                    self._lapsed(token.bought_in, -1)

    def _valid(self, token: Pass, now: float) -> bool:
        if token.revoked:
            return False
        if token.scarce and not self.attack and token.expires > self.ended_at:
            self._make_ordinary(token)  # it outlived the attack
        return token.expires > now

    def _make_ordinary(self, token: Pass) -> None:
        token.scarce = False
        token.rate, token.burst = self._ordinary.rate, self._ordinary.burst
        token.span = token.burst / token.rate
        token.expires = token.check_at = token.ends

    def _roams(self, token: Pass, network: str, now: float) -> bool:
        """Note that a pass was seen in `network`; whether it is in too many."""
        seen = [(name, at) for name, at in token.seen if name != network and at + self._networks_window > now]
        seen.append((network, now))
        token.seen = seen
        return len(seen) > self._most_networks

    def _sign(self, kind: PassKind, key: bytes, now: float, work: int) -> str:
        body = BODY.pack(VERSION, kind, key, int(now + self._wall_offset), work)
        return urlsafe_b64encode(body + pass_tag(self._sign_with, body)).rstrip(b"=").decode()

    def _nobodys(self) -> Pass:
        nobody = Pass(b"", PassKind.EARNED, self._ordinary, 0.0, float("inf"), None)
        nobody.windows = -1  # makes no history
        return nobody


def _forget(token: Pass) -> None:
    token.live = False
    token.check_at = 0.0
