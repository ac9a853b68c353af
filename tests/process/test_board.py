"""The memory of the workers: a board for each site, whose number stays when the config is read again."""

from __future__ import annotations

import os

from shield.policy.board.memory import Cell
from shield.process.board import BOARDS, Seats, attach, make, numbered


def test_the_first_site_has_the_board_of_the_clients() -> None:
    assert numbered(["default"], {}) == {"default": 0}
    assert numbered(["a", "b"], {}) == {"a": 0, "b": 1}


def test_numbers_stay_when_sites_come_and_go() -> None:
    first = numbered(["default", "a", "b", "c"], {})
    assert first == {"default": 0, "a": 1, "b": 2, "c": 3}
    second = numbered(["default", "c", "d"], first)
    assert {name: second[name] for name in ("default", "c", "d")} == {"default": 0, "c": 3, "d": 4}
    third = numbered(["default", "a", "d"], second)
    assert (third["a"], third["d"]) == (1, 4)  # it had that number before


def test_another_first_site_has_the_first_board_and_the_former_one_another() -> None:
    first = numbered(["a", "b"], {})
    second = numbered(["b", "a"], first)
    assert second["b"] == 0
    assert second["a"] not in (0, 1)


def test_when_all_numbers_were_given_that_of_the_site_is_used_which_went_first() -> None:
    given = numbered(["default"], {})
    for number in range(3 * BOARDS):
        given = numbered(["default", f"site-{number}"], given)
        assert len(set(given.values())) == len(given) <= BOARDS
        assert 0 < given[f"site-{number}"] < BOARDS
    assert given["default"] == 0


def test_what_one_worker_writes_the_others_read_at_the_board_of_that_site_alone() -> None:
    memory = make(2)
    try:
        ours, theirs = Seats(memory, 2, 0), Seats(memory, 2, 1)
        seat = ours.at(5)
        assert ours.at(5) is seat
        seat.add(Cell.PASSES, 3)
        assert theirs.at(5).total(Cell.PASSES) == 3
        assert theirs.at(0).total(Cell.PASSES) == theirs.at(BOARDS - 1).total(Cell.PASSES) == 0
        assert attach(memory, 2).place
    finally:
        os.close(memory)
