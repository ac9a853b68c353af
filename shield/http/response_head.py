"""The head of an upstream's response: bytes in, a ResponseHead out, or the rule that it breaks.

A server is believed no more than a client. A response has one reading or none: its head is read a line at a time by the
grammar of RFC 9112 and nothing more. What breaks a rule of rules.py is refused. What is odd but clear to us, and might
not be to others, is passed on without the oddity, and its connection is not used again (`last`). So it is with a
response that ends with its head whatever it says of a body (RFC 9112 section 6.3, rule 1): its framing is left out.

Read again are only lines that no response had before (line_memory.py). Measured: 4 µs for a usual head whose lines are
known.

Bytes pinned per connection: a head that is not whole, MAX_HEAD_BYTES.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from http import HTTPStatus
from typing import Final

from shield.http.fields import RESPONSE_FIELDS, ResponseField, disguised, without_named
from shield.http.framing import CHUNKED, UNTIL_CLOSE
from shield.http.grammar import (
    BARE_LF,
    CONTENT_LENGTH,
    EQUAL_LENGTHS,
    FIELD_LINE,
    FOLD,
    SPACED_FIELD_LINE,
    STATUS_LINE,
    STATUS_LINE_START,
)
from shield.http.head import field_rule
from shield.http.line_memory import LineMemory
from shield.http.rules import Broken, Rule

MAX_HEAD_BYTES: Final = 131072
"""bytes. Interim responses and the head of the final one together, as read."""
MAX_INTERIM: Final = 1000
"""Interim responses before the final one. A server that works on a request for hours says 102 every twenty seconds."""

STATUS_LINES: Final[dict[int, bytes]] = {
    code: b"HTTP/1.1 %d %s\r\n" % (code, HTTPStatus(code).phrase.encode("ascii") if code in set(HTTPStatus) else b"")
    for code in range(100, 1000)
}
"""First lines as Shield writes them. Statuses of 600 and above are of no class (RFC 9110 section 15), and are used. The
phrases are ours: a server's own carries no meaning (RFC 9112 section 4) and may be used to mislead."""

_HEAD_ONLY: Final = frozenset({204, 304})
"""These end with their head, whatever fields they have (RFC 9112 section 6.3, rule 1)."""
_NO_CONTENT: Final = frozenset({204, 205, 304})
"""No content comes with these. A server says so of a 205 besides, by a length of 0 (RFC 9110 section 15.3.6), which
some clients do not look at: content would be the next answer to them."""
UPGRADE_REQUIRED: Final = 426
_CR: Final = 13
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_COMMON_OPTIONS: Final = frozenset({b"", b"close", b"keep-alive", b"upgrade"})
"""What Connection says without naming a field that would have to go."""

# A member of an enum is dear to look up in its class, and cheap to compare with.
_KEPT: Final = ResponseField.KEPT
_DROPPED: Final = ResponseField.DROPPED
_LENGTH: Final = ResponseField.CONTENT_LENGTH
_CODING: Final = ResponseField.TRANSFER_ENCODING
_CONNECTION: Final = ResponseField.CONNECTION
_UPGRADE: Final = ResponseField.UPGRADE
_EVENT_STREAM: Final = ResponseField.EVENT_STREAM
_MEDIA: Final = ResponseField.MEDIA
_DATE: Final = ResponseField.DATE
_BAD_LENGTH: Final = ResponseField.BAD_LENGTH
_SAME_LENGTHS: Final = ResponseField.SAME_LENGTHS
_BAD_CODING: Final = ResponseField.BAD_CODING

ENDS, EVENTS, LIVE, CALL = range(4)
"""How long a response may go on, as its head tells: to its end, or for hours, as events or as sound and pictures. The
answer to a call of gRPC over HTTP/2 may be either, which the head does not tell."""

_LIVE_TYPES: Final = (b"audio/", b"video/", b"application/ogg", b"multipart/x-mixed-replace")

ResponseHead = tuple[int, list[bytes], int, int, int, bool, bytes, bool]
"""One head, in this order:

    status
    fields          the lines to forward, each with its CRLF; framing and hop-by-hop fields are not among them
    length          of the body that follows: bytes, 0 for none, CHUNKED or UNTIL_CLOSE
    declared        the Content-Length to pass on where no body follows, as in an answer to HEAD; -1: none
    endless         ENDS, EVENTS or LIVE
    last            whether the connection must not be used again
    switched        of a 101, the protocol in lower case that it switches to; else empty
    dated           whether it has a Date

A NamedTuple would cost 0.25 µs more to make and to take apart, 1 % of a request.
"""

