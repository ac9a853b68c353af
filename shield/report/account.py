"""What a report tells, wherever it is from. Times are Unix time in seconds, rates requests/s, latencies seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

SERIES: Final = (
    "forward", "challenge", "limit", "shed", "ban", "would_refuse", "pressure", "demand", "capacity", "waiting",
    "known_p95", "bought_p95", "new_p95",
)  # fmt: skip
REFUSING: Final = ("challenge", "limit", "shed", "ban")
TIERS: Final[Mapping[str, str]] = {
    "T0": "with a pass and a history",
    "T1": "known to Shield",
    "T2": "with a pass that was bought",
    "T3": "newcomers",
    "T4": "with a bad reputation",
}
KNOWN: Final = ("T0", "T1")


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack; `end` is None while it goes on. `peak_rate` in requests/s, 0 where it is not known. `site`: on which
    one, where there are several."""

    begin: float
    end: float | None
    cause: str
    peak_rate: float = 0.0
    peak_pressure: float = 0.0
    site: str = ""


@dataclass(frozen=True, slots=True)
class Felt:
    """What users of a tier got. `asked` and `served` are requests; None where that is not known."""

    tier: str
    asked: int | None
    served: int
    p50: float | None
    p95: float | None


@dataclass(slots=True)
class Account:
    """All of it. It has more than 15 attributes because each is a part of the report."""

    source: str
    since: float
    until: float
    times: list[float] = field(default_factory=list)
    series: dict[str, list[float | None]] = field(default_factory=dict)
    step: float = 60.0  # seconds between two times
    verdicts: dict[tuple[str, str], int] = field(default_factory=dict)  # requests, by action and reason
    counted_since: float = 0.0  # of verdicts and of what users felt
    attacks: list[Attack] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)  # in words, the oldest first
    networks: list[tuple[str, str]] = field(default_factory=list)  # and how much they asked, in words
    programs: list[tuple[str, str, str]] = field(default_factory=list)  # fingerprint, User-Agent, how much
    routes: list[tuple[str, str]] = field(default_factory=list)
    sites: list[tuple[str, str]] = field(default_factory=list)  # where there are several, and how much was asked
    refused: list[tuple[str, str, str, str]] = field(default_factory=list)  # address, reason, what, times
    bans: int = 0
    felt: list[Felt] = field(default_factory=list)
    challenged: Sequence[Mapping[str, Any]] = ()  # as figures.challenged has it
    would: Sequence[str] = ()  # what dry runs would have done, in words
    dry_run: bool = False
    rules: list[str] = field(default_factory=list)  # of the operator's, in words
    notes: list[str] = field(default_factory=list)  # on how complete this is

    @property
    def requests(self) -> int:
        """All that were judged. What waited is counted by what became of it."""
        return sum(count for (action, _), count in self.verdicts.items() if action != "queue")

    @property
    def refusals(self) -> int:
        return sum(count for (action, _), count in self.verdicts.items() if action in REFUSING)

    def of(self, *reasons: str) -> int:
        """Requests that were refused for these reasons, or would have been."""
        return sum(count for (_, reason), count in self.verdicts.items() if reason in reasons)

    def peak(self) -> tuple[float, float]:
        """The highest rate of all verdicts together, and when."""
        best, when = 0.0, self.since
        for place, at in enumerate(self.times):
            rate = sum(self.series[name][place] or 0.0 for name in ("forward", *REFUSING))
            if rate > best:
                best, when = rate, at
        return best, when

    def as_json(self) -> dict[str, Any]:
        """As `shield report --json` has it."""
        return {
            "source": self.source,
            "since": self.since,
            "until": self.until,
            "requests": self.requests,
            "refused": self.refusals,
            "verdicts": [
                {"action": action, "reason": reason, "requests": count}
                for (action, reason), count in sorted(self.verdicts.items(), key=lambda pair: -pair[1])
            ],
            "counted_since": self.counted_since,
            "attacks": [
                {
                    "begin": each.begin,
                    "end": each.end,
                    "cause": each.cause,
                    "peak_requests_per_second": each.peak_rate,
                    "peak_pressure": each.peak_pressure,
                    "site": each.site,
                }
                for each in self.attacks
            ],
            "events": [{"at": at, "text": text} for at, text in self.events],
            "networks": [{"network": name, "asked": asked} for name, asked in self.networks],
            "programs": [
                {"fingerprint": name, "user_agent": agent, "asked": asked} for name, agent, asked in self.programs
            ],
            "routes": [{"route": name, "asked": asked} for name, asked in self.routes],
            "sites": [{"site": name, "asked": asked} for name, asked in self.sites],
            "bans": self.bans,
            "users": [
                {"tier": each.tier, "asked": each.asked, "served": each.served, "p50": each.p50, "p95": each.p95}
                for each in self.felt
            ],
            "challenged": list(self.challenged),
            "would": list(self.would),
            "dry_run": self.dry_run,
            "rules": self.rules,
            "notes": self.notes,
            "series": {"time": self.times, **self.series},
        }
