"""The origin of the throughput runs: one answer to each request, and every message back."""

from __future__ import annotations

import asyncio
import base64

import pytest

from bench.load import websocket
from bench.origins import small_origin
from tests.bench.serving import CLOSE, SMALL, listening, say


class TestOrigin:
    @pytest.mark.parametrize(
        ("request_bytes", "answers"),
        [
            ([CLOSE], 1),
            ([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + CLOSE], 2),
            ([b"GET / HTTP/1.1\r\nHo", b"st: x\r\n\r\n" + CLOSE], 2),
            ([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n01234", b"56789" + CLOSE], 2),
            (
                [b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n" + CLOSE],
                2,
            ),
        ],
    )
    async def test_each_request_has_one_answer(self, request_bytes: list[bytes], answers: int) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            assert await say(port, *request_bytes) == SMALL * answers

    async def test_sizes_and_head(self) -> None:
        async with listening(lambda: small_origin.Origin(SMALL)) as port:
            answer = await say(port, CLOSE.replace(b"GET / ", b"GET /bytes/70000 "))
            assert len(answer.partition(b"\r\n\r\n")[2]) == 70_000
            assert await say(port, CLOSE.replace(b"GET", b"HEAD")) == SMALL[: -len(b"hello")]
            assert b"Content-Length: 0\r\n" in await say(port, CLOSE.replace(b"GET / ", b"GET /bytes/9e9 "))


def frame(payload: bytes, opcode: int = 0x81) -> bytes:
    return bytes([opcode]) + websocket.masked(payload)[1:]


async def upgraded(port: int, *pieces: bytes) -> bytes:
    """What comes back on a WebSocket after its handshake, until the other side closes or `pieces` came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(b"0123456789abcdef")
    writer.write(b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-Websocket-KEY: " + key + b"\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 101 ")
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer


class TestEcho:
    def test_the_handshake_is_that_of_the_rfc(self) -> None:
        # RFC 6455, section 1.3
        head = b"GET /echo HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in small_origin.accepted(head)
        assert small_origin.accepted(b"GET /echo HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")

    @pytest.mark.parametrize("cut", [1, 2, 5, 8, 1000])
    async def test_messages_come_back_however_they_are_cut(self, cut: int) -> None:
        sent = frame(b"hello") + frame(b"") + frame(b"\0\xff" * 60, 0x82)
        async with listening() as port:
            pieces = [sent[first : first + cut] for first in range(0, len(sent), cut)]
            assert await upgraded(port, *pieces) == b"\x81\x05hello\x81\x00\x82\x78" + b"\0\xff" * 60

    @pytest.mark.parametrize(
        "sent", [b"\x81\x05hello!", b"\x81\xfe\x00\x80mask" + bytes(128), b"\x88\x80mask", b"\x01\x80mask"]
    )
    async def test_anything_else_ends_it(self, sent: bytes) -> None:
        async with listening() as port:
            assert await upgraded(port, sent) == b""
