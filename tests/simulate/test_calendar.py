"""The calendar queue: what is due comes in order, whatever the order of entering."""

from __future__ import annotations

from math import inf
from random import Random

from shield.simulate.calendar import DAY, Calendar


def test_events_come_in_the_order_of_their_times_and_equals_in_that_of_entering() -> None:
    random = Random(1)
    calendar = Calendar(100.0)
    times = [100.0 + random.choice((0.0, 0.01, 1.0, 1.0, 50.0, DAY, 2 * DAY)) * random.randrange(3) for _ in range(500)]
    seen: list[tuple[float, int]] = []
    for number, time in enumerate(times):
        calendar.at(time, lambda about, now: seen.append((now, about)), number)
    calendar.run(inf)
    assert seen == sorted(zip(times, range(500), strict=True))


def test_what_an_event_brings_about_comes_in_its_turn() -> None:
    calendar = Calendar(0.0)
    seen: list[str] = []

    def first(about: str, now: float) -> None:
        seen.append(about)
        calendar.at(now, second, "at once")
        calendar.at(now + 10.0, second, "later")

    def second(about: str, now: float) -> None:
        seen.append(f"{about} {now:g}")

    calendar.at(5.0, first, "first")
    calendar.at(5.5, second, "after")
    calendar.run(8.0)
    assert seen == ["first", "at once 5", "after 5.5"]
    assert calendar.next_time() == 15.0
    calendar.at(9.0, second, "before the next page")
    calendar.run(20.0)
    assert seen[3:] == ["before the next page 9", "later 15"]
    assert calendar.next_time() == inf
