"""Who goes first within a tier."""

from __future__ import annotations

from typing import Any

from shield.model import Tier
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.history import Record
from shield.policy.limits.settings import LimitsSettings
from shield.policy.visits import VISIT

CHEAP = ChallengeSettings(least_hashes=64, most_hashes=256)
FLAT = LimitsSettings(costs={"/": 1.0})


def rank_in_t2(ranks: Any, request: Any, now: float) -> float:
    """Where it stands among the requests of bought passes."""
    request.tier = Tier.T2
    rank = ranks.of(request, now)
    assert isinstance(rank, float)
    return rank


def known(world: Any, client: Any, units: float = 10.0) -> Any:
    client.entry.record = world.engine._history.remember(
        Record(client.key, client.home, client.network, world.now - 999, world.now, 2, units)
    )
    return client


def test_a_page_under_way_is_finished_before_the_next(make: Any) -> None:
    """Of 70 first visits at once 42 got half of a page each, and one of them nearly all, when requests took turns."""
    world = make(challenge=CHEAP, limits=FLAT)
    world.storm()
    clients = [world.client(f"198.18.{i}.1") for i in range(3)]
    first, second, third = (world.buy(client)[1] for client in clients)
    ranks = world.engine._admission._ranks
    for shown, client, visits in ((second, clients[1], 30), (first, clients[0], 1), (third, clients[2], 2)):
        world.now += 1.0
        for _ in range(visits):
            assert world.visit(client, shown=shown).tier is Tier.T2
    order = sorted(
        (world.request(client, shown=shown) for client, shown in zip(clients, (first, second, third), strict=True)),
        key=lambda request: -rank_in_t2(ranks, request, world.now),
    )
    assert [request.shown_pass for request in order] == [second, first, third], "by when they were first used"


def test_beyond_their_first_page_the_pass_that_has_taken_least_goes_first(make: Any) -> None:
    world = make(challenge=CHEAP, limits=FLAT)
    world.storm()
    clients = [world.client(f"198.18.{i}.1") for i in range(20)]
    tokens = [world.buy(client)[1] for client in clients]
    requests = [world.visit(client, shown=token) for client, token in zip(clients, tokens, strict=True)]
    ranks, page = world.engine._admission._ranks, CHEAP.bought_burst
    world.now += 0.1
    under_way = [rank_in_t2(ranks, request, world.now) for request in requests]
    for token in tokens:
        token.taken = page
    world.now += VISIT
    one_page = [rank_in_t2(ranks, request, world.now) for request in requests]
    assert max(one_page) < min(under_way)
    assert len(set(one_page)) == 20, "equals by lot"
    assert all(-5.0 <= rank < -4.0 for rank in one_page), "log2 of 61"
    tokens[0].taken = 4.0 * page
    assert -7.0 <= rank_in_t2(ranks, requests[0], world.now) < -6.0, "and the more it has taken, the further"


def test_a_pass_that_a_botnet_keeps_has_no_page_under_way(make: Any) -> None:
    """With no end but a page's units, a botnet that asked once a second with each pass went before newcomers."""
    world = make(challenge=CHEAP, limits=FLAT)
    world.storm()
    botnet, newcomer = world.client("198.18.1.1"), world.client("198.18.2.1")
    (_, kept), (_, new) = world.buy(botnet), world.buy(newcomer)
    world.visit(botnet, shown=kept)
    world.now += VISIT - 1.0
    world.visit(newcomer, shown=new)
    world.now += 1.0
    often = world.visit(botnet, shown=kept)
    part = world.visit(newcomer, shown=new)
    ranks = world.engine._admission._ranks
    assert rank_in_t2(ranks, often, world.now) < 0.0 < rank_in_t2(ranks, part, world.now)


def test_parts_of_a_page_go_first_whatever_the_pass_has_taken(make: Any) -> None:
    """Of a page of sixty parts of 20 ms the second half came behind all that had begun, and much of it was refused."""
    world = make(challenge=CHEAP, limits=FLAT)
    world.storm()
    client = world.client("198.18.1.1")
    _, shown = world.buy(client)
    world.visit(client, shown=shown)
    world.now += 0.1
    shown.taken = 2.0 * CHEAP.bought_burst
    ranks = world.engine._admission._ranks
    part = world.request(client, shown=shown, headers={"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"})
    assert rank_in_t2(ranks, part, world.now) > 0.0 > rank_in_t2(ranks, world.request(client, shown=shown), world.now)


def test_a_newcomers_visit_goes_in_the_order_in_which_it_began_and_ends(make: Any) -> None:
    world = make()
    early, late = world.client("198.18.1.1"), world.client("198.18.2.1")
    for client in (early, late):
        world.visit(client)
        world.now += 0.1
    ranks = world.engine._admission._ranks
    first, second = (rank_in_t2(ranks, world.request(client), world.now) for client in (early, late))
    assert first > second > 2.0**39
    assert rank_in_t2(ranks, world.request(early), world.now + VISIT) < 1.0
