"""The outcome of a scene, to be read or asserted on: what everybody got, how the service fared, what Shield saw."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from shield.model import Reason
    from shield.policy.status import PolicyStatus
    from shield.simulate.scene import Scene

SERIES: Final = (
    "pressure",
    "pressure_target",
    "concurrency",
    "in_flight",
    "long",
    "waiting",
    "demand",
    "known_demand",
    "capacity",
    "congestion",
    "requests_per_second",
    "price",
    "bought_passes",
    "bought_rate",
    "cutoff",
)
"""What is kept each second of Engine.status()."""

PRICING: Final = {
    "solves_per_second": "market_solves_per_second",
    "passes_per_second": "market_passes_per_second",
    "used_share": "market_used_share",
    "waiting": "market_waiting",
}
"""What is kept of the status of pricing, which is its `market`, and under which name."""

MODEL: Final = ("inside", "answered", "good", "lag", "cpu")
"""The same of the models: requests inside the service, its answers and good ones so far, how late Shield is (seconds),
and the share of its core that it uses."""


class Latencies:
    """Durations with the times at which they began or ended, in the order of their recording."""

    __slots__ = ("seconds", "times")

    def __init__(self) -> None:
        self.times = array("d")
        self.seconds = array("f")

    def add(self, time: float, seconds: float) -> None:
        self.times.append(time)
        self.seconds.append(seconds)

    def quantile(self, q: float, start: float = 0.0, end: float = inf) -> float:
        """The q-quantile (0 to 1) of those recorded from `start` to `end`, in seconds; NaN when there is none."""
        values = sorted(self.seconds[bisect_left(self.times, start) : bisect_left(self.times, end)])
        return values[min(int(q * len(values)), len(values) - 1)] if values else nan


class Tally:
    """What a population got. The world adds to it as it happens.

    It has more than 15 attributes because each thing that is counted is one.

    Times are those of the story; wants are counted in the second in which they began.

    A want is a visit or a part of a page, with all its tries; one that has not ended with the scene is not counted.
    """

    def __init__(self, kind: str, seconds: float, calm: float) -> None:
        self.kind = kind
        self.first_second = -int(-(-calm // 1))
        size = int(seconds) + 2 - self.first_second
        self.asked_in = array("L", bytes(array("L").itemsize * size))  # by second
        self.served_in = array("L", bytes(array("L").itemsize * size))
        self.at_once_in = array("L", bytes(array("L").itemsize * size))  # served at the first try, without a challenge
        self.visits_in = array("L", bytes(array("L").itemsize * size))  # of `asked_in`, what is no part of a page
        self.visited_in = array("L", bytes(array("L").itemsize * size))  # of those, served
        self.latencies = Latencies()  # of what was served, by when it was
        self.pages = 0  # that came, and have parts
        self.whole_in = array("L", bytes(array("L").itemsize * size))  # of `visits_in`, with all of their parts
        self.whole = Latencies()  # from asking for a page to its last part, by when that came
        # in all, the calm included
        self.tries = 0
        self.forwarded = 0
        self.refusals: Counter[Reason] = Counter()
        self.answers: Counter[str] = Counter()  # to challenges, by what came of them
        self.lost = 0  # because Shield itself was overloaded
        self.challenged = 0
        self.solved = 0  # passes bought
        self.hashes = 0.0  # expected, of the challenges solved
        self.solving = Latencies()  # from a challenge to a pass, by when it was bought
        self.hashing = Latencies()  # from a challenge to its right answer, by when that was given
        self.longest_lockout = 0.0  # seconds in which one member asked and got nothing, the longest

    def __repr__(self) -> str:
        return f"<{self.kind}: asked {self.asked()}, served {self.served()}>"

    def ended(self, asked_at: float, now: float, served: bool, at_once: bool, visit: bool) -> None:
        """A want has ended; `visit`: it was not a part of a page."""
        second = int(asked_at // 1) - self.first_second
        self.asked_in[second] += 1
        self.visits_in[second] += visit
        self.visited_in[second] += visit and served
        if served:
            self.served_in[second] += 1
            self.at_once_in[second] += at_once
            self.latencies.add(now, now - asked_at)

    def has_all(self, asked_at: float, now: float) -> None:
        """All parts of a page are there."""
        self.whole_in[int(asked_at // 1) - self.first_second] += 1
        self.whole.add(now, now - asked_at)

    def locked_out(self, seconds: float) -> None:
        """Note that a member asked and got nothing for so long."""
        self.longest_lockout = max(self.longest_lockout, seconds)

    def asked(self, start: float = 0.0, end: float = inf) -> int:
        """Wants that began in [start, end), whole seconds."""
        return sum(self.asked_in[self._from(start) : self._to(end)])

    def served(self, start: float = 0.0, end: float = inf) -> int:
        """Of those, how many were served in time."""
        return sum(self.served_in[self._from(start) : self._to(end)])

    def share_between(self, start: float, end: float) -> float:
        """served / asked; NaN when nothing was asked."""
        asked = self.asked(start, end)
        return self.served(start, end) / asked if asked else nan

    def share_of_visits(self, start: float = 0.0, end: float = inf) -> float:
        """The same of visits alone. Who does not get a page does not ask for its parts, which flatters the others."""
        asked = sum(self.visits_in[self._from(start) : self._to(end)])
        return sum(self.visited_in[self._from(start) : self._to(end)]) / asked if asked else nan

    def share_of_whole(self, start: float = 0.0, end: float = inf) -> float:
        """The share of visits that had a page with all of its parts; NaN where pages have no parts."""
        asked = sum(self.visits_in[self._from(start) : self._to(end)])
        return sum(self.whole_in[self._from(start) : self._to(end)]) / asked if asked and self.pages else nan

    @property
    def share(self) -> float:
        """The share served during the story."""
        return self.share_between(0.0, inf)

    @property
    def share_at_once(self) -> float:
        """The share served at the first try and without a challenge."""
        asked = self.asked()
        return sum(self.at_once_in[self._from(0.0) :]) / asked if asked else nan

    def latency(self, q: float, start: float = 0.0, end: float = inf) -> float:
        """Quantile of the seconds from asking to having, all tries and challenges included, of what was served."""
        return self.latencies.quantile(q, start, end)

    def worst(self, width: int = 5, start: float = 0.0, end: float = inf, least: int = 20) -> tuple[float, float]:
        """(when, share): the `width` seconds with the smallest share, among those in which `least` things were asked
        for; (NaN, 1.0) when there are none."""
        found = (nan, 1.0)
        first, last = self._from(start), self._to(end)
        for at in range(first, last - width + 1):
            asked = sum(self.asked_in[at : at + width])
            if asked >= least:
                share = sum(self.served_in[at : at + width]) / asked
                if share < found[1]:
                    found = (float(at + self.first_second), share)
        return found

    def _from(self, start: float) -> int:
        return max(0, int(start) - self.first_second)

    def _to(self, end: float) -> int:
        return len(self.asked_in) if not isfinite(end) else max(0, int(end) - self.first_second)


@dataclass(slots=True, repr=False)
class Result:
    """The outcome of one run. Times in seconds of the story."""

    scene: Scene
    seed: int
    populations: dict[str, Tally]
    times: array[float] = field(default_factory=lambda: array("d"))  # of the samples in `series`
    series: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("d") for name in (*SERIES, *PRICING.values(), *MODEL)}
    )
    upstream: Latencies = field(default_factory=Latencies)  # seconds from sending to the answer, by when it came
    events: list[tuple[float, str, dict[str, Any]]] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)  # Engine.status() at the end, as in /api/status
    verify_hashes: int = 0  # hashes that Shield computed to check answers
    wall_seconds: float = 0.0  # that the run took

    def __repr__(self) -> str:
        return f"<Result of {self.scene.title!r}, seed {self.seed}>"

    def sample(self, at: float, status: PolicyStatus, models: Sequence[float]) -> None:
        """Keep the readings of a second: the engine's status, and those of `MODEL` in that order."""
        self.times.append(at)
        series = self.series
        for name in SERIES:
            series[name].append(float(getattr(status, name)))
        for name, kept_as in PRICING.items():
            series[kept_as].append(float(getattr(status.market, name)))
        for name, value in zip(MODEL, models, strict=True):
            series[name].append(value)

    def population(self, name: str) -> Tally:
        """What a population got."""
        return self.populations[name]

    def value(self, name: str, at: float) -> float:
        """A series at a time: the last sample before or at it."""
        return self.series[name][max(0, bisect_left(self.times, at + 1e-9) - 1)]

    def values(self, name: str, start: float = 0.0, end: float = inf) -> list[float]:
        """The samples of a series in [start, end)."""
        return list(self.series[name][bisect_left(self.times, start) : bisect_left(self.times, end)])

    def first(self, event: str, start: float = -inf) -> float:
        """When an event of this name first came at or after `start`; infinity when it never did."""
        return next((at for at, name, _ in self.events if name == event and at >= start), inf)

    def goodput(self, start: float, end: float) -> float:
        """Requests/s that the service answered well."""
        begun, ended = (self.value("good", at) for at in (start, end))
        return (ended - begun) / (end - start)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for --json."""
        return {
            "scene": self.scene.title,
            "seed": self.seed,
            "wall_seconds": round(self.wall_seconds, 3),
            "populations": {name: _plain(tally) for name, tally in self.populations.items()},
            "upstream": {f"p{q}": _number(self.upstream.quantile(q / 100)) for q in (50, 95, 99)},
            "verify_hashes": self.verify_hashes,
            "events": [{"at": round(at, 3), "event": name, **fields} for at, name, fields in self.events],
            "times": list(self.times),
            "series": {name: [_number(value) for value in values] for name, values in self.series.items()},
            "status": self.status,
        }


def _plain(tally: Tally) -> dict[str, Any]:
    return {
        "kind": tally.kind,
        "asked": tally.asked(),
        "served": tally.served(),
        "share": _number(tally.share),
        "share_of_visits": _number(tally.share_of_visits()),
        "share_of_whole": _number(tally.share_of_whole()),
        "share_at_once": _number(tally.share_at_once),
        **{f"p{q}": _number(tally.latency(q / 100)) for q in (50, 95, 99)},
        "tries": tally.tries,
        "forwarded": tally.forwarded,
        "lost": tally.lost,
        "challenged": tally.challenged,
        "solved": tally.solved,
        "hashes": tally.hashes,
        "solving_p95": _number(tally.solving.quantile(0.95)),
        "hashing_p95": _number(tally.hashing.quantile(0.95)),
        "answers": dict(tally.answers),
        "refusals": {reason.value: count for reason, count in tally.refusals.most_common()},
        "longest_lockout": tally.longest_lockout,
        "first_second": tally.first_second,
        "asked_in": list(tally.asked_in),
        "served_in": list(tally.served_in),
    }


def _number(value: float) -> float | None:
    return round(value, 6) if isfinite(value) else None
