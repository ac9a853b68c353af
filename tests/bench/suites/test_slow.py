"""Slow connections: what the tool says, and what is wanted."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from bench.suites import slow
from tests.bench.outcomes import HELD, slow_mode

SAID = """\x1b[0mslow HTTP test status on \x1b[0;32m10\x1b[1;32mth second:

\x1b[1;32minitializing:\x1b[1;32m        0
\x1b[1;32mpending:     \x1b[1;32m        3
\x1b[1;32mconnected:   \x1b[1;32m        1000
\x1b[1;32merror:       \x1b[1;32m        0
\x1b[1;32mclosed:      \x1b[1;32m        2
\x1b[1;32mservice available:\x1b[1;32m   \x1b[1;32mYES\x1b[0m
Exit status:\x1b[1;36m Hit test time limit
"""


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
        (slow_mode(0.119), ""),
        (slow_mode(0.121), "users' p95 is 121 ms, +21%"),
        (slow_mode(float("nan")), "users' p95 is nan ms, +nan%"),
        (slow_mode(success=0.999), "users' success is 99.90%"),
        (slow_mode(challenges=2), "users with a history saw 2 challenges"),
        (slow_mode(tool={"available": ["YES", "NO"]}), "slowhttptest found the service unavailable"),
        (slow_mode(after={**HELD, "files": 25, "kept": 8}), ""),
        (slow_mode(after={**HELD, "files": 21}), "not all sockets are back"),
        (slow_mode(after={**HELD, "open": 1}), "not all sockets are back"),
    ],
)
def test_what_is_wanted_of_a_mode(outcome: dict[str, Any], says: str) -> None:
    problems = slow.problems(outcome, slow_mode(0.1))
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
