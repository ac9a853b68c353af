"""Raw results of a run under attack and of one with slow connections, as several tests of the bench need them."""

from __future__ import annotations

from typing import Any

HELD = {"open": 0, "files": 20, "kept": 3, "resident": 1}


def slow_mode(p95: float = 0.1, success: float = 1.0, **more: Any) -> dict[str, Any]:
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


def outcome(**changes: Any) -> dict[str, Any]:
    figures = {"success": 1.0, "p95": 0.1, "p50": 0.05, "pages": 1.0, "requests": 5}
    return {
        "title": "Shield",
        "says": "as shipped",
        "visits": figures,
        "calm": figures,
        "attack": figures,
        "later": figures,
        "recovery": {"seconds": 1.0, "later": 0.0},
        "challenges": 0,
        "groups": {},
        "cookies": 20,
        "calm_windows_above": 0.0,
        "attackers": {"statuses": {"503": 5}, "sent": 5, "first_byte": 0.0},
        "origin": {"during": {"user": 5}, "most_taken": 4},
        "cpu_seconds": 0.0,
        "taken": {"calm": {"core": 0.02, "resident": 60e6}, "attack": {"core": 0.03, "resident": 61e6}},
    } | changes


def newcomers(success: float = 1.0) -> dict[str, Any]:
    """As the groups of a run have them."""
    phase = {"success": success, "p95": 0.1}
    return {"newcomer": {"people": 10, "calm": phase, "attack": phase, "challenges": 0}}
