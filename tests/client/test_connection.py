"""One client connection: reading, ordering, deadlines, refusals, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct

import pytest

from shield.client.watch import TimeoutSettings
from shield.http.settings import HttpSettings
from shield.model import Action, Signal, Verdict
from shield.upstream.settings import UpstreamSettings
from tests.harness import (
    BANNED,
    CHALLENGED,
    LIMITED,
    QUEUED,
    SHED,
    Link,
    Received,
    chunked,
    early,
    get,
    post,
    reply,
    shielded,
    soon,
)

# ordering


async def test_pipelined_requests_are_answered_in_order_with_refusals_in_between() -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/2": LIMITED, "/4": BANNED, "/5": LIMITED}
        async with await shield.client() as client:
            await client.send(b"".join(get(f"/{n}") for n in range(1, 8)))
            answers = [await client.response() for _ in range(7)]
        assert [answer.status for answer in answers] == [200, 429, 200, 403, 429, 200, 200]
        assert [request.target for request in origin.requests] == ["/1", "/3", "/6", "/7"]
        assert answers[0].body == b"GET /1"
        assert answers[6].body == b"GET /7"


async def test_ten_thousand_pipelined_refusals_need_no_deep_stack() -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/": LIMITED}
        async with await shield.client() as client:
            sending = asyncio.create_task(client.send(get() * 10_000))
            for _ in range(10_000):
                assert (await client.response()).status == 429
            await sending
        assert not origin.requests


async def test_a_thousand_pipelined_requests_all_reach_the_origin_over_one_connection() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            sending = asyncio.create_task(client.send(b"".join(get(f"/{n}") for n in range(1000))))
            for n in range(1000):
                assert (await client.response()).body == f"GET /{n}".encode()
            await sending
        assert len(origin.links) == 1


async def test_bodies_between_pipelined_requests_stay_with_their_requests() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            await client.send(
                post("/1", b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n")
                + get("/2")
                + get("/3", "Transfer-Encoding: chunked", method="POST")
                + chunked(b"abc", b"GET /no HTTP/1.1\r\n\r\n", trailer=b"X-T: 1\r\n")
                + get("/4")
            )
            for _ in range(4):
                assert (await client.response()).status == 200
        assert [r.target for r in origin.requests] == ["/1", "/2", "/3", "/4"]
        assert origin.requests[2].body == b"abcGET /no HTTP/1.1\r\n\r\n"
        assert [r.trailers for r in origin.requests] == [[], [], [("X-T", "1")], []]


async def test_a_good_request_before_a_bad_one_in_one_read_is_answered() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            await client.send(get("/good") + b"GET /bad HTTP/1.1\r\nHost: a\r\nX y: 1\r\n\r\n" + get("/never"))
            assert (await client.response()).body == b"GET /good"
            bad = await client.response()
            assert (bad.status, bad.get("Connection")) == (400, "close")
            assert await client.gone()
        assert [r.target for r in origin.requests] == ["/good"]


async def test_a_client_that_does_not_read_its_refusals_is_not_served_without_end() -> None:
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/": LIMITED}
        async with await shield.client(receive_buffer=4096) as client:
            sending = asyncio.create_task(client.send(get() * 100_000))
            await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
            assert shield.accepted[0].transport.get_write_buffer_size() < 512 * 1024
            decided = len(shield.engine.decided)
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(shield.engine.decided) == decided
            sending.cancel()


# refused requests with bodies


@pytest.mark.parametrize("verdict", [LIMITED, BANNED, CHALLENGED], ids=lambda v: v.action.value)
async def test_the_small_body_of_a_refused_request_is_skipped_and_the_connection_goes_on(verdict: object) -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/no": verdict}
        async with await shield.client() as client:
            await client.send(post("/no", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n") + get("/next"))
            assert (await client.response()).status in (429, 403, 503)
            assert (await client.response()).body == b"GET /next"
        assert [r.target for r in origin.requests] == ["/next"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        get("/no", "Content-Length: 10000000", method="POST") + b"x" * 900_000,
        get("/no", "Transfer-Encoding: chunked", method="POST") + chunked(*[b"x" * 65536] * 14),
    ],
    ids=["length", "chunked"],
)
async def test_a_refusal_of_a_large_upload_is_read_before_the_close(request_bytes: bytes) -> None:
    """RFC 9112 section 9.6: closing at once would reset the connection and lose the answer."""
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/no": LIMITED}
        for _ in range(5):
            async with await shield.client() as client:
                sending = asyncio.create_task(client.send(request_bytes))
                answer = await client.response()
                assert (answer.status, answer.get("Connection")) == (429, "close")
                await sending  # without a reset
        assert not origin.requests


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 3000000\r\n\r\n", 400),
        (b"B" * 65 + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n", 501),
    ],
)
async def test_an_early_error_is_read_by_a_client_that_goes_on_sending(head: bytes, status: int) -> None:
    async with shielded() as (shield, _):
        for _ in range(5):
            async with await shield.client() as client:
                sending = asyncio.create_task(client.send(head + b"x" * 900_000))
                assert (await client.response()).status == status
                await sending  # without a reset


async def test_the_linger_is_bounded_in_bytes_and_time() -> None:
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n")
            await client.response()
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await client.send(b"x" * 30_000_000)
        async with await shield.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nxx")
            await client.response()
            shield.advance(3)
            await soon(lambda: shield.metrics.connections_open == 0)


@pytest.mark.parametrize("data", [b"", b"still sending"])
async def test_a_client_may_be_reset_while_its_connection_lingers(data: bytes) -> None:
    async with shielded() as (shield, _):
        client = await shield.client()
        await client.send(b"nonsense\r\n\r\n")
        assert (await client.response()).status == 400
        await client.send(data)
        client.reset()
        await soon(lambda: shield.metrics.connections_open == 0)


async def test_a_refusal_is_logged_with_the_id_of_its_request() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.verdicts = {"/limit": LIMITED, "/challenge": CHALLENGED, "/queue": QUEUED}
        for path in ("/limit", "/challenge", "/fine", "/queue"):
            await client.send(get(path))
            if path == "/queue":
                await soon(lambda: shield.engine.queued)
                shield.forwarder.resume([shield.engine.let_in(SHED)], shield.clock())
            await client.response()
        assert shield.log.refusals == [("/limit", 429, "id-1"), ("/challenge", 503, "id-2"), ("/queue", 503, "id-4")]


async def test_expect_is_not_invited_when_the_request_is_refused() -> None:
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        async with await shield.client() as client:
            await client.send(get("/no", "Expect: 100-continue", "Content-Length: 5", method="POST"))
            answer = await client.response(interim=True)
            assert (answer.status, answer.get("Connection")) == (429, "close")
            assert await client.gone()


async def test_expect_is_answered_when_the_request_is_admitted() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            await client.send(get("/up", "Expect: 100-continue", "Content-Length: 5", method="POST"))
            assert (await client.response(interim=True)).status == 100
            await client.send(b"hello")
            assert (await client.response()).status == 200
        assert origin.requests[0].body == b"hello"
        assert origin.requests[0].all("Expect") == []


async def test_a_body_that_was_read_is_not_skipped_again_after_an_upstream_failure() -> None:
    """A 502 to an upload whose body had come whole must not eat the next request's bytes."""

    async def close(link: Link, request: Received) -> None:
        link.reset()

    async with shielded({"/next": reply(b"next")}, close) as (shield, origin):
        async with await shield.client() as client:
            await client.send(post("/dies", b"x" * 100) + get("/next"))
            assert (await client.response()).status == 502
            assert (await client.response()).body == b"next"
        assert [r.target for r in origin.requests] == ["/dies", "/next"]


