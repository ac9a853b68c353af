"""One connection of HTTP/2 to a server: streams side by side, each of them one request (stream.py).

    UpstreamStream, ... -- Http2Upstream -- libnghttp2, by way of ngh2 -- transport

No request is sent before the server's SETTINGS, which say how many it takes at a time.

A server may refuse a stream, or say goodbye (GOAWAY): then the requests that it has not looked at are told so, and may
be sent again; no more are begun here, and the connection closes with the last of those that are under way. So it does
after MOST_RESETS requests that were given up: a server takes many for an attack, and cuts off everybody.

What breaks HTTP/2 itself, and more frames than patience.py allows, end the connection, and are `upstream_garbage` for
all of its requests; what breaks one response ends that alone.

A PING is sent only where there is doubt: when a request is given up, and nothing at all has come for SILENT_SECONDS.
Until something comes no other request takes the connection; after PING_SECONDS it is closed.
(Servers of gRPC end connections over which they are asked more often than every few minutes.)

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
    ConnectionClosed,
    DataReceived,
    ErrorCode,
    Event,
    GoAwayReceived,
    InformationalResponseReceived,
    NGH2Error,
    ResponseReceived,
    Role,
    Setting,
    SettingsAcknowledged,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
)

from shield.http.response_head import MAX_HEAD_BYTES
from shield.http.rules import Rule
from shield.upstream.h2.patience import Patience
from shield.upstream.h2.stream import UpstreamStream

if TYPE_CHECKING:
    from shield.http.pairs import Pair
    from shield.upstream.server import Server
    from shield.wire.turns import Turns

STREAM_WINDOW: Final = 128 * 1024
"""bytes of a response that may be on their way, or wait for a client that is slow: 128 MB/s at 1 ms of round trip."""
MOST_STREAMS: Final = 100
"""Requests at a time, even where a server allows more: those behind a lost packet wait for it together."""
CONNECTION_WINDOW: Final = MOST_STREAMS * STREAM_WINDOW
"""bytes of all of them together: so many that clients who do not read stall nobody else's response."""
MOST_RESETS: Final = 100
"""Requests that are given up over one connection. nghttp2 takes a thousand at once, Go and hyper fewer."""
SILENT_SECONDS: Final = 5.0
"""s. A connection may be dead that has said nothing at all for so long while a request waited."""
PING_SECONDS: Final = 5.0
"""s. In which the server must answer a PING."""
SETTINGS_SECONDS: Final = 10.0
"""s. In which it must go by what Shield allows, and say so."""
PUMP_BYTES: Final = 64 * 1024
"""bytes that are taken from the library at a time."""

MOST_UNPACKED: Final = 2 * MAX_HEAD_BYTES
"""bytes of a head, with the 32 that HPACK counts for each field, beyond which the library gives up the connection. Up
to there a head that is too large costs its own request alone."""
MOST_ACKS: Final = 8192
"""Acknowledgements of SETTINGS and PING that may wait to be sent before the library objects: more than one read asks
for, so it is patience.py that ends a flood."""
NEVER: Final = (1 << 40, 1 << 40)
"""How many suspicious frames the library lets pass, in a burst and a second: all. patience.py ends a flood of them."""

