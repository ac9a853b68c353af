"""What the dashboard shows: a row of numbers a second, and the state of now, out of what /api/status says.

A `Recorder` is shown a status each second. It keeps the rows of the last fifteen minutes, and what was counted in the
last ten seconds to find rates by. A status may be that of one process or of several workers (merge.py): what only each
worker says is added up here, or taken from the one that leads.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from shield.model import DRY_RUN_TWIN, Tier
from shield.operator import story

KEPT_SECONDS: Final = 900
"""Rows that are kept, one a second: a quarter of an hour, in 170 KB."""
RATE_SECONDS: Final = 10
"""Over which rates of tables are found: a page that is read by people must not flicker."""
LATENCY_SECONDS: Final = 5
USUAL_SECONDS: Final = 30
"""Calm seconds that must be known before a rate is called usual."""
DETAIL_SECONDS: Final = 12.0
"""After an onset in which it is found out who asks: before, nobody has been counted."""
MOST_DETAILS: Final = 20
MOST_ROUTES: Final = 8
MOST_NETWORKS: Final = 12
MOST_EVENTS: Final = 60

_ACTIONS: Final = ("forward", "challenge", "limit", "shed", "ban")
_TWINS: Final = {action.value: twin.value for action, twin in DRY_RUN_TWIN.items()}
_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {"known": ("T0", "T1"), "bought": ("T2",), "new": ("T3", "T4")}
"""Tiers whose latency is one line of the plot."""

COLUMNS: Final = (
    "time",
    *_ACTIONS,
    "would_refuse",
    "pressure",
    "demand",
    "capacity",
    "limit_slots",
    "in_flight",
    "waiting",
    "known_p95",
    "bought_p95",
    "new_p95",
    "price",
    "passes",
    "room",
    "attack",
)
"""Of a row. Verdicts are requests/s (`would_refuse`: of a dry run); demand and capacity units/s; latencies seconds, or
NaN while nobody was served; the price hashes."""

_OF_SITE: Final = (
    "ready", "dry_run", "pressure", "attack", "attack_seconds", "demand", "capacity", "concurrency", "in_flight",
    "waiting", "price",
)  # fmt: skip

Counts = Mapping[str, int]


class Recorder:
    """The rows of the last quarter of an hour, and the state of now."""

    __slots__ = ("_answering", "_before", "_details", "_rows")

    def __init__(self) -> None:
        self._rows: deque[array[float]] = deque(maxlen=KEPT_SECONDS)
        self._before: deque[tuple[float, Mapping[str, Any]]] = deque(maxlen=RATE_SECONDS + 1)
        self._answering: list[Any] = []  # the workers whose counts are in the last ones
        self._details: dict[float, dict[str, Any]] = {}  # of onsets, by their time

    def take(self, now: float, status: Mapping[str, Any]) -> list[float | None]:
        """Note a status of `now` (Unix time); its row, as JSON has it. While a worker does not answer, what it has
        counted is missing: then rates begin anew, or all of it would count for the second in which it answers again."""
        answering = [part["worker"] for part in status.get("workers", ()) if part["answers"]]
        if answering != self._answering:
            self._before.clear()
        self._answering = answering
        self._before.append((now, counts_of(status)))
        seconds, then, counted = self._since(1)
        said = {action: _sum(counted["requests"].get(action)) for action in (*_ACTIONS, *_TWINS.values())}
        was = {action: _sum(then["requests"].get(action)) for action in said}
        rates = {action: max(count - was[action], 0) / seconds for action, count in said.items()}
        would = sum(rates[twin] for twin in _TWINS.values())
        market = _lead(status).get("market", {})
        row = array(
            "d",
            (
                round(now, 3),
                round(rates["forward"] + would, 1),
                *(round(rates[action], 1) for action in _ACTIONS[1:]),
                round(would, 1),
                round(status.get("pressure", 0.0), 4),
                round(status.get("demand", 0.0), 1),
                round(status.get("capacity", 0.0), 1),
                round(status.get("concurrency", 0.0), 1),
                status.get("in_flight", 0),
                status.get("waiting", 0),
                *(self._percentile(tiers, 0.95) for tiers in _GROUPS.values()),
                market.get("price", 0),
                status.get("live_passes", {}).get("in_use", 0),
                max((part.get("market", {}).get("waiting", 0) for part in _parts(status)), default=0),
                # Where nobody answers, an attack goes on: else it was two.
                bool(status["attack"] if "attack" in status else self._rows and self._rows[-1][-1]),
            ),
        )
        self._rows.append(row)
        return _plain(row)

    def history(self) -> dict[str, Any]:
        """All rows, the oldest first."""
        return {"columns": list(COLUMNS), "rows": [_plain(row) for row in self._rows]}

    def state(self, status: Mapping[str, Any], recent: Mapping[str, Any]) -> dict[str, Any]:
        """What holds now, in lists of bounded length. `recent`: who was refused, and what has happened."""
        parts, lead = _parts(status), _lead(status)
        own = [part.get("own", {}) for part in parts]
        signs = sorted({sign for part in parts for sign in part.get("overload", ())})
        seconds, then, counted = self._since(RATE_SECONDS)
        picked = (
            "ready", "dry_run", "pressure", "strictness", "brownout", "attack", "attack_seconds", "demand",
            "known_demand", "capacity", "served", "requests_per_second", "congestion", "concurrency", "in_flight",
            "long", "waiting", "active_bans", "dropped", "strangers", "connections",
        )  # fmt: skip
        leads = ("median_rtt", "standing_queue", "market", "cutoff")
        return {
            **{key: status[key] for key in picked if key in status},
            **{key: lead[key] for key in leads if key in lead},
            "queue": sum(part.get("queue", 0) for part in parts),
            "cause": story.cause(str(lead.get("attack_cause", ""))) if status.get("attack") else "",
            "overload": signs,
            "signs": {sign: story.cause(sign) for sign in ("latency", "errors", "shedding", "waiting", "self")},
            "lag": max((one.get("lag", 0.0) for one in own), default=0.0),
            "busy": max((one.get("busy", 0.0) for one in own), default=0.0),
            "tiers": self._tiers(seconds, then, counted),
            "verdicts": _verdicts(seconds, then, counted),
            "routes": _routes(seconds, then, counted),
            "networks": [
                (name, count, status.get("networks_in", {}).get(name, ""))
                for name, count in _largest(status.get("networks", {}), MOST_NETWORKS)
            ],
            "stands_out": _standing(parts),
            "servers": _servers(parts),
            "sites": _sites(status, seconds, then, counted),
            "passes": status.get("live_passes", {}),
            "challenged": challenged(counted["challenged"], status.get("challenged", {}).get("not_yet", {})),
            "challenged_not_yet": status.get("challenged", {}).get("not_yet", {}),
            "rules_tried": status.get("rules_tried", {}),
            "refused": [_told_why(each) for each in recent["refused"]],
            "events": self._events(recent["events"], parts),
            "files": [*_files(status), *_crawlers(status)],
            "workers": [
                {"worker": part["worker"], "answers": part["answers"], "restarts": part["restarts"]}
                for part in status.get("workers", ())
            ],
        }

    def _since(self, seconds: int) -> tuple[float, Mapping[str, Any], Mapping[str, Any]]:
        """The time, and what was counted before and after it: `seconds`, or as long as is known."""
        now, counted = self._before[-1]
        then, before = self._before[max(len(self._before) - 1 - seconds, 0)]
        return max(now - then, 0.001), before, counted

    def _latency(self, tiers: Iterable[str], seconds: int) -> dict[str, int]:
        _, then, counted = self._since(seconds)
        found: dict[str, int] = {}
        for tier in tiers:
            was = then["latency"].get(tier, {})
            for bound, count in counted["latency"].get(tier, {}).items():
                found[bound] = found.get(bound, 0) + max(count - was.get(bound, 0), 0)
        return found

    def _percentile(self, tiers: Iterable[str], part: float, seconds: int = LATENCY_SECONDS) -> float:
        return percentile(self._latency(tiers, seconds), part)

    def _tiers(self, seconds: float, then: Mapping[str, Any], counted: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = []
        for tier in Tier:
            latency = self._latency((tier.name,), RATE_SECONDS)
            asked = max(counted["tiers"].get(tier.name, 0) - then["tiers"].get(tier.name, 0), 0)
            found.append(
                {
                    "tier": tier.name,
                    "asked": round(asked / seconds, 1),
                    "served": round(sum(latency.values()) / seconds, 1),
                    "p50": _or_none(percentile(latency, 0.5)),
                    "p95": _or_none(percentile(latency, 0.95)),
                }
            )
        return found

    def _events(self, events: Sequence[dict[str, Any]], parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        told = []
        for event in events[:MOST_EVENTS]:
            fields = event["fields"]
            if event["event"] == "attack_onset":
                fields = {**fields, **self._detail(event["at"], fields, parts)}
            text = story.sentence(event["event"], fields)
            kept = {key: fields[key] for key in ("address", "client", "seconds") if key in fields}
            told.append({"at": event["at"], "event": event["event"], "text": text, **kept})
        return told

    def _detail(self, at: float, fields: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What is known of an onset besides: times the usual rate, and soon after it from how many, and on what."""
        found = self._details.setdefault(at, {})
        if len(self._details) > MOST_DETAILS:
            del self._details[min(self._details)]
        usual = [sum(row[1:6]) for row in self._rows if row[0] < at - 1 and not row[-1]]
        if "times" not in found:
            known = sorted(usual)[len(usual) // 2] if len(usual) >= USUAL_SECONDS else 0.0
            found["times"] = fields["requests_per_second"] / known if known > 0 else 0.0
        if self._rows and self._rows[-1][0] - at < DETAIL_SECONDS:
            hitters = [part.get("hitters", {}) for part in parts]
            found["clients"] = sum(each.get("clients", 0) for each in hitters)
            shares = _sums(each.get("routes", {}) for each in hitters)
            found["routes"] = [name for name, share in _largest(shares, 2) if share >= len(parts) / 4]
        return found


def percentile(counts: Counts, part: float) -> float:
    """The time (s) within which that part ended, out of counts by upper bound: linear within a bucket, as Prometheus
    has it. NaN of nothing."""
    total = sum(counts.values())
    if not total:
        return math.nan
    lower, left = 0.0, part * total
    for bound, count in sorted((float(bound), count) for bound, count in counts.items()):
        if count and left <= count:
            return round(lower + (bound - lower) * left / count, 4) if bound < math.inf else lower
        left -= count
        lower = bound if bound < math.inf else lower
    return lower


def _parts(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The statuses of the workers that answer; of one process, its own."""
    if "workers" not in status:
        return [status]
    return [worker for worker in status["workers"] if worker["answers"]]


def _lead(status: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = _parts(status)
    return next((part for part in parts if part.get("board", {}).get("leads")), parts[0] if parts else {})


def counts_of(status: Mapping[str, Any]) -> dict[str, Any]:
    """What is counted up, of all workers."""
    return {
        "requests": status.get("requests", {}),
        "latency": status.get("latency", {}),
        "tiers": status.get("requests_by_tier", {}),
        "routes": _sums({r["route"]: r["requests"] for r in part.get("routes", ())} for part in _parts(status)),
        "sites": {name: _sum(site["requests_by_tier"]) for name, site in status.get("sites", {}).items()},
        "challenged": {key: status.get("challenged", {}).get(key, {}) for key in ("asked", "let_in", "seconds")},
    }


def challenged(counted: Mapping[str, Any], still: Mapping[str, Counts]) -> list[dict[str, Any]]:
    """What became of those who were challenged, by tier and browser, the most first. `still`: those who are not in
    yet, and may be soon."""
    found = []
    for tier, browsers in counted.get("asked", {}).items():
        for browser, asked in browsers.items():
            let_in: int = min(counted.get("let_in", {}).get(tier, {}).get(browser, 0), asked)
            left: int = max(still.get(tier, {}).get(browser, 0), 0)
            within: Counts = counted.get("seconds", {}).get(tier, {}).get(browser, {})
            found.append(
                {
                    "tier": tier,
                    "browser": browser,
                    "asked": asked,
                    "let_in": let_in,
                    "not_yet": min(left, asked - let_in),
                    "gave_up": max(asked - let_in - left, 0),
                    "p50": _or_none(percentile(within, 0.5)),
                    "p95": _or_none(percentile(within, 0.95)),
                }
            )
    return sorted(found, key=lambda each: (-each["asked"], each["tier"], each["browser"]))


def _sums(tables: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for table in tables:
        for key, value in table.items():
            found[key] = found.get(key, 0) + value
    return found


def _largest(table: Mapping[str, float], most: int) -> list[tuple[str, float]]:
    return sorted(table.items(), key=lambda pair: (-pair[1], pair[0]))[:most]


def _sum(reasons: Counts | None) -> int:
    return sum(reasons.values()) if reasons else 0


def _verdicts(seconds: float, then: Mapping[str, Any], counted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Refusals by reason in the last seconds, the most first."""
    found = []
    for action, reasons in counted["requests"].items():
        if action in ("forward", "queue"):
            continue
        was = then["requests"].get(action, {})
        for reason, count in reasons.items():
            if (more := count - was.get(reason, 0)) > 0:
                found.append({"action": action, "reason": reason, "why": why(reason), "rate": round(more / seconds, 1)})
    return sorted(found, key=lambda each: -each["rate"])


def _routes(seconds: float, then: Mapping[str, Any], counted: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Requests/s by route, of those that are named before and after."""
    was = then["routes"]
    more = {name: (count - was[name]) / seconds for name, count in counted["routes"].items() if name in was}
    return [(story.route(name), round(rate, 1)) for name, rate in _largest(more, MOST_ROUTES) if rate > 0]


def _files(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """The databases and lists that tell of addresses, each in words, and what is wrong with its newest version."""
    for path, each in status.get("databases", {}).items():
        made = f", made {_ago(each['age'])}" if each["type"] else ""
        yield {"name": path, "kind": each["of"], "text": f"{each['type']}{made}", "error": each["error"]}
    for path, each in status.get("lists", {}).items():
        written = f", written {_ago(each['age'])}" if each["changed"] else ""
        text = f"{story.number(each['entries'])} networks{written}"
        yield {"name": path, "kind": each["of"], "text": text, "error": each["error"]}


def _ago(seconds: float) -> str:
    days = seconds / 86_400
    return f"{days:.0f} days ago" if days > 2 else f"{story.duration(seconds)} ago"


def _crawlers(status: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for agent, each in status.get("crawlers", {}).items():
        text = f"{each['claims']} claims; addresses confirmed {each['confirmed']}, refuted {each['refuted']}"
        text += f", without an answer {each['unanswered']}" if each["unanswered"] else ""
        yield {"name": agent, "kind": "crawler", "text": text, "error": ""}


def _standing(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Programs that stand out in any worker, each once."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for program in part.get("hitters", {}).get("fingerprints", ()):
            known = found.get(program["fingerprint"])
            if known is None or known["share"] < program["share"]:
                found[program["fingerprint"]] = dict(program)
    return list(found.values())


def _sites(
    status: Mapping[str, Any], seconds: float, then: Mapping[str, Any], counted: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Each of several sites, those that are worst off first: under attack, and then by their pressure."""
    found = []
    for name, site in status.get("sites", {}).items():
        more = max(counted["sites"].get(name, 0) - then["sites"].get(name, 0), 0)
        found.append(
            {
                "site": name,
                **{key: site[key] for key in _OF_SITE},
                "cause": story.cause(str(site["attack_cause"])) if site["attack"] else "",
                "asked": round(more / seconds, 1),
            }
        )
    return sorted(found, key=lambda each: (not each["attack"], -each["pressure"], each["site"]))


def _servers(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for server in part.get("upstream", ()):
            known = found.setdefault(server["server"], {**server, "outstanding": 0})
            known["outstanding"] += server["outstanding"]
            known["healthy"] = known["healthy"] and server["healthy"]
            known["ejected"] = known["ejected"] or server["ejected"]
    return list(found.values())


def why(reason: str) -> str:
    """A reason in words."""
    found = _WHY.get(reason)
    return reason if found is None else found


_WHY: Final = {reason.value: text for reason, text in story.REASONS.items()}


def _told_why(refused: Mapping[str, Any]) -> dict[str, Any]:
    return {**refused, "why": why(refused["reason"])}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _plain(row: Iterable[float]) -> list[float | None]:
    return [None if math.isnan(value) else int(value) if value.is_integer() else value for value in row]


Clock = Callable[[], float]
"""Unix time, in seconds."""
