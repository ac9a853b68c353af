"""Who insists under pressure counts for what it may have after it, and gets no more than that then."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from shield.model import Action, Reason
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.engine import Engine
from shield.policy.limits.settings import LimitsSettings
from shield.policy.settings import TableSettings
from tests.policy.fleet import Fleet

DEAR = LimitsSettings(costs={"/": 1.0, "/dear": 20.0})
OFF = ChallengeSettings(mode="off")
NEVER = ChallengeSettings(never=("/",))
ALWAYS = ChallengeSettings(mode="always")
SCRIPT = {"Accept-Language": "en", "Accept": "*/*"}  # whose requests are held against nobody


@pytest.fixture(params=[Engine, Fleet], ids=["one", "three"])
def make(make: Any, request: pytest.FixtureRequest) -> Any:
    """One worker's engine, or three over the board: who insists gets as much."""
    return partial(make, engine=request.param)


def newcomers(world: Any, text: str) -> Iterator[Any]:
    """A new client for each request: `text` with the numbers that count up."""
    for number in range(1 << 16):
        agent, low, high = f"Bot/{number}", number % 254 + 1, number % 60_000
        yield world.client(text.format(low=low, high=high), agent)


def insist(world: Any, who: Iterator[Any], seconds: float = 10.0) -> float:
    """Ask for something dear 50 times a second, under pressure; the demand of that, in units/s."""
    world.storm(0.9)
    tallies = [engine._windows._tally for engine in world.engines]
    for tally in tallies:
        tally.close()
    for _ in range(int(seconds * 50)):
        world.now += 0.02
        request = world.ask(next(who), "/dear")
        assert request.verdict.action in {Action.CHALLENGE, Action.LIMIT}
        if request.verdict.action is Action.CHALLENGE:
            world.engine.mint(request, world.now)
    asked = sum(tally.so_far().units for tally in tallies)
    world.lull()
    return asked / seconds


def served(world: Any, who: Iterator[Any], seconds: float = 10.0) -> float:
    """Ask as often in calm weather; the units/s that reach the service."""
    assert not world.engine.pressed
    units = 0.0
    for _ in range(int(seconds * 50)):
        world.now += 0.02
        request = world.visit(next(who), "/dear", rtt=0.2)
        units += request.cost if request.verdict.action is Action.FORWARD else 0.0
    return units / seconds


def one(client: Any) -> Iterator[Any]:
    while True:
        yield client


@pytest.mark.parametrize(
    ("text", "rate", "burst"),
    [
        ("192.0.2.1", 50, 400),  # an address, another program each time
        ("192.0.2.{low}", 80, 320),
        ("2001:db8:0:{low:x}::1", 40, 160),
        ("2001:db8:0:{high:x}::1", 160, 640),
        ("2001:db8:0:{low:x}00::1", 160, 640),
    ],
)
@pytest.mark.untraced
def test_who_moves_about_in_an_address_or_network_gets_after_it_what_was_counted(
    make: Any, text: str, rate: float, burst: float
) -> None:
    world = make(10_000, limits=DEAR)
    who = newcomers(world, text)
    assert insist(world, who) <= rate + burst / 10 + 5
    assert served(world, who) <= rate + 5


@pytest.mark.untraced
def test_a_client_that_ignores_challenges_keeps_at_most_a_tenth_of_its_rate(make: Any) -> None:
    world = make(limits=DEAR)
    client = world.client()
    insist(world, one(client), seconds=20)
    world.pass_time(50)
    assert 0 < served(world, one(client), 100) <= 1
    assert world.visit(client).verdict.action is not Action.FORWARD
    world.pass_time(30)  # an honest program that pauses is served again
    assert world.visit(client).verdict.reason is Reason.OK


@pytest.mark.untraced
def test_programs_that_cannot_answer_have_their_rate_again_a_minute_after_the_pressure(make: Any) -> None:
    """An office of a hundred programs kept a tenth of its rate for as long as it asked, after a flood of seconds."""
    world = make(10_000, limits=DEAR)
    office = [world.client("192.0.2.1", f"Bot/{n}") for n in range(100)]

    def ask(seconds: int) -> float:
        """All of them once in five seconds; the share that is served."""
        good = 0
        for second in range(seconds):
            world.pass_time(1.0)
            for client in office[second % 5 :: 5]:
                good += world.visit(client, headers=SCRIPT).verdict.action is Action.FORWARD
        return good / (20 * seconds)

    world.storm(0.9)
    for _ in range(20):
        world.storm(0.9)
        for client in office:
            request = world.ask(client, headers=SCRIPT)
            if request.verdict.action is Action.CHALLENGE:
                world.engine.mint(request, world.now)
        world.pass_time(1.0)
    world.lull()
    assert ask(50) < 0.4
    world.pass_time(10.0)
    assert ask(50) == 1.0


