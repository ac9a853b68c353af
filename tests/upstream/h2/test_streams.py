"""Requests over HTTP/2 to a server: many on one connection, each with what belongs to it."""

from __future__ import annotations

import asyncio

import pytest

from shield.http.settings import HttpSettings
from shield.model import Fault
from shield.upstream.settings import UpstreamSettings
from tests.client.h2.peer import REFUSED_STREAM, Peer, request
from tests.client.h2.test_ends import _agreed as agreed
from tests.harness import WEBSOCKET_KEY, Link, Origin, Received, Shield, early, get, post, soon
from tests.upstream.h2.origin import Asked, Http2Origin, echo


async def test_one_connection_carries_many_requests_at_a_time() -> None:
    go = asyncio.Event()

    async def handle(asked: Asked) -> None:
        await go.wait()
        await echo(asked)

    async with Http2Origin(handle) as origin, Shield(origin.url) as shield:
        clients = [await shield.client() for _ in range(20)]
        for number, client in enumerate(clients):
            await client.send(get(f"/{number}"))
        await soon(lambda: len(origin.requests) == 20)
        assert len(origin.links) == 1
        go.set()
        for number, client in enumerate(clients):
            response = await client.response()
            assert (response.status, response.body) == (200, f"GET /{number} 0".encode())
            assert response.get("Date")
            client.close()


async def test_the_server_sees_what_was_asked_and_who_asks() -> None:
    async with Http2Origin() as origin, Shield(origin.url) as shield, await shield.client() as client:
        response = await client.ask(
            post("/up?a=b", b"hello", "Cookie: a=b", "X-Seen: Yes", "Connection: X-Hop", "X-Hop: 1", "TE: trailers")
        )
        assert response.body == b"POST /up?a=b 5"
        (asked,) = origin.requests
        assert [pair for pair in asked.fields if pair[0].startswith(":")] == [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "a.example"),
            (":path", "/up?a=b"),
        ]
        assert asked.body == b"hello"
        assert (asked.get("cookie"), asked.get("x-seen"), asked.get("x-hop")) == ("a=b", "Yes", None)
        assert (asked.get("x-forwarded-for"), asked.get("content-length")) == ("127.0.0.1", "5")
        assert (asked.get("te"), asked.get("host"), asked.get("x-request-id")) == ("trailers", None, "id-1")


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
async def test_bodies_arrive_whole_both_ways(size: int) -> None:
    async def handle(asked: Asked) -> None:
        await asked.whole.wait()
        await asked.head(200)
        await asked.send(asked.body, ended=True)

    body = (b"0123456789" * (size // 10 + 1))[:size]
    async with Http2Origin(handle) as origin, Shield(origin.url) as shield, await shield.client() as client:
        assert (await client.ask(post("/up", body))).body == body
        assert (await client.ask(get("/"))).body == b""


async def test_head_204_and_a_length_without_a_body() -> None:
    async def handle(asked: Asked) -> None:
        if asked.path == "/204":
            await asked.head(204, ended=True)
        else:
            await asked.head(200, ("content-length", "5"), ended=True)

    async with Http2Origin(handle) as origin, Shield(origin.url) as shield, await shield.client() as client:
        response = await client.ask(get("/", method="HEAD"))
        assert (response.status, response.get("Content-Length")) == (200, "5")
        assert (await client.ask(get("/204"))).status == 204


async def test_trailers_and_interim_responses_come_through() -> None:
    async def handle(asked: Asked) -> None:
        await asked.head(103, ("link", "</a.css>"))
        await asked.head(200, ("content-type", "application/grpc"))
        await asked.send(b"message")
        await asked.end(("grpc-status", "0"), ("set-cookie", "a=b"))

    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        answer = await peer.ask(request("/", ("te", "trailers")))
        assert (answer.interims, answer.body, answer.trailers) == ([103], b"message", [("grpc-status", "0")])


async def test_those_of_a_request_reach_the_server() -> None:
    async with Http2Origin() as origin, Shield(origin.url, http2=True) as shield, await Peer.open(shield) as peer:
        number = await peer.begin(request("/up", method="POST"), b"body", ended=False)
        peer.connection.send_headers(number, [("x-sum", "1")], end_stream=True)
        await peer.flush()
        assert (await peer.answer(number)).body == b"POST /up 4"
        assert origin.requests[0].trailers == [("x-sum", "1")]


async def test_a_second_connection_is_opened_where_the_first_is_full() -> None:
    go = asyncio.Event()

    async def handle(asked: Asked) -> None:
        await go.wait()
        await echo(asked)

    async with Http2Origin(handle, streams=2) as origin, Shield(origin.url) as shield:
        clients = [await shield.client() for _ in range(6)]
        for client in clients:
            await client.send(get("/"))
            await soon(lambda: len(origin.requests))
        await soon(lambda: len(origin.requests) == 6)
        assert 3 <= len(origin.links) <= 4  # the first requests came before its SETTINGS
        go.set()
        for client in clients:
            assert (await client.response()).status == 200
            client.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_stream_is_asked_again_whatever_it_asks(method: str) -> None:
    async def handle(asked: Asked) -> None:
        await asked.whole.wait()
        if len(origin.requests) == 1:
            await asked.cancel(REFUSED_STREAM)
        else:
            await echo(asked)

    async with Http2Origin(handle) as origin, Shield(origin.url) as shield, await shield.client() as client:
        response = await client.ask(get("/") if method == "GET" else post("/", b"abc"))
        assert response.status == 200
        assert len(origin.requests) == 2


async def test_one_that_is_refused_for_ever_is_502() -> None:
    async def handle(asked: Asked) -> None:
        await asked.cancel(REFUSED_STREAM)

    async with Http2Origin(handle) as origin, Shield(origin.url) as shield, await shield.client() as client:
        assert (await client.ask(get("/"))).status == 502
        assert len(origin.requests) == 2 + shield.pool.settings.retries
        assert shield.metrics.faults[Fault.UPSTREAM_REFUSED.value] == 1


async def test_behind_a_goaway_requests_go_over_another_connection() -> None:
    """What the server has not looked at is asked again, a POST too; what it has, ends where it is."""

    async def handle(asked: Asked) -> None:
        if asked.path == "/first":
            await soon(lambda: len(origin.requests) == 2)
            asked.link.connection.close_connection(last_stream_id=1)
            await asked.link.flush()
        if asked.path == "/second" and len(origin.links) == 1:
            return
        await echo(asked)

    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url) as shield,
        await shield.client() as one,
        await shield.client() as two,
    ):
        await one.send(get("/first"))
        await soon(lambda: len(origin.requests) == 1)
        await two.send(post("/second", b"abc"))
        assert (await two.response()).body == b"POST /second 3"
        assert len(origin.links) == 2