async def test_a_body_that_was_read_is_not_skipped_again_after_a_late_refusal() -> None:
    async with shielded() as (shield, origin):
        shield.engine.entries = {"/queued": QUEUED}
        async with await shield.client() as client:
            await client.send(post("/queued", b"x" * 100) + get("/next"))
            await soon(lambda: shield.engine.queued)
            shield.forwarder.resume([shield.engine.let_in(SHED)], shield.clock())
            assert (await client.response()).status == 503
            assert (await client.response()).body == b"GET /next"
        assert [r.target for r in origin.requests] == ["/next"]


# queue


async def test_a_queued_request_is_sent_when_its_turn_comes() -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/q": QUEUED}
        async with await shield.client() as client:
            await client.send(get("/q") + get("/after"))
            await soon(lambda: shield.engine.queued)
            assert not origin.requests
            shield.forwarder.resume([shield.engine.let_in()], shield.clock())
            assert (await client.response()).body == b"GET /q"
            assert (await client.response()).body == b"GET /after"
        verdicts = shield.metrics.verdicts
        assert verdicts["queue"]["at_capacity"] == 1
        assert verdicts["forward"]["ok"] == 2


async def test_a_queued_request_that_is_shed_is_told_so() -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/q": QUEUED}
        async with await shield.client() as client:
            await client.send(get("/q"))
            await soon(lambda: shield.engine.queued)
            shield.forwarder.resume([shield.engine.let_in(SHED)], shield.clock())
            answer = await client.response()
            assert (answer.status, answer.get("Retry-After"), answer.get("Connection")) == (503, "2", None)
        assert not origin.requests


