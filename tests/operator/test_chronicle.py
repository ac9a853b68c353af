"""What is kept of a day for a report."""

from __future__ import annotations

from typing import Any

from shield.operator.chronicle import COUNTS_SECONDS, Chronicle
from shield.operator.figures import COLUMNS


def row(at: float, **values: float | None) -> list[float | None]:
    made: dict[str, float | None] = dict.fromkeys(COLUMNS, 0.0)
    return list({**made, "time": at, **values}.values())


def test_a_minute_has_the_mean_of_rates_and_the_worst_of_what_users_feel() -> None:
    kept = Chronicle()
    for second in range(180):
        hot = second == 70
        values = {"forward": 60.0 if hot else 0.0, "pressure": 0.9 if hot else 0.1, "known_p95": 2.0 if hot else None}
        kept.take(6000.0 + second, row(6000.0 + second, **values), {})
    minutes = kept.minutes(6000.0)
    assert [minute[0] for minute in minutes] == [6000.0, 6060.0, 6120.0]
    named = dict(zip(COLUMNS, minutes[1], strict=True))
    assert (named["forward"], named["pressure"], named["known_p95"]) == (1.0, 0.9, 2.0)
    assert dict(zip(COLUMNS, minutes[0], strict=True))["known_p95"] is None
    assert len(kept.minutes(6060.0)) == 2


def test_a_day_is_kept_and_no_more() -> None:
    kept = Chronicle()
    for minute in range(2000):
        kept.take(minute * 60.0, row(minute * 60.0), {"requests": {}})
    assert len(kept.minutes(0.0)) == 1441  # with the present one
    assert len(kept._counts) == 86_400 // COUNTS_SECONDS


def test_what_was_counted_since() -> None:
    kept = Chronicle()

    def counts(ok: int, newcomer: int = 0) -> dict[str, Any]:
        return {"requests": {"forward": {"ok": ok}, "challenge": {"newcomer": newcomer}}, "routes": {"GET/": ok}}

    for step in range(4):
        kept.take(1000.0 + step * COUNTS_SECONDS, row(0.0), counts(100 * step))
    now = counts(350, 7)
    assert kept.counted(1000.0 + COUNTS_SECONDS * 2.5, now) == (
        1000.0 + COUNTS_SECONDS * 2,
        {"requests": {"forward": {"ok": 150}, "challenge": {"newcomer": 7}}, "routes": {"GET/": 150}},
    )
    since, found = kept.counted(0.0, now)
    assert (since, found["requests"]["forward"]) == (1000.0, {"ok": 350})
    assert kept.counted(3000.0, counts(5))[1]["requests"] == {"forward": {"ok": 5}}, "a worker was replaced"
    assert Chronicle().counted(7.0, counts(5)) == (7.0, {"requests": {"forward": {"ok": 5}}, "routes": {"GET/": 5}})
