"""A request head, understood, and the rules by which the bytes of one become it or are refused.

Everything is read by grammar.py, and what breaks a rule of rules.py is refused with its name. Fields are written anew
from their names and values, so an upstream never sees bytes that a client wrote between them. How the body that follows
is framed is in framing.py.
"""

from __future__ import annotations

from typing import Final

from shield.http.client_fields import about_client
from shield.http.fields import REQUEST_FIELDS, Fields, RequestField, disguised, without_named
from shield.http.framing import CHUNKED
from shield.http.grammar import (
    CONTENT_LENGTH,
    CONTROL,
    FIELD_LINE,
    HOST,
    OTHER_VERSION,
    REQUEST_ID,
    REQUEST_LINE,
    SLOPPY_REQUEST_LINE,
    TARGET,
    TCHARS,
    TOKEN,
    TRANSFER_CODINGS,
)
from shield.http.line_memory import LineMemory
from shield.http.ranges import modest
from shield.http.rules import Broken, Rule
from shield.http.settings import HttpSettings
from shield.readers import SCRIPT, TEXT_MODE, Reader, reader_of

MAX_METHOD: Final = 64
"""bytes. The longest one that is registered, UPDATEREDIRECTREF, has 17."""
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
_ABOUT_CLIENT: Final = RequestField.ABOUT_CLIENT
_LOOP: Final = RequestField.LOOP
_REQUEST_ID: Final = RequestField.REQUEST_ID
_ORIGIN: Final = RequestField.ORIGIN
_TELLING: Final = RequestField.TELLING
_SHOWN_PASS: Final = RequestField.SHOWN_PASS


PLAIN_CONNECTION: Final = frozenset(
    {b"keep-alive", b"close", b"upgrade", b"keep-alive, upgrade", b"upgrade, keep-alive"}
)


class Head:
    """One request head, understood: what a request says of itself, which is why there is so much of it.

    A connection whose client repeats its fields keeps its head. Then only the target changes, and everything else that
    was worked out about it stays true.
    """

    # the request line
    method: str
    target: str  # in origin form, with its query
    path: str  # the target up to the query
    old = False  # HTTP/1.0
    # the fields
    fields: list[bytes]  # the lines to forward, each with its CRLF; maybe joined: see lines()
    headers: Fields  # all of them as they came; of a repeated field the first value
    host = b""  # as sent; empty for HTTP/1.0 without one
    agent = b""  # User-Agent
    language = b""  # Accept-Language
    cookie = b""  # all Cookie fields, joined
    kept_cookie = b""  # the same without the pass: what is forwarded
    token = b""  # the value of the pass header
    chain = b""  # X-Forwarded-For, joined
    forwarded = b""  # Forwarded, joined
    told: tuple[bytes, ...] = ()  # the lines of other fields about the client, each with its CRLF
    origin = b""  # Origin as sent
    request_id = b""  # X-Request-Id as sent, if it can stand in a log
    # what follows from them
    length = 0  # of the body: bytes, 0 for none, or CHUNKED
    close = False  # the client will not or must not send another request
    doubtful = False  # clear to us, but others might frame it differently: its upstream connection is not used again
    expect = False  # the client waits for 100 (Continue)
    upgrade = b""  # the protocol that it asks for and may have: b"websocket", or some of http.upgrades
    secure = False  # a trusted proxy says that the client came to it over TLS
    http = ""  # the version of HTTP for the log: "1.0", "2", and empty for the usual one
    # what others keep with it while target and fields stay the same
    written: bytes | None = None  # the beginning of the request as it was sent to a server; empty when sent once
    telling: tuple[bytes, ...] | None = None  # of a plain head: its lines that tell who reads the answer, as forwarded
    found_reader: Reader | None = None  # who reads the answer, once somebody has asked that

    def lines(self) -> list[bytes]:
        """`fields`, each a line of its own: they are joined once the head was sent and may come again."""
        fields = self.fields
        return fields if len(fields) != 1 else fields[0].splitlines(keepends=True)

    def reader(self) -> Reader:
        """Who reads what Shield itself says to the request. Found out when it says something, which is seldom.

        Plain heads that agree in what tells it have the same reader: a flood has few of them, and to find one out
        takes 4 µs. Not those with Origin, of which some ask for permission, and some for a WebSocket.
        """
        found = self.found_reader
        if found is None:
            telling = self.telling
            if telling is None or self.origin:
                found = self.found_reader = reader_of(self.method, self.headers)
            else:
                told = self.method, self.language != b"", telling
                found = _READERS.get(told)
                if found is None or (found is SCRIPT and self.agent.startswith(_TEXT_MODE)):
                    found = self._find_reader(told)
                self.found_reader = found
        return found

    def _find_reader(self, told: tuple[str, bool, tuple[bytes, ...]]) -> Reader:
        found = reader_of(self.method, self.headers)
        if sum(map(len, told[2])) <= _TOLD_BYTES and not self.agent.startswith(_TEXT_MODE):
            if len(_READERS) >= _MOST_READERS:
                _READERS.clear()
            _READERS[told] = found
        return found


