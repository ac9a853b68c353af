"""Passes: what a client shows to be known wherever it comes from, and what it may spend.

A pass is a refillable budget, not a ticket: requests are charged to its id, so whoever shares it shares the budget. Its
text is a signed token (pass_tokens.py).

**Earned** passes are given silently, in calm weather, to clients that enter the history.

**Bought** passes are the answer to a challenge. During an attack they are scarce: the bucket is small, and its rate
depends on how many such passes there are. A scarce pass lapses `challenge.bought_idle` seconds after it was last used
well, and after `challenge.bought_life` under pressure in any case. Used well means a good response, and no request
above its budget within the last `challenge.greed` seconds: whoever asks for more than the pass has pays again. A pass
that outlives the attack becomes an ordinary one.

**Waited** passes are bought by waiting (waiting.py). They are like bought ones, but their tier is lower.

Any pass that is seen from more than `challenge.pass_networks` regions in a short time is revoked. They are regions, and
not networks: a carrier may give a phone another way out, in another /24, with each connection.

**Sites** (clients.py) have their passes in one table, and each sells its own: a bought pass is scarce as long as there
is an attack at its site, and worth nothing elsewhere unless it has a history. The first TAG_BYTES of its id tell where
it was bought, so that its token is as long as any.

The table of passes in use: key = id, at most `tables.passes`, forgotten an hour after the last use, evicted as
table.py says, `PASS_BYTES` each. A scarce or revoked pass is not evicted. A pass whose entry was forgotten is read
again from its token; a bought one only in its first `bought_idle` seconds, in which it was bought before a restart or
from another worker. Later nobody could tell whether it has lapsed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, Final

from shield.model import DEFAULT_SITE
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
PASS_BYTES: Final = 658
"""Bytes per pass in use, by tracemalloc over 20,000."""
TAG_BYTES: Final = 2
SOLD: Final = frozenset({PassKind.BOUGHT, PassKind.WAITED})
_IDS: Final = (1 << 8 * ID_BYTES) - 1


class Sellers:
    """The passes in use at all sites, at most `size`, and who sells them. `ordinary` is the bucket of a pass that is
    not scarce."""

    __slots__ = ("_by_site", "_by_tag", "_ordinary", "table")

    def __init__(self, size: int, ordinary: Rate) -> None:
        self._ordinary = ordinary
        self._by_site: dict[str, Passes] = {}
        self._by_tag: dict[bytes, Passes] = {}
        self.table: Table[bytes, Pass] = Table(size, IDLE_SECONDS, self._nobodys, Pass.forget)

    def join(self, seller: Passes) -> bytes:
        """Take a further site's; its tag. That of the only one, or of the default, is empty: the ids of its passes
        begin with any bytes that are nobody's tag."""
        self._by_site[seller.site] = seller
        if seller.site == DEFAULT_SITE:
            return b""
        tag = blake2b(seller.site.encode(), digest_size=TAG_BYTES).digest()
        while tag in self._by_tag:
            tag = (int.from_bytes(tag, "big") + 1 & 0xFFFF).to_bytes(TAG_BYTES, "big")
        self._by_tag[tag] = seller
        return tag

    def taken(self, id_: bytes) -> bool:
        """Whether an id begins with the tag of a site."""
        return id_[:TAG_BYTES] in self._by_tag

    def of(self, id_: bytes) -> Passes:
        """Who has sold the pass of this id. Those of a site that is no more are taken for the default's."""
        found = self._by_tag.get(id_[:TAG_BYTES])
        return found or self._by_site.get(DEFAULT_SITE) or next(iter(self._by_site.values()))

    def at(self, site: str) -> Passes:
        """Who sells at a site."""
        return self._by_site[site]

    def _nobodys(self) -> Pass:
        """The pass that newcomers share when the table is full."""
        nobodys = Pass(b"", PassKind.EARNED, self._ordinary, 0.0, float("inf"), None)
        nobodys.windows = -1  # makes no history
        return nobodys


