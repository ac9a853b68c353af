"""One upstream connection: any cut of any response gives the same events. What clients see is in test_exchange."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shield.http.framing import CHUNKED, UNTIL_CLOSE, ChunkedBody
from shield.http.response_head import MAX_INTERIM
from shield.http.rules import Rule
from shield.model import Fault
from shield.operator.metrics import Metrics
from shield.upstream.connection import UpstreamConnection
from shield.upstream.server import Server
from tests.harness import chunked, request_head


class Transport:
    def __init__(self) -> None:
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Recorder:
    """An exchange that only writes down what happens."""

    def __init__(self, websocket: bool = False) -> None:
        self.request = request_head(websocket=websocket)
        self.interim: list[int] = []
        self.heads: list[tuple[int, bytes, int, int, bool]] = []
        self.body = b""
        self.finished = False
        self.faults: list[Fault] = []
        self.rules: list[str] = []
        self.tails: list[bytes] = []

    def on_interim(self, status: int, fields: list[bytes]) -> None:
        self.interim.append(status)

    def on_head(self, status: int, fields: list[bytes], length: int, declared: int, endless: int) -> bool:
        self.heads.append((status, b"".join(fields), length, declared, endless))
        return True

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_chunks(self, chunks: list[bytes], payload: int) -> None:
        wire = b"".join(chunks)
        pieces, end = ChunkedBody(0).feed(wire, 0)
        assert (end, sum(map(len, pieces))) == (len(wire), payload)
        self.body += b"".join(pieces)

    def on_trailers(self, lines: Sequence[bytes]) -> None:
        assert not any(b"\n" in line for line in lines)

    def flush(self) -> None:
        pass

    def finish(self) -> None:
        self.finished = True

    def upstream_failed(self, fault: Fault, rule: Rule | None = None) -> None:
        self.faults.append(fault)
        self.rules += [] if rule is None else [rule.value]

    def switch(self, protocol: bytes, fields: list[bytes], tail: bytes) -> None:
        self.tails.append(tail)


def run(
    wire: bytes, cuts: list[int], exchange: Recorder | None = None, eof: bool = False
) -> tuple[Any, UpstreamConnection]:
    exchange = exchange or Recorder()
    connection = UpstreamConnection(Server("http://127.0.0.1:1", Metrics().upstream("x")))
    connection.connection_made(Transport())  # type: ignore[arg-type]
    connection.send(exchange, exchange.request, b"", b"id", 0.0)  # type: ignore[arg-type]
    start = 0
    for end in [*sorted({cut % (len(wire) + 1) for cut in cuts}), len(wire)]:
        if end > start and not exchange.faults and not exchange.finished:
            connection.data_received(wire[start:end])
        elif end > start and exchange.finished:
            connection.detach()
            connection.data_received(wire[start:end])
        start = end
    if eof and not exchange.finished:
        connection.connection_lost(None)
    seen = (
        exchange.interim,
        exchange.heads,
        exchange.body,
        exchange.finished,
        exchange.faults,
        b"".join(exchange.tails),
    )
    return seen, connection


HEADS = st.sampled_from(
    [
        b"",
        b"X: 1\r\n",
        b"Server: a\r\nSet-Cookie: b\r\n",
        b"Content-Type: text/event-stream\r\n",
        b"Connection: close\r\n",
    ]
)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    wire = draw(st.sampled_from([b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"]))
    # In capitals: a body that says "Connection: close" must not look like the field that the test looks for.
    body = draw(st.lists(st.binary(min_size=1, max_size=100).map(bytes.upper), max_size=4))
    fields = draw(HEADS)
    if draw(st.booleans()):
        whole = b"".join(body)
        return wire + b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: %d\r\n\r\n" % len(whole) + whole
    trailer = draw(st.sampled_from([b"", b"Set-Cookie: leak\r\n"]))
    return (
        wire + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + fields + b"\r\n" + chunked(*body, trailer=trailer)
    )


@given(responses(), st.lists(st.integers(0, 2000), max_size=10))
@example(b"HTTP/1.1 204 No Content\r\n\r\n", [3])
@example(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", [3])
def test_any_cut_of_any_response_gives_the_same_events(wire: bytes, cuts: list[int]) -> None:
    whole, first = run(wire, [])
    cut, second = run(wire, cuts)
    assert whole == cut
    assert whole[3], "finished"
    assert first.usable() == second.usable() == (b"Connection: close" not in wire)
    assert b"leak" not in repr(whole).encode()


@given(responses(), responses(), st.lists(st.integers(0, 2000), max_size=6))
def test_what_follows_a_response_poisons_the_connection_wherever_it_is_cut(
    one: bytes, two: bytes, cuts: list[int]
) -> None:
    alone, _ = run(one, [])
    seen, connection = run(one + two, cuts)
    assert seen == alone
    assert not connection.usable()


@given(st.binary(max_size=200))
def test_no_bytes_raise(wire: bytes) -> None:
    seen, connection = run(wire, [1, 5], eof=True)
    assert not seen[3] or not connection.usable()


@given(responses(), st.integers(0, 2000))
def test_a_response_cut_short_is_a_failure(wire: bytes, cut: int) -> None:
    seen, _ = run(wire[: cut % len(wire)], [], eof=True)
    assert not seen[3]
    assert seen[4] == [Fault.UPSTREAM_CLOSED]


@pytest.mark.parametrize(
    ("wire", "length"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nabc", UNTIL_CLOSE),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", UNTIL_CLOSE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", CHUNKED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 3),
    ],
)
def test_framings(wire: bytes, length: int) -> None:
    (_, heads, body, finished, faults, _), connection = run(wire, [], eof=True)
    assert (heads[0][2], body, finished, faults) == (length, b"abc", True, [])
    assert connection.usable() == (length != UNTIL_CLOSE)


def test_interim_responses_are_bounded() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    seen, _ = run(hints * MAX_INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [])
    assert seen[3]
    seen, _ = run(hints * (MAX_INTERIM + 1), [])
    assert seen[4] == [Fault.UPSTREAM_GARBAGE]


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints", b"101 S\r\nConnection: Upgrade\r\nUpgrade: x"])
@pytest.mark.parametrize("framing", [b"Content-Length: 39", b"Transfer-Encoding: chunked"])
def test_an_interim_response_has_no_body(status: bytes, framing: bytes) -> None:
    """Found by fuzzing: llhttp reads one, and it went to the client as it was, who took it for the next response. Here
    what follows is the response, and the connection serves nobody else."""
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    wire = b"HTTP/1.1 %b\r\n%b\r\n\r\n" % (status, framing)
    exchange = Recorder(websocket=True)
    (interim, heads, body, _, faults, tails), connection = run(wire + forged + forged, [], exchange)
    if status.startswith(b"101"):
        assert (interim, heads, body, faults, tails) == ([], [], b"", [Fault.UPSTREAM_GARBAGE], b"")
        assert exchange.rules == ["switch_unasked"]
    else:
        assert (interim, heads, body, faults, tails) == ([int(status[:3])], [(200, b"", 0, -1, False)], b"", [], b"")
    assert not connection.usable()


def test_a_head_without_end_is_bounded() -> None:
    seen, _ = run(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 400_000, list(range(0, 400_000, 1000)))
    assert seen[4] == [Fault.UPSTREAM_GARBAGE]


SWITCHED = b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
PROOF = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"  # to the key of request_head()


@pytest.mark.parametrize("proof", [b"", PROOF + PROOF, PROOF.replace(b"s3p", b"S3p")])
def test_101_without_the_proof_of_websocket_is_garbage(proof: bytes) -> None:
    seen, connection = run(SWITCHED + proof + b"\r\ntail", [], Recorder(websocket=True))
    assert (seen[4], seen[5]) == ([Fault.UPSTREAM_GARBAGE], b"")
    assert connection.poisoned


def test_101_hands_over_the_tail() -> None:
    wire = SWITCHED + PROOF + b"\r\ntail"
    for cuts in ([], [10], [len(wire) - 2], [len(wire) - 4]):
        exchange = Recorder(websocket=True)
        seen, connection = run(wire[: len(wire)], [], exchange)
        assert seen[5] == b"tail", cuts
        assert connection.exchange is exchange


def test_fields_that_connection_names_are_dropped() -> None:
    seen, _ = run(b"HTTP/1.1 200 OK\r\nConnection: X-A, close\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n", [])
    assert seen[1] == [(200, b"X-B: 2\r\n", 0, -1, False)]


def test_pausing_is_idempotent_and_ends_with_the_exchange() -> None:
    _, connection = run(b"HTTP/1.1 200 OK\r\n", [])
    connection.pause()
    connection.pause()
    assert not connection.transport.reading  # type: ignore[attr-defined]
    connection.detach()
    assert connection.transport.reading  # type: ignore[attr-defined]
