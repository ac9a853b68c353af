"""What the operator reads in the log while an attack lasts: every ten seconds one line that sums up.

The lines of single requests are samples then (log.py); this one is complete, and its length is bounded: by the pairs
of action and reason, by TOP, and by what policy/standouts.py names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shield.operator.status import plain
from shield.policy.status import PolicyStatus

REPORT_SECONDS: Final = 10.0
"""Six lines a minute: often enough to see whether a measure helps."""
TOP: Final = 3
"""Routes that are named."""

Verdicts = Mapping[str, Mapping[str, int]]
"""Requests so far, by action and reason, as in Metrics."""


class AttackReport:
    """Sums up one attack. Make it at the onset, at `now` (monotonic seconds), and ask it now and then until the end."""

    __slots__ = ("_next", "_routes", "_verdicts")

    def __init__(self, now: float, status: PolicyStatus, verdicts: Verdicts) -> None:
        self._begin(now, status, verdicts)

    def due(self, now: float) -> bool:
        return now >= self._next

    def take(self, now: float, status: PolicyStatus, verdicts: Verdicts) -> dict[str, Any]:
        """The fields of the line: the state now, and what has happened since the last one."""
        fields = {
            "pressure": round(status.pressure, 3),
            "demand": round(status.demand, 1),
            "capacity": round(status.capacity, 1),
            "in_flight": status.in_flight,
            "limit": status.concurrency,
            "waiting": status.waiting,
            "requests": self._since(verdicts),
            "routes": self._busiest(status),
            "would": {what: would for what, would in plain(status.would).items() if would["visitors"]},
            "stands_out": {what: found for what, found in plain(status.hitters).items() if found},
        }
        self._begin(now, status, verdicts)
        return fields

    def _begin(self, now: float, status: PolicyStatus, verdicts: Verdicts) -> None:
        self._next = now + REPORT_SECONDS
        self._routes = {route.route: route.requests for route in status.routes}
        self._verdicts = {action: dict(reasons) for action, reasons in verdicts.items()}

    def _since(self, verdicts: Verdicts) -> dict[str, dict[str, int]]:
        requests: dict[str, dict[str, int]] = {}
        for action, reasons in verdicts.items():
            for reason, count in reasons.items():
                if more := count - self._verdicts.get(action, {}).get(reason, 0):
                    requests.setdefault(action, {})[reason] = more
        return requests

    def _busiest(self, status: PolicyStatus) -> dict[str, int]:
        """The routes asked for most since the last line, with the number of requests.

        The engine names only its most counted routes. One that was not among them had at most the least of their
        counts, so what is said of it is too low, if anything; while there were fewer than now, it had none.
        """
        least = min(self._routes.values(), default=0) if len(self._routes) >= len(status.routes) else 0
        counts = {route.route: route.requests for route in status.routes}
        more = {template: count - self._routes.get(template, least) for template, count in counts.items()}
        return {template: more[template] for template in sorted(more, key=lambda t: -more[t])[:TOP] if more[template]}