class Passes:
    """Gives and sells the passes of one site, and keeps those in use.

    `lapsed(network, -1)` is called when a scarce pass has ceased to be one of its network's live ones. `ordinary` is
    the bucket of a pass that is not scarce, `size` the most passes in use; or, of one of several sites, there are the
    `sellers` of the others. It has more than 15 attributes because what each window changes is here, where it is read.
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
        site: str = DEFAULT_SITE,
        sellers: Sellers | None = None,
    ) -> None:
        self._settings = settings
        self.site = site
        self.sellers = Sellers(size, ordinary) if sellers is None else sellers
        self.table = self.sellers.table
        self._tag = self.sellers.join(self)
        self._ordinary = ordinary
        self._scarce = Rate(settings.bought_rate, settings.bought_burst)
        self._tokens = tokens
        self._history = history
        self._lapsed = lapsed
        self._notes = notes
        self._news = news
        self._journal = journal
        self._live_bought: list[tuple[float, bytes, Pass]] = []  # heap by when to look whether it expired
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

    def buy(self, work: int, network: str, now: float, kind: PassKind = PassKind.BOUGHT) -> tuple[str, Pass] | None:
        """The token and the pass for `work` (log2 of the hashes paid), or, WAITED, for none. None when the table is
        full of such passes.

        While the pass is scarce it is one of the live ones of `network`.
        """
        id_ = self._new_id()
        bought = self._enter_bought(id_, kind, now, now)
        if bought is None:
            return None
        if bought.scarce:
            bought.bought_in = network
            self._news.changed("pass", bought)
        return self._tokens.sign(kind, id_, now, work), bought

    def _new_id(self) -> bytes:
        """The id of a pass that is sold here."""
        id_ = self._tokens.new_id()
        if self._tag:
            return self._tag + id_[TAG_BYTES:]
        while self.sellers.taken(id_):  # one in a thousand, where there are as many sites as there may be
            id_ = (int.from_bytes(id_, "big") + (1 << 8 * (len(id_) - TAG_BYTES)) & _IDS).to_bytes(len(id_), "big")
        return id_

    def _enter_bought(self, id_: bytes, kind: int, issued: float, now: float) -> Pass | None:
        """The entry of a bought pass that is not in the table; None when there is no room."""
        settings = self._settings
        bought = Pass(id_, PassKind(kind), self._scarce, issued, issued + settings.pass_lifetime, None, self.site)
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
        seller = self if kind == PassKind.EARNED else self.sellers.of(name)
        return seller._restore(
            name, kind, revoked is True, network, [number(time) - shift for time in times], now, owes
        )

    def _restore(
        self, name: bytes, kind: Any, revoked: bool, network: str, times: list[float], now: float, owes: bool
    ) -> bool:
        issued, expires, paid_until, tat, filled_at, limited_at = times
        settings, ends = self._settings, issued + self._settings.pass_lifetime
        there = self.table.get(name)
        if there is not None:
            debt = tat - filled_at - self.factor * (now - filled_at) if owes else 0.0
            until = min(expires, paid_until, now + settings.bought_idle)
            return self._renewed(there, revoked, until, debt, now)
        if issued > now or ends <= now:
            return False
        restored = Pass(
            name, PassKind(kind), self._scarce, issued, ends, self._history.get(name), self._sold_at(kind, name)
        )
        if revoked:
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
            if kind in SOLD and record is None:
                if issued + settings.bought_idle <= now:
                    return None  # it lapsed, or nobody could tell
                # It was sold before a restart, or by another worker.
                return self.sellers.of(id_)._enter_bought(id_, kind, issued, now)
            sold_at = self._sold_at(kind, id_)
            found = Pass(id_, PassKind(kind), self._ordinary, issued, issued + settings.pass_lifetime, record, sold_at)
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
        ends, record = issued + self._settings.pass_lifetime, self._history.get(id_)
        made = Pass(id_, PassKind(kind), self._ordinary, issued, ends, record, self._sold_at(kind, id_))
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
            seller = self._seller(shown)
            shown.fill(seller.factor, now)
            shown.resize(seller.burst)
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
        if shown.scarce:
            seller = self._seller(shown)
            if not seller.attack and shown.expires > seller.ended_at:
                shown.make_ordinary(self._ordinary)  # it outlived the attack
        return shown.expires > now

    def good_here(self, shown: Pass) -> Pass | None:
        """A pass that may have been bought at another site, if it is worth something at this one."""
        if shown.sold_at == self.site or (shown.record is not None and shown.record.live):
            return shown
        return None

    def _seller(self, shown: Pass) -> Passes:
        """Whose attack makes a pass scarce."""
        return self if shown.sold_at is None else self.sellers.at(shown.sold_at)

    def _sold_at(self, kind: int, id_: bytes) -> str | None:
        """Where a pass was bought, if it was."""
        return self.sellers.of(id_).site if kind in SOLD else None
