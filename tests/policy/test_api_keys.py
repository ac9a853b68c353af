"""Programs that the operator knows."""

from __future__ import annotations

import hashlib
from typing import Any

from shield.model import Action, Reason, Tier
from shield.policy.identity import IdentitySettings


def test_an_api_key_is_a_subject_of_its_own_wherever_it_is_used(make: Any, says: Any) -> None:
    digest = hashlib.sha256(b"sesame").hexdigest()
    world = make(identity=IdentitySettings(api_key_header="X-Api-Key", api_keys=(digest,)))
    world.storm(0.9)
    for i in range(300):
        request = world.ask(world.client(f"10.{i // 100}.{i % 100}.1"), headers={"X-Api-Key": "sesame"})
        assert says(request) == (Action.FORWARD, Reason.API_KEY)
        assert request.tier is Tier.T0
        world.end(request, rtt=0.010)
    assert says(world.ask(world.client("10.200.1.1"), headers={"X-Api-Key": "sesame"})) == (
        Action.LIMIT,
        Reason.PASS_RATE,
    )
    assert says(world.ask(world.client("10.200.1.1"), headers={"X-Api-Key": "\udcffwrong"}))[0] is Action.CHALLENGE
    assert says(world.ask(world.client("10.1.1.1")))[0] is Action.CHALLENGE