_READERS: Final[dict[tuple[str, bool, tuple[bytes, ...]], Reader]] = {}
"""Who reads the answer, by method, whether there is an Accept-Language, and the telling lines."""
_TEXT_MODE: Final = tuple(each.encode() for each in TEXT_MODE)
_MOST_READERS: Final = 256
"""Entries. When there is one more, all are forgotten."""
_TOLD_BYTES: Final = 512
"""bytes of telling lines. Browsers send 250; what is longer is found out each time."""


class Examiner:
    """Turns the bytes of heads into what they say. One for all connections: it keeps settings and what names mean."""

    __slots__ = (
        "_max_target",
        "_names",
        "_table",
        "_upgrades",
        "mark",
        "max_body",
        "max_fields",
        "max_head",
        "pass_header",
    )

    def __init__(self, settings: HttpSettings, pass_header: str, mark: bytes = b"") -> None:
        """`mark`: what this Shield writes into CDN-Loop; b"": nothing."""
        self.mark = mark
        self._max_target = settings.max_target_bytes
        self._upgrades = frozenset(name.lower().encode("ascii") for name in settings.upgrades)
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
        # CGI and WSGI map "_" and "-" to one letter, so X_Forwarded_For would pass for our field. nginx drops such
        # names, too.
        kind = _DROPPED if b"_" in lower else self._table.get(lower, _KEPT)
        if kind is _KEPT and about_client(lower):
            kind = _ABOUT_CLIENT
        if (kind is _KEPT or kind is _DROPPED) and disguised(lower):
            kind = _DISGUISED  # no program has a use for such a name
        self._names.remember(name, b"", kind)
        return kind

    def marks(self, value: bytes) -> bool:
        """Whether CDN-Loop says that this Shield has sent the request on before."""
        return self.mark != b"" and self.mark in value

    def examine(self, data: bytes, stop: int) -> Head:
        """The head in `data`, which ends with CRLF CRLF and whose first line ends at `stop`. Raises Broken.

        It is long because each field is looked at once.
        """
        line = REQUEST_LINE.fullmatch(data, 0, stop)
        if line is None:
            raise Broken(_line_rule(data[:stop]))
        if line[3] != b"1" or line[4] > b"1":
            raise Broken(Rule.VERSION)
        if len(line[1]) > MAX_METHOD:
            raise Broken(Rule.METHOD_SIZE)
        lines = data[stop + 2 : -4].split(b"\r\n") if len(data) > stop + 4 else []
        if len(lines) > self.max_fields:
            raise Broken(Rule.FIELD_COUNT)
        pairs = _split(lines)
        head = Head()
        head.method = method = line[1].decode("ascii")
        head.headers = Fields(data)
        head.old = head.close = old = line[4] == b"0"
        if old:
            head.http = "1.0"
        if method == "CONNECT" or method == "TRACE":
            raise Broken(Rule.METHOD)
        fields: list[bytes] = []
        head.fields = fields
        known = self._names.known
        connection = upgrade = b""
        hosts = lengths = codings = 0
        keys = 0
        ranges: list[bytes] = []
        modestly = True
        for name, value in pairs:
            kind = known.get(name)
            if kind is None:
                kind = self._classify(name)
            if kind is _KEPT or kind is _TELLING:
                fields.append(b"".join((name, b": ", value, b"\r\n")))
            elif kind is _AGENT:
                head.agent = head.agent or value
                fields.append(b"".join((name, b": ", value, b"\r\n")))
            elif kind is _LANGUAGE:
                head.language = value
                fields.append(b"".join((name, b": ", value, b"\r\n")))
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
                    raise Broken(Rule.LENGTH_SYNTAX)
                head.length = int(value)
            elif kind is _CODING:
                codings += 1
                if old:
                    raise Broken(Rule.CODING_IN_1_0)
                if value.lower() != b"chunked":
                    # RFC 9112 section 6.1: 501 for a coding that is not understood. Only those that there are get it.
                    understood = TRANSFER_CODINGS.fullmatch(value) is not None
                    raise Broken(Rule.CODING_UNKNOWN if understood else Rule.CODING_SYNTAX)
                head.length = CHUNKED
            elif kind is _EXPECT:
                if value.lower() != b"100-continue":
                    raise Broken(Rule.EXPECTATION)
                head.expect = not old
            elif kind is _UPGRADE:
                upgrade = upgrade + b", " + value if upgrade else value
            elif kind is _WEBSOCKET_KEY:
                keys += 1
                fields.append(b"".join((name, b": ", value, b"\r\n")))
            elif kind is _SHOWN_PASS:
                head.token = value
            elif kind is _X_FORWARDED_FOR:
                head.chain = head.chain + b", " + value if head.chain else value
            elif kind is _FORWARDED:
                head.forwarded = head.forwarded + b", " + value if head.forwarded else value
            elif kind is _ABOUT_CLIENT:
                head.told += (b"".join((name, b": ", value, b"\r\n")),)
            elif kind is _LOOP:
                if self.marks(value):
                    raise Broken(Rule.LOOP)
                fields.append(b"".join((name, b": ", value, b"\r\n")))
            elif kind is _REQUEST_ID:
                if REQUEST_ID.fullmatch(value) is not None:
                    head.request_id = value
            elif kind is _ORIGIN:
                head.origin = head.origin or value
                fields.append(b"".join((name, b": ", value, b"\r\n")))
            elif kind is _RANGE:
                ranges.append(b"".join((name, b": ", value, b"\r\n")))
                modestly = modestly and modest(value)
            elif kind is _DISGUISED:
                raise Broken(Rule.DISGUISED_FRAMING)
        if len(ranges) == 1 and modestly:  # a server that joins two would see more than there are in each
            fields += ranges
        if lengths + codings > 1:
            raise Broken(
                Rule.LENGTH_AND_CODING
                if lengths and codings
                else Rule.LENGTH_REPEATED
                if lengths
                else Rule.CODING_REPEATED
            )
        if head.length and method not in BODY_USUAL:
            head.doubtful = True  # RFC 9110 section 9.3.1: some servers ignore such a body and read it as a request
        if hosts != 1 and not (old and hosts == 0):
            raise Broken(Rule.HOST_REPEATED if hosts else Rule.HOST_MISSING)
        if hosts and HOST.fullmatch(head.host) is None:
            raise Broken(Rule.HOST_SYNTAX)
        self.aim(head, line[2].decode("latin-1"))
        if self.max_body and head.length > self.max_body:
            raise Broken(Rule.BODY_SIZE)
        if connection:
            options = _obey(head, connection)
            if upgrade and b"upgrade" in options and head.length == 0 and not old:
                if upgrade.lower() != b"websocket":
                    head.upgrade = self._allowed(upgrade)
                elif keys == 1 and method == "GET":
                    head.upgrade = b"websocket"
        return head

    def _allowed(self, upgrade: bytes) -> bytes:
        """Those of the protocols in an Upgrade field that the operator allows, in the same order."""
        if not self._upgrades:
            return b""
        names = [name.strip(b" \t") for name in upgrade.split(b",")]
        return b", ".join([name for name in names if name.lower() in self._upgrades])

    def aim(self, head: Head, target: str) -> None:
        """Set the target, in any form (RFC 9112 section 3.2). Raises Broken.

        Absolute form becomes origin form, and its host the one that is asked for (section 3.2.2). One that Host does
        not name as well is refused: somebody on the way may have gone by the other one.
        """
        if len(target) > self._max_target:
            raise Broken(Rule.TARGET_SIZE)
        if TARGET.fullmatch(target) is None:
            raise Broken(Rule.TARGET)
        if target[0] != "/" and not (target == "*" and head.method == "OPTIONS"):
            scheme, found, rest = target.partition("://")
            scheme = scheme.lower()
            authority, slash, tail = rest.partition("/")
            query_at = authority.find("?")
            if query_at >= 0:
                authority, tail, slash = authority[:query_at], authority[query_at:] + slash + tail, ""
            if not found or scheme not in _DEFAULT_PORTS or not authority:
                raise Broken(Rule.TARGET_FORM)
            host = authority.encode("ascii")
            if HOST.fullmatch(host) is None:
                raise Broken(Rule.HOST_SYNTAX)
            if head.host and not same_authority(head.host, host, scheme):
                raise Broken(Rule.HOST_DIFFERS)
            head.host = host
            target = "/" + tail
        self.aim_at_path(head, target)

    def aim_at_path(self, head: Head, target: str) -> None:
        """Set a target that is known to have origin form. Raises Broken."""
        if len(target) > self._max_target:
            raise Broken(Rule.TARGET_SIZE)
        head.target = target
        query = target.find("?")
        head.path = target if query < 0 else target[:query]
        head.written = None


