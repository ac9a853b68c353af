"""What the turns of the loop say of when something left, and when an answer came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shield.wire.turns import LATE, WAITED, Turns


class Loop:
    """A loop and its clock, both moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.soon: list[Callable[[], None]] = []
        self.turns = Turns(self, self.clock)

    def clock(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def end(self, seconds: float) -> None:
        """The turn that is open takes so long, and ends."""
        self.now += seconds
        (ending,) = self.soon
        self.soon.clear()
        ending()

    def turn(self, waits: float, takes: float) -> Any:
        self.now += waits
        turn = self.turns.begin()
        self.end(takes)
        return turn


class Piece:
    """Something to be settled; `then` is called at that."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.then = then
        self.settled = 0
        self.failed: list[BaseException] = []

    def settle(self) -> None:
        self.settled += 1
        self.then()

    def fail(self, error: BaseException) -> None:
        self.failed.append(error)


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_an_answer_that_the_loop_waited_for_came_when_the_turn_began(loop: Loop) -> None:
    sent = loop.turn(waits=1.0, takes=0.001)
    read = loop.turn(waits=0.040, takes=0.001)
    assert read.began - sent.settled == pytest.approx(0.040)
    assert read.since == read.began


def test_an_answer_that_waited_for_shield_came_at_some_moment_of_the_turn_before(loop: Loop) -> None:
    sent = loop.turn(waits=1.0, takes=0.001)
    busy = loop.turn(waits=0.002, takes=0.090)
    read = loop.turn(waits=WAITED / 2, takes=0.001)
    assert read.since == busy.began
    assert read.began - sent.settled == pytest.approx(0.092, abs=0.001)
    assert read.since - sent.settled == pytest.approx(0.002)


def test_a_loop_that_missed_its_timer_had_no_core_and_did_not_wait(loop: Loop) -> None:
    loop.turn(waits=1.0, takes=0.001)
    loop.turns.due = loop.now + 0.020
    assert loop.turn(waits=0.020 + LATE / 2, takes=0.001).since == loop.now - 0.001
    before = loop.turns.current.began
    loop.turns.due = loop.now + 0.020
    assert loop.turn(waits=1.0, takes=0.001).since == before


def test_what_a_task_writes_begins_a_turn_in_which_no_socket_was_asked(loop: Loop) -> None:
    before = loop.turn(waits=1.0, takes=0.001)
    loop.now += 0.5
    piece = Piece()
    loop.turns.add(piece)
    assert loop.turns.open
    assert loop.turns.now().since == before.began
    loop.end(0.001)
    assert piece.settled == 1
    assert not loop.turns.open


def test_now_is_the_turn_that_is_open(loop: Loop) -> None:
    turn = loop.turns.now()
    assert loop.turns.now() is turn
    loop.end(0.003)
    assert turn.settled - turn.began == pytest.approx(0.003)
    assert repr(turn) == "<Turn of 0.003000 s>"
    loop.now += 1.0
    assert loop.turns.now() is not turn


def test_what_ends_while_others_are_settled_is_settled_in_the_same_turn(loop: Loop) -> None:
    last = Piece()
    loop.turns.add(Piece(lambda: loop.turns.add(last)))
    loop.end(0.001)
    assert last.settled == 1
    assert not loop.soon


def test_one_that_raises_keeps_no_other_from_being_settled(loop: Loop) -> None:
    bad, good = Piece(lambda: 1 / 0), Piece()
    loop.turns.add(bad)
    loop.turns.add(good)
    loop.end(0.001)
    assert [type(error) for error in bad.failed] == [ZeroDivisionError]
    assert good.settled == 1


def test_a_turn_apart_asks_no_socket_of_the_loop_and_leaves_the_bounds_as_they_were(loop: Loop) -> None:
    """An answer that came while strangers were served is found after them, and came no earlier than the loop had last
    asked."""
    before = loop.turn(waits=1.0, takes=0.001)
    piece = Piece()

    def work() -> None:
        loop.turns.add(piece)
        loop.now += 0.002

    loop.turns.apart(work)
    assert piece.settled == 1
    assert not loop.soon, "it has ended at once"
    assert not loop.turns.open
    apart = loop.turns.current
    assert (apart.since, apart.settled - apart.began) == (before.began, pytest.approx(0.002))
    read = loop.turn(waits=WAITED / 2, takes=0.001)
    assert read.since == before.began


def test_what_a_task_has_written_leaves_before_strangers_are_served(loop: Loop) -> None:
    piece = Piece()
    loop.turns.add(piece)
    loop.turns.apart(lambda: piece.settled or pytest.fail("it waits"))
    (ending,) = loop.soon
    settled = loop.turns.current.settled
    loop.now += 1.0
    ending()
    assert loop.turns.current.settled == settled
