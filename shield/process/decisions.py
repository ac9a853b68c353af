"""The policy's decisions of note, on their way into the log."""

from __future__ import annotations

from typing import Any

from shield.operator.attack_report import AttackReport
from shield.operator.log import AccessLog
from shield.operator.metrics import Metrics
from shield.operator.story import OF_CLIENTS
from shield.policy.engine import Engine


class Decisions:
    """Logs the decisions after each tick of the policy. While an attack lasts, a line sums it up now and then. `site`
    is the name of the site that they are about, empty where there is one."""

    __slots__ = ("_attack", "_engine", "_log", "_metrics", "_report", "_said")

    def __init__(self, engine: Engine, metrics: Metrics, log: AccessLog, site: str = "") -> None:
        self._said: dict[str, Any] = {"site": site} if site else {}
        self._engine = engine
        self._metrics = metrics
        self._log = log
        self._attack = False
        self._report: AttackReport | None = None

    def tell(self, now: float) -> None:
        """Log what has been decided since the last call."""
        engine, verdicts = self._engine, self._metrics.verdicts
        attack = engine.attack
        if attack != self._attack:
            self._attack = attack
            self._report = AttackReport(now, engine.status(now), verdicts) if attack else None
        elif self._report is not None and self._report.due(now):
            self._log.event("attack", **self._said, **self._report.take(now, engine.status(now), verdicts))
        for name, fields in engine.events():
            self._log.event(name, **fields if name in OF_CLIENTS else self._said | fields)