async def test_a_client_that_leaves_while_queued_is_cancelled() -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/q": QUEUED}
        async with await shield.client() as client:
            await client.send(get("/q"))
            await soon(lambda: shield.engine.queued)
            client.reset()
            await soon(lambda: len(shield.engine.cancelled) == 1)
        assert not shield.engine.queued
        assert not origin.requests


async def test_a_held_body_takes_its_slot_only_when_it_has_come() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            await client.send(post("/up", b"0123456789")[:-1])
            await soon(lambda: shield.engine.decided)
            assert not shield.engine.slots
            await client.send(b"9")
            assert (await client.response()).status == 200
        assert origin.requests[0].body == b"0123456789"


async def test_a_held_body_that_is_shed_half_way_lets_the_client_read_the_answer() -> None:
    async with shielded(http=HttpSettings(body_buffer_bytes=1000, body_spool_bytes=0)) as (shield, origin):
        shield.engine.entries = {"/up": SHED}
        async with await shield.client() as client:
            sending = asyncio.create_task(client.send(post("/up", b"x" * 900_000)))
            answer = await client.response()
            assert (answer.status, answer.get("Connection")) == (503, "close")
            await asyncio.gather(sending, return_exceptions=True)
        assert not origin.requests


async def test_a_held_body_with_no_upstream_lets_the_client_read_the_answer() -> None:
    async with shielded(http=HttpSettings(body_buffer_bytes=1000, body_spool_bytes=0)) as (shield, _):
        shield.pool.servers[0].healthy = False
        async with await shield.client() as client:
            sending = asyncio.create_task(client.send(post("/up", b"x" * 900_000)))
            answer = await client.response()
            assert (answer.status, answer.get("Connection")) == (503, "close")
            await asyncio.gather(sending, return_exceptions=True)
            assert await client.gone()


# deadlines


async def test_a_slow_head_gets_408_whatever_trickles_in() -> None:
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            await client.send(b"GET / HT")
            await soon(lambda: "head" in repr(shield.accepted))
            shield.advance(6)
            await client.send(b"TP/1.1\r\nHost: a\r\n")
            await soon(lambda: shield.metrics.bytes_in > 20)
            shield.advance(5)
            answer = await client.response()
            assert (answer.status, answer.get("Connection")) == (408, "close")
            assert await client.gone()
        assert shield.engine.signals == [("127.0.0.1", Signal.SLOW_ABORT)]


async def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        await soon(lambda: shield.accepted)
        shield.advance(11)
        assert await client.gone()


async def test_empty_lines_do_not_keep_a_connection() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        await client.send(b"\r\n" + get("/1"))
        assert (await client.response()).status == 200
        await client.send(b"\r\n\r\n" + get("/2"))
        assert (await client.response()).status == 400


