"""What is believed of a browser's fields, and which bodies are answers and forms."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from shield.http.browser import (
    MAX_FORM_FIELDS,
    cross_site,
    encode_form,
    parse_answer,
    parse_form,
    same_origin,
)

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        # Sec-Fetch-Site is the browser's own word and outweighs Origin.
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://site.test:8080"}, False),
        ({"Origin": "http://site.test:8080"}, True),
        ({"Origin": "http://SITE.test:8080"}, True),
        ({"Origin": "https://site.test:8080"}, False),
        ({"Origin": "http://site.test"}, False),
        ({"Origin": "http://site.test:8080.evil.test"}, False),
        ({"Origin": "null"}, False),
        ({}, False),
    ],
)
def test_which_posts_come_from_this_origin(fields: dict[str, str], same: bool) -> None:
    assert same_origin(CIMultiDict({"Host": "site.test:8080"} | fields), "http") is same


def test_without_a_host_nothing_is_of_this_origin() -> None:
    assert not same_origin(CIMultiDict({"Origin": "http://"}), "http")


@pytest.mark.parametrize(
    ("site", "cross"), [("cross-site", True), ("same-site", True), ("same-origin", False), ("none", False)]
)
def test_which_answers_come_from_elsewhere(site: str, cross: bool) -> None:
    assert cross_site(CIMultiDict({"Sec-Fetch-Site": site}), False) is cross
    assert cross_site(CIMultiDict({"Sec-Fetch-Site": site, "Origin": "http://a", "Host": "a"}), True) is cross


def test_programs_are_not_cross_site() -> None:
    assert not cross_site(CIMultiDict(), False)


@pytest.mark.parametrize(
    ("origin", "host", "cross"),
    [
        ("https://a.example", "a.example", False),
        ("http://a.example:8080", "A.example:8080", False),
        ("http://[::1]:80", "[::1]:80", False),
        ("http://a.example:8080", "a.example", True),
        ("http://a.example", "", True),
        ("null", "a.example", True),
        ("null", "null", True),
        ("", "a.example", True),
        ("a.example", "a.example", True),
    ],
)
def test_without_sec_fetch_site_origin_tells(origin: str, host: str, cross: bool) -> None:
    assert cross_site(CIMultiDict({"Origin": origin, "Host": host}), False) is cross
    assert not cross_site(CIMultiDict({"Origin": origin, "Host": host}), True), "a proxy may have changed Host"


def answer(**members: object) -> bytes:
    return orjson.dumps({"token": "abc", "nonces": [1, 2]} | members)


def test_an_answer() -> None:
    assert parse_answer(answer()) == ("abc", [1, 2])
    assert parse_answer(answer(more="is ignored")) == ("abc", [1, 2])
    largest = [2**53 - 1] * 255
    assert parse_answer(answer(token="a" * 128, nonces=largest)) == ("a" * 128, largest)


def test_a_ticket() -> None:
    assert parse_answer(b'{"ticket": "abc", "more": "is ignored"}') == "abc"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b'{"ticket": 5}',
        b'{"ticket": "%b"}' % (b"a" * 129),
        '{"ticket": "ä"}'.encode(),
        b"[]",
        b"{}",
        b'{"token": "abc"}',
        answer(token=""),
        answer(token=5),
        answer(token=None),
        answer(token="ä"),
        answer(token="a" * 129),
        answer(nonces=[]),
        answer(nonces="12"),
        answer(nonces={"0": 1}),
        answer(nonces=[1, True]),
        answer(nonces=[1.0]),
        answer(nonces=[-1]),
        answer(nonces=[2**53]),
        answer(nonces=["1"]),
        answer(nonces=[None]),
        answer(nonces=[1] * 256),
        b'{"token": "abc", "nonces": [1, 99999999999999999999999999]}',
        b'{"token": "abc", "nonces": [NaN]}',
        b"[" * 8000,
        answer(padding="x" * 8192),
        b'\xff{"token": "abc", "nonces": [1]}',
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    assert parse_answer(body) is None


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", []),
        (b"a=b", [("a", "b")]),
        (b"a=1&a=2&b=", [("a", "1"), ("a", "2"), ("b", "")]),
        (b"q=caf%C3%A9+%26+%7E*-._", [("q", "caf\u00e9 & ~*-._")]),
        (b"t=one%0D%0Atwo", [("t", "one\r\ntwo")]),
    ],
)
@pytest.mark.parametrize("media", [FORM, FORM.upper(), f"{FORM}; charset=UTF-8", f'{FORM};charset="utf-8"'])
def test_a_form(body: bytes, fields: list[tuple[str, str]], media: str) -> None:
    assert parse_form(body, media) == fields


@pytest.mark.parametrize(
    "body",
    [
        b"a",  # no value
        b"a=1&",
        b"&a=1",
        b"a=1&&b=2",
        b"a=1;b",
        b"=1",  # a browser leaves out a field without a name
        b"a=%zz",
        b"a=%e4",  # not UTF-8
        b"a=\xc3\xa4",  # not encoded
        b"a=%c3%a4",  # not as browsers write it: the bytes would change
        b"a=%62",
        b"a=~",
        b"a=b c",
        b"a=%00",  # HTML cannot carry it
        b"a=1%0A2",  # a browser would make CRLF of it
        b"a=1%0D2",
        b"a=1%0D%0D%0A2",
        b"a%0A=1",
        b"a%0D=%0A",  # not a pair: name and value are apart
        b"_charset_=UTF-8",  # a browser would fill this in
        b"&".join([b"a=b"] * (MAX_FORM_FIELDS + 1)),
        b"a=" + b"b" * 65536,
    ],
)
def test_what_a_browser_would_not_send_again_as_it_was(body: bytes) -> None:
    assert parse_form(body, FORM) is None


@pytest.mark.parametrize(
    "media",
    ["", "text/plain", "multipart/form-data; boundary=x", "application/json", f"{FORM}; charset=latin1", f"{FORM}x"],
)
def test_other_bodies_are_no_forms(media: str) -> None:
    assert parse_form(b"a=b", media) is None


@given(st.binary(max_size=60))
def test_a_form_is_what_encodes_to_the_same_bytes(body: bytes) -> None:
    fields = parse_form(body, FORM)
    assert fields is None or encode_form(fields) == body


TEXT = st.text(st.characters(exclude_characters="\0\r\n", codec="utf-8"), min_size=1)


@given(st.lists(st.tuples(TEXT.filter(lambda name: name != "_charset_"), TEXT)))
def test_what_a_browser_sends_is_understood(fields: list[tuple[str, str]]) -> None:
    assert parse_form(encode_form(fields), FORM) == fields
