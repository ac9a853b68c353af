"""Who is refused while Shield's own core is full is not read for a moment."""

from __future__ import annotations

import pytest

from shield.client.resting import LEAST, MOST, Resting
from shield.model import Tier
from tests.harness import CHALLENGED, LIMITED, QUEUED, SHED, get, shielded, soon

FULL, ROOM = (0.05, 1.0), (0.001, 1.0)


class Guest:
    def __init__(self) -> None:
        self.reads = False

    def rested(self) -> None:
        self.reads = True


def test_nobody_rests_while_there_is_room() -> None:
    resting = Resting()
    for load in (ROOM, (0.05, 0.5), (0.0, 0.0)):
        resting.read(*load)
        assert resting.seconds == 0.0


def test_the_rest_doubles_while_the_core_is_full_and_fades_after_that() -> None:
    resting = Resting()
    seen = []
    for load in [FULL] * 5 + [ROOM] * 40:
        resting.read(*load)
        seen.append(resting.seconds)
    assert seen[:5] == [LEAST, 2 * LEAST, 4 * LEAST, 8 * LEAST, MOST]
    assert seen[5] < MOST
    assert seen[-1] == 0.0


def test_each_is_read_when_its_time_has_come() -> None:
    resting, guests = Resting(), [Guest(), Guest()]
    resting.read(*FULL)
    resting.rest(guests[0], 1000.0)
    resting.rest(guests[1], 1000.05)
    assert repr(resting) == "<Resting 2 for 0.10 s>"
    for now, reading in ((1000.09, [False, False]), (1000.11, [True, False]), (1000.2, [True, True])):
        resting.sweep(now)
        assert [guest.reads for guest in guests] == reading
    assert not resting


@pytest.mark.parametrize("verdict", [LIMITED, CHALLENGED, SHED])
async def test_a_stranger_that_asks_again_at_once_waits_in_the_kernel(verdict: object) -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        shield.engine.verdicts["/refused"] = verdict  # type: ignore[assignment]
        resting = shield.serving.resting
        resting.seconds = 0.1
        await client.send(get("/refused") + get("/refused") + get("/"))
        await soon(lambda: len(resting) == 1)
        assert len(shield.log.refusals) == 1
        resting.sweep(shield.clock() + 1.0)
        assert len(resting) == 1  # for the second of the two
        await soon(lambda: len(shield.log.refusals) == 2)
        assert not origin.requests
        resting.sweep(shield.clock() + 1.0)
        await client.until(b"GET /")
        assert not resting


async def test_one_that_was_refused_by_the_queue_rests_too() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.verdicts["/"] = QUEUED
        shield.serving.resting.seconds = 0.1
        await client.send(get("/"))
        await soon(lambda: shield.engine.queued)
        (request,) = shield.engine.queued
        request.verdict = SHED
        shield.engine.queued.remove(request)
        shield.forwarder.resume([request], shield.clock())
        await client.until(b"503")
        assert len(shield.serving.resting) == 1


@pytest.mark.parametrize("tier", [Tier.T0, Tier.T1])
async def test_who_has_a_history_never_rests(tier: Tier) -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.verdicts["/refused"] = LIMITED
        shield.engine.tiers["/refused"] = tier
        shield.serving.resting.seconds = 0.1
        await client.send(get("/refused") + get("/"))
        await client.until(b"GET /")
        assert not shield.serving.resting


async def test_one_that_leaves_while_it_rests_is_forgotten() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.verdicts["/refused"] = LIMITED
        resting = shield.serving.resting
        resting.seconds = 0.1
        await client.send(get("/refused"))
        await soon(lambda: len(resting) == 1)
        (connection,) = shield.accepted
        connection.cut()
        await soon(lambda: not shield.connections)
        resting.sweep(shield.clock() + 1.0)
        assert not resting
