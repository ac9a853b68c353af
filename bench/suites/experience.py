"""What users had of a site, from what each of their requests took: calm, under attack, and when they were back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from bench.common.stats import Recovery, Sample, charged, quantile, recovery, sliding_p95
from bench.load.users import PATIENCE, Person
from bench.suites.attack_scenes import Timeline

WINDOW: Final = 2.0  # seconds of the sliding p95
ONSET: Final = 5.0  # seconds within which the users are to be back


def measure(
    users: dict[str, Any], attackers: dict[str, Any], times: Timeline, crowd: Sequence[Person]
) -> dict[str, Any]:
    """What the returning users had, calm and under attack; and of the other groups, in short."""
    first_byte = attackers["first_byte"] or times.attack
    everybody = users["samples"]
    rows = [row for row in everybody if row["group"] == "returning"]

    def calm_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if times.calm <= row["meant"] < first_byte - 0.5]

    def attacked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if first_byte <= row["meant"] < times.end]

    calm_figures = figures(calm_of(rows))
    bound = 2 * calm_figures["p95"]
    samples = [Sample(row["meant"], row["latency"], row["good"]) for row in rows]
    points = sliding_p95(samples, first_byte, times.end, PATIENCE, WINDOW)
    back: Recovery = recovery(points, samples, first_byte, times.end, bound, PATIENCE, ONSET)
    calm_points = sliding_p95(samples, times.calm, first_byte - 0.5, PATIENCE, WINDOW)
    holders = [names for person, names in zip(crowd, users["cookies"], strict=True) if person.group == "returning"]
    groups = {}
    for group in dict.fromkeys(person.group for person in crowd if person.group != "returning"):
        theirs = [row for row in everybody if row["group"] == group]
        groups[group] = {
            "people": sum(person.group == group and person.clicks[-1] >= times.attack for person in crowd),
            "visits": figures([row for row in theirs if row["meant"] < times.calm]),
            "calm": figures(calm_of(theirs)),
            "attack": figures(attacked(theirs)),
            "challenges": sum(row["challenge"] for row in theirs),
        }
    return {
        "calm": calm_figures,
        "attack": figures(attacked(rows)),
        "later": figures([row for row in attacked(rows) if row["meant"] >= first_byte + ONSET]),
        "recovery": asdict(back),
        "calm_windows_above": sum(p95 >= bound for _, p95 in calm_points) / max(1, len(calm_points)),
        "visits": figures([row for row in rows if row["meant"] < times.calm]),
        "challenges": sum(row["challenge"] for row in rows),
        "cookies": sum("shield_pass" in names for names in holders),
        "groups": groups,
        "attackers": attackers,
        "p95": [[t - first_byte, p95] for t, p95 in points],
        "samples": [
            [round(row["meant"] - first_byte, 4), round(row["latency"], 5), row["good"], row["status"], row["user"]]
            for row in rows
        ],
    }


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Success and latency of some requests; a failed one counts as the whole patience."""
    latencies = [charged(Sample(row["meant"], row["latency"], row["good"]), PATIENCE) for row in rows]
    clicks: dict[tuple[int, float], list[bool]] = {}
    statuses: dict[str, int] = {}
    for row in rows:
        clicks.setdefault((row["user"], row["click"]), []).append(row["good"])
        statuses[str(row["status"])] = statuses.get(str(row["status"]), 0) + 1
    return {
        "requests": len(rows),
        "success": sum(row["good"] for row in rows) / len(rows) if rows else float("nan"),
        "pages": sum(map(all, clicks.values())) / len(clicks) if clicks else float("nan"),
        "p50": quantile(latencies, 0.50),
        "p95": quantile(latencies, 0.95),
        "p99": quantile(latencies, 0.99),
        "statuses": statuses,
    }
