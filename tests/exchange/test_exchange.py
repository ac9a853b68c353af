"""The road of one request to an upstream and of its response back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc

import pytest

from shield.client.watch import TimeoutSettings
from shield.exchange.slot import LEAST_PACE, PACE_SECONDS
from shield.http.settings import HttpSettings
from shield.model import Tier
from shield.upstream.settings import UpstreamSettings
from shield.wire import transport as wire
from tests.harness import (
    Client,
    Closed,
    Link,
    Origin,
    Received,
    Shield,
    chunked,
    early,
    get,
    post,
    reply,
    shielded,
    soon,
)

WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # to that key: RFC 6455 section 1.3
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)

NOTHING_AHEAD = HttpSettings(response_buffer_bytes=0)
STREAMED = HttpSettings(body_buffer_bytes=1, body_spool_bytes=0)
"""What of a body does not come with the first read goes to the server at once."""

# requests


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "MKCOL", "PURGE"]
)
async def test_every_method_the_parser_knows_is_forwarded(method: str) -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        for _ in range(2):
            assert (await client.ask(get(method=method))).status == 200
        assert [r.method for r in origin.requests] == [method] * 2


@pytest.mark.parametrize("split", [1, 7, 1000, 100_000])
async def test_bodies_arrive_as_they_were_sent(split: int) -> None:
    body = bytes(range(256)) * (2000 if split > 1 else 4)
    pieces = [body[at : at + split] for at in range(0, len(body), split)]
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.send(get("/c", "Transfer-Encoding: chunked", method="POST") + chunked(*pieces))
        assert (await client.response()).status == 200
        await client.send(post("/l", body))
        assert (await client.response()).status == 200
        assert [r.body == body for r in origin.requests] == [True, True]
        assert origin.requests[0].get("Transfer-Encoding") == "chunked"
        assert origin.requests[1].get("Content-Length") == str(len(body))


async def test_an_empty_chunked_body_stays_one() -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.ask(get("/c", "Transfer-Encoding: chunked", method="POST") + b"0\r\n\r\n")
        await client.ask(post("/l", b""))
        assert origin.requests[0].get("Transfer-Encoding") == "chunked"
        assert origin.requests[1].get("Content-Length") == "0"


async def test_host_is_kept_or_rewritten() -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.ask(get(host="Shop.Example:8080"))
        assert origin.requests[0].get("Host") == "Shop.Example:8080"
        assert origin.requests[0].get("X-Forwarded-Host") == "Shop.Example:8080"
    async with shielded(http=HttpSettings(preserve_host=False)) as (shield, origin), await shield.client() as client:
        await client.ask(get(host="shop.example"))
        assert origin.requests[0].get("Host") == f"127.0.0.1:{origin.port}"
        assert origin.requests[0].get("X-Forwarded-Host") == "shop.example"


async def test_forwarding_fields_are_ours_and_spoofed_ones_are_gone() -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.ask(
            get(
                "/",
                "X-Forwarded-For: 6.6.6.6",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Host: evil",
                "X-Real-IP: 6.6.6.6",
                "Forwarded: for=6.6.6.6",
                "X-Request-Id: spoofed",
                "X_Forwarded_For: 6.6.6.6",
                "Connection: X-Forwarded-For, X-Request-Id",
            )
        )
        request = origin.requests[0]
        assert request.get("X-Forwarded-For") == "127.0.0.1"
        assert request.get("X-Forwarded-Proto") == "http"
        assert request.get("X-Forwarded-Host") == "a.example"
        assert request.get("Forwarded") == "for=127.0.0.1;proto=http;host=a.example"
        assert request.get("X-Request-Id") == "id-1"
        assert b"6.6.6.6" not in request.raw_head
        assert b"evil" not in request.raw_head


async def test_hop_by_hop_fields_stop_here_in_both_directions() -> None:
    answer = reply(
        b"ok",
        "Connection: keep-alive, X-Internal",
        "Keep-Alive: timeout=5",
        "X-Internal: secret",
        "Proxy-Connection: x",
        "Trailer: X-T",
        "Upgrade: h2c",
        "X-Seen: yes",
    )
    async with shielded({"/": answer}) as (shield, origin), await shield.client() as client:
        response = await client.ask(
            get(
                "/",
                "Connection: keep-alive, X-Hop",
                "Keep-Alive: 300",
                "X-Hop: 1",
                "TE: trailers",
                "Proxy-Authorization: Basic x",
                "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
                "X-End: 2",
            )
        )
        gone = ("connection", "keep-alive", "x-hop", "te", "proxy-authorization", "upgrade", "http2-settings")
        names = [name.lower() for name, _ in origin.requests[0].fields]
        assert not set(gone) & set(names)
        assert origin.requests[0].get("X-End") == "2"
        names = [name.lower() for name, _ in response.fields]
        assert names == ["x-seen", "date", "content-length"]


async def test_h2c_is_served_plainly_and_the_next_request_too() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        await client.send(
            get("/1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
            + get("/2", "Connection: upgrade", "Upgrade: h2c")
            + get("/3")
        )
        assert [(await client.response()).body for _ in range(3)] == [b"GET /1", b"GET /2", b"GET /3"]


# responses


@pytest.mark.parametrize("size", [0, 1, 100, 70_000, 3_000_000])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_responses_arrive_as_they_were_sent(size: int, framing: str, version: str) -> None:
    body = (b"0123456789" * (size // 10 + 1))[:size]
    cuts = [body[at : at + 9973] for at in range(0, size, 9973)]

    async def handle(link: Link, request: Received) -> None:
        if framing == "length":
            await link.send(reply(body))
        elif framing == "chunked":
            await link.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(*cuts, trailer=b"X-T: 1\r\n")
            )
        else:
            await link.send(b"HTTP/1.1 200 OK\r\n\r\n" + body)
            link.close()

    async with shielded(None, handle) as (shield, origin), await shield.client() as client:
        response = await client.ask(get(version=version))
        assert response.body == body
        assert response.get("X-T") is None
        if version == "1.1":
            assert (await client.ask(get())).body == body
            assert len(origin.links) == (2 if framing == "close" else 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["length", "chunked", "neither"],
)
async def test_the_answer_to_head_has_no_body(answer: bytes) -> None:
    async with shielded({"/": answer}) as (shield, origin), await shield.client() as client:
        for _ in range(3):
            response = await client.ask(get(method="HEAD"))
            assert response.get("Content-Length") == ("1000" if b"1000" in answer else None)
        await client.ask(get("/x"))
        assert len(origin.links) == 4, "a body may follow all the same, so each connection ends with its answer"


async def test_head_of_nothing_keeps_the_connection() -> None:
    async with shielded({"/": reply(b"")}) as (shield, origin), await shield.client() as client:
        for _ in range(3):
            assert (await client.ask(get(method="HEAD"))).get("Content-Length") == "0"
        assert len(origin.links) == 1


async def test_the_body_of_an_answer_to_head_reaches_nobody() -> None:
    """A server that answers HEAD with a body puts words of the attacker's choice on the connection."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    async with shielded({"/": reply(evil)}) as (shield, origin), await shield.client() as client:
        await client.ask(get(method="HEAD"))
        for _ in range(3):
            assert (await client.ask(get("/x"))).body == b"GET /x"
        assert len(origin.links) == 2


