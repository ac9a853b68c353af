"""The verdicts of the slow suite and of the soak, on made-up figures."""

from __future__ import annotations

import argparse
import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from bench.common.guard import Target
from bench.suites import slow, soak

SAID = """\x1b[0mslow HTTP test status on \x1b[0;32m10\x1b[1;32mth second:

\x1b[1;32minitializing:\x1b[1;32m        0
\x1b[1;32mpending:     \x1b[1;32m        3
\x1b[1;32mconnected:   \x1b[1;32m        1000
\x1b[1;32merror:       \x1b[1;32m        0
\x1b[1;32mclosed:      \x1b[1;32m        2
\x1b[1;32mservice available:\x1b[1;32m   \x1b[1;32mYES\x1b[0m
Exit status:\x1b[1;36m Hit test time limit
"""

HELD = {"open": 0, "files": 20, "kept": 3, "resident": 1}


def found(p95: float = 0.1, success: float = 1.0, **more: Any) -> dict[str, Any]:
    return {
        "title": "x",
        "attack": {"p95": p95, "p50": 0.01, "success": success},
        "challenges": 0,
        "tool": {"available": ["YES"]},
        "before": HELD,
        "after": HELD,
        "most": HELD,
        **more,
    }


def test_what_the_tool_says_is_understood() -> None:
    assert slow.tool_said(SAID) == {
        "available": ["YES"],
        "exit": "Hit test time limit",
        "initializing": 0,
        "pending": 3,
        "connected": 1000,
        "error": 0,
        "closed": 2,
    }
    assert slow.tool_said("")["available"] == []


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (found(0.119), ""),
        (found(0.121), "users' p95 is 121 ms, +21%"),
        (found(float("nan")), "users' p95 is nan ms, +nan%"),
        (found(success=0.999), "users' success is 99.90%"),
        (found(challenges=2), "users with a history saw 2 challenges"),
        (found(tool={"available": ["YES", "NO"]}), "slowhttptest found the service unavailable"),
        (found(after={**HELD, "files": 25, "kept": 8}), ""),
        (found(after={**HELD, "files": 21}), "not all sockets are back"),
        (found(after={**HELD, "open": 1}), "not all sockets are back"),
    ],
)
def test_what_is_wanted_of_a_mode(outcome: dict[str, Any], says: str) -> None:
    problems = slow.problems(outcome, found(0.1))
    assert len(problems) == bool(says)
    assert "".join(problems).startswith(says)


def test_without_the_tool_it_says_so_and_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    parser = argparse.ArgumentParser()
    slow.add_arguments(parser)
    arguments = parser.parse_args([])
    assert slow.run(arguments) == 0
    assert "apt-get install slowhttptest" in capsys.readouterr().err
    results = slow.play(arguments)
    assert results["problems"] == []
    assert "Left out: slowhttptest is not installed" in slow.markdown(results)


def test_the_table_has_a_row_for_each_mode() -> None:
    results = {
        "machine": {"cpu": "c", "kernel": "k", "python": "p"},
        "cores": "",
        "missing": "",
        "connections": 1000,
        "seconds": 25,
        "modes": {"calm": found(), "read": found(0.2)},
        "problems": ["read: slow"],
    }
    text = slow.markdown(results)
    assert text.count("| x ") == 2
    assert "+100%" in text
    assert "**Not as wanted**: read: slow." in text


def a_soak() -> soak.Soak:
    return soak.Soak(Target("127.0.0.1", 1), 1)


def test_every_answered_request_came_to_the_service_once() -> None:
    one = a_soak()
    for name, kind, what, times in (
        ("a", "get", "ok", 1),
        ("b", "get", "ok", 3),
        ("c", "post", "ok", 1),
        ("d", "post", "502", 1),
        ("e", "post", "502", 0),
        ("f", "get", "ok", 0),
        ("g", "get", "ok", 4),
        ("h", "post", "ok", 2),
        ("i", "chunked", "503", 2),
    ):
        one.outcome(kind, name, "ok", "") if what == "ok" else one.answered.__setitem__(name, (kind, what))
        one.seen[name] += times
    one.count_up()
    assert [problem.split(",")[0] for problem in one.problems] == ["get f", "get g", "post h", "chunked i"]


def test_an_error_is_excused_only_after_a_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    one = a_soak()
    monkeypatch.setattr(soak.time, "monotonic", lambda: 1000.0)
    one.outcome("get", "a", "502", "127.2.0.1")
    one.fell_at = 990.0
    one.outcome("get", "b", "502", "127.2.0.1")
    one.outcome("get", "c", "cut", "127.2.0.1")
    one.outcome("get", "d", "unanswered", "127.2.0.1")
    one.outcome("get", "e", "wrong", "127.2.0.1")
    one.outcome("get", "f", "429", "127.2.0.1")
    one.fell_at = 980.0
    one.outcome("get", "g", "503", "127.2.0.1")
    assert [problem.split()[1] for problem in one.problems] == ["a", "d", "e", "f", "g"]


def test_what_shield_must_not_hold_at_the_end() -> None:
    before = {"connections": 0, "streams": 0, "in_flight": 0, "waiting": 0, "files": 15, "tasks": 4, "resident": 1}
    assert soak.judge(before, {**before, "files": 14, "resident": 20 << 20}) == []
    after = {**before, "connections": 1, "files": 16, "tasks": 5, "resident": 100 << 20}
    assert [problem.split()[0] for problem in soak.judge(before, after)] == ["1", "16", "5", "memory"]


def test_every_way_to_be_a_nuisance_has_a_name() -> None:
    one = a_soak()
    one.random = random.Random(1)

    async def ways() -> list[str]:
        return [way.__name__ for way in soak.hostile(one)]

    names = asyncio.run(ways())
    assert len(set(names)) == len(names) == 12
