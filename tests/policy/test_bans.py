"""The bans in force, as an operator reads them."""

from __future__ import annotations

from shield.model import Signal
from tests.policy.conftest import World


def test_bans_of_clients_and_addresses_are_listed_while_they_last(world: World) -> None:
    client, calm = world.client("192.0.2.1"), world.client("192.0.2.2")
    world.visit(calm)
    for i in range(6):
        world.engine.report(client, Signal.MALFORMED, world.now)
        world.engine.report("198.51.100.1", Signal.MALFORMED, world.now + i * 0.01)
    found = [ban for ban in world.engine.bans(world.now) if ban is not None]
    assert {(ban.address, ban.client) for ban in found} == {("192.0.2.1", client.key.hex()), ("198.51.100.1", "")}
    said = next(ban.plain(1000.0) for ban in found if ban.client)
    assert said == {
        "address": "192.0.2.1",
        "client": client.key.hex(),
        "until": round(client.entry.banned_until + 1000.0, 3),
        "relapses": 1,
        "score": 18.0,
    }
    world.pass_time(61)
    assert [ban for ban in world.engine.bans(world.now) if ban is not None] == []
