"""Trailers on their way, over HTTP/1 and HTTP/2, to the service and back."""

from __future__ import annotations

import asyncio

import pytest

from shield.http.settings import HttpSettings
from tests.client.h2.peer import Peer, request
from tests.harness import Link, Received, chunked, early, get, reply, shielded

ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(
    b"abc", b"def", trailer=b"Grpc-Status: 0\r\nSet-Cookie: a=b\r\nX-Sum: 9\r\n"
)
PASSED = [("Grpc-Status", "0"), ("X-Sum", "9")]
LOWER = [(name.lower(), value) for name, value in PASSED]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_those_of_a_response_reach_a_client_that_takes_them(size: int) -> None:
    async def handle(link: Link, _: Received) -> None:
        for at in range(0, len(ANSWER), size):
            await link.send(ANSWER[at : at + size])
            await asyncio.sleep(0)

    async with shielded(None, handle) as (shield, origin), await shield.client() as client:
        for _ in range(2):
            response = await client.ask(get("/", "TE: trailers", "Connection: TE"))
            assert (response.body, response.trailers) == (b"abcdef", PASSED)
        response = await client.ask(get("/"))
        assert (response.body, response.trailers) == (b"abcdef", [])
        assert len(origin.links) == 1


async def test_a_client_of_http_1_0_gets_none() -> None:
    async with shielded({"/": ANSWER}) as (shield, _), await shield.client() as client:
        response = await client.ask(get("/", "TE: trailers", version="1.0"))
        assert (response.body, response.trailers) == (b"abcdef", [])


@pytest.mark.parametrize("window", [65535, 2])
async def test_those_of_a_response_reach_a_client_of_http_2(window: int) -> None:
    """Behind all of the payload, however slowly that is read."""
    async with shielded({"/": ANSWER}, http2=True) as (shield, _), await Peer.open(shield, window=window) as peer:
        answer = await peer.ask(request("/", ("te", "trailers")))
        assert (answer.body, answer.trailers, answer.ended) == (b"abcdef", LOWER, True)
        answer = await peer.ask(request("/"))
        assert (answer.body, answer.trailers, answer.ended) == (b"abcdef", [], True)


async def test_an_answer_of_nothing_but_trailers() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(trailer=b"Grpc-Status: 12\r\n")
    async with shielded({"/": answer}, http2=True) as (shield, _), await Peer.open(shield) as peer:
        got = await peer.ask(request("/", ("te", "trailers")))
        assert (got.status, got.body, got.trailers) == (200, b"", [("grpc-status", "12")])


def _upload(path: str = "/up") -> bytes:
    trailer = b"X-Sum: 9\r\nHost: evil\r\nX_Sum: 8\r\nX-Forwarded-For: 6.6.6.6\r\nShield-Pass: a\r\n"
    wire = chunked(b"abc", b"def", trailer=trailer)
    return get(path, "Transfer-Encoding: chunked", method="POST") + wire


@pytest.mark.parametrize("buffer", [1 << 20, 1024], ids=["whole", "piece by piece"])
async def test_those_of_a_request_reach_the_service_and_no_request_follows_them(buffer: int) -> None:
    """A server may take the last trailer for a field of the next request on that connection, which is another
    client's."""
    http = HttpSettings(body_buffer_bytes=buffer, body_spool_bytes=0)
    async with shielded(http=http) as (shield, origin), await shield.client() as client:
        assert (await client.ask(_upload())).status == 200
        assert (await client.ask(get("/next"))).status == 200
        first, second = origin.requests
        assert (first.body, first.trailers) == (b"abcdef", [("X-Sum", "9")])
        assert second.trailers == []
        assert len(origin.links) == 2


async def test_those_of_a_request_over_http_2() -> None:
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        number = await peer.begin(request("/up", method="POST"), b"body", ended=False)
        peer.connection.send_headers(number, [("x-sum", "1"), ("cookie", "a=b")], end_stream=True)
        await peer.flush()
        assert (await peer.answer(number)).status == 200
        got = await origin.got()
        assert (got.body, got.trailers) == (b"body", [("x-sum", "1")])


async def test_a_request_with_a_length_has_no_place_for_them() -> None:
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        number = await peer.begin(request("/up", ("content-length", "4"), method="POST"), b"body", ended=False)
        peer.connection.send_headers(number, [("x-sum", "1")], end_stream=True)
        await peer.flush()
        assert (await peer.answer(number)).status == 200
        got = await origin.got()
        assert (got.body, got.trailers) == (b"body", [])
        assert (await peer.ask(request("/next"))).status == 200
        assert len(origin.links) == 1


async def test_a_stream_of_messages_both_ways_ends_with_them() -> None:
    """As gRPC does it, over a server of HTTP/1."""

    @early
    async def handle(link: Link, got: Received) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await link.body(got)
        await link.send(chunked(got.body, trailer=b"Grpc-Status: 0\r\n"))

    http = HttpSettings(body_buffer_bytes=1024, body_spool_bytes=0)
    async with shielded(None, handle, http2=True, http=http) as (shield, _), await Peer.open(shield) as peer:
        number = await peer.begin(request("/up", ("te", "trailers"), method="POST"), bytes(5000), ended=False)
        answer = peer.answers[number]
        await peer.until(lambda: answer.status)
        await peer.send(number, b"end")
        await peer.answer(number)
        assert (answer.body, answer.trailers) == (bytes(5000) + b"end", [("grpc-status", "0")])


async def test_an_answer_with_a_length_stays_as_it_is() -> None:
    async with shielded({"/": reply(b"abc")}, http2=True) as (shield, _), await Peer.open(shield) as peer:
        answer = await peer.ask(request("/", ("te", "trailers")))
        assert (answer.body, answer.trailers, answer.get("content-length")) == (b"abc", [], "3")
