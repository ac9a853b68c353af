"""What a request costs before it has run."""

from __future__ import annotations

import math
import random

import pytest

from shield.policy.routes import SPREAD, Route, Routes, RoutesSettings, cost_of, template

NOW = 4_321.0
SHIPPED = RoutesSettings()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/items/17/edit", "/items/*/edit"),
        ("/app.3f9a2b1c.js", "/app.*.js"),
        ("/u/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/u/*"),
        ("/t/QUJDREVGR0hJSktMTU5PUFE5x", "/t/*"),
        ("/static/bootstrap", "/static/bootstrap"),
        ("/a-long-word-without-any-digit-in-it", "/a-long-word-without-any-digit-in-it"),
    ],
)
def test_names_of_things_are_replaced_in_a_path(path: str, expected: str) -> None:
    assert template(path) == expected


def test_a_template_is_of_bounded_length() -> None:
    assert len(template("/x" * 5000)) == 128


def test_methods_are_routes_of_their_own() -> None:
    routes = Routes(SHIPPED, 16, 16, {})
    assert routes["GET/items/1"] is routes["GET/items/2"]
    assert routes["GET/items/1"] is not routes["POST/items/1"]


def test_the_baseline_is_the_median_and_not_the_outliers() -> None:
    rng = random.Random(5)
    route = Routes(SHIPPED, 16, 16, {})["GET/"]
    for i in range(3000):
        slow = 10 if rng.random() < 0.1 else 1
        route.sample(0.030 * rng.lognormvariate(0, 0.5) * slow, NOW + i)
    assert route.baseline == pytest.approx(0.033, rel=0.25)
    assert route.cost == cost_of(route.baseline, SHIPPED)


def test_a_flood_cannot_teach_its_slowness_in_a_second() -> None:
    route = Routes(SHIPPED, 16, 16, {})["GET/"]
    for i in range(100):
        route.sample(0.010, NOW + i)
    usual = route.baseline
    for i in range(1000):
        route.sample(1.0, NOW + 100 + i / 1000)
    assert route.baseline < 1.05 * usual


def test_costs_are_bounded_and_fast_is_fast() -> None:
    route = Routes(SHIPPED, 16, 16, {})["GET/"]
    for i in range(SHIPPED.settled):
        route.sample(0.0, NOW + i)
    assert route.baseline == 0.002
    assert [cost_of(seconds, SHIPPED) for seconds in (0.0, 0.002, 0.1, 100.0)] == [0.2, 0.2, 10.0, 50.0]


def test_the_operator_sets_the_cost_of_a_template() -> None:
    routes = Routes(SHIPPED, 16, 16, {"/report/7": 25.0})
    route = routes["GET/report/12"]
    route.sample(0.001, NOW)
    assert route.fixed
    assert route.cost == 25.0


def test_heavy_routes_stay_in_the_sketch_whatever_random_paths_come() -> None:
    rng = random.Random(6)
    routes = Routes(SHIPPED, 64, 16, {})
    for _ in range(20_000):
        if rng.random() < 0.2:
            target = rng.choice(["GET/", "GET/login"])
        else:
            target = "GET/" + "".join(rng.choices("abcdefgh", k=8))
        route = routes[target]
        if not route.live:
            route = routes.again(target)
        route.count += 1
    names = [route.route for route in routes.top(2)]
    assert sorted(names) == ["GET/", "GET/login"]
    assert routes["GET/login"].live
    assert routes.status().entries == 16
    assert len(routes) == 64


def test_a_cached_path_finds_its_route_again_when_the_sketch_has_lost_it() -> None:
    routes = Routes(SHIPPED, 64, 8, {})
    first = routes["GET/aa"]
    for i in range(20):
        for _ in range(3):
            routes["GET/" + "bcdefghijklmnopqrstuvw"[i]].count += 1
    assert not first.live
    again = routes.again("GET/aa")
    assert again.live
    assert routes["GET/aa"] is again
    assert len(routes) <= 64


def test_what_a_route_costs_and_how_fast_that_is_learned_are_settings() -> None:
    settings = RoutesSettings(least_cost=1.0, most_cost=5.0, settled=2, step=0.5, step_every=10.0)
    route = Routes(settings, 16, 16, {})["GET/"]
    for i in range(2):
        route.sample(0.0, NOW + i)
    assert (route.baseline, route.cost) == (0.010, 1.0)
    route.sample(1.0, NOW + 2)
    assert route.baseline == pytest.approx(0.010 * math.exp(0.5))
    route.sample(1.0, NOW + 11.9)
    assert route.baseline == pytest.approx(0.010 * math.exp(0.5))
    for i in range(4):
        route.sample(1.0, NOW + 12 + 10 * i)
    assert route.cost == 5.0


def test_a_route_that_is_asked_often_strays_little_from_its_median() -> None:
    """A thrashing service got a quarter more than it does best with: when the flood began, one time a second had moved
    the median, and it was a fifth above."""
    chance = random.Random(5)
    route = Route("GET/", 0.01, None, SHIPPED)
    strayed = 0.0
    for second in range(400):
        for _ in range(60):
            route.sample(0.020 * math.exp(chance.gauss(0.0, 0.47)), float(second))
        if second >= 60:
            strayed = max(strayed, abs(math.log(route.baseline / 0.020)))
    assert strayed < 0.08


def test_what_is_slow_is_what_half_of_the_time_is_spent_on() -> None:
    """Four in five take 2 ms, and one takes 20: that is where the service spends its time."""
    route = Route("GET/", 0.01, None, RoutesSettings())
    assert route.usual(0.5, 1.0) == 0.01, "nothing is known yet"
    for second in range(400):
        for seconds in (0.002, 0.002, 0.002, 0.002, 0.020):
            route.sample(seconds, float(second))
            route.weigh(seconds, False, float(second))
    assert route.baseline == pytest.approx(0.002, rel=0.1)
    assert route.slow == pytest.approx(0.020, rel=0.3)
    assert route.usual(0.030, 1.0) == pytest.approx(route.slow / SPREAD)
    assert route.usual(0.002, 1.0) == 0.0, "a quick one says nothing of the others"


def test_what_takes_long_under_load_is_no_reason_to_take_more_for_usual() -> None:
    """And none to take less: parts of a page are all asked for at once."""
    route = Route("GET/", 0.01, None, RoutesSettings())
    for second in range(50):
        route.sample(0.010, float(second))
        route.weigh(0.010, False, float(second))
    slow = route.slow
    for second in range(50, 150):
        route.weigh(0.200, True, float(second))
    assert route.slow <= slow
    for second in range(150, 300):
        route.weigh(0.002, False, float(second))
        route.weigh(0.012, True, float(second))
    assert route.slow > 0.006
    for second in range(300, 500):
        route.weigh(0.002, True, float(second))
    assert route.slow == pytest.approx(0.002, rel=0.1)


def test_an_answer_much_quicker_than_usual_says_that_the_service_is_as_usual() -> None:
    route = Route("GET/", 0.01, None, RoutesSettings())
    for second in range(50):
        route.sample(0.010, float(second))
        route.weigh(0.010, False, float(second))
    assert 0.002 / route.usual(0.002, 0.8) == pytest.approx(0.8)
    assert 0.002 / route.usual(0.002, 1.3) == pytest.approx(1.0)
