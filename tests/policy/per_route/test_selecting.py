"""Which route a request is under, and what holds for it then."""

from __future__ import annotations

from typing import Any

import pytest

from shield.policy.per_route.selecting import KEPT_CHARS, MOST_KEPT, Routing
from shield.policy.per_route.settings import Allowance, RouteLimit, RouteSettings
from shield.policy.per_route.terms import Terms

FEW = RouteLimit(client=Allowance(5, 10))


class Asked:
    """As much of a request as is looked at."""

    def __init__(self, path: str, method: str = "GET", **headers: str) -> None:
        self.path = path
        self.method = method
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def routing(*routes: dict[str, Any]) -> Routing:
    return Routing([RouteSettings(**{"path": "/", **one}) for one in routes])


def of(made: Routing, path: str, method: str = "GET", **headers: str) -> Terms | None:
    asked: Any = Asked(path, method, **headers)
    first, again = made.of(asked), made.of(asked)
    assert (first is None) == (again is None)  # as it is remembered
    return again


def number(made: Routing, path: str, method: str = "GET", **headers: str) -> int | None:
    terms = of(made, path, method, **headers)
    return None if terms is None else terms.route.number


def test_the_first_route_that_fits_is_the_one() -> None:
    made = routing({"path": "/api/users"}, {"path": "/api", "methods": ("POST",)}, {"path": "/api"})
    assert number(made, "/api/users/1") == 0
    assert number(made, "/api", "POST") == 1
    assert number(made, "/api/x") == 2
    assert number(made, "/apis") is None
    assert number(made, "*", "OPTIONS") is None


def test_methods_count_in_any_case_and_head_is_a_get() -> None:
    made = routing({"path": "/a", "methods": ("GET",)}, {"path": "/a", "methods": ("POST",)})
    assert number(made, "/a", "HEAD") == 0
    assert number(made, "/a", "post") == 1
    assert number(made, "/a", "PUT") is None


def test_a_host_is_compared_without_port_and_case() -> None:
    made = routing({"hosts": ("shop.example", "[::1]")}, {"hosts": ("*.example.org",)})
    assert number(made, "/", Host="Shop.Example:8443") == 0
    assert number(made, "/", Host="shop.example.") == 0
    assert number(made, "/", Host="[::1]:80") == number(made, "/", Host="[::1]") == 0
    assert number(made, "/", Host="a.example.org") == 1
    assert number(made, "/", Host="other.example") is None


def test_a_content_type_is_compared_without_parameters() -> None:
    made = routing({"types": ("application/json",)}, {"types": ("multipart/*",)})
    assert number(made, "/", "POST", Content_Type="Application/JSON ; charset=utf-8") == 0
    assert number(made, "/", "POST", Content_Type="multipart/form-data; boundary=x") == 1
    assert number(made, "/", "POST") is None


LOGIN = {"path": "/login", "limit": FEW, "cost": 5.0, "body_bytes": 1000, "challenge": "always"}
FEED = {"path": "/feed", "challenge": "never", "cost": 0.2, "body_bytes": 10**9, "first_byte_timeout": 600.0,
        "idle_timeout": 700.0, "body_buffer_bytes": 1}  # fmt: skip


def test_what_restricts_holds_for_every_spelling() -> None:
    made = routing(FEED, LOGIN)
    for path in ("/login", "/Login", "/%6cogin", "/feed/../login", "/login/..%2ffeed", "/x/..;/login", "//login"):
        terms = of(made, path)
        assert terms is not None
        assert [brake.label for brake in terms.brakes] == ["/login"], path
        assert terms.mode == "always", path
        assert terms.price(1.0) == 5.0, path
        assert terms.body_limit(10**6) == terms.body_limit(0) == 1000, path


def test_what_allows_more_holds_for_the_plain_spelling_only() -> None:
    made = routing(FEED, LOGIN)
    plain = of(made, "/feed/atom.xml")
    assert plain is not None
    assert (plain.mode, plain.price(1.0), plain.body_limit(100)) == ("never", 0.2, 10**9)
    assert (plain.first_byte, plain.idle, plain.body_buffer) == (600.0, 700.0, 1)
    for path in ("/Feed", "/%66eed", "/feed/", "//feed", "/feed/./x", "/feed;a"):
        terms = of(made, path)
        assert terms is not None
        if path == "/feed/":
            assert terms is plain
            continue
        assert (terms.mode, terms.price(1.0), terms.body_limit(100)) == (None, 1.0, 100), path
        assert (terms.first_byte, terms.idle, terms.body_buffer) == (None, None, None), path


def test_parameters_within_a_route_change_nothing() -> None:
    made = routing(FEED)
    terms = of(made, "/feed/x;session=1")
    assert terms is not None
    assert terms.mode == "never"


def test_a_path_too_long_to_be_read_in_all_ways_is_under_every_route_as_far_as_it_restricts() -> None:
    made = routing(FEED, LOGIN, {"path": "/post", "methods": ("POST",)}, {"path": "/h", "hosts": ("a.example",)})
    terms = of(made, "/feed/" + "a" * 1100 + "/../x", Host="b.example")
    assert terms is not None
    assert (terms.route.number, terms.mode, len(terms.brakes)) == (0, "always", 1)
    assert (terms.most_body, terms.price(0.1)) == (None, 5.0)


def test_a_request_without_host_is_under_each_routes_limits_that_it_may_be_under() -> None:
    """HTTP/1.0, whose target may name the host."""
    made = routing({**LOGIN, "hosts": ("shop.example",)}, {**FEED, "path": "/login"})
    terms = of(made, "/login")
    assert terms is not None
    assert (terms.route.number, terms.mode, len(terms.brakes)) == (1, "always", 1)
    assert (terms.price(1.0), terms.body_limit(0)) == (5.0, 1000)
    alone = of(routing({**FEED, "hosts": ("shop.example",)}), "/feed")
    assert alone is not None
    assert alone.mode is None


def test_a_dry_run_leaves_out_all_but_what_is_reported() -> None:
    made = routing({**LOGIN, "dry_run": True}, {**FEED, "dry_run": True})
    terms = of(made, "/login")
    assert terms is not None
    assert (terms.mode, terms.always_dry, terms.price(1.0), terms.body_limit(7)) == (None, True, 1.0, 7)
    assert terms.brakes[0].dry_run
    feed = of(made, "/feed")
    assert feed is not None
    assert (feed.mode, feed.always_dry, feed.brakes, feed.first_byte) == (None, False, (), None)


def test_what_is_remembered_is_bounded() -> None:
    made = routing({"path": "/a"}, {"path": "/h", "hosts": ("a.example",)})
    for n in range(MOST_KEPT + 5):
        assert number(made, f"/a/{n}") == 0
    assert len(made._kept) == len(made._order) == MOST_KEPT
    assert number(made, "/a/" + "x" * KEPT_CHARS) == 0
    assert "GET/a/" + "x" * KEPT_CHARS not in made._kept


@pytest.mark.parametrize("path", ["/A/x", "/a/x"])
def test_a_route_that_needs_nothing_else_is_remembered_ready(path: str) -> None:
    made = routing({"path": "/a"})
    assert of(made, path) is of(made, path)