async def test_a_late_body_of_an_answer_to_head_is_not_the_next_clients_answer() -> None:
    seen = asyncio.Event()

    async def handle(link: Link, request: Received) -> None:
        if request.method == "HEAD":
            await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n")
            return
        seen.set()
        if link is origin.links[0]:
            await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await link.send(reply(b"mine"))

    async with shielded(None, handle) as (shield, origin):
        async with await shield.client() as attacker, await shield.client() as victim:
            await attacker.ask(get(method="HEAD"))
            assert (await victim.ask(get("/x"))).body == b"mine"
        assert seen.is_set()
        await soon(origin.links[0].lost.is_set)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_204_and_304_have_no_body(status: str) -> None:
    answers = {
        "/bare": f"HTTP/1.1 {status}\r\n\r\n".encode(),
        "/long": f"HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n".encode(),
    }
    async with shielded(answers) as (shield, origin), await shield.client() as client:
        for path in ("/bare", "/long", "/bare"):
            response = await client.ask(get(path))
            assert response.status == int(status[:3])
            assert response.get("Content-Length") == ("5" if path == "/long" and status[0] == "3" else None)
        assert (await client.ask(get("/x"))).body == b"GET /x"
        assert len(origin.links) == (1 if status[0] == "3" else 2), "a length with 204 makes one doubt"


async def test_interim_responses_reach_a_11_client_and_not_a_10_one() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + reply(b"done")
    async with shielded({"/": answer}) as (shield, _):
        async with await shield.client() as client:
            await client.send(get())
            hints = await client.response(interim=True)
            assert (hints.status, hints.get("Link")) == (103, "</a.css>")
            assert (await client.response(interim=True)).status == 102
            assert (await client.response()).body == b"done"
        async with await shield.client() as client:
            await client.send(get(version="1.0"))
            assert (await client.response(interim=True)).body == b"done"


async def test_an_upstream_that_only_hints_is_stopped() -> None:
    async def hint(link: Link, request: Received) -> None:
        for _ in range(11):
            await link.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)

    async with shielded(None, hint) as (shield, _), await shield.client() as client:
        assert (await client.ask(get())).status == 502


async def test_events_are_passed_on_as_they_come() -> None:
    go = asyncio.Event()

    async def events(link: Link, request: Received) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await go.wait()
        await link.send(b"data: 2\n\n")
        link.close()

    async with shielded(None, events) as (shield, _), await shield.client() as client:
        await client.send(get())
        await client.until(b"data: 1\n\n")
        assert not shield.engine.slots, "a stream holds no slot once its head is answered"
        go.set()
        await client.until(b"data: 2\n\n")
        await client.until(b"0\r\n\r\n")
        assert shield.engine.learned[0][1].stream


async def test_an_earned_pass_rides_on_a_private_document_only() -> None:
    html = "Content-Type: text/html"
    answers = {
        "/public": reply(b"p", html),
        "/private": reply(b"p", html, "Cache-Control: private"),
        "/cookie": reply(b"p", html, "Set-Cookie: a=1"),
        "/image": reply(b"p", "Content-Type: image/png", "Cache-Control: private"),
        "/error": reply(b"p", html, "Cache-Control: private", status="500 No"),
    }
    async with shielded(answers) as (shield, _), await shield.client() as client:
        shield.engine.grants = dict.fromkeys(answers, "token1")
        given = {path: (await client.ask(get(path))).all("Set-Cookie") for path in answers}
    ours = "shield_pass=token1; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"
    assert given == {"/public": [], "/private": [ours], "/cookie": ["a=1", ours], "/image": [], "/error": []}


# failures


async def test_a_refused_connection_is_502() -> None:
    async with Origin() as origin:
        pass
    async with Shield(origin.url) as shield, await shield.client() as client:
        for _ in range(2):
            assert (await client.ask(get())).status == 502
        assert (await client.ask(post("/", b"x" * 10))).status == 502
        assert [outcome.status for _, outcome in shield.engine.learned] == [502] * 3
        event, fields = shield.log.events[0]
        assert event == "upstream_connect_failed"
        assert fields["error"] == f"[Errno {errno.ECONNREFUSED}] Connection refused"


async def test_the_log_names_the_server_and_the_fault_each_in_its_field() -> None:
    async with Origin({"/slow": None}) as origin, Shield(origin.url) as shield, await shield.client() as client:
        await client.ask(get("/fine"))
        await client.send(get("/slow"))
        await origin.got(2)
        shield.advance(61)
        await client.response()
        await soon(lambda: len(shield.log.requests) == 2)
        # method, path, status, seconds, sent, server, id, fault
        assert [(line[1], line[5], line[7]) for line in shield.log.requests] == [
            ("/fine", origin.url, ""),
            ("/slow", origin.url, "upstream_timeout"),
        ]


async def test_no_answer_is_504() -> None:
    async with shielded({"/": None}) as (shield, origin), await shield.client() as client:
        await client.send(get())
        await origin.got()
        shield.advance(61)
        response = await client.response()
        assert (response.status, response.get("Connection")) == (504, None)
        await asyncio.wait_for(origin.links[0].lost.wait(), 5)
        assert (await client.ask(get("/x"))).body == b"GET /x"
        assert [r.target for r in origin.requests] == ["/", "/x"], "what may have been done is not done again"


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 1000 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\0\0\0",
    ],
    ids=lambda value: repr(value[:60]),
)
async def test_garbage_is_502_and_its_connection_is_closed(garbage: bytes) -> None:
    async with shielded({"/bad": garbage}) as (shield, origin), await shield.client() as client:
        response = await client.ask(get("/bad"))
        assert response.status == 502
        assert response.get("Set-Cookie") is None
        await asyncio.wait_for(origin.links[0].lost.wait(), 5)
        assert (await client.ask(get("/x"))).body == b"GET /x"
        assert shield.metrics.faults["upstream_garbage"] == 1
        ((rule, *asked),) = shield.log.rules
        assert asked == ["GET", "/bad"]
        assert shield.metrics.rules == {"request": {}, "response": {rule: 1}}


