"""One session of libnghttp2, by way of ngh2: what Shield announces and allows, and calls that cannot surprise.

The library keeps streams, frames, HPACK and windows. It raises where a stream has ended in the same read in which it
was opened, and is of no use any more after an error of the connection. Here neither reaches the caller: what is said to
a stream that is gone is lost, as it would be on the way, and `over` says that nothing more will come of the session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ngh2 import (
    Configuration,
    Connection,
    ConnectionProtocolError,
    DenialOfServiceError,
    ErrorCode,
    Event,
    NGH2Error,
    Role,
    Setting,
)

MOST_STREAMS: Final = 100
"""Streams that a client may have open at the same time, as RFC 9113 section 6.5.2 recommends at least."""
STREAM_WINDOW: Final = 256 * 1024
"""bytes of a request's body that may be on their way: 5 MB/s at 50 ms of round trip."""
CONNECTION_WINDOW: Final = 4 * 1024 * 1024
"""bytes of all of them together, on one connection. For a trusted proxy it is MOST_STREAMS times STREAM_WINDOW: one of
its clients must not stall the others' uploads by its own."""
MOST_ACKS: Final = 8192
"""Acknowledgements of SETTINGS and PING that wait to be sent: more than one read brings. calm.py counts them."""
MOST_CONTINUATIONS: Final = 8
"""CONTINUATION frames of one header block beyond those that it takes when each is full."""
FRAME_BYTES: Final = 16384
"""SETTINGS_MAX_FRAME_SIZE, as it is without being said."""
MOST_RESPONSE_HEAD: Final = 1 << 20
"""bytes of a response's fields. Those of a service are bounded before."""
NEVER: Final = (1 << 40, 1 << 40)
"""Resets, and glitches, that the library itself would object to: calm.py counts what comes of them."""

TOO_MANY_FIELDS: Final = "header"
"""In what the library says of a header block that is too large."""


class SessionError(Exception):
    """The session is over. `code` is what the client is told; `blamed`: only a program can have done it."""

    def __init__(self, why: str, code: ErrorCode, blamed: bool) -> None:
        super().__init__(why)
        self.code = code
        self.blamed = blamed


class Terms:
    """What all sessions of a process go by, from the limits on one head: `max_head` in bytes, `max_fields`."""

    __slots__ = ("_configuration", "_settings")

    def __init__(self, max_head: int, max_fields: int) -> None:
        # Beyond these, the library gives up the connection; up to there, a head that is too large gets its answer.
        most = 2 * max_head + 64 * max_fields
        self._configuration = Configuration(
            auto_window_update=False,
            max_send_header_block_length=MOST_RESPONSE_HEAD,
            max_outbound_ack=MOST_ACKS,
            stream_reset_rate_limit=NEVER,
            glitch_rate_limit=NEVER,
            max_continuations=MOST_CONTINUATIONS + most // FRAME_BYTES + 1,
            max_inbound_header_list_size=most,
            max_inbound_header_count=2 * max_fields + 16,
        )
        self._settings = {
            Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
            Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            Setting.MAX_HEADER_LIST_SIZE: max_head,
            Setting.ENABLE_CONNECT_PROTOCOL: 1,
            Setting.NO_RFC7540_PRIORITIES: 1,
        }

    def begin(self, of_many: bool) -> Session:
        """A session, with its SETTINGS to be sent. `of_many`: a proxy brings the requests of its clients."""
        connection = Connection(Role.SERVER, self._configuration)
        connection.initiate_connection(self._settings)
        connection.set_local_window_size(MOST_STREAMS * STREAM_WINDOW if of_many else CONNECTION_WINDOW)
        return Session(connection)


class Session:
    """The session of one connection. `over`: it has failed, and is silent."""

    __slots__ = ("_connection", "over")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.over = False

    def read(self, data: bytes) -> list[Event]:
        """What `data` from the client brings. Raises SessionError."""
        if self.over:
            return []
        connection = self._connection
        try:
            connection.receive_data(data)
        except DenialOfServiceError as error:
            self.over = True
            raise SessionError(str(error), ErrorCode.ENHANCE_YOUR_CALM, TOO_MANY_FIELDS not in str(error)) from error
        except ConnectionProtocolError as error:
            self.over = True
            raise SessionError(str(error), ErrorCode.PROTOCOL_ERROR, True) from error
        except NGH2Error as error:
            self.over = True
            raise SessionError(str(error), ErrorCode.INTERNAL_ERROR, False) from error
        return connection.events()

    def write(self, most: int) -> tuple[bytes, list[Event]]:
        """At most so many bytes for the client, and what comes of sending them. Raises SessionError."""
        if self.over:
            return b"", []
        connection = self._connection
        try:
            data = connection.data_to_send(most)
        except NGH2Error as error:
            self.over = True
            raise SessionError(str(error), ErrorCode.INTERNAL_ERROR, False) from error
        return data, connection.events()

    def inform(self, stream: int, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Send a 1xx response."""
        if not self.over:
            try:
                self._connection.send_informational_response(stream, pairs)
            except NGH2Error:
                return

    def respond(self, stream: int, pairs: Sequence[tuple[bytes, bytes]], end: bool) -> None:
        """Send the head of a response, which is all of it if it is the `end`."""
        if not self.over:
            try:
                self._connection.send_response(stream, pairs, end_stream=end)
            except NGH2Error:
                return

    def send(self, stream: int, data: bytes, end: bool) -> None:
        """Send payload, the last of it if it is the `end`."""
        if not self.over:
            try:
                self._connection.send_data(stream, data, end_stream=end)
            except NGH2Error:
                return

    def trail(self, stream: int, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Send trailers, which end the response."""
        if not self.over:
            try:
                self._connection.send_trailers(stream, pairs)
            except NGH2Error:
                return

    def reset(self, stream: int, code: ErrorCode) -> None:
        """End a stream, however far it has come. Sent later."""
        if not self.over:
            try:
                self._connection.reset_stream(stream, code)
            except NGH2Error:
                return

    def take(self, stream: int, size: int) -> None:
        """So many bytes of a stream's payload have found their place: as many more may come."""
        if not self.over:
            try:
                self._connection.acknowledge_received_data(size, stream)
            except (NGH2Error, ValueError):
                return

    def announce_end(self) -> None:
        """Say that no further streams should be opened; those that are on their way are still served (RFC 9113 section
        6.8), and a PING tells when none can be any more."""
        if not self.over:
            try:
                self._connection.send_shutdown_notice()
                self._connection.ping()
            except NGH2Error:
                return

    def refuse_more(self) -> None:
        """Say which stream was the last one to be served."""
        if not self.over:
            try:
                self._connection.send_goaway(ErrorCode.NO_ERROR)
            except NGH2Error:
                return

    def end(self, code: ErrorCode) -> None:
        """Say that it is over, for all streams. Nothing, where that was the last word already."""
        if not self.over:
            try:
                self._connection.terminate_connection(code)
            except NGH2Error:
                return

    def unsent(self, stream: int | None = None) -> int:
        """bytes of payload that wait for the client's windows, of one stream or of all."""
        return 0 if self.over else self._connection.queued_body_size(stream)

    def may_send(self, stream: int) -> bool:
        """Whether the client's windows let more of a stream pass."""
        connection = self._connection
        try:
            return (
                not self.over and connection.remote_window_size > 0 and connection.stream_remote_window_size(stream) > 0
            )
        except NGH2Error:
            return True


def goaway(last: int, code: ErrorCode) -> bytes:
    """A GOAWAY frame (RFC 9113 section 6.8), for a session that can make none any more."""
    return b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + int(code).to_bytes(4, "big")
