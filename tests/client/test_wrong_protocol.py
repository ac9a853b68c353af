"""What is no HTTP at all on a port for plain HTTP: answered, closed, and blamed on nobody.

A page anywhere can have a browser send it: TLS by an image from https://site:80/, STUN by WebRTC over TCP.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

import pytest

from shield.model import Signal
from tests.harness import get, shielded, soon

ALERT = b"\x15\x03\x03\x00\x02\x02\x0a"  # fatal, unexpected_message
STUN = b"\x00\x03\x00\x08\x21\x12\xa4\x42" + b"j" * 12 + b"\x00\x19\x00\x04\x11\x00\x00\x00"


def hello(name: str = "a.example") -> bytes:
    """The first bytes of a browser that speaks TLS."""
    out = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


@pytest.mark.parametrize("first", [None, 1, 2, 100])
@pytest.mark.parametrize("redirected", [False, True])
async def test_a_picture_on_somebody_elses_page_strikes_nobody(first: int | None, redirected: bool) -> None:
    """`<img src="https://site:80/1.png">` eight times had the visitor's address banned, and all behind it."""
    options: dict[str, Any] = {"redirect": (443, False, {"a.example"}.__contains__)} if redirected else {}
    async with shielded(**options) as (shield, _):
        for number in range(1, 9):
            data = hello()
            async with await shield.client() as client:
                await client.send(data[:first])
                await client.until(ALERT)
                await client.feed(data[first:])
                assert await client.gone()
            await soon(lambda number=number: shield.metrics.faults == {"tls_on_plain_port": number})
        assert shield.engine.signals == []
        assert shield.metrics.own_responses[4] == 0
        assert shield.log.faults == ["tls_on_plain_port"] * 8


async def test_the_alert_is_one_that_openssl_understands() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        back, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = ssl.create_default_context().wrap_bio(back, out, server_hostname="a.example")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        await client.send(out.read())
        back.write(await client.rest())
        with pytest.raises(ssl.SSLError, match="UNEXPECTED_MESSAGE"):
            tls.do_handshake()


@pytest.mark.parametrize("data", [STUN, b"\x00\x6c" + STUN, b"\x00", b"\xff\xfb\x1f", b"\r\n\r\n", STUN + b"\r\n\r\n"])
async def test_another_protocol_is_refused_and_held_against_nobody(data: bytes) -> None:
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            await client.send(data)
            assert (await client.response()).status == 400
            assert await client.gone()
        assert shield.engine.signals == []


async def test_garbage_after_a_request_is_still_held_against_its_client() -> None:
    for garbage in (b"\x00\x01\x02", hello()):
        async with shielded() as (shield, _):
            async with await shield.client() as client:
                await client.ask(get("/"))
                await client.send(garbage)
                assert (await client.response()).status == 400
            assert shield.engine.signals == [("127.0.0.1", Signal.MALFORMED)]


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SLIPS = {
    "a host with odd characters": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "another host than the target's": b"GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
    "a fragment": b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes beyond ASCII in the target, as old browsers send them": b"GET /?\xe4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "words that are no request": b"hello there\r\n\r\n",
    "a request as before HTTP/1.0": b"GET /\r\n\r\n",
    "a second empty line": b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a name with brackets": b"GET / HTTP/1.1\r\nHost: a\r\nX(1): y\r\n\r\n",
    "a name of two words": b"GET / HTTP/1.1\r\nHost: a\r\nClient address: y\r\n\r\n",
    "a line without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    "an empty extension of a chunk": CHUNKED + b"3;\r\nabc\r\n0\r\n\r\n",
    "an extension of a chunk with a space": CHUNKED + b"3;a b\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", SLIPS.values(), ids=SLIPS.keys())
async def test_a_slip_that_changes_nothing_about_framing_is_no_signal(data: bytes) -> None:
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            assert (await client.ask(data)).status == 400
        assert shield.engine.signals == []


async def test_a_coding_that_is_not_known_is_501_and_held_against_nobody() -> None:
    data = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            assert (await client.ask(data)).status == 501
        assert (shield.engine.signals, origin.requests) == ([], [])
        assert shield.log.rules == [("coding_unknown", "POST", "/")]


async def test_two_user_agents_are_one_client_and_passed_on() -> None:
    """A monitoring script set one of its own beside its library's: its address had points enough for a ban in an
    hour, and a colleague's browser there was refused."""
    async with shielded() as (shield, origin):
        for fields in (["User-Agent: x", "User-Agent: y"], ["User-Agent: x"]):
            async with await shield.client() as client:
                assert (await client.ask(get("/", *fields))).status == 200
        assert [request.all("User-Agent") for request in origin.requests] == [["x", "y"], ["x"]]
        first, second = shield.engine.decided
        assert first.client.key == second.client.key
        assert shield.engine.signals == []


BREACHES = {
    "a coding in disguise": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
    "a name in two words that is framing": b"POST / HTTP/1.1\r\nHost: a\r\nContent Length: 5\r\n\r\n",
    "a control character in a chunk's line": CHUNKED + b"3;\x01\r\nabc\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "length and coding": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a line feed alone": b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "a control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in a field": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
    "a disguised name": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n",
    "a name with a space": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
}


@pytest.mark.parametrize("data", BREACHES.values(), ids=BREACHES.keys())
async def test_what_only_a_program_can_send_is_a_signal(data: bytes) -> None:
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            await client.send(data)
            assert (await client.response()).status == 400
        assert shield.engine.signals == [("127.0.0.1", Signal.MALFORMED)]
