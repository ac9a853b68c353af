"""A score for each client, address and network: what raises it, what earns it back, how it decays.

    soft signals      A limit that was hit, a challenge that was ignored, a response 400, 401 or 404, a request cut
                      because it was slow. Honest programs do these too, and a page elsewhere can have a browser do
                      them. So together they never lift a score above `most_soft`, and never ban, and none counts of a
                      request that a browser says another site made it send (provoked.py).
    hard signals      A forged or false proof of work, a malformed request, a honeypot: what only a program can send.
    good responses    They earn back a little, down to `most_credit` below zero.

What each weighs is a setting of [reputation]. A score decays by half in a half-life, and is evaluated when it is read:
it is kept as its value at `scored_at`. It is capped at `most_score`. A score s slows every bucket of its holder by
2^(-clip(s, 0, most_slowing) / halving).

At `ban_score` a client is banned: for `least_ban` seconds, `relapse` times as long at each relapse, at most for
`most_ban`. So long without a ban forgets the relapses.

An address is banned only by hard signals. Of one client's score at most `most_shared` points reach its address and its
network, however long it goes on. They are divided by how many clients, or addresses, with a history are there: a crowd
behind one address is not a criminal. A signal that came before anything told whose it was (a malformed head without a
User-Agent on a new connection) is the address's alone, divided likewise. Its network is spared, since nothing says how
much of the network is one client's.
Who has a history or a pass is served on at a banned address, and a newcomer may pay its way out (judge.py). Who can
cause which signal, and whom it hits, stands in docs/threat-model.md.

Entries that strangers share take no score and no ban. When clients of one address share an entry, the points for hard
signals still reach the address, at most `most_shared` of each entry; while the table is full, all of them do.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why
from shield.policy.entries import ADDRESS_HALF_LIFE, CLIENT_HALF_LIFE, AddressEntry, ClientEntry, NetworkEntry
from shield.policy.history import History
from shield.policy.news import NOBODY, News
from shield.policy.notes import Notes

LEAST_SOFT: Final = 0.05  # a soft signal that adds no more is not worth the work: who floods sends thousands a second

POOR_STATUS: Final = frozenset({400, 401, 404})


@dataclass(frozen=True, slots=True)
class ReputationSettings:
    """What a signal weighs, and how long it is remembered. Weights in points of the score."""

    dry_run: Annotated[
        bool,
        Doc("Try it: bans are made, counted and logged, and refuse nobody; neither do honeypots. identity.deny holds."),
    ] = False
    client_half_life: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time in which a client's score decays by half."),
        Why("Chosen", "a mistake is forgotten within the hour"),
    ] = CLIENT_HALF_LIFE
    address_half_life: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time in which an address's or a network's score decays by half."),
        Why(
            "Chosen",
            "six times a client's, since whoever changes the User-Agent is another client at the same address",
        ),
    ] = ADDRESS_HALF_LIFE
    bad_score: Annotated[
        float,
        Gt(0),
        Unit("points"),
        Doc("Score above which the tier is T4: last, and slowest."),
        Why("Simulated", "as `reputation.most_soft`, so that soft signals alone never lead there"),
    ] = 8.0
    ban_score: Annotated[
        float, Gt(0), Unit("points"), Doc("Score that bans."), Why("Chosen", "twice what soft signals can reach")
    ] = 16.0
    least_ban: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Length of the first ban."),
        Why("Chosen", "short, should it be a mistake. `reputation.relapse` makes the next ones longer"),
    ] = 60.0
    relapse: Annotated[
        float,
        Ge(1),
        Le(10),
        Unit("times"),
        Doc("Length of each further ban as a multiple of the last, until the last is `most_ban` ago."),
        Why("Precedent", "fail2ban's `bantime.increment`"),
    ] = 2.0
    most_ban: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Length of the longest ban, and time after which relapses are forgotten."),
        Why(
            "Chosen",
            "a day, since addresses change hands",
        ),
    ] = 86_400.0
    limit_hit: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Soft: a request above the client's limit."),
        Why("Simulated", "limit hits that weigh enough to ban banned honest users in calm weather"),
    ] = 0.2
    ignored: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Soft: a request sooner than `Retry-After` asked, while more than 8 challenges are unanswered."),
        Why("Chosen", "a crawler that goes on is slowed within twenty seconds"),
    ] = 1.0
    poor_status: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Soft: a response 400, 401 or 404."),
        Why("Chosen", "sixteen slow a scanner to a quarter"),
    ] = 0.5
    false_work: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Hard: a forged challenge or a false answer."),
        Why(
            "Chosen",
            "the fourth bans, so a single fault of a program or a line does not",
        ),
    ] = 5.0
    malformed: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Hard: a request that breaks HTTP as only a program can."),
        Why(
            "Chosen",
            "six in a row ban",
        ),
    ] = 3.0
    slow_abort: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Soft: a request cut because its head came too slowly, or under pressure because little of its body came."),
        Why("Chosen", "as a poor status: lines fail honestly"),
    ] = 0.5
    honeypot: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Hard: a request for a honeypot path that no browser sent."),
        Why("Chosen", "bans at once, even from the greatest credit"),
    ] = 20.0
    good: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Credit that a good response earns back."),
        Why("Chosen", "a page of eighty parts makes up for eight 404s"),
    ] = 0.05
    ignored_every: Annotated[
        float,
        Ge(0),
        Unit("s"),
        Doc("Time between two ignored challenges that count."),
        Why("Chosen", "the parts of a page are challenged together"),
    ] = 1.0
    most_credit: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Credit below zero that good responses may earn at most."),
        Why("Chosen", "as many points as halve a rate; a honeypot still bans"),
    ] = 4.0
    most_soft: Annotated[
        float,
        Gt(0),
        Unit("points"),
        Doc("Score that soft signals never lift above: honest programs make them, too."),
        Why("Simulated", "with bans for limit hits honest users were banned"),
    ] = 8.0
    most_score: Annotated[
        float,
        Gt(0),
        Unit("points"),
        Doc("Highest score. It decides how soon a client that went on for hours is forgiven."),
        Why("Chosen", "twice a ban, so that one half-life ends what was the reason for it"),
    ] = 32.0
    most_shared: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Part of one client's score that reaches its address and network."),
        Why("Chosen", "a quarter of a ban, so one client bans no neighbour"),
    ] = 4.0
    halving: Annotated[
        float,
        Gt(0),
        Unit("points"),
        Doc("Score that halves the rate of every bucket of its holder."),
        Why("Chosen", "a score that bans stands for a sixteenth"),
    ] = 4.0
    most_slowing: Annotated[
        float,
        Ge(0),
        Unit("points"),
        Doc("Score above which rates fall no further."),
        Why("Chosen", "as a ban, beyond which nothing is admitted anyway"),
    ] = 16.0

    def complaints(self) -> Iterator[Complaint]:
        if self.most_ban < self.least_ban:
            yield ("most_ban",), f"at least reputation.least_ban, which is {self.least_ban}"
        if self.ban_score <= self.most_soft:
            yield ("ban_score",), f"above reputation.most_soft, which is {self.most_soft}"
        if self.most_score < self.ban_score:
            yield ("most_score",), f"at least reputation.ban_score, which is {self.ban_score}"


class Reputation:
    """Applies signals to entries. It has more than 15 attributes because the hot path reads what its settings say."""

    __slots__ = (
        "_address_half_life",
        "_bans",
        "_client_half_life",
        "_ends",
        "_first_good",
        "_good",
        "_halving",
        "_history",
        "_journal",
        "_least_score",
        "_most_open",
        "_most_slowing",
        "_news",
        "_notes",
        "bans_made",
        "settings",
    )

    def __init__(
        self,
        settings: ReputationSettings,
        history: History,
        notes: Notes,
        news: News = NOBODY,
        journal: News = NOBODY,
    ) -> None:
        self.settings = settings
        self._history = history
        self._notes = notes
        self._news = news
        self._journal = journal
        self._client_half_life = settings.client_half_life
        self._address_half_life = settings.address_half_life
        self._good = settings.good
        self._least_score = -settings.most_credit
        self._first_good = max(-settings.good, self._least_score)
        self._halving = settings.halving
        self._most_open = settings.most_soft - LEAST_SOFT  # score, above which a soft signal adds nothing
        self._most_slowing = settings.most_slowing
        self._ends: list[tuple[float, bool]] = []  # heap: when each ban ends, and whether an address's; one per entry
        self._bans = {False: 0, True: 0}
        self.bans_made = 0

    def bans(self, now: float) -> dict[str, int]:
        """Bans in force. Call it now and then: it forgets those that have ended."""
        while self._ends and self._ends[0][0] <= now:
            self._bans[heapq.heappop(self._ends)[1]] -= 1
        return {"clients": self._bans[False], "addresses": self._bans[True]}

    def bans_addresses(self) -> bool:
        """Whether the ban of an address may be in force."""
        return self._bans[True] > 0

    def of_client(self, entry: ClientEntry, now: float) -> float:
        """A client's score at `now`."""
        score = entry.score
        return score * 2.0 ** ((entry.scored_at - now) / self._client_half_life) if score else 0.0

    def of_source(self, entry: AddressEntry | NetworkEntry, now: float) -> float:
        """The score of an address or a network at `now`."""
        score = entry.score
        return score * 2.0 ** ((entry.scored_at - now) / self._address_half_life) if score else 0.0

    def slowing_of_client(self, entry: ClientEntry, now: float) -> float:
        """The factor on a client's rate: 1 down to 1/16."""
        score = entry.score
        if score <= 0.0:
            return 1.0
        score *= 2.0 ** ((entry.scored_at - now) / self._client_half_life)
        if score > self._most_slowing:
            score = self._most_slowing
        factor: float = 2.0 ** (-score / self._halving)
        return factor

    def slowing_of_source(self, entry: AddressEntry | NetworkEntry, now: float) -> float:
        """The same for an address or a network."""
        score = entry.score
        if score <= 0.0:
            return 1.0
        score *= 2.0 ** ((entry.scored_at - now) / self._address_half_life)
        if score > self._most_slowing:
            score = self._most_slowing
        factor: float = 2.0 ** (-score / self._halving)
        return factor

    def good(self, entry: ClientEntry, now: float) -> None:
        """Earn a client back what a good response is worth."""
        if entry.rare.overflow:
            return
        score = entry.score
        if score:
            score = score * 2.0 ** ((entry.scored_at - now) / self._client_half_life) - self._good
            if score < self._least_score:
                score = self._least_score
        else:
            score = self._first_good  # one float for all who were here once
        entry.score = score
        entry.scored_at = now

    def open_to_soft(self, entry: ClientEntry, now: float) -> bool:
        """Whether a soft signal would still raise a client's score; of one that floods it soon does not."""
        if entry.rare.overflow:
            return False
        most = self._most_open
        return entry.score <= most or entry.score * 2.0 ** ((entry.scored_at - now) / self._client_half_life) <= most

    def soft(self, source: AddressEntry, entry: ClientEntry, points: float, now: float) -> None:
        """Apply a soft signal: up to `most_soft` in all, and no ban."""
        if entry.rare.overflow:
            return
        score = entry.score
        if score:
            score *= 2.0 ** ((entry.scored_at - now) / self._client_half_life)
        most = self.settings.most_soft
        if score > most - LEAST_SOFT:
            return
        points = min(points, most - score)
        self._settle(entry, score, now)
        entry.score = score + points
        self._share(source, entry, points, False, now)

    def hard(self, source: AddressEntry, entry: ClientEntry, points: float, signal: str, now: float) -> None:
        """Apply a hard signal, which may ban the client and its address."""
        if entry.rare.overflow:
            if entry.source is not source:  # there was no room for its client
                self.hard_of(source, points, signal, now)
                return
            self._settle(entry, 0.0, now)
        else:
            score = self.of_client(entry, now)
            self._settle(entry, score, now)
            entry.score = min(score + points, self.settings.most_score)
        self._share(source, entry, points, True, now)
        if not entry.rare.overflow:
            self._news.changed("client", entry)
        if entry.score >= self.settings.ban_score:
            self._ban(entry, signal, now)
        if source.hard >= self.settings.ban_score:
            self._ban(source, signal, now)

    def hard_of(self, source: AddressEntry, points: float, signal: str, now: float) -> None:
        """Apply a hard signal of nobody in particular at an address, which may ban the address."""
        if source.rare.overflow:
            return
        self._raise(source, points, True, now)
        if source.hard >= self.settings.ban_score:
            self._ban(source, signal, now)

    def soft_of(self, source: AddressEntry, points: float, now: float) -> None:
        """A soft signal of nobody in particular at an address: all together weigh as much as one client may."""
        points = min(points, self.settings.most_shared - self.of_source(source, now))
        if points > 0.0 and not source.rare.overflow:
            self._raise(source, points, False, now)

    def ignored(self, source: AddressEntry, entry: ClientEntry, now: float) -> None:
        """Count a request that came while a challenge was unanswered, at most once in `ignored_every` seconds."""
        if entry.ignored_at + self.settings.ignored_every <= now:
            entry.ignored_at = now
            self.soft(source, entry, self.settings.ignored, now)

    def remembers(self, entry: ClientEntry | AddressEntry, now: float) -> bool:
        """Whether a holder is banned, or its next ban would be longer for those before."""
        rare = entry.rare
        return rare.relapses > 0 and rare.banned_until + self.settings.most_ban > now

    def restore_ban(self, entry: ClientEntry | AddressEntry, until: float, relapses: int, now: float) -> None:
        """Take a ban from before a restart, and how many there were. A longer one that is in force stays."""
        until = min(until, now + self.settings.most_ban)
        if until <= entry.banned_until or until + self.settings.most_ban <= now:
            return
        if until > now and entry.banned_until <= now:
            of_address = isinstance(entry, AddressEntry)
            self._bans[of_address] += 1
            heapq.heappush(self._ends, (until, of_address))
        entry.banned_until = until
        entry.relapses = max(entry.relapses, relapses)

    def pardon(self, entry: ClientEntry | AddressEntry, now: float) -> int:
        """Forget what a holder did: its score, its ban and its relapses. How many bans that lifts, 0 or 1."""
        entry.score = 0.0
        if isinstance(entry, AddressEntry):
            entry.hard = 0.0
        else:
            entry.shared = 0.0
        entry.relapses = 0
        until = entry.rare.banned_until
        entry.banned_until = 0.0
        if until <= now:
            return 0
        self._news.changed("pardon", entry)  # all workers pardon; who comes in the place of one hears of the ban first
        self._journal.changed("pardon", entry)
        ban = (until, isinstance(entry, AddressEntry))
        if ban in self._ends:  # of a shared entry there may be more than one
            self._ends.remove(ban)
            heapq.heapify(self._ends)
            self._bans[ban[1]] -= 1
        return 1

    def _settle(self, entry: ClientEntry, score: float, now: float) -> None:
        """Bring a client's decaying values to `now`; `score` is its score then.

        What it has shared fades as fast as at the address. When it faded as fast as the client's own score, one client
        that went on for an hour banned its address.
        """
        entry.shared *= 2.0 ** ((entry.scored_at - now) / self._address_half_life)
        entry.score = score
        entry.scored_at = now

    def _share(self, source: AddressEntry, entry: ClientEntry, points: float, hard: bool, now: float) -> None:
        """Pass a part of a client's points on to its address and networks."""
        part = min(points, self.settings.most_shared - entry.shared)
        if part <= 0.0 or source.rare.overflow:
            return
        entry.shared += part
        self._raise(source, part, hard, now)
        around = part / max(1, self._history.addresses_in(source.network.name))
        for network in (source.network, source.site):
            if network is not None and not network.overflow:
                network.score = min(self.of_source(network, now) + around, self.settings.most_score)
                network.scored_at = now

    def _raise(self, source: AddressEntry, points: float, hard: bool, now: float) -> None:
        """Add points to an address, divided by the clients with a history there."""
        here = points / max(1, self._history.clients_at(source.name))
        fade = 2.0 ** ((source.scored_at - now) / self._address_half_life)
        most = self.settings.most_score
        source.score = min(source.score * fade + here, most)
        source.hard = min(source.hard * fade + (here if hard else 0.0), most)
        source.scored_at = now
        if hard:
            self._news.changed("address", source)

    def _ban(self, entry: ClientEntry | AddressEntry, signal: str, now: float) -> None:
        """Ban, unless it is banned already."""
        if entry.banned_until > now:
            return
        if entry.banned_until + self.settings.most_ban <= now:
            entry.relapses = 0
        seconds = min(
            self.settings.least_ban * self.settings.relapse ** min(entry.relapses, 32), self.settings.most_ban
        )
        self.bans_made += 1
        entry.banned_until = now + seconds
        entry.relapses += 1
        of_address = isinstance(entry, AddressEntry)
        self._bans[of_address] += 1
        heapq.heappush(self._ends, (entry.banned_until, of_address))
        if isinstance(entry, AddressEntry):
            who = {"address": entry.name}
            score = entry.hard
            self._news.changed("address", entry)
        else:
            who = {"address": entry.source.name, "client": entry.key.hex()}
            score = entry.score
        self._journal.changed("address" if of_address else "client", entry)
        self._notes.add("ban", **who, seconds=seconds, relapses=entry.relapses, signal=signal, score=round(score, 1))
