"""While Shield's own core is full, strangers are read after all others."""

from __future__ import annotations

import pytest

from shield.model import Action, Reason, Tier, Verdict
from shield.wire.sideline import POSSIBLE
from tests.harness import LIMITED, get, shielded, soon

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="there is no epoll")
BANNED = Verdict(Reason.CLIENT_BANNED, 60)


@pytest.mark.parametrize(
    ("tier", "aside"), [(Tier.T0, False), (Tier.T1, False), (Tier.T2, False), (Tier.T3, True), (Tier.T4, True)]
)
async def test_strangers_stand_aside_and_are_served(tier: Tier, aside: bool) -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.tiers["/"] = tier
        shield.serving.sideline.open = True
        for _ in range(3):
            await client.send(get("/"))
            await client.until(b"GET /")
            assert len(shield.serving.sideline) == aside
        assert (shield.serving.sideline.known_at > 0) is not aside


async def test_one_that_becomes_known_is_read_with_the_others_again() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        sideline = shield.serving.sideline
        sideline.open = True
        for tier, aside in ((Tier.T3, 1), (Tier.T2, 0), (Tier.T4, 1), (Tier.T1, 0)):
            shield.engine.tiers["/"] = tier
            await client.send(get("/"))
            await client.until(b"GET /")
            assert len(sideline) == aside


async def test_who_is_banned_stands_aside_whatever_its_tier() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.serving.sideline.open = True
        shield.engine.verdicts["/"] = BANNED
        shield.engine.tiers["/"] = Tier.T0
        assert BANNED.action is Action.BAN
        await client.send(get("/"))
        await client.until(b"403")
        assert len(shield.serving.sideline) == 1


async def test_in_calm_weather_nobody_does() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.tiers["/"] = Tier.T3
        await client.send(get("/"))
        await client.until(b"GET /")
        assert not len(shield.serving.sideline)


async def test_when_the_core_has_room_again_they_come_back() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        sideline = shield.serving.sideline
        shield.engine.tiers["/"] = Tier.T3
        sideline.open = True
        await client.send(get("/"))
        await client.until(b"GET /")
        sideline.open = False
        await client.send(get("/"))
        await client.until(b"GET /")
        assert not len(sideline)


async def test_one_that_rests_and_one_that_leaves_are_off_the_sideline() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        sideline, resting = shield.serving.sideline, shield.serving.resting
        shield.engine.verdicts["/"] = LIMITED
        sideline.open, resting.seconds = True, 0.1
        await client.send(get("/"))
        await soon(lambda: len(resting) == 1)
        assert not len(sideline)
        resting.sweep(shield.clock() + 1.0)
        assert len(sideline) == 1
        (connection,) = shield.accepted
        connection.cut()
        await soon(lambda: not shield.connections)
        assert not len(sideline)


async def test_while_no_slot_is_free_they_are_not_read_unless_there_is_pressure() -> None:
    """They would wait in the queue, and be refused after two seconds, though the service is idle."""
    async with shielded() as (shield, _), await shield.client() as client, await shield.client() as other:
        engine = shield.engine
        engine.tiers["/"], engine.tiers["/known"] = Tier.T3, Tier.T1
        engine.deserving.add("127.0.0.1")  # or the other connection, which is new, would wait as well
        shield.serving.sideline.notice(1.0)
        await client.send(get("/"))
        await client.until(b"GET /")
        engine.full = True
        before = len(engine.decided)
        await client.send(get("/"))
        await other.send(get("/known"))
        await other.until(b"GET /known")
        await soon(lambda: engine.awaited == [1])
        assert len(engine.decided) == before + 1, "who is known is read"
        engine.pressed = True
        shield.serving.forwarder.turns.now()
        await client.until(b"GET /")
        assert engine.awaited == [1, 0]


@pytest.mark.parametrize("known", [False, True])
async def test_new_connections_of_strangers_are_not_read_either(known: bool) -> None:
    async with shielded() as (shield, _):
        engine = shield.engine
        engine.deserving.update({"127.0.0.1"} if known else ())
        shield.serving.sideline.notice(1.0)
        engine.full = True
        async with await shield.client() as client:
            await client.send(get("/"))
            if not known:
                await soon(lambda: len(shield.serving.sideline) == 1)
                assert not engine.decided
                engine.full = False
                shield.serving.forwarder.turns.now()
            await client.until(b"GET /")


async def test_a_connection_that_is_reset_on_the_sideline_is_closed() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.tiers["/"] = Tier.T3
        shield.serving.sideline.open = True
        await client.send(get("/"))
        await client.until(b"GET /")
        assert len(shield.serving.sideline) == 1
        client.reset()
        await soon(lambda: not shield.connections)
        assert not len(shield.serving.sideline)
