"""Request heads of the plainest form, which nearly all have, read a line at a time from memory.

What a line means is remembered by its bytes (line_memory.py). Measured: 5 µs for a browser's head whose lines are
known but for the cookie.

A head is plain when all of this holds. Any other is left to Examiner.examine(), so all errors but a target too
long, and all doubtful cases, are its. A test holds both readings against each other.

    request line         PLAIN_REQUEST_LINE of grammar.py: a common method, a target in origin form, HTTP/1.1
    each field line      PLAIN_FIELD_LINE: no control character but tabs, no "_" in the name
    Host                 once
    Content-Length       at most once, not above the limit, and only with a method of BODY_USUAL, unless it is 0
    Connection           at most once, one of PLAIN_CONNECTION
    Range                at most one, and modest (ranges.py)
    CDN-Loop             without our own mark
    Accept-Language      not empty
    Transfer-Encoding, Expect, Upgrade, Sec-WebSocket-Key, disguised framing     none
"""

from __future__ import annotations

from typing import Final

from shield.http.fields import Fields, RequestField
from shield.http.grammar import CONTENT_LENGTH, HOST, PLAIN_FIELD_LINE, PLAIN_REQUEST_LINE, REQUEST_ID
from shield.http.head import BODY_USUAL, PLAIN_CONNECTION, Examiner, Head
from shield.http.line_memory import LineMemory
from shield.http.ranges import modest

# As in head.py.
_KEPT: Final = RequestField.KEPT
_HOST: Final = RequestField.HOST
_LENGTH: Final = RequestField.CONTENT_LENGTH
_CONNECTION: Final = RequestField.CONNECTION
_COOKIE: Final = RequestField.COOKIE
_AGENT: Final = RequestField.USER_AGENT
_LANGUAGE: Final = RequestField.ACCEPT_LANGUAGE
_RANGE: Final = RequestField.RANGE
_X_FORWARDED_FOR: Final = RequestField.X_FORWARDED_FOR
_FORWARDED: Final = RequestField.FORWARDED
_ABOUT_CLIENT: Final = RequestField.ABOUT_CLIENT
_LOOP: Final = RequestField.LOOP
_REQUEST_ID: Final = RequestField.REQUEST_ID
_ORIGIN: Final = RequestField.ORIGIN
_TELLING: Final = RequestField.TELLING
_SHOWN_PASS: Final = RequestField.SHOWN_PASS

_NOT_PLAIN: Final = frozenset(
    {
        RequestField.DISGUISED,
        RequestField.TRANSFER_ENCODING,
        RequestField.EXPECT,
        RequestField.UPGRADE,
        RequestField.WEBSOCKET_KEY,
    }
)

Meaning = tuple[RequestField, bytes, bytes]
"""What a field line means: what it is, its value, and the line to forward."""


