"""Responses as HTTP/2 frames them (RFC 9113 section 8): fields in lower case with :status first, payload in DATA.

FieldPairs      what field lines are in HTTP/2
Http2Response   the response on one stream (exchange.ports.Response)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shield.http.http2_head import CONNECTION_FIELDS
from shield.http.pairs import Pair, PairMemory, pair_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shield.client.h2.session import Session
    from shield.http.head import Head

_HSTS: Final = b"strict-transport-security"


class FieldPairs:
    """Makes pairs of field lines, and remembers them by their lines: most come with each response. One per process.

    `hsts` is the Strict-Transport-Security line for what is sent over TLS, with its CRLF, or empty.
    """

    __slots__ = ("_hsts", "_memory")

    def __init__(self, hsts: bytes) -> None:
        self._memory = PairMemory()
        self._hsts = pair_of(hsts) if hsts else None

    def write(self, status: int, lines: Iterable[bytes], secure: bool) -> list[Pair]:
        """The pairs of a response with these field lines, with or without CRLF, but for those that HTTP/2 must not
        have."""
        pairs = [(b":status", b"%d" % status)]
        if secure and self._hsts is not None:
            # One Strict-Transport-Security, and that one ours (RFC 6797 section 7.1).
            self._memory.add(pairs, lines, _HSTS)
            pairs.append(self._hsts)
        else:
            self._memory.add(pairs, lines)
        return pairs

    def trailers(self, lines: Iterable[bytes]) -> list[Pair]:
        """The pairs of trailers. They are not remembered: nearly each differs, or comes with each response."""
        return [pair for pair in map(pair_of, lines) if pair[0] not in CONNECTION_FIELDS]


class Http2Response:
    """The response on one stream. It gives the session what it has with send(), and the rest with end().

    `begun`: its head has been given to the session; `over`: its end has.
    """

    __slots__ = ("_fields", "_head", "_pieces", "_secure", "_session", "_stream", "_trailers", "begun", "over")

    def __init__(self, session: Session, stream: int, fields: FieldPairs, secure: bool) -> None:
        self._session = session
        self._stream = stream
        self._fields = fields
        self._secure = secure
        self._head: list[Pair] | None = None
        self._pieces: list[bytes] = []
        self._trailers: list[Pair] | None = None
        self.begun = False
        self.over = False

    def interim(self, request: Head, status: int, fields: list[bytes]) -> None:
        """A 1xx response."""
        self._session.inform(self._stream, self._fields.write(status, fields, False))

    def head(self, request: Head, status: int, fields: list[bytes], length: int, declared: int, whole: bool) -> bool:
        """The head of the final response; see ports.Response. There are no chunks in HTTP/2."""
        pairs = self._fields.write(status, fields, self._secure)
        if length > 0 or (
            length == 0 and declared < 0 and status != 204 and status != 304 and request.method != "HEAD"
        ):
            pairs.append((b"content-length", b"%d" % length))
        elif length == 0 and declared >= 0 and status != 204:
            pairs.append((b"content-length", b"%d" % declared))
        self._head = pairs
        return False

    def body(self, piece: bytes) -> None:
        """Payload."""
        self._pieces.append(piece)

    def chunks(self, chunks: list[bytes]) -> None:
        """Never called, as head() returns False."""
        raise AssertionError("head() asked for pieces")

    def trailers(self, fields: list[bytes]) -> None:
        """Fields behind the payload."""
        self._trailers = self._fields.trailers(fields)

    def say(self, status: int, lines: Iterable[bytes], body: bytes) -> None:
        """All of a response of Shield's own."""
        self._head = self._fields.write(status, lines, self._secure)
        self._pieces = [body] if body else []
        self.end()

    def say_pairs(self, pairs: list[Pair], body: bytes) -> None:
        """The same with the pairs of its head, which stay as they are."""
        self.over = self.begun = True
        self._session.respond(self._stream, pairs, not body)
        if body:
            self._session.send(self._stream, body, True)

    def accept(self, lines: Iterable[bytes]) -> None:
        """The head of a tunnel, which ends when that does: 200."""
        self._head = self._fields.write(200, lines, False)

    def send(self) -> int:
        """Give the session what was framed since. bytes of payload in that."""
        if self._head is not None:
            self._session.respond(self._stream, self._head, False)
            self._head = None
            self.begun = True
        pieces = self._pieces
        if not pieces:
            return 0
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._session.send(self._stream, data, False)
        return len(data)

    def end(self) -> int:
        """Give it the rest of the response, which is complete. bytes of payload in that."""
        self.over = True
        if self._trailers is not None:
            size = self.send()
            self._session.trail(self._stream, self._trailers)
            return size
        pieces = self._pieces
        if self._head is not None:
            self._session.respond(self._stream, self._head, not pieces)
            self._head = None
            self.begun = True
            if not pieces:
                return 0
        data = b"".join(pieces)
        pieces.clear()
        self._session.send(self._stream, data, True)
        return len(data)

    def drop(self) -> None:
        """Forget what was framed and not sent: the response does not go on."""
        self._head = None
        self._pieces.clear()
