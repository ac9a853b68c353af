"""Which paths a service may take a path for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.policy.per_route.readings import LONGEST, ambiguous, readings, under


@pytest.mark.parametrize(
    "path",
    [
        "/login",
        "/LOGIN",
        "//login",
        "/./login",
        "/x/../login",
        "/x/%2e%2E/login",
        "/x/..%2flogin",
        "/%6Cogin",
        "/%256cogin",
        "/%25%36%63ogin",
        "/login;jsessionid=1",
        "/login%3bjsessionid=1",
        "/;a/login",
        "/x/..;/login",
        "/x/..;a=b/login",
        "\\login".replace("\\", "/x/..\\"),
        "/x%5c..%5clogin",
        "/../login",
        "/x/y/../..//login/",
    ],
)
def test_each_spelling_of_a_path_is_read_as_it(path: str) -> None:
    assert any(under(text, "/login") for text in readings(path)), readings(path)


@pytest.mark.parametrize("path", ["/logins", "/log", "/x/login", "/login%20", "/%e4login", "/logi%6"])
def test_another_path_is_not(path: str) -> None:
    assert not any(under(text, "/login") for text in readings(path)), readings(path)


def test_the_path_as_it_was_sent_is_the_first_reading() -> None:
    assert readings("/a/..%2Fb")[0] == "/a/..%2fb"
    assert readings("/a/.well-known") == ("/a/.well-known",)  # its other readings are the same
    assert readings("/A/B") == ("/a/b",)


def test_a_path_with_too_many_readings_may_be_any() -> None:
    assert readings("/" + "a" * LONGEST + "/../login") == ()
    assert len(readings("/" + "a" * 8000)) == 1


def test_a_prefix_is_made_of_whole_segments() -> None:
    assert under("/api", "/api")
    assert under("/api/users", "/api")
    assert not under("/apis", "/api")
    assert under("/anything", "")


def test_what_is_ambiguous() -> None:
    assert ambiguous("/a/../b")
    assert ambiguous("/a%2Fb")
    assert not ambiguous("/.well-known/acme")


@given(st.text(st.sampled_from("/.;%\\2ef5cC3bAa"), max_size=40))
def test_readings_are_few_and_in_lower_case(text: str) -> None:
    found = readings(f"/{text}")
    assert 1 <= len(found) <= 7
    assert all(one == one.lower() and one.startswith("/") for one in found)
    assert len(set(found)) == len(found)