async def test_an_idle_connection_is_closed_after_keep_alive() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        assert (await client.ask(get())).status == 200
        shield.advance(70)
        assert (await client.ask(get())).status == 200
        shield.advance(76)
        assert await client.gone()


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_people_get_a_page_also_for_what_goes_wrong_after_the_first_bytes(accept: str) -> None:
    wanted = "text/html; charset=utf-8" if accept == "text/html" else "application/problem+json"
    fields = (f"Accept: {accept}", "Transfer-Encoding: chunked")
    async with shielded() as (shield, _):
        for data, status in (
            (get("/", *fields)[:-2], 408),
            (get("/", *fields, method="POST") + b"5\r\nab", 408),
            (get("/", *fields, method="POST") + b"no size\r\n", 400),
        ):
            seen = shield.metrics.bytes_in
            async with await shield.client() as client:
                await client.send(data)
                await soon(lambda seen=seen: shield.metrics.bytes_in > seen)
                shield.advance(21)
                answer = await client.response()
                assert (answer.status, answer.get("Content-Type")) == (status, wanted)


@pytest.mark.parametrize(
    ("pressed", "sent", "signals"),
    [(False, 100, []), (True, 100, [("127.0.0.1", Signal.SLOW_ABORT)]), (True, 20_000, [])],
    ids=["calm", "pressed", "pressed, and it had come fast"],
)
async def test_a_slow_body_gets_408_and_one_line_that_says_which(
    pressed: bool, sent: int, signals: list[tuple[str, Signal]]
) -> None:
    async with shielded() as (shield, origin):
        shield.engine.pressed = pressed
        async with await shield.client() as client:
            await client.send(get("/up", "Content-Length: 50000", method="POST") + b"x" * sent)
            await soon(lambda: shield.metrics.bytes_in > sent)
            shield.advance(21)
            if sent > 10_000:  # it has kept the pace so far
                shield.advance(21)
            answer = await client.response()
            assert (answer.status, answer.get("Connection")) == (408, "close")
        assert shield.engine.signals == signals
        assert not origin.requests
        ((method, path, status, *_, fault),) = shield.log.requests
        assert (method, path, status, fault) == ("POST", "/up", 408, "body_timeout")
        assert not shield.log.faults
        assert shield.metrics.faults["body_timeout"] == 1


@pytest.mark.parametrize("http", [HttpSettings(), HttpSettings(body_spool_bytes=0)], ids=["kept", "streamed"])
@pytest.mark.parametrize(("pressed", "known"), [(False, False), (True, True), (True, False)])
async def test_an_upload_may_rest_for_a_minute_in_calm_weather_and_that_of_the_known_always(
    http: HttpSettings, pressed: bool, known: bool
) -> None:
    """A phone in a tunnel got 408 after 20 seconds; no other proxy does that."""
    body = b"x" * 300_000
    async with shielded(http=http, timeouts=TimeoutSettings()) as (shield, origin), await shield.client() as client:
        shield.engine.pressed = pressed
        shield.engine.deserving = {"phone"} if known else set()
        head = get("/up", f"Content-Length: {len(body)}", "User-Agent: phone", method="POST")
        await client.send(head + body[:200_000])
        await soon(lambda: shield.metrics.bytes_in == len(head) + 200_000)
        for _ in range(6):
            shield.advance(10)
        if pressed and not known:
            assert (await client.response()).status == 408
        else:
            await client.send(body[200_000:])
            assert (await client.response()).status == 200
            assert origin.requests[0].body == body
        assert not shield.engine.signals


async def test_a_body_of_which_nothing_came_does_not_rest() -> None:
    async with shielded(timeouts=TimeoutSettings()) as (shield, _), await shield.client() as client:
        await client.send(get("/up", "Content-Length: 100", method="POST"))
        await soon(lambda: shield.engine.decided)
        shield.advance(21)
        assert (await client.response()).status == 408


async def test_a_body_at_the_least_rate_is_served() -> None:
    async with shielded(timeouts=TimeoutSettings(progress=20, min_rate=5)) as (shield, origin):
        async with await shield.client() as client:
            await client.send(get("/up", "Content-Length: 500", method="POST"))
            for turn in range(1, 6):
                await client.send(b"x" * 100)
                await soon(lambda turn=turn: shield.metrics.bytes_in >= 59 + 100 * turn)
                shield.advance(20.5)
            assert (await client.response()).status == 200
        assert len(origin.requests[0].body) == 500


