"""An answer that is sent to several nodes is granted at one."""

from __future__ import annotations

from typing import Any

import pytest

from shield.policy.cluster import answers as module
from shield.policy.cluster.answers import AGAIN, Answers

NOW = 7_654_321.1
TAG, OTHER = b"t" * 16, b"u" * 16
PLACE = b"pl"


class Node:
    def __init__(self, name: str) -> None:
        self.told: list[list[Any]] = []
        self.answers = Answers(self.told.append)
        self.answers.node = name
        self.answers.wall_offset = 1000.0
        self.spent: set[bytes] = set()

    def spend(self, tag: bytes, expires: float, now: float) -> bool:
        fresh = tag not in self.spent
        self.spent.add(tag)
        return fresh


def test_the_first_to_ask_is_granted_it_and_nobody_else() -> None:
    home, a, b = Node("home"), Node("a"), Node("b")
    for one in (a, b):
        one.answers.ask(TAG, PLACE, NOW + 60, NOW)
        assert one.answers.waits(TAG)
        assert one.answers.asked(TAG) is None
    for one in (a, b, a):
        assert home.answers.wished(one.told[0][1:], [PLACE], home.spend, NOW)
    assert [row[3] for row in home.told] == [True, False, True], "who asks again is told the same"
    for row in home.told:
        a.answers.granted(row[1:])
        b.answers.granted(row[1:])
    assert a.answers.asked(TAG) is True
    assert b.answers.asked(TAG) is False
    assert not a.answers.waits(TAG)
    assert not a.answers.granted(["00" * 16, "a", True]), "it had not asked"


def test_another_node_s_challenge_is_not_ours_to_grant() -> None:
    home = Node("home")
    assert not home.answers.wished([TAG.hex(), NOW, "0000", "a"], [PLACE], home.spend, NOW)
    assert home.told == []


def test_what_has_expired_is_not_granted() -> None:
    home = Node("home")
    home.answers.wished([TAG.hex(), NOW + 1000.0 - 1.0, PLACE.hex(), "a"], [PLACE], home.spend, NOW)
    assert home.told[0][3] is False
    assert not home.spent


def test_it_is_asked_again_after_a_while_until_somebody_replies() -> None:
    a = Node("a")
    for later in (0.0, AGAIN / 2, AGAIN, AGAIN * 1.5):
        a.answers.ask(TAG, PLACE, NOW + 60, NOW + later)
    assert len(a.told) == 2
    a.answers.granted([TAG.hex(), "a", True])
    a.answers.ask(TAG, PLACE, NOW + 60, NOW + 10)
    assert len(a.told) == 2


def test_the_tables_are_bounded_and_forget_what_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    a, home = Node("a"), Node("home")
    a.answers.ask(TAG, PLACE, NOW + 60, NOW)
    a.answers.ask(OTHER, PLACE, NOW + 90, NOW)
    assert not a.answers.waits(OTHER)
    a.answers.ask(OTHER, PLACE, NOW + 90, NOW + 61)
    assert a.answers.waits(OTHER)
    wish = [1060.0 + NOW, PLACE.hex(), "a"]
    home.answers.wished([TAG.hex(), *wish], [PLACE], home.spend, NOW)
    home.answers.wished([OTHER.hex(), *wish], [PLACE], home.spend, NOW)
    assert [row[3] for row in home.told] == [True, False]
    home.answers.wished([(b"v" * 16).hex(), 1090.0 + NOW, PLACE.hex(), "a"], [PLACE], home.spend, NOW + 61)
    assert home.told[-1][3] is True
