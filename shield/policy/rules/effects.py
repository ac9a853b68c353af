"""What each kind of rule does to the parts of one engine. Rules are put in all at once, in place of those before.

    ban, deny, allow, limit of somebody    overruled.py is asked before the judge
    limit of client, address               the rates of limits.client and limits.address
    pressure                               the level, held
    challenge                              paths that are exempt; of somebody, as ban
    dry_run                                verdicts are reported, or carried out: all, or those of a measure
    key                                    api_keys.py knows it, beside those of the config
    what is tried only                     trial.py is asked, who asks the one that is asked otherwise

Where a kind has no rule, the config holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

from shield.model import Reason
from shield.policy.admission import Admission
from shield.policy.api_keys import ApiKeys
from shield.policy.bucket import Rate
from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.drops import Drops
from shield.policy.entries import NOTHING
from shield.policy.identity import Client, Identity
from shield.policy.judge import Judge
from shield.policy.judges import Judges
from shield.policy.limits.charges import Charges
from shield.policy.limits.limits import Limits
from shield.policy.limits.squeeze import Squeeze
from shield.policy.per_route.judge import RouteJudge
from shield.policy.reputation import Reputation
from shield.policy.rules.matching import Matching
from shield.policy.rules.overruled import Overruled
from shield.policy.rules.rule import KEY, LEAST_BURST, Rule, network_of, within
from shield.policy.rules.trial import Trial
from shield.policy.settings import EngineSettings
from shield.policy.standing import Standing
from shield.policy.tried import MEASURES, QUEUE, Tried
from shield.policy.whereabouts import asn_of, country_of
from shield.policy.windows import Windows

REASONS: Final = frozenset(Reason)


class Limited(NamedTuple):
    """The buckets of every client and every address, as they are now."""

    client: Rate
    address: Rate


class Effects:
    """The rules of one engine. `asked` is whom it asks: the judge, or who stands before it; `dry_run` whether it
    reports what it hears and forwards. It has more than 15 attributes because each part that a rule changes is one."""

    __slots__ = (
        "_admission", "_api_keys", "_beside", "_concurrency", "_drops", "_identity", "_judge", "_judges", "_limits",
        "_parts", "_reputation", "_settings", "_site", "_squeeze", "_wall_offset", "_windows", "asked", "dry_run",
        "end", "limits", "overruled", "rules", "trial", "tried",
    )  # fmt: skip

    def __init__(
        self,
        settings: EngineSettings,
        *,
        judge: Judge | RouteJudge,
        judges: Judges,
        charges: Charges,
        limits: Limits,
        squeeze: Squeeze,
        windows: Windows,
        admission: Admission,
        concurrency: Concurrency,
        drops: Drops,
        identity: Identity,
        reputation: Reputation,
        api_keys: ApiKeys,
        tried: Tried,
        wall_offset: float,
        site: str,
        beside: Effects | None,
    ) -> None:
        """`beside`: those of the engine that was told before, whose buckets for limits are this one's, too."""
        self._site = site
        self._beside = beside
        self._settings = settings
        self._api_keys = api_keys
        self._judge = judge
        self._judges = judges
        self._limits = limits
        self._squeeze = squeeze
        self._windows = windows
        self._admission = admission
        self._concurrency = concurrency
        self._drops = drops
        self._identity = identity
        self._reputation = reputation
        self.tried = tried
        self._wall_offset = wall_offset
        self.asked: Judge | RouteJudge | Overruled | Trial = judge
        self.dry_run = settings.dry_run
        self.overruled = Overruled(judge, judges, charges, wall_offset)
        self.trial: Trial = Trial(judges, wall_offset, None if beside is None else beside.trial)
        self.rules: tuple[Rule, ...] = ()
        self.limits = Limited(settings.limits.client, settings.limits.address)
        self._parts = 1.0, 1.0  # of rates and bursts, that are this machine's
        self.end = inf  # when the next rule ends; monotonic seconds

    @property
    def matching(self) -> Matching | None:
        """The rules about clients; None where there are none."""
        return self.overruled.matching if self.overruled.matching.any else None

    def follow(self, rules: Sequence[Rule], now: float) -> None:
        """Go by those of these rules that hold, and by no others."""
        wall = now + self._wall_offset
        self.rules = holding = tuple(rule for rule in rules if rule.holds(wall))
        self.end = min((rule.expires for rule in holding if rule.expires), default=inf) - self._wall_offset
        before = self.overruled.matching
        other = None if self._beside is None else self._beside.overruled.matching
        standing = self._identity.standing
        firm = [rule for rule in holding if not rule.dry_run]
        matching = self.overruled.matching = Matching(firm, before if other is None else other, standing)
        self._let_go(before, matching)
        said = {rule.kind: rule.value for rule in firm if not rule.subject}
        here = {rule.kind: rule.value for rule in firm if rule.subject == self._site}
        said |= here  # of pressure and dry_run there is one each, and one for this site
        tried = {rule.subject: rule.value == "on" for rule in firm if rule.kind == "dry_run"}
        self._report(tried | ({"": here["dry_run"] == "on"} if "dry_run" in here else {}))
        self._windows.hold(float(said["pressure"]) if "pressure" in said else None)
        self._api_keys.go_by([rule for rule in firm if rule.kind == KEY])
        self._judges.spare([rule.subject for rule in firm if rule.kind == "challenge" and rule.subject.startswith("/")])
        rates = {rule.subject: rule.rate for rule in firm if rule.kind == "limit"}
        settings = self._settings.limits
        client, address = rates.get("client", settings.client), rates.get("address", settings.address)
        self.limits = Limited(client, address)
        self._go_by_limits()
        asked = self.overruled if matching.any else self._judge
        trial = self.trial.go_by(holding, standing, asked, REASONS if self.dry_run else self.tried.reasons)
        self.asked = self.trial if trial else asked

    def share(self, rates: float, bursts: float) -> None:
        """Have these parts of rates and bursts be this machine's from now on; the others are other machines'."""
        if (rates, bursts) != self._parts:
            self._parts = rates, bursts
            self._go_by_limits()

    def _go_by_limits(self) -> None:
        rates, bursts = self._parts
        client, address = (
            Rate(rate.rate * rates, max(rate.burst * bursts, LEAST_BURST)) if self._parts != (1.0, 1.0) else rate
            for rate in (self.limits.client, self.limits.address)
        )
        self._limits.go_by(client, address)
        self._squeeze.go_by(client, address)

    def know(self, standing: Standing, now: float) -> None:
        """Go by what the config says of addresses now."""
        self._identity.standing = standing
        self.follow(self.rules, now)

    def expire(self, now: float) -> None:
        """Let the rules go that have ended."""
        self.follow(self.rules, now)

    def lets_in(self, client: Client) -> bool:
        """Whether a rule allows a client."""
        matching = self.matching
        if matching is None:
            return False
        access = matching.of_client(client.key).access or matching.of_address(client.address).access
        return access is not None and access.kind == "allow"

    def pardon(self, subject: str, now: float) -> Iterator[int]:
        """Lift what Shield has done by itself to a network, an AS, a country, or a client by its key: how many bans,
        entry by entry of the tables; to be consumed in slices."""
        has = self._members(subject)
        if has is None:
            entry = None if subject.startswith("pass:") else self._identity.clients.get(bytes.fromhex(subject))
            yield 0 if entry is None else self._reputation.pardon(entry, now)
            return
        self._drops.release(has)
        for source in tuple(self._identity.addresses.values()):
            lifts = (source.score or source.rare is not NOTHING) and has(source.name)
            yield self._reputation.pardon(source, now) if lifts else 0
        for entry in tuple(self._identity.clients.values()):
            lifts = (entry.score or entry.rare is not NOTHING) and has(entry.source.name)
            yield self._reputation.pardon(entry, now) if lifts else 0

    def _members(self, subject: str) -> Callable[[str], bool] | None:
        """Whether an address is in a network, an AS or a country, by its entry's name; None for another subject."""
        network = network_of(subject)
        if network is not None:
            return lambda name: within(name, network)
        asn, country, where = asn_of(subject), country_of(subject), self._identity.standing.where

        def has(name: str) -> bool:
            there = where(name.removesuffix("/64"))
            return there.asn == asn if asn else there.country == country

        return has if asn or country else None

    def _report(self, said: Mapping[str, bool]) -> None:
        """Go by the dry runs that rules have switched: of all under "", of a measure under its name."""
        queued = self._queues
        dry_run = said.get("", self._settings.dry_run)
        usual = self._settings.tried
        self.tried.go_by([name for name in MEASURES if said.get(name, name in usual)])
        if dry_run != self.dry_run:
            self.dry_run = dry_run
            self._judges.enforce(not dry_run)
        if queued != self._queues:
            self._admission.enforce(self._queues)
            self._concurrency.heed(self._queues)

    @property
    def _queues(self) -> bool:
        """Whether requests wait for slots."""
        return not self.dry_run and QUEUE not in self.tried.measures

    def _let_go(self, before: Matching, matching: Matching) -> None:
        """Have nobody dropped who is allowed now, or was refused by a rule that is gone."""

        def freed(address: str) -> bool:
            was, now_ = before.of_address(address).access, matching.of_address(address).access
            return was is not None if now_ is None else now_.kind == "allow"

        if before.any or matching.any:
            self._drops.release(freed)