async def test_chunk_extensions_are_no_progress() -> None:
    """Body progress is measured in payload bytes: framing costs a slow sender nothing."""
    async with shielded(timeouts=TimeoutSettings(progress=20, min_rate=50, pause=0)) as (shield, _):  # noqa: SIM117
        async with await shield.client() as client:
            await client.send(get("/up", "Transfer-Encoding: chunked", method="POST"))
            await client.send((b"1;" + b"e" * 200 + b"\r\nx\r\n") * 20)
            await soon(lambda: shield.metrics.bytes_in > 4000)
            shield.advance(21)
            assert (await client.response()).status == 408


async def test_a_slow_reader_above_the_least_rate_is_not_cut_when_the_keep_alive_time_is_over() -> None:
    body = b"x" * 6_000_000

    http = HttpSettings(response_buffer_bytes=0)
    async with shielded({"/big": reply(body)}, http=http) as (shield, _):
        async with await shield.client(receive_buffer=4096) as client:
            await client.send(get("/big"))
            await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
            while len(client.buffer) < len(body):
                await client.more()
                if not shield.accepted[0]._exchange and shield.accepted[0].transport.get_write_buffer_size():
                    shield.advance(76)
                    break
            answer = await client.response()
        assert answer.body == body


@pytest.mark.parametrize("pressed", [False, True])
async def test_a_client_that_stops_reading_is_cut_and_not_blamed(pressed: bool) -> None:
    """Three players behind one address that paused, each cut again and again, were banned together."""
    async with shielded({"/big": reply(b"x" * 20_000_000)}) as (shield, _):
        shield.engine.pressed = pressed
        async with await shield.client(receive_buffer=4096) as client:
            await client.send(get("/big"))
            await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
            shield.advance(21)
            shield.advance(21)  # what was cut is not counted again
            await soon(lambda: shield.metrics.connections_open == 0)
        assert not shield.engine.signals
        assert shield.metrics.faults["read_timeout"] == 1
        ((method, path, status, *_, fault),) = shield.log.requests
        assert (method, path, status, fault) == ("GET", "/big", 200, "read_timeout"), "the client has not left"


STREAMED = HttpSettings(body_spool_bytes=0)


async def test_an_upstream_that_takes_no_body_does_not_pin_the_client_for_ever() -> None:
    """The client is paused, so it cannot be blamed; the upstream must be."""

    @early
    async def stuck(link: Link, request: Received) -> None:
        link.reader._limit = 1
        await link.lost.wait()

    async with (
        shielded(None, stuck, http=STREAMED, upstream=UpstreamSettings(first_byte_timeout=30)) as (
            shield,
            origin,
        ),
        await shield.client() as client,
    ):
        sending = asyncio.create_task(client.send(post("/up", b"x" * 30_000_000)))
        await soon(lambda: origin.links and origin.links[0].reader._paused and shield.accepted[0].flow.paused)
        answering = asyncio.create_task(client.response())
        while not answering.done():
            shield.advance(31)
            await asyncio.sleep(0.01)
        assert (await answering).status == 504
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


# ends


async def test_a_half_closed_client_gets_its_answer() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        await client.send(get("/1") + get("/2"))
        client.half_close()
        assert (await client.response()).body == b"GET /1"
        assert (await client.response()).body == b"GET /2"
        assert await client.gone()


async def test_a_half_closed_client_in_the_middle_of_a_head_is_let_go() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            await client.send(get("/1") + b"GET /2 HTTP/1.1\r\nHost: a")
            client.half_close()
            assert (await client.response()).body == b"GET /1"
            assert await client.gone()
        assert len(origin.requests) == 1


async def test_a_half_closed_client_gets_every_answer_also_behind_a_body_that_was_skipped() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.verdicts = {"/1": QUEUED, "/2": LIMITED}
        await client.send(get("/1") + post("/2", b"skip me") + get("/3") + get("/4"))
        client.half_close()
        await soon(lambda: shield.accepted and shield.accepted[0]._eof)
        shield.forwarder.resume([shield.engine.let_in()], shield.clock())
        assert [(await client.response()).status for _ in range(4)] == [200, 429, 200, 200]
        assert await client.gone()