async def test_a_connection_that_breaks_is_502_and_a_get_is_asked_again() -> None:
    async def handle(asked: Asked) -> None:
        if asked.path == "/break" and len(origin.links) == 1:
            asked.link.writer.transport.abort()
        else:
            await echo(asked)

    async with Http2Origin(handle) as origin, Shield(origin.url) as shield, await shield.client() as client:
        assert (await client.ask(get("/break"))).status == 200
        assert len(origin.links) == 2


async def test_a_stream_that_the_server_breaks_off_is_cut() -> None:
    go = asyncio.Event()

    async def handle(asked: Asked) -> None:
        await asked.head(200)
        await asked.send(b"begin")
        await go.wait()
        await asked.cancel(2)

    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        number = await peer.begin(request())
        await peer.until(lambda: peer.answers[number].body == b"begin")
        go.set()
        assert (await peer.answer(number)).reset == 2
        assert shield.metrics.faults[Fault.UPSTREAM_RESET.value] == 1


async def test_a_server_that_objects_to_a_request_has_broken_nothing() -> None:
    """Some answer PROTOCOL_ERROR to a path that they do not like, and anybody can ask for one."""

    async def handle(asked: Asked) -> None:
        await asked.cancel(1)

    upstream = UpstreamSettings(eject_after=2)
    async with (
        Http2Origin(handle) as one,
        Http2Origin(handle) as other,
        Shield(one.url, other.url, upstream=upstream) as shield,
        await shield.client() as client,
    ):
        for _ in range(8):
            assert (await client.ask(get("/{}"))).status == 502
        assert not shield.told("upstream_ejected")
        assert shield.notes == []
        assert shield.metrics.faults[Fault.UPSTREAM_RESET.value] == 8
        assert shield.metrics.faults[Fault.UPSTREAM_GARBAGE.value] == 0


async def test_less_payload_than_announced_is_garbage() -> None:
    async def handle(asked: Asked) -> None:
        await asked.head(200, ("content-length", "9"))
        await asked.send(b"five!", ended=True)

    async with Http2Origin(handle) as origin, Shield(origin.url) as shield, await shield.client() as client:
        await client.send(get("/"))
        assert await client.gone()
        assert shield.metrics.faults[Fault.UPSTREAM_GARBAGE.value] == 1


