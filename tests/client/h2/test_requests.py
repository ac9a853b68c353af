"""Requests over HTTP/2, asked by an independent client (h2): what the service sees, what the client gets."""

from __future__ import annotations

import asyncio

from shield.http.settings import HttpSettings
from shield.model import Fault
from tests.client.h2.peer import CANCEL, INTERNAL_ERROR, NO_ERROR, Peer, request
from tests.harness import BANNED, CHALLENGED, LIMITED, Link, Received, chunked, early, reply, shielded, soon


async def test_a_request_and_its_answer() -> None:
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        answer = await peer.ask(request("/a?b=c", ("user-agent", "test"), ("x-extra", "1")))
        assert (answer.status, answer.body, answer.ended) == (200, b"GET /a?b=c", True)
        assert answer.get("content-length") == str(len(answer.body))
        got = await origin.got()
        assert (got.method, got.target, got.get("Host"), got.get("X-Extra")) == ("GET", "/a?b=c", "a.example", "1")
        await soon(lambda: shield.log.requests)
        assert shield.log.requests[0][:3] == ("GET", "/a", 200)
        assert shield.log.versions == ["2"]


async def test_many_streams_at_once_and_each_gets_its_own_answer() -> None:
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        numbers = [await peer.begin(request(f"/{number}")) for number in range(100)]
        answers = [await peer.answer(number) for number in numbers]
        assert [answer.body for answer in answers] == [f"GET /{number}".encode() for number in range(100)]
        assert len(origin.requests) == 100
        assert len(shield.connections) == 1
        await soon(lambda: len(shield.connections.streams) == 0)


async def test_a_fast_answer_does_not_wait_for_a_slow_one() -> None:
    go = asyncio.Event()

    async def handle(link: Link, got: Received) -> None:
        if got.target == "/slow":
            await go.wait()
        await link.send(reply(got.target.encode()))

    async with shielded(None, handle, http2=True) as (shield, _), await Peer.open(shield) as peer:
        slow = await peer.begin(request("/slow"))
        assert (await peer.ask(request("/fast"))).body == b"/fast"
        assert not peer.answers[slow].over
        go.set()
        assert (await peer.answer(slow)).body == b"/slow"


async def test_a_body_with_a_length_and_one_without() -> None:
    body = b"payload" * 10_000
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        said = request("/known", ("content-length", str(len(body))), method="POST")
        assert (await peer.ask(said, body)).status == 200
        assert (await peer.ask(request("/unknown", method="POST"), body)).status == 200
        known, unknown = origin.requests
        assert (known.get("Content-Length"), known.body) == (str(len(body)), body)
        assert (unknown.get("Transfer-Encoding"), unknown.body) == ("chunked", body)


async def test_a_large_upload_goes_through_all_windows() -> None:
    body = bytes(range(256)) * 6_000  # 1.5 MB: more than the window of a stream, and than what is kept in memory
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        said = request("/up", ("content-length", str(len(body))), method="PUT")
        assert (await peer.ask(said, body)).status == 200
        assert (await origin.got()).body == body


async def test_a_large_response_goes_through_all_windows() -> None:
    body = bytes(range(256)) * 4_000
    async with shielded({"/": reply(body)}, http2=True) as (shield, _), await Peer.open(shield) as peer:
        answer = await peer.ask(request())
        assert (answer.status, answer.body == body) == (200, True)
        await soon(lambda: shield.crowding.backlog.waiting == 0)


async def test_head_204_304_and_an_empty_body() -> None:
    answers: dict[str, bytes | None] = {
        "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/304": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        "/empty": reply(b""),
    }
    async with shielded(answers, http2=True) as (shield, _), await Peer.open(shield) as peer:
        head = await peer.ask(request("/head", method="HEAD"))
        assert (head.status, head.get("content-length"), head.body, head.ended) == (200, "5", b"", True)
        assert [(await peer.ask(request(path))).status for path in ("/204", "/304", "/empty")] == [204, 304, 200]


async def test_chunks_lose_their_framing_and_interims_come_before() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n"
    answers: dict[str, bytes | None] = {"/": hints + answer + chunked(b"one", b"two")}
    async with shielded(answers, http2=True) as (shield, _), await Peer.open(shield) as peer:
        got = await peer.ask(request())
        assert (got.interims, got.status, got.body) == ([103], 200, b"onetwo")
        names = {name for name, _ in got.fields}
        assert not names & {"connection", "keep-alive", "transfer-encoding"}
        assert all(name == name.lower() for name in names)


async def test_100_continue() -> None:
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        said = request("/up", ("expect", "100-continue"), ("content-length", "4"), method="POST")
        number = await peer.begin(said, ended=False)
        await peer.until(lambda: peer.answers[number].interims)
        await peer.send(number, b"body")
        answer = await peer.answer(number)
        assert (answer.interims, answer.status) == ([100], 200)
        assert (await origin.got()).get("Expect") is None


