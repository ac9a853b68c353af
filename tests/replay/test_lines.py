"""Lines of access logs, as real servers have written them (logs/), and as nobody should."""

from __future__ import annotations

import contextlib
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.replay import json_lines
from shield.replay.files import Skipped, lines
from shield.replay.lines import UNKNOWN, ForeignError, Line, Parser, path_of
from shield.replay.stamps import anything

LOGS = Path(__file__).parent / "logs"
FIREFOX = "Mozilla/5.0 (X11;"


def parse(text: str) -> Line | None:
    return Parser(json_lines.read).parse(text.encode())


def request(text: str) -> Line:
    line = parse(text)
    assert line is not None
    return line


@pytest.mark.parametrize("name", [path.stem for path in sorted(LOGS.glob("*.log"))])
def test_the_same_four_requests_are_read_from_the_log_of_every_server(name: str) -> None:
    skipped = Skipped()
    found = list(lines(str(LOGS / f"{name}.log"), skipped))
    assert skipped.foreign == 0
    assert [line.path for line in found[:4]] == ["/", "/slow", "/none", "/a%22b"]
    assert [line.status for line in found[:4]] == [200, 200, 404, 200]
    assert {line.method for line in found} == {"GET"}
    assert {line.address for line in found} == {"192.0.2.10"}
    assert all(0 <= line.at - 1796033970 < 30 for line in found)  # 2026-11-30 10:19:30
    timed = name not in ("nginx-combined", "nginx-main")
    assert (found[1].seconds > 0.14) is timed
    if name != "traefik-clf":  # which leaves the User-Agent out
        assert found[0].agent.startswith(FIREFOX)


def test_a_request_is_taken_to_have_come_before_it_took_its_time() -> None:
    """nginx writes the time of the end; Caddy, too. HAProxy and Traefik write that of the begin."""
    by_name = {path.stem: list(lines(str(path), Skipped()))[1] for path in LOGS.glob("*.log")}
    assert by_name["caddy"].at == pytest.approx(1796033979.342 - 0.198, abs=0.001)
    assert by_name["nginx-timed"].at == pytest.approx(1796033978 - 0.156)
    assert by_name["haproxy"].at == pytest.approx(1796033986.482)
    assert by_name["traefik-json"].at == pytest.approx(1796033984.024, abs=0.001)
    assert by_name["traefik-clf"].at == 1796033981


def test_what_servers_say_of_handshakes_on_the_wrong_port_is_no_request_and_no_fault_of_the_log() -> None:
    skipped = Skipped()
    assert len(list(lines(str(LOGS / "nginx-json.log"), skipped))) == 4
    assert (skipped.other, skipped.foreign) == (1, 0)
    assert len(list(lines(str(LOGS / "haproxy.log"), skipped))) == 8
    assert (skipped.other, skipped.foreign) == (3, 0)


def test_a_line_from_syslog_is_read_without_what_syslog_has_put_before_it() -> None:
    for before in ("Nov 30 10:19:38 web1 nginx: ", "<190>Nov  3 10:19:38 web1 nginx[12]: ", "shop.example:443 "):
        line = request(f'{before}192.0.2.1 - - [30/Nov/2026:10:19:38 +0100] "GET /x?y HTTP/2.0" 200 2 "-" "curl/8"')
        assert (line.address, line.path, line.at) == ("192.0.2.1", "/x", 1796030378.0)
    line = request(
        "Nov 30 10:19:46 lb haproxy[7]: 192.0.2.1:599 [30/Nov/2026:10:19:46.407] f~ b/s 0/0/0/12/+15 200 +116 - - "
        '---- 1/1/0/0/+0 0/0 "GET /x HTTP/1.1"'
    )
    assert (line.address, line.seconds, line.service) == ("192.0.2.1", 0.015, 0.012)
    assert request('Nov 30 10:19:38 web1 app: {"time": 1796033978.5, "ip": "192.0.2.1", "status": 200, "method": "GET",'
                   ' "path": "/"}').at == 1796033978.5  # fmt: skip


def test_the_log_of_a_shield_knows_clients_and_leaves_out_the_times_of_what_it_refused() -> None:
    line = request(
        '{"time":"2026-11-30T10:19:38.123Z","event":"request","address":"192.0.2.1","client":"ab01","method":"GET",'
        '"path":"/","status":200,"action":"forward","reason":"ok","tier":3,"ms":120.5,"sent":3,"server":"","id":""}'
    )
    assert (line.who, line.status, line.seconds) == ("ab01", 200, 0.1205)
    assert line.at == pytest.approx(1796033978.123 - 0.1205)
    line = request(
        '{"time":"2026-11-30T10:19:38.123Z","event":"refused","address":"192.0.2.1","client":"ab01","method":"GET",'
        '"host":"shop.example","path":"/","user_agent":"x","status":503,"action":"challenge","reason":"newcomer"}'
    )
    assert (line.who, line.status, line.seconds) == ("ab01", 0, UNKNOWN)
    assert parse('{"time":"2026-11-30T10:19:38.123Z","event":"attack_onset","level":"warning"}') is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1796033978, (1796033978.0, False)),
        (1796033978.5, (1796033978.5, True)),
        ("1796033978.500", (1796033978.5, True)),
        (1796033978500, (1796033978.5, True)),
        (1796033978500000000, (1796033978.5, True)),
        ("2026-11-30T10:19:38Z", (1796033978.0, False)),
        ("2026-11-30T11:19:38.5+01:00", (1796033978.5, True)),
        ("2026/11/30 10:19:38", (1796033978.0, False)),
        ("30/Nov/2026:10:19:38 +0000", (1796033978.0, False)),
        ("30/Nov/2026:10:19:38.500", (1796033978.5, True)),
    ],
)
def test_a_time_is_read_however_it_is_written(value: object, expected: tuple[float, bool]) -> None:
    assert anything(value) == expected


