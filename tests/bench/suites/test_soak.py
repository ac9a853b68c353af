"""What Shield must not hold when everybody has left, and what it must not have logged."""

from __future__ import annotations

from bench.suites import soak


def test_what_shield_must_not_hold_at_the_end() -> None:
    before = {"open": 0, "streams": 0, "in_flight": 0, "waiting": 0, "files": 15, "tasks": 4, "resident": 1}
    assert soak.judge(before, {**before, "files": 14, "resident": 20 << 20}) == []
    after = {**before, "open": 1, "files": 16, "tasks": 5, "resident": 100 << 20}
    assert [problem.split()[0] for problem in soak.judge(before, after)] == ["1", "16", "5", "memory"]


def test_what_shield_must_not_have_logged() -> None:
    log = '{"event":"request","level":"info"}\n{"event":"exception","level":"warning"}\n{"event":"x","level":"error"}\n'
    assert len(soak.errors(log)) == 2
    assert len(soak.errors(log * 20, most=3)) == 3
