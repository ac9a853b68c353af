"""A second client's side over the port: what an exchange does depends on no connection, and on no HTTP/1."""

from __future__ import annotations

import asyncio

from shield.exchange.ports import Seen
from shield.model import Fault
from tests.exchange.loopback import Asked, Loopback
from tests.exchange.test_exchange import ACCEPT, SWITCHED
from tests.harness import QUEUED, SHED, Link, Received, chunked, early, reply, shielded, soon


async def test_two_requests_are_under_way_at_once_and_the_second_one_ends_first() -> None:
    go = asyncio.Event()

    async def handle(link: Link, request: Received) -> None:
        if request.target == "/slow":
            await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow")
            await go.wait()
            await link.send(b" page")
        else:
            await link.send(reply(b"fast page"))

    async with shielded(None, handle) as (shield, origin):
        loopback = Loopback(shield)
        slow, fast = loopback.ask(Asked("/slow"), Asked("/fast"))
        await soon(lambda: fast.seen and slow.content)
        assert (fast.seen, fast.content) == (Seen.WHOLE, b"fast page")
        assert (slow.seen, slow.content) == (None, b"slow")
        go.set()
        await soon(lambda: slow.seen)
        assert (slow.seen, slow.content) == (Seen.WHOLE, b"slow page")
        assert loopback.order.index("/fast") < len(loopback.order) - 1
        assert loopback.order[-1] == "/slow"
        assert sorted(request.target for request in origin.requests) == ["/fast", "/slow"]
        assert len(shield.engine.learned) == 2


async def test_a_hundred_streams_of_one_connection_each_get_their_own_response() -> None:
    async with shielded() as (shield, _):
        streams = await Loopback(shield).all(*(Asked(f"/{number}") for number in range(100)))
        assert [stream.content for stream in streams] == [f"GET /{number}".encode() for number in range(100)]
        assert {stream.seen for stream in streams} == {Seen.WHOLE}
        assert {stream.waited_for[-1] for stream in streams} == {"first byte"}


EPOCH = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


async def test_a_response_reaches_it_without_any_framing_of_http_1() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Seen: yes\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"one", b"two")
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    async with shielded({"/": hints + answer}) as (shield, _):
        (stream,) = await Loopback(shield).all(Asked("/"))
        assert (stream.interims, stream.status, stream.fields) == ([103], 200, [b"X-Seen: yes\r\n", EPOCH])
        assert stream.content == b"onetwo"


async def test_an_upload_goes_the_same_way() -> None:
    pieces = tuple(b"%d" % digit * 30_000 for digit in range(10))
    async with shielded() as (shield, origin):
        (stream,) = await Loopback(shield).all(Asked("/up", "POST", pieces))
        assert stream.content == b"POST /up"
        assert origin.requests[0].body == b"".join(pieces)


async def test_one_stream_that_leaves_takes_no_other_with_it() -> None:
    async with shielded({"/silent": None}) as (shield, origin):
        silent, other = Loopback(shield).ask(Asked("/silent"), Asked("/other"))
        await soon(lambda: other.seen and len(origin.requests) == 2)
        assert silent.exchange is not None
        silent.exchange.abandon(shield.clock())
        assert silent.seen is Seen.NOTHING
        assert (other.seen, other.content) == (Seen.WHOLE, b"GET /other")
        assert len(shield.engine.cancelled) == 1


async def test_it_is_told_what_its_client_is_to_see_instead_of_a_response() -> None:
    answers: dict[str, bytes | None] = {"/garbage": b"nonsense\r\n\r\n"}

    async def breaks_off(link: Link, request: Received) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        link.close()

    async with shielded(answers, breaks_off) as (shield, _):
        garbage, cut = await Loopback(shield).all(Asked("/garbage"), Asked("/breaks-off"))
        assert (garbage.seen, garbage.fault, garbage.status) == (Seen.STAND_IN, Fault.UPSTREAM_GARBAGE, 0)
        assert (cut.seen, cut.fault, cut.content) == (Seen.CUT, Fault.UPSTREAM_CLOSED, b"part")


async def test_of_two_that_wait_one_is_let_in_and_one_is_shed() -> None:
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/a": QUEUED, "/b": QUEUED}
        first, second = Loopback(shield).ask(Asked("/a"), Asked("/b"))
        assert first.waited_for == second.waited_for == ["queue"]
        now = shield.clock()
        shield.forwarder.resume([shield.engine.let_in(), shield.engine.let_in(SHED)], now)
        assert second.seen is Seen.REFUSAL
        await soon(lambda: first.seen)
        assert first.content == b"GET /a"


async def test_a_tunnel_and_a_page_over_one_connection() -> None:
    @early
    async def echo(link: Link, request: Received) -> None:
        if request.target != "/ws":
            await link.send(reply(b"page"))
            return
        await link.send(SWITCHED + b"hello")
        while data := await link.read():
            await link.send(data)
        link.close()

    async with shielded(None, echo) as (shield, _):
        socket, page = Loopback(shield).ask(Asked("/ws", websocket_key="dGhlIHNhbXBsZSBub25jZQ=="), Asked("/page"))
        await soon(lambda: socket.passage and page.seen)
        assert (socket.status, socket.tunnelled) == (101, b"hello")
        assert socket.fields == [b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n"]
        assert socket.passage is not None
        socket.passage.up(b" you", shield.clock())
        await soon(lambda: socket.tunnelled == b"hello you")
        assert page.content == b"page"
        socket.passage.abandon(shield.clock())
        assert socket.seen is Seen.CLOSE
        await soon(lambda: shield.metrics.tunnels_open == 0)