@pytest.mark.parametrize(
    "value", [None, True, "", "yesterday", -1, 0, 1e300, "nan", "inf", "99/Nov/2026:10:19:38 +0000"]
)
def test_what_is_no_time_is_said_to_be_none(value: object) -> None:
    with pytest.raises((ValueError, KeyError)):
        anything(value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "in no format"),
        ("Dec  1 00:00:00 web1 sshd[9]: Accepted publickey for root", "in no format"),
        ('192.0.2.1 - - [30/Foo/2026:10:19:38 +0000] "GET / HTTP/1.1" 200 2', "no time"),
        ('192.0.2.1 - - [30/Nov/2026:99:19:38 +0000] "GET / HTTP/1.1" 200 2', "no time"),
        ('host.example - - [30/Nov/2026:10:19:38 +0000] "GET / HTTP/1.1" 200 2', "no address"),
        ('192.0.2.1 - - [30/Nov/2026:10:19:38 +0000] "GET / HTTP/1.1', "in no format"),
        ("{", "begins as JSON"),
        ("{}", "known as method"),
        ('{"method": "GET", "path": "/", "status": 200, "ip": "192.0.2.1"}', "known as time"),
        ('{"method": "GET", "path": "/", "status": [], "ip": "192.0.2.1", "time": 1796033978}', "not as expected"),
        ('{"method": "GET", "path": "/", "status": 200, "ip": {}, "time": 1796033978}', "no address"),
        ('{"event": "request", "time": "2026-11-30T10:19:38.123Z"}', "no method|not as expected"),
        ('{"request": {"method": "GET"}, "status": 200, "ts": 1796033978}', "no address|not as expected"),
    ],
)
def test_a_foreign_or_broken_line_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ForeignError, match=why):
        parse(text)


def test_a_message_about_a_line_shows_little_of_what_a_stranger_has_sent() -> None:
    with pytest.raises(ForeignError) as found:
        parse("\x1b[31m<script>" + "x" * 200 + ' - - [30/Nov/2026:10:19:38 +0000] "GET / HTTP/1.1" 200 2')
    assert "\x1b" not in str(found.value)
    assert len(str(found.value)) < 100


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a?b", "/a"),
        ("/?", "/"),
        ("http://shop.example/a/b?c", "/a/b"),
        ("http://shop.example", "/"),
        ("*", "*"),
        ("shop.example:443", "shop.example:443"),
    ],
)
def test_the_path_of_a_target(target: str, path: str) -> None:
    assert path_of(target) == path


@given(st.binary(max_size=600))
def test_no_bytes_are_anything_but_a_line_no_request_or_foreign(data: bytes) -> None:
    try:
        line = Parser(json_lines.read).parse(data)
    except ForeignError:
        return
    assert line is None or line.path


JSONABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    (
        *(
            "event",
            "time",
            "ts",
            "request",
            "status",
            "duration",
            "RequestMethod",
            "RequestPath",
            "StartUTC",
            "Duration",
        ),
        *("ClientHost", "DownstreamStatus", "method", "path", "remote_addr", "address", "client", "ms", "request_time"),
        *("upstream_response_time", "http_user_agent", "uri", "headers", "logger", "msg"),
    )
)


@given(st.dictionaries(KEYS, JSONABLE | st.sampled_from(["request", "refused", "GET", "/", "192.0.2.1", 200, 1e9])))
def test_no_object_is_anything_but_a_line_no_request_or_foreign(found: dict[str, object]) -> None:
    try:
        line = json_lines.read(found)
    except ForeignError:
        return
    assert line is None or (line.at > -90_000 and line.method)


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3.4 " * 4000,
        '1.2.3.4 - - [30/Nov/2026:10:19:38 +0000] "' + "\\" * 30_000,
        '1.2.3.4 - - [30/Nov/2026:10:19:38 +0000] "GET / HTTP/1.1" 200 2 "-" "-"' + " 1.23" * 6000,
        "[" * 30_000,
        "a [30/Nov/2026:10:19:46.407] f b/s 0/0/0/1/1 200 116 - - ---- 1/1 0/0 " + "{a} " * 7000,
        "a:" * 15_000,
    ],
)
def test_a_line_that_is_made_to_be_slow_takes_a_moment(text: str) -> None:
    began = process_time()
    with contextlib.suppress(ForeignError):
        parse(text)
    assert process_time() - began < 1.0
