"""Scenes as documents: those that ship are sound, and mistakes are named."""

from __future__ import annotations

import pytest

from shield.simulate.addresses import blocks
from shield.simulate.scene import SceneError, load, names, parse

MINIMAL = """
title = "A test"
seconds = 10
[populations.people]
kind = "people"
rate = 1
"""


@pytest.mark.wheel
def test_scenes_ship() -> None:
    assert "botnet" in names()


@pytest.mark.wheel
@pytest.mark.parametrize("name", names())
def test_every_scene_that_ships_is_sound(name: str) -> None:
    scene = load(name)
    assert scene.about


def test_what_is_usual_for_a_kind_is_filled_in() -> None:
    people = parse(MINIMAL).populations["people"]
    assert (people.retries, people.hash_rate, people.agents) == (2, 4e6, 30)
    attackers = parse(MINIMAL.replace('"people"', '"attackers"')).populations["people"]
    assert (attackers.retries, attackers.hash_rate, attackers.agents) == (0, 0.0, 1)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("rat = 2", "unknown key; did you mean rate?"),
        ('behind = "nobody"', "must name a population that stands further up"),
        ("from = 5\nuntil = 5", "must be after `from`"),
        ('passes = "earned"', "passes come from the past"),
        ("pulse = { on = 3 }", "needs both on and off"),
        ('paths = { "/" = 0 }', "weights must not be negative, nor all zero"),
        ("members = 300\nnetworks = 1", "more than 254 addresses in a network"),
        ("rate = 1e10", "asks for 1.3e+12 requests in the scene; allowed: 1e+08"),
        ("growth = 1e300", "asks for"),
        ('[service.routes."/slow"]\ntime = 1', "no population asks for this path"),
        ("[[service.changes]]\nat = 3", "changes nothing: set slots, slower or errors"),
        ("rate = -1", "populations.people.rate: found -1; allowed: a number greater than 0"),
    ],
)
def test_mistakes_are_named(more: str, says: str) -> None:
    text = MINIMAL.replace("rate = 1", "") + ("" if "rate" in more else "rate = 1\n") + more
    with pytest.raises(SceneError) as caught:
        parse(text)
    assert says in str(caught.value)


def test_what_may_be_asked_for() -> None:
    """The bound is on what is asked for while the scene lasts: growth, pulses, parts and times count."""
    # 1,000,000 visits/s with 4 parts for 9.9 s are 50 million requests; the calm of 120 s is before `from`
    within = "rate = 1000000\nparts = 4\nfrom = 0\nuntil = 9.9\n"
    assert parse(MINIMAL.replace("rate = 1\n", within)).populations["people"].parts == 4
    for more in ("pulse = { on = 1, off = 9 }", "growth = -0.5"):
        parse(MINIMAL.replace("rate = 1\n", within.replace("1000000", "2000000") + more + "\n"))
    with pytest.raises(SceneError):
        parse(MINIMAL.replace("rate = 1\n", within.replace("1000000", "2100000")))


def test_who_lives_where() -> None:
    text = """
    title = "Where"
    seconds = 1
    [populations.a]
    kind = "people"
    rate = 1
    members = 500
    networks = 250
    [populations.b]
    kind = "people"
    rate = 1
    members = 250
    beside = "a"
    [populations.c]
    kind = "people"
    rate = 1
    members = 4
    per_address = 2
    behind = "a"
    [populations.d]
    kind = "attackers"
    rate = 1
    members = 2
    networks = 1
    ip = 6
    """
    where = blocks(parse(text).populations)
    everybody = [where[name].address(i) for name in "abd" for i in range(250)]
    assert where["a"].address(0) == "16.0.0.1"
    assert where["a"].address(251) == "16.0.1.2"
    assert where["b"].address(0) == "16.0.0.3"
    assert [where["c"].address(i) for i in range(4)] == ["16.0.0.1", "16.0.0.1", "16.0.1.1", "16.0.1.1"]
    assert where["d"].address(0).split(":")[:3] == where["d"].address(1).split(":")[:3]
    assert len(set(everybody)) == 250 + 250 + 2
