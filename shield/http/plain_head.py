"""Request heads of the plainest form, read without the parser: what nearly all heads are, a line at a time.

Browsers and programs write the same lines again and again, each for itself and all of one make alike, so what a line
means is remembered by its bytes. (Measured: 2.5 us for a browser's head whose lines are known, 8 us by way of the
parser and the examiner.)

Nothing is accepted here that the parser and Examiner.examine() would not accept with the same meaning; a test holds
both against each other. Whatever is not plain is left to them, so every error, and every doubtful case, is theirs:

    request-line = method SP origin-form SP "HTTP/1.1" CRLF, of the methods below
    field-line   = token ":" OWS field-value OWS CRLF, with no control character but tabs, and no "_" in the name
    Host         once; Content-Length at most once, and not with GET, HEAD, OPTIONS, DELETE; Connection at most once,
                 with nothing but close, keep-alive, upgrade; no Transfer-Encoding, Expect, Upgrade, Sec-WebSocket-Key;
                 of the fields that the parser takes only once, besides these, User-Agent and one other; one Range
"""

from __future__ import annotations

from typing import Final

from shield.http.browser import PAGE_DESTINATIONS
from shield.http.fields import Fields, RequestField
from shield.http.grammar import CONTENT_LENGTH, HOST, PLAIN_FIELD_LINE, PLAIN_REQUEST_LINE, REQUEST_ID
from shield.http.head import BODY_UNUSUAL, PLAIN_CONNECTION, Examiner, Head
from shield.http.line_memory import LineMemory
from shield.http.ranges import modest

# See head.py.
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
_REQUEST_ID: Final = RequestField.REQUEST_ID
_SHOWN_PASS: Final = RequestField.SHOWN_PASS
_ACCEPT: Final = RequestField.ACCEPT
_DESTINATION: Final = RequestField.FETCH_DESTINATION
_SINGLE: Final = RequestField.SINGLE

_NOT_PLAIN: Final = frozenset(
    {
        RequestField.DISGUISED,
        RequestField.TRANSFER_ENCODING,
        RequestField.EXPECT,
        RequestField.UPGRADE,
        RequestField.WEBSOCKET_KEY,
    }
)
_SINGLE_NAMES: Final = frozenset(
    {b"content-location", b"content-range", b"content-type", b"etag", b"max-forwards", b"server"}
)
# In place of the values of Accept and Sec-Fetch-Dest: whether they ask for a page.
_PAGE: Final = b"page"
_OTHER: Final = b"other"

Meaning = tuple[RequestField, bytes, bytes]
"""What a field line means: what it is, its value, and the line to forward."""


class PlainHeads:
    """Reads plain heads. One for all connections."""

    __slots__ = ("_lines", "examiner")

    def __init__(self, examiner: Examiner) -> None:
        self.examiner = examiner
        self._lines: LineMemory[Meaning] = LineMemory((examiner.pass_header,))

    def read(self, data: bytes, stop: int) -> Head | None:
        """The head in `data`, which ends with CRLF CRLF and whose first line ends at `stop`; None: ask the parser."""
        line = PLAIN_REQUEST_LINE.fullmatch(data, 0, stop)
        if line is None:
            return None
        lines = data[stop + 2 : -4].split(b"\r\n")
        examiner = self.examiner
        if len(lines) > examiner.max_fields:
            return None
        head = Head()
        head.fields = fields = []
        known = self._lines.known
        hosts = lengths = connections = agents = singles = ranges = 0
        accept = destination = b""
        for text in lines:
            meaning = known.get(text)
            if meaning is None:
                meaning = self._learn(text)
                if meaning is None:
                    return None
            kind, value, forwarded = meaning
            if kind is _KEPT:
                fields.append(forwarded)
            elif kind is _AGENT:
                agents += 1
                head.agent = value
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
            elif kind is _ACCEPT:
                accept = accept or value
                fields.append(forwarded)
            elif kind is _DESTINATION:
                destination = destination or value
                fields.append(forwarded)
            elif kind is _LENGTH:
                lengths += 1
                head.length = int(value)
            elif kind is _SINGLE:
                singles += 1
                fields.append(forwarded)
            elif kind is _SHOWN_PASS:
                head.token = value
            elif kind is _X_FORWARDED_FOR:
                head.chain = head.chain + b", " + value if head.chain else value
            elif kind is _FORWARDED:
                head.forwarded = head.forwarded + b", " + value if head.forwarded else value
            elif kind is _RANGE:
                ranges += 1
                fields.append(forwarded)
            elif kind is _REQUEST_ID:
                head.request_id = value or head.request_id
        if hosts != 1 or lengths > 1 or connections > 1 or agents > 1 or singles > 1 or ranges > 1:
            return None
        head.method = method = line[1].decode("ascii")
        if head.length and (method in BODY_UNUSUAL or 0 < examiner.max_body < head.length):
            return None
        head.headers = Fields(data)
        head.page = accept == _PAGE and destination != _OTHER
        examiner.aim_at_path(head, line[2].decode("ascii"))
        return head

    def again(self, head: Head, data: bytes, stop: int) -> bool:
        """Turn `head` into that of a request which differs in its first line only, if it does so in its target alone.

        Raises Refused, as examine() does.
        """
        line = PLAIN_REQUEST_LINE.fullmatch(data, 0, stop)
        if line is None or line[1].decode("ascii") != head.method:
            return False
        self.examiner.aim_at_path(head, line[2].decode("ascii"))
        return True

    def with_cookie(self, head: Head, data: bytes, stop: int, at: int, end: int) -> Head | None:
        """A head like `head` but for the line in data[at:end], a Cookie, the only one, and maybe for its target.

        None: read it in full. Raises Refused, as examine() does.
        """
        match = PLAIN_FIELD_LINE.fullmatch(data, at, end)
        if match is None:
            return None
        other = Head()
        other.__dict__.update(head.__dict__)
        other.cookie = match[2]
        other.headers = Fields(data)
        return other if self.again(other, data, stop) else None

    def _learn(self, text: bytes) -> Meaning | None:
        """What a line means: its kind, its value, and the line to forward; None when it is not plain."""
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
        elif kind is _LENGTH:
            if CONTENT_LENGTH.fullmatch(value) is None:
                return None
        elif kind is _RANGE:
            if not modest(value):
                return None
        elif kind is _KEPT:
            kind, value = _special(lower, value)
        elif kind is _REQUEST_ID and REQUEST_ID.fullmatch(value) is None:
            value = b""
        meaning = (kind, value, forwarded)
        self._lines.remember(text, lower, meaning)
        return meaning


def _special(name: bytes, value: bytes) -> tuple[RequestField, bytes]:
    """Kind and value of a field that is passed on; see `wants_page` for what the two that matter mean."""
    if name == b"accept":
        return _ACCEPT, _PAGE if b"text/html" in value.lower() else _OTHER
    if name == b"sec-fetch-dest":
        return _DESTINATION, _PAGE if value.decode("latin-1") in PAGE_DESTINATIONS else _OTHER
    return _SINGLE if name in _SINGLE_NAMES else _KEPT, value
