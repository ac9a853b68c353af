"""A server of HTTP/2 for the tests that says, frame by frame, what it is told to, also what h2 would not (origin.py).

It reads by hyperframe and hpack, which Shield does not use. It acknowledges SETTINGS and PING, and what it reads of
bodies, unless told otherwise.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Self

import hpack
from hyperframe.frame import Frame

from tests.client.h2.peer import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    SETTINGS,
    FrameReader,
    Pairs,
    block,
    frame,
    only,
    settings,
    window,
)

OK: Final = ((b":status", b"200"),)


def head(stream: int, *fields: tuple[bytes, bytes], status: bytes = b"200", ended: bool = False) -> bytes:
    """The head of a response."""
    return pairs(stream, ((b":status", status), *fields), ended)


def pairs(stream: int, fields: Pairs, ended: bool) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if ended else 0), stream, block(fields))


def data(stream: int, payload: bytes, ended: bool = False) -> bytes:
    return frame(DATA, END_STREAM if ended else 0, stream, payload)


def goaway(last: int, code: int = 0) -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code))


@dataclass
class Asked:
    """A request, as far as it has come."""

    link: Link
    stream: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    whole: bool = False
    reset: int | None = None
    window: int = 65_535
    unsent: bytes = b""

    def get(self, name: str) -> str | None:
        return only(self.fields, name)

    @property
    def path(self) -> str:
        return self.get(":path") or ""

    def send(self, *frames: bytes) -> None:
        self.link.send(*frames)

    def answer(self, body: bytes = b"", *fields: tuple[bytes, bytes], status: bytes = b"200") -> None:
        """All of a response, as the windows let it pass."""
        self.send(head(self.stream, *fields, status=status, ended=not body))
        if body:
            self.unsent = body
            self.go_on()

    def go_on(self) -> None:
        """Send what may be sent."""
        while self.unsent and (room := min(self.window, self.link.window, 16_384)) > 0:
            piece, self.unsent = self.unsent[:room], self.unsent[room:]
            self.window -= len(piece)
            self.link.window -= len(piece)
            self.send(data(self.stream, piece, ended=not self.unsent))


class Link(asyncio.Protocol):
    """One connection of Shield's."""

    def __init__(self, origin: RawOrigin) -> None:
        self.origin = origin
        self.asked: dict[int, Asked] = {}
        self.frames: list[Frame] = []
        self.closed = False
        self._reader = FrameReader()
        self._preface = b""  # what has come of it
        self._initial = 65_535
        self.window = 65_535
        self._decoder = hpack.Decoder()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.origin.links.append(self)
        if self.origin.first is not None:
            self.send(self.origin.first)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def send(self, *frames: bytes) -> None:
        self.transport.write(b"".join(frames))

    def data_received(self, received: bytes) -> None:
        begun, self._preface = self._preface, (self._preface + received)[: len(PREFACE)]
        assert PREFACE.startswith(self._preface)
        for one in self._reader.read(received[len(self._preface) - len(begun) :]):
            self.frames.append(one)
            self._note(one)

    def _note(self, one: Any) -> None:
        origin = self.origin
        kind = type(one).__name__
        if kind == "SettingsFrame" and "ACK" not in one.flags:
            self._initial = one.settings.get(4, self._initial)
            if origin.acknowledges:
                self.send(frame(SETTINGS, ACK, 0))
        elif kind == "WindowUpdateFrame":
            if one.stream_id:
                self.asked[one.stream_id].window += one.window_increment
            else:
                self.window += one.window_increment
            for asked in self.asked.values():
                asked.go_on()
        elif kind == "PingFrame" and "ACK" not in one.flags and origin.pongs:
            self.send(frame(PING, ACK, 0, one.opaque_data))
        elif kind == "HeadersFrame":
            assert "END_HEADERS" in one.flags
            fields = [(str(name), str(value)) for name, value in self._decoder.decode(one.data)]
            asked = self.asked.get(one.stream_id)
            if asked is None:
                asked = self.asked[one.stream_id] = Asked(self, one.stream_id, fields, window=self._initial)
                origin.asked.append(asked)
                asked.whole = "END_STREAM" in one.flags
                if origin.on_head is not None:
                    origin.on_head(asked)
            else:
                asked.trailers = fields
                asked.whole = True
            self._whole(asked)
        elif kind == "DataFrame":
            asked = self.asked[one.stream_id]
            asked.body += one.data
            if one.data and origin.reads:
                self.send(window(0, len(one.data)), window(one.stream_id, len(one.data)))
            if origin.on_data is not None:
                origin.on_data(asked, one.data)
            if "END_STREAM" in one.flags:
                asked.whole = True
                self._whole(asked)
        elif kind == "RstStreamFrame":
            self.asked[one.stream_id].reset = one.error_code

    def _whole(self, asked: Asked) -> None:
        if asked.whole and self.origin.on_request is not None:
            self.origin.on_request(asked)

    def said(self, kind: str) -> list[Any]:
        """The frames of this kind that Shield has sent."""
        return [each for each in self.frames if type(each).__name__ == kind]


class RawOrigin:
    """`on_request` is called with a whole request, `on_head` with its head, `on_data` with each piece of its body.
    `first` is what the server says first; None: nothing."""

    def __init__(
        self,
        on_request: Callable[[Asked], object] | None = None,
        on_head: Callable[[Asked], object] | None = None,
        on_data: Callable[[Asked, bytes], object] | None = None,
        first: bytes | None = settings(),
        context: ssl.SSLContext | None = None,
        reads: bool = True,
        acknowledges: bool = True,
        pongs: bool = True,
    ) -> None:
        self.on_request = on_request
        self.on_head = on_head
        self.on_data = on_data
        self.first = first
        self.reads = reads
        self.acknowledges = acknowledges
        self.pongs = pongs
        self._context = context
        self.links: list[Link] = []
        self.asked: list[Asked] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Link(self), "127.0.0.1", 0, ssl=self._context)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"h2://localhost:{port}" if self._context else f"h2c://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for link in self.links:
            link.transport.abort()