async def test_a_response_without_a_date_is_given_one() -> None:
    """RFC 9110 section 6.6.1."""
    dated = reply(b"", "Date: Thu, 01 Jan 2026 00:00:00 GMT")
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    async with shielded({"/": hints + reply(b""), "/dated": dated}) as (shield, _):
        shield.pool.set_date(1_800_000_000.0)
        async with await shield.client() as client:
            await client.send(get("/"))
            interim = await client.response(interim=True)
            assert (interim.status, interim.get("Date")) == (103, None)
            assert (await client.response()).get("Date") == "Fri, 15 Jan 2027 08:00:00 GMT"
            assert (await client.ask(get("/dated"))).all("Date") == ["Thu, 01 Jan 2026 00:00:00 GMT"]


async def test_a_server_that_says_it_is_at_work_is_waited_for() -> None:
    """WebDAV servers say 102 while they copy a tree (RFC 2518 section 10.1). As with any proxy it is a sign of life."""
    go = asyncio.Event()

    async def work(link: Link, request: Received) -> None:
        for _ in range(3):
            await link.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await go.wait()
            go.clear()
        await link.send(reply(b"done"))

    async with shielded(None, work) as (shield, _), await shield.client() as client:
        await client.send(get("/", method="COPY"))
        for _ in range(3):
            assert (await client.response(interim=True)).status == 102
            shield.advance(40)
            go.set()
        assert (await client.response()).body == b"done"


@pytest.mark.parametrize(
    "part",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ],
    ids=["length", "between chunks", "within a chunk", "garbage for a chunk"],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_truncated_response_never_looks_complete(part: bytes, version: str) -> None:
    async def handle(link: Link, request: Received) -> None:
        await link.send(part)
        link.close()

    async with shielded(None, handle) as (shield, _), await shield.client() as client:
        await client.send(get(version=version))
        with pytest.raises((ConnectionResetError, Closed)):
            await client.response()
        assert shield.engine.learned[0][1].status == 502


async def test_a_response_cut_by_a_reset_never_looks_complete() -> None:
    async def handle(link: Link, request: Received) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\n\r\npart of a body until close")
        await asyncio.sleep(0.05)
        link.reset()

    async with shielded(None, handle) as (shield, _), await shield.client() as client:
        await client.send(get(version="1.0"))
        with pytest.raises(ConnectionResetError):
            await client.response()
        assert shield.metrics.faults["upstream_closed"] == 1


async def test_a_response_with_a_reset_right_behind_it_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "READ_BYTES", 4096)
    body = bytes(range(256)) * 120

    async def handle(link: Link, request: Received) -> None:
        link.writer.write(reply(body))
        link.reset()

    async with shielded(None, handle) as (shield, _), await shield.client() as client:
        for _ in range(5):
            assert (await client.ask(get())).body == body
        await soon(lambda: not shield.pool.servers[0].idle)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_a_part_of_a_response_with_a_reset_right_behind_it_never_looks_complete(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "READ_BYTES", 4096)

    async def handle(link: Link, request: Received) -> None:
        link.writer.write(head + b"x" * 30_000)
        link.reset()

    async with shielded(None, handle) as (shield, _), await shield.client() as client:
        await client.send(get(version="1.0"))
        with pytest.raises((ConnectionResetError, Closed)):
            await client.response()
        assert shield.metrics.faults["upstream_closed"] == 1


async def test_a_response_that_falls_silent_is_cut() -> None:
    async def handle(link: Link, request: Received) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    async with shielded(None, handle) as (shield, origin), await shield.client() as client:
        await client.send(get())
        await client.until(b"only this")
        shield.advance(61)
        with pytest.raises((ConnectionResetError, Closed)):
            await client.exactly(1)
        await asyncio.wait_for(origin.links[0].lost.wait(), 5)


async def test_bytes_behind_a_response_poison_the_connection() -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nSet-Cookie: evil\r\n\r\nevil"
    async with shielded({"/": reply(b"ok") + evil}) as (shield, origin), await shield.client() as client:
        assert (await client.ask(get())).body == b"ok"
        response = await client.ask(get("/x"))
        assert response.body == b"GET /x"
        assert response.get("Set-Cookie") is None
        assert len(origin.links) == 2


async def test_bytes_while_idle_poison_the_connection() -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.ask(get("/1"))
        await origin.links[0].send(reply(b"evil"))
        await asyncio.wait_for(origin.links[0].lost.wait(), 5)
        assert (await client.ask(get("/2"))).body == b"GET /2"