async def test_a_half_closed_client_that_reads_slowly_gets_all_of_its_answer() -> None:
    body = b"x" * (16 << 20)
    async with shielded({"/": reply(body)}) as (shield, _), await shield.client(receive_buffer=1 << 16) as client:
        await client.send(get())
        client.half_close()
        await soon(lambda: shield.accepted and shield.accepted[0].flow.blocked)
        assert len((await client.response()).body) == len(body)
        assert await client.gone()


@pytest.mark.parametrize("cut", [b"GE", b"GET / HTTP/1.1\r\nHost: a\r\n", post("/", b"12345")[:-1]])
async def test_a_client_that_leaves_in_the_middle_leaves_nothing(cut: bytes) -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            await client.send(cut)
            client.half_close()
            await client.rest()
        await soon(lambda: shield.metrics.connections_open == 0)
        assert not origin.requests


async def test_a_client_that_leaves_while_waiting_frees_slot_and_upstream_connection() -> None:
    async with shielded({"/never": None}) as (shield, origin):
        async with await shield.client() as client:
            await client.send(get("/never"))
            await origin.got()
            client.reset()
            await asyncio.wait_for(origin.links[0].lost.wait(), 5)
            await soon(lambda: shield.engine.cancelled)
        assert not shield.pool.servers[0].idle


async def test_draining_answers_what_is_in_flight_and_closes_what_is_idle() -> None:
    go_on = asyncio.Event()

    async def wait(link: Link, request: Received) -> None:
        await go_on.wait()
        await link.send(reply(b"late"))

    async with shielded({"/": reply()}, wait) as (shield, origin):
        async with await shield.client() as idle, await shield.client() as busy:
            await idle.ask(get())
            await busy.send(get("/slow") + get("/never"))
            await origin.got(2)
            shield.connections.draining = True
            shield.listener.stop()
            for connection in shield.connections:
                connection.drain(shield.clock())
            assert await idle.gone()
            go_on.set()
            answer = await busy.response()
            assert (answer.body, answer.get("Connection")) == (b"late", "close")
            assert await busy.gone()
        assert [r.target for r in origin.requests] == ["/", "/slow"]


async def test_connection_close_is_obeyed_and_what_follows_is_not_served() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            await client.send(get("/1", "Connection: close") + get("/2"))
            answer = await client.response()
            assert answer.get("Connection") == "close"
            assert await client.gone()
        assert len(origin.requests) == 1


async def test_http_10_closes_unless_asked_to_stay() -> None:
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            answer = await client.ask(get(version="1.0"))
            assert answer.get("Connection") == "close"
            assert await client.gone()
        async with await shield.client() as client:
            for _ in range(2):
                answer = await client.ask(get("/", "Connection: Keep-Alive", version="1.0"))
                assert answer.get("Connection") == "keep-alive"


# identity


async def test_identity_is_kept_per_connection_and_looked_up_again_when_its_fields_change() -> None:
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            for agent in ("A", "A", "B", "A"):
                await client.ask(get("/", f"User-Agent: {agent}", "Accept-Language: de"))
        assert shield.engine.identified == [("127.0.0.1", agent, "de") for agent in ("A", "B", "A")]


async def test_the_pass_is_presented_once_per_cookie_and_never_reaches_the_origin() -> None:
    async with shielded() as (shield, origin):
        async with await shield.client() as client:
            for _ in range(2):
                await client.ask(get("/", "Cookie: a=1; shield_pass=good1; b=2"))
            await client.ask(get("/", "Cookie: shield_pass=good2"))
            await client.ask(get("/", "Cookie: shield_pass=bad", "Shield-Pass: good3"))
            await client.ask(get("/", "Cookie: c=3"))
        assert shield.engine.tokens == ["good1", "good2", "good3"]
        assert [r.shown_pass for r in shield.engine.decided] == [
            ("pass", "good1"),
            ("pass", "good1"),
            ("pass", "good2"),
            ("pass", "good3"),
            None,
        ]
        assert [r.get("Cookie") for r in origin.requests] == ["a=1; b=2", "a=1; b=2", None, None, "c=3"]
        assert all(r.get("Shield-Pass") is None for r in origin.requests)


