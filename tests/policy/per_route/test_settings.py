"""What a table [[route]] may say."""

from __future__ import annotations

from typing import Any

import pytest

from shield.policy.per_route.settings import Allowance, RouteLimit, RouteSettings, is_host, is_type


def wrong(**settings: Any) -> list[Any]:
    return [where for where, _ in RouteSettings(**{"path": "/", **settings}).complaints()]


@pytest.mark.parametrize("path", ["/", "/login", "/a/b/", "/.well-known/x", "/caf%C3%A9", "/A-b_c~(d)"])
def test_a_path_begins_with_a_slash_and_is_plain(path: str) -> None:
    assert wrong(path=path) == []


@pytest.mark.parametrize(
    "path",
    ["", "login", "/a b", "/a?b", "/a#b", "/*", "/{id}", "/<id>", "/a;b", "/a/../b", "//a", "/a\\b", "/%6cogin", "/%",
     "/caf\u00e9", "/" + "a" * 200],
)  # fmt: skip
def test_what_is_no_such_path_is_refused(path: str) -> None:
    assert wrong(path=path) == [("path",)]


def test_hosts_methods_and_types_are_in_the_form_they_are_compared_in() -> None:
    assert wrong(hosts=("shop.example", "*.example.org", "localhost", "[::1]", "xn--caf-dma.example")) == []
    assert wrong(hosts=("Shop.example", "shop.example:80", "*", "a.*.b", "", "caf\u00e9")) == [
        ("hosts", number) for number in range(6)
    ]
    assert wrong(methods=("POST", "PROPFIND")) == []
    assert wrong(methods=("post", "", "GET,POST")) == [("methods", 0), ("methods", 1), ("methods", 2)]
    assert wrong(types=("application/json", "image/*", "application/vnd.api+json")) == []
    assert wrong(types=("json", "Application/json", "*/*", "text/html; charset=utf-8")) == [
        ("types", number) for number in range(4)
    ]


def test_a_wildcard_stands_for_one_label_or_more() -> None:
    assert is_host("a.example.org", "*.example.org")
    assert is_host("a.b.example.org", "*.example.org")
    assert not is_host("example.org", "*.example.org")
    assert not is_host(".example.org", "*.example.org")
    assert not is_host("badexample.org", "*.example.org")
    assert is_type("image/png", "image/*")
    assert not is_type("imagery/png", "image/*")


def test_a_route_has_a_name() -> None:
    assert RouteSettings("/a").label == "/a"
    assert RouteSettings("/a", methods=("GET", "POST"), hosts=("b.example", "c.example")).label == (
        "GET,POST b.example /a"
    )
    assert RouteSettings("/a", name="login").label == "login"


def test_limits_are_listed_by_whom_they_count() -> None:
    few = Allowance(5, 10)
    assert list(RouteSettings("/").limits()) == []
    assert list(RouteSettings("/", limit=RouteLimit(address=few)).limits()) == [("address", few)]


@pytest.mark.parametrize(
    ("first", "second", "covered"),
    [
        ({}, {}, True),
        ({"path": "/a"}, {"path": "/a/b"}, True),
        ({"path": "/A"}, {"path": "/a"}, True),
        ({"path": "/a"}, {"path": "/ab"}, False),
        ({"path": "/a/b"}, {"path": "/a"}, False),
        ({"methods": ("GET", "POST")}, {"methods": ("HEAD", "POST")}, True),
        ({"methods": ("POST",)}, {}, False),
        ({"methods": ("POST",)}, {"methods": ("PUT",)}, False),
        ({"hosts": ("*.example.org",)}, {"hosts": ("a.example.org", "*.b.example.org")}, True),
        ({"hosts": ("a.example.org",)}, {"hosts": ("*.example.org",)}, False),
        ({"types": ("image/*",)}, {"types": ("image/png", "image/*")}, True),
        ({"types": ("image/png",)}, {"types": ("image/*",)}, False),
    ],
)
def test_a_route_covers_another_that_can_then_never_be_the_first(
    first: dict[str, Any], second: dict[str, Any], covered: bool
) -> None:
    assert RouteSettings(**{"path": "/", **first}).covers(RouteSettings(**{"path": "/", **second})) == covered