_CONFIGURATION: Final = Configuration(
    auto_window_update=False,
    peer_max_concurrent_streams=MOST_STREAMS,
    max_send_header_block_length=1 << 20,
    max_inbound_header_list_size=MOST_UNPACKED,
    max_continuations=8 + MOST_UNPACKED // 16384,
    max_outbound_ack=MOST_ACKS,
    glitch_rate_limit=NEVER,
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
    something came last. `settled` is done when the server has said what it allows.

    More than 15 attributes: everything that belongs to a connection meets here.
    """

    __slots__ = (
        "_doubt",
        "_farewell",
        "_library",
        "_limit",
        "_patience",
        "_pumping",
        "_queued",
        "_resets",
        "_retired",
        "_streams",
        "_stuck",
        "_unsettled",
        "_used",
        "address",
        "idle_since",
        "preserve_host",
        "read_at",
        "server",
        "settled",
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
        self._limit = 0  # before the server has said what it allows
        self._resets = 0
        self._patience = Patience(self.read_at)
        self._farewell: int | None = None  # the error that the server's GOAWAY names
        self._doubt: asyncio.TimerHandle | None = None  # while a PING is to be answered
        self._unsettled: asyncio.TimerHandle | None = None  # while our SETTINGS are
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.settled.add_done_callback(_seen)
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
        return not (self._retired or self._doubt is not None or self.transport is None or self.transport.is_closing())

    def idle(self) -> bool:
        """Whether no request is under way."""
        return not self._streams

    def retire(self) -> None:
        """Begin no further streams, and close with the last one."""
        self._retired = True
        self.server.multiplexed.discard(self)
        if not self._streams:
            self.close()

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR) -> None:
        """Say goodbye and close, without waiting for anything."""
        self._stop()
        transport = self.transport
        if transport is not None and not transport.is_closing():
            try:
                self._library.terminate_connection(code)
                transport.write(self._library.data_to_send(PUMP_BYTES))
            except NGH2Error:
                pass
            transport.close()

    def _stop(self) -> None:
        """It is over, or about to be."""
        self._retired = True
        self.server.multiplexed.discard(self)
        for timer in (self._doubt, self._unsettled):
            if timer is not None:
                timer.cancel()
        if not self.settled.done():
            self.settled.set_exception(OSError(f"{self.server.name}: it does not speak HTTP/2"))

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
        self._patience.asked()
        self.server.connections.add(stream)
        self._pump_soon()
        return number

    def payload(self, number: int, data: bytes, whole: bool) -> None:
        """Send payload."""
        try:
            self._library.send_data(number, data, end_stream=whole)
        except NGH2Error:
            return
        self._patience.sent(len(data))
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
        if self.turns.now().began - max(self.read_at, stream.asked_at) >= SILENT_SECONDS:
            self._ask_whether_alive()
        try:
            self._library.reset_stream(stream.number, code)
        except NGH2Error:
            return
        self._pump_soon()
        self._patience.unwanted(2 * STREAM_WINDOW)  # the frames' heads included
        self._resets += 1
        if self._resets == MOST_RESETS:
            self.retire()

    def _ask_whether_alive(self) -> None:
        if self._doubt is None and not self.transport.is_closing():
            try:
                self._library.ping()
            except NGH2Error:
                return
            self._doubt = asyncio.get_running_loop().call_later(PING_SECONDS, self._dead)

    def _dead(self) -> None:
        """No answer has come to a PING."""
        self._lose(ErrorCode.INTERNAL_ERROR, None)
        self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        library = self._library
        library.initiate_connection(_SETTINGS)
        library.set_local_window_size(CONNECTION_WINDOW)
        self.server.multiplexed.add(self)
        self._unsettled = asyncio.get_running_loop().call_later(SETTINGS_SECONDS, self._never_settled)
        self.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(ErrorCode.INTERNAL_ERROR, None)

    def _lose(self, code: ErrorCode, rule: Rule | None) -> None:
        """All requests end: the server has closed, or has broken `rule`."""
        self._stop()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            self.server.connections.discard(stream)
            stream.ended(code, rule)

    def _never_settled(self) -> None:
        """Our SETTINGS were not acknowledged (RFC 9113 section 6.5.3)."""
        self.close(ErrorCode.SETTINGS_TIMEOUT)
        self._lose(ErrorCode.SETTINGS_TIMEOUT, Rule.CONNECTION_ERROR)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._stuck = True

    def resume_writing(self) -> None:
        self._stuck = False
        self.pump()

    def data_received(self, data: bytes) -> None:
        self.read_at = now = self.turns.now().began
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None
        library, patience = self._library, self._patience
        try:
            library.receive_data(data)
        except NGH2Error:
            self._fail()
            return
        touched: dict[int, UpstreamStream] = {}
        for event in library.events():
            kind = type(event)
            if kind is DataReceived:
                patience.received(len(event.data))  # type: ignore[attr-defined]
            elif kind is ResponseReceived or kind is TrailersReceived:
                patience.answered(len(data))
            self._handle(event, touched)
        for stream in touched.values():
            if not stream.over and not stream.complete:
                stream.flush()
        if not patience.read(len(data), now) and not self.transport.is_closing():
            self.close(ErrorCode.ENHANCE_YOUR_CALM)
            self._lose(ErrorCode.ENHANCE_YOUR_CALM, Rule.FRAME_FLOOD)
        self._pump_soon()

    # what the library tells

    def _handle(self, event: Event, touched: dict[int, UpstreamStream]) -> None:
        kind = type(event)
        if kind is StreamClosed:
            early = touched.pop(event.stream_id, None)  # type: ignore[attr-defined]
            if early is not None and not (early.over or early.complete):
                early.flush()
            self._closed(event)  # type: ignore[arg-type]
        elif kind is StreamReset:
            stream = self._streams.get(event.stream_id)  # type: ignore[attr-defined]
            if stream is not None:
                stream.reset = True
        elif kind is SettingsReceived:
            self._allowed(self._library.remote_settings[Setting.MAX_CONCURRENT_STREAMS])
        elif kind is SettingsAcknowledged:
            if self._unsettled is not None:
                self._unsettled.cancel()
        elif kind is GoAwayReceived:
            self._farewell = event.error_code  # type: ignore[attr-defined]
            self.retire()
        elif kind is ConnectionClosed:
            if event.error_code not in (ErrorCode.NO_ERROR, self._farewell):  # type: ignore[attr-defined]
                self._fail()
        else:
            stream = self._streams.get(getattr(event, "stream_id", 0))
            if stream is not None and not stream.over:
                touched[stream.number] = stream
                _tell(self, stream, event)
            elif kind is DataReceived:
                self.take(event.stream_id, len(event.data))  # type: ignore[attr-defined]

    def _allowed(self, most: int) -> None:
        """The server takes so many requests at a time."""
        self._limit = min(most, MOST_STREAMS)
        if self.settled.done():
            return
        if most:
            self.settled.set_result(None)
        else:
            self.settled.set_exception(OSError(f"{self.server.name}: it takes no requests"))

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
            # A server that resets a stream objects to the request, and breaks nothing.
            broken = event.local_error is not None or (event.error_code in _BROKEN and not stream.reset)
            stream.ended(event.error_code, Rule.STREAM_ERROR if broken else None)
        if not self._streams:
            self.idle_since = self.turns.now().began
            if self._retired:
                self.close()

    def _fail(self) -> None:
        """The server does not speak HTTP/2 as it is written."""
        self._lose(ErrorCode.PROTOCOL_ERROR, Rule.CONNECTION_ERROR)
        self.transport.close()

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
                if data and not transport.is_closing():
                    transport.write(data)
                if len(data) < PUMP_BYTES:  # that was all; what its events bring is sent by another call
                    break
        except NGH2Error:
            self._fail()
        finally:
            self._pumping = False
        for stream in list(self._streams.values()):
            stream.drained()


def _seen(future: asyncio.Future[None]) -> None:
    """Nobody need ask for its exception."""
    if not future.cancelled():
        future.exception()


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
