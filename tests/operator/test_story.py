"""Events and reasons in words."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Reason
from shield.operator.events import EVENTS
from shield.operator.story import CAUSES, MOST_CHARS, OF_CLIENTS, REASONS, TOLD, duration, number, route, sentence
from shield.operator.timeline import MOST, Timeline

ONSET = {"cause": "demand", "pressure": 0.1, "demand": 812.0, "capacity": 640.0, "requests_per_second": 512.3}


def test_each_reason_has_words_and_each_told_event_is_logged() -> None:
    assert set(REASONS) == set(Reason)
    assert TOLD.keys() <= EVENTS.keys()
    assert TOLD.keys() >= OF_CLIENTS


@pytest.mark.parametrize("name", TOLD)
def test_each_event_can_be_told_by_the_fields_that_it_is_logged_with(name: str) -> None:
    numbers = {"seconds", "requests_per_second", "peak_requests_per_second", "share", "networks"}
    fields: dict[str, Any] = {field: 7.0 if field in numbers else "x" for field in EVENTS[name].fields}
    if name == "attack":
        fields |= {"requests": {"forward": {"ok": 3}}, "routes": {}, "would": {}}
    said = sentence(name, fields)
    assert said != name.replace("_", " ")
    assert said[0].isupper() or said.startswith(("x ", "x: "))


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("attack_onset", ONSET, "An attack begins: 512 requests/s; more is asked for than the service can do"),
        (
            "attack_onset",
            {**ONSET, "times": 4.1, "clients": 312, "routes": ["GET/search"]},
            (
                "An attack begins: 4.1 times the usual rate (512 requests/s), from 312 unknown clients, "
                "on GET /search; more is asked for than the service can do"
            ),
        ),
        (
            "attack",
            {"requests": {"forward": {"ok": 120}, "limit": {"client_rate": 12, "pass_rate": 3}}, "routes": {"GET/": 9}},
            "It goes on: 120 requests let through in 10 s, 15 limited; most ask for GET /",
        ),
        ("attack", {"requests": {}}, "It goes on: 0 requests let through in 10 s, none refused"),
        (
            "attack_end",
            {"seconds": 185.2, "peak_requests_per_second": 900.0},
            "The attack is over after 3 min 5 s; at most 900 requests/s",
        ),
        (
            "ban",
            {"client": "ab12", "address": "192.0.2.7", "seconds": 60.0, "signal": "answer_forged"},
            "Banned client ab12 at 192.0.2.7 for 1 min: answer forged",
        ),
        (
            "rule_added",
            {"kind": "dry_run", "subject": "", "value": "on", "author": "ann", "note": "a try"},
            "Rule made by ann: dry run on: a try",
        ),
        ("attack_end", {}, "attack end"),
        ("suppressed", {}, "suppressed"),
    ],
)  # fmt: skip
def test_sentences(name: str, fields: dict[str, Any], text: str) -> None:
    assert sentence(name, fields) == text


def test_what_a_client_says_of_itself_is_cut() -> None:
    said = sentence("fingerprint_limited", {"share": 0.5, "user_agent": "x" * 5000})
    assert len(said) == MOST_CHARS


def test_figures_in_words() -> None:
    assert [duration(s) for s in (0, 59.6, 61, 3600, 7322)] == ["0 s", "1 min", "1 min 1 s", "1 h 0 min", "2 h 2 min"]
    assert [number(n) for n in (0, 0.71, 12.4, 1203)] == ["0", "0.7", "12", "1,203"]
    assert [route(r) for r in ("GET/a/*", "GET /a", "other")] == ["GET /a/*", "GET /a", "other"]
    assert CAUSES["held"]


def test_a_flood_of_bans_pushes_no_onset_out() -> None:
    timeline = Timeline(1000.0)
    timeline.note(1.0, "attack_onset", ONSET)
    for at in range(10 * MOST):
        timeline.note(2.0 + at, "ban", {"client": str(at)})
    timeline.note(3.0, "upstream_connect_failed", {"server": "a"})
    kept = timeline.plain()
    assert len(kept) == MOST + 1
    assert (kept[0]["at"], kept[0]["fields"]) == (1001.0 + 10 * MOST, {"client": str(10 * MOST - 1)})
    assert (kept[-1]["at"], kept[-1]["event"]) == (1001.0, "attack_onset")
