"""Slots that are given back, and bodies whose pace is measured."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.exchange.slot import LEAST_PACE, PACE_SECONDS, Slot, Streams
from shield.model import Tier
from shield.operator.metrics import Metrics
from shield.policy.request import Request
from shield.policy.shares import WEIGHTS
from tests.harness import FakeClient


def request(tier: Tier = Tier.T3, address: str = "192.0.2.1", client: int = 0) -> Request:
    fake: Any = FakeClient(address, "", "")
    fake.key = b"%d" % client
    made = Request(fake, "GET", "/", {}, None, False, None)
    made.tier = tier
    return made


class One:
    """A stream, from the moment in which it asks for its place."""

    def __init__(self, streams: Streams, whose: Request, limit: int = 0) -> None:
        """With a `limit`, it is a laggard."""
        self.request = whose
        self.slot = Slot(streams)
        self.gave_way = False
        self.got = (not limit or streams.make_lag_room(whose, limit, 0.0)) and streams.make_room(whose, 0.0)
        if self.got:
            self.slot.give_back(self, whose, lagging=limit > 0)

    def give_way(self, now: float) -> None:
        self.gave_way = True
        self.slot.end()


class Body:
    """An exchange of which only the body matters."""

    def __init__(self, streams: Streams) -> None:
        self.slot = Slot(streams)
        self.looked_at: list[float] = []

    def on_pace(self, now: float) -> None:
        self.looked_at.append(now)
        self.slot.stop_measuring()


def test_streams_are_counted_and_have_a_limit() -> None:
    metrics = Metrics()
    streams = Streams(metrics, 2)
    slots = [Slot(streams) for _ in range(2)]
    whose: Any = request()
    slots[0].give_back(whose, whose, lagging=False)
    assert (metrics.streams_open, streams.laggards, streams.may_enter(whose)) == (1, 0, True)
    slots[1].give_back(whose, whose, lagging=True)
    assert (metrics.streams_open, streams.laggards, streams.may_enter(whose)) == (2, 1, False)
    assert repr(streams) == "<Streams 2 of 2, 1 laggards>"
    assert [repr(slot) for slot in slots] == ["<Slot returned>", "<Slot returned lagging>"]
    for slot in slots:
        slot.end()
    assert (metrics.streams_open, streams.laggards) == (0, 0)


def test_a_slot_that_was_held_to_the_end_is_no_stream() -> None:
    metrics = Metrics()
    slot = Slot(Streams(metrics, 2))
    slot.end()
    assert (metrics.streams_open, repr(slot)) == (0, "<Slot held>")


def test_a_body_is_fast_enough_from_the_least_pace_on() -> None:
    body = Body(Streams(Metrics(), 1))
    body.slot.measure(body, 1000, 50.0)
    later = 50.0 + PACE_SECONDS
    assert body.slot.fast_enough(1000 + LEAST_PACE, later)
    assert not body.slot.fast_enough(999 + LEAST_PACE, later)
    assert not body.slot.fast_enough(1000 + LEAST_PACE, later + 1.0), "it has had twice as long"


def test_each_body_is_looked_at_when_its_time_has_come() -> None:
    streams = Streams(Metrics(), 1)
    early, late, ended = (Body(streams) for _ in range(3))
    early.slot.measure(early, 0, 10.0)
    late.slot.measure(late, 0, 11.0)
    ended.slot.measure(ended, 0, 10.0)
    ended.slot.end()
    assert [body.slot.measured() for body in (early, late, ended)] == [True, True, False]
    streams.sweep(10.0 + PACE_SECONDS)
    assert (early.looked_at, late.looked_at, ended.looked_at) == ([10.0 + PACE_SECONDS], [], [])
    assert not early.slot.measured()


def test_one_that_ends_another_is_all_right() -> None:
    streams = Streams(Metrics(), 1)

    class Ending(Body):
        def on_pace(self, now: float) -> None:
            super().on_pace(now)
            for body in both:
                body.slot.end()

    both = [Ending(streams) for _ in range(2)]
    for body in both:
        body.slot.measure(body, 0, 1.0)
    streams.sweep(9.0)
    assert sorted(len(body.looked_at) for body in both) == [0, 1]
    assert not streams.paced


def test_a_place_is_taken_before_the_slot_is_given_back_and_left_with_the_next_slot() -> None:
    metrics = Metrics()
    streams = Streams(metrics, 1)
    slot = Slot(streams)
    whose: Any = request()
    slot.place(whose, whose, lagging=True)
    assert (metrics.streams_open, streams.laggards, slot.returned) == (1, 1, False)
    slot.give_back(whose, whose, lagging=True)
    assert (metrics.streams_open, streams.laggards, slot.returned) == (1, 1, True)
    slot.granted()
    assert (metrics.streams_open, streams.laggards, slot.returned) == (0, 0, False)
    slot.end()
    assert (metrics.streams_open, streams.laggards) == (0, 0)


# fair shares of the places among the streams


def test_one_address_may_have_all_places_until_somebody_else_asks() -> None:
    """Whoever came first had all of them, and everybody else's WebSocket was answered 503."""
    streams = Streams(Metrics(), 6)
    greedy = [One(streams, request()) for _ in range(6)]
    assert all(one.got for one in greedy)
    assert not One(streams, request()).got, "nobody gives way to one who has as much"
    people = [One(streams, request(address=f"198.51.{number}.1")) for number in range(3)]
    assert [one.got for one in people] == [True] * 3
    assert [one.gave_way for one in greedy] == [True] * 3 + [False] * 3, "those that stood longest"
    assert not any(one.gave_way for one in people)


