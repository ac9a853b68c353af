"""The line that sums up an attack every ten seconds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from shield.model import Action
from shield.operator.attack_report import AttackReport
from shield.operator.log import AccessLog, LogSettings
from shield.operator.metrics import Metrics
from shield.operator.story import sentence
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.request import Request
from shield.policy.settings import EngineSettings
from shield.policy.status import PolicyStatus, RouteStatus, StandoutsStatus
from shield.policy.tried import Tried
from shield.process.decisions import Decisions

Routes = list[tuple[str, int, float]]


def status(routes: Routes) -> PolicyStatus:
    calm = Engine(EngineSettings(), Keys(bytes(32)), bytes, 0.0, 0).status(1.0)
    return replace(
        calm,
        pressure=0.51234,
        demand=512.34,
        capacity=100.0,
        in_flight=16,
        concurrency=16,
        waiting=7,
        hitters=StandoutsStatus("many clients, few requests each", 0, 0.0, [], {}, {}),
        routes=[RouteStatus(route, count, baseline, baseline * 100) for route, count, baseline in routes],
    )


def test_it_counts_from_the_last_line_on() -> None:
    verdicts = {"forward": {"ok": 100}, "challenge": {"newcomer": 5, "bad_reputation": 1}, "limit": {"client_rate": 0}}
    report = AttackReport(0.0, status([("GET/", 100, 0.01), ("GET/search", 10, 0.1)]), verdicts)
    verdicts["challenge"]["newcomer"] = 1005
    verdicts["forward"]["ok"] = 130
    first = report.take(10.0, status([("GET/search", 1010, 0.1), ("GET/", 130, 0.01)]), verdicts)
    assert first == {
        "pressure": 0.512,
        "demand": 512.3,
        "capacity": 100.0,
        "in_flight": 16,
        "limit": 16,
        "waiting": 7,
        "requests": {"forward": {"ok": 30}, "challenge": {"newcomer": 1000}},
        "routes": {"GET/search": 1000, "GET/": 30},
        "would": {},
        "stands_out": {"pattern": "many clients, few requests each"},
    }
    verdicts["limit"]["client_rate"] = 2
    second = report.take(20.0, status([("GET/search", 1010, 0.1), ("GET/", 132, 0.01)]), verdicts)
    assert (second["requests"], second["routes"]) == ({"limit": {"client_rate": 2}}, {"GET/": 2})


def test_it_says_whom_a_dry_run_would_have_met() -> None:
    tried = Tried(["challenge"])
    engine = Engine(EngineSettings(), Keys(b"k" * 32), bytes, 0.0, 0)
    for number in range(3):
        client = engine.identify(f"192.0.2.{number}", "", "", "", 0.0)
        tried.note(Request(client, "GET", "/", {}, None, False, None), Action.CHALLENGE_DRY_RUN)
    now = replace(status([]), would=tried.status())
    found = AttackReport(0.0, now, {}).take(10.0, now, {})
    assert found["would"] == {"challenge": {"requests": 3, "visitors": 3, "known": 0}}
    said = sentence("attack", found)
    assert said.endswith("a dry run would have challenged 3 visitors, 0 of them known")


@pytest.mark.parametrize(
    ("before", "after", "busiest"),
    [
        ([("a", 9), ("b", 8), ("c", 7)], [("n", 50), ("a", 9), ("b", 8)], {"n": 43}),  # it may have had 7
        ([("a", 9)], [("n", 50), ("a", 10)], {"n": 50, "a": 1}),
        ([], [("n", 50)], {"n": 50}),
        ([], [(name, 10 + at) for at, name in enumerate("abcdef")], {"f": 15, "e": 14, "d": 13}),
    ],
)
def test_the_three_busiest_routes_are_named(
    before: list[tuple[str, int]], after: list[tuple[str, int]], busiest: dict[str, int]
) -> None:
    report = AttackReport(0.0, status([(*each, 0.01) for each in before]), {})
    routes = report.take(10.0, status([(*each, 0.01) for each in after]), {})["routes"]
    assert list(routes.items()) == list(busiest.items())


class Lines:
    written = dropped = 0

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def put(self, line: bytes) -> None:
        self.lines.append(orjson.loads(line))

    def flush(self) -> bool:
        return True


def test_while_an_attack_lasts_there_is_one_line_every_ten_seconds() -> None:
    lines = Lines()
    said = {10: ("attack_onset", {"cause": "demand"}), 50: ("ban", {}), 100: ("attack_end", {"seconds": 45.0})}
    engine = SimpleNamespace(attack=False, status=lambda now: status([]), events=lambda: ())
    decisions = Decisions(cast("Any", engine), Metrics(), AccessLog(LogSettings(), lines, lambda: 0.0, 0.0))
    for tick in range(120):  # half seconds: calm, 45 s of attack, calm
        engine.attack = 10 <= tick < 100
        engine.events = lambda tick=tick: [said[tick]] if tick in said else []
        decisions.tell(tick * 0.5)
    events = [(line["event"], line["level"]) for line in lines.lines if line["event"] != "attack"]
    assert events == [("attack_onset", "warning"), ("ban", "info"), ("attack_end", "warning")]
    assert [line["event"] for line in lines.lines].count("attack") == 4
