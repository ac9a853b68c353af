"""Onset and end of an attack.

The onset is the first of two: p above `threshold`, or an alarm of the CUSUM (cusum.py) while the demand is of any
weight. The alarm limits nobody: it only freezes the history early. The attack ends when p has been below the threshold
for `calm_after`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from shield.policy.pressure.cusum import Cusum
from shield.policy.pressure.demand import MOST_RATE
from shield.policy.pressure.settings import PressureSettings
from shield.policy.rows import number, text


@dataclass(frozen=True, slots=True)
class Attack:
    """The attack that is on, or the last one."""

    on: bool = False
    since: float = 0.0  # monotonic seconds
    until: float = 0.0  # when p was last not below the threshold; the calm that ends an attack is not counted
    cause: str = ""  # demand, a sign of overload, rate, or that the operator holds the pressure
    peak: float = 0.0  # p
    peak_rate: float = 0.0  # requests/s


PEACE: Final = Attack()


class Onset:
    """Watches for the onset of an attack, and then for its end."""

    __slots__ = ("_below_since", "_cusum", "_settings", "attack")

    def __init__(self, settings: PressureSettings) -> None:
        self._settings = settings
        self._cusum = Cusum(settings)
        self._below_since = 0.0  # monotonic seconds
        self.attack = PEACE

    def read(self, p: float, reason: str, rate: float, weighs: bool, now: float, seconds: float) -> Attack:
        """The attack after a window that ends now. `reason`: what moves p; `rate`: requests/s, 0 until the first;
        `weighs`: so much is asked for that a rise may be an attack."""
        settings, attack = self._settings, self.attack
        if rate:
            self._cusum.start(now)
        if p >= settings.threshold:
            self._below_since = now
        if attack.on:
            over = now - self._below_since >= settings.calm_after
            if over:
                self._cusum.restart(rate)
            peak, peak_rate = max(attack.peak, p), max(attack.peak_rate, rate)
            self.attack = replace(attack, on=not over, until=self._below_since, peak=peak, peak_rate=peak_rate)
        elif p > settings.threshold:
            self._begin(reason, p, rate, now)
        elif self._cusum.step(rate, now, seconds) and weighs:
            self._begin("rate", p, rate, now)
        return self.attack

    def row(self, shift: float) -> list[Any]:
        """The attack as a plain row, and the usual rate. `shift`: from our clock to that of the row."""
        attack = self.attack
        times = (attack.since + shift, attack.until + shift)
        return [attack.on, *times, attack.cause, attack.peak, attack.peak_rate, self._cusum.usual]

    def restore(self, row: list[Any], shift: float, now: float) -> None:
        """Take such a row from before a restart. ValueError when it makes no sense."""
        on, since, until, cause, peak, peak_rate, usual = row
        begun, ended = number(since) - shift, number(until) - shift
        usual = number(usual, 0.0, MOST_RATE)
        if on is True:
            begun = min(begun, now)
            p, rate = number(peak, 0.0, 1.0), number(peak_rate, 0.0, MOST_RATE)
            self.attack = Attack(True, begun, min(max(ended, begun), now), text(cause), p, rate)
            self._below_since = now
        self._cusum.restart(usual)

    def adopt(self, attack: Attack) -> None:
        """Go by what another worker knows of the attack: the calm that ends it is counted from when that says."""
        self.attack = attack
        self._below_since = attack.until

    def _begin(self, cause: str, p: float, rate: float, now: float) -> None:
        self._below_since = now
        self.attack = Attack(True, now, now, cause, p, rate)
