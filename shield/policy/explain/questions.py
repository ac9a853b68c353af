"""The questions that are asked of a request, with their answers: in the order of judge.py, which they follow.

Each has the numbers that it goes by, what would change the answer, and since when and until when it holds, as far as
that is known. Of a request that was refused, the question that decided is the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from shield.model import Action, Reason, Tier
from shield.policy.explain.picture import Budget, PassPicture, Picture, RoutePicture
from shield.policy.rules.rule import Rule
from shield.policy.rules.trial import TriedRule
from shield.policy.whereabouts import NOWHERE

BUCKETS: Final = {
    Reason.CLIENT_RATE: "the client's",
    Reason.ADDRESS_RATE: "the address's",
    Reason.NETWORK_RATE: "the network's",
    Reason.PASS_RATE: "the pass's",
    Reason.FINGERPRINT_RATE: "the program's, which all strangers with it share",
    Reason.OPERATOR_LIMIT: "that of your rule",
}
CHALLENGES: Final = {
    Reason.NEWCOMER: "there is pressure, and it is a newcomer: no history, no pass",
    Reason.BAD_REPUTATION: "there is pressure, and its score is bad",
    Reason.OVERSUBSCRIBED: "the known alone ask for more than there is, and it is among those with the least history",
    Reason.CHALLENGE_ALWAYS: "everybody without a pass is challenged (challenge.mode)",
}
BANS: Final = "bans"
_EFFECTS: Final = {"allow": "it is never limited or challenged", "deny": "it is refused"}
TIERS: Final = {
    Tier.T0: "a pass with a history, or allowed",
    Tier.T1: "a history, or a pass that was earned",
    Tier.T2: "a pass that was bought, or a visit that began before the pressure",
    Tier.T3: "a newcomer",
    Tier.T4: "a bad score",
}


@dataclass(slots=True)
class Answer:
    """A question and its answer. Times are monotonic seconds, 0 where they are not known or never come."""

    question: str
    answer: str
    numbers: dict[str, Any] = field(default_factory=dict)
    change: str = ""
    since: float = 0.0
    until: float = 0.0
    decides: bool = False

    def plain(self, shift: float) -> dict[str, Any]:
        """As JSON has it. `shift`: from our clock to that of the wall."""
        said: dict[str, Any] = {"question": self.question, "answer": self.answer, "decides": self.decides}
        if self.numbers:
            said["numbers"] = {name: _rounded(value) for name, value in self.numbers.items()}
        if self.change:
            said["change"] = self.change
        if self.since:
            said["since"] = round(self.since + shift, 3)
        if self.until:
            said["until"] = round(self.until + shift, 3)
        return said


def questions(picture: Picture, shift: float) -> list[dict[str, Any]]:
    """All questions, to the one that decides."""
    found = []
    for answer in _asked(picture, shift):
        found.append(answer.plain(shift))
        if answer.decides:
            break
    return found


def _asked(picture: Picture, shift: float) -> Iterator[Answer]:
    if picture.there != NOWHERE:
        yield Answer("Where is it?", f"in {picture.there.words()}")
    yield _held(picture, "", _ruled(picture, shift))
    for each in picture.rules_tried:
        yield _of_trial(each, shift)
    yield _held(picture, "", _named(picture))
    if picture.crawler:
        yield _crawler(picture)
    yield _dropped(picture)
    if picture.route is not None:
        yield _routed(picture, picture.route)
    yield _held(picture, BANS, _banned(picture))
    if picture.verdict is not None and picture.verdict.reason is Reason.HONEYPOT:
        trap = Answer(
            "Did it ask for a trap?",
            f"yes, for {picture.path}: a path in limits.honeypots that no link leads to",
            until=picture.client_banned,
            change="it ends by itself; shield unban ends it now",
            decides=True,
        )
        yield _held(picture, BANS, trap)
    yield _tier(picture)
    yield _held(picture, "challenge", _pressed(picture, shift))
    yield _held(picture, "limits", _limited(picture))
    yield _room(picture)


def _held(picture: Picture, measure: str, answer: Answer) -> Answer:
    """The answer, with a mark where the measure is tried only, or everything is: then it decides nothing. An empty
    measure is what the operator has named."""
    if measure in picture.tried or (picture.dry_run and not picture.allowed):
        answer.decides = False
        answer.answer += f"; {'this is' if measure in picture.tried else 'in a dry run everything is'} tried only"
    return answer


def _routed(picture: Picture, route: RoutePicture) -> Answer:
    """Asked before the ban of its address, and after that of the client itself, of whom it says nothing then."""
    numbers: dict[str, Any] = {"cost": route.cost}
    for label, level, budget in route.limits:
        name = level if label == route.label else f"{label} {level}"
        numbers |= {f"{name}_left": budget.left, f"{name}_limit": f"{budget.rate * 60:g}/min, {budget.burst:g} at once"}
    said = [f"yes, {route.label}"]
    if route.dry_run:
        said.append("which is tried and holds for nobody")
    if not route.plain:
        said.append("as far as it restricts, since a service may read the path as one of its")
    if route.challenge:
        said.append(f"challenge: {route.challenge}")
    question, verdict = "Does its route have rules of its own?", picture.verdict
    if verdict is not None and picture.braked_by:
        said.append(f"the limit of {picture.braked_by} has no request left")
        decides = verdict.action is Action.LIMIT
        until = picture.now + verdict.retry_after
        return Answer(question, "; ".join(said), numbers, "time, or the config", until=until, decides=decides)
    return Answer(question, "; ".join(said), numbers, "the config: [[route]]")


def _reason(picture: Picture) -> Reason | None:
    return None if picture.verdict is None else picture.verdict.reason


def _ruled(picture: Picture, shift: float) -> Answer:
    question, rule = "Is there a rule of yours?", picture.rule
    if rule is None:
        if picture.limit is not None:
            return Answer(
                question, f"yes, a limit: {_of_rule(picture.limit)}", change=f"shield lift {picture.limit.number}"
            )
        return Answer(question, "no", change="shield allow, ban or limit make one")
    if not rule.number:
        return Answer(
            question,
            f"no, but the config names {rule.subject or 'it'} ({rule.author}): {_EFFECTS[rule.kind]}",
            change="the config, that file, or shield allow, ban or deny for now",
            decides=True,
        )
    return Answer(
        question,
        f"yes: {_of_rule(rule)}",
        {"rule": rule.number},
        f"shield lift {rule.number}",
        rule.created - shift,
        rule.expires - shift if rule.expires else 0.0,
        decides=True,
    )


def _of_trial(tried: TriedRule, shift: float) -> Answer:
    rule, met = tried.rule, tried.met
    would = {"limit": "limited beyond that", "challenge": "challenged"}.get(rule.kind, "refused")
    return Answer(
        "Is a rule of yours tried on it?",
        f"yes: {_of_rule(rule)}: it would have been {would}; nobody is",
        {"rule": rule.number, "requests": met.requests, "visitors": met.visitors, "known": met.known},
        f"shield lift {rule.number}, or the same command without --dry-run",
        rule.created - shift,
        rule.expires - shift if rule.expires else 0.0,
    )


def _of_rule(rule: Rule) -> str:
    note = f" ({rule.note})" if rule.note else ""
    value = f" {rule.value}" if rule.value else ""
    return f"rule {rule.number}, {rule.kind} {rule.subject}{value}, by {rule.author or 'nobody in particular'}{note}"


def _named(picture: Picture) -> Answer:
    question = "Does the config name its network?"
    if picture.named is Reason.ALLOWLISTED:
        return Answer(question, "yes, identity.allow: it is never limited", change="the config", decides=True)
    if picture.named is Reason.DENYLISTED:
        return Answer(
            question, "yes, identity.deny: it is refused", change="the config, or shield allow for now", decides=True
        )
    return Answer(question, "no")


def _crawler(picture: Picture) -> Answer:
    said = {True: "yes, DNS confirms it", False: "no, DNS does not confirm it", None: "DNS has not answered yet"}
    return Answer(
        f"Is it {picture.crawler}, as it says?", said[picture.vouched], change="the names that its address resolves to"
    )


def _dropped(picture: Picture) -> Answer:
    question = "Does it go on against refusals?"
    if picture.dropped <= picture.now:
        return Answer(question, "no")
    return Answer(
        question,
        "yes: nothing from its address is answered",
        change="it ends by itself; shield unban ends it now",
        until=picture.dropped,
        decides=picture.verdict is None,
    )


def _banned(picture: Picture) -> Answer:
    question, reason = "Is it banned?", _reason(picture)
    numbers = {"score": picture.score, "address_score": picture.address_score, "relapses": picture.relapses}
    change = "it ends by itself; shield unban ends it now"
    if picture.client_banned > picture.now and reason is not Reason.HONEYPOT:
        return Answer(
            question,
            "yes, this client: for false answers, broken requests or a trap",
            numbers,
            change,
            until=picture.client_banned,
            decides=True,
        )
    if picture.address_banned > picture.now:
        spared = picture.history is not None or picture.shown is not None
        if spared:
            return Answer(
                question, "its address is, and who is known there is served", numbers, until=picture.address_banned
            )
        challenged = reason is Reason.BAD_NEIGHBOUR
        return Answer(
            question,
            "its address is: for what others did there"
            + ("; it was challenged, as it may pay its way out" if challenged else "; it may pay its way out"),
            numbers,
            f"an answer to the challenge; {change}",
            until=picture.address_banned,
            decides=True,
        )
    return Answer(question, "no", {"score": picture.score, "address_score": picture.address_score})


def _tier(picture: Picture) -> Answer:
    tier, history, shown = Tier(picture.tier), picture.history, picture.shown
    numbers: dict[str, Any] = {"score": picture.score}
    if history is not None:
        numbers |= {"visits": history.windows, "units": history.units}
    if shown is not None:
        numbers |= _of_pass(shown)
    change = {
        Tier.T0: "",
        Tier.T1: "a pass with a history: it comes by itself with further visits",
        Tier.T2: "a history: visits a minute apart in calm weather",
        Tier.T3: "a history (visits a minute apart in calm weather), a pass (answer the challenge), or shield allow",
        Tier.T4: "time, good answers, or shield unban",
    }[tier]
    since = history.first if history is not None else 0.0
    return Answer("Who is it?", f"{tier.name}: {TIERS[tier]}", numbers, change, since)


def _of_pass(shown: PassPicture) -> dict[str, Any]:
    return {"pass": f"pass:{shown.key.hex()}", "pass_kind": shown.kind, "pass_networks": shown.networks}


def _pressed(picture: Picture, shift: float) -> Answer:
    question, reason = "Is it challenged?", _reason(picture)
    numbers: dict[str, Any] = {"pressure": picture.p, "unanswered": picture.unanswered}
    change = "the end of the pressure, an answer to the challenge, shield allow, or shield pressure hold 0"
    if reason is Reason.CHALLENGE_ALWAYS and picture.challenge is not None:
        said = f"yes: {_of_rule(picture.challenge)}, for whoever has no pass"
        change = f"an answer to the challenge, or shield lift {picture.challenge.number}"
        return Answer(question, said, numbers, change, picture.challenged_since, decides=True)
    if reason in CHALLENGES:
        return Answer(question, f"yes: {CHALLENGES[reason]}", numbers, change, picture.challenged_since, decides=True)
    if picture.spared:
        return Answer(question, "no: nobody is, there (challenge.never, or a rule of yours)", numbers)
    ruled = picture.challenge
    if ruled is not None and ruled.value == "never":
        return Answer(question, f"no: {_of_rule(ruled)}", numbers, f"shield lift {ruled.number}")
    if ruled is not None and picture.shown is None and picture.verdict is None:
        change = f"an answer to the challenge, or shield lift {ruled.number}"
        return Answer(question, f"yes: {_of_rule(ruled)}", numbers, change, ruled.created - shift)
    if not picture.pressed:
        return Answer(question, "no: there is no pressure", numbers)
    if picture.verdict is None and picture.tier >= Tier.T3:
        cause = f", by {picture.attack_cause}" if picture.attack_since else ""
        return Answer(
            question, f"yes: there is pressure{cause}, and it is {TIERS[Tier(picture.tier)]}", numbers, change,
            picture.attack_since,
        )  # fmt: skip
    return Answer(question, "no", numbers)


def _limited(picture: Picture) -> Answer:
    question, verdict = "Is it within its limits?", picture.verdict
    numbers: dict[str, Any] = {
        "client_left": picture.client.left,
        "client_limit": _limit(picture.client),
        "address_left": picture.address.left,
        "address_limit": _limit(picture.address),
    }
    if picture.shown is not None:
        numbers = {"pass_left": picture.shown.budget.left, "pass_limit": _limit(picture.shown.budget)}
    if verdict is not None and verdict.reason in BUCKETS:
        rate, burst = verdict.limit or (0.0, 0.0)
        return Answer(
            question,
            f"no: the bucket that was empty was {BUCKETS[verdict.reason]}",
            {**numbers, "limit": f"{rate:g}/{burst:g}"},
            "time, or shield limit",
            until=picture.now + verdict.retry_after,
            decides=True,
        )
    empty = [name for name, left in numbers.items() if name.endswith("_left") and left < 1.0]
    return Answer(question, f"no: {empty[0].removesuffix('_left')}" if empty else "yes", numbers)


def _limit(budget: Budget) -> str:
    return f"{budget.rate:g}/{budget.burst:g}"


def _room(picture: Picture) -> Answer:
    question, verdict = "Was there room at the service?", picture.verdict
    if verdict is None:
        return Answer("Is there room at the service?", "that is asked last, of each request by itself")
    if verdict.action in (Action.SHED, Action.SHED_DRY_RUN):
        tried = "; this is tried only" if verdict.action is Action.SHED_DRY_RUN else ""
        return Answer(
            question,
            f"no ({verdict.reason.value}): others waited who go first{tried}",
            {"tier": picture.tier},
            "a better tier, more room at the service, or upstream.max_concurrency",
            decides=True,
        )
    return Answer(question, "yes", decides=True)


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
