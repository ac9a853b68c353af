"""What is remembered of the origins that the service lets read its answers, and how much."""

from __future__ import annotations

import pytest

from shield.http.origins import KEPT_SECONDS, LONGEST, MOST, Origins

API, APP = b"api.example", b"https://app.example"
ALLOW = b"Access-Control-Allow-Origin: https://app.example\r\n"
ANYBODY = b"access-control-allow-origin:*\r\n"
CREDENTIALS = b"Access-Control-Allow-Credentials: true\r\n"
EXPOSED = b"Access-Control-Expose-Headers: Retry-After, RateLimit, RateLimit-Policy\r\n"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([b"Server: x\r\n", ALLOW], ALLOW + EXPOSED),
        ([ALLOW, CREDENTIALS], ALLOW + CREDENTIALS + EXPOSED),
        ([CREDENTIALS, ALLOW], ALLOW + CREDENTIALS + EXPOSED),
        ([ALLOW, CREDENTIALS.replace(b"true", b"True")], ALLOW + EXPOSED),  # only "true" counts (Fetch standard)
        ([ANYBODY], b"Access-Control-Allow-Origin: *\r\n" + EXPOSED),
        ([], b""),
        ([CREDENTIALS], b""),
        ([ALLOW.replace(b"app", b"other")], b""),
        ([ALLOW, ANYBODY], b""),  # a browser refuses two
        ([ALLOW.replace(b"\r\n", b", https://b.example\r\n")], b""),
        ([b"Access-Control-Allow-Origin: null\r\n"], b""),
    ],
)
def test_what_the_service_has_said_is_said_again_and_no_more(fields: list[bytes], said: bytes) -> None:
    origins = Origins()
    origins.learn(API, APP, fields, 0.0)
    assert origins.lines(API, APP, 1.0) == said
    assert origins.lines(b"API.Example", APP, 1.0) == said
    assert origins.trusted(API, APP, 1.0) == (said if CREDENTIALS in said else b"")
    assert origins.lines(b"other.example", APP, 1.0) == b""
    assert origins.lines(API, b"https://evil.example", 1.0) == b""
    assert origins.lines(API, b"null", 1.0) == b""


def test_a_permission_ends_a_day_after_it_was_last_given() -> None:
    origins = Origins()
    origins.learn(API, APP, [ALLOW, CREDENTIALS], 0.0)
    origins.learn(API, APP, [ALLOW], 10.0)
    origins.learn(API, APP, [], 20.0)  # an error page that forgets the field takes nothing back
    assert origins.lines(API, APP, KEPT_SECONDS + 9.0) == ALLOW + EXPOSED
    assert origins.lines(API, APP, KEPT_SECONDS + 10.0) == b""


def test_the_memory_is_bounded_and_whoever_is_used_stays() -> None:
    origins = Origins()
    for number in range(3 * MOST):
        origins.learn(API, APP, [ALLOW], 0.0)
        origins.learn(API, b"https://%d.example" % number, [ANYBODY], 0.0)
    assert len(origins._lines) == MOST
    assert origins.lines(API, APP, 1.0) == ALLOW + EXPOSED
    assert origins.lines(API, b"https://0.example", 1.0) == b""
    long = b"https://" + b"x" * LONGEST
    origins.learn(API, long, [ANYBODY], 0.0)
    assert origins.lines(API, long, 1.0) == b""


def test_nobody_is_trusted_because_everybody_may_read() -> None:
    """A browser refuses both together, and a program does not."""
    origins = Origins()
    origins.learn(API, APP, [ANYBODY, CREDENTIALS], 0.0)
    assert origins.lines(API, APP, 1.0)
    assert origins.trusted(API, APP, 1.0) == b""
