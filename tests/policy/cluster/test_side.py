"""What waits to be told is bounded, in order, and of the kinds that concern others."""

from __future__ import annotations

import pytest

from shield.policy.cluster import side as module
from shield.policy.cluster.side import Side


def test_rows_are_told_in_the_order_in_which_they_came() -> None:
    side = Side(None)
    side.tell(["client", 1])
    side.tell(["route", 2])  # each node's own
    side.tell(["pardon", 3])
    assert side.untold == 2
    taken = side.take(1)
    side.take_back(taken)
    assert side.take(5) == [["client", 1], ["pardon", 3]]
    assert side.untold == 0


def test_beyond_the_bound_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNTOLD", 3)
    side = Side(None)
    for number in range(5):
        side.tell(["client", number])
    assert (side.untold, side.lost) == (3, 2)
    taken = side.take(2)
    side.tell(["client", 7])
    side.take_back(taken)
    assert (side.untold, side.lost) == (3, 3)


def test_somebody_who_waits_is_noticed() -> None:
    side = Side(None)
    side.tell(["client", 1])
    assert not side.asked
    side.answers.ask(b"t" * 16, b"pl", 60.0, 0.0)
    assert side.asked


def test_a_reply_is_taken_and_nonsense_counted() -> None:
    side = Side(None)
    side.answers.node = "a"
    side.answers.ask(b"t" * 16, b"pl", 60.0, 0.0)
    side.hear(["client", 1])
    side.hear(["grant", "nonsense"])
    side.hear(["grant", (b"t" * 16).hex(), "a", True])
    assert side.answers.asked(b"t" * 16) is True
    assert side.lost == 1
