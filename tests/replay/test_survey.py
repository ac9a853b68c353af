"""What is found in logs before they are replayed: times of routes, the service's limit, who comes regularly."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from shield.replay import survey
from shield.replay.lines import UNKNOWN, Line
from shield.replay.survey import OTHER, UNKNOWN_TIME, Survey

START = 1_800_000_000.0


def line(at: float, path: str = "/", seconds: float = 0.02, address: str = "192.0.2.1", status: int = 200) -> Line:
    return Line(START + at, seconds, True, address, "GET", path, status, "Mozilla/5.0")


def surveyed(lines: Iterable[Line]) -> Survey:
    found = Survey()
    for each in sorted(lines, key=lambda each: each.at):
        found.add(each)
    found.close()
    return found


def test_a_route_takes_the_median_of_what_the_log_says_of_it() -> None:
    random = Random(1)
    lines = [line(i, f"/shop/{i}", random.lognormvariate(-4.0, 0.5)) for i in range(2000)]
    lines += [line(i + 0.5, "/report", 2.0) for i in range(9)] + [line(i + 0.7, "/report", 300.0) for i in range(20)]
    found = surveyed(lines)
    assert found.time_of("GET /shop/*") == pytest.approx(0.0183, rel=0.15)
    assert found.time_of("GET /report") == pytest.approx(2.0)  # what takes minutes is no sample of it
    assert found.time_of("GET /never") == UNKNOWN_TIME


def test_a_service_at_its_limit_shows_how_much_it_does_at_the_same_time() -> None:
    """Ten slots, 100 ms each: it ends 100 in a second, whatever is asked. From 60 s on 150 are, and each waits."""
    lines = [line(i / 20, seconds=0.1) for i in range(1200)]
    ends = 60.0
    for number in range(750):
        ends += 0.01
        came = 60.0 + number / 150
        lines.append(line(came, seconds=ends - came + 0.1))
    found = surveyed(lines)
    assert found.limit_seen is False  # within ten seconds: too short to say
    for number in range(750, 4000):
        ends += 0.01
        lines.append(line(60.0 + number / 150, seconds=ends - 60.0 - number / 150 + 0.1))
    found = surveyed(lines)
    assert found.limit_seen
    assert found.slots == pytest.approx(10, abs=1)


def test_a_service_whose_limit_was_not_seen_is_taken_to_do_more_than_it_did() -> None:
    found = surveyed([line(i / 100, seconds=0.1) for i in range(6000)])
    assert not found.limit_seen
    assert 18 <= found.slots <= 24  # twice the ten that it did
    assert surveyed([line(0), line(9)]).slots == survey.LEAST_SLOTS


def test_a_flood_does_not_teach_how_long_a_route_takes() -> None:
    lines = [line(i, "/search", 0.02) for i in range(600)]
    lines += [line(600 + i / 200, "/search", 5.0) for i in range(24_000)]
    assert surveyed(lines).time_of("GET /search") == pytest.approx(0.02, rel=0.05)


def test_a_log_without_durations_says_nothing_of_times() -> None:
    found = surveyed([line(i, seconds=UNKNOWN) for i in range(50)])
    assert found.timed == 0
    assert found.time_of("GET /") == UNKNOWN_TIME


@pytest.mark.parametrize(
    ("lines", "regular"),
    [
        ([line(0), line(200)], True),
        ([line(0), line(1), line(2)], False),  # one visit
        ([line(0), line(70)], False),  # not for long
        ([line(0), *(line(200, status=404) for _ in range(3))], False),
        ([line(0), line(200), *(line(i / 10) for i in range(2000))], False),  # in a hurry
    ],
)
def test_who_looks_like_a_regular(lines: list[Line], regular: bool) -> None:
    assert bool(list(surveyed(lines).regulars())) is regular


def test_a_flood_of_addresses_is_forgotten_before_those_who_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "MOST_VISITORS", 1000)
    lines = [line(i, address=f"198.51.100.{i % 50}") for i in range(1000)]
    lines += [line(i / 10, address=f"10.{i % 200}.{i // 200}.1") for i in range(5000)]
    found = surveyed(lines)
    assert len(found.visitors) <= 1000
    assert found.forgotten > 3000
    assert sum(1 for _ in found.regulars()) == 50


def test_a_flood_of_those_who_come_twice_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "MOST_VISITORS", 1000)
    found = surveyed(
        line(i / 10 + 200 * turn, address=f"10.0.{i // 2 % 250}.{i % 4}") for i in range(900) for turn in (0, 1)
    )
    found = surveyed(
        line(i * 0.1 + 200 * turn, address=f"10.{i // 200}.{i % 200}.9") for i in range(3000) for turn in (0, 1)
    )
    assert len(found.visitors) <= 1000


def test_paths_without_end_are_routes_with_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "MOST_ROUTES", 20)
    monkeypatch.setattr(survey, "MOST_PATHS", 50)
    found = surveyed(line(i, f"/page-{chr(97 + i % 26)}{chr(97 + i // 26)}") for i in range(400))
    assert len(found.routes) == 21
    assert found.routes[OTHER].count == 380
    assert found.time_of("GET /elsewhere") == found.time_of(OTHER)