async def test_the_last_trailer_of_a_response_does_not_reach_the_next_one() -> None:
    """llhttp kept in one piece would carry one client's Set-Cookie to another."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(
        b"x", trailer=b"Set-Cookie: a=secret\r\n"
    )
    async with shielded({"/": answer}) as (shield, origin):
        async with await shield.client() as one, await shield.client() as two:
            assert (await one.ask(get())).all("Set-Cookie") == []
            assert (await two.ask(get("/x"))).all("Set-Cookie") == []
        assert len(origin.links) == 1


# retries


async def test_an_idempotent_request_on_a_connection_that_has_gone_stale_is_sent_again() -> None:
    calls = 0

    async def handle(link: Link, request: Received) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            link.close()
        else:
            await link.send(reply(b"ok"))

    async with shielded(None, handle, upstream=UpstreamSettings(retries=0)) as (shield, origin):
        async with await shield.client() as client:
            assert (await client.ask(get("/1"))).body == b"ok"
            assert (await client.ask(get("/2"))).body == b"ok"
        assert len(origin.links) == 2
        assert shield.pool.servers[0].failures == 0


async def test_all_kept_connections_may_be_stale_at_once() -> None:
    """A server that was restarted has closed them all, and Shield may not have heard of it yet."""
    dying = False
    hold = asyncio.Event()

    async def handle(link: Link, request: Received) -> None:
        if request.target == "/warm":
            await hold.wait()
        if dying and link in old:
            link.close()
        else:
            await link.send(reply(b"ok"))

    async with shielded(None, handle) as (shield, origin), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await shield.client()) for _ in range(6)]
        for client in clients:
            await client.send(get("/warm"))
        await origin.got(6)
        hold.set()
        for client in clients:
            assert (await client.response()).body == b"ok"
        old = list(origin.links)
        dying = True
        assert (await clients[0].ask(get("/after"))).status == 200


@pytest.mark.parametrize("request_bytes", [post("/2", b"x"), get("/2", method="PATCH"), get("/2", method="LOCK")])
async def test_what_must_not_be_done_twice_is_not_sent_twice(request_bytes: bytes) -> None:
    async def handle(link: Link, request: Received) -> None:
        if request.target == "/2":
            link.close()
        else:
            await link.send(reply(b"ok"))

    async with shielded(None, handle) as (shield, origin), await shield.client() as client:
        await client.ask(get("/1"))
        assert (await client.ask(request_bytes)).status == 502
        assert [r.target for r in origin.requests] == ["/1", "/2"]


async def test_a_put_that_was_buffered_is_sent_again_whole() -> None:
    async def handle(link: Link, request: Received) -> None:
        if len(origin.requests) == 1:
            link.close()
        else:
            await link.send(reply(request.body))

    async with shielded(None, handle) as (shield, origin), await shield.client() as client:
        assert (await client.ask(post("/", b"whole body", method="PUT"))).body == b"whole body"
        assert len(origin.requests) == 2


@pytest.mark.parametrize("piece", [b"H", b"HTTP/1.1 103 Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Half: "])
async def test_once_a_byte_has_come_nothing_is_sent_again(piece: bytes) -> None:
    async def handle(link: Link, request: Received) -> None:
        if request.target == "/1":
            await link.send(reply(b"ok"))
            return
        await link.send(piece)
        await asyncio.sleep(0.05)
        link.close()

    async with shielded(None, handle) as (shield, origin), await shield.client() as client:
        await client.ask(get("/1"))
        assert (await client.ask(get("/2"))).status == 502
        assert [r.target for r in origin.requests] == ["/1", "/2"]


# uploads


async def test_an_early_response_ends_the_upload() -> None:
    @early
    async def refuse(link: Link, request: Received) -> None:
        await link.send(reply(b"too big", "Connection: close", status="413 Too Large"))
        link.close()

    async with shielded(None, refuse, http=STREAMED) as (shield, _), await shield.client() as client:
        request = post("/", b"x" * 900_000)
        await client.send(request[:100_000])
        response = await client.response()
        assert (response.status, response.body, response.get("Connection")) == (413, b"too big", "close")
        await client.send(request[100_000:])  # without a reset
        assert await client.gone()


async def test_an_early_response_is_not_lost_to_the_reset_behind_it() -> None:
    @early
    async def refuse(link: Link, request: Received) -> None:
        link.writer.write(reply(b"too big", status="413 Too Large"))
        link.reset()

    async with shielded(None, refuse, http=STREAMED) as (shield, _):
        for _ in range(20):
            async with await shield.client() as client:
                await client.feed(post("/", b"x" * 900_000))
                response = await client.response()
                assert (response.status, response.body, response.get("Connection")) == (413, b"too big", "close")


async def test_a_connection_whose_request_is_not_sent_whole_is_not_used_again() -> None:
    """Else the next request would wait behind it, and its own backpressure would not be felt."""

    @early
    async def answer(link: Link, request: Received) -> None:
        await link.send(reply(b"no need"))
        await link.lost.wait()

    async with shielded(None, answer, http=HttpSettings(body_buffer_bytes=1 << 24)) as (shield, origin):
        async with await shield.client() as client:
            assert (await client.ask(post("/", b"x" * (16 << 20), method="PUT")[:-1] + b"y")).body == b"no need"
        assert not shield.pool.servers[0].idle
        origin.links[0].reset()


async def test_an_early_response_on_a_kept_connection_ends_both_connections() -> None:
    """The origin would read the rest of the body as the next request."""

    @early
    async def refuse(link: Link, request: Received) -> None:
        await link.send(reply(b"no"))
        await link.read()

    async with shielded(None, refuse, http=HttpSettings(body_buffer_bytes=10, body_spool_bytes=0)) as (shield, origin):
        async with await shield.client() as client:
            await client.send(post("/", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * 100)[:-50])
            response = await client.response()
            assert (response.body, response.get("Connection")) == (b"no", "close")
        await asyncio.wait_for(origin.links[0].lost.wait(), 5)
        assert not shield.pool.servers[0].idle


async def test_a_framing_error_after_an_early_response_is_no_second_response() -> None:
    @early
    async def answer(link: Link, request: Received) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst part")
        await link.lost.wait()

    async with shielded(None, answer, http=STREAMED) as (shield, _):  # noqa: SIM117
        async with await shield.client() as client:
            await client.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
            await client.until(b"first part")
            await client.send(b"nonsense\r\n")
            assert await client.rest() == b""


async def test_a_body_too_large_in_the_middle_is_413_and_the_upload_is_broken_off() -> None:
    async with shielded(http=HttpSettings(max_body_bytes=100_000)) as (shield, origin):
        async with await shield.client() as client:
            sending = asyncio.create_task(
                client.send(get("/", "Transfer-Encoding: chunked", method="POST") + chunked(*[b"x" * 10_000] * 11))
            )
            response = await client.response()
            assert (response.status, response.get("Connection")) == (413, "close")
            await sending
        await soon(lambda: all(link.lost.is_set() for link in origin.links))
        assert not origin.requests


async def test_a_slow_upstream_makes_the_client_wait() -> None:
    go = asyncio.Event()

    @early
    async def slow(link: Link, request: Received) -> None:
        await go.wait()
        await link.body(request)
        await link.send(reply(str(len(request.body)).encode()))

    async with shielded(None, slow, http=STREAMED) as (shield, origin), await shield.client() as client:
        sending = asyncio.create_task(client.send(post("/", b"x" * 30_000_000)))
        await soon(lambda: origin.links and origin.links[0].reader._paused and shield.accepted[0].flow.paused)
        connection = shield.accepted[0]._exchange._connection
        assert connection.transport.get_write_buffer_size() < 1_000_000
        assert shield.metrics.bytes_in < 29_000_000
        go.set()
        assert (await client.response()).body == b"30000000"
        await sending


async def test_a_slow_reader_makes_the_upstream_wait_and_holds_no_slot() -> None:
    body = b"x" * (64 << 20)
    async with (
        shielded({"/": reply(body)}, http=NOTHING_AHEAD) as (shield, _origin),
        await shield.client(receive_buffer=1 << 18) as client,
    ):
        await client.send(get())
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
        assert shield.accepted[0].transport.get_write_buffer_size() < 1 << 20
        assert shield.accepted[0]._exchange._connection._paused
        assert not shield.engine.slots
        sent = shield.metrics.bytes_out
        for _ in range(20):
            await asyncio.sleep(0)
        assert shield.metrics.bytes_out == sent
        assert len((await client.response()).body) == len(body)
        assert shield.accepted[0].transport.get_write_buffer_size() < 1 << 20


async def test_a_response_is_read_ahead_of_a_slow_client_and_the_upstream_is_free() -> None:
    body = b"x" * 6_000_000
    async with shielded({"/": reply(body)}) as (shield, _), await shield.client(receive_buffer=4096) as client:
        await client.send(get())
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked and not shield.accepted[0]._exchange)
        connection = shield.accepted[0]
        assert not shield.engine.slots, "its request is over for the upstream"
        assert [len(server.idle) for server in shield.pool.servers] == [1]
        assert 0 < shield.ahead.total <= shield.http.response_buffer_bytes
        assert connection.watch.deadline <= shield.clock() + shield.timeouts.progress, "it has to keep moving"
        assert (await client.response()).body == body
        assert shield.ahead.total == 0
        assert connection.watch.deadline > shield.clock() + shield.timeouts.progress
        assert (await client.ask(get("/again"))).body == b"GET /again"


async def test_one_who_reads_nothing_of_what_was_read_ahead_is_cut() -> None:
    async with shielded({"/": reply(b"x" * 6_000_000)}) as (shield, _):
        async with await shield.client(receive_buffer=4096) as client:
            await client.send(get())
            await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked and not shield.accepted[0]._exchange)
            shield.advance(shield.timeouts.progress + 1)
            await soon(lambda: shield.metrics.connections_open == 0)
        assert shield.metrics.faults["read_timeout"] == 1
        assert shield.ahead.total == 0


async def test_what_is_read_ahead_of_everybody_is_bounded() -> None:
    http = HttpSettings(response_buffers_bytes=3_000_000)
    async with shielded({"/": reply(b"x" * 6_000_000)}, http=http) as (shield, _), contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            client = await stack.enter_async_context(await shield.client(receive_buffer=4096))
            await client.send(get())
        await soon(lambda: shield.streams.laggards == 4)
        assert shield.ahead.total <= 3_000_000
        assert not shield.engine.slots
        shield.advance(shield.timeouts.progress + 1)
        await soon(lambda: shield.metrics.connections_open == 0)
        assert (shield.ahead.total, shield.streams.laggards) == (0, 0)


async def test_slow_readers_hold_no_more_of_the_upstream_than_it_can_do_at_once() -> None:
    body = b"x" * 20_000_000
    answers = {"/": reply(body), "/known": reply(body)}
    async with shielded(answers, http=NOTHING_AHEAD) as (shield, _), contextlib.AsyncExitStack() as stack:
        shield.engine.concurrency_limit = 2
        shield.engine.tiers = {"/known": Tier.T1}
        for path in ("/", "/", "/", "/", "/known"):
            client = await stack.enter_async_context(await shield.client(receive_buffer=4096))
            await client.send(get(path))
        await soon(lambda: len(shield.accepted) == 5 and all(connection.flow.blocked for connection in shield.accepted))
        assert shield.streams.laggards == 3, "two, and who has a history"
        assert len(shield.engine.slots) == 2, "the others keep their slots"
        assert shield.metrics.connections_open == 5


class Dripping:
    """An origin whose answers come in pieces, when the test says so: a head and a byte at first."""

    def __init__(self, head: bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n") -> None:
        self._head = head
        self.links: list[Link] = []

    async def __call__(self, link: Link, request: Received) -> None:
        await link.send(self._head)
        self.links.append(link)
        await link.lost.wait()

    async def drip(self, client: Client, number: int = 0, piece: bytes = b"x") -> None:
        """Send a piece to the client of that number, who has it."""
        await self.links[number].send(b"%x\r\n%s\r\n" % (len(piece), piece))
        await client.exactly(len(piece) + len(f"{len(piece):x}") + 4)


async def trickle(shield: Shield, client: Client, path: str = "/") -> None:
    """Ask for something that trickles, and wait until that shows."""
    await client.send(get(path))
    await client.until(b"1\r\nx\r\n")
    shield.advance(PACE_SECONDS + 0.1)


async def test_a_response_that_trickles_holds_no_slot() -> None:
    """A byte a minute kept one of the service's places for as long as it liked."""
    origin = Dripping()
    async with shielded(None, origin) as (shield, _), await shield.client() as client:
        await client.send(get())
        await client.until(b"1\r\nx\r\n")
        shield.advance(0)
        assert len(shield.engine.slots) == 1, "too early to tell"
        shield.advance(PACE_SECONDS + 0.1)
        assert not shield.engine.slots
        assert (shield.streams.laggards, shield.metrics.streams_open) == (1, 1)
        for _ in range(3):
            shield.advance(shield.settings.idle_timeout / 2)
            await origin.drip(client)
        await origin.links[0].send(b"0\r\n\r\n")
        await client.until(b"0\r\n\r\n")
        await soon(lambda: shield.engine.learned)
        assert (shield.streams.laggards, shield.metrics.streams_open) == (0, 0)
        assert not shield.streams.paced


