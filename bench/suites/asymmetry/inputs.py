"""What is sent: for each input the reads that one client's bytes come in, and how many requests they hold.

`PATHS` go the whole way, over a connection; `DIRECT` to one parser of `parsers.py`, with the worst that a search has
found (`worst/PARSER.txt`, by tests/fuzz/slowest.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.load.plan import BROWSER_FIELDS
from shield.replies.pages import ANSWER_TO

WORST: Final = Path(__file__).parent / "worst"

GET: Final = b"GET /index.html HTTP/1.1\r\nHost: localhost:8080\r\n" + BROWSER_FIELDS.encode() + b"\r\n"
LEAST: Final = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
START: Final = b"GET / HTTP/1.1\r\nHost: a\r\n"
MANY: Final = 98  # fields beside Host: one less than there may be


@dataclass(frozen=True, slots=True)
class Input:
    """`reads` of one connection with `requests` in them; `proxied` if a trusted proxy sends them. `answer` is the first
    answer of the service, as read; where it is not None, its bytes are what is measured. `before` comes first and is
    not measured: it opens a WebSocket."""

    reads: tuple[bytes, ...]
    requests: int = 1
    proxied: bool = False
    answer: tuple[bytes, ...] | None = None
    before: tuple[bytes, ...] = ()

    @property
    def measured(self) -> tuple[bytes, ...]:
        return self.reads if self.answer is None else self.answer

    @property
    def size(self) -> int:
        """bytes of what is measured."""
        return sum(map(len, self.measured))

    @property
    def units(self) -> int:
        """Requests or reads, whichever are more."""
        return max(self.requests, len(self.measured))


def head(*lines: bytes, first: bytes = START) -> bytes:
    return first + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def field(name: bytes, unit: bytes, size: int = 32_000) -> Input:
    """A head with one field of `size` bytes."""
    return Input((head(name + b": " + unit * (size // len(unit))),))


def fields(line: Callable[[int], bytes], number: int = MANY) -> Input:
    return Input((head(*map(line, range(number))),))


def one_by_one(data: bytes) -> tuple[bytes, ...]:
    return tuple(data[at : at + 1] for at in range(len(data)))


def post(body: bytes, kind: bytes = b"application/json", path: str = "/", more: bytes = b"") -> bytes:
    first = b"POST %b HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nAccept: text/html\r\n" % path.encode()
    return first + b"Content-Type: %b\r\n%bContent-Length: %d\r\n\r\n" % (kind, more, len(body)) + body


def chunked(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def answered(*reads: bytes) -> Input:
    return Input((LEAST,), answer=reads)


UPGRADE: Final = head(b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
FRAME: Final = b"\x81\x81\0\0\0\0a"
OK: Final = b"HTTP/1.1 200 OK\r\n"
FORM: Final = b"application/x-www-form-urlencoded"
TINY_CHUNKS: Final = b"1\r\nx\r\n" * 2000 + b"0\r\n\r\n"
EXTENSIONS: Final = b"1;" + b"x" * 250 + b"\r\nx\r\n"
SHORT_EXTENSIONS: Final = b"1;\r\nx\r\n"
TRAILERS: Final = b"1\r\nx\r\n0\r\n" + b"a:\r\n" * 2000 + b"\r\n"
FORGED: Final = b"A" * 42
NONCES: Final = b'{"token":"%b","nonces":[%b]}' % (b"A" * 52, b",".join([b"1"] * 255))
PROXIED: Final = b"GET / HTTP/1.1\r\nHost: a\r\n"

PATHS: Final[Mapping[str, Input]] = {
    "an ordinary GET": Input((GET,)),
    "the least GET": Input((LEAST,)),
    "the least GETs, pipelined": Input((LEAST * 16,), 16),
    "a GET, a byte at a time": Input(one_by_one(GET)),
    "short fields": fields(lambda n: b"%x:" % (n + 160)),
    "short fields that the parser reads": fields(lambda n: b"%x:" % (n + 160) if n else b"Upgrade: h2c"),
    "fields with an underscore": fields(lambda n: b"_%x:" % n),
    "long fields": fields(lambda n: b"X-%d: " % n + b"y" * 300, 90),
    "cookies, each in its field": fields(lambda n: b"Cookie:a"),
    "long cookies, each in its field": fields(lambda n: b"Cookie: " + b"a" * 310, 97),
    "fields of Accept": fields(lambda n: b"Accept:text/html"),
    "fields of Connection": fields(lambda n: b"Connection:a"),
    "fields of Range": fields(lambda n: b"Range:bytes=0-"),
    "fields of Expect": fields(lambda n: b"Expect:100-continue"),
    "fields that look like framing": fields(lambda n: b"Content-Lengt%x:" % n),
    "digits in names": fields(lambda n: b"1" * 300 + b"%x:" % n, 90),
    "empty values of spaces": fields(lambda n: b"a%x:" % n + b" " * 300, 90),
    "a cookie of parts": field(b"Cookie", b"a;"),
    "a cookie of names like the pass": field(b"Cookie", b"shield_pas"),
    "a cookie of passes": field(b"Cookie", b"shield_pass=" + FORGED + b";"),
    "a cookie of empty passes": field(b"Cookie", b"shield_pass=;"),
    "one forged pass": Input((head(b"Cookie: shield_pass=" + FORGED),)),
    "one forged pass in its field": Input((head(b"Shield-Pass: " + FORGED),)),
    "a long pass": field(b"Shield-Pass", b"A"),
    "options of Connection": field(b"Connection", b"a,"),
    "options of Connection, many fields": Input(
        (head(b"Connection: " + b"a," * 100, *[b"b%x:" % n for n in range(97)]),)
    ),
    "a list of 200 ranges": field(b"Range", b"0-,", 600),
    "ranges": Input((head(b"Range: bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(200))),)),
    "more ranges": field(b"Range", b"1-,"),
    "media types": field(b"Accept", b"a/b,"),
    "languages": field(b"Accept-Language", b"en,"),
    "a long User-Agent": field(b"User-Agent", b"\xff"),
    "a long Host": field(b"Host", b"%a"),
    "percent escapes": Input((head(first=b"GET /" + b"%41" * 2700 + b" HTTP/1.1\r\nHost: a\r\n"),)),
    "question marks": Input((head(first=b"GET /" + b"?" * 8000 + b" HTTP/1.1\r\nHost: a\r\n"),)),
    "a long path": Input((head(first=b"GET /" + b"a/" * 4000 + b" HTTP/1.1\r\nHost: a\r\n"),)),
    "absolute form": Input((head(first=b"GET http://a/" + b"%41" * 2600 + b" HTTP/1.1\r\nHost: a\r\n"),)),
    "an unknown method": Input((head(first=b"A" * 32 + b" / HTTP/1.1\r\nHost: a\r\n"),)),
    "a bare LF": Input((START + b"a: b\n" * 1000 + b"\r\n\r\n",)),
    "bytes that are no head": Input((b"\0" * 1000,)),
    "a control character at the end": Input((head(b"X: " + b" " * 32000 + b"\0"),)),
    "own page": Input((head(first=b"GET /.well-known/shield/a HTTP/1.1\r\nHost: a\r\n"),)),
    "an answer of 255 nonces": Input((post(NONCES, path=ANSWER_TO),)),
    "an answer of lists": Input((post(b"[" * 1000 + b"]" * 1000, path=ANSWER_TO),)),
    "an answer of members": Input((post(b"{" + b'"":0,' * 1600 + b'"":0}', path=ANSWER_TO),)),
    "a short false answer": Input((post(b"[]", path=ANSWER_TO),)),
    "a form of pairs": Input((post(b"&".join([b"a="] * 1000), FORM),)),
    "a form of percent escapes": Input((post(b"a=" + b"%C3%A4" * 10_000, FORM),)),
    "chunks of a byte": Input((chunked(TINY_CHUNKS),)),
    "chunks of a byte, each in a read": Input((chunked(b""), *[b"1\r\nx\r\n"] * 500, b"0\r\n\r\n")),
    "chunks, a byte at a time": Input((chunked(b""), *one_by_one(b"1\r\nx\r\n" * 100 + b"0\r\n\r\n"))),
    "chunks with extensions": Input((chunked(EXTENSIONS * 200 + b"0\r\n\r\n"),)),
    "chunks with short extensions": Input((chunked(SHORT_EXTENSIONS * 2000 + b"0\r\n\r\n"),)),
    "trailers": Input((chunked(TRAILERS),)),
    "a body, a byte at a time": Input(one_by_one(post(b"x" * 300))),
    "X-Forwarded-For of hops": Input((head(b"X-Forwarded-For: " + b"1.1.1.1," * 3900),), proxied=True),
    "X-Forwarded-For of proxies": Input((head(b"X-Forwarded-For: " + b"127.0.0.1," * 40),), proxied=True),
    "X-Forwarded-For of IPv6": Input((head(b"X-Forwarded-For: " + b"::ffff:127.0.0.1," * 40),), proxied=True),
    "short X-Forwarded-For": Input((head(b"X-Forwarded-For: ::1"),), proxied=True),
    "fields of X-Forwarded-For": Input((head(*[b"X-Forwarded-For:a"] * MANY),), proxied=True),
    "WebSocket frames": Input((FRAME * 5000,), before=(UPGRADE,)),
    "WebSocket frames, each in a read": Input((FRAME,) * 200, before=(UPGRADE,)),
    "WebSocket frames, a byte at a time": Input(one_by_one(FRAME * 50), before=(UPGRADE,)),
    "response: the least": answered(OK + b"Content-Length: 0\r\n\r\n"),
    "response: short fields": answered(
        OK + b"".join(b"%x:\r\n" % n for n in range(2000)) + b"Content-Length: 0\r\n\r\n"
    ),
    "response: chunks of a byte": answered(OK + b"Transfer-Encoding: chunked\r\n\r\n", TINY_CHUNKS),
    "response: chunks with extensions": answered(
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + SHORT_EXTENSIONS * 2000 + b"0\r\n\r\n"
    ),
    "response: a byte at a time": answered(*one_by_one(OK + b"Content-Length: 50\r\n\r\n" + b"x" * 50)),
    "response: options of Connection": answered(
        OK + b"Connection: " + b"a," * 15_000 + b"\r\nContent-Length: 0\r\n\r\n"
    ),
    "response: interim ones": answered(b"HTTP/1.1 103 E\r\n\r\n" * 16 + OK + b"Content-Length: 0\r\n\r\n"),
}

DIRECT: Final[Mapping[str, tuple[str, bytes]]] = {
    "Forwarded of elements": ("forwarded", b"for=1.1.1.1," * 2500),
    "Forwarded of proxies": ("forwarded", b"for=127.0.0.1," * 32),
    "Forwarded of quotes": ("forwarded", b'"' * 30_000),
    "Forwarded of backslashes": ("forwarded", b'for="' + b'\\"' * 2000),
    "Forwarded of pairs": ("forwarded", b"a=b;" * 1000),
    "form of pairs": ("form", b"&".join([b"a="] * 1000)),
    "form of escapes": ("form", b"a=" + b"%C3%A4" * 10_000),
    "form of separators": ("form", b"&" * 60_000),
    "answer of lists": ("answer", b"[" * 4000),
    "answer of numbers": ("answer", b"[" + b"1e1," * 2000 + b"1]"),
    "PROXY header of version 1": ("proxy header", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n"),
    "PROXY header without an end": ("proxy header", b"PROXY TCP6 " + b"f" * 90),
}


def worst(parser: str) -> list[bytes]:
    """What the search has found for a parser: a line for each, escaped as in tests/fuzz/seeds."""
    path = WORST / f"{parser.replace(' ', '_')}.txt"
    if not path.exists():
        return []
    lines = path.read_text("ascii").splitlines()
    return [line.encode("ascii").decode("unicode_escape").encode("latin-1") for line in lines if line[:2] != "# "]
