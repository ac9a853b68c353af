"""The windows: every half second what happened is read, and every part of the policy goes by what comes of it.

concurrency   reads the upstream times, and sets the limit
pressure      reads a frozen picture of the window, and says what the weather is
the others    are told: the queue its order, the judge how strict to be, the passes their rate, pricing its price,
              the history whether to freeze, the standouts whether to look
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from shield.policy.board.report import NOTHING, Counted, both
from shield.policy.clients import Clients
from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.concurrency.reading import Reading
from shield.policy.history import History
from shield.policy.judges import Judges
from shield.policy.notes import Notes
from shield.policy.passes import Passes
from shield.policy.pressure.demand import MOST_RATE
from shield.policy.pressure.pressure import Pressure
from shield.policy.pressure.weather import Weather, read, row_of
from shield.policy.pressure.window import OwnLoad, Tally, Window
from shield.policy.pricing.pricing import Pricing
from shield.policy.queue.queue import Queue
from shield.policy.rows import number
from shield.policy.settings import EngineSettings
from shield.policy.standouts import Standouts

EARLY: Final = 0.01  # seconds that a window may end too early: the timer that ticks is not exact


class Windows:
    """Closes one window after the other. It has more than 15 attributes because each part that it tells is one."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        tally: Tally,
        concurrency: Concurrency,
        pressure: Pressure,
        queue: Queue,
        judges: Judges,
        passes: Passes,
        history: History,
        pricing: Pricing,
        standouts: Standouts,
        notes: Notes,
        clients: Clients,
        site: str,
    ) -> None:
        self._clients = clients
        self._site = site
        self._seconds = settings.pressure.window
        self._used = settings.pressure.used
        self._challenge = settings.challenge
        self._most_bought_burst = settings.limits.pass_.burst
        self._tally = tally
        self._concurrency = concurrency
        self._pressure = pressure
        self._queue = queue
        self._judges = judges
        self._passes = passes
        self._history = history
        self._pricing = pricing
        self._standouts = standouts
        self._notes = notes
        self._began: float | None = None
        self._requests_before = 0  # until it began
        self._reading = Reading()  # of the one closed last

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
        self._guard(weather)
        self._share_out(self._pricing.for_bought(weather.capacity, weather.known_demand), weather, now)
        return True

    def hold(self, p: float | None) -> None:
        """Have the pressure be p, whatever is measured; None: as it is measured."""
        self._pressure.hold(p)

    def due(self, now: float, seconds: float = 0.0) -> float:
        """Seconds that the window has lasted, when that is enough to close it; else 0. The first call opens one.
        `seconds`: that are enough, instead of a whole window."""
        if self._began is None:
            self._began = now
        lasted = now - self._began
        return lasted if lasted > (seconds or self._seconds) - EARLY else 0.0

    def count(self, now: float, requests: int, completed: tuple[float, float], shed: int, own: OwnLoad) -> Counted:
        """What happened since the last call; another window begins.

        `requests`: decided since Shield began; `completed`: units, and what they are in calm weather; `shed`: requests
        that the queue turned away; `own`: what Shield itself had to carry.
        """
        self._began = now
        counted = Counted(
            requests=requests - self._requests_before,
            asked=self._tally.close(),
            completed=completed[0],
            usual_cost=completed[1],
            shed=shed,
            bought=self._judges.take_bought(),
            oldest_wait=self._queue.oldest_wait(now),
            own=own,
            newcomers=self._history.newcomers,
            parts=self._queue.parts(),
        )
        self._requests_before = requests
        return counted

    def report(self, counted: Counted) -> Counted:
        """What was counted, with those who solved challenges, for the worker that leads."""
        return replace(counted, solves=self._pricing.solves_here())

    def retell(self, counted: Counted) -> Counted:
        """The same as `report`, for other machines: those who solved challenges count here as well."""
        solves = self._pricing.solves_here()
        self._pricing.solved_elsewhere(solves)
        return replace(counted, solves=solves)

    def close(
        self, now: float, seconds: float, here: Counted, elsewhere: Counted = NOTHING, places_elsewhere: int = 0
    ) -> None:
        """Close the window. `here`: what was counted; `elsewhere`: by other workers and machines, of which these have
        so many places at the service."""
        counted = here if elsewhere is NOTHING else both(here, elsewhere)
        before = self.weather
        service = self._concurrency.close_window(seconds, not before.attack.on, now)
        window = Window(
            now=now,
            seconds=seconds,
            requests=counted.requests,
            asked=counted.asked,
            completed=counted.completed,
            usual_cost=counted.usual_cost,
            shed=counted.shed,
            oldest_wait=counted.oldest_wait,
            own=counted.own,
            service=replace(service, limit=service.limit + places_elsewhere) if places_elsewhere else service,
        )
        weather = self._pressure.close_window(window)
        self._note(before, weather, now)
        if weather.attack.on != before.attack.on:
            self._standouts.clear()
        kept, left = self._left(weather)
        self._tell(weather, service, kept, seconds, now)
        self._share_out(left, weather, now)
        self._pricing.solved_elsewhere(elsewhere.solves)
        if weather.attack.on:
            for_sale = self._pricing.for_bought(weather.shown, weather.known_demand)
            usual = self._history.usual_share(elsewhere.newcomers)
            behind = self._queue.behind(counted.parts)
            self._pricing.read(for_sale, counted.bought, seconds, usual, now, behind)
        else:
            self._pricing.rest(seconds, now)
        self._reading = service

    def orders(self) -> list[Any]:
        """What the window that was closed made of everything, as a plain row for workers that follow: and what they
        need to go on from there."""
        passes = self._passes
        return [
            row_of(self.weather),
            self._pressure.row(0.0),
            self._concurrency.orders(self._reading),
            self._pricing.orders(),
            [passes.factor, passes.burst],
        ]

    def follow(self, row: list[Any], seconds: float, now: float) -> None:
        """Go by such a row, `seconds` after the one before. ValueError when it makes no sense."""
        weather, pressure, service, pricing, (factor, burst) = row
        before, weather = self.weather, read(weather)
        factor, burst = number(factor, 0.0, 1.0), number(burst, 0.0, MOST_RATE)
        self._pressure.adopt(weather, pressure, now)
        reading = self._concurrency.follow(service)
        self._pricing.follow(pricing, seconds, now)
        if weather.attack.on != before.attack.on:
            self._standouts.clear()
        self._tell(weather, reading, self._left(weather)[0], seconds, now)
        self._go_by(weather, factor, burst, now)

    def _left(self, weather: Weather) -> tuple[float, float]:
        """Units/s that are kept for bought passes, and those that the known leave."""
        kept = self._pricing.kept(weather.capacity, weather.known_demand) if weather.pressed else 0.0
        return kept, self._pricing.for_bought(weather.capacity, weather.known_demand)

    def _tell(self, weather: Weather, service: Reading, kept: float, seconds: float, now: float) -> None:
        """Let the others go by the weather: of what is for the whole service, by this worker's part."""
        part = self._concurrency.slots.part
        self._standouts.close_window(seconds, weather.pressed, weather.capacity * part)
        self._guard(weather)
        self._queue.close_window(service.limit, weather.high, weather.brownout, kept * part, now)
        self._queue.known_fit = weather.known_demand < self._used * weather.capacity

    def _guard(self, weather: Weather) -> None:
        """Let nobody gain elsewhere, in calm weather, what would help here."""
        frozen = weather.attack.on or weather.overload.crowded
        self._history.freeze(frozen, self._site)
        self._clients.alarm(self._site, frozen or weather.pressed)

    def _share_out(self, left: float, weather: Weather, now: float) -> None:
        """Share the units/s that the known leave among the bought passes."""
        settings = self._challenge
        share = left / max(self._passes.bought, 1)
        factor = min(max(share, settings.least_bought_rate), settings.bought_rate) / settings.bought_rate
        burst = max(min(share * settings.bought_ahead, self._most_bought_burst), settings.bought_burst)
        self._go_by(weather, factor, burst, now)

    def _go_by(self, weather: Weather, factor: float, burst: float, now: float) -> None:
        """Let passes and judge go by the weather. `factor`: on the rate of each bought pass; `burst` in units."""
        self._passes.close_window(weather.attack.on, weather.pressed, factor, burst, now)
        self._judges.close_window(weather, factor, now)

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