async def test_a_download_that_moves_keeps_its_slot() -> None:
    origin = Dripping()
    async with shielded(None, origin) as (shield, _), await shield.client() as client:
        await client.send(get())
        await client.until(b"1\r\nx\r\n")
        for _ in range(5):
            await origin.drip(client, piece=b"x" * (LEAST_PACE * 10))
            shield.advance(PACE_SECONDS + 0.1)
            assert len(shield.engine.slots) == 1
        origin.links[0].close()
        await soon(lambda: not shield.streams.paced)


async def test_trickles_hold_no_more_of_the_upstream_than_it_can_do_at_once() -> None:
    origin = Dripping()
    async with shielded(None, origin) as (shield, _), contextlib.AsyncExitStack() as stack:
        shield.engine.concurrency_limit = 1
        shield.engine.tiers = {"/known": Tier.T1}
        first, second, known = [await stack.enter_async_context(await shield.client()) for _ in range(3)]
        await trickle(shield, first)
        await trickle(shield, second)
        await trickle(shield, known, "/known")
        assert shield.streams.laggards == 2, "the first one, and who has a history"
        assert len(shield.engine.slots) == 1, "in calm weather the second one keeps its slot"

        shield.engine.pressed = True
        shield.advance(PACE_SECONDS + 0.1)
        assert len(shield.engine.slots) == 1, "nobody waits for it"
        shield.engine.next_waiting = shield.engine.decided[0]  # of the same address
        shield.advance(PACE_SECONDS + 0.1)
        await second.rest()
        assert not shield.engine.slots
        assert shield.metrics.faults["streams_full"] == 1
        assert not shield.streams.paced
        await origin.drip(first, 0)
        await origin.drip(known, 2)