Meaning = tuple[ResponseField, bytes, bytes]
"""What a field line means: what it is, its value, and the line to forward."""

# Of all connections: a line means the same, whichever server writes it.
_statuses: Final[LineMemory[tuple[int, bool]]] = LineMemory()  # status line -> status, whether it is HTTP/1.0
_lines: Final[LineMemory[Meaning]] = LineMemory()


class ResponseHeadReader:
    """Cuts heads out of what one connection receives. With the head of a final response it begins anew."""

    __slots__ = ("_bytes", "_interim", "_partial")

    def __init__(self) -> None:
        self._partial: bytearray | None = None  # what there is of a head that comes in pieces
        self._bytes = 0  # of interim responses
        self._interim = 0

    def silent(self) -> bool:
        """Whether no byte has come since the last final head."""
        return self._bytes == 0 and self._partial is None

    def read(self, data: bytes, at: int, head_only: bool) -> tuple[ResponseHead | None, int]:
        """The head that ends in data[at:], or None while it is not whole; and the index behind what was read.

        `head_only`: the request was HEAD. Raises Broken, also as soon as what has come cannot become a head. The
        pieces are searched once, so a byte at a time costs no more.
        """
        partial = self._partial
        if partial is None:
            begin, stop = at, data.find(b"\r\n\r\n", at)
            end = stop + 4
            if stop < 0:
                self._partial = partial = bytearray(data[at:])
                return self._wait(partial, 0, data, at, head_only)
        else:
            scanned = len(partial)
            partial += data[at:] if at else data
            stop = partial.find(b"\r\n\r\n", max(0, scanned - 3))
            if stop < 0:
                return self._wait(partial, scanned, data, at, head_only)
            self._partial = None
            begin, end = 0, at + stop + 4 - scanned
            data = bytes(partial[:stop])
        size = self._bytes + stop + 4 - begin
        if size > MAX_HEAD_BYTES:
            raise Broken(Rule.HEAD_SIZE)
        text = data[begin:stop]
        try:
            head = parse(text, head_only)
        except Broken as broken:
            if broken.rule is Rule.FOLDED_LINE:
                return self._count(_last(parse(_unfolded(text), head_only)), size), end
            behind = _behind_lines_of_lf(text + b"\r\n", 0)
            if not behind:
                raise
            size -= len(text) + 4 - behind
            return self._count(_of_lf(text[:behind], head_only), size), end - (len(text) + 4 - behind)
        return self._count(head, size), end

    def _count(self, head: ResponseHead, size: int) -> ResponseHead:
        """A head that is whole; `size` is that of all since the last final one. Raises Broken."""
        if head[0] >= 200:
            if self._interim:
                self._bytes = self._interim = 0
            return head
        self._bytes = size
        self._interim += 1
        if self._interim > MAX_INTERIM:
            raise Broken(Rule.INTERIM_COUNT)
        return head

    def _wait(
        self, partial: bytearray, scanned: int, data: bytes, at: int, head_only: bool
    ) -> tuple[ResponseHead | None, int]:
        """What `read` returns where no CRLF CRLF has come: nothing, but for a head of lines that end with LF. `partial`
        ends with data[at:], and `scanned` bytes of it were looked at before. Raises Broken if it cannot become a head.
        """
        if self._bytes + len(partial) > MAX_HEAD_BYTES:
            raise Broken(Rule.HEAD_SIZE)
        if not (partial.startswith(STATUS_LINE_START) or STATUS_LINE_START.startswith(partial)):
            raise Broken(Rule.NOT_HTTP)
        behind = _behind_lines_of_lf(partial, scanned)
        if not behind:
            return None, len(data)
        self._partial = None
        return self._count(_of_lf(bytes(partial[:behind]), head_only), self._bytes + behind), at + behind - scanned