async def test_malformed_requests_are_reported_once_each() -> None:
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            await client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n")
        assert shield.engine.signals == [("127.0.0.1", Signal.MALFORMED)]


@pytest.mark.parametrize(
    ("head", "blamed"),
    [
        (b"User-Agent: script/1 \r\nContent-Length: 1\r\nContent-Length: 1\r\n", "script/1"),
        (b"X: \x01\r\nuser-agent:script/1\r\nUser-Agent: colleague\r\n", "script/1"),
        (b"Content-Length: 1\r\nContent-Length: 1\r\n", "127.0.0.1"),
        (b"User-Agent:\r\nX: \x01\r\n", "127.0.0.1"),
    ],
)
async def test_a_program_that_frames_badly_is_blamed_and_not_its_address(head: bytes, blamed: str) -> None:
    """After six such requests of a script, each over a connection of its own, a colleague's browser was challenged."""
    async with shielded() as (shield, _), await shield.client() as client:
        assert (await client.ask(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n")).status == 400
        assert shield.engine.blamed == [blamed]


@pytest.mark.parametrize(
    ("sent", "blamed"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", []),  # printf
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", ["127.0.0.1"]),
        (get("/", "User-Agent: a") + b"GET / HTTP/1.1\nHost: a\n\n", ["a"]),  # it may be what another request hid
    ],
)
async def test_who_ends_each_line_of_a_first_request_with_lf_alone_is_not_blamed(
    sent: bytes, blamed: list[str]
) -> None:
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.send(sent)
        assert b"HTTP/1.1 400 " in await client.rest()
        assert len(origin.requests) == sent.count(b"User-Agent")
        assert shield.engine.blamed == blamed


async def test_every_verdict_is_counted_once() -> None:
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        async with await shield.client() as client:
            await client.ask(get("/yes"))
            await client.ask(get("/no"))
            await client.ask(post("/yes", b"body"))
            await client.ask(post("/no", b"body"))
        assert shield.metrics.verdicts["forward"]["ok"] == 2
        assert shield.metrics.verdicts["limit"]["client_rate"] == 2
        assert sum(n for a in Action for n in shield.metrics.verdicts[a.value].values()) == 4


async def test_people_with_too_many_cookies_get_a_page_and_programs_a_document() -> None:
    cookies = "Cookie: " + "x" * 40_000
    async with shielded() as (shield, _):
        for data, media in (
            (get("/", "Accept: text/html", cookies), "text/html; charset=utf-8"),
            (get("/", "Accept: */*", cookies), "application/problem+json"),
        ):
            async with await shield.client() as client:
                answer = await client.ask(data)
                assert (answer.status, answer.get("Content-Type")) == (431, media)


async def test_the_refusal_of_a_head_request_has_no_body() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        await client.send(get("/", "Host: b", method="HEAD"))
        assert (await client.response("HEAD")).status == 400
        assert await client.gone()


# challenges


async def test_a_browser_gets_a_page_and_a_program_a_document() -> None:
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/": CHALLENGED}
        async with await shield.client() as client:
            page = await client.ask(get("/", "Accept: text/html"))
            document = await client.ask(get())
            head = await client.ask(get(method="HEAD"))
        assert (page.status, document.status, head.status) == (503, 503, 503)
        assert page.get("Content-Type").startswith("text/html")
        assert document.get("Content-Type").startswith("application/problem+json")
        assert shield.metrics.challenges_minted == 3


async def test_a_form_of_the_same_origin_is_carried_into_the_page() -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/form": CHALLENGED}
        fields = (
            "Accept: text/html",
            "Content-Type: application/x-www-form-urlencoded",
            "Sec-Fetch-Site: same-origin",
            "Expect: 100-continue",
        )
        async with await shield.client() as client:
            await client.send(post("/form", b"colour=teal&n=1", *fields) + get("/next"))
            assert (await client.response(interim=True)).status == 100
            page = await client.response()
            assert page.status == 503
            assert b"teal" in page.body
            assert (await client.response()).body == b"GET /next"
        assert len(origin.requests) == 1


async def test_a_form_too_long_to_carry_does_not_upset_the_connection() -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/form": CHALLENGED}
        fields = (
            "Accept: text/html",
            "Content-Type: application/x-www-form-urlencoded",
            "Sec-Fetch-Site: same-origin",
        )
        for size in (65_536, 65_537, 120_000, 500_000):
            async with await shield.client() as client:
                sending = asyncio.create_task(client.send(post("/form", b"a=" + b"x" * size, *fields) + get("/next")))
                page = await client.response()
                assert page.status == 503
                assert b"xxxx" not in page.body
                if page.get("Connection") != "close":
                    assert (await client.response()).body == b"GET /next"
                await asyncio.gather(sending, return_exceptions=True)
        assert all(r.target == "/next" for r in origin.requests)


async def test_the_connection_says_what_it_is_doing() -> None:
    async with shielded() as (shield, _), await shield.client():
        await soon(lambda: shield.accepted)
        told = r"<ClientConnection 127.0.0.1 idle <Watch head until \d+\.\d> <Flow free, 0 bytes unsent>>"
        assert re.fullmatch(told, repr(shield.accepted[0]))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_an_ipv4_client_on_a_dual_stack_socket_is_an_ipv4_client() -> None:
    async with shielded(address="[::]:0") as (shield, origin):
        shield.host = "127.0.0.1"
        async with await shield.client() as client:
            await client.ask(get())
        assert shield.engine.identified[0][0] == "127.0.0.1"
        assert origin.requests[0].get("X-Forwarded-For") == "127.0.0.1"


async def test_a_client_that_resets_before_it_is_accepted_is_forgotten_without_an_error() -> None:
    """Its address can no longer be asked for (getpeername() fails); accept() has told it."""
    async with shielded() as (shield, _):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", shield.port)) as client:  # the kernel accepts, Shield cannot
                client.sendall(get() * 3)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await soon(lambda: shield.metrics.connections_total == 5 and shield.metrics.connections_open == 0)
        assert shield.errors == []
        assert {address for address, *_ in shield.engine.identified} <= {"127.0.0.1"}


@pytest.mark.parametrize("line", [b"CONNECT ", b"CONNECT  HTTP/1.1", b"CONNECT", b"GET ", b"OPTIONS  "])
async def test_a_request_line_without_a_target(line: bytes) -> None:
    """Found by fuzzing: for CONNECT the parser gives no path at all, and the connection ended in a TypeError."""
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.send(line + b"\r\nHost: a\r\n\r\n")
        assert (await client.response()).status in (400, 505)
        assert not origin.requests
    assert not shield.errors


PERSON = ("Accept: text/html", "Accept-Language: en")


@pytest.mark.parametrize("verdict", [LIMITED, SHED, BANNED, CHALLENGED], ids=lambda verdict: verdict.reason.value)
async def test_who_is_refused_can_quote_the_request_as_the_log_names_it(verdict: Verdict) -> None:
    """Programs got no id, and were found by their address alone."""
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.verdicts["/x"] = verdict
        page = await client.ask(get("/x", *PERSON))
        (path, status, request_id), *_ = shield.log.refusals
        assert (path, status) == ("/x", page.status)
        assert request_id
        assert f"request: <code>{request_id}</code>".encode() in page.body
        program = await client.ask(get("/x"))
        document = json.loads(program.body)
        assert shield.log.refusals[1] == ("/x", page.status, document["request_id"])
        assert document["request_id"] != request_id
        picture = await client.ask(get("/x", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"))
        assert b"equest" not in picture.body.replace(b"Too many requests", b"")
        assert shield.log.refusals[2] == ("/x", page.status, "")


async def test_a_form_that_waits_on_the_challenge_page_has_an_id_to_quote() -> None:
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.verdicts["/x"] = CHALLENGED
        form = ("Content-Type: application/x-www-form-urlencoded", "Origin: http://a.example")
        page = await client.ask(post("/x", b"a=b", *PERSON, *form))
        assert b'<input type="hidden" name="a" value="b">' in page.body
        assert f"request: <code>{shield.log.refusals[0][2]}</code>".encode() in page.body
