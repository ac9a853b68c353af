"""What is added, removed and refused on the way: one request head in, the head for the upstream out, and back.

aiohttp's C parser has already refused broken syntax. What it accepts and a proxy must not (section 10 of the
design; RFC 9110, RFC 9112) is refused here with a `Refused`. Nothing here does I/O; the framing of the body that
follows is in framing.py. Every field is written anew from its parsed name and value, so an upstream never sees
bytes that only the client wrote between fields.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final

from aiohttp.http import RawRequestMessage
from annotated_types import Ge, Le
from multidict import CIMultiDictProxy
from typing_extensions import Doc

from shield.http.browser import wants_page
from shield.http.fields import Fields
from shield.http.grammar import CONTENT_LENGTH, HOST, REQUEST_ID, TARGET
from shield.http.ranges import modest
from shield.marks import Unit, Why
from shield.model import Fault

CHUNKED: Final = -1
"""Body length of a message in the chunked transfer coding."""
UNTIL_CLOSE: Final = -2
"""Body length of a response that ends with its connection."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The [http] table: limits on one request."""

    max_head_bytes: Annotated[
        int,
        Ge(1024),
        Le(1 << 20),
        Unit("bytes"),
        Doc("Size of the request line and the fields together; 431 beyond."),
        Why("Precedent", "nginx's four buffers of 8 KiB"),
    ] = 32768
    max_target_bytes: Annotated[
        int,
        Ge(64),
        Le(65536),
        Unit("bytes"),
        Doc("Size of the request target; 414 beyond."),
        Why("Precedent", "Apache's LimitRequestLine; RFC 9112 section 3 recommends at least 8,000"),
    ] = 8190
    max_fields: Annotated[
        int,
        Ge(8),
        Le(1000),
        Unit("fields"),
        Doc("Fields in a request head; 431 beyond."),
        Why("Precedent", "Apache's LimitRequestFields"),
    ] = 100
    max_body_bytes: Annotated[
        int,
        Ge(0),
        Unit("bytes"),
        Doc("Size of a request body; 413 beyond; 0 is unlimited. Bodies are streamed, so a large one costs no memory."),
        Why("Precedent", "Apache's LimitRequestBody since 2.4.53"),
    ] = 1 << 30
    body_buffer_bytes: Annotated[
        int,
        Ge(0),
        Le(1 << 24),
        Unit("bytes"),
        Doc(
            "Part of a request body that is buffered before a concurrency slot is taken, so that a slow "
            "sender holds no slot."
        ),
        Why("Chosen", "most forms fit; nginx's client_body_buffer_size is 16 KiB"),
    ] = 65536
    response_buffer_bytes: Annotated[
        int,
        Ge(0),
        Le(1 << 30),
        Unit("bytes"),
        Doc(
            "Part of a response that is read ahead of a client that reads slowly, so that the upstream is "
            "free for others; 0 reads no faster than the client."
        ),
        Why("Chosen", "nearly every page and picture fits; nginx keeps a page in memory and 1 GiB on disk"),
    ] = 8 << 20
    response_buffers_bytes: Annotated[
        int,
        Ge(0),
        Unit("bytes"),
        Doc(
            "What is read ahead for all clients together. Beyond it, slow ones hold their upstream "
            "connection, or are cut."
        ),
        Why("Chosen", "sixteen clients at their most"),
    ] = 128 << 20
    preserve_host: Annotated[
        bool, Doc("Whether the upstream is sent the client's Host. false: the authority of the upstream's URL.")
    ] = True


