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
from shield.http.fields import Fields
from shield.http.grammar import CONTENT_LENGTH, HOST, PLAIN_FIELD_LINE, PLAIN_REQUEST_LINE, REQUEST_ID
from shield.http.head import BODY_UNUSUAL, PLAIN_CONNECTION, Examiner, Head, Kind
from shield.http.ranges import modest

KNOWN_LINES: Final = 4096
"""Lines remembered; beyond, all are forgotten. A client that fills the memory with lines of its own slows the reading
of heads for a moment, to what the parser takes."""
KNOWN_LENGTH: Final = 512
"""bytes. A longer line is read each time."""

# Kinds that exist here alone, of fields that are passed on:
_SINGLE: Final = 100  # may come only once
_ACCEPT: Final = 101  # its value: whether it asks for a PAGE or for something OTHER
_DESTINATION: Final = 102  # likewise
_PAGE: Final = b"page"
_OTHER: Final = b"other"
_SINGLE_NAMES: Final = frozenset(
    {b"content-location", b"content-range", b"content-type", b"etag", b"max-forwards", b"server"}
)
_KINDS: Final = frozenset(
    {
        Kind.PASS,
        Kind.DROP,
        Kind.HOST,
        Kind.LENGTH,
        Kind.CONNECTION,
        Kind.COOKIE,
        Kind.AGENT,
        Kind.LANGUAGE,
        Kind.FORWARDED_FOR,
        Kind.FORWARDED,
        Kind.FORWARDED_MORE,
        Kind.REQUEST_ID,
        Kind.TOKEN,
        Kind.RANGE,
    }
)
_SECRET_KINDS: Final = frozenset({Kind.COOKIE, Kind.TOKEN})
_SECRET: Final = (b"auth", b"key", b"token", b"secret")
"""In the name of a field whose value is nobody's business after the request."""


class PlainHeads:
    """Reads plain heads. One for all connections."""

    __slots__ = ("_examiner", "_known")

    def __init__(self, examiner: Examiner) -> None:
        self._examiner = examiner
        self._known: dict[bytes, tuple[int, bytes, bytes]] = {}

    def read(self, data: bytes, stop: int) -> Head | None:
        """The head in `data`, which ends with CRLF CRLF and whose first line ends at `stop`; None: ask the parser."""
        line = PLAIN_REQUEST_LINE.fullmatch(data, 0, stop)
        if line is None:
            return None
        lines = data[stop + 2 : -4].split(b"\r\n")
        examiner = self._examiner
        if len(lines) > examiner.max_fields:
            return None
        head = Head()
        head.fields = fields = []
        known = self._known
        hosts = lengths = connections = agents = singles = ranges = 0
        accept = destination = b""
        for text in lines:
            entry = known.get(text)
            if entry is None:
                entry = self._learn(text)
                if entry is None:
                    return None
            kind, value, forwarded = entry
            if kind == 0:
                fields.append(forwarded)
            elif kind == 7:
                agents += 1
                head.agent = value
                fields.append(forwarded)
            elif kind == 8:
                head.language = value
                fields.append(forwarded)
            elif kind == 2:
                hosts += 1
                head.host = value
            elif kind == 5:
                connections += 1
                head.close = value == b"close"
            elif kind == 6:
                head.cookie = head.cookie + b"; " + value if head.cookie else value
            elif kind == 3:
                lengths += 1
                head.length = int(value)
            elif kind == 15:
                head.token = value
            elif kind == 11:
                head.chain = head.chain + b", " + value if head.chain else value
            elif kind == 12:
                head.forwarded = head.forwarded + b", " + value if head.forwarded else value
            elif kind == 18:
                ranges += 1
                fields.append(forwarded)
            elif kind == 14:
                head.request_id = value or head.request_id
            elif kind >= _SINGLE:
                fields.append(forwarded)
                if kind == _ACCEPT:
                    accept = accept or value
                elif kind == _DESTINATION:
                    destination = destination or value
                else:
                    singles += 1
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
        self._examiner.aim_at_path(head, line[2].decode("ascii"))
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

    def _learn(self, text: bytes) -> tuple[int, bytes, bytes] | None:
        """What a line means: its kind, its value, and the line to forward; None when it is not plain."""
        match = PLAIN_FIELD_LINE.fullmatch(text)
        if match is None:
            return None
        name, value = match.groups()
        forwarded = b"%b: %b\r\n" % (name, value)
        kind = self._examiner.kind(name)
        if kind not in _KINDS:
            return None
        if kind == Kind.CONNECTION:
            value = value.lower()
            if value not in PLAIN_CONNECTION:
                return None
        elif kind == Kind.HOST:
            if HOST.fullmatch(value) is None:
                return None
        elif kind == Kind.LENGTH:
            if CONTENT_LENGTH.fullmatch(value) is None:
                return None
        elif kind == Kind.RANGE:
            if not modest(value):
                return None
        elif kind == Kind.PASS:
            kind, value = _special(name.lower(), value)
        elif kind == Kind.REQUEST_ID and REQUEST_ID.fullmatch(value) is None:
            value = b""
        entry = (kind, value, forwarded)
        if len(text) <= KNOWN_LENGTH and kind not in _SECRET_KINDS and not _secret(name):
            if len(self._known) >= KNOWN_LINES:
                self._known.clear()
            self._known[text] = entry
        return entry


def _special(name: bytes, value: bytes) -> tuple[int, bytes]:
    """Kind and value of a field that is passed on; see `wants_page` for what the two that matter mean."""
    if name == b"accept":
        return _ACCEPT, _PAGE if b"text/html" in value.lower() else _OTHER
    if name == b"sec-fetch-dest":
        return _DESTINATION, _PAGE if value.decode("latin-1") in PAGE_DESTINATIONS else _OTHER
    return _SINGLE if name in _SINGLE_NAMES else int(Kind.PASS), value


def _secret(name: bytes) -> bool:
    lower = name.lower()
    return any(word in lower for word in _SECRET)