class PlainHeads:
    """Reads plain heads. One for all connections."""

    __slots__ = ("_lines", "examiner")

    def __init__(self, examiner: Examiner) -> None:
        self.examiner = examiner
        self._lines: LineMemory[Meaning] = LineMemory((examiner.pass_header,))

    def read(self, data: bytes, stop: int) -> Head | None:
        """The head in `data`, which ends with CRLF CRLF and whose first line ends at `stop`; None if it is not plain.

        Raises Broken when the target is too long.
        """
        line = PLAIN_REQUEST_LINE.fullmatch(data, 0, stop)
        if line is None:
            return None
        lines = data[stop + 2 : -4].split(b"\r\n")
        examiner = self.examiner
        if len(lines) > examiner.max_fields:
            return None
        head = Head()
        head.fields = fields = []
        telling: tuple[bytes, ...] = ()
        known = self._lines.known
        hosts = lengths = connections = ranges = 0
        for text in lines:
            meaning = known.get(text)
            if meaning is None:
                meaning = self._learn(text)
                if meaning is None:
                    return None
            kind, value, forwarded = meaning
            if kind is _KEPT:
                fields.append(forwarded)
            elif kind is _TELLING:
                telling += (forwarded,)
                fields.append(forwarded)
            elif kind is _AGENT:
                head.agent = head.agent or value
                fields.append(forwarded)
            elif kind is _LANGUAGE:
                head.language = value
                fields.append(forwarded)
            elif kind is _HOST:
                hosts += 1
                head.host = value
            elif kind is _CONNECTION:
                connections += 1
                head.close = value == b"close"
            elif kind is _COOKIE:
                head.cookie = head.cookie + b"; " + value if head.cookie else value
            elif kind is _LENGTH:
                lengths += 1
                head.length = int(value)
            elif kind is _SHOWN_PASS:
                head.token = value
            elif kind is _X_FORWARDED_FOR:
                head.chain = head.chain + b", " + value if head.chain else value
            elif kind is _FORWARDED:
                head.forwarded = head.forwarded + b", " + value if head.forwarded else value
            elif kind is _ABOUT_CLIENT:
                head.told += (forwarded,)
            elif kind is _RANGE:
                ranges += 1
                fields.append(forwarded)
            elif kind is _ORIGIN:
                head.origin = head.origin or value
                fields.append(forwarded)
            elif kind is _REQUEST_ID:
                head.request_id = value or head.request_id
        if hosts != 1 or lengths > 1 or connections > 1 or ranges > 1:
            return None
        head.method = method = line[1].decode("ascii")
        if head.length and (method not in BODY_USUAL or 0 < examiner.max_body < head.length):
            return None
        head.telling = telling
        head.headers = Fields(data)
        examiner.aim_at_path(head, line[2].decode("ascii"))
        return head

    def again(self, head: Head, data: bytes, stop: int) -> bool:
        """Make `head` that of the request in `data`, which has the same fields, if it also has the same method.

        Returns whether it did. Raises Broken when the target is too long.
        """
        line = PLAIN_REQUEST_LINE.fullmatch(data, 0, stop)
        if line is None or line[1].decode("ascii") != head.method:
            return False
        target = line[2].decode("ascii")
        if target != head.target:
            self.examiner.aim_at_path(head, target)
        return True

    def with_cookie(self, head: Head, data: bytes, stop: int, at: int, end: int) -> Head | None:
        """The head in `data`, which differs from `head` in its only Cookie, the line data[at:end], and maybe in its
        target; None if it must be read in full. Raises Broken when the target is too long."""
        match = PLAIN_FIELD_LINE.fullmatch(data, at, end)
        if match is None:
            return None
        other = Head()
        other.__dict__.update(head.__dict__)
        other.cookie = match[2]
        other.headers = Fields(data)
        return other if self.again(other, data, stop) else None

    def _learn(self, text: bytes) -> Meaning | None:
        """What a field line means; None when it is not plain."""
        match = PLAIN_FIELD_LINE.fullmatch(text)
        if match is None:
            return None
        name, value = match.groups()
        lower = name.lower()
        forwarded = b"%b: %b\r\n" % (name, value)
        kind = self.examiner.kind(name)
        if kind in _NOT_PLAIN:
            return None
        if kind is _CONNECTION:
            value = value.lower()
            if value not in PLAIN_CONNECTION:
                return None
        elif kind is _HOST:
            if HOST.fullmatch(value) is None:
                return None
        elif kind is _LANGUAGE:
            if not value:  # for Head.reader it is there or not
                return None
        elif kind is _LENGTH:
            if CONTENT_LENGTH.fullmatch(value) is None:
                return None
        elif kind is _RANGE:
            if not modest(value):
                return None
        elif kind is _LOOP:
            if self.examiner.marks(value):
                return None
            kind = _KEPT
        elif kind is _REQUEST_ID and REQUEST_ID.fullmatch(value) is None:
            value = b""
        meaning = (kind, value, forwarded)
        self._lines.remember(text, lower, meaning)
        return meaning