class Refused(Exception):
    """The head breaks a rule; `fault` says which."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class Kind(enum.IntEnum):
    """What happens to a request field."""

    PASS = 0  # forwarded as it is
    DROP = 1  # hop-by-hop (RFC 9110 section 7.6.1), or a name that an upstream may mistake for another
    HOST = 2
    LENGTH = 3
    CODING = 4
    CONNECTION = 5
    COOKIE = 6
    AGENT = 7
    LANGUAGE = 8
    EXPECT = 9
    UPGRADE = 10
    FORWARDED_FOR = 11  # x-forwarded-for: the chain
    FORWARDED = 12  # forwarded: the chain
    FORWARDED_MORE = 13  # x-forwarded-proto, -host, ...: ours replace them
    REQUEST_ID = 14
    TOKEN = 15  # the pass, sent by a program
    WS_KEY = 16
    RANGE = 18  # left out when it asks for too much (ranges.py)
    DISGUISED = 17  # framing under a name that is not quite right: refused


REQUEST_FIELDS: Final[dict[bytes, Kind]] = {
    b"host": Kind.HOST,
    b"content-length": Kind.LENGTH,
    b"transfer-encoding": Kind.CODING,
    b"connection": Kind.CONNECTION,
    b"cookie": Kind.COOKIE,
    b"user-agent": Kind.AGENT,
    b"accept-language": Kind.LANGUAGE,
    b"expect": Kind.EXPECT,
    b"upgrade": Kind.UPGRADE,
    b"keep-alive": Kind.DROP,
    b"proxy-connection": Kind.DROP,
    b"proxy-authenticate": Kind.DROP,
    b"proxy-authorization": Kind.DROP,
    b"te": Kind.DROP,
    b"trailer": Kind.DROP,
    b"http2-settings": Kind.DROP,  # only for the upgrade to h2c (RFC 9113 section 3.1), which is not offered
    b"x-forwarded-for": Kind.FORWARDED_FOR,
    b"forwarded": Kind.FORWARDED,
    b"x-forwarded-proto": Kind.FORWARDED_MORE,
    b"x-forwarded-host": Kind.FORWARDED_MORE,
    b"x-forwarded-port": Kind.FORWARDED_MORE,
    b"x-forwarded-scheme": Kind.FORWARDED_MORE,
    b"x-forwarded-ssl": Kind.FORWARDED_MORE,
    b"x-forwarded-server": Kind.FORWARDED_MORE,
    b"x-real-ip": Kind.FORWARDED_MORE,
    b"x-request-id": Kind.REQUEST_ID,
    b"range": Kind.RANGE,
    b"request-range": Kind.RANGE,  # what Netscape called it; Apache still listens
    b"sec-websocket-key": Kind.WS_KEY,
}

RESPONSE_DROP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
    }
)
"""Response fields that are ours to write, or end at this hop."""

_NOT_LETTERS = re.compile(rb"[^a-z]+")
_FRAMING: Final = frozenset({b"transferencoding", b"contentlength"})
_KNOWN_LIMIT: Final = 4096  # spellings remembered; beyond, a name is classified each time
PLAIN_CONNECTION: Final = frozenset(
    {b"keep-alive", b"close", b"upgrade", b"keep-alive, upgrade", b"upgrade, keep-alive"}
)


class Head:
    """One request head, understood.

    `fields` are the lines to forward, each with its CRLF. A connection that repeats its fields
    keeps its head: only the target changes then, and what was worked out about it stays true.
    """

    method: str
    target: str  # origin form, as sent
    path: str  # target up to the query
    host = b""  # as sent; empty for HTTP/1.0 without one
    fields: list[bytes]
    headers: Fields | CIMultiDictProxy[str]  # as they came; of a repeated field the first value
    length = 0  # body: bytes, 0 for none, or CHUNKED
    old = False  # HTTP/1.0
    close = False  # the client will not or must not send another request
    doubtful = False  # clear to us, others might frame it differently: the upstream connection is not used again
    expect = False
    websocket = False
    agent = b""
    language = b""
    cookie = b""  # all Cookie fields, joined
    kept_cookie = b""  # the same without ours: what goes on
    token = b""  # value of the pass header
    chain = b""  # X-Forwarded-For, joined
    forwarded = b""  # Forwarded, joined
    request_id = b""  # as sent, when it can be believed
    page = False  # a browser is about to show the answer as a page
    secure = False  # a trusted proxy says that it came to it over TLS


class Examiner:
    """Turns parsed messages into heads. One for all connections: it keeps only settings and a name cache.

    The name cache maps spellings to kinds, at most 4,096 of them and 64 bytes each, so a client cannot grow it.
    """

    __slots__ = ("_known", "_max_target", "_table", "max_body", "max_fields")

    def __init__(self, settings: HttpSettings, pass_header: str) -> None:
        self._max_target = settings.max_target_bytes
        self.max_fields = settings.max_fields
        self.max_body = settings.max_body_bytes
        self._table = {**REQUEST_FIELDS, pass_header.lower().encode("ascii"): Kind.TOKEN}
        self._known: dict[bytes, int] = {}

    def kind(self, name: bytes) -> int:
        """What happens to a field of this name."""
        kind = self._known.get(name)
        return self._classify(name) if kind is None else kind

    def _classify(self, name: bytes) -> int:
        lower = name.lower()
        # CGI and WSGI map "_" and "-" to the same letter, so X_Forwarded_For would pass for ours (nginx drops these
        # too).
        kind = int(Kind.DROP) if b"_" in lower else int(self._table.get(lower, Kind.PASS))
        if kind <= Kind.DROP and disguised(lower):
            kind = int(Kind.DISGUISED)  # Transfer_Encoding, Content--Length: no program has a use for them
        if len(self._known) < _KNOWN_LIMIT and len(name) <= 64:
            self._known[name] = kind
        return kind

    def examine(self, message: RawRequestMessage) -> Head:
        """The head of `message`, ready to forward. Raises Refused."""
        version = message.version
        if version[0] != 1 or version[1] > 1:
            raise Refused(Fault.VERSION_UNSUPPORTED)
        raw = message.raw_headers
        if len(raw) > self.max_fields:
            raise Refused(Fault.HEAD_TOO_LARGE)
        head = Head()
        head.method = method = message.method
        head.headers = message.headers
        head.page = wants_page(message.headers)
        head.old = head.close = old = version[1] == 0
        if method == "CONNECT" or method == "TRACE":
            raise Refused(Fault.METHOD_NOT_ALLOWED)
        fields: list[bytes] = []
        head.fields = fields
        known = self._known
        connection = upgrade = b""
        hosts = lengths = codings = 0
        keys = 0
        ranges: list[bytes] = []
        modestly = True
        for name, value in raw:
            kind = known.get(name)
            if kind is None:
                kind = self._classify(name)
            if kind == 0:
                fields.append(name + b": " + value + b"\r\n")
            elif kind == 7:
                head.agent = value
                fields.append(name + b": " + value + b"\r\n")
            elif kind == 8:
                head.language = value
                fields.append(name + b": " + value + b"\r\n")
            elif kind == 2:
                hosts += 1
                head.host = value
            elif kind == 5:
                connection = connection + b"," + value.lower() if connection else value.lower()
            elif kind == 6:
                head.cookie = head.cookie + b"; " + value if head.cookie else value
            elif kind == 3:
                lengths += 1
                if CONTENT_LENGTH.fullmatch(value) is None:
                    raise Refused(Fault.BAD_FRAMING)
                head.length = int(value)
            elif kind == 4:
                codings += 1
                # RFC 9112 section 6.1: other codings are not understood, so the message's end is not known.
                if value.lower() != b"chunked" or old:
                    raise Refused(Fault.BAD_FRAMING)
                head.length = CHUNKED
            elif kind == 9:
                if value.lower() != b"100-continue":
                    raise Refused(Fault.EXPECTATION_FAILED)
                head.expect = not old
            elif kind == 10:
                upgrade = value.lower()
            elif kind == 16:
                keys += 1
                fields.append(name + b": " + value + b"\r\n")
            elif kind == 15:
                head.token = value
            elif kind == 11:
                head.chain = head.chain + b", " + value if head.chain else value
            elif kind == 12:
                head.forwarded = head.forwarded + b", " + value if head.forwarded else value
            elif kind == 14:
                if REQUEST_ID.fullmatch(value) is not None:
                    head.request_id = value
            elif kind == 18:
                ranges.append(name + b": " + value + b"\r\n")
                modestly = modestly and modest(value)
            elif kind == 17:
                raise Refused(Fault.BAD_FRAMING)
        if len(ranges) == 1 and modestly:  # a server that joins two would see more than there are in each
            fields += ranges
        if lengths + codings > 1:
            raise Refused(Fault.BAD_FRAMING)
        if head.length and method in BODY_UNUSUAL:
            head.doubtful = True  # RFC 9110 section 9.3.1: some servers ignore such a body and read it as a request
        if (hosts != 1 and not (old and hosts == 0)) or (hosts and HOST.fullmatch(head.host) is None):
            raise Refused(Fault.BAD_HOST)
        self.aim(head, message.path)
        if self.max_body and head.length > self.max_body:
            raise Refused(Fault.BODY_TOO_LARGE)
        if connection:
            if connection not in PLAIN_CONNECTION:
                tokens = frozenset(token.strip() for token in connection.split(b","))
                head.fields = drop_named(fields, tokens)
                if b"cookie" in tokens:
                    head.cookie = b""
            else:
                tokens = _SPLIT[connection]
            if b"close" in tokens:
                head.close = True
            elif old and b"keep-alive" in tokens:
                head.close = False
            head.websocket = (
                upgrade == b"websocket"
                and keys == 1
                and b"upgrade" in tokens
                and method == "GET"
                and not old
                and head.length == 0
            )
        return head

    def aim(self, head: Head, target: str) -> None:
        """Set the target. Checked against Host; absolute form becomes origin form (RFC 9112 section 3.2). Raises
        Refused."""
        if len(target) > self._max_target:
            raise Refused(Fault.TARGET_TOO_LONG)
        if TARGET.fullmatch(target) is None:
            raise Refused(Fault.BAD_TARGET)
        if target[0] != "/" and not (target == "*" and head.method == "OPTIONS"):
            scheme, found, rest = target.partition("://")
            authority, slash, tail = rest.partition("/")
            query_at = authority.find("?")
            if query_at >= 0:
                authority, tail, slash = authority[:query_at], authority[query_at:] + slash + tail, ""
            if not found or scheme.lower() not in ("http", "https") or not authority:
                raise Refused(Fault.BAD_TARGET)
            if HOST.fullmatch(authority.encode("ascii")) is None:
                raise Refused(Fault.BAD_HOST)
            if head.host and authority.lower().encode("ascii") != head.host.lower():
                raise Refused(Fault.BAD_HOST)  # one message, two hosts: somebody on the way will pick the other one
            head.host = authority.encode("ascii")
            target = "/" + tail
        self.aim_at_path(head, target)

    def aim_at_path(self, head: Head, target: str) -> None:
        """The same for one that is known to have origin form."""
        if len(target) > self._max_target:
            raise Refused(Fault.TARGET_TOO_LONG)
        head.target = target
        query = target.find("?")
        head.path = target if query < 0 else target[:query]


BODY_UNUSUAL: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_SPLIT: Final = {value: frozenset(token.strip() for token in value.split(b",")) for value in PLAIN_CONNECTION}


def disguised(name: bytes) -> bool:
    """Whether a field of this name in lower case may pass for one that frames a message, which it is not."""
    return _NOT_LETTERS.sub(b"", name) in _FRAMING


def drop_named(lines: list[bytes], tokens: AbstractSet[bytes]) -> list[bytes]:
    """The lines without those that Connection names (RFC 9110 section 7.6.1). Host and framing are not among them."""
    return [line for line in lines if line.partition(b":")[0].lower() not in tokens]


HOST_ONLY: Final = b"__Host-"
"""A cookie whose name begins so was set over TLS, by this very host, for all of it (RFC 6265bis section 4.1.3.2)."""


def take_cookie(cookies: bytes, name: bytes) -> tuple[bytes, bytes]:
    """Split a Cookie value into (our token or b"", the other cookies as they were).

    The first cookie called HOST_ONLY + `name` counts, else the first called `name`, which another host of the same
    domain can set as well. Every one of both names is removed, so that the pass never reaches the upstream.
    """
    if name not in cookies:
        return b"", cookies
    own = any_host = b""
    rest = []
    for part in cookies.split(b";"):
        key, equals, value = part.strip().partition(b"=")
        if not equals:
            rest.append(part.strip())
        elif key == name:
            any_host = any_host or value
        elif key == HOST_ONLY + name:
            own = own or value
        else:
            rest.append(part.strip())
    return own or any_host, b"; ".join(rest)


STATUS_LINES: Final[dict[int, bytes]] = {
    code: b"HTTP/1.1 %d %s\r\n" % (code, HTTPStatus(code).phrase.encode("ascii") if code in set(HTTPStatus) else b"")
    for code in range(100, 600)
}
"""Phrases are ours: the upstream's own phrase carries no meaning (RFC 9112 section 4) and may be used to mislead."""