async def test_a_body_in_chunks_of_one_byte_reaches_the_service_in_few() -> None:
    """9,000 chunks of a read were written anew one by one, and the service had to read them."""
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.ask(get("/", "Transfer-Encoding: chunked", method="POST") + chunked(*[b"x"] * 9000))
        (request,) = origin.requests
        assert request.body == b"x" * 9000
        assert origin.links[0].raw.count(b"\r\n") < 100


async def test_the_time_that_the_service_takes_over_an_upload_is_no_trickle() -> None:
    go = asyncio.Event()

    @early
    async def think(link: Link, request: Received) -> None:
        await link.body(request)
        await go.wait()
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await link.lost.wait()

    async with shielded(None, think) as (shield, _), await shield.client() as client:
        await client.send(post("/", b"x" * 300_000))
        await soon(
            lambda: (
                shield.accepted
                and shield.accepted[0]._exchange
                and shield.accepted[0]._exchange._connection
                and shield.accepted[0]._exchange._connection.sent
            )
        )
        shield.advance(shield.settings.first_byte_timeout / 2)
        assert len(shield.engine.slots) == 1
        go.set()
        await client.until(b"\r\no")
        assert len(shield.engine.slots) == 1
        shield.advance(PACE_SECONDS + 0.1)
        assert not shield.engine.slots


async def test_what_is_sent_whole_is_not_measured() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        for request in (get(), post("/", b"x" * 1000), post("/", b"x" * 60_000)):
            await client.ask(request)
            assert not shield.streams.paced


# WebSocket


async def test_an_event_stream_may_be_silent_for_minutes_and_another_response_may_not() -> None:
    async def silent(link: Link, request: Received) -> None:
        kind = b"text/event-stream" if request.target == "/events" else b"text/plain"
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n\r\ndata: 1\n\n" % kind)
        await link.lost.wait()

    async with shielded(None, silent) as (shield, _):
        async with await shield.client() as listener, await shield.client() as other:
            await listener.send(get("/events"))
            await other.send(get("/other"))
            for client in (listener, other):
                await client.until(b"data: 1\n\n")
            shield.advance(61)
            await soon(lambda: shield.metrics.connections_open == 1)
            shield.advance(3000)
            assert shield.metrics.connections_open == 1
            shield.advance(601)
            await soon(lambda: shield.metrics.connections_open == 0)
        assert sorted(line[1] for line in shield.log.requests) == ["/events", "/other"]


async def test_a_slow_reader_keeps_its_slot_when_the_streams_are_full() -> None:
    body = b"x" * (16 << 20)
    async with shielded({"/": reply(body)}) as (shield, _origin), await shield.client(receive_buffer=1 << 18) as client:
        shield.streams.places.most = 0
        await client.send(get())
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
        assert len(shield.engine.slots) == 1
        shield.streams.places.most = 1
        assert len((await client.response()).body) == len(body)
        assert shield.metrics.streams_open == 0


async def test_an_event_stream_of_an_address_that_has_all_is_cut_for_that_of_another() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n"
    async with shielded({"/events": stream}) as (shield, _), contextlib.AsyncExitStack() as stack:
        shield.streams.places.most = 2
        clients = []
        for source in ("127.0.1.1", "127.0.1.1", "127.0.2.1"):
            clients.append(await stack.enter_async_context(await Client.open(shield.port, source=source)))
            await clients[-1].send(get("/events"))
            await clients[-1].until(b"data: x\n\n")
        assert await clients[0].rest() == b"\r\n", "without the end of its chunks"
        assert shield.metrics.streams_open == 2
        assert [(line[2], line[-1]) for line in shield.log.requests] == [(200, "streams_full")]


async def test_an_event_stream_for_which_there_is_no_room_is_503_and_no_fault_of_the_server() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n"
    whole = reply(b"data: x\n\n", "Content-Type: text/event-stream")
    async with shielded({"/events": stream, "/whole": whole}) as (shield, origin), await shield.client() as first:
        shield.streams.places.most = 1
        await first.send(get("/events"))
        await first.until(b"data: x\n\n")
        assert shield.metrics.streams_open == 1
        async with await shield.client() as second:
            for number, path in enumerate(("/events", "/whole"), 1):
                answer = await second.ask(get(path))
                assert (answer.status, answer.get("Retry-After"), answer.get("Connection")) == (503, "5", None)
                await asyncio.wait_for(origin.links[number].lost.wait(), 5)
            assert (await second.ask(get("/page"))).status == 200, "others are served"
        assert shield.metrics.faults["streams_full"] == 2
        assert not shield.pool.servers[0].failures
        assert len(shield.engine.cancelled) == 2
        first.reset()
        await soon(lambda: shield.metrics.streams_open == 0)


async def _websocket(shield: Shield, rest: bytes = b"") -> Client:
    client = await shield.client()
    await client.send(get("/ws", *WEBSOCKET) + rest)
    return client


@early
async def _echo(link: Link, request: Received) -> None:
    await link.send(SWITCHED + b"hello")
    while data := await link.read():
        await link.send(data)
    link.close()


async def test_a_websocket_is_tunnelled_with_the_bytes_that_follow_at_once() -> None:
    async with shielded(None, _echo) as (shield, origin):
        async with await _websocket(shield, b"first frame") as client:
            response = await client.response()
            assert response.status == 101
            assert (response.get("Connection"), response.get("Upgrade")) == ("Upgrade", "websocket")
            assert response.get("Sec-WebSocket-Accept") == ACCEPT.decode()
            assert await client.exactly(16) == b"hellofirst frame"
            assert not shield.engine.slots
            assert shield.metrics.tunnels_open == 1
            big = bytes(range(256)) * 8192
            sending = asyncio.create_task(client.send(big))
            assert await client.exactly(len(big)) == big
            await sending
        await soon(lambda: shield.metrics.tunnels_open == 0)
        await asyncio.wait_for(origin.links[0].lost.wait(), 5)
        assert shield.engine.learned[0][1].stream
        assert not shield.pool.servers[0].idle


