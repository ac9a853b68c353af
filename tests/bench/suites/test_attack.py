"""Runs of one scene each become one table, and a weak attack is played again."""

from __future__ import annotations

from typing import Any

import pytest

from bench.suites import attack
from tests.bench.outcomes import outcome


class TestJudgement:
    def test_scenes_and_contenders_measured_one_by_one_make_one_table(self) -> None:
        def results(**scenes: dict[str, int]) -> dict[str, Any]:
            """Of each contender how many challenges its users saw."""
            same = {"origin": {}, "size": {"seconds": 9.0}, "patience": 10.0, "cores": "each its own"}
            found = {
                name: {
                    "title": name,
                    "waves": [],
                    "contenders": {peer: outcome(title=peer, challenges=seen) for peer, seen in seen_by.items()},
                }
                for name, seen_by in scenes.items()
            }
            return {**same, "scenes": found}

        before = results(shared={"shield": 3}, many={"nginx": 0, "shield": 2})
        both = attack.added(before, results(many={"shield": 0, "told": 0}, overload={"shield": 1}))
        assert {name: list(found["contenders"]) for name, found in both["scenes"].items()} == {
            "overload": ["shield"],
            "many": ["shield", "told", "nginx"],
            "shared": ["shield"],
        }
        says = "users with a history saw {} challenges"
        assert both["problems"] == [f"overload: {says.format(1)}", f"shared: {says.format(3)}"]
        with pytest.raises(ValueError, match="size is"):
            attack.added(results(many={}) | {"size": {"seconds": 5.0}}, results(many={}))

    def test_waves_are_added_up(self) -> None:
        one = {"first_byte": 2.0, "statuses": {"200": 1}, "sent": 3}
        never = {"first_byte": None, "statuses": {}, "sent": 0}
        two = {"first_byte": 1.0, "statuses": {"200": 2, "503": 1}, "sent": 4, "cut": 1}
        assert attack.together([one, never, two]) == {
            "first_byte": 1.0, "statuses": {"200": 3, "503": 1}, "sent": 7, "cut": 1,
        }  # fmt: skip

    def test_an_attack_that_was_not_sent_in_full_is_none(self) -> None:
        waves = [{"rate": 100.0, "seconds": 10.0}, {"rate": 0.0, "seconds": 10.0}]
        assert attack.in_full(waves, {"sent": 900})
        assert attack.in_full(waves, {"sent": 100, "not_connected": 800})  # the proxy's doing
        assert not attack.in_full(waves, {"sent": 899, "held_back": 50})
        assert attack.in_full([{"rate": 0.0, "seconds": 10.0}], {"sent": 0})  # slow connections have no rate
