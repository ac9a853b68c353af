"""What is wanted of Shield under attack, and how the tables say it."""

from __future__ import annotations

import math
import re

import pytest

from bench.plots import attack_tables
from tests.bench.outcomes import outcome


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
            "machine": {"cpu": "A Processor", "cores": 4, "python": "3"},
            "cores": "nothing pinned",
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

    def test_what_shield_is_told_does_not_count_against_it(self) -> None:
        told = outcome(title="Shield told", attack={"success": 1.0, "p95": 0.05})
        assert attack_tables.problems({"shield": outcome(), "told": told}) == []