async def test_a_client_that_leaves_has_its_stream_reset_and_no_other() -> None:
    async def handle(asked: Asked) -> None:
        if asked.path != "/silent":
            await echo(asked)

    async with Http2Origin(handle) as origin, Shield(origin.url, http2=True) as shield, await Peer.open(shield) as peer:
        number = await peer.begin(request("/silent"))
        await soon(lambda: len(origin.requests) == 1)
        peer.connection.reset_stream(number, 8)
        await peer.flush()
        await soon(lambda: origin.requests[0].reset is not None)
        assert (await peer.ask(request("/next"))).status == 200
        assert len(origin.links) == 1


async def test_a_slow_client_stalls_its_own_stream_alone() -> None:
    async def handle(asked: Asked) -> None:
        await asked.head(200)
        await asked.send(bytes(8 << 20 if asked.path == "/large" else 10), ended=True)

    http = HttpSettings(response_buffer_bytes=0)
    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url, http2=True, http=http) as shield,
        await Peer.open(shield, reads=False, window=1000) as slow,
        await Peer.open(shield) as quick,
    ):
        number = await slow.begin(request("/large"))
        await slow.until(lambda: len(slow.answers[number].body) == 1000)
        for _ in range(3):
            assert (await quick.ask(request("/small"))).body == bytes(10)
        assert len(origin.links) == 1


async def test_an_upload_waits_for_a_server_that_does_not_read() -> None:
    go = asyncio.Event()

    async def handle(asked: Asked) -> None:
        await go.wait()
        link = asked.link
        link.origin.reads = True
        link.connection.acknowledge_received_data(len(asked.body), asked.number)
        await link.flush()
        await echo(asked)

    http = HttpSettings(body_buffer_bytes=1 << 16, body_spool_bytes=0)
    async with (
        Http2Origin(handle, reads=False) as origin,
        Shield(origin.url, http=http) as shield,
        await shield.client() as client,
    ):
        sending = asyncio.create_task(client.send(post("/up", bytes(3 << 20))))
        await soon(lambda: origin.requests and len(origin.requests[0].body) >= 60_000)
        await asyncio.sleep(0.05)
        assert len(origin.requests[0].body) < 70_000
        go.set()
        assert (await client.response()).body == b"POST /up 3145728"
        await sending


async def test_an_idle_connection_is_closed_with_a_farewell() -> None:
    async with Http2Origin() as origin, Shield(origin.url) as shield, await shield.client() as client:
        assert (await client.ask(get("/"))).status == 200
        shield.advance(shield.pool.settings.keep_alive_seconds + 1)
        await asyncio.wait_for(origin.links[0].lost.wait(), 20)
        assert origin.links[0].goaway == 0
        assert (await client.ask(get("/"))).status == 200


async def test_a_server_of_http_1_is_502() -> None:
    async with await asyncio.start_server(_http_1, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Shield(f"h2c://127.0.0.1:{port}") as shield, await shield.client() as client:
            assert (await client.ask(get("/"))).status == 502


async def _http_1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    writer.close()


async def test_one_that_speaks_no_http_1_1_is_not_ejected_for_it() -> None:
    """Or anybody could have all servers ejected, by asking for a WebSocket."""
    fields = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {WEBSOCKET_KEY}")
    upstream = UpstreamSettings(eject_after=2)
    async with Http2Origin() as one, Http2Origin() as other, Shield(one.url, other.url, upstream=upstream) as shield:
        for _ in range(8):
            async with await shield.client() as client:
                await client.send(get("/ws", *fields, "Sec-WebSocket-Version: 13"))
                assert (await client.response()).status == 502
        assert shield.notes == []


async def test_a_websocket_is_asked_for_over_http_1_1() -> None:
    """Servers that speak HTTP/2 without TLS mostly speak both on one port."""

    @early
    async def agree(link: Link, got: Received) -> None:
        await link.send(agreed(got) + b"hello")
        await link.read()
        link.close()

    async with (
        Origin(None, agree) as origin,
        Shield(origin.url.replace("http:", "h2c:")) as shield,
        await shield.client() as client,
    ):
        fields = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        await client.send(get("/ws", *fields, f"Sec-WebSocket-Key: {WEBSOCKET_KEY}"))
        assert (await client.response()).status == 101
        assert await client.exactly(5) == b"hello"
