"""TLS over a SocketTransport, on the server's side: OpenSSL between the socket and the protocol.

    socket <-> SocketTransport <-> TlsTransport <-> protocol
               ciphertext          plaintext

What is written is encrypted at once, and nothing waits here: all that a client has not taken yet is ciphertext in the
SocketTransport, where it is counted (Backlog) and where backpressure is felt. The loop's own TLS transports keep up to
64 KiB and one write where nobody can see them, have 256 KiB for reading each, and never send an alert
(docs/platform.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from shield.wire.sideline import Lane
from shield.wire.transport import SocketTransport

RECORD_BYTES: Final = 16 * 1024
"""bytes. The most that one record holds (RFC 8446 section 5.1). OpenSSL gets no more at once in either direction: its
buffers keep the size that they have once had, for as long as the connection lasts."""


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """One connection: the protocol of a SocketTransport, and the transport of another protocol, which is made when the
    handshake has ended. It has what SocketTransport has of asyncio.Transport, but write_eof()."""

    __slots__ = (
        "_closing",
        "_incoming",
        "_lower",
        "_on_failed",
        "_on_ready",
        "_outgoing",
        "_protocol",
        "_tls",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        on_ready: Callable[[TlsTransport], asyncio.Protocol],
        on_failed: Callable[[], object],
    ) -> None:
        """`on_ready` makes the protocol. If there is never one, `on_failed` is called when the connection is closed."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._lower: SocketTransport = cast("SocketTransport", None)
        self._protocol: Any = None
        self._closing = False

    def __repr__(self) -> str:
        state = "shaking hands" if self._protocol is None and not self._closing else self._tls.version()
        return f"<TlsTransport {state} over {self._lower}>"

    @property
    def resumed(self) -> bool:
        """Whether the handshake took up an earlier session."""
        return bool(self._tls.session_reused)

    @property
    def protocol(self) -> bytes:
        """The protocol that was agreed on by ALPN, or b""."""
        return (self._tls.selected_alpn_protocol() or "").encode("ascii")

    # asyncio.Protocol, for the SocketTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._lower = cast("SocketTransport", transport)

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data), RECORD_BYTES):
            self._incoming.write(data[at : at + RECORD_BYTES])
            if self._protocol is not None or self._shake_hands():
                self._read(data, at + RECORD_BYTES)
                return
            if self._closing:
                return

    def eof_received(self) -> bool:
        """The client has gone without saying so by TLS: what is still unsent is sent."""
        if self._protocol is not None and not self._closing:
            self._protocol.eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        protocol, self._protocol = self._protocol, None
        if protocol is None:
            self._on_failed()
        else:
            protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    def fell_behind(self) -> None:
        if hasattr(self._protocol, "fell_behind"):
            self._protocol.fell_behind()

    # the handshake

    def _shake_hands(self) -> bool:
        """Whether it has ended, and something may have come behind it."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError:
            self._flush()  # the alert
            self._closing = True
            self._lower.close()
            return False
        self._flush()
        self._protocol = protocol = self._on_ready(self)
        protocol.connection_made(self)
        return not self._closing and self._more()

    # reading

    def _more(self) -> bool:
        return self._incoming.pending > 0 or self._tls.pending() > 0

    def _read(self, data: bytes, at: int) -> None:
        """Hand on what has come: what OpenSSL has of it, and the rest of `data`, which begins at `at`."""
        pieces: list[bytes] = []
        ended = broken = False
        read = self._tls.read
        try:
            while True:
                try:
                    piece = read(RECORD_BYTES)
                    if not piece:  # close_notify
                        ended = True
                        break
                    pieces.append(piece)
                    if self._more():
                        continue
                except ssl.SSLWantReadError:
                    pass
                if at >= len(data):
                    break
                self._incoming.write(data[at : at + RECORD_BYTES])
                at += RECORD_BYTES
        except ssl.SSLError:
            broken = True
        if self._outgoing.pending:  # an alert, or the answer to a change of keys
            self._flush()
        if pieces:
            self._protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if (ended or broken) and not self._closing:
            self._protocol.eof_received()
            if broken:
                self._closing = True
                self._lower.close()
            else:
                self.close()

    def pause_reading(self) -> None:
        self._lower.pause_reading()

    def resume_reading(self) -> None:
        self._lower.resume_reading()

    def is_reading(self) -> bool:
        return self._lower.is_reading()

    def stand_aside(self, lane: Lane | None) -> None:
        """As that of SocketTransport."""
        self._lower.stand_aside(lane)

    # writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send `data`; drop it if the connection is closing."""
        if self._closing or not data:
            return
        try:
            if len(data) <= RECORD_BYTES:
                self._tls.write(data)
                written = self._outgoing.read()
            else:
                written = self._in_records(memoryview(data))
        except ssl.SSLError:  # the client has broken the protocol before
            self.abort()
        else:
            self._lower.write(written)

    def _in_records(self, data: memoryview) -> bytes:
        records: list[bytes] = []
        for at in range(0, len(data), RECORD_BYTES):
            self._tls.write(data[at : at + RECORD_BYTES])
            records.append(self._outgoing.read())
        return b"".join(records)

    def _flush(self) -> None:
        self._lower.write(self._outgoing.read())

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        """bytes of ciphertext that the kernel has not taken yet."""
        return self._lower.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As that of SocketTransport, in bytes of ciphertext."""
        self._lower.set_write_buffer_limits(high, low)

    # the end

    def close(self) -> None:
        """Close when everything is sent, close_notify last. Read no more, nor wait for that of the client, which
        need not come (RFC 8446 section 6.1)."""
        if not self._closing:
            self._closing = True
            if self._protocol is not None:
                with contextlib.suppress(ssl.SSLError):  # it would like to read the client's
                    self._tls.unwrap()
                self._flush()
            self._lower.close()

    def abort(self) -> None:
        """Close now, and drop what is unsent."""
        self._closing = True
        self._lower.abort()

    def is_closing(self) -> bool:
        return self._closing or self._lower.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`sslcontext`, `ssl_object`, `peername` or `socket`."""
        if name == "sslcontext":
            return self._tls.context
        return self._tls if name == "ssl_object" else self._lower.get_extra_info(name, default)
