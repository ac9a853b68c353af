"""What fields are by their names, and the mapping over those of a request."""

from __future__ import annotations

import pytest

from shield.http.fields import (
    REQUEST_FIELDS,
    RESPONSE_FIELDS,
    Fields,
    RequestField,
    ResponseField,
    disguised,
    without_named,
)


@pytest.mark.parametrize(
    "name", [b"transfer_encoding", b"transfer--encoding", b"content.length", b"content-$length", b"contentlength"]
)
def test_a_name_that_may_pass_for_framing(name: bytes) -> None:
    assert disguised(name)


@pytest.mark.parametrize("name", [b"content-lengths", b"x-content-length", b"content-type", b"te", b""])
def test_a_name_that_may_not(name: bytes) -> None:
    assert not disguised(name)


def test_what_frames_or_ends_at_this_hop_is_kept_in_neither_direction() -> None:
    for name in (b"connection", b"content-length", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"):
        assert REQUEST_FIELDS[name] is not RequestField.KEPT
        assert RESPONSE_FIELDS[name] is not ResponseField.KEPT


def test_fields_that_connection_names_are_left_out_in_any_case() -> None:
    lines = [b"X-One: 1\r\n", b"x-TWO: 2\r\n", b"X-Two-More: 3\r\n"]
    assert without_named(lines, {b"x-two", b"close"}) == [lines[0], lines[2]]


FIELDS = Fields(b"GET / HTTP/1.1\r\nHost: a\r\nX-Byte:\t\xff \r\nx-one: 1\r\nX-One:2\r\n\r\n")


def test_names_are_found_in_any_case_and_the_first_value_counts() -> None:
    assert (FIELDS["host"], FIELDS["X-ONE"], FIELDS.get("X-Two")) == ("a", "1", None)
    assert FIELDS.getall("X-One") == ["1", "2"]
    assert FIELDS.getall("X-Two", ["none"]) == ["none"]
    assert "X-Two" not in FIELDS
    with pytest.raises(KeyError):
        FIELDS["X-Two"]


def test_names_are_listed_once_in_order() -> None:
    assert list(FIELDS) == ["host", "x-byte", "x-one"]
    assert len(FIELDS) == 3


def test_a_byte_that_is_no_text_survives() -> None:
    assert FIELDS["X-Byte"].encode("utf-8", "surrogateescape") == b"\xff"
