"""Runs of one scene each become one table, and a weak attack is played again."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench.suites import attack
from bench.suites.attack_scenes import Timeline
from tests.bench.outcomes import outcome


class TestJudgement:
    def test_scenes_and_contenders_measured_one_by_one_make_one_table(self) -> None:
        def results(**scenes: dict[str, int]) -> dict[str, Any]:
            """Of each contender how many challenges its users saw."""
            same = {"origin": {}, "size": {"seconds": 9.0}, "patience": 10.0, "cores": "each its own", "machine": {}}
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
        with pytest.raises(ValueError, match="patience is"):
            attack.added(results(many={}) | {"patience": 5.0}, results(shared={}))

    def test_scenes_may_be_of_different_days_and_say_so(self) -> None:
        def results(scene: str, seconds: float, day: str) -> dict[str, Any]:
            found = {"title": scene, "waves": [], "contenders": {"shield": outcome()}}
            size = {"seconds": seconds}
            machine = {"date": day, "cores": 2, "load_average": 1.0}
            return {
                "origin": {}, "patience": 10.0, "size": size, "cores": "x", "machine": machine,
                "scenes": {scene: found | {"measured": {"machine": machine, "cores": "x", "size": size}}},
            }  # fmt: skip

        old = results("many", 24.0, "Monday")
        del old["scenes"]["many"]["measured"]  # as it was before there were several days
        both = attack.added(old, results("uploads", 16.0, "Friday"))
        days = {name: found["measured"]["machine"]["date"] for name, found in both["scenes"].items()}
        assert days == {"many": "Monday", "uploads": "Friday"}

    def test_of_the_half_seconds_those_count_in_which_the_service_was_late(self) -> None:
        late = [[0.0, 9.0], [10.0, 0.2], [10.5, 0.01], [21.0, 0.05], [21.5, 0.3], [40.0, 9.0]]
        counters = {"timeline": [[21.0, {"user": 3}]], "bin": 0.5, "most_taken": 4, "late": late}
        found = attack.origin_figures(counters, Timeline(0.0, 10.0, 20.0, 40.0))
        assert (found["late"], found["during"]) == (0.5, {"user": 3})

    def test_what_a_proxy_takes_is_taken_from_the_readings_of_a_phase(self) -> None:
        readings = [{"t": t, "cpu": cpu, "resident": size} for t, cpu, size in
                    ((-5.0, 1.0, 9), (-4.0, 2.0, 40), (-2.0, 2.2, 50), (-1.0, 2.3, 45), (1.0, 9.0, 90))]  # fmt: skip
        assert attack.taken(readings, -4.0, 0.0) == {"core": pytest.approx(0.1), "resident": 50}
        assert math.isnan(attack.taken(readings, 0.0, 4.0)["core"])

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
        assert not attack.quiet(outcome(calm={"success": 0.99}))
        assert attack.quiet(outcome(attack={"success": 0.0}))
        assert attack.in_time(outcome())  # as it was before the service said so
        assert not attack.in_time(outcome(origin={"late": 0.2}))
        assert attack.in_full([{"rate": 0.0, "seconds": 10.0}], {"sent": 0})  # slow connections have no rate