async def test_cookie_crumbs_are_joined_and_the_pass_is_taken_out() -> None:
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        crumbs = (("cookie", "a=1"), ("cookie", "shield_pass=good"), ("cookie", "b=2"))
        assert (await peer.ask(request("/", *crumbs))).status == 200
        assert (await origin.got()).get("Cookie") == "a=1; b=2"
        assert shield.engine.tokens == ["good"]


async def test_the_same_fields_again_with_other_paths() -> None:
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        for path in ("/a", "/b?c", "/c"):
            assert (await peer.ask(request(path, ("user-agent", "test"), ("accept", "*/*")))).status == 200
        assert [got.target for got in origin.requests] == ["/a", "/b?c", "/c"]
        assert [got.get("Accept") for got in origin.requests] == ["*/*"] * 3
        assert len(shield.engine.identified) == 1


async def test_refusals_and_challenges_are_answered_on_their_streams() -> None:
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        shield.engine.verdicts = {"/limit": LIMITED, "/ban": BANNED, "/challenge": CHALLENGED}
        statuses = {path: await peer.ask(request(path)) for path in ("/limit", "/ban", "/challenge", "/ok")}
        assert {path: answer.status for path, answer in statuses.items()} == {
            "/limit": 429,
            "/ban": 403,
            "/challenge": 503,
            "/ok": 200,
        }
        assert statuses["/limit"].get("retry-after") == "3"
        assert statuses["/limit"].get("connection") is None
        assert [got.target for got in origin.requests] == ["/ok"]
        assert set(shield.log.versions) == {"2"}


async def test_a_refused_body_is_not_wanted() -> None:
    async with shielded(http2=True) as (shield, _), await Peer.open(shield) as peer:
        shield.engine.verdicts = {"/limit": LIMITED}
        number = await peer.begin(request("/limit", method="POST"), ended=False)
        answer = await peer.answer(number)
        await peer.until(lambda: answer.reset is not None)
        assert (answer.status, answer.ended, answer.reset) == (429, True, NO_ERROR)
        assert (await peer.ask(request("/next"))).status == 200


async def test_an_answer_to_a_challenge_is_read_and_redeemed() -> None:
    async with shielded(http2=True) as (shield, _), await Peer.open(shield) as peer:
        said = request("/.well-known/shield/answer", ("content-type", "application/json"), method="POST")
        answer = await peer.ask(said, b"nonsense")
        assert answer.status == 400
        answer = await peer.ask(request("/.well-known/shield/nothing"))
        assert (answer.status, answer.get("content-type")) == (404, "application/problem+json")


async def test_faults_of_the_service_are_told() -> None:
    @early
    async def breaks_off(link: Link, got: Received) -> None:
        await link.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart" if got.target == "/cut" else b"garbage\r\n\r\n"
        )
        link.close()

    async with shielded(None, breaks_off, http2=True) as (shield, _), await Peer.open(shield) as peer:
        assert (await peer.ask(request("/garbage"))).status == 502
        cut = await peer.ask(request("/cut"))
        assert (cut.status, cut.body, cut.ended, cut.reset) == (200, b"part", False, INTERNAL_ERROR)
        assert shield.metrics.faults[Fault.UPSTREAM_CLOSED.value] == 1


async def test_a_client_that_cancels_takes_no_other_stream_with_it() -> None:
    async with shielded({"/silent": None}, http2=True) as (shield, origin), await Peer.open(shield) as peer:
        silent = await peer.begin(request("/silent"))
        await origin.got()
        peer.connection.reset_stream(silent, CANCEL)
        await peer.flush()
        assert (await peer.ask(request("/other"))).status == 200
        assert len(shield.engine.cancelled) == 1
        assert [line[2] for line in shield.log.requests] == [499, 200]


async def test_a_client_that_leaves_takes_all_with_it() -> None:
    async with shielded({"/silent": None}, http2=True) as (shield, origin):
        peer = await Peer.open(shield)
        for _ in range(5):
            await peer.begin(request("/silent"))
        await origin.got(5)
        peer.client.close()
        await soon(lambda: len(shield.engine.cancelled) == 5)


async def test_a_body_beyond_the_limit_is_refused() -> None:
    async with (
        shielded(http2=True, http=HttpSettings(max_body_bytes=1000)) as (shield, _),
        await Peer.open(shield) as peer,
    ):
        assert (await peer.ask(request("/", ("content-length", "1001"), method="POST"), b"x" * 1001)).status == 413
        number = await peer.begin(request("/", method="POST"), b"x" * 1001, ended=False)
        assert (await peer.answer(number)).status == 413