def same_authority(one: bytes, other: bytes, scheme: str) -> bool:
    """Whether two authorities mean the same server under `scheme`: "http" or "https"."""
    port = _DEFAULT_PORTS[scheme]
    return one == other or _host_and_port(one, port) == _host_and_port(other, port)


def _host_and_port(authority: bytes, default: int) -> tuple[bytes, int]:
    """An authority that has the form of HOST, so that equal ones mean the same server (RFC 9110 section 4.2.3)."""
    host, colon, port = authority.rpartition(b":")
    if not colon or port.endswith(b"]"):
        return authority.lower(), default
    return host.lower(), int(port or default)


def _line_rule(line: bytes) -> Rule:
    """What is wrong with a line that is no request-line."""
    if line[:1] == b"" or line[0] not in TCHARS:
        return Rule.BARE_LF if line[:1] == b"\n" else Rule.NOT_HTTP
    if b"\n" in line:
        return Rule.BARE_LF
    if CONTROL.search(line) is not None or b"\t" in line:
        return Rule.CONTROL_CHARACTER
    if OTHER_VERSION.search(line) is not None:
        return Rule.VERSION
    return Rule.TARGET if SLOPPY_REQUEST_LINE.fullmatch(line) is not None else Rule.REQUEST_LINE


def _split(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """The name and value of each field line. Raises Broken: what is no field line comes before what a field says."""
    pairs = []
    for line in lines:
        match = FIELD_LINE.fullmatch(line)
        if match is None:
            raise Broken(field_rule(line))
        pairs.append((match[1], match[2]))
    return pairs


def field_rule(line: bytes) -> Rule:
    """What is wrong with a line that is no field line, of a request or a response."""
    if b"\n" in line:
        return Rule.BARE_LF
    if CONTROL.search(line) is not None:
        return Rule.CONTROL_CHARACTER
    if line[:1] in (b" ", b"\t"):
        return Rule.FOLDED_LINE
    name, colon, _ = line.partition(b":")
    if colon and TOKEN.fullmatch(name.rstrip(b" \t")) is not None:
        return Rule.SPACE_BEFORE_COLON
    return Rule.DISGUISED_FRAMING if disguised(name.lower()) else Rule.FIELD_NAME


def _obey(head: Head, connection: bytes) -> frozenset[bytes]:
    """Do what Connection, joined and in lower case, says (RFC 9110 section 7.6.1). Returns its options."""
    options = _PLAIN_OPTIONS.get(connection)
    if options is None:
        options = frozenset(option.strip() for option in connection.split(b","))
        head.fields = without_named(head.fields, options)
        if b"cookie" in options:
            head.cookie = b""
    if b"close" in options:
        head.close = True
    elif head.old and b"keep-alive" in options:
        head.close = False
    return options


BODY_USUAL: Final = frozenset(
    {"POST", "PUT", "PATCH", "PROPFIND", "PROPPATCH", "MKCOL", "LOCK", "REPORT", "SEARCH", "MKCALENDAR", "ACL", "QUERY"}
)
"""Methods with whose requests servers that know them expect a body. With any other a body is doubtful."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_PLAIN_OPTIONS: Final = {value: frozenset(option.strip() for option in value.split(b",")) for value in PLAIN_CONNECTION}
