"""One connection of HTTP/2 to a server: streams side by side, each of them one request (stream.py).

    UpstreamStream, ... -- Http2Upstream -- libnghttp2, by way of ngh2 -- transport

A server may refuse a stream, or say goodbye (GOAWAY): then the requests that it has not looked at are told so, and may
be sent again; no more are begun here, and the connection closes with the last of those that are under way.

Bytes pinned: HPACK's tables of 4 KiB each way, a header block (MAX_HEAD_BYTES), STREAM_WINDOW of each response that its
client does not read, SEND_HIGH of each request's body, and what the transport holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ngh2 import (
    Configuration,
    Connection,
    DataReceived,
    ErrorCode,
    Event,
    GoAwayReceived,
    InformationalResponseReceived,
    NGH2Error,
    ResponseReceived,
    Role,
    Setting,
    SettingsReceived,
    StreamClosed,
    TrailersReceived,
)

from shield.http.response_head import MAX_HEAD_BYTES
from shield.upstream.h2.stream import UpstreamStream

if TYPE_CHECKING:
    from shield.http.pairs import Pair
    from shield.upstream.server import Server
    from shield.wire.turns import Turns

STREAM_WINDOW: Final = 256 * 1024
"""bytes of a response that may be on their way, or wait for a client that is slow."""
CONNECTION_WINDOW: Final = 16 * 1024 * 1024
"""bytes of all of them together. It is more than slow clients are let hold, so that they stall nobody."""
MOST_STREAMS: Final = 100
"""Requests at a time, even where a server allows more: those behind a lost packet wait for it together."""
SILENT_SECONDS: Final = 5.0
"""s. A connection may be dead that has said nothing at all for so long since a request."""
PUMP_BYTES: Final = 64 * 1024
"""bytes that are taken from the library at a time."""

_CONFIGURATION: Final = Configuration(
    auto_window_update=False,
    peer_max_concurrent_streams=MOST_STREAMS,
    max_send_header_block_length=1 << 20,
    max_inbound_header_list_size=MAX_HEAD_BYTES,
    max_continuations=8 + MAX_HEAD_BYTES // 16384,
)
_SETTINGS: Final = {
    Setting.ENABLE_PUSH: 0,
    Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
    Setting.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
}
_BROKEN: Final = frozenset(
    {ErrorCode.PROTOCOL_ERROR, ErrorCode.FLOW_CONTROL_ERROR, ErrorCode.FRAME_SIZE_ERROR, ErrorCode.COMPRESSION_ERROR}
)


class Http2Upstream(asyncio.Protocol):
    """A connection to `server`. `turns` are those of the loop; `idle_since` in its clock's seconds, `read_at` when
    something came last."""

    __slots__ = (
        "_library",
        "_limit",
        "_pumping",
        "_queued",
        "_retired",
        "_streams",
        "_stuck",
        "_used",
        "address",
        "idle_since",
        "preserve_host",
        "read_at",
        "server",
        "transport",
        "turns",
    )

    def __init__(self, server: Server, preserve_host: bool, turns: Turns) -> None:
        self.server = server
        self.preserve_host = preserve_host
        self.turns = turns
        self.address = ""
        self.transport: Any = None
        self.idle_since = self.read_at = turns.now().began
        self._library = Connection(Role.CLIENT, _CONFIGURATION)
        self._streams: dict[int, UpstreamStream] = {}
        self._limit = MOST_STREAMS
        self._retired = self._used = False
        self._stuck = self._pumping = self._queued = False

    def __repr__(self) -> str:
        return f"<Http2Upstream {self.server.name}, {len(self._streams)} streams{' retired' * self._retired}>"

    # used by the server and the pool

    def stream(self) -> UpstreamStream | None:
        """A stream for another request; None where there is no room for one."""
        if not self.usable() or len(self._streams) >= self._limit:
            return None
        stream = UpstreamStream(self, self._used, self.read_at)
        self._used = True
        return stream

    def usable(self) -> bool:
        """Whether other requests may be sent over it."""
        return not (self._retired or self.transport is None or self.transport.is_closing())

    def idle(self) -> bool:
        """Whether no request is under way."""
        return not self._streams

    def retire(self) -> None:
        """Begin no further streams, and close with the last one."""
        self._retired = True
        self.server.multiplexed.discard(self)
        if not self._streams:
            self.close()

    def close(self) -> None:
        """Say goodbye and close, without waiting for anything."""
        self._retired = True
        self.server.multiplexed.discard(self)
        transport = self.transport
        if transport is not None and not transport.is_closing():
            try:
                self._library.terminate_connection(ErrorCode.NO_ERROR)
                transport.write(self._library.data_to_send(PUMP_BYTES))
            except NGH2Error:
                pass
            transport.close()

    # used by streams

    def request(self, stream: UpstreamStream, pairs: Sequence[Pair], whole: bool) -> int:
        """Send the head of a request; the number of its stream, 0 if none can be begun any more."""
        if self._retired or self.transport.is_closing():
            return 0
        try:
            number = self._library.send_request(pairs, end_stream=whole)
        except NGH2Error:
            return 0
        self._streams[number] = stream
        self.server.connections.add(stream)
        self._pump_soon()
        return number

    def payload(self, number: int, data: bytes, whole: bool) -> None:
        """Send payload."""
        try:
            self._library.send_data(number, data, end_stream=whole)
        except NGH2Error:
            return
        self._pump_soon()

    def trail(self, number: int, pairs: Sequence[Pair]) -> None:
        """Send trailers, which end the request."""
        try:
            self._library.send_trailers(number, pairs)
        except NGH2Error:
            return
        self._pump_soon()

    def unsent(self, number: int) -> int:
        """bytes of payload that wait for the server's windows."""
        try:
            return self._library.queued_body_size(number)
        except NGH2Error:
            return 0

    def take(self, number: int, size: int) -> None:
        """So much payload has found its place."""
        try:
            self._library.acknowledge_received_data(size, number)
        except (NGH2Error, ValueError):
            return
        self._pump_soon()

    def leave(self, stream: UpstreamStream, code: ErrorCode) -> None:
        """End a stream of which nothing more is wanted."""
        if not stream.number:
            return
        asked = stream.asked_at
        if stream.silent() and self.read_at <= asked and self.turns.now().began - asked >= SILENT_SECONDS:
            self.retire()
        try:
            self._library.reset_stream(stream.number, code)
        except NGH2Error:
            return
        self._pump_soon()

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        library = self._library
        library.initiate_connection(_SETTINGS)
        library.set_local_window_size(CONNECTION_WINDOW)
        self.server.multiplexed.add(self)
        self.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._retired = True
        self.server.multiplexed.discard(self)
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self.server.connections.discard(stream)
            stream.ended(ErrorCode.INTERNAL_ERROR, False)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._stuck = True

    def resume_writing(self) -> None:
        self._stuck = False
        self.pump()

    def data_received(self, data: bytes) -> None:
        self.read_at = self.turns.now().began
        library = self._library
        try:
            library.receive_data(data)
        except NGH2Error:
            self._fail()
            return
        touched: dict[int, UpstreamStream] = {}
        for event in library.events():
            self._handle(event, touched)
        for stream in touched.values():
            if not stream.over and not stream.complete:
                stream.flush()
        self._pump_soon()

    # what the library tells

    def _handle(self, event: Event, touched: dict[int, UpstreamStream]) -> None:
        kind = type(event)
        if kind is StreamClosed:
            early = touched.pop(event.stream_id, None)  # type: ignore[attr-defined]
            if early is not None and not (early.over or early.complete):
                early.flush()
            self._closed(event)  # type: ignore[arg-type]
        elif kind is SettingsReceived:
            most = event.settings.get(Setting.MAX_CONCURRENT_STREAMS)  # type: ignore[attr-defined]
            if most is not None:
                self._limit = min(most, MOST_STREAMS)
        elif kind is GoAwayReceived:
            self.retire()
        else:
            stream = self._streams.get(getattr(event, "stream_id", 0))
            if stream is not None and not stream.over:
                touched[stream.number] = stream
                _tell(self, stream, event)
            elif kind is DataReceived:
                self.take(event.stream_id, len(event.data))  # type: ignore[attr-defined]

    def _closed(self, event: StreamClosed) -> None:
        stream = self._streams.pop(event.stream_id, None)
        if stream is None:
            return
        self.server.connections.discard(stream)
        if event.error_code == ErrorCode.REFUSED_STREAM and stream.silent():
            if not self._retired:  # it has as many as it can do
                self._limit = max(1, len(self._streams))
            stream.refused()
        else:
            stream.ended(event.error_code, event.local_error is not None or event.error_code in _BROKEN)
        if not self._streams:
            self.idle_since = self.turns.now().began
            if self._retired:
                self.close()

    def _fail(self) -> None:
        """The server does not speak HTTP/2 as it is written."""
        self._retired = True
        self.server.multiplexed.discard(self)
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self.server.connections.discard(stream)
            stream.ended(ErrorCode.PROTOCOL_ERROR, True)
        self.transport.abort()

    # sending

    def _pump_soon(self) -> None:
        if not self._queued:
            self._queued = True
            self.turns.add(self)

    def settle(self) -> None:
        """The end of the turn (turns.Settled)."""
        self._queued = False
        self.pump()

    def fail(self, error: BaseException) -> None:
        """End the connection because of a bug."""
        asyncio.get_running_loop().call_exception_handler(
            {"message": "Fatal error on a connection of HTTP/2 to a server", "exception": error, "protocol": self}
        )
        self.transport.abort()

    def pump(self) -> None:
        """Send what the windows and the transport let pass."""
        transport = self.transport
        if self._pumping:
            return
        self._pumping = True
        try:
            while not (self._stuck or transport.is_closing()):
                data = self._library.data_to_send(PUMP_BYTES)
                for event in self._library.events():
                    self._handle(event, {})
                if not data:
                    break
                if not transport.is_closing():
                    transport.write(data)
        except NGH2Error:
            self._fail()
        finally:
            self._pumping = False
        for stream in list(self._streams.values()):
            stream.drained()


def _tell(connection: Http2Upstream, stream: UpstreamStream, event: Event) -> None:
    """Tell a stream of what has come on it."""
    kind = type(event)
    if kind is DataReceived:
        data = event.data  # type: ignore[attr-defined]
        if stream.on_body(data):
            connection.take(stream.number, len(data))
        if event.end_stream:  # type: ignore[attr-defined]
            stream.on_end()
    elif kind is ResponseReceived:
        stream.on_head(event.headers, event.end_stream)  # type: ignore[attr-defined]
    elif kind is InformationalResponseReceived:
        stream.on_interim(event.headers)  # type: ignore[attr-defined]
    elif kind is TrailersReceived:
        stream.on_trailers(event.headers)  # type: ignore[attr-defined]
        stream.on_end()
