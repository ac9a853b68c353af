"""The judge where the operator has rules: these are asked first, and what they leave open is judged as ever.

It stands in the judge's place only while there are rules about clients, or such of the config's (standing.py), so that
without any there is no question.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from shield.model import Reason, Tier, Verdict
from shield.policy.judge import Judge
from shield.policy.judges import Judges
from shield.policy.limits.charges import Charges
from shield.policy.per_route.judge import RouteJudge
from shield.policy.refusals import banned, limited_as
from shield.policy.request import Request
from shield.policy.rules.matching import Matching
from shield.policy.rules.rule import CHALLENGES, Rule

ALLOWED: Final = Verdict(Reason.OPERATOR_ALLOWED)
ALLOWLISTED: Final = Verdict(Reason.ALLOWLISTED)
DENIED: Final = Verdict(Reason.OPERATOR_DENIED)
DENYLISTED: Final = Verdict(Reason.DENYLISTED)
PASS_RATE: Final = Reason.PASS_RATE
_LONGEST: Final = 86_400
"""Seconds, of Retry-After: as the longest ban that Shield makes by itself."""


class Overruled:
    """As Judge, to the engine."""

    __slots__ = ("_as_said", "_charges", "_judge", "_wall_offset", "matching")

    def __init__(self, judge: Judge | RouteJudge, judges: Judges, charges: Charges, wall_offset: float) -> None:
        """`wall_offset`: wall clock minus ours, in seconds."""
        self._judge = judge
        self._as_said: dict[str, Callable[[Request, float], Verdict]] = {
            said: partial(judge.judge, said=said) if isinstance(judge, RouteJudge) else judges.by_word[said].judge
            for said in CHALLENGES
        }
        self._charges = charges
        self._wall_offset = wall_offset
        self.matching = Matching(())

    def judge(self, request: Request, now: float) -> Verdict:
        """Ask the rules, then the judge."""
        rule = self.matching.access(request)
        if rule is not None:
            request.tier = Tier.T0
            if rule.kind != "allow":
                return self.refusal(rule, now)
            request.charged_pass = None
            self._charges.count(request)
            return ALLOWED if rule.number else ALLOWLISTED
        challenge = self.matching.challenge(request)
        judge = self._judge.judge if challenge is None else self._as_said[challenge.value]
        budget = self.matching.budget(request)
        if budget is None:
            return judge(request, now)
        request.charged_pass = budget
        verdict = judge(request, now)
        if verdict.reason is PASS_RATE and request.charged_pass is budget:
            return limited_as(Reason.OPERATOR_LIMIT, verdict)
        return verdict

    def toll(self, request: Request, now: float) -> Verdict:
        """The same for what Shield answers itself."""
        rule = self.matching.access(request)
        if rule is None:
            return self._judge.toll(request, now)
        if rule.kind != "allow":
            return self.refusal(rule, now)
        return ALLOWED if rule.number else ALLOWLISTED

    def refusal(self, rule: Rule, now: float) -> Verdict:
        """What a ban or a denial says."""
        return refusal(rule, now + self._wall_offset)


def refusal(rule: Rule, wall: float) -> Verdict:
    """What a ban or a denial says at a time of the wall clock; one of the config's (standing.py) has no number."""
    if rule.kind == "deny":
        return DENIED if rule.number else DENYLISTED
    left = rule.expires - wall if rule.expires else _LONGEST
    return banned(Reason.OPERATOR_BANNED, min(max(int(left) + 1, 1), _LONGEST))
