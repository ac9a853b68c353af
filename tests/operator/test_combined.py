"""The Combined Log Format."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shield.http.head import Head
from shield.model import Reason, Tier, Verdict
from shield.operator.combined import clock, escaped, line
from shield.operator.log import AccessLog, LogSettings
from shield.policy.request import Request
from tests.operator.test_log import WALL, Clock, Lines

FORM = re.compile(
    r'(?P<address>\S+) \S+ \S+ \[(?P<when>[^\]]+)\] "(?P<asked>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<sent>\d+)'
    r' "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"\n'
)
"""As log analysers read it."""


def request(path: str = "/a", reason: Reason = Reason.OK, **headers: str) -> Request:
    client = SimpleNamespace(address="192.0.2.7", network="192.0.2.0/24", key=b"\x01\xff")
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    made = Request(cast("Any", client), "GET", path, fields, None, False, None)
    made.verdict = Verdict(reason)
    made.tier = Tier.T1
    return made


def make(clock: Clock) -> tuple[AccessLog, Lines, Lines]:
    lines, access = Lines(), Lines()
    log = AccessLog(LogSettings(access_format="combined"), lines, clock, WALL, access=access)
    return log, lines, access


def test_a_forwarded_request(clock: Clock) -> None:
    log, lines, access = make(clock)
    asked = request("/a/b", Referer="https://example.org/?q=1", User_Agent='Mozilla/5.0 (X11; "Linux")')
    log.request(clock(), asked, 200, 0.01, 512, "http://127.0.0.1:9000", "abc-1")
    log.request(clock(), request("/"), 304, 0.01, http="1.0")
    assert b"".join(access.raw) == (
        b'192.0.2.7 - - [15/Jan/2027:08:00:00 +0000] "GET /a/b HTTP/1.1" 200 512 "https://example.org/?q=1" '
        b'"Mozilla/5.0 (X11; \\x22Linux\\x22)"\n'
        b'192.0.2.7 - - [15/Jan/2027:08:00:00 +0000] "GET / HTTP/1.0" 304 0 "-" "-"\n'
    )
    assert lines.raw == []


def test_refusals_and_broken_requests_have_lines_and_the_rest_stays_json(clock: Clock) -> None:
    log, lines, access = make(clock)
    log.refused(clock(), request(reason=Reason.CLIENT_RATE), 429, b"id")
    log.refused_unread(clock(), "192.0.2.8", Verdict(Reason.ADDRESS_BANNED), 403, head=b"POST /x?y HTTP/1.1\r\n")
    log.fault(clock(), "192.0.2.9", "malformed_head", 400, head=b"\x16\x03\x01")
    log.fault(clock(), "192.0.2.9", "tls_on_plain_port")
    log.event("ban", address="192.0.2.7")
    found = [FORM.fullmatch(raw.decode()) for raw in access.raw]
    assert [(each["address"], each["asked"], each["status"]) for each in found if each] == [
        ("192.0.2.7", "GET /a HTTP/1.1", "429"),
        ("192.0.2.8", "POST /x HTTP/1.1", "403"),
        ("192.0.2.9", "-", "400"),
    ]
    assert [each["event"] for each in lines.all()] == ["fault", "ban"]


def test_without_a_place_of_their_own_they_are_among_the_others(clock: Clock) -> None:
    lines = Lines()
    log = AccessLog(LogSettings(access_format="combined"), lines, clock, WALL)
    log.request(clock(), request(), 200, 0.01)
    log.event("ban")
    assert lines.raw[0].startswith(b"192.0.2.7 - - ")
    assert lines.raw[1].startswith(b'{"time":')


@pytest.mark.parametrize(
    "hostile",
    [
        '"',
        "\\",
        "\n",
        "\r\nevil",
        "\x1b[31m",
        "\x7f",
        "\udcff\udc80",
        "é",
        "\u2028",
        '" 200 1 "-" "-"\n127.0.0.1',
        "\0",
    ],
)
def test_hostile_text_stays_in_its_quotes(hostile: str) -> None:
    made = line("now", "192.0.2.7", f"GET /{hostile} HTTP/1.1", 200, 1, {"Referer": hostile, "User-Agent": hostile})
    found = FORM.fullmatch(made.decode("ascii"))
    assert found is not None
    assert found["status"] == "200"
    assert found["agent"] == found["referer"] == escaped(hostile)
    assert made.count(b"\n") == 1


def test_what_is_plain_is_written_as_it_is() -> None:
    printable = "".join(chr(code) for code in range(32, 127) if chr(code) not in '"\\')
    assert escaped(printable) == printable
    assert escaped("\xe9\udcff") == "\\xC3\\xA9\\xFF"


def test_the_time() -> None:
    assert clock(0) == "01/Jan/1970:00:00:00 +0000"
    assert clock(1_798_761_599) == "31/Dec/2026:23:59:59 +0000"


def test_long_fields_are_cut() -> None:
    made = line("now", "192.0.2.7", "GET / HTTP/1.1", 200, 1, {"Referer": "r" * 5000, "User-Agent": "a" * 5000}, 256)
    assert len(made) < 1400


def test_a_head_that_was_understood_is_told(clock: Clock) -> None:
    log, _, access = make(clock)
    head = Head.__new__(Head)
    head.method, head.path = "GET", "/broken"
    log.fault(clock(), "192.0.2.9", "bad_host", 400, head=head)
    assert b'"GET /broken HTTP/1.1" 400' in access.raw[0]
