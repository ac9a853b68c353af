"""Calls of gRPC: refused in its own words, and let go on both ways where the server speaks HTTP/2."""

from __future__ import annotations

import asyncio

import pytest

from shield.http.fields import Fields
from shield.http.grpc import is_call, refusal
from shield.http.head import Head
from shield.http.settings import HttpSettings
from shield.model import Fault
from tests.client.h2.peer import Peer, request
from tests.harness import LIMITED, Shield, shielded, soon
from tests.upstream.h2.origin import Asked, Http2Origin

CALL = (("content-type", "application/grpc+proto"), ("te", "trailers"))


def call(path: str = "/pkg.Service/Method", *fields: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return request(path, *CALL, *fields, method="POST")


@pytest.mark.parametrize(
    ("kind", "is_one"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("application/grpc;x=1", True),
        ("application/grpc-web", False),
        ("application/grpcx", False),
        ("", False),
    ],
)
def test_what_is_a_call(kind: str, is_one: bool) -> None:
    head = Head()
    head.headers = Fields(f"POST / HTTP/1.1\r\nContent-Type: {kind}\r\n\r\n".encode())
    assert is_call(head) is is_one


@pytest.mark.parametrize(("status", "code"), [(429, 8), (503, 14), (502, 14), (403, 7), (404, 12), (400, 13)])
def test_a_status_of_grpc_stands_for_each_of_http(status: int, code: int) -> None:
    fields = refusal(status, [b"Retry-After: 3", b"X: y"], "no")
    assert b"Grpc-Status: %d" % code in fields
    assert b"Grpc-Retry-Pushback-Ms: 3000" in fields
    assert not any(line.startswith(b"X:") for line in fields)
    assert not any(b"Pushback" in line for line in refusal(status, [], "no"))


async def test_a_refusal_reads_as_a_status_of_grpc() -> None:
    async with shielded(http2=True) as (shield, origin), await Peer.open(shield) as peer:
        shield.engine.verdicts = {"/pkg.Service/Method": LIMITED}
        answer = await peer.ask(call(), b"\0\0\0\0\0")
        assert (answer.status, answer.body, answer.ended) == (200, b"", True)
        assert (answer.get("content-type"), answer.get("grpc-status")) == ("application/grpc", "8")
        assert int(answer.get("grpc-retry-pushback-ms") or 0) == 1000 * int(answer.get("retry-after") or 0) > 0
        assert origin.requests == []


async def test_a_fault_reads_so_too() -> None:
    async with Shield("h2c://127.0.0.1:1", http2=True) as shield, await Peer.open(shield) as peer:
        answer = await peer.ask(call(), b"\0\0\0\0\0")
        assert (answer.status, answer.get("grpc-status")) == (200, "14")
        assert shield.metrics.faults[Fault.UPSTREAM_REFUSED.value] == 1


async def _answer(asked: Asked) -> None:
    await asked.whole.wait()
    await asked.head(200, ("content-type", "application/grpc"))
    await asked.send(asked.body)
    await asked.end(("grpc-status", "0"))


async def test_a_call_that_comes_whole_is_a_request_like_any_other() -> None:
    async with (
        Http2Origin(_answer) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        answer = await peer.ask(call("/pkg.Service/Method", ("grpc-timeout", "1S")), b"message")
        assert (answer.body, answer.trailers) == (b"message", [("grpc-status", "0")])
        assert origin.requests[0].get("grpc-timeout") == "1S"


async def test_messages_go_both_ways_one_after_the_other() -> None:
    """Neither side waits for the end of what the other says; a call may be silent for as long as a WebSocket."""

    async def handle(asked: Asked) -> None:
        await asked.head(200, ("content-type", "application/grpc"))
        heard = 0
        while not asked.whole.is_set():
            await soon(lambda heard=heard: len(asked.body) > heard or asked.whole.is_set())  # type: ignore[misc]
            if len(asked.body) > heard:
                await asked.send(b"<" + asked.body[heard:] + b">")
                heard = len(asked.body)
        await asked.end(("grpc-status", "0"))

    http = HttpSettings(body_buffer_bytes=1 << 20)
    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url, http2=True, http=http) as shield,
        await Peer.open(shield) as peer,
    ):
        number = await peer.begin(call(), ended=False)
        answer = peer.answers[number]
        await peer.until(lambda: answer.status == 200)  # before any message was sent
        said = b""
        for message in (b"one", b"two", b"three"):
            await peer.send(number, message, ended=False)
            said += b"<%b>" % message
            await peer.until(lambda said=said: answer.body == said)  # type: ignore[misc]
            shield.advance(600)
        assert shield.metrics.streams_open == 1
        await peer.send(number, b"")
        await peer.answer(number)
        assert (answer.trailers, answer.reset) == ([("grpc-status", "0")], None)
        await soon(lambda: shield.metrics.streams_open == 0)
        assert not origin.failures


