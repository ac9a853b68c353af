"""Who goes first within a tier."""

from __future__ import annotations

from typing import Any

from shield.model import Tier
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.history import Record
from shield.policy.limits.settings import LimitsSettings

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
FLAT = LimitsSettings(costs={"/": 1.0})


def known(world: Any, client: Any, units: float = 10.0) -> Any:
    client.entry.record = world.engine._history.remember(
        Record(client.key, client.home, client.network, world.now - 999, world.now, 2, units)
    )
    return client


def test_of_bought_passes_the_one_that_has_taken_least_goes_first(make: Any) -> None:
    world = make(challenge=CHEAP, limits=FLAT)
    world.storm()
    clients = [world.client(f"198.18.{i}.1") for i in range(20)]
    tokens = [world.buy(client)[1] for client in clients]
    often, *others = (world.visit(client, shown=token) for client, token in zip(clients, tokens, strict=True))
    for _ in range(6):
        often = world.visit(clients[0], shown=tokens[0])
    assert often.tier is Tier.T2
    ranks = [world.engine._admission._ranks.of(request, world.now) for request in others]
    assert world.engine._admission._ranks.of(often, world.now) < min(ranks), "seven units, not one"
    assert len(set(ranks)) == 19, "equals by lot"
    assert all(-1.0 <= rank < 0.0 for rank in ranks)
