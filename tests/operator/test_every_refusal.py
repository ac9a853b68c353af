"""Every refusal, cut and failure is named in log and metrics, with the request: one test over all reasons."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest

from shield.client.watch import TimeoutSettings
from shield.http.forwarded import Forwarding
from shield.http.settings import HttpSettings
from shield.model import Action, Fault, Reason, Verdict
from shield.operator.log import AccessLog, LogSettings
from shield.policy.challenge.challenge import Redeemed, Redemption
from tests.harness import WEBSOCKET_KEY, Client, Origin, Shield, get, post, soon

REFUSALS = [reason for reason in Reason if reason.action not in (Action.FORWARD, Action.QUEUE)]


class Lines:
    """A sink that keeps what it is given."""

    written = dropped = 0

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []

    def put(self, line: bytes) -> None:
        self.all.append(orjson.loads(line))

    def flush(self) -> bool:
        return True


def logged(*servers: str, **options: Any) -> tuple[Shield, Lines]:
    """Shield with a real log."""
    lines = Lines()
    shield = Shield(*servers, **options)
    shield.log = AccessLog(LogSettings(), lines, shield.clock, 0.0)  # type: ignore[assignment]
    return shield, lines


@pytest.mark.parametrize("reason", REFUSALS, ids=lambda reason: reason.value)
async def test_each_reason_of_the_policy(reason: Reason) -> None:
    async with Origin() as origin:
        shield, lines = logged(origin.url)
        async with shield, await shield.client() as client:
            shield.engine.verdicts["/no"] = Verdict(reason, 3)
            response = await client.ask(get("/no?secret=1", "User-Agent: Tool/1.0"))
            assert response.status in (403, 429, 503)
            (line,) = lines.all
            told = {name: line[name] for name in ("event", "method", "host", "path", "user_agent", "status", "reason")}
            assert told == {
                "event": "refused",
                "method": "GET",
                "host": "a.example",
                "path": "/no",
                "user_agent": "Tool/1.0",
                "status": response.status,
                "reason": reason.value,
            }
            assert shield.metrics.verdicts[reason.action.value][reason.value] == 1
            assert not origin.requests


async def test_a_request_of_a_banned_address_that_is_not_read() -> None:
    shield, lines = logged("http://127.0.0.1:9")
    async with shield, await shield.client() as client:
        shield.engine.shut = Verdict(Reason.ADDRESS_BANNED, 60)
        assert (await client.ask(get("/no?secret=1"))).status == 403
        (line,) = lines.all
        assert (line["method"], line["path"], line["reason"]) == ("GET", "/no", "address_banned")
        assert shield.metrics.verdicts["ban"]["address_banned"] == 1


# What each fault comes of: a way to bring it about, and what the log says of the request

Provoke = Callable[[Shield, Client], Awaitable[object]]


def sent(data: bytes) -> Provoke:
    async def provoke(shield: Shield, client: Client) -> object:
        return await client.ask(data)

    return provoke


def late(data: bytes, seconds: float, pressed: bool = False) -> Provoke:
    async def provoke(shield: Shield, client: Client) -> object:
        shield.engine.pressed = pressed
        await client.send(data)
        await soon(lambda: shield.metrics.bytes_in >= len(data))
        shield.advance(seconds)
        return await client.response()

    return provoke


def connecting(error: Exception) -> Provoke:
    async def provoke(shield: Shield, client: Client) -> object:
        async def connect(*_: object) -> None:
            raise error

        shield.pool.dialer.connect = connect  # type: ignore[assignment]
        response = await client.ask(get("/x"))
        shield.errors.clear()  # the loop is told of what nobody expected
        return response

    return provoke


async def silent(shield: Shield, client: Client) -> object:
    await client.send(get("/silent"))
    await soon(lambda: shield.pool.servers[0].counters.requests)
    shield.advance(61.0)
    return await client.response()


async def unavailable(shield: Shield, client: Client) -> object:
    shield.pool.choose = lambda now, tried=(): None  # type: ignore[method-assign]
    return await client.ask(get("/x"))


async def no_room(shield: Shield, client: Client) -> object:
    shield.streams.places.most = 0
    key = f"Sec-WebSocket-Key: {WEBSOCKET_KEY}"
    return await client.ask(get("/x", "Connection: Upgrade", "Upgrade: websocket", key, "Sec-WebSocket-Version: 13"))


OWN = "/.well-known/shield/"
ANSWER = f"{OWN}answer"
JSON = "Content-Type: application/json"
X = ("GET", "/x")
PROVOKED: dict[str, tuple[Provoke, tuple[str, str]]] = {
    "malformed_head": (sent(b"GET /x HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"), X),
    "bad_host": (sent(b"GET /x?secret=1 HTTP/1.1\r\n\r\n"), X),
    "bad_target": (sent(b"GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n"), ("GET", "/x#y")),
    "bad_framing": (sent(b"POST /x HTTP/1.1\r\nHost: a\r\nContent_Length: 1\r\n\r\n"), ("POST", "/x")),
    "coding_unknown": (
        sent(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        ("POST", "/x"),
    ),
    "method_unknown": (sent(b"B" * 65 + b" /x HTTP/1.1\r\nHost: a\r\n\r\n"), ("B" * 32, "/x")),
    "version_unsupported": (sent(b"GET /x HTTP/1.2\r\nHost: a\r\n\r\n"), X),
    "loop_detected": (sent(get("/x", "CDN-Loop: shield-1")), X),
    "method_not_allowed": (sent(b"TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n"), ("TRACE", "/x")),
    "expectation_failed": (sent(get("/x", "Expect: the-best")), X),
    "head_timeout": (late(b"GET /x HTTP/1.1\r\nHo", 11.0), X),
    "body_timeout": (late(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", 21.0, True), ("POST", "/x")),
    "body_too_large": (sent(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"), ("POST", "/x")),
    "target_too_long": (sent(get("/" + "x" * 200)), ("GET", "/" + "x" * 200)),
    "head_too_large": (sent(get("/x", "A: " + "a" * 1100)), X),
    "upstream_refused": (connecting(ConnectionRefusedError("refused")), X),
    "upstream_closed": (sent(get("/closes")), ("GET", "/closes")),
    "upstream_garbage": (sent(get("/garbage")), ("GET", "/garbage")),
    "upstream_timeout": (silent, ("GET", "/silent")),
    "upstream_unavailable": (unavailable, X),
    "streams_full": (no_room, X),
    "out_of_files": (connecting(OSError(errno.EMFILE, "Too many open files")), X),
    "internal": (connecting(RuntimeError("a bug")), X),
    "not_found": (sent(get(f"{OWN}x")), ("GET", f"{OWN}x")),
    "get_only": (sent(post(f"{OWN}x", b"")), ("POST", f"{OWN}x")),
    "post_only": (sent(get(ANSWER)), ("GET", ANSWER)),
    "unsupported_media": (sent(post(ANSWER, b"{}")), ("POST", ANSWER)),
    "cross_site": (sent(post(ANSWER, b"{}", JSON, "Sec-Fetch-Site: cross-site")), ("POST", ANSWER)),
}
ELSEWHERE = {"misdirected", "gate_peer", "gate_question", "upstream_reset"}
"""The first is provoked below, the last in tests/upstream/h2/test_streams.py, the others in
tests/client/test_gate.py."""
NOT_SENT = {"body_timeout", "upstream_refused", "upstream_unavailable", "streams_full", "out_of_files"}


def test_each_fault_is_provoked() -> None:
    assert {fault.value for fault in Fault} - set(PROVOKED) <= ELSEWHERE


@contextlib.asynccontextmanager
async def prone() -> AsyncIterator[tuple[Shield, Lines]]:
    """Shield with low limits, before an origin with faults of its own."""

    async def handle(link: Any, request: Any) -> None:
        if request.target == "/closes":
            link.writer.close()
        elif request.target == "/garbage":
            await link.send(b"SSH-2.0-OpenSSH_9.6\r\n")

    async with Origin(None, handle) as origin:
        shield, lines = logged(
            origin.url,
            http=HttpSettings(max_head_bytes=1024, max_target_bytes=128, max_body_bytes=1000),
            timeouts=TimeoutSettings(pause=0),
            forwarding=Forwarding((), "none", b"shield-1"),
        )
        async with shield:
            yield shield, lines


@pytest.mark.parametrize("word", PROVOKED)
async def test_each_fault(word: str) -> None:
    provoke, asked = PROVOKED[word]
    async with prone() as (shield, lines), await shield.client() as client:
        response: Any = await provoke(shield, client)
        assert response.status == Fault(word).status
        (line,) = [line for line in lines.all if line.get("fault") == word]
        assert (line["method"], line["path"], line["status"]) == (*asked, response.status)
        assert shield.metrics.faults[word] == 1
        if line["event"] == "request":
            assert (line["action"], line["reason"]) == (("fail", word) if word in NOT_SENT else ("forward", "ok"))


class Visitor(Client):
    """Asks for pages, as people do."""

    async def send(self, data: bytes) -> None:
        await super().send(data.replace(b"\r\n", b"\r\nAccept: text/html\r\n", 1))


@pytest.mark.parametrize("word", PROVOKED)
async def test_the_page_of_each_fault_names_the_request_as_the_log_does(word: str) -> None:
    """Pages of 400, 408 and 431 showed nothing that a visitor could quote."""
    async with prone() as (shield, lines), await Visitor.open(shield.port) as client:
        response: Any = await PROVOKED[word][0](shield, client)
        assert response.get("Content-Type") == "text/html; charset=utf-8"
        (line,) = [line for line in lines.all if line.get("fault") == word]
        assert f"request: <code>{line['id']}</code>" in response.body.decode()


@pytest.mark.parametrize("result", [result for result in Redeemed if result.value not in ("accepted", "waiting")])
async def test_each_refused_answer_to_a_challenge(result: Redeemed) -> None:
    shield, lines = logged("http://127.0.0.1:9")
    shield.engine.redeem = lambda client, token, nonces, now: Redemption(result)
    body = b"{}" if result is Redeemed.MALFORMED else b'{"token": "dG9rZW4", "nonces": [1]}'
    async with shield, await shield.client() as client:
        response = await client.ask(post(ANSWER, body, JSON))
        (line,) = lines.all
        told = (line["fault"], line["method"], line["path"], line["status"])
        assert told == (f"answer_{result.value}", "POST", ANSWER, response.status)
        assert shield.metrics.redemptions[result.value] == 1


async def test_a_host_for_which_there_is_no_certificate() -> None:
    shield, lines = logged("http://127.0.0.1:9", redirect=(443, False, lambda name: False))
    async with shield, await shield.client() as client:
        response = await client.ask(get("/x?secret=1", "Accept: text/html"))
        assert response.status == 421
        (line,) = lines.all
        assert (line["fault"], line["method"], line["path"], line["status"]) == ("misdirected", "GET", "/x", 421)
        assert f"request: <code>{line['id']}</code>" in response.body.decode()


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01", b"\r\n", b"\x00GET /x"])
async def test_what_is_no_request_has_neither_method_nor_path(data: bytes) -> None:
    shield, lines = logged("http://127.0.0.1:9")
    async with shield:
        shield.log.fault(shield.clock(), "192.0.2.1", "malformed_head", 400, head=data)
        assert set(lines.all[0]) == {"time", "event", "address", "fault", "status"}
        shield.log.fault(shield.clock(), "192.0.2.1", "malformed_head", 400, head=b"A" * 5000)
        assert (len(lines.all[1]["method"]), lines.all[1]["path"]) == (32, "")


async def test_a_request_that_is_cut_to_make_room_for_others() -> None:
    async with Origin({"/silent": None}) as origin:
        shield, lines = logged(origin.url)
        async with shield, await shield.client() as client:
            await client.send(get("/silent"))
            await origin.got()
            shield.accepted[0].displace(shield.clock())
            (line,) = lines.all
            assert (line["event"], line["path"], line["status"], line["fault"]) == (
                "request",
                "/silent",
                499,
                "displaced",
            )
            assert shield.metrics.faults["displaced"] == 1