def test_who_has_a_history_finds_a_place_among_strangers() -> None:
    streams = Streams(Metrics(), 3)
    strangers = [One(streams, request(address=f"198.51.{number}.1")) for number in range(3)]
    assert not One(streams, request(address="203.0.113.1")).got, "each of the others has as many as it would have"
    assert One(streams, request(Tier.T1, address="203.0.113.1")).got
    assert [one.gave_way for one in strangers] == [True, False, False]


def test_laggards_are_as_many_as_slots_and_as_many_again_of_the_known() -> None:
    """Those with a history had no bound at all, and each of them may hold a thread of the service."""
    streams = Streams(Metrics(), 100)
    made = []
    for tier in (Tier.T1, Tier.T3):
        for _ in range(9):
            if streams.may_lag(request(tier), 4):
                one: Any = request(tier)
                made.append(Slot(streams))
                made[-1].place(one, one, lagging=True)
    assert (streams.laggards, [shares.total for shares in streams.lagging]) == (8, [4, 4])
    for slot in made:
        slot.end()
    assert streams.laggards == 0


_who = st.builds(
    request,
    st.sampled_from(Tier),
    st.builds("198.51.{}.{}".format, st.integers(1, 3), st.integers(1, 2)),
    st.integers(0, 1),
)


def _levels(whose: Request) -> tuple[Any, ...]:
    client = whose.client
    return client.network, client.home, client.key


@pytest.mark.parametrize("lagging", [False, True], ids=["streams", "laggards"])
@given(most=st.integers(1, 8), steps=st.lists(st.one_of(_who, st.integers(0, 20)), max_size=60))
def test_nobody_is_kept_out_or_ended_by_somebody_who_has_as_many(most: int, steps: list[Any], lagging: bool) -> None:
    """The guarantee, whoever opens and closes streams in whatever order. Of laggards it is one among strangers and one
    among those with a history."""
    streams = Streams(Metrics(), 1000 if lagging else most)
    open_: list[One] = []
    for step in steps:
        if isinstance(step, int):
            if step < len(open_):
                open_.pop(step).slot.end()
            continue
        charges: Counter[Any] = Counter()
        rivals_ = [one for one in open_ if not lagging or (one.request.tier < Tier.T2) == (step.tier < Tier.T2)]
        for one in rivals_:
            for level, key in enumerate(_levels(one.request)):
                charges[level, _levels(one.request)[:level], key] += WEIGHTS[one.request.tier]
        full = len(rivals_) == most
        asked = streams.may_enter(step)
        new = One(streams, step, most * lagging)
        assert lagging or new.got == asked
        gone = [one for one in open_ if one.gave_way]
        assert len(gone) == (full and new.got)
        mine, weight = _levels(step), WEIGHTS[step.tier]
        for level, key in enumerate(mine):
            rivals = {name[2]: charge for name, charge in charges.items() if name[:2] == (level, mine[:level])}
            if not new.got:
                assert max(rivals.values(), default=0) <= rivals.get(key, 0) + weight, (
                    "who is refused has as much as anybody"
                )
            elif gone and (theirs := _levels(gone[0].request))[level] != key:
                assert rivals[theirs[level]] == max(rivals.values()) > rivals.get(key, 0) + weight
                break
        open_ = [one for one in open_ if not one.gave_way] + [new] * new.got
        assert streams.places.total == len(open_) <= most * (1 + lagging)
