"""Windows made by hand, and what the pressure makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.pressure.pressure import Pressure
from shield.policy.pressure.settings import PressureSettings
from shield.policy.pressure.window import IDLE, RANKS, Asked, OwnLoad, Window

START: Final = 777_777.7
SECONDS: Final = 0.5


class Skies:
    """A service of so many slots with a fixed limit, one window after the other. `seen`: the weather of the last."""

    def __init__(self, limit: int = 100, **settings: Any) -> None:
        self.concurrency = Concurrency(ConcurrencySettings(adaptive=False), limit)
        self.pressure = Pressure(PressureSettings(**settings), limit)
        self.seen = self.pressure.weather
        self.now = START

    def window(
        self,
        requests: float = 0.0,
        units: float = 0.0,
        *,
        completed: float = 0.0,
        top: float = 0.0,
        ranks: Mapping[int, float] | None = None,
        ratio: float = 0.0,
        errors: int = 0,
        saturated: bool = False,
        shed: int = 0,
        oldest_wait: float = 0.0,
        came: float = 0.0,
        usual_cost: float | None = None,
        own: OwnLoad = IDLE,
    ) -> float:
        """One window, at so many requests and units a second; p after it.

        `came`: newcomers/s. `usual_cost`: units/s that are completed, as they cost in calm weather; None: the same.
        `ratio`: x of 40 responses, 0 for none.
        """
        self.now += SECONDS
        for i in range(40 if ratio else 0):
            self.concurrency.sample(bytes([i]), 0.1 * ratio, 0.1, i < errors, 1)
        self.concurrency.slots.saturated = saturated
        service = self.concurrency.close_window(SECONDS, not self.seen.attack.on, self.now)
        asked = Asked(
            units=units * SECONDS,
            top=top * SECONDS,
            came=int(came * SECONDS),
            ranks=tuple((ranks or {}).get(rank, 0.0) * SECONDS for rank in range(RANKS)),
        )
        self.seen = self.pressure.close_window(
            Window(
                now=self.now,
                seconds=SECONDS,
                requests=int(requests * SECONDS),
                asked=asked,
                completed=completed * SECONDS,
                usual_cost=(completed if usual_cost is None else usual_cost) * SECONDS,
                shed=shed,
                oldest_wait=oldest_wait,
                own=own,
                service=service,
            )
        )
        return self.seen.p
