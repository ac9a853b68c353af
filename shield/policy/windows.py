"""The windows: every half second what happened is read, and every part of the policy goes by what comes of it.

concurrency   reads the upstream times, and sets the limit
pressure      reads a frozen picture of the window, and says what the weather is
the others    are told: the queue its order, the judge how strict to be, the passes their rate, pricing its price,
              the history whether to freeze, the standouts whether to look
"""

from __future__ import annotations

from typing import Any, Final

from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.concurrency.reading import Reading
from shield.policy.history import History
from shield.policy.judge import Judge
from shield.policy.notes import Notes
from shield.policy.passes import Passes
from shield.policy.pressure.demand import MOST_RATE
from shield.policy.pressure.pressure import Pressure
from shield.policy.pressure.weather import Weather
from shield.policy.pressure.window import OwnLoad, Tally, Window
from shield.policy.pricing.pricing import Pricing
from shield.policy.queue.queue import Queue
from shield.policy.rows import number
from shield.policy.settings import EngineSettings
from shield.policy.standouts import Standouts

EARLY: Final = 0.01  # seconds that a window may end too early: the timer that ticks is not exact


class Windows:
    """Closes one window after the other. Has an attribute for each part that it tells, and so more than most."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        tally: Tally,
        concurrency: Concurrency,
        pressure: Pressure,
        queue: Queue,
        judge: Judge,
        passes: Passes,
        history: History,
        pricing: Pricing,
        standouts: Standouts,
        notes: Notes,
    ) -> None:
        self._seconds = settings.pressure.window
        self._challenge = settings.challenge
        self._most_bought_burst = settings.limits.pass_.burst
        self._tally = tally
        self._concurrency = concurrency
        self._pressure = pressure
        self._queue = queue
        self._judge = judge
        self._passes = passes
        self._history = history
        self._pricing = pricing
        self._standouts = standouts
        self._notes = notes
        self._began: float | None = None
        self._requests_before = 0  # until it began

    @property
    def weather(self) -> Weather:
        """What the last window made of the pressure."""
        return self._pressure.weather

    def weather_row(self, shift: float) -> list[Any]:
        """The pressure as a plain row, and from where newcomers come. `shift`: from our clock to that of the row."""
        return [self._pressure.row(shift), *self._history.newcomers]

    def restore(self, row: list[Any], shift: float, now: float) -> bool:
        """Take such a row from before a restart, and have everybody go by it. ValueError when it makes no sense."""
        pressure, newcomers, known = row
        newcomers = number(newcomers, 0.0, MOST_RATE)
        known = number(known, 0.0, newcomers)
        self._pressure.restore(pressure, shift, now)
        self._history.newcomers = newcomers, known
        weather = self.weather
        self._history.freeze(weather.attack.on)
        left = self._pricing.left(weather.capacity, weather.known_demand)
        self._judge.close_window(weather, self._share_out(left, weather, now), now)
        return True

    def hold(self, p: float | None) -> None:
        """Have the pressure be p, whatever is measured; None: as it is measured."""
        self._pressure.hold(p)

    def due(self, now: float) -> float:
        """Seconds that the window has lasted, when that is enough to close it; else 0. The first call opens one."""
        if self._began is None:
            self._began = now
        seconds = now - self._began
        return seconds if seconds > self._seconds - EARLY else 0.0

    def close(self, now: float, seconds: float, requests: int, completed: float, shed: int, own: OwnLoad) -> None:
        """Close the window, and open the next.

        `requests`: decided since Shield began; `completed`: units; `shed`: requests that the queue turned away; `own`:
        what Shield itself had to carry.
        """
        self._began = now
        before = self.weather
        service = self._concurrency.close_window(seconds, not before.attack.on, now)
        window = Window(
            now=now,
            seconds=seconds,
            requests=requests - self._requests_before,
            asked=self._tally.close(),
            completed=completed,
            shed=shed,
            oldest_wait=self._queue.oldest_wait(now),
            own=own,
            service=service,
        )
        self._requests_before = requests
        weather = self._pressure.close_window(window)
        self._note(before, weather, now)
        if weather.attack.on != before.attack.on:
            self._standouts.clear()
        self._tell(weather, service, seconds, now)

    def _tell(self, weather: Weather, service: Reading, seconds: float, now: float) -> None:
        """Let everybody go by the weather."""
        self._standouts.close_window(seconds, weather.pressed, weather.capacity)
        self._history.freeze(weather.attack.on or weather.overload.crowded)
        kept = self._pricing.kept(weather.capacity, weather.known_demand) if weather.pressed else 0.0
        self._queue.close_window(service.limit, weather.high, weather.brownout, kept, now)
        left = self._pricing.left(weather.capacity, weather.known_demand)
        factor = self._share_out(left, weather, now)
        taken = self._judge.close_window(weather, factor, now)
        if weather.attack.on:
            for_sale = self._pricing.left(weather.shown, weather.known_demand)
            self._pricing.read(for_sale, taken, seconds, self._history.usual_share(), now)
        else:
            self._pricing.rest(seconds, now)

    def _share_out(self, left: float, weather: Weather, now: float) -> float:
        """Share the units/s that the known leave among the bought passes; the factor on the rate of each."""
        settings = self._challenge
        share = left / max(self._passes.bought, 1)
        factor = min(max(share, settings.least_bought_rate), settings.bought_rate) / settings.bought_rate
        burst = max(min(share * settings.bought_ahead, self._most_bought_burst), settings.bought_burst)
        self._passes.close_window(weather.attack.on, weather.pressed, factor, burst, now)
        return factor

    def _note(self, before: Weather, weather: Weather, now: float) -> None:
        """Say what has just begun or ended."""
        attack, signs = weather.attack, list(weather.overload.signs)
        common = {"demand": round(weather.demand, 1), "capacity": round(weather.capacity, 1)}
        said = {"cause": attack.cause, "pressure": round(weather.p, 3), **common}
        if attack.on > before.attack.on:
            rate = round(weather.rate, 1)
            self._notes.add_turning_point("attack_onset", **said, overload=signs, requests_per_second=rate)
        elif attack.on < before.attack.on:
            self._notes.add_turning_point(
                "attack_end",
                **said,
                seconds=round(attack.until - attack.since, 1),
                peak_pressure=round(attack.peak, 3),
                peak_requests_per_second=round(attack.peak_rate, 1),
            )
        if weather.brownout > before.brownout:
            # Newcomers are let in again, because it is the service that is ill.
            self._notes.add_turning_point("brownout", overload=signs, **common, served=round(weather.served, 1))
