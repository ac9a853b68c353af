"""Rows and states of the dashboard, out of statuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

from shield.operator.figures import COLUMNS, KEPT_SECONDS, MOST_DETAILS, Recorder, challenged, percentile, why
from shield.operator.metrics import Metrics
from shield.operator.status import plain
from tests.operator.test_status import make_status

NOTHING: dict[str, Any] = {"refused": [], "events": []}


def status(requests: dict[str, dict[str, int]] | None = None, **more: Any) -> dict[str, Any]:
    return {**plain(make_status()), "requests": requests or {}, **more}


def row(recorder: Recorder, now: float, said: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(COLUMNS, recorder.take(now, said), strict=True))


def several(*workers: dict[str, Any], **totals: Any) -> dict[str, Any]:
    parts = [
        {"worker": number, "pid": 1, "restarts": 0, "answers": bool(each), **each}
        for number, each in enumerate(workers)
    ]
    return {**status(), **totals, "workers": parts}


def test_rates_are_of_the_last_second() -> None:
    recorder = Recorder()
    row(recorder, 100.0, status({"forward": {"ok": 10}}))
    said = row(recorder, 101.0, status({"forward": {"ok": 30, "api_key": 5}, "limit": {"client_rate": 7}}))
    assert (said["time"], said["forward"], said["limit"], said["ban"]) == (101, 25, 7, 0)
    later = row(recorder, 103.0, status({"forward": {"ok": 30, "api_key": 5}, "limit": {"client_rate": 8}}))
    assert (later["forward"], later["limit"]) == (0, 0.5)


def test_a_worker_that_began_anew_makes_no_negative_rate() -> None:
    recorder = Recorder()
    row(recorder, 100.0, status({"forward": {"ok": 1000}}))
    assert row(recorder, 101.0, status({"forward": {"ok": 3}}))["forward"] == 0


def test_a_dry_run_lets_through_what_it_would_refuse() -> None:
    recorder = Recorder()
    row(recorder, 100.0, status())
    said = row(recorder, 101.0, status({"forward": {"ok": 4}, "limit_dry_run": {"client_rate": 6}}))
    assert (said["forward"], said["limit"], said["would_refuse"]) == (10, 0, 6)


def test_latency_is_told_by_who_was_served() -> None:
    recorder, metrics = Recorder(), Metrics()
    empty = plain(metrics.counters())["latency"]
    row(recorder, 100.0, status(latency=empty))
    for _ in range(100):
        metrics.request_seconds[1].observe(0.02)
    metrics.request_seconds[3].observe(0.7)
    counted = plain(metrics.counters())["latency"]
    said = row(recorder, 101.0, status(latency=counted))
    assert 0.01 < said["known_p95"] < 0.025
    assert 0.5 < said["new_p95"] <= 1.0
    assert said["bought_p95"] is None
    tiers = recorder.state(status(latency=counted), NOTHING)["tiers"]
    assert [(each["tier"], each["served"]) for each in tiers if each["served"]] == [("T1", 100.0), ("T3", 1.0)]
    assert tiers[0]["p50"] is None


def test_a_worker_that_misses_a_second_makes_no_peak_and_ends_no_attack() -> None:
    """The story: a report of a minute on a busy machine told of seven attacks, and of 545 requests in a second in
    which ten were sent: one worker, then both, had not answered in time."""
    recorder = Recorder()

    def second(now: float, one: int, two: int) -> tuple[float, float]:
        answers = [{"worker": number, "answers": bool(count)} for number, count in ((0, one), (1, two))]
        said = status({"forward": {"ok": one + two}}, attack=True) if one or two else {}
        found = row(recorder, now, {**said, "workers": answers})
        return found["forward"], found["attack"]

    seconds = [(500, 500), (510, 505), (515, 0), (525, 0), (535, 530), (545, 540), (0, 0), (565, 560), (570, 570)]
    rates = [second(100.0 + n, *counts) for n, counts in enumerate(seconds)]
    assert [rate for rate, _ in rates] == [0.0, 15.0, 0.0, 10.0, 0.0, 20.0, 0.0, 0.0, 15.0]
    assert all(attack for _, attack in rates)


def site(requests: int, **more: Any) -> dict[str, Any]:
    return {
        "ready": True, "dry_run": False, "pressure": 0.0, "attack": False, "attack_seconds": 0.0, "attack_cause": "",
        "demand": 1.0, "capacity": 9.0, "concurrency": 20.0, "in_flight": 1, "waiting": 0, "price": 4096,
        "requests_by_tier": {"T0": requests, "T3": 1}, "upstream": [], **more,
    }  # fmt: skip


def test_the_site_that_is_worst_off_stands_first() -> None:
    recorder = Recorder()
    row(recorder, 100.0, status(sites={"a": site(10), "b": site(0), "c": site(5)}))
    attacked = site(60, attack=True, attack_seconds=7.0, attack_cause="latency", pressure=0.2)
    now = status(sites={"a": site(10), "b": attacked, "c": site(6, pressure=0.4)})
    row(recorder, 102.0, now)
    found = recorder.state(now, NOTHING)["sites"]
    assert [(each["site"], each["asked"]) for each in found] == [("b", 30.0), ("c", 0.5), ("a", 0.0)]
    assert found[0]["cause"] == "the service has become slow"
    assert found[1]["cause"] == ""


def test_one_site_is_no_list() -> None:
    recorder = Recorder()
    row(recorder, 100.0, status())
    assert recorder.state(status(), NOTHING)["sites"] == []


@pytest.mark.parametrize(
    ("counts", "part", "found"),
    [
        ({"0.1": 10}, 0.5, 0.05),
        ({"0.1": 50, "0.5": 50}, 0.5, 0.1),
        ({"0.1": 50, "0.5": 50}, 0.75, 0.3),
        ({"0.1": 1, "30.0": 0, "inf": 99}, 0.95, 30.0),
    ],
)
def test_percentiles(counts: dict[str, int], part: float, found: float) -> None:
    assert percentile(counts, part) == pytest.approx(found)
    assert math.isnan(percentile({}, part))


def test_a_quarter_of_an_hour_is_kept() -> None:
    recorder = Recorder()
    for second in range(KEPT_SECONDS + 50):
        recorder.take(float(second), status())
    history = recorder.history()
    assert history["columns"] == list(COLUMNS)
    assert [len(history["rows"]), history["rows"][0][0], history["rows"][-1][0]] == [
        KEPT_SECONDS,
        50,
        KEPT_SECONDS + 49,
    ]


def test_the_state_says_who_is_refused_and_why() -> None:
    recorder = Recorder()
    recorder.take(100.0, status())
    said = status({"limit": {"client_rate": 20}, "challenge": {"newcomer": 50}, "queue": {"at_capacity": 9}})
    recorder.take(110.0, said)
    refused = [{"address": "192.0.2.7", "reason": "newcomer"}]
    state = recorder.state(said, {"refused": refused, "events": []})
    assert [(each["reason"], each["rate"]) for each in state["verdicts"]] == [("newcomer", 5.0), ("client_rate", 2.0)]
    assert state["refused"] == [{**refused[0], "why": "a newcomer, under pressure"}]
    assert (why("unheard"), state["workers"]) == ("unheard", [])


def test_several_workers_are_one() -> None:
    follower = status(networks={}, upstream=[{"server": "a", "healthy": True, "ejected": False, "outstanding": 2}])
    follower["board"] = {"leads": False}
    follower["market"] = {"price": 1, "waiting": 5}
    follower["hitters"] = {"fingerprints": [{"fingerprint": "f", "share": 0.2}]}
    leader = status(upstream=[{"server": "a", "healthy": False, "ejected": False, "outstanding": 3}])
    leader["market"] = {"price": 9, "waiting": 1}
    leader["hitters"] = {"fingerprints": [{"fingerprint": "f", "share": 0.6}]}
    recorder = Recorder()
    for now, count in ((100.0, 10), (110.0, 40)):
        follower["routes"] = leader["routes"] = [{"route": "GET/a", "requests": count}]
        both = several(follower, leader, {})
        said = dict(zip(COLUMNS, recorder.take(now, both), strict=True))
    assert (said["price"], said["room"]) == (9, 5)
    state = recorder.state(both, NOTHING)
    assert state["routes"] == [("GET /a", 6.0)]
    assert state["servers"] == [{"server": "a", "healthy": False, "ejected": False, "outstanding": 5}]
    assert state["stands_out"] == [{"fingerprint": "f", "share": 0.6}]
    assert [each["answers"] for each in state["workers"]] == [True, True, False]


def test_with_no_worker_that_answers_there_is_a_row_still() -> None:
    recorder = Recorder()
    said = {"ready": False, "workers": [{"worker": 0, "pid": None, "restarts": 3, "answers": False}]}
    assert len(recorder.take(100.0, said)) == len(COLUMNS)
    assert recorder.state(said, NOTHING)["ready"] is False


def test_an_onset_is_told_with_what_is_usual_and_who_asks() -> None:
    recorder = Recorder()
    for second in range(40):
        recorder.take(100.0 + second, status({"forward": {"ok": 100 * second}}))
    hitters = {"fingerprints": [], "clients": 312, "routes": {"GET/search": 0.9, "GET/": 0.1}}
    attacked = status({"forward": {"ok": 4100}}, attack=True, hitters=hitters)
    recorder.take(141.0, attacked)
    onset = {"at": 140.5, "event": "attack_onset", "fields": {"cause": "demand", "requests_per_second": 410.0}}
    (told,) = recorder.state(attacked, {"refused": [], "events": [onset]})["events"]
    assert told["text"].startswith(
        "An attack begins: 4.1 times the usual rate (410 requests/s), from 312 unknown clients"
    )
    assert "on GET /search;" in told["text"]
    recorder.take(200.0, status(attack=True))  # later others may ask: it is told as it was
    (again,) = recorder.state(status(attack=True), {"refused": [], "events": [onset]})["events"]
    assert again == told


def test_what_is_known_of_onsets_is_bounded() -> None:
    recorder = Recorder()
    recorder.take(100.0, status())
    for at in range(3 * MOST_DETAILS):
        onset = {"at": float(at), "event": "attack_onset", "fields": {"cause": "rate", "requests_per_second": 1.0}}
        recorder.state(status(), {"refused": [], "events": [onset]})
    assert len(recorder._details) <= MOST_DETAILS


def test_files_and_crawlers_in_words() -> None:
    recorder = Recorder()
    said = status()
    said["databases"]["/asn.mmdb"]["age"] = 86_400.0 * 9
    row(recorder, 100.0, said)
    assert recorder.state(said, NOTHING)["files"] == [
        {"name": "/asn.mmdb", "kind": "asn", "text": "GeoLite2-ASN, made 9 days ago", "error": ""},
        {
            "name": "/drop.txt",
            "kind": "deny",
            "text": "1,000 networks, written 1 h 0 min ago",
            "error": 'line 3: "x" is no network',
        },
        {
            "name": "Googlebot",
            "kind": "crawler",
            "text": "12 claims; addresses confirmed 3, refuted 9, without an answer 1",
            "error": "",
        },
    ]


def test_networks_have_their_places() -> None:
    recorder = Recorder()
    said = status(networks={"192.0.2.0/24": 9.0, "198.51.100.0/24": 4.0}, networks_in={"192.0.2.0/24": "AS64500"})
    row(recorder, 100.0, said)
    assert recorder.state(said, NOTHING)["networks"] == [
        ("192.0.2.0/24", 9.0, "AS64500"),
        ("198.51.100.0/24", 4.0, ""),
    ]


def test_who_was_challenged_is_told_by_browser_with_those_who_gave_up() -> None:
    counted = {
        "asked": {"T3": {"chrome": 10, "firefox": 4}},
        "let_in": {"T3": {"chrome": 7}},
        "seconds": {"T3": {"chrome": {"1": 6, "5": 1}}},
    }
    chrome, firefox = challenged(counted, {"T3": {"chrome": 1, "firefox": -1}})
    assert {key: chrome[key] for key in ("browser", "asked", "let_in", "not_yet", "gave_up")} == {
        "browser": "chrome",
        "asked": 10,
        "let_in": 7,
        "not_yet": 1,
        "gave_up": 2,
    }
    assert 0.5 < chrome["p50"] < 1 < chrome["p95"] <= 5
    assert (firefox["let_in"], firefox["not_yet"], firefox["gave_up"], firefox["p50"]) == (0, 0, 4, None)
    assert challenged({}, {}) == []
