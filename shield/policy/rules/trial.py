"""Rules that are tried (`Rule.dry_run`): whom each would refuse is counted, and let through.

It stands before whoever is asked otherwise, and only while there are such rules, so that without any there is no
question. A request that is refused anyway is not counted: the rule would change nothing for it. All rules are looked
up together, with each that is tried in the place that it would have: a partner who is allowed in a network whose ban
is tried is not counted.

A limit that is tried has a bucket of its own, to which only what was let through is charged. Of several workers each
has one, so that somebody who is served by several is counted later than a rule that holds would refuse.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from shield.model import Action, Reason, Verdict
from shield.policy.bucket import Bucket
from shield.policy.judge import Judge
from shield.policy.judges import Judges
from shield.policy.per_route.judge import RouteJudge
from shield.policy.refusals import limited
from shield.policy.request import Request
from shield.policy.rules.matching import Held, Matching
from shield.policy.rules.overruled import Overruled, refusal
from shield.policy.rules.rule import Rule
from shield.policy.standing import Standing
from shield.policy.status import WouldStatus
from shield.policy.tried import Met

FORWARDED: Final = Action.FORWARD
WELCOME: Final = frozenset({Reason.ALLOWLISTED, Reason.OPERATOR_ALLOWED, Reason.API_KEY, Reason.CRAWLER})
"""Whoever is let in so is not limited by a rule, nor challenged."""
REFUSING: Final = frozenset({Action.CHALLENGE, Action.LIMIT, Action.BAN})
CHALLENGED: Final = Verdict(Reason.CHALLENGE_ALWAYS)


class TriedRule(NamedTuple):
    """A rule that is tried, and whom it would have refused."""

    rule: Rule
    met: WouldStatus


class Trial:
    """As Judge, to the engine. Engines that share what is known of clients share counts and buckets, too."""

    __slots__ = ("_asked", "_buckets", "_judges", "_matching", "_met", "_reported", "_wall_offset")

    def __init__(self, judges: Judges, wall_offset: float, beside: Trial | None) -> None:
        """`wall_offset`: wall clock minus ours, in seconds. `beside`: that of the engine that was told before."""
        self._judges = judges
        self._wall_offset = wall_offset
        self._asked: Judge | RouteJudge | Overruled = judges.usual
        self._matching: Matching | None = None
        self._reported: Collection[Reason] = ()
        self._buckets: dict[int, Bucket] = {} if beside is None else beside._buckets  # by number of the rule
        self._met: dict[int, Met] = {} if beside is None else beside._met  # likewise

    def go_by(
        self,
        rules: Sequence[Rule],
        standing: Standing,
        asked: Judge | RouteJudge | Overruled,
        reported: Collection[Reason],
    ) -> bool:
        """Try those of these rules that are to be tried; whether there are any. `asked`: who is asked otherwise;
        `reported`: the reasons that refuse nobody now."""
        tried = {rule.number: rule for rule in rules if rule.dry_run}
        self._asked = asked
        self._reported = reported
        self._matching = None
        if tried:
            firm = [rule for rule in rules if not rule.dry_run]
            self._matching = Matching([*firm, *tried.values()], None, standing)
        for kept in self._buckets, self._met:
            for gone in kept.keys() - tried.keys():
                del kept[gone]
        for number, rule in tried.items():
            if number not in self._met:
                self._met[number] = Met()
                if rule.kind == "limit":
                    self._buckets[number] = Bucket(rule.rate)
        return bool(tried)

    def judge(self, request: Request, now: float) -> Verdict:
        """Ask the others, then the rules that are tried."""
        verdict = self._asked.judge(request, now)
        if verdict.action in REFUSING and verdict.reason not in self._reported:
            return verdict
        found = self._refusing(request, verdict, now)
        if found is None:
            return verdict
        rule, would = found
        self._met[rule.number].add(request)
        return would.in_dry_run() if verdict.action is FORWARDED else verdict

    def toll(self, request: Request, now: float) -> Verdict:
        """The same for what Shield answers itself, of which nothing is tried."""
        return self._asked.toll(request, now)

    def counted(self) -> Mapping[int, WouldStatus]:
        """Whom each rule would have refused, by its number."""
        return {number: met.status() for number, met in self._met.items()}

    def naming(self, request: Request) -> list[TriedRule]:
        """The rules that are about a request."""
        matching = self._matching
        if matching is None:
            return []
        return self._tried(Held(matching.access(request), matching.limiting(request), matching.challenge(request)))

    def about(self, address: str, client: bytes | None = None) -> list[TriedRule]:
        """The rules about a client by its key at a textual address, or about the address."""
        matching = self._matching
        if matching is None:
            return []
        own = Held() if client is None else matching.of_client(client)
        there = matching.of_address(address)
        return self._tried(Held(*(one or other for one, other in zip(own, there, strict=True))))

    def about_pass(self, key: bytes) -> list[TriedRule]:
        """The rules about a pass by its id."""
        return [] if self._matching is None else self._tried(self._matching.of_pass(key))

    def _tried(self, held: Held) -> list[TriedRule]:
        return [TriedRule(rule, self._met[rule.number].status()) for rule in held if rule is not None and rule.dry_run]

    def _refusing(self, request: Request, verdict: Verdict, now: float) -> tuple[Rule, Verdict] | None:
        """The rule that is tried and would refuse a request, and how."""
        matching = self._matching
        assert matching is not None  # noqa: S101 - else nobody asks
        rule = matching.access(request)
        if rule is not None:
            return (rule, refusal(rule, now + self._wall_offset)) if rule.dry_run else None
        if verdict.reason in WELCOME:
            return None
        rule = matching.challenge(request)
        if rule is not None and rule.dry_run and request.shown_pass is None and self._judges.challengeable(request):
            return rule, CHALLENGED
        rule = matching.limiting(request)
        if rule is None or not rule.dry_run:
            return None
        bucket = self._buckets[rule.number]
        wait = bucket.wait(request.cost, now)
        if wait:
            return rule, limited(Reason.OPERATOR_LIMIT, bucket.rate, bucket.burst, wait)
        bucket.spend(request.cost, now)
        return None
