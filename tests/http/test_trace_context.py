"""traceparent: what is taken, and what is ignored."""

from __future__ import annotations

import pytest

from shield.http.trace_context import TraceContext, line, parse, without

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f" 00-{TRACE}-{SPAN}-00\t", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01-what-will-be-in-2035", True),
    ],
)
def test_it_says_which_trace(value: str, sampled: bool) -> None:
    assert parse(value) == TraceContext(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_malformed_is_ignored(value: str) -> None:
    assert parse(value) is None


def test_what_is_written_can_be_read() -> None:
    written = line(7, 9)
    assert written == b"traceparent: 00-%s7-%s9-01\r\n" % (b"0" * 31, b"0" * 15)
    assert parse(written.decode().partition(": ")[2].removesuffix("\r\n")) == TraceContext(7, 9, True)


def test_fields_of_the_name_go_in_any_case() -> None:
    fields = [b"TraceParent: x\r\n", b"tracestate: a=1\r\n", b"traceparent: y\r\n"]
    assert without(fields) == [b"tracestate: a=1\r\n"]
