"""Responses of the upstream as HTTP/1 writes them (RFC 9112): status line, fields of this hop, chunks.

One per client connection, used for one response after the other. It only frames; the connection sends what take()
gives. Replies of Shield's own are written by replies/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from shield.http.fields import without_named
from shield.http.framing import LAST_CHUNK
from shield.http.response_head import STATUS_LINES

if TYPE_CHECKING:
    from shield.http.head import Head

_HSTS: Final = frozenset({b"strict-transport-security"})


class Stopping(Protocol):
    """Knows whether Shield is stopping: `draining`."""

    draining: bool


class Http1Response:
    """The response that is being sent. `close`: the connection is to end with it."""

    __slots__ = ("_chunked", "_hsts", "_out", "_process", "close")

    def __init__(self, process: Stopping, hsts: bytes) -> None:
        """`hsts` is the Strict-Transport-Security line to add, if any."""
        self._process = process
        self._hsts = hsts
        self._out: list[bytes] = []
        self._chunked = False
        self.close = False

    def interim(self, request: Head, status: int, fields: list[bytes]) -> None:
        """A 1xx response; a client that speaks HTTP/1.0 would take it for the final one."""
        if not request.old:
            self._out += (STATUS_LINES[status], *fields, b"\r\n")

    def head(self, request: Head, status: int, fields: list[bytes], length: int, declared: int, whole: bool) -> bool:
        """The head of the final response; see ports.Response."""
        out = self._out
        out.append(STATUS_LINES[status])
        if self._hsts:
            out.append(self._hsts)
            fields = without_named(fields, _HSTS)  # one field, and that one ours (RFC 6797 section 7.1)
        out += fields
        close = request.close or not whole or self._process.draining
        chunked = False
        if length > 0 or (
            length == 0 and declared < 0 and status != 204 and status != 304 and request.method != "HEAD"
        ):
            out.append(b"Content-Length: %d\r\n" % length)
        elif length == 0:
            if declared >= 0 and status != 204:
                out.append(b"Content-Length: %d\r\n" % declared)
        elif request.old:
            close = True
        else:
            chunked = True
            out.append(b"Transfer-Encoding: chunked\r\n")
        if close:
            out.append(b"Connection: close\r\n\r\n")
        elif request.old:
            out.append(b"Connection: keep-alive\r\n\r\n")
        else:
            out.append(b"\r\n")
        self.close = close
        self._chunked = chunked
        return chunked

    def body(self, piece: bytes) -> None:
        """Payload."""
        if self._chunked:
            self._out += (b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self._out.append(piece)

    def chunks(self, chunks: list[bytes]) -> None:
        """Payload that is framed already."""
        self._out += chunks

    def trailers(self, fields: list[bytes]) -> None:
        """Fields behind the last chunk; without chunks there is no place for them."""
        if self._chunked:
            self._chunked = False  # this is the end of them
            self._out += (b"0\r\n", *fields, b"\r\n")

    def end(self) -> bytes:
        """The rest of the response, which is complete."""
        out = self._out
        if self._chunked:
            out.append(LAST_CHUNK)
        data = b"".join(out) if len(out) > 1 else out[0] if out else b""
        out.clear()
        return data

    def switch(self, protocol: bytes, fields: list[bytes], tail: bytes) -> None:
        """101 to `protocol`, and the first bytes of the tunnel."""
        upgrade = b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol
        self._out += (STATUS_LINES[101], *fields, upgrade, tail)

    def take(self) -> bytes:
        """What was framed since."""
        out = self._out
        if not out:
            return b""
        data = b"".join(out) if len(out) > 1 else out[0]
        out.clear()
        return data

    def drop(self) -> None:
        """Forget what was framed and not taken: the response does not go on."""
        self._out.clear()
