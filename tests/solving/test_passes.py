"""Passes of origins: kept until they end, and no more than there may be."""

from __future__ import annotations

from typing import Any

import pytest

from shield.solving import passes
from shield.solving.challenge import NotUnderstoodError, origin_of
from shield.solving.passes import Pass, Passes, read

SAID = {"pass": "AQL-_1", "header": "Shield-Pass", "cookie": "shield_pass", "lifetime": 2592000}


def test_what_the_site_says() -> None:
    assert read(SAID) == Pass("AQL-_1", "Shield-Pass", "shield_pass", 2592000.0)
    assert read(SAID | {"lifetime": 1e300}).lifetime == passes.MOST_LIFETIME
    assert read(SAID | {"cookie": "a b"}).cookie == ""


@pytest.mark.parametrize(
    "said",
    [
        None,
        {},
        SAID | {"pass": "a\r\nX: y"},
        SAID | {"pass": ""},
        SAID | {"pass": 7},
        SAID | {"header": "Content-Length"},
        SAID | {"header": "X: y"},
        SAID | {"header": None},
        SAID | {"lifetime": 0},
        SAID | {"lifetime": True},
        SAID | {"lifetime": float("nan")},
        SAID | {"lifetime": "3"},
    ],
)
def test_what_no_site_may_say(said: Any) -> None:
    with pytest.raises(NotUnderstoodError):
        read(said)


def test_a_pass_is_kept_until_it_ends() -> None:
    now = [100.0]
    kept, bought = Passes(lambda: now[0]), Pass("a", "Shield-Pass", "", 60.0)
    kept.keep("http://a:80", bought)
    now[0] = 159.9
    assert kept.get("http://a:80") == bought
    assert kept.get("https://a:443") is None
    now[0] = 160.0
    assert kept.get("http://a:80") is None
    assert kept.get("http://a:80") is None


def test_only_the_pass_that_was_shown_is_dropped() -> None:
    kept, first, second = Passes(), Pass("a", "P", "", 60.0), Pass("b", "P", "", 60.0)
    kept.keep("http://a:80", second)
    kept.drop("http://a:80", first)
    kept.drop("http://b:80", first)
    assert kept.get("http://a:80") == second
    kept.drop("http://a:80", second)
    assert kept.get("http://a:80") is None


def test_the_one_that_was_longest_not_used_makes_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "MOST_ORIGINS", 2)
    kept, some = Passes(), Pass("a", "P", "", 60.0)
    for origin in ("http://a:80", "http://b:80"):
        kept.keep(origin, some)
    kept.get("http://a:80")
    kept.keep("http://c:80", some)
    assert [kept.get(f"http://{name}:80") is not None for name in "abc"] == [True, False, True]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://A.example/x", "http://a.example:80"),
        ("https://a.example:8443", "https://a.example:8443"),
        ("https://user:word@[2001:db8::1]/", "https://[2001:db8::1]:443"),
    ],
)
def test_the_origin_of_an_address(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("url", ["ftp://a/", "http:///x", "/x", "http://a:99999/"])
def test_an_address_without_an_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        origin_of(url)