async def test_a_call_whose_end_is_not_here_has_a_slot_for_as_long_as_the_service_may_work_on_it() -> None:
    """A service that works on the beginning of a request was kept busy by a thousand calls without an end: these had
    given their slots back at once, and of users' requests 83 to 89 % were answered."""

    async def handle(asked: Asked) -> None:
        begun.release()
        await asked.whole.wait()
        await _answer(asked)

    begun = asyncio.Semaphore(0)
    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        shield.engine.works = 0.05
        first = await peer.begin(call(), b"one", ended=False)
        await begun.acquire()
        assert (len(shield.engine.slots), shield.streams.places.total) == (1, 1)
        await soon(lambda: not shield.engine.slots)
        assert (shield.streams.places.total, shield.streams.laggards) == (1, 0), "it goes on like a WebSocket"

        shield.engine.works = 60.0
        second = await peer.begin(call("/pkg.Service/Short"), b"two", ended=False)
        await begun.acquire()
        assert len(shield.engine.slots) == 1
        await peer.send(second, b"")
        assert (await peer.answer(second)).body == b"two"
        await soon(lambda: shield.streams.places.total == 1)
        await peer.send(first, b"!")
        assert (await peer.answer(first)).body == b"one!"
        await soon(lambda: not shield.streams.places.total)
        assert not shield.engine.slots
        assert [request.path for request, _ in shield.engine.learned] == ["/pkg.Service/Short", "/pkg.Service/Method"]


async def test_a_call_gives_its_slot_back_as_soon_as_it_is_answered() -> None:
    async def handle(asked: Asked) -> None:
        await asked.head(200, ("content-type", "application/grpc"))
        await asked.whole.wait()
        await asked.end(("grpc-status", "0"))

    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        shield.engine.works = 60.0
        number = await peer.begin(call(), b"one", ended=False)
        await peer.until(lambda: peer.answers[number].status == 200)
        assert (len(shield.engine.slots), shield.streams.places.total) == (0, 1)
        await peer.send(number, b"")
        assert (await peer.answer(number)).trailers == [("grpc-status", "0")]
        await soon(lambda: not shield.streams.places.total)


async def test_a_call_that_is_silent_for_longer_is_cut() -> None:
    async def handle(asked: Asked) -> None:
        await asked.head(200, ("content-type", "application/grpc"))

    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        number = await peer.begin(call(), ended=False)
        answer = peer.answers[number]
        await peer.until(lambda: answer.status == 200)
        shield.advance(shield.pool.settings.tunnel_idle_timeout + 1)
        assert (await peer.answer(number)).reset is not None
        await soon(lambda: shield.metrics.streams_open == 0)


async def test_where_there_is_no_place_for_it_it_is_unavailable() -> None:
    async with (
        Http2Origin(_answer) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        shield.streams.places.most = 0
        number = await peer.begin(call(), b"part", ended=False)
        answer = await peer.answer(number)
        assert (answer.status, answer.get("grpc-status")) == (200, "14")
        assert origin.requests == []


@pytest.mark.parametrize(("code", "status"), [("0", 200), ("5", 404), ("16", 401), ("14", 503), ("4", 200), ("x", 200)])
@pytest.mark.parametrize("trailers_only", [False, True])
async def test_how_a_call_ends_is_known_to_policy_and_log(code: str, status: int, trailers_only: bool) -> None:
    async def handle(asked: Asked) -> None:
        await asked.whole.wait()
        kind = ("content-type", "application/grpc+proto")
        if trailers_only:
            await asked.head(200, kind, ("grpc-status", code), ended=True)
        else:
            await asked.head(200, kind)
            await asked.end(("grpc-status", code))

    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        answer = await peer.ask(call(), b"message")
        told = answer.fields if trailers_only else answer.trailers
        assert (answer.status, ("grpc-status", code) in told) == (200, True)
        assert [outcome.status for _, outcome in shield.engine.learned] == [status]
        assert [entry[2] for entry in shield.log.requests] == [status]


async def test_a_stream_of_a_server_is_silent_without_a_slot() -> None:
    """As an event stream, for as long as that, though the request came whole."""

    async def handle(asked: Asked) -> None:
        await asked.whole.wait()
        await asked.head(200, ("content-type", "application/grpc"))
        await asked.send(b"first")
        await go.wait()
        await asked.send(b"second")
        await asked.end(("grpc-status", "0"))

    go = asyncio.Event()
    async with (
        Http2Origin(handle) as origin,
        Shield(origin.url, http2=True) as shield,
        await Peer.open(shield) as peer,
    ):
        number = await peer.begin(call("/pkg.Service/Watch"), b"message")
        await peer.until(lambda: peer.answers[number].body == b"first")
        assert len(shield.engine.slots) == 1
        shield.advance(2)
        assert (len(shield.engine.slots), shield.streams.places.total, shield.streams.laggards) == (0, 1, 0)
        shield.advance(3000)
        go.set()
        answer = await peer.answer(number)
        assert (answer.body, answer.trailers) == (b"firstsecond", [("grpc-status", "0")])
        assert shield.streams.places.total == 0


async def test_a_refusal_says_why() -> None:
    async with shielded(http2=True) as (shield, _), await Peer.open(shield) as peer:
        shield.engine.verdicts = {"/pkg.Service/Method": LIMITED}
        answer = await peer.ask(call(), b"\0\0\0\0\0")
        assert answer.get("grpc-message") == (
            f"More requests came from here than this site allows at the moment. ({LIMITED.reason.value})"
        )


def test_a_message_is_ascii() -> None:
    assert b"Grpc-Message: 100%25 gr%C3%BCn (really)" in refusal(503, [], "100% gr\xfcn (really)")
