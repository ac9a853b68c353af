"""A request head, understood, and the rules by which a parsed message becomes one or is refused.

aiohttp's C parser has refused broken syntax before. What it accepts and a proxy must not (docs/parsers.md) is refused
here with a `Refused`. Fields are written anew from their names and values, so an upstream never sees bytes that a
client wrote between them. How the body that follows is framed is in framing.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp.http import RawRequestMessage
from annotated_types import Ge, Le
from multidict import CIMultiDictProxy
from typing_extensions import Doc

from shield.http.browser import wants_page
from shield.http.fields import REQUEST_FIELDS, Fields, RequestField, disguised, without_named
from shield.http.framing import CHUNKED
from shield.http.grammar import CONTENT_LENGTH, HOST, REQUEST_ID, TARGET
from shield.http.line_memory import LineMemory
from shield.http.ranges import modest
from shield.marks import Unit, Why
from shield.model import Fault

LONGEST_NAME: Final = 64
"""bytes. A field's name that is longer is looked up each time."""

# A member of an enum is dear to look up in its class, and cheap to compare with.
_KEPT: Final = RequestField.KEPT
_DROPPED: Final = RequestField.DROPPED
_DISGUISED: Final = RequestField.DISGUISED
_HOST: Final = RequestField.HOST
_LENGTH: Final = RequestField.CONTENT_LENGTH
_CODING: Final = RequestField.TRANSFER_ENCODING
_CONNECTION: Final = RequestField.CONNECTION
_COOKIE: Final = RequestField.COOKIE
_AGENT: Final = RequestField.USER_AGENT
_LANGUAGE: Final = RequestField.ACCEPT_LANGUAGE
_EXPECT: Final = RequestField.EXPECT
_UPGRADE: Final = RequestField.UPGRADE
_WEBSOCKET_KEY: Final = RequestField.WEBSOCKET_KEY
_RANGE: Final = RequestField.RANGE
_X_FORWARDED_FOR: Final = RequestField.X_FORWARDED_FOR
_FORWARDED: Final = RequestField.FORWARDED
_REQUEST_ID: Final = RequestField.REQUEST_ID
_SHOWN_PASS: Final = RequestField.SHOWN_PASS


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
    """Turns parsed messages into heads. One for all connections: it keeps only settings and what names mean."""

    __slots__ = ("_max_target", "_names", "_table", "max_body", "max_fields", "max_head", "pass_header")

    def __init__(self, settings: HttpSettings, pass_header: str) -> None:
        self._max_target = settings.max_target_bytes
        self.max_head = settings.max_head_bytes
        self.max_fields = settings.max_fields
        self.max_body = settings.max_body_bytes
        self.pass_header = pass_header.lower().encode("ascii")
        self._table = {**REQUEST_FIELDS, self.pass_header: _SHOWN_PASS}
        self._names: LineMemory[RequestField] = LineMemory(longest=LONGEST_NAME)

    def kind(self, name: bytes) -> RequestField:
        """What a field of this name, in any case, is to us."""
        return self._names.known.get(name) or self._classify(name)

    def _classify(self, name: bytes) -> RequestField:
        lower = name.lower()
        # CGI and WSGI map "_" and "-" to the same letter, so X_Forwarded_For would pass for ours (nginx drops these
        # too).
        kind = _DROPPED if b"_" in lower else self._table.get(lower, _KEPT)
        if (kind is _KEPT or kind is _DROPPED) and disguised(lower):
            kind = _DISGUISED  # no program has a use for such a name
        self._names.remember(name, b"", kind)
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
        known = self._names.known
        connection = upgrade = b""
        hosts = lengths = codings = 0
        keys = 0
        ranges: list[bytes] = []
        modestly = True
        for name, value in raw:
            kind = known.get(name)
            if kind is None:
                kind = self._classify(name)
            if kind is _KEPT:
                fields.append(name + b": " + value + b"\r\n")
            elif kind is _AGENT:
                head.agent = value
                fields.append(name + b": " + value + b"\r\n")
            elif kind is _LANGUAGE:
                head.language = value
                fields.append(name + b": " + value + b"\r\n")
            elif kind is _HOST:
                hosts += 1
                head.host = value
            elif kind is _CONNECTION:
                connection = connection + b"," + value.lower() if connection else value.lower()
            elif kind is _COOKIE:
                head.cookie = head.cookie + b"; " + value if head.cookie else value
            elif kind is _LENGTH:
                lengths += 1
                if CONTENT_LENGTH.fullmatch(value) is None:
                    raise Refused(Fault.BAD_FRAMING)
                head.length = int(value)
            elif kind is _CODING:
                codings += 1
                # RFC 9112 section 6.1: other codings are not understood, so the message's end is not known.
                if value.lower() != b"chunked" or old:
                    raise Refused(Fault.BAD_FRAMING)
                head.length = CHUNKED
            elif kind is _EXPECT:
                if value.lower() != b"100-continue":
                    raise Refused(Fault.EXPECTATION_FAILED)
                head.expect = not old
            elif kind is _UPGRADE:
                upgrade = value.lower()
            elif kind is _WEBSOCKET_KEY:
                keys += 1
                fields.append(name + b": " + value + b"\r\n")
            elif kind is _SHOWN_PASS:
                head.token = value
            elif kind is _X_FORWARDED_FOR:
                head.chain = head.chain + b", " + value if head.chain else value
            elif kind is _FORWARDED:
                head.forwarded = head.forwarded + b", " + value if head.forwarded else value
            elif kind is _REQUEST_ID:
                if REQUEST_ID.fullmatch(value) is not None:
                    head.request_id = value
            elif kind is _RANGE:
                ranges.append(name + b": " + value + b"\r\n")
                modestly = modestly and modest(value)
            elif kind is _DISGUISED:
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
                head.fields = without_named(fields, tokens)
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
