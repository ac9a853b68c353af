"""Clients of HTTP/2 for the tests: one by h2, which is not the library that Shield uses, and one that sends raw frames.

Peer     a client that keeps to the protocol, by h2
Frames   what a client sends that need not, frame by frame
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import h2.config
import h2.connection
import h2.events
import h2.settings
from hyperframe.frame import Frame

from tests.harness import WAIT, Client, Shield

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 5, 6, 7, 8, 9
ENHANCE_YOUR_CALM: Final = 11

Pairs = Sequence[tuple[bytes, bytes]]


def request(path: str = "/", *fields: tuple[str, str], method: str = "GET") -> list[tuple[bytes, bytes]]:
    """The fields of a request."""
    pseudo = ((":method", method), (":scheme", "http"), (":authority", "a.example"), (":path", path))
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (*pseudo, *fields)]


# raw frames


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def block(pairs: Pairs) -> bytes:
    """A header block of literals without indexing and without Huffman (RFC 7541 section 6.2.2)."""

    def text(data: bytes) -> bytes:
        if len(data) < 127:
            return bytes((len(data),)) + data
        rest, coded = len(data) - 127, b"\x7f"
        while rest >= 128:
            coded += bytes((rest % 128 + 128,))
            rest //= 128
        return coded + bytes((rest,)) + data

    return b"".join(b"\x00" + text(name) + text(value) for name, value in pairs)


def headers(pairs: Pairs, stream: int = 1, flags: int = END_STREAM | END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, block(pairs))


def window(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def settings(**values: int) -> bytes:
    numbers = {"table": 1, "push": 2, "streams": 3, "window": 4, "frame": 5, "list": 6}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", numbers[name], value) for name, value in values.items()))


def only(fields: Sequence[tuple[str, str]], name: str) -> str | None:
    """The value of the field of this name, which there may be once."""
    found = [value for key, value in fields if key == name]
    assert len(found) < 2, f"{name} repeated"
    return found[0] if found else None


class FrameReader:
    """Cuts what one side of a connection sends into frames, by hyperframe."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with these bytes."""
        self._rest += data
        while len(self._rest) >= 9:
            one, length = Frame.parse_frame_header(memoryview(self._rest[:9]))
            if len(self._rest) < 9 + length:
                return
            one.parse_body(memoryview(self._rest[9 : 9 + length]))
            self._rest = self._rest[9 + length :]
            yield one


@dataclass(slots=True)
class Told:
    """What Shield has said on a connection, as far as it matters here."""

    frames: list[Frame]
    closed: bool

    def codes(self, kind: str) -> list[tuple[int, int]]:
        """Stream and error code of each frame of this kind."""
        return [(each.stream_id, each.error_code) for each in self.frames if type(each).__name__ == kind]  # type: ignore[attr-defined]

    @property
    def resets(self) -> list[tuple[int, int]]:
        return self.codes("RstStreamFrame")

    @property
    def goaways(self) -> list[int]:
        return [code for _, code in self.codes("GoAwayFrame")]

    @property
    def last(self) -> int:
        """The last stream that the last GOAWAY names."""
        return [each for each in self.frames if type(each).__name__ == "GoAwayFrame"][-1].last_stream_id  # type: ignore[attr-defined]

    @property
    def answered(self) -> list[int]:
        """The streams that HEADERS came on."""
        return [each.stream_id for each in self.frames if type(each).__name__ == "HeadersFrame"]


class Frames:
    """A connection whose client sends what the test says."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.frames: list[Frame] = []
        self.closed = False
        self._reader = FrameReader()

    @classmethod
    async def open(cls, shield: Shield, *values: bytes, **options: Any) -> Self:
        """`values`: what follows the preface, else empty SETTINGS and the acknowledgement of Shield's."""
        frames = cls(await shield.client(**options))
        first = values or (settings(), frame(SETTINGS, ACK, 0))
        await frames.client.feed(PREFACE + b"".join(first))
        return frames

    async def send(self, *frames: bytes, slowly: bool = False) -> None:
        data = b"".join(frames)
        if slowly:
            await self.client.send_slowly(data)
        else:
            await self.client.feed(data)

    async def until(self, done: Callable[[Told], Any]) -> Told:
        """Read until `done` of what has been said, or the end."""
        told = Told(self.frames, self.closed)
        async with asyncio.timeout(WAIT):
            while not done(told) and not self.closed:
                try:
                    self.closed = not await self.client.more()
                except ConnectionResetError:
                    self.closed = True
                self.frames += self._reader.read(bytes(self.client.buffer))
                self.client.buffer.clear()
                told = Told(self.frames, self.closed)
        return told

    async def settled(self) -> Told:
        """All that Shield says to what was sent so far: until it answers a PING, or closes."""
        mark = struct.pack(">Q", len(self.frames) + 1)
        await self.send(frame(PING, 0, 0, mark))
        return await self.until(
            lambda told: any(type(each).__name__ == "PingFrame" and each.opaque_data == mark for each in told.frames)  # type: ignore[attr-defined]
        )

    def close(self) -> None:
        self.client.close()


