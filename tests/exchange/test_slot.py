"""Slots that are given back, and bodies whose pace is measured."""

from __future__ import annotations

from shield.exchange.slot import LEAST_PACE, PACE_SECONDS, Slot, Streams
from shield.operator.metrics import Metrics


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
    slots[0].give_back(lagging=False)
    assert (metrics.streams_open, streams.laggards, streams.full()) == (1, 0, False)
    slots[1].give_back(lagging=True)
    assert (metrics.streams_open, streams.laggards, streams.full()) == (2, 1, True)
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
    slot.place(lagging=True)
    assert (metrics.streams_open, streams.laggards, slot.returned) == (1, 1, False)
    slot.give_back(lagging=True)
    assert (metrics.streams_open, streams.laggards, slot.returned) == (1, 1, True)
    slot.granted()
    assert (metrics.streams_open, streams.laggards, slot.returned) == (0, 0, False)
    slot.end()
    assert (metrics.streams_open, streams.laggards) == (0, 0)