def parse(text: bytes, head_only: bool) -> ResponseHead:
    """The head in `text`, without the empty line that ends it. `head_only`: the request was HEAD. Raises
    Broken."""
    first, *lines = text.split(b"\r\n")
    status, old = _statuses.known.get(first) or _read_status(first)
    known = _lines.known
    fields: list[bytes] = []
    length = UNTIL_CLOSE
    framings = 0
    endless = ENDS
    dated = media = False
    last = old
    connection = upgrade = b""
    for line in lines:
        meaning = known.get(line)
        if meaning is None:
            meaning = _read_field(line)
        kind, value, forwarded = meaning
        if kind is _KEPT:
            fields.append(forwarded)
        elif kind is _DATE:
            fields.append(forwarded)
            dated = True
        elif kind is _LENGTH:
            framings += 1
            length = int(value)
        elif kind is _EVENT_STREAM:
            fields.append(forwarded)
            endless = EVENTS
        elif kind is _CODING:
            framings += 1
            length = CHUNKED
        elif kind is _CONNECTION:
            connection += b"," + value
        elif kind is _UPGRADE:
            upgrade = upgrade + b", " + value if upgrade else value
        elif kind is _MEDIA:
            fields.append(forwarded)
            media = True
        elif kind is not _DROPPED:  # a length or coding that is not quite one
            framings += 2
    if framings > 1 or (old and length == CHUNKED):
        last = True
        length = _odd_length(lines, old, head_only or status < 200 or status in _HEAD_ONLY)
    switched = b""
    if connection:
        options: AbstractSet[bytes] = {option.strip(b" \t") for option in connection.split(b",")}
        if not options <= _COMMON_OPTIONS:
            fields = without_named(fields, options)
            dated = dated and b"date" not in options
            if options & _FRAMING:  # somebody may read it without
                last = True
        if b"close" in options:
            last = True
        if status == 101 and b"upgrade" in options:
            switched = upgrade.lower()
    if status < 200:  # the others of this class tell nothing by it (RFC 9110 sections 8.6, 15.2; RFC 9112 section 6.1)
        last = last or length > 0 or length == CHUNKED
        return status, fields, 0, -1, endless, last, switched, dated
    if status == UPGRADE_REQUIRED and upgrade:  # RFC 9110 section 15.5.22: it must say to what
        fields += (b"Upgrade: %b\r\n" % upgrade, b"Connection: Upgrade\r\n")
    if head_only or status in _NO_CONTENT:
        reset = status == 205 and not head_only
        declared = 0 if reset else max(length, -1)
        last = last or _may_have_a_body(status, length, head_only)
        return status, fields, 0, declared, endless, last, b"", dated
    if media and length < 0 and status == 200:
        endless = LIVE
    return status, fields, length, -1, endless, last or not framings, b"", dated


def _odd_length(lines: list[bytes], old: bool, bodiless: bool) -> int:
    """The length that a head tells in more than one way, or in a wrong one: UNTIL_CLOSE where it tells none.

    Equal lengths are one (RFC 9112 section 6.3, rule 5). Otherwise it raises Broken, unless the response is `bodiless`
    whatever it says (rule 1). `old`: HTTP/1.0.
    """
    meanings = [_lines.known.get(line) or _read_field(line) for line in lines]
    lengths = {int(value) for kind, value, _ in meanings if kind is _LENGTH or kind is _SAME_LENGTHS}
    kinds = [kind for kind, _, _ in meanings]
    codings = kinds.count(_CODING) + kinds.count(_BAD_CODING)
    bad_length = _BAD_LENGTH in kinds
    if codings and (lengths or bad_length):
        broken = Rule.LENGTH_AND_CODING
    elif codings > 1:
        broken = Rule.CODING_REPEATED
    elif codings:
        broken = Rule.CODING_SYNTAX if _BAD_CODING in kinds else Rule.CODING_IN_1_0
    elif bad_length:
        broken = Rule.LENGTH_SYNTAX
    elif len(lengths) > 1:
        broken = Rule.LENGTH_REPEATED
    else:
        return lengths.pop()
    if not bodiless:
        raise Broken(broken)
    return UNTIL_CLOSE


def _may_have_a_body(status: int, length: int, head_only: bool) -> bool:
    """Whether a response without a body, by its head, makes it likely that one is sent after all.

    Some servers do so, in words that a client may have chosen. Late enough, they would be the answer to the next one.
    """
    if head_only or status == 205:
        return length != 0
    return length == CHUNKED or (status == 204 and length > 0)


def _read_status(line: bytes) -> tuple[int, bool]:
    """What a status line says: the status, and whether it is HTTP/1.0. Raises Broken."""
    match = STATUS_LINE.fullmatch(line)
    if match is None:
        raise Broken(Rule.STATUS_LINE)
    entry = (int(match[2]), match[1] == b"0")
    _statuses.remember(line, b"", entry)
    return entry