# a client that keeps to the protocol


@dataclass(slots=True)
class Answer:
    """What came on one stream."""

    interims: list[int] = field(default_factory=list)
    status: int = 0
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    ended: bool = False
    reset: int | None = None  # the code

    def get(self, name: str) -> str | None:
        return only(self.fields, name)

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Peer:
    """A client over h2. It acknowledges what it reads, unless `reads` is false."""

    def __init__(self, client: Client, reads: bool = True, window: int = 65535) -> None:
        self.client = client
        self.reads = reads
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        self.connection = h2.connection.H2Connection(config)
        codes = h2.settings.SettingCodes
        values = {codes.INITIAL_WINDOW_SIZE: window, codes.ENABLE_PUSH: 0}
        self.connection.local_settings = h2.settings.Settings(client=True, initial_values=values)
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []  # last stream and code
        self.closed = False
        self.unread: dict[int, int] = {}

    @classmethod
    async def open(cls, shield: Shield, reads: bool = True, window: int = 65535, **options: Any) -> Self:
        peer = cls(await shield.client(**options), reads, window)
        peer.connection.initiate_connection()
        await peer.flush()
        return peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.client.close()

    async def flush(self) -> None:
        await self.client.feed(self.connection.data_to_send())

    async def begin(self, pairs: Pairs, body: bytes | None = None, ended: bool = True) -> int:
        """Send a request, with a body unless that is None. The stream's number."""
        number = self.connection.get_next_available_stream_id()
        self.answers[number] = Answer()
        self.connection.send_headers(number, list(pairs), end_stream=body is None and ended)
        await self.flush()
        if body is not None:
            await self.send(number, body, ended)
        return number

    async def send(self, number: int, body: bytes, ended: bool = True) -> None:
        """Send payload as the windows let it pass."""
        while body:
            room = min(
                self.connection.local_flow_control_window(number), self.connection.max_outbound_frame_size, len(body)
            )
            if not room:
                if not await self.read():
                    return
                continue
            self.connection.send_data(number, body[:room])
            body = body[room:]
            await self.flush()
        if ended:
            self.connection.end_stream(number)
            await self.flush()

    async def read(self) -> bool:
        """Read once, and answer what must be answered."""
        try:
            more = await self.client.more()
        except ConnectionResetError:
            more = False
        data = bytes(self.client.buffer)
        self.client.buffer.clear()
        for event in self.connection.receive_data(data) if data else ():
            self._note(event)
        await self.flush()
        self.closed = not more
        return more

    def _note(self, event: Any) -> None:
        number = getattr(event, "stream_id", None)
        answer = self.answers.get(number or 0, Answer())
        if isinstance(event, h2.events.InformationalResponseReceived):
            answer.interims.append(int(dict(event.headers)[":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            assert not answer.status, "two heads"
            answer.status = int(dict(event.headers)[":status"])
            answer.fields = [pair for pair in event.headers if pair[0] != ":status"]
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = list(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            assert answer.status, "a body before its head"
            answer.body += event.data
            length = event.flow_controlled_length
            if self.reads:
                self.connection.acknowledge_received_data(length, number)
            else:
                self.unread[number] = self.unread.get(number, 0) + length
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((event.last_stream_id, int(event.error_code)))

    async def catch_up(self, number: int) -> None:
        """Acknowledge what has come on a stream."""
        self.connection.acknowledge_received_data(self.unread.pop(number, 0), number)
        await self.flush()

    async def until(self, done: Callable[[], Any]) -> None:
        async with asyncio.timeout(WAIT):
            while not done():
                assert await self.read(), "closed"

    async def answer(self, number: int) -> Answer:
        answer = self.answers[number]
        await self.until(lambda: answer.over)
        return answer

    async def ask(self, pairs: Pairs, body: bytes | None = None) -> Answer:
        return await self.answer(await self.begin(pairs, body))

    async def end(self) -> None:
        """Read until Shield closes."""
        async with asyncio.timeout(WAIT):
            while await self.read():
                pass
        self.client.close()
