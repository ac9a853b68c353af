"""A report out of what a running Shield says, where it serves several sites."""

from __future__ import annotations

from typing import Any

from shield.operator.figures import COLUMNS
from shield.report import from_shield, page


def onset(at: float, site: str) -> dict[str, Any]:
    return {
        "at": at,
        "event": "attack_onset",
        "fields": {"site": site, "cause": "latency", "requests_per_second": 90.0},
    }


def over(at: float, site: str, seconds: float) -> dict[str, Any]:
    peaks = {"peak_requests_per_second": 300.0, "peak_pressure": 0.8}
    return {"at": at, "event": "attack_end", "fields": {"site": site, "cause": "latency", "seconds": seconds, **peaks}}


def said(*events: dict[str, Any], **state: Any) -> dict[str, Any]:
    return {
        "at": 4000.0, "since": 1000.0, "step": 60.0, "columns": list(COLUMNS),
        "rows": [[at, *([0.0] * (len(COLUMNS) - 2)), 1.0] for at in (1000.0, 1060.0)], "counted_since": 1000.0,
        "counted": {"sites": {"shop": 70, "blog<b>": 900}, "requests": {"forward": {"ok": 970}}}, "state": state,
        "events": list(events), "refused": [], "bans": 0,
    }  # fmt: skip


def test_attacks_are_told_of_each_site() -> None:
    events = (onset(1100.0, "shop"), onset(1200.0, "blog<b>"), over(1300.0, "shop", 200.0), over(900.0, "old", 50.0))
    blog = {"site": "blog<b>", "attack": True, "pressure": 0.6}
    made = from_shield.account(said(*events, sites=[blog]), "here")
    assert [(each.site, each.begin, each.end) for each in made.attacks] == [
        ("shop", 1100.0, 1300.0),
        ("blog<b>", 1200.0, None),
    ]
    assert made.attacks[0].peak_rate == 300.0
    assert made.sites == [("blog<b>", "900 requests"), ("shop", "70 requests")]
    text = page.html(made)
    assert text.startswith("<!doctype html>")
    assert "blog&lt;b&gt;" in text
    assert "blog<b>" not in text
    assert '<th scope="col">Site</th>' in text


def test_an_attack_whose_beginning_is_forgotten_has_its_length() -> None:
    made = from_shield.account(said(over(1300.0, "shop", 200.0), onset(1250.0, "gone")), "here")
    assert [(each.site, each.begin, each.end) for each in made.attacks] == [("shop", 1100.0, 1300.0)]


def test_an_attack_that_has_just_begun_is_told_before_there_are_figures_of_it() -> None:
    begun = {"cause": "waiting", "requests_per_second": 131.6, "pressure": 0.11}
    told = said({"at": 3999.5, "event": "attack_onset", "fields": begun}, attack=True)
    told["counted"] = {"requests": {"forward": {"ok": 970}}}
    told["rows"] = [[*row[:-1], 0.0] for row in told["rows"]]
    (attack,) = from_shield.account(told, "here").attacks
    assert (attack.begin, attack.end, attack.peak_rate) == (3999.5, None, 131.6)
