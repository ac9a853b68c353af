"""Clients that hang up 5 ms after they have asked, before a service that works for them all the same."""

from __future__ import annotations

from shield.simulate.scene import parse
from shield.simulate.world import run

SCENE = """
title = "Everybody hangs up"
seconds = 30
calm = 60
[config.upstream]
max_concurrency = 0
[service]                       # 200 requests/s
slots = 4
time = 0.02
[populations.users]
kind = "people"
members = 200
rate = 5
parts = 4
past = { windows = 20, units = 200 }
[populations.leavers]
kind = "attackers"
members = 40
rate = 400
leaves = 0.005
from = 0
"""


def test_who_hangs_up_does_not_flood_the_service() -> None:
    """Users had a p95 of 1.5 s: no slot was held for what the service worked on."""
    result = run(parse(SCENE), 1)
    users = result.population("users")
    assert users.share == 1.0
    assert users.challenged == 0
    assert users.latency(0.95, 5, 30) <= 0.3
    assert max(result.values("concurrency", 0, 30)) <= 30, "the limit rose to 73 for them"
