"""What came of a replay: verdicts by reason and rule, and who of the regulars would have been refused, how often, when.

Everything is bounded: rows by the pairs of action and reason and the routes of the config, those who were hurt by the
regulars of the survey, and events by MOST_EVENTS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from shield.model import Action, Reason, Tier, Verdict
from shield.policy.sketch import Distinct
from shield.replay.lines import Line
from shield.replay.survey import Survey

if TYPE_CHECKING:
    from shield.policy.engine import Engine
    from shield.policy.request import Request

MOST_EVENTS: Final = 200
TURNING: Final = frozenset({"attack_onset", "attack_end", "brownout", "fingerprint_limited", "pass_revoked"})
FORWARDED: Final = Action.FORWARD


class Row:
    """What got one verdict. Times are Unix time."""

    __slots__ = ("action", "clients", "first", "known", "last", "reason", "regulars", "requests", "rule", "times")

    def __init__(self, action: str, reason: str, rule: str, at: float) -> None:
        self.action = action
        self.reason = reason
        self.rule = rule  # the route of the config whose limit it was
        self.requests = 0
        self.known = 0  # requests of those that the engine knew: a history, or a pass
        self.times = 0  # requests of regulars
        self.regulars: set[int] = set()
        self.clients = Distinct()
        self.first = self.last = at


class Harm:
    """How often a regular would have been refused, for what, and when."""

    __slots__ = ("client", "first", "last", "reasons", "solved")

    def __init__(self, client: str, at: float) -> None:
        self.client = client
        self.reasons: Counter[str] = Counter()
        self.solved = 0  # challenges
        self.first = self.last = at

    @property
    def refused(self) -> int:
        return sum(self.reasons.values())


class OfSite:
    """What came of one of several sites."""

    __slots__ = ("attack_seconds", "attacks", "peak_pressure", "refused", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.refused = 0
        self.peak_pressure = 0.0
        self.attacks = 0
        self.attack_seconds = 0.0


class Outcomes:
    """Of one config.

    It has more than 15 attributes because each thing that is counted is one.
    """

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.regulars = frozenset(key for key, _ in survey.regulars())
        self.harmed: dict[int, Harm] = {}
        self.requests = 0
        self.queued = 0  # requests that waited
        self.longest_wait = 0.0
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.counts: Counter[str] = Counter()  # of events, by name
        self.peak_pressure = 0.0
        self.pressed_seconds = 0.0
        self.attack_seconds = 0.0
        self.sites: dict[str, OfSite] = {}  # where there are several
        self.misdirected = 0  # requests for hosts of no site
        self.hostless = 0  # of these, those of which no host is told
        self._forwarded: Counter[tuple[Action, Reason, str]] = Counter()
        self._table: dict[tuple[Action, Reason, str], Row] = {}

    def decided(self, request: Request, line: Line, waited: float) -> None:
        """A request was let through, perhaps in the dry run of a route."""
        self.requests += 1
        verdict = request.verdict
        if waited > 0.0005:
            self.queued += 1
            if waited > self.longest_wait:
                self.longest_wait = waited
        if verdict.action is FORWARDED:
            self._forwarded[FORWARDED, verdict.reason, ""] += 1
        else:
            self._note(request, verdict, line)

    def refused(self, request: Request, verdict: Verdict, line: Line) -> None:
        """A request was not let through."""
        self.requests += 1
        self._note(request, verdict, line)
        key = line.key
        if key in self.regulars:
            harm = self.harmed.get(key)
            if harm is None:
                harm = self.harmed[key] = Harm(request.client.key.hex(), line.at)
            harm.reasons[verdict.reason.value] += 1
            harm.last = line.at

    def _note(self, request: Request, verdict: Verdict, line: Line) -> None:
        reason = verdict.reason
        rule = request.braked_by if reason is Reason.ROUTE_RATE else ""
        at = line.at
        row = self._table.get((verdict.action, reason, rule))
        if row is None:
            row = self._table[verdict.action, reason, rule] = Row(verdict.action.value, reason.value, rule, at)
        row.requests += 1
        row.last = at
        row.clients.add(request.client.key)
        if verdict.reason.action is not Action.BAN and request.tier <= Tier.T1:
            row.known += 1
        if line.key in self.regulars:
            row.times += 1
            row.regulars.add(line.key)

    def nobodys(self, line: Line) -> None:
        """A request was for no site."""
        self.requests += 1
        self.misdirected += 1
        self.hostless += not line.host

    def solved(self, key: int, seconds: float) -> None:
        """A regular has answered a challenge after so many seconds."""
        harm = self.harmed.get(key)
        if harm is not None:
            harm.solved += 1

    def look(self, engine: Engine, at: float, seconds: float) -> None:
        """Note how the engine is, and what has happened; now and then."""
        of = self.sites.get(engine.site)
        if engine.pressure > self.peak_pressure:
            self.peak_pressure = engine.pressure
        if of is not None and engine.pressure > of.peak_pressure:
            of.peak_pressure = engine.pressure
        self.pressed_seconds += seconds * engine.pressed
        for name, fields in engine.events():
            self.counts[name] += 1
            if name == "attack_end":
                self.attack_seconds += fields["seconds"]
            if of is not None:
                of.attacks += name == "attack_onset"
                of.attack_seconds += fields["seconds"] if name == "attack_end" else 0.0
            if name in TURNING and len(self.events) < MOST_EVENTS:
                self.events.append((at, name, dict(fields) | ({} if of is None else {"site": engine.site})))

    def verdicts(self) -> Iterator[Row]:
        """By verdict: what was let through first, then the most refused."""
        for (action, reason, rule), count in self._forwarded.most_common():
            row = Row(action.value, reason.value, rule, self.survey.first)
            row.requests = count
            row.last = self.survey.last
            yield row
        yield from sorted(self._table.values(), key=lambda row: (-row.requests, row.reason))

    @property
    def refusals(self) -> int:
        """Requests that were not let through."""
        return sum(row.requests for row in self._table.values() if not row.action.endswith("_dry_run"))
