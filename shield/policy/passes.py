"""Passes: what a client shows to be known wherever it comes from, and what it may spend.

A pass is a refillable budget, not a ticket: requests are charged to its id, so whoever shares it shares the budget. Its
text is a signed token (pass_tokens.py).

**Earned** passes are given silently, in calm weather, to clients that enter the history.

**Bought** passes are the answer to a challenge. During an attack they are scarce: the bucket is small, and its rate
depends on how many such passes there are. A scarce pass lapses `challenge.bought_idle` seconds after it was last used
well, and after `challenge.bought_life` under pressure in any case. Used well means a good response, and no request
above its budget within the last `challenge.greed` seconds: whoever asks for more than the pass has pays again. A pass
that outlives the attack becomes an ordinary one.

Any pass that is seen from more than `challenge.pass_networks` regions in a short time is revoked. They are regions, and
not networks: a carrier may give a phone another way out, in another /24, with each connection.

The table of passes in use: key = id, at most `tables.passes`, forgotten an hour after the last use, evicted as
table.py says, `PASS_BYTES` each. A scarce or revoked pass is not evicted. A pass whose entry was forgotten is read
again from its token; a bought one only in its first `bought_idle` seconds, in which it was bought before a restart or
from another worker. Later nobody could tell whether it has lapsed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Any, Final

from shield.policy.bucket import Rate
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.entries import Pass, PassKind
from shield.policy.history import History
from shield.policy.locations import wider
from shield.policy.news import NOBODY, News
from shield.policy.notes import Notes
from shield.policy.pass_tokens import ID_BYTES, PassTokens
from shield.policy.rows import key, number, text
from shield.policy.table import Table

IDLE_SECONDS: Final = 3600.0
"""After so long without use an entry is forgotten; the token brings it back."""
TOLD: Final = 5.0
"""Seconds after which other workers hear again of a scarce pass that is used: it lives on, and owes so much."""
TOLD_MOVING: Final = 0.25
"""The same, of one that was seen in several networks, and so perhaps by several workers."""
PASS_BYTES: Final = 650
"""Bytes per pass in use, by tracemalloc over 20,000."""


class Passes:
    """Gives and sells passes, and keeps those in use.

    `lapsed(network, -1)` is called when a scarce pass has ceased to be one of its network's live ones. `ordinary` is
    the bucket of a pass that is not scarce, `size` the most passes in use. It has more than 15 attributes because what
    each window changes is here, where it is read.
    """

    def __init__(
        self,
        settings: ChallengeSettings,
        ordinary: Rate,
        size: int,
        tokens: PassTokens,
        history: History,
        lapsed: Callable[[str, int], None],
        notes: Notes,
        news: News = NOBODY,
        journal: News = NOBODY,
    ) -> None:
        self._settings = settings
        self._ordinary = ordinary
        self._scarce = Rate(settings.bought_rate, settings.bought_burst)
        self._tokens = tokens
        self._history = history
        self._lapsed = lapsed
        self._notes = notes
        self._news = news
        self._journal = journal
        self._live_bought: list[tuple[float, bytes, Pass]] = []  # heap by when to look whether it expired
        self.table: Table[bytes, Pass] = Table(size, IDLE_SECONDS, self._nobodys, Pass.forget)
        # changed with each window
        self.attack = False
        self.pressed = False
        self.factor = 1.0  # on the rate at which buckets of scarce passes fill
        self.burst = settings.bought_burst  # units; of scarce passes, more where there is plenty
        self.ended_at = 0.0  # when the last attack ended

    @property
    def bought(self) -> int:
        """Bought passes that are alive; those that lapsed are subtracted by `expire`."""
        return len(self._live_bought)

    def earn(self, now: float) -> str:
        """A token given silently."""
        return self._tokens.sign(PassKind.EARNED, self._tokens.new_id(), now, 0)

    def buy(self, work: int, network: str, now: float) -> tuple[str, Pass] | None:
        """The token and the pass for `work` (log2 of the hashes paid). None when the table is full of such passes.

        While the pass is scarce it is one of the live ones of `network`.
        """
        id_ = self._tokens.new_id()
        bought = self._enter_bought(id_, now, now)
        if bought is None:
            return None
        if bought.scarce:
            bought.bought_in = network
            self._news.changed("pass", bought)
        return self._tokens.sign(PassKind.BOUGHT, id_, now, work), bought

    def _enter_bought(self, id_: bytes, issued: float, now: float) -> Pass | None:
        """The entry of a bought pass that is not in the table; None when there is no room."""
        settings = self._settings
        bought = Pass(id_, PassKind.BOUGHT, self._scarce, issued, issued + settings.pass_lifetime, None)
        if self.attack:
            bought.make_scarce(issued + settings.bought_idle, issued + settings.bought_life)
        else:
            bought.make_ordinary(self._ordinary)
        if self.table.enter(id_, bought, now) is not bought:
            return None
        if bought.scarce:
            heapq.heappush(self._live_bought, (bought.expires, id_, bought))
        return bought

    def rows(self, shift: float, now: float) -> Iterator[list[Any] | None]:
        """The passes of which their token does not tell all, as plain rows; None for each other one. `shift`: from our
        clock to that of the rows."""
        for each in tuple(self.table.values()):
            told = each.ends > now and (each.revoked or (each.scarce and each.expires > now))
            yield self.row(each, shift) if told else None

    def row(self, each: Pass, shift: float) -> list[Any]:
        """A pass as a plain row."""
        times = (each.issued, each.expires, each.paid_until, each.tat, each.filled_at, each.limited_at)
        return [each.key.hex(), int(each.kind), each.revoked, each.bought_in, *(time + shift for time in times)]

    def restore(self, row: list[Any], shift: float, now: float, owes: bool = True) -> bool:
        """Take such a row from before a restart, or of another worker; whether there was room, or something new.
        `owes`: what it owes there is not told otherwise. ValueError when it makes no sense."""
        id_, kind, revoked, bought_in, *times = row
        name, network = key(id_, ID_BYTES), text(bought_in)
        issued, expires, paid_until, tat, filled_at, limited_at = (number(time) - shift for time in times)
        settings, ends = self._settings, issued + self._settings.pass_lifetime
        there = self.table.get(name)
        if there is not None:
            debt = tat - filled_at - self.factor * (now - filled_at) if owes else 0.0
            until = min(expires, paid_until, now + settings.bought_idle)
            return self._renewed(there, revoked is True, until, debt, now)
        if issued > now or ends <= now:
            return False
        restored = Pass(name, PassKind(kind), self._scarce, issued, ends, self._history.get(name))
        if revoked is True:
            restored.make_ordinary(self._ordinary)
            restored.revoke()
        else:
            restored.make_scarce(min(expires, now + settings.bought_idle), min(paid_until, ends))
            restored.filled_at, restored.limited_at = min(filled_at, now), min(limited_at, now)
            restored.tat = min(tat, now + restored.span)
            restored.bought_in = network
            if restored.expires <= now:
                return False
        if self.table.enter(name, restored, now) is not restored:
            return False
        if restored.scarce:
            heapq.heappush(self._live_bought, (restored.expires, name, restored))
            if network:
                self._lapsed(network, 1)
        return True

    def _renewed(self, there: Pass, revoked: bool, until: float, debt: float, now: float) -> bool:
        """Take what another worker knows of a pass that is in use here; whether that was more."""
        if revoked and not there.revoked:
            there.revoke()
            return True
        if not there.scarce:
            return False
        longer = until > there.expires
        there.expires = max(there.expires, until)
        return there.owe(debt, self.factor, now) or longer

    def seen(self, row: list[Any], now: float) -> bool:
        """Take note that a pass was seen in a network by another worker; whether it is in use here. When those are too
        many, its next move here revokes it. ValueError when the row makes no sense."""
        id_, network = row
        there = self.table.get(key(id_, ID_BYTES))
        if there is None or len(there.seen) > self._settings.pass_networks:
            return False
        here = there.network
        self._moved(there, text(network), now)
        there.network = here
        return True

    def present(self, token: str, now: float) -> Pass | None:
        """The pass that `token` stands for; None when it is forged, has ended, or was revoked."""
        read = self._tokens.read(token)
        if read is None:
            return None
        kind, id_, issued = read
        settings = self._settings
        if issued + settings.pass_lifetime <= now:
            return None
        found = self.table.get(id_)
        if found is None:
            record = self._history.get(id_)
            if kind == PassKind.BOUGHT and record is None:
                if issued + settings.bought_idle <= now:
                    return None  # it lapsed, or nobody could tell
                return self._enter_bought(id_, issued, now)  # bought before a restart, or from another worker
            found = Pass(id_, PassKind(kind), self._ordinary, issued, issued + settings.pass_lifetime, record)
            found = self.table.enter(id_, found, now)
        return found if self._valid(found, now) else None

    def look(self, id_: bytes, token: str | None, now: float) -> Pass | None:
        """A pass by its id, as it is; one that is not in use only with its token, if that was signed here. It stays out
        of use."""
        found = self.table.get(id_)
        read = None if found is not None or token is None else self._tokens.read(token)
        if read is None:
            return found
        kind, id_, issued = read
        made = Pass(
            id_, PassKind(kind), self._ordinary, issued, issued + self._settings.pass_lifetime, self._history.get(id_)
        )
        return made if made.ends > now else None

    def check(self, shown: Pass, network: str, now: float) -> Pass | None:
        """Look again at a pass that is used at `now` from `network`: the pass that holds now, None when it is void."""
        if not shown.live:
            again = self.table.get(shown.key)
            if again is None:
                if shown.scarce:
                    return None
                again = self.table.enter(shown.key, shown, now)
                if again is shown:
                    shown.revive()
            shown = again
        if not self._valid(shown, now):
            return None
        if shown.scarce:
            shown.fill(self.factor, now)
            shown.resize(self.burst)
        if shown.network != network:
            if shown is self.table.shared:
                shown.network = network
            elif self._moved(shown, network, now) > self._settings.pass_networks:
                shown.revoke()
                self._news.changed("pass", shown)
                self._journal.changed("pass", shown)
                self._notes.add("pass_revoked", **{"pass": shown.key.hex(), "networks": len(shown.seen)})
                return None
            else:
                self._news.changed("seen", shown)
        return shown

    def _moved(self, shown: Pass, network: str, now: float) -> int:
        """Note that a pass is seen in another network; in how many regions it was of late."""
        return shown.move(network, wider(network)[1], now, self._settings.pass_networks_window)

    def renew(self, used: Pass, now: float) -> None:
        """A scarce pass got a good response: it lives on, unless it was above its budget a moment ago."""
        settings = self._settings
        if not self.pressed:
            used.paid_until = now + settings.bought_life  # between two floods there is enough for all
        if used.limited_at + settings.greed <= now:
            used.renew(now + settings.bought_idle)
        if self._news.on and used.told_at + (TOLD_MOVING if len(used.seen) > 1 else TOLD) < now:
            used.told_at = now
            self._news.changed("pass", used)

    def close_window(self, attack: bool, pressed: bool, factor: float, burst: float, now: float) -> None:
        """Go by this from now on: `factor` on the rate at which scarce passes fill, and their burst in units."""
        if self.attack and not attack:
            self.ended_at = now
        self.attack = attack
        self.pressed = pressed
        self.factor = factor
        self.burst = burst

    def expire(self, now: float) -> None:
        """Forget idle passes and stop counting bought ones that lapsed."""
        self.table.expire(now)
        heap = self._live_bought
        while heap and heap[0][0] <= now:
            _, id_, bought = heap[0]
            if bought.scarce and bought.expires > now:
                heapq.heapreplace(heap, (bought.expires, id_, bought))
            else:
                heapq.heappop(heap)
                if bought.bought_in:
                    self._lapsed(bought.bought_in, -1)

    def _valid(self, shown: Pass, now: float) -> bool:
        if shown.revoked:
            return False
        if shown.scarce and not self.attack and shown.expires > self.ended_at:
            shown.make_ordinary(self._ordinary)  # it outlived the attack
        return shown.expires > now

    def _nobodys(self) -> Pass:
        """The pass that newcomers share when the table is full."""
        nobodys = Pass(b"", PassKind.EARNED, self._ordinary, 0.0, float("inf"), None)
        nobodys.windows = -1  # makes no history
        return nobodys