def _read_field(line: bytes) -> Meaning:
    """What a field line means. Raises Broken."""
    match = FIELD_LINE.fullmatch(line)
    if match is None:
        match = _without_space(line)
    name, value = match.groups()
    lower = name.lower()
    kind = RESPONSE_FIELDS.get(lower, _KEPT)
    if kind is _KEPT:
        if disguised(lower):
            kind = _DROPPED  # nobody behind us shall take it for what it is not
    elif kind is _LENGTH:
        if value.startswith(b"00"):
            value = value.lstrip(b"0") or b"0"
        if CONTENT_LENGTH.fullmatch(value) is None:
            same = EQUAL_LENGTHS.fullmatch(value)
            kind, value = (_SAME_LENGTHS, same[1]) if same is not None else (_BAD_LENGTH, b"")
    elif kind is _CODING:
        if value.strip(b" \t,").lower() != b"chunked":  # of a list elements may be empty (RFC 9110 section 5.6.1.2)
            kind = _BAD_CODING
    elif kind is _CONNECTION:
        value = value.lower()
        if value == b"keep-alive":
            kind = _DROPPED  # says nothing; HTTP/1.0 connections are not kept
    elif kind is _EVENT_STREAM and value[:17].lower() != b"text/event-stream":
        kind = _MEDIA if value.lower().startswith(_LIVE_TYPES) else _KEPT
    meaning = (kind, value, b"%b: %b\r\n" % (name, value))
    _lines.remember(line, lower, meaning)
    return meaning


def _unfolded(text: bytes) -> bytes:
    """A head with each fold replaced by a space (RFC 9112 section 5.2). Raises Broken where the status line is folded,
    or a field about framing or the connection: not everybody reads these so. A field's name is looked at once, however
    often it is folded."""
    folded = b"the status line:"
    for line in text.split(b"\r\n")[1:]:
        if line[:1] not in (b" ", b"\t"):
            folded = line
            continue
        if not folded:
            continue
        name = folded.partition(b":")[0].rstrip(b" \t").lower()
        folded = b""
        if b" " in name or RESPONSE_FIELDS.get(name, _KEPT) not in _HARMLESS or disguised(name):
            raise Broken(Rule.FOLDED_LINE)
    return FOLD.sub(b" ", text)


def _behind_lines_of_lf(data: bytes | bytearray, scanned: int) -> int:
    """The index behind a head in which every line ends with LF alone; 0 while there is none.

    RFC 9112 section 2.2 lets a recipient take one. `scanned` bytes were looked at before. Raises Broken where LF and
    CRLF are mixed: who writes CRLF has not meant to end a line there, and somebody else's words may have.
    """
    first = data.find(b"\n")
    if first > 0 and data[first - 1] == _CR:
        if BARE_LF.search(data, scanned):
            raise Broken(Rule.BARE_LF)
        return 0
    stop = data.find(b"\n\n", max(0, scanned - 1))
    if first >= 0 and data.find(b"\r", 0 if scanned <= first else scanned, stop if stop >= 0 else len(data)) >= 0:
        raise Broken(Rule.BARE_LF)
    return stop + 2 if stop >= 0 else 0


def _of_lf(text: bytes, head_only: bool) -> ResponseHead:
    """The head in `text`, all of whose lines end with LF. Raises Broken."""
    text = text[:-2].replace(b"\n", b"\r\n")
    try:
        head = parse(text, head_only)
    except Broken as broken:
        if broken.rule is not Rule.FOLDED_LINE:
            raise
        head = parse(_unfolded(text), head_only)
    return _last(head)


def _last(head: ResponseHead) -> ResponseHead:
    """The same, the last one of its connection."""
    return (*head[:5], True, *head[6:])


def _without_space(line: bytes) -> re.Match[bytes]:
    """A field line that has whitespace before its colon, which is to be removed (RFC 9112 section 5.1). Not if the
    field is about framing or the connection: not everybody finds it then. Raises Broken."""
    match = SPACED_FIELD_LINE.fullmatch(line)
    if match is None or RESPONSE_FIELDS.get(match[1].lower(), _KEPT) not in _HARMLESS or disguised(match[1].lower()):
        raise Broken(field_rule(line))
    return match


_HARMLESS: Final = frozenset({_KEPT, _DATE, _EVENT_STREAM, _DROPPED})
