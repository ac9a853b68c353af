"""What comes of all parts together."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action
from shield.policy.pressure.weather import Weather
from tests.policy.pressure.skies import Skies


@pytest.mark.untraced
@pytest.mark.parametrize(("rate", "concurrency"), [(0.5, 4), (5, 4), (0.5, 100), (5, 100), (50, 100)])
def test_a_calm_site_with_noisy_times_never_shows_pressure(make: Any, rate: float, concurrency: int) -> None:
    """Lognormal times, one in twenty ten times as slow, a handful of visitors, for a quarter of an hour or more."""
    world = make(concurrency, seed=int(rate * 10))
    rng = world.random
    visitors = [world.client(f"192.0.{i // 250}.{i % 250}") for i in range(10 + int(10 * rate))]
    busy: list[tuple[float, Any, float]] = []
    end = world.now + max(900, 500 / rate)
    tick = world.now
    while world.now < end:
        world.now += rng.expovariate(rate)
        for done in sorted(item for item in busy if item[0] <= world.now):
            busy.remove(done)
            world.end(done[1], rtt=done[2])
        while tick < world.now:
            tick += 0.5
            world.engine.tick(tick)
            assert world.engine.pressure == 0.0
        request = world.ask(rng.choice(visitors), f"/page/{rng.randrange(50)}")
        if request.verdict.action is Action.QUEUE:
            world.engine.cancel(request, world.now)
            continue
        assert request.verdict.action is Action.FORWARD
        rtt = 0.030 * rng.lognormvariate(0, 0.6) * (10 if rng.random() < 0.05 else 1)
        busy.append((world.now + rtt, request, rtt))
    assert not world.engine.attack


def test_an_operator_bounds_how_strict_shield_may_become() -> None:
    def stormy(**settings: Any) -> Weather:
        weather = Skies(**settings)
        for _ in range(40):
            weather.window(2000, 40_000)
        return weather.seen

    bounded = stormy(max_pressure=0.3)
    assert bounded.p > 0.9
    assert bounded.strictness == 0.3
    assert bounded.pressed
    never = stormy(max_pressure=0.05)
    assert not never.pressed
    assert never.attack.on  # the history is frozen all the same
    free = stormy()
    assert free.strictness == free.p
