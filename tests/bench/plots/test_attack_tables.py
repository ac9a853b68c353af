"""What is wanted of Shield under attack, and how the tables say it."""

from __future__ import annotations

import math
import re

import pytest

from bench.plots import attack_tables
from tests.bench.outcomes import newcomers, outcome

MACHINE = {"date": "today", "cores": 2, "load_average": 3.0, "cpu": "A Processor", "python": "3"}
NOTHING = {"core": 0.0, "resident": 0}


class TestJudgement:
    def test_shield_is_held_to_what_is_wanted(self) -> None:
        assert attack_tables.problems({"shield": outcome()}) == []
        assert attack_tables.problems({"nginx": outcome(challenges=5)}) == []
        for change in (
            {"attack": {"success": 0.98, "p95": 0.1}},
            {"attack": {"success": math.nan, "p95": 0.1}},
            {"attack": {"success": 1.0, "p95": 0.21}},
            {"recovery": {"seconds": None}},
            {"recovery": {"seconds": 5.5}},
            {"challenges": 1},
            {"visits": {"success": 0.99, "p95": 0.1}},
            {"groups": {"shared": {"attack": {"success": 0.94}}}},
        ):
            assert len(attack_tables.problems({"shield": outcome(**change)})) == 1, change

    @pytest.mark.parametrize(
        ("success", "p95", "is_better"),
        [
            (0.999, 0.05, True),  # as many, and faster
            (0.999, 0.09, False),
            (0.98, 0.05, False),
            (1.0, 0.05, True),
        ],
    )
    def test_a_peer_that_is_better_is_named(self, success: float, p95: float, is_better: bool) -> None:
        peer = outcome(title="peer", attack={"success": success, "p95": p95})
        found = attack_tables.problems({"shield": outcome(), "nginx": peer})
        assert found == (["peer is better"] if is_better else [])
        worse = outcome(attack={"success": 0.5, "p95": 10.0})
        assert attack_tables.better({"shield": worse, "nginx": peer}) == ["peer"]

    def test_the_tables_name_what_falls_short(self) -> None:
        groups = {"shared": {"people": 200, "attack": {"success": 0.5, "p95": 10.0}, "challenges": 1}}
        scene = {
            "title": "Something",
            "says": "it happens",
            "number": 13,
            "seconds": 20.0,
            "contenders": {"shield": outcome(groups=groups)},
            "problems": ["it did not work"],
        }
        results = {
            "origin": {"parallel": 4, "service": 0.02},
            "size": {"users": 20},
            "scenes": {"some": scene, "other": scene | {"contenders": {"direct": outcome(title="no proxy")}}},
            "missing": {},
        }
        text = re.sub(" +", " ", attack_tables.markdown(results))
        for part in (
            "serves 200/s (4 at a time, 20 ms each)",
            "| Something | 100.0 %, 100 ms | - |",
            "200 behind one address: success under attack",
            "**Not as wanted**: it did not work.",
            "Shield: as shipped. Attackers: 503: 5; sent: 5.",
        ):
            assert part in text

    def test_of_a_cheap_attack_nothing_is_to_be_noticed(self) -> None:
        calm = {"core": 0.02, "resident": 60e6}
        assert attack_tables.problems({"shield": outcome(groups=newcomers())}, cheap=True) == []
        for change in (
            {"attack": {"success": 0.999, "p95": 0.1}},
            {"attack": {"success": 1.0, "p95": 0.16}},
            {"groups": newcomers(0.94)},
            {"taken": {"calm": calm, "attack": {"core": 0.02, "resident": 67e6}}},
            {"taken": {"calm": calm, "attack": {"core": 0.13, "resident": 60e6}}},
        ):
            shield = outcome(**{"groups": newcomers(), **change})
            assert len(attack_tables.problems({"shield": shield}, cheap=True)) == 1, change

    def test_of_a_cheap_attack_a_peer_is_better_that_adds_less_delay_to_its_own(self) -> None:
        calm, same = {"success": 1.0, "p95": 0.05}, {"success": 1.0, "p95": 0.06}
        peer = outcome(title="peer", calm=calm, attack=same)
        assert attack_tables.better({"shield": outcome(), "nginx": peer}) == ["peer"]
        assert attack_tables.better({"shield": outcome(), "nginx": peer}, cheap=True) == []
        slower = outcome(attack={"success": 1.0, "p95": 0.19})
        assert attack_tables.better({"shield": slower, "nginx": peer}, cheap=True) == ["peer"]
        chance = outcome(title="peer", calm={"success": 1.0, "p95": 0.3}, attack=same)
        assert attack_tables.better({"shield": outcome(), "nginx": chance}, cheap=True) == []

    def test_the_table_of_a_cheap_attack_shows_what_it_took(self) -> None:
        origin = {"during": {"user": 5}, "most_taken": 4, "late": 0.05}
        scene = {
            "title": "Something",
            "says": "it happens",
            "number": None,
            "seconds": 20.0,
            "cheap": True,
            "measured": {"machine": MACHINE, "cores": "proxy on 1"},
            "contenders": {
                "shield": outcome(groups=newcomers(), tries=2, origin=origin),
                "direct": outcome(
                    groups=newcomers(0.5), tries=1, origin=origin, taken={"calm": NOTHING, "attack": NOTHING}
                ),
            },
            "problems": [],
        }
        text = re.sub(" +", " ", "\n".join(attack_tables.section(scene)))
        for part in (
            "Measured today on 2 cores of a shared machine (A Processor, Python 3; load average 3.0): proxy on 1.",
            "| ... success in calm weather | 100.0 % | 50.0 % |",
            "| the proxy's memory, calm | 57.2 MiB | - |",
            "| of its core, calm | 2.0 % | - |\n| **... under attack** | 3.0 % | - |",
            "| half seconds in which the origin was late | 5 % | 5 % |",
            "| runs, of which the last counts | 2 | 1 |",
        ):
            assert part in text

    def test_what_shield_is_told_does_not_count_against_it(self) -> None:
        told = outcome(title="Shield told", attack={"success": 1.0, "p95": 0.05})
        assert attack_tables.problems({"shield": outcome(), "told": told}) == []
