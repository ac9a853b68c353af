"""The model of the service: it does what queueing theory says that such a service does."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from shield.simulate.calendar import Calendar
from shield.simulate.origin import Origin
from shield.simulate.scene import Change, RouteModel, Service, Thrash


class Bench:
    """An origin, and the answers that came: (what, status, when)."""

    def __init__(self, model: Service) -> None:
        self.calendar = Calendar(0.0)
        self.answers: list[tuple[Any, int, float]] = []
        self.origin = Origin(model, self.calendar, Random(1), 0.0, lambda *answer: self.answers.append(answer))

    def ask(self, number: int, path: str = "/", now: float = 0.0) -> None:
        for i in range(number):
            self.origin.enter(i, self.origin.times(path), now)

    def run(self, until: float = 1e6) -> None:
        self.calendar.run(until)


def test_slots_work_at_the_same_time_and_the_rest_waits_in_order() -> None:
    bench = Bench(Service(slots=2, time=1.0, variation=0.0))
    bench.ask(5)
    assert (bench.origin.busy, bench.origin.inside) == (2, 5)
    bench.run()
    assert [(about, when) for about, _, when in bench.answers] == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0), (4, 3.0)]
    assert (bench.origin.busy, bench.origin.inside, bench.origin.answered, bench.origin.failed) == (0, 0, 5, 0)


def test_what_does_not_fit_into_its_queue_is_answered_503_at_once() -> None:
    bench = Bench(Service(slots=1, time=1.0, variation=0.0, backlog=1))
    bench.ask(3)
    bench.run()
    assert bench.answers == [(2, 503, 0.0), (0, 200, 1.0), (1, 200, 2.0)]
    assert bench.origin.failed == 1


@pytest.mark.parametrize("variation", [0.2, 0.5, 1.5])
def test_times_have_the_mean_and_the_variation_asked_for(variation: float) -> None:
    bench = Bench(Service(slots=100_000, time=0.05, variation=variation))
    bench.ask(40_000)
    bench.run()
    times = [when for _, _, when in bench.answers]
    mean = sum(times) / len(times)
    deviation = (sum((time - mean) ** 2 for time in times) / len(times)) ** 0.5
    assert mean == pytest.approx(0.05, rel=0.03)
    assert deviation / mean == pytest.approx(variation, rel=0.1)


def test_a_thrashing_service_gets_less_done_when_more_is_asked() -> None:
    def seconds(number: int) -> float:
        bench = Bench(Service(slots=1000, time=0.01, variation=0.0, thrash=Thrash(10, 2.0)))
        bench.ask(number)
        bench.run()
        return bench.answers[-1][2]

    assert seconds(10) == 0.01
    assert seconds(20) == pytest.approx(0.04)


def test_a_service_changes_while_it_works() -> None:
    changes = (Change(10.0, slots=2), Change(20.0, slower=3.0, errors=1.0), Change(30.0, slower=1.0, errors=0.0))
    bench = Bench(Service(slots=1, time=1.0, variation=0.0, changes=changes))
    bench.ask(4)
    bench.run(9.0)
    assert [when for _, _, when in bench.answers] == [1.0, 2.0, 3.0, 4.0]
    bench.run(15.0)
    bench.ask(4, now=15.0)
    bench.run(20.0)
    assert [when for _, _, when in bench.answers[4:]] == [16.0, 16.0, 17.0, 17.0]
    bench.run(25.0)
    bench.ask(1, now=25.0)
    bench.run(35.0)
    bench.ask(1, now=35.0)
    bench.run()
    assert bench.answers[8:] == [(0, 503, 28.0), (0, 200, 36.0)]


def test_more_slots_take_up_those_who_wait() -> None:
    bench = Bench(Service(slots=1, time=10.0, variation=0.0, changes=(Change(5.0, slots=3),)))
    bench.ask(3)
    bench.run()
    assert [when for _, _, when in bench.answers] == [10.0, 15.0, 15.0]


def test_routes_have_times_and_errors_of_their_own() -> None:
    bench = Bench(Service(routes={"/dear/*": RouteModel(2.0, variation=0.0, errors=1.0, status=404)}, variation=0.0))
    bench.ask(1, "/dear/*")
    bench.ask(1, "/other")
    bench.run()
    assert bench.answers == [(0, 200, 0.02), (0, 404, 2.0)]
    assert bench.origin.failed == 0  # a 404 is no failure of the service