def test_who_was_deaf_and_asks_for_more_than_its_rate_goes_on_insisting(make: Any) -> None:
    world = make(limits=DEAR)
    client = world.client()
    world.storm(0.9)
    for _ in range(20):
        world.storm(0.9)
        world.engine.mint(world.ask(client, headers=SCRIPT), world.now)
        world.pass_time(1.0)
    world.lull()
    assert not client.entry.insisted_at
    world.pass_time(61.0)
    units = 0.0
    for _ in range(600):
        world.pass_time(0.1)
        request = world.visit(client, "/dear", rtt=0.2, headers=SCRIPT)
        units += request.cost if request.verdict.action is Action.FORWARD else 0.0
    assert 5 < units / 60 <= 14
    assert client.entry.insisted_at


def test_others_are_let_in_as_ever(make: Any) -> None:
    world = make(10_000, limits=DEAR)
    insist(world, newcomers(world, "198.51.100.{low}"))
    page = [world.visit(world.client()) for _ in range(81)]
    assert {request.verdict.reason for request in page} == {Reason.OK}


def test_a_newcomer_beside_those_who_insist_can_pay_its_way_out(make: Any) -> None:
    world = make(limits=DEAR)
    who = newcomers(world, "192.0.2.{low}")
    insist(world, who)
    served(world, who)
    person = world.client("192.0.2.7")
    person.source.network.tat = world.now + person.source.network.span  # empty
    assert world.ask(person).verdict.reason is Reason.NEWCOMER
    _, token = world.buy(person)
    assert world.visit(person, shown=token).verdict.action is Action.FORWARD


@pytest.mark.parametrize("challenge", [OFF, NEVER])
def test_where_nobody_is_to_be_challenged_they_are_limited(make: Any, challenge: ChallengeSettings) -> None:
    world = make(limits=DEAR, challenge=challenge)
    client = world.client()
    world.storm(0.9)
    for _ in range(100):
        world.ask(client, "/dear")
    world.lull()
    assert served(world, one(client)) <= 10
    assert world.ask(client, "/dear").verdict.reason is Reason.CLIENT_RATE


@pytest.mark.untraced
def test_it_is_forgotten_when_they_have_stopped_for_as_long_as_an_attack_takes_to_end(make: Any) -> None:
    world = make(10_000, limits=DEAR)
    who = newcomers(world, "192.0.2.{low}")
    insist(world, who)
    for _ in range(13):  # the attack has ended meanwhile
        world.pass_time(60)
        served(world, who, 5)
    assert not world.engine.attack
    assert served(world, who) <= 85
    world.pass_time(700)
    assert served(world, who) > 500


def test_who_would_be_challenged_in_calm_weather_too_is_no_demand(make: Any) -> None:
    """With mode "always" a botnet that answers nothing held the pressure up, though it could never get in."""
    world = make(10_000, limits=DEAR, challenge=ALWAYS)
    assert insist(world, newcomers(world, "198.51.{low}.{low}")) == 0.0
    world.pass_time(60)
    assert world.engine.pressure < 0.05


def test_strangers_who_share_an_entry_do_not_insist_together(make: Any) -> None:
    world = make(10_000, engine=Engine, limits=DEAR, tables=TableSettings(networks=1000))  # of one table
    for number in range(1500):
        client = world.client(f"198.{number >> 8}.{number & 255}.1")
        client.source.network.tat = world.now + 1e6
    shared = world.client("203.0.113.1")
    assert shared.source.network.overflow
    who = (world.client(f"203.0.113.{n % 250}", f"Bot/{n}") for n in range(10_000))
    assert insist(world, who) > 900
    assert not shared.source.network.insisted_at


def test_an_address_that_strangers_share_does_not_insist_either(make: Any) -> None:
    world = make(limits=DEAR)
    shared = world.client().source
    shared.overflow = True  # as where the table of addresses is full
    insist(world, newcomers(world, "192.0.2.1"))
    assert not shared.insisted_at
