"""Fair shares of something bounded: who may have more, and who gives way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.model import Tier
from shield.policy.shares import ADDRESS_OF_FREE, SLACK, WEIGHTS, Holding, Shares

Who = Holding[None]

NETWORKS = 4
places = st.tuples(st.integers(0, NETWORKS - 1), st.integers(0, 2), st.integers(0, 1), st.sampled_from(Tier))
"""(network, address in it, client at it, tier)"""


def holding(network: int = 0, address: int = 0, client: int = 0, tier: Tier = Tier.T3) -> Who:
    return Holding(None, tier, (network, address, client), (network, address), network)


def holdings(wheres: Sequence[Any]) -> list[Who]:
    return [holding(*where) for where in wheres]


def levels(one: Who) -> tuple[Any, Any, Any]:
    return one.network, one.address, one.client


def charges(all_: Sequence[Who]) -> Counter[Any]:
    """By network, address and client, worked out anew."""
    found: Counter[Any] = Counter()
    for one in all_:
        for level, key in enumerate(levels(one)):
            found[level, key] += one.amount * one.weight
    return found


def settle(shares: Shares[None], asker: Who, amount: int) -> bool:
    """Ask for more of a thing that can be taken back, taking it from whoever must give way."""
    while not shares.take(asker, amount):
        victim = shares.gives_way(asker, amount)
        if victim is None:
            return False
        shares.give(victim, amount)
    return True


def test_in_calm_weather_one_may_take_all_that_is_idle() -> None:
    shares: Shares[None] = Shares(10, recallable=True)
    assert shares.take(holding(), 10)
    assert not shares.take(holding(1), 1)
    assert (shares.total, repr(shares)) == (10, "<Shares 10 of 10 in 1 networks>")


def test_the_address_that_holds_most_gives_way() -> None:
    """Twenty slow readers of one address held all places, and others were turned away."""
    shares: Shares[None] = Shares(20, recallable=True)
    crowd = [holding(0, 0, number) for number in range(20)]
    for one in crowd:
        assert shares.take(one, 1)
    people = [holding(number) for number in range(1, 11)]
    for one in people:
        assert settle(shares, one, 1)
    assert [one.amount for one in people] == [1] * 10
    assert sum(one.amount for one in crowd) == 10


def test_nobody_gives_way_to_one_who_holds_as_much() -> None:
    shares: Shares[None] = Shares(4, recallable=True)
    crowd = [holding(0, 0, number) for number in range(4)]
    for one in crowd:
        assert shares.take(one, 1)
    assert not settle(shares, holding(0, 0, 9), 1)
    assert [one.amount for one in crowd] == [1] * 4
    assert shares.gives_way(holding(0, 1), 1) in crowd, "another address of the network"


def test_a_stranger_gives_way_to_the_known_and_not_the_other_way_round() -> None:
    shares: Shares[None] = Shares(2, recallable=True)
    stranger, known = holding(1), holding(2, tier=Tier.T1)
    assert shares.take(stranger, 1)
    assert shares.take(known, 1)
    assert shares.gives_way(holding(3), 1) is None
    assert shares.gives_way(holding(3, tier=Tier.T0), 1) is stranger
    assert shares.least() is stranger


def test_the_one_that_has_not_grown_for_longest_goes_first_among_equals() -> None:
    shares: Shares[None] = Shares(3, recallable=True)
    first, second, third = (holding(0, 0, 0) for _ in range(3))
    for one in (first, second, third):
        assert shares.take(one, 1)
    assert shares.least() is first
    shares.give(first, 1)
    assert shares.least() is second


def test_nobody_gives_way_where_nobody_holds_anything() -> None:
    shares: Shares[None] = Shares(0, recallable=True)
    assert shares.least() is None
    assert shares.gives_way(holding(), 1) is None
    shares.add(holding(), 0)
    assert not shares.take(holding(), 1)
    assert shares.total == 0
    assert repr(holding()) == "<Holding 0 of (0, 0)>"


@pytest.mark.parametrize("addresses", range(1, 6))
@pytest.mark.untraced
def test_of_what_cannot_be_taken_back_some_is_always_left(addresses: int) -> None:
    """One address takes half, two a third each: the next one finds as much as each of them has."""
    shares: Shares[None] = Shares(5_000, recallable=False)
    crowd = [holding(number) for number in range(addresses)]
    while sum(shares.take(one, 1) for one in crowd):
        pass
    left = 5_000 - shares.total
    assert left == pytest.approx(5_000 / (addresses + 1), rel=0.01)
    assert max(one.amount for one in crowd) == pytest.approx(left, rel=0.01)
    assert shares.take(holding(99), left // 2)


def test_a_network_may_hold_twice_what_an_address_may() -> None:
    shares: Shares[None] = Shares(9_000, recallable=False)
    crowd = [holding(0, number) for number in range(50)]
    while sum(shares.take(one, 1) for one in crowd):
        pass
    assert shares.total == pytest.approx(6_000, rel=0.02)


def test_the_known_may_hold_more_of_what_cannot_be_taken_back() -> None:
    shares: Shares[None] = Shares(5_000, recallable=False)
    known, bad = holding(0, tier=Tier.T1), holding(1, tier=Tier.T4)
    while shares.take(known, 1):
        pass
    assert known.amount == pytest.approx(4_000, abs=2)
    while shares.take(bad, 1):
        pass
    assert bad.amount == pytest.approx(200, abs=2)


@given(st.lists(places, min_size=1, max_size=12), st.data())
@pytest.mark.untraced
def test_charges_add_up_and_the_heaviest_is_found(wheres: Sequence[Any], data: st.DataObject) -> None:
    """Whatever is taken and given back in whatever order."""
    shares: Shares[None] = Shares(60, recallable=True)
    all_ = holdings(wheres)
    steps = st.lists(st.tuples(st.integers(0, len(all_) - 1), st.integers(-20, 20)), max_size=30)
    for number, amount in data.draw(steps):
        one = all_[number]
        before = one.amount
        if amount < 0:
            shares.give(one, -amount)
            assert one.amount == max(0, before + amount)
        elif shares.take(one, amount):
            assert one.amount == before + amount
        else:
            assert shares.total + amount > 60
        assert shares.total == sum(each.amount for each in all_) <= 60
        found = charges(all_)
        least = shares.least()
        if least is None:
            assert shares.total == 0
            continue
        for level, key in enumerate(levels(least)):
            rivals = [levels(each)[level] for each in all_ if levels(each)[:level] == levels(least)[:level]]
            assert found[level, key] == max(found[level, rival] for rival in rivals)
    for one in all_:
        shares.give(one, one.amount)
    assert (shares.total, repr(shares)) == (0, "<Shares 0 of 60 in 0 networks>")


@given(st.integers(1, 30), st.lists(places, min_size=2, max_size=12), st.data())
def test_whoever_is_refused_holds_as_much_as_anybody(most: int, wheres: Sequence[Any], data: st.DataObject) -> None:
    """The guarantee: of a full resource nobody keeps more than a fair share while somebody wants it who has less."""
    shares: Shares[None] = Shares(most, recallable=True)
    all_ = holdings(wheres)
    for number in data.draw(st.lists(st.integers(0, len(all_) - 1), max_size=40)):
        asker = all_[number]
        before = charges(all_)
        victim = shares.gives_way(asker, 1)
        if victim is not None:
            level = next(level for level in range(3) if levels(victim)[level] != levels(asker)[level])
            mine, its = (before[level, levels(one)[level]] for one in (asker, victim))
            assert its > mine + asker.weight, "it takes from those who hold more, and never from others"
        if settle(shares, asker, 1):
            continue
        found = charges(all_)
        for level, key in enumerate(levels(asker)):
            for rival in all_:
                if levels(rival)[:level] == levels(asker)[:level]:
                    assert found[level, levels(rival)[level]] <= found[level, key] + asker.weight


@given(st.integers(1, 12), st.lists(places, min_size=2, max_size=8), st.sampled_from(Tier))
def test_those_of_a_tier_who_all_want_more_come_to_rest(most: int, wheres: Sequence[Any], tier: Tier) -> None:
    """Nobody takes from another what the other takes back."""
    shares: Shares[None] = Shares(most, recallable=True)
    all_ = holdings([(*where[:3], tier) for where in wheres])
    for _ in range(20 * most):
        if not sum(settle(shares, one, 1) for one in all_):
            break
    else:
        pytest.fail("they take from each other for ever")
    assert shares.total == most


@given(st.lists(st.tuples(places, st.integers(1, 50)), max_size=60))
@pytest.mark.untraced
def test_no_address_holds_more_than_it_leaves_of_what_cannot_be_taken_back(steps: list[tuple[Any, int]]) -> None:
    shares: Shares[None] = Shares(500, recallable=False)
    all_: list[Who] = []
    for where, amount in steps:
        one = holding(*where)
        all_.append(one)
        before = charges(all_)[1, one.address]
        if shares.take(one, amount):
            assert charges(all_)[1, one.address] <= ADDRESS_OF_FREE * (500 - shares.total)
        else:
            assert before + amount * one.weight > ADDRESS_OF_FREE * (500 - shares.total - amount) or (
                charges(all_)[0, one.network] + amount * one.weight
                > 2 * ADDRESS_OF_FREE * (500 - shares.total - amount)
            )


def test_what_is_kept_is_bounded_by_the_holdings() -> None:
    shares: Shares[None] = Shares(1_000_000, recallable=True)
    one, other = holding(0), holding(1)
    shares.add(other, 1)
    for amount in range(1, 500):
        shares.add(one, amount)
        shares.give(one, amount - 1)
    assert len(shares._all.heap) <= 2 * 2 + SLACK + 1
    for number in range(500):
        passing = holding(2, number)
        shares.add(passing, 1)
        shares.give(passing, 1)
    assert len(shares._all.heap) <= 2 * 2 + SLACK + 1
    assert len(shares._all.members) == 2


def test_each_tier_has_a_weight_and_a_worse_one_is_never_lighter() -> None:
    assert len(WEIGHTS) == len(Tier)
    assert list(WEIGHTS) == sorted(WEIGHTS)
