"""An account out of the log of a Shield, in files.

A line of a refused request is one of a few that are written each second. So where the lines `attack` say how many there
were, these count; elsewhere what was left out (`suppressed`) is taken to be as what was written.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from shield.model import DRY_RUN_TWIN, Action
from shield.operator import story
from shield.operator.figures import percentile
from shield.operator.metrics import Histogram
from shield.policy.locations import locate
from shield.policy.routes import template
from shield.policy.sketch import Sketch
from shield.replay import files
from shield.replay.files import LogError, Skipped
from shield.report.account import REFUSING, SERIES, TIERS, Account, Attack, Felt

MINUTE: Final = 60
MOST_MINUTES: Final = 7 * 1440
"""A week: of longer logs the last."""
MOST_EVENTS: Final = 300
MOST_NAMED: Final = 20
MOST_KEYS: Final = 2000
"""Networks, programs, addresses and routes that are told apart, of each the most frequent."""
SAMPLES: Final = 100
"""Latencies of a minute and a group, for its p95."""
LEAST_PART: Final = 0.01
_TWINS: Final = {twin.value: action.value for action, twin in DRY_RUN_TWIN.items()}
_GROUPS: Final = ("known_p95", "known_p95", "bought_p95", "new_p95", "new_p95")  # by tier
_FORWARDED: Final = Action.FORWARD.value


class _Minute:
    """What was counted in a minute, by action and reason: in lines of requests, and in lines `attack`."""

    __slots__ = ("capacity", "demand", "hidden", "latency", "lines", "pressure", "sums", "waiting")

    def __init__(self) -> None:
        self.lines: Counter[tuple[str, str]] = Counter()
        self.sums: Counter[tuple[str, str]] = Counter()
        self.hidden = 0  # refused requests without a line
        self.latency: dict[str, array[float]] = {}
        self.pressure: float | None = None
        self.demand: float | None = None
        self.capacity: float | None = None
        self.waiting: float | None = None

    def counts(self) -> dict[tuple[str, str], float]:
        """Requests by action and reason, as far as the minute tells."""
        shown = sum(count for (action, _), count in self.lines.items() if action in REFUSING)
        factor = 1.0 + self.hidden / shown if shown else 1.0
        found: dict[tuple[str, str], float] = {}
        for key in self.lines | self.sums:
            count = self.lines[key] * (factor if key[0] in REFUSING else 1.0)
            found[key] = max(count, self.sums[key]) if not self.sums or key[0] not in REFUSING else self.sums[key]
        if self.hidden and not shown and not self.sums:
            found["limit", "not logged"] = self.hidden
        return found


class Reader:
    """Reads the lines of logs. `since` and `until` are Unix time.

    It has more than 15 attributes because each thing that is counted is one.
    """

    def __init__(self, since: float) -> None:
        self._since = since
        self._minutes: dict[int, _Minute] = {}
        self._attacks: list[Attack] = []
        self._events: list[tuple[float, str]] = []
        self._left_out = 0  # events
        self._by_tier = {tier: Histogram() for tier in TIERS}
        self._refused_of = Counter[str]()
        self._networks: Sketch[str] = Sketch(MOST_KEYS)
        self._programs: Sketch[str] = Sketch(MOST_KEYS)
        self._addresses: Sketch[tuple[str, str]] = Sketch(MOST_KEYS)
        self._routes: Sketch[str] = Sketch(MOST_KEYS)
        self._sites: Sketch[str] = Sketch(MOST_KEYS)
        self._standing: dict[str, tuple[str, float]] = {}  # fingerprints: User-Agent and greatest share
        self._in_attack: Counter[str] = Counter()  # networks, by their greatest share of strangers' requests
        self._bans = 0
        self._would: list[str] = []
        self._dry_run = False
        self._hidden = 0
        self.first = self.last = 0.0

    def take(self, line: Mapping[str, Any]) -> None:
        """Take a line. ValueError, TypeError or KeyError for what is no line of Shield's log."""
        at = datetime.fromisoformat(line["time"]).timestamp()
        if at < self._since:
            return
        self.first = min(self.first or at, at)
        self.last = max(self.last, at)
        minute = self._minutes.get(int(at // MINUTE))
        if minute is None:
            if len(self._minutes) >= MOST_MINUTES:
                del self._minutes[min(self._minutes)]
            minute = self._minutes[int(at // MINUTE)] = _Minute()
        event = line["event"]
        match event:
            case "request":
                self._request(minute, line)
            case "refused":
                self._refusal(minute, line)
            case "suppressed" if line["of"] == "refused":
                minute.hidden += int(line["lines"])
                self._hidden += int(line["lines"])
            case "attack":
                self._attack(minute, line)
            case _:
                self._event(at, event, line)

    def _request(self, minute: _Minute, line: Mapping[str, Any]) -> None:
        action, tier = str(line["action"]), int(line["tier"])
        minute.lines[action, str(line["reason"])] += 1
        self._routes.add(f"{line['method']} {template(str(line['path']))}"[:200], 1)
        if site := line.get("site"):
            self._sites.add(str(site)[:200], 1)
        seconds = float(line["ms"]) / 1000.0
        self._by_tier[f"T{tier}"].observe(seconds)
        samples = minute.latency.setdefault(_GROUPS[tier], array("f"))
        if len(samples) < SAMPLES:
            samples.append(seconds)

    def _refusal(self, minute: _Minute, line: Mapping[str, Any]) -> None:
        action, reason, address = str(line["action"]), str(line["reason"]), str(line["address"])
        minute.lines[action, reason] += 1
        if "tier" in line:
            self._refused_of[f"T{int(line['tier'])}"] += 1
        self._networks.add(_network(address), 1)
        self._addresses.add((address, reason), 1)
        if line.get("user_agent"):
            self._programs.add(str(line["user_agent"]), 1)

    def _attack(self, minute: _Minute, line: Mapping[str, Any]) -> None:
        for action, reasons in line["requests"].items():
            for reason, count in reasons.items():
                minute.sums[str(action), str(reason)] += int(count)
        for name in ("pressure", "demand", "capacity", "waiting"):
            setattr(minute, name, max(getattr(minute, name) or 0.0, float(line[name])))
        stands_out = line.get("stands_out") or {}
        for name, share in (stands_out.get("networks") or {}).items():
            self._in_attack[str(name)] = max(self._in_attack[str(name)], int(1000 * float(share)))
        for each in stands_out.get("fingerprints") or ():
            self._stands_out(str(each["fingerprint"]), str(each["user_agent"]), float(each["share"]))
        self._would = story.would(line.get("would") or {}) or self._would

    def _stands_out(self, fingerprint: str, agent: str, share: float) -> None:
        if len(self._standing) < MOST_KEYS:
            known = self._standing.get(fingerprint, (agent, 0.0))
            self._standing[fingerprint] = (agent, max(known[1], share))

    def _event(self, at: float, event: str, line: Mapping[str, Any]) -> None:
        fields = {key: value for key, value in line.items() if key not in ("time", "event", "level")}
        match event:
            case "attack_onset":
                rate, site = float(line["requests_per_second"]), str(line.get("site", ""))
                self._attacks.append(Attack(at, None, story.cause(str(line["cause"])), rate, site=site))
            case "attack_end":
                site = str(line.get("site", ""))
                begun = next((each for each in self._attacks[::-1] if each.site == site and each.end is None), None)
                if begun is not None:
                    self._attacks.remove(begun)
                begin = at - float(line["seconds"]) if begun is None else begun.begin
                self._attacks.append(
                    Attack(
                        begin,
                        min(begin + float(line["seconds"]), at),
                        story.cause(str(line["cause"])),
                        float(line["peak_requests_per_second"]),
                        float(line["peak_pressure"]),
                        site,
                    )
                )
            case "ban":
                self._bans += 1
            case "started" | "reloaded":
                self._dry_run = bool(line.get("dry_run"))
            case "fingerprint_limited":
                self._stands_out(str(line["fingerprint"]), str(line["user_agent"]), float(line["share"]))
        if event in story.TOLD and event != "ban":
            if len(self._events) < MOST_EVENTS:
                self._events.append((at, story.sentence(event, fields)))
            else:
                self._left_out += 1

    def account(self, source: str, skipped: Skipped) -> Account:
        """What they tell."""
        made = Account(source, self._since or self.first, self.last)
        made.counted_since = made.since
        counts = {at: minute.counts() for at, minute in sorted(self._minutes.items())}
        totals: Counter[tuple[str, str]] = Counter()
        for found in counts.values():
            for key, count in found.items():
                totals[key] += round(count)
        made.verdicts = dict(totals)
        self._plot(made, counts)
        made.attacks = sorted(self._attacks, key=lambda each: each.begin)
        made.events = sorted(self._events)
        made.felt = list(self._felt())
        self._who(made)
        made.bans = self._bans
        made.would, made.dry_run = self._would, self._dry_run
        if self._hidden:
            made.notes.append(
                f"{self._hidden:,} refused requests have no line in the log (log.refused_per_second). Where the "
                "lines of attacks count them that is how many, elsewhere it is estimated. Addresses and programs are "
                "those of lines."
            )
        if self._left_out:
            made.notes.append(f"{self._left_out:,} more events are in the log.")
        if skipped.foreign:
            made.notes.append(f"{skipped.foreign:,} lines could not be read: {'; '.join(skipped.named)}")
        return made

    def _plot(self, made: Account, counts: Mapping[int, Mapping[tuple[str, str], float]]) -> None:
        if not counts:
            return
        made.series = {name: [] for name in SERIES}
        for at in range(min(counts), max(counts) + 1):
            made.times.append(float(at * MINUTE))
            found = counts.get(at, {})
            minute = self._minutes.get(at) or _Minute()
            rates: defaultdict[str, float] = defaultdict(float)
            for (action, _), count in found.items():
                tried = action in _TWINS
                rates[_FORWARDED if tried else action] += count
                rates["would_refuse"] += count if tried else 0.0
            for name in (_FORWARDED, *REFUSING, "would_refuse"):
                made.series[name].append(round(rates[name] / MINUTE, 2))
            for name in ("pressure", "demand", "capacity", "waiting"):
                made.series[name].append(getattr(minute, name))
            for name in ("known_p95", "bought_p95", "new_p95"):
                samples = sorted(minute.latency.get(name, ()))
                made.series[name].append(samples[int(0.95 * len(samples))] if samples else None)

    def _felt(self) -> Iterator[Felt]:
        for tier, times in self._by_tier.items():
            served = sum(times.counts)
            refused = self._refused_of[tier]
            if served or refused:
                table = times.table()
                p50, p95 = (percentile(table, part) if served else None for part in (0.5, 0.95))
                yield Felt(tier, None if self._hidden else served + refused, served, p50, p95)

    def _who(self, made: Account) -> None:
        made.networks = [(name, f"up to {part / 10:.0f}% of what strangers asked for") for name, part in
                         self._in_attack.most_common(MOST_NAMED)]  # fmt: skip
        if not made.networks:
            made.networks = [(name, f"{count:,} refused") for name, count in _heaviest(self._networks)]
        standing = sorted(self._standing.items(), key=lambda pair: -pair[1][1])[:MOST_NAMED]
        made.programs = [(name, agent, f"{share:.0%} of what strangers asked for") for name, (agent, share) in standing]
        if not made.programs:
            made.programs = [("", agent, f"{count:,} refused") for agent, count in _heaviest(self._programs)]
        made.routes = [(name, f"{count:,} let through") for name, count in _heaviest(self._routes)]
        made.sites = [(name, f"{count:,} requests let through") for name, count in _heaviest(self._sites)]
        made.refused = [
            (address, story_of(reason), "", f"{count:,}") for (address, reason), count in _heaviest(self._addresses)
        ]


def story_of(reason: str) -> str:
    """A reason in words."""
    return _WHY.get(reason, reason)


_WHY: Final = {reason.value: text for reason, text in story.REASONS.items()}


def _heaviest(sketch: Sketch[Any]) -> list[tuple[Any, int]]:
    if not sketch:
        return []
    return [(each.key, round(each.count - each.error)) for each in sketch.heaviest(LEAST_PART)[:MOST_NAMED]]


def _network(address: str) -> str:
    try:
        return locate(address)[2]
    except ValueError:
        return address[:64]


def account(names: Sequence[str], seconds: float | None) -> Account:
    """The account of logs: of all of it, or of so many seconds before its last line. LogError when there is none."""
    files.check(names)
    since = 0.0
    if seconds is not None:
        last = max((_last(name) for name in names), default="")
        if last:
            since = datetime.fromisoformat(last).timestamp() - seconds
    skipped, reader = Skipped(), Reader(since)
    for name in names:
        for number, data in files.raw_lines(name, skipped):
            try:
                line = orjson.loads(data)
                if not isinstance(line, dict) or not isinstance(line.get("event"), str):
                    raise ValueError("it is no line of Shield's log")
                reader.take(line)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
                if not data.isspace():
                    why = "it is no JSON" if isinstance(error, orjson.JSONDecodeError) else f"{error}"[:80]
                    skipped.note(name, number, why)
    if not reader.last:
        named = "".join(f"\n  {each}" for each in skipped.named)
        raise LogError(f"{', '.join(names[:3])}: no line of Shield's log in it{named}")
    source = f"the log {names[0]}" if len(names) == 1 else f"{len(names)} logs, {names[0]} and others"
    return reader.account(source, skipped)


def _last(name: str) -> str:
    """The latest time in a log, as it is written there: they sort as they follow each other."""
    latest = ""
    for _, data in files.raw_lines(name, Skipped()):
        if data[:9] == b'{"time":"':
            stamp = data[9:40].partition(b'"')[0].decode("ascii", "replace")
            if stamp > latest and _is_time(stamp):
                latest = stamp
    return latest


def _is_time(stamp: str) -> bool:
    if not stamp.endswith("Z"):
        return False
    try:
        datetime.fromisoformat(stamp)
    except ValueError:
        return False
    return True
