"""The first read: what is refused by it, and what goes on to a connection as if there were none."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from shield.accept import first_read
from shield.http.forwarded import Forwarding
from shield.http.settings import HttpSettings
from shield.model import Action
from tests.harness import BANNED, CHALLENGED, LIMITED, QUEUED, SHED, get, post, shielded, soon

CLOSE = "Connection: close"


@pytest.mark.parametrize(("verdict", "status"), [(LIMITED, 429), (BANNED, 403), (SHED, 503)])
async def test_a_refusal_needs_no_connection(verdict: Any, status: int) -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/no": verdict}
        for number in range(1, 4):
            async with await shield.client() as client:
                answer = await client.ask(get("/no", CLOSE))
                assert answer.status == status
                assert answer.get("Connection") == "close"
                assert await client.gone()
            assert shield.metrics.connections_total == number
            assert shield.metrics.verdicts[verdict.action.value][verdict.reason.value] == number
            assert shield.metrics.own_responses[status // 100] == number
        assert not shield.accepted
        assert not origin.requests
        assert shield.metrics.connections_open == 0
        assert shield.metrics.bytes_in == 3 * len(get("/no", CLOSE))
        assert shield.log.refusals == [("/no", status, f"id-{number}") for number in (1, 2, 3)]
        assert len(shield.engine.identified) == 1, "the same bytes from the same address are read once"


async def test_a_reply_has_an_id_to_quote_each_time() -> None:
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/no": BANNED}
        for number in range(2):
            async with await shield.client() as client:
                page = await client.ask(get("/no", CLOSE, "Accept: text/html"))
            async with await shield.client() as client:
                document = await client.ask(get("/no", CLOSE))
            on_page, in_document = (refusal[2] for refusal in shield.log.refusals[2 * number :])
            assert f"request: <code>{on_page}</code>".encode() in page.body
            assert f'"request_id":"{in_document}"'.encode() in document.body
        assert not shield.accepted
        assert len({refusal[2] for refusal in shield.log.refusals}) == 4


async def test_an_answer_to_head_has_no_body() -> None:
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        async with await shield.client() as client:
            await client.send(get("/no", CLOSE, method="HEAD"))
            raw = await client.rest()
        assert raw.startswith(b"HTTP/1.1 429")
        assert raw.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        get("/no"),  # keeps its connection
        get("/no", CLOSE) + get("/no"),
        get("/no", CLOSE) + b"x",
        get("/no", CLOSE, "X: " + "y" * first_read.KNOWN_BYTES),
        get("/no", CLOSE, "Upgrade: h2c"),
        get("/no", CLOSE).replace(b"HTTP/1.1", b"HTTP/1.0"),
        post("/no", b"body", CLOSE),
        b"GET /no HTT",
        b"\r\n" + get("/no", CLOSE),
        b"nonsense\r\n\r\n",
    ],
)
async def test_everything_else_gets_a_connection(data: bytes) -> None:
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        async with await shield.client() as client:
            await client.send(data)
            if data == b"GET /no HTT":
                await soon(lambda: shield.accepted)
                await client.send(get("/no", CLOSE)[len(data) :])
            assert (await client.response()).status in (429, 400)
        assert len(shield.accepted) == 1


async def test_a_large_head_is_left_to_a_connection() -> None:
    async with shielded(http=HttpSettings(max_head_bytes=1024)) as (shield, _):
        async with await shield.client() as client:
            assert (await client.ask(get("/", CLOSE, "X: " + "y" * 1100))).status == 431
        assert len(shield.accepted) == 1


async def test_what_is_not_refused_goes_on_with_its_verdict() -> None:
    async with shielded() as (shield, origin):
        shield.engine.verdicts = {"/challenge": CHALLENGED, "/queue": QUEUED}
        for _ in range(2):  # the second time from memory
            async with await shield.client() as client:
                answer = await client.ask(get("/fine", CLOSE, "Cookie: a=b; shield_pass=x"))
                assert (answer.status, answer.body, answer.get("Connection")) == (200, b"GET /fine", "close")
                assert await client.gone()
        assert [request.get("Cookie") for request in origin.requests] == ["a=b"] * 2
        assert len(shield.engine.identified) == 1
        assert len({request.get("X-Request-Id") for request in origin.requests}) == 2
        async with await shield.client() as client:
            assert (await client.ask(get("/challenge", CLOSE))).status == 503
        async with await shield.client() as client:
            await client.send(get("/queue", CLOSE))
            await soon(lambda: shield.engine.queued)
            shield.forwarder.resume([shield.engine.let_in()], shield.clock())
            assert (await client.response()).body == b"GET /queue"
        decided = {action: sum(reasons.values()) for action, reasons in shield.metrics.verdicts.items()}
        assert decided[Action.CHALLENGE.value] == 1
        assert shield.metrics.connections_total == 4


async def test_the_same_bytes_from_another_address_are_somebody_elses() -> None:
    async with shielded(address="0.0.0.0:0") as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
            with socket.create_connection(("127.0.0.1", shield.port), source_address=(host, 0)) as sock:
                sock.setblocking(False)
                sock.send(get("/no", CLOSE))
                await soon(lambda sock=sock: _closed(sock))
        assert [address for address, *_ in shield.engine.identified] == ["127.0.0.1", "127.0.0.2"]


def _closed(sock: socket.socket) -> bool:
    try:
        return b"429" in sock.recv(65536)
    except BlockingIOError:
        return False


async def test_what_is_remembered_is_bounded_and_does_not_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_read, "KNOWN", 4)
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        known = shield.listener._first_read._known  # type: ignore[union-attr]
        for number in range(10):
            async with await shield.client() as client:
                await client.ask(get("/no", CLOSE, f"X: {number}"))
            assert len(known) <= 4
        async with await shield.client() as client:
            await client.ask(get("/no", CLOSE, "X: 9"))
        assert len(shield.engine.identified) == 10
        shield.advance(first_read.KNOWN_SECONDS + 1)
        async with await shield.client() as client:
            await client.ask(get("/no", CLOSE, "X: 9"))
        assert len(shield.engine.identified) == 11
        assert len(known) == 1


async def test_a_trusted_proxy_is_no_client_of_ours() -> None:
    async with shielded(forwarding=Forwarding(("127.0.0.1",), "x-forwarded-for")) as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        async with await shield.client() as client:
            assert (await client.ask(get("/no", CLOSE, "X-Forwarded-For: 192.0.2.9"))).status == 429
        assert [address for address, *_ in shield.engine.identified] == ["192.0.2.9"]
