"""Two hundred people behind one address: one attacks, a page elsewhere names a trap, and a botnet attacks as well."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from shield.model import Reason
from shield.simulate.result import Result
from shield.simulate.scene import Scene, load
from shield.simulate.world import run

BANNED = (Reason.CLIENT_BANNED, Reason.ADDRESS_BANNED, Reason.HONEYPOT)


def check(result: Result) -> None:
    office, embedded = result.population("office"), result.population("embedded")
    assert office.share_between(-result.scene.calm, 0) >= 0.98
    assert office.share >= 0.95
    assert office.latency(0.95) < 0.5
    for people in (office, embedded):
        assert not any(people.refusals[reason] for reason in BANNED)
    abuser = result.population("abuser")
    assert abuser.refusals[Reason.HONEYPOT] > 0
    assert abuser.served() <= 0.05 * abuser.asked()
    assert result.population("returning").share >= 0.99


def slighter(scene: Scene) -> Scene:
    """Five minutes of calm and a small botnet."""
    botnet = replace(scene.populations["botnet"], members=20_000, networks=8000, rate=1200.0)
    return replace(scene, seconds=60, calm=300, populations={**scene.populations, "botnet": botnet})


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.scene)])
def test_people_behind_one_address_do_not_pay_for_one_of_them(seed: int) -> None:
    check(run(slighter(load("office")), seed))


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_people_behind_one_address_during_a_botnet(seed: int) -> None:
    check(run("office", seed))


@pytest.mark.scene
@pytest.mark.parametrize("seed", [1, 2])
def test_newcomers_behind_one_address_get_in_by_solving(seed: int) -> None:
    """They come for the first time when the flood is there, all from one network."""
    scene = slighter(load("office"))
    populations = {name: scene.populations[name] for name in ("returning", "office", "botnet")}
    populations["office"] = replace(populations["office"], from_=10.0)
    result = run(replace(scene, seconds=180, calm=120, populations=populations), seed)
    office = result.population("office")
    assert office.solved > 50
    assert office.share_between(10, 150) >= 0.95


def test_those_behind_one_address_come_to_passes_of_their_own() -> None:
    given: Counter[bytes] = Counter()

    def count(engine: object) -> None:
        grant = engine.grant  # type: ignore[attr-defined]

        def counting(request: object, now: float) -> object:
            token = grant(request, now)
            if token is not None and request.client.address == crowded:  # type: ignore[attr-defined]
                given[request.client.key] += 1  # type: ignore[attr-defined]
            return token

        engine.grant = counting  # type: ignore[attr-defined]

    scene = load("office")
    populations = {"office": scene.populations["office"]}
    crowded = "16.0.0.1"
    run(replace(scene, seconds=10, calm=1500, populations=populations), 1, prepare=count)
    assert len(given) > 50  # programs; sixty an hour in a network that is new
    assert given.total() <= 60 + 60 * 1510 / 3600