@pytest.mark.parametrize(
    "answer",
    [
        SWITCHED.replace(ACCEPT, b"x"),
        SWITCHED.replace(b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n", b""),
        SWITCHED.replace(ACCEPT + b"\r\n", ACCEPT + b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n"),
        SWITCHED.replace(b"Upgrade: websocket\r\n", b""),
        SWITCHED.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        SWITCHED.replace(b"Connection: Upgrade\r\n", b""),
    ],
)
async def test_a_page_that_answers_101_to_anything_opens_no_tunnel(answer: bytes) -> None:
    """Found by 0ang3el in 2019: behind a tunnel that is none, requests pass that no proxy has looked at."""
    async with shielded({"/ws": answer}) as (shield, origin):
        async with await _websocket(shield, get("/hidden")) as client:
            assert (await client.response()).status == 502
            assert (await client.response()).body == b"GET /hidden"
        assert len(origin.links) == 2
        assert shield.metrics.faults["upstream_garbage"] == 1
        assert [rule for rule, *_ in shield.log.rules] in (["switch_unasked"], ["switch_unproved"])


def _switch(protocol: bytes, *more: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 101 x", b"Connection: Upgrade", b"Upgrade: " + protocol, *more, b"", b"hello"))


@pytest.mark.parametrize(
    ("method", "asked", "answer", "told"),
    [
        ("POST", "tailscale-control-protocol", b"tailscale-control-protocol", "tailscale-control-protocol"),
        ("POST", "SPDY/3.1", b"spdy/3.1", "SPDY/3.1"),
        ("GET", "h2c, SPDY/3.1, Tcp", b"tcp", "Tcp"),
    ],
)
async def test_an_upgrade_that_the_operator_lists_is_tunnelled(
    method: str, asked: str, answer: bytes, told: str
) -> None:
    """Of control planes and container tools, whose clients were told 200 in place of 101."""

    @early
    async def handle(link: Link, request: Received) -> None:
        await link.send(_switch(answer, b"Content-Length: 0"))
        while data := await link.read():
            await link.send(data)
        link.close()

    listed = HttpSettings(upgrades=("SPDY/3.1", "tcp", "tailscale-control-protocol"))
    async with shielded(None, handle, http=listed) as (shield, origin):
        async with await shield.client() as client:
            await client.send(get("/ts2021", "Connection: Upgrade", f"Upgrade: {asked}", method=method))
            response = await client.response()
            assert (response.status, response.get("Connection"), response.get("Upgrade")) == (101, "Upgrade", told)
            assert response.get("Content-Length") is None
            assert await client.exactly(5) == b"hello"
            await client.send(b"\0\1\2")
            assert await client.exactly(3) == b"\0\1\2"
            assert shield.metrics.tunnels_open == 1
        await soon(lambda: shield.metrics.tunnels_open == 0)
        assert origin.requests[0].get("Connection") == "Upgrade"
        assert origin.requests[0].get("Upgrade") == asked.removeprefix("h2c, ")
        assert not shield.pool.servers[0].idle


@pytest.mark.parametrize("answer", [b"h2c", b"websocket", b"", b"SPDY/3.1, h2c", b"tcp, SPDY/3.1"])
async def test_an_upgrade_to_what_was_not_asked_for_is_refused(answer: bytes) -> None:
    listed = HttpSettings(upgrades=("SPDY/3.1", "tcp"))
    async with shielded({"/": _switch(answer)}, http=listed) as (shield, _), await shield.client() as client:
        assert (await client.ask(get("/", "Connection: Upgrade", "Upgrade: SPDY/3.1"))).status == 502
        assert shield.log.rules == [("switch_unasked", "GET", "/")]


async def test_an_upgrade_that_nobody_lists_is_not_passed_on() -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        assert (await client.ask(get("/", "Connection: Upgrade", "Upgrade: SPDY/3.1"))).status == 200
        assert (origin.requests[0].get("Upgrade"), origin.requests[0].get("Connection")) == (None, None)


async def test_an_upgrade_may_be_declined() -> None:
    """The answer is one like any other, and the connection goes on."""
    async with shielded(http=HttpSettings(upgrades=("tcp",))) as (shield, origin), await shield.client() as client:
        for n in range(2):
            answer = await client.ask(get(f"/{n}", "Connection: Upgrade", "Upgrade: tcp"))
            assert answer.body == f"GET /{n}".encode()
        assert (len(origin.links), origin.requests[1].get("Upgrade")) == (1, "tcp")


@pytest.mark.parametrize("line", [b"Content-Length: 0", b"Content-Length: 5", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
async def test_a_websocket_is_one_whatever_its_101_says_of_a_body(line: bytes, version: bytes) -> None:
    """Several servers in Java, C++ and Lisp say Content-Length: 0 with 101, and every one of their sockets was 502."""
    answer = SWITCHED.replace(b"Sec", line + b"\r\nSec").replace(b"HTTP/1.1", version)
    async with shielded({"/ws": answer}) as (shield, _):
        async with await _websocket(shield) as client:
            response = await client.response()
            assert (response.status, response.get("Content-Length"), response.get("Transfer-Encoding")) == (
                101,
                None,
                None,
            )
        await soon(lambda: shield.metrics.tunnels_open == 0)
        assert not shield.metrics.faults["upstream_garbage"]


async def test_a_websocket_for_which_there_is_no_room_is_503_and_not_sent() -> None:
    async with shielded(None, _echo) as (shield, origin):
        shield.streams.places.most = 1
        async with await _websocket(shield) as first:
            assert (await first.response()).status == 101
            async with await _websocket(shield) as second:
                answer = await second.response()
                assert (answer.status, answer.get("Retry-After")) == (503, "5")
            assert len(origin.links) == 1
            assert [request.body_pending for request in shield.engine.cancelled] == [True]  # it costs an attempt
        await soon(lambda: shield.metrics.streams_open == 0)
        async with await _websocket(shield) as third:
            assert (await third.response()).status == 101


async def test_of_two_websockets_that_open_at_once_one_finds_no_room() -> None:
    go_on = asyncio.Event()

    @early
    async def late(link: Link, request: Received) -> None:
        await go_on.wait()
        await _echo(link, request)

    async with shielded(None, late) as (shield, origin):
        shield.streams.places.most = 1
        async with await _websocket(shield) as first, await _websocket(shield) as second:
            await origin.got(2)
            go_on.set()
            assert sorted([(await first.response()).status, (await second.response()).status]) == [101, 503]
            assert shield.metrics.tunnels_open == shield.metrics.streams_open == 1
            assert [request.body_pending for request in shield.engine.cancelled] == [False]  # it was sent


async def test_a_websocket_closed_by_the_origin_delivers_its_last_words() -> None:
    @early
    async def bye(link: Link, request: Received) -> None:
        await link.send(SWITCHED)
        await link.read()
        await link.send(b"y" * 500_000)
        link.close()

    async with shielded(None, bye) as (shield, _):
        async with await _websocket(shield) as client:
            await client.response()
            await client.send(b"x")
            assert await client.rest() == b"y" * 500_000
        assert shield.metrics.tunnels_open == 0


async def test_a_client_that_is_reset_behind_its_last_words_ends_the_tunnel() -> None:
    @early
    async def listen(link: Link, request: Received) -> None:
        await link.send(SWITCHED)
        while await link.read():
            pass
        link.close()

    async with shielded(None, listen) as (shield, origin):
        client = await _websocket(shield)
        await client.response()
        await client.send(b"bye")
        client.reset()
        await soon(lambda: shield.metrics.tunnels_open == 0)
        await asyncio.wait_for(origin.links[0].lost.wait(), 5)


async def test_a_tunnel_to_a_server_that_takes_nothing_more_is_not_kept_open() -> None:
    @early
    async def deaf(link: Link, request: Received) -> None:
        await link.send(SWITCHED)
        await link.lost.wait()

    async with shielded(None, deaf, timeouts=TimeoutSettings(linger=0.01)) as (shield, origin):
        async with await _websocket(shield) as client:
            await client.response()
            transport = shield.accepted[0]._tunnel._connection.transport
            sending = asyncio.create_task(client.feed(b"x" * (32 << 20)))
            await soon(transport.get_write_buffer_size)
            await soon(lambda: shield.accepted[0].flow.paused)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            client.reset()
            shield.accepted[0].flow.resume()
            await soon(lambda: shield.metrics.tunnels_open == 0)
        await soon(lambda: "lost" in repr(transport))
        origin.links[0].reset()


async def test_a_silent_websocket_is_closed_after_its_idle_limit() -> None:
    async with shielded(None, _echo) as (shield, _), await _websocket(shield) as client:
        await client.response()
        shield.advance(3500)
        await client.send(b"x")
        assert await client.exactly(6) == b"hellox"
        shield.advance(3500)
        await client.send(b"y")
        assert await client.exactly(1) == b"y"
        shield.advance(3700)
        assert await client.gone()


async def test_a_declined_websocket_is_an_ordinary_answer() -> None:
    async with shielded({"/ws": reply(b"no", status="403 Forbidden")}) as (shield, origin):
        async with await _websocket(shield, get("/next")) as client:
            response = await client.response()
            assert (response.status, response.body) == (403, b"no")
            assert (await client.response()).body == b"GET /next"
        assert [r.target for r in origin.requests] == ["/ws", "/next"]
        assert origin.requests[0].get("Upgrade") == "websocket"


async def test_a_tunnel_waits_for_its_slower_end() -> None:
    @early
    async def flood(link: Link, request: Received) -> None:
        await link.send(SWITCHED + b"z" * 20_000_000)
        await link.lost.wait()

    async with shielded(None, flood) as (shield, _):
        client = await shield.client(receive_buffer=65536)
        async with client:
            await client.send(get("/ws", *WEBSOCKET))
            await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
            assert shield.accepted[0].transport.get_write_buffer_size() < 1 << 20
            await client.response()
            assert await client.exactly(20_000_000) == b"z" * 20_000_000


# ends


async def test_exchanges_leave_nothing_behind() -> None:
    from shield.exchange.exchange import Exchange

    def exchanges() -> list[Exchange]:
        gc.collect()
        return [thing for thing in gc.get_objects() if isinstance(thing, Exchange)]

    before = exchanges()  # of other tests, whose loops have ended while they were connecting
    async with shielded() as (shield, _), await shield.client() as client:
        for _ in range(20):
            await client.ask(get())
            await client.ask(post("/", b"x"))
        shield.engine.decided.clear()
        shield.engine.learned.clear()
        assert [thing for thing in exchanges() if not any(thing is old for old in before)] == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_a_lack_of_descriptors_is_503_and_no_failure_of_the_server(number: int) -> None:
    upstream = UpstreamSettings(eject_after=1, retries=0)
    async with shielded(None, None, upstream=upstream) as (shield, origin), await shield.client() as client:
        connect = shield.pool.dialer.connect

        async def none_left(server: object, preamble: bytes) -> None:
            raise OSError(number, "Too many open files")

        shield.pool.dialer.connect = none_left
        answer = await client.ask(get())
        assert (answer.status, answer.get("Retry-After")) == (503, "5")
        server = shield.pool.servers[0]
        assert (server.failures, server.ejections, dict(server.counters.failures)) == (0, 0, {})
        assert shield.notes == [("out_of_files", origin.url)]
        assert shield.log.events == []
        assert shield.metrics.faults == {"out_of_files": 1}
        assert (len(shield.engine.cancelled), shield.engine.learned) == (1, [])
        shield.pool.dialer.connect = connect
        assert (await client.ask(get())).status == 200


async def test_an_unforeseen_error_while_connecting_answers_and_frees_everything() -> None:
    async with shielded() as (shield, _), await shield.client() as client:

        async def broken(*_: object) -> None:
            raise RuntimeError("a bug")

        shield.pool.connect = broken
        assert (await client.ask(get())).status == 500
        assert not shield.engine.slots
        assert shield.errors
        shield.errors.clear()


async def test_an_exchange_says_where_it_is() -> None:
    async with shielded({"/": None}) as (shield, origin), await shield.client() as client:
        await client.send(get())
        await origin.got()
        assert repr(shield.accepted[0]._exchange).startswith("<Exchange GET '/' sent <Server http://127.0.0.1:")


async def test_a_unix_socket_is_an_upstream(tmp_path: object) -> None:
    async with (
        Origin(path=f"{tmp_path}/app.sock") as origin,
        Shield(origin.url) as shield,
        await shield.client() as client,
    ):
        assert (await client.ask(get("/u"))).body == b"GET /u"
