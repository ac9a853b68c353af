"""The heads of HTTP/2's streams (RFC 9113 section 8.3): pseudo-fields and fields -> Head, or what is wrong with them.

What is peculiar to HTTP/2 is looked at here. Then the head is written as HTTP/1.1 would write it, and read as any
other: so the same rules hold, the same limits, and the same meaning of each field. That writing is exact: each line is
one field, since no name has a colon and neither names nor values have CR or LF.

libnghttp2 has looked at most of it before. It is looked at again, because what passes here is written to a server of
HTTP/1, to which a LF that slipped through would be another request.

    fields like the last ones    only the target is read       PlainHeads.again()
    another Cookie               that, too                     PlainHeads.with_cookie()
    plain, or not                as in HTTP/1                  PlainHeads.read(), Examiner.examine()
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from shield.http.framing import CHUNKED
from shield.http.grammar import HOST
from shield.http.head import BODY_USUAL, Head, same_authority
from shield.http.rules import Broken, Rule

if TYPE_CHECKING:
    from shield.http.plain_head import PlainHeads

Pairs = Sequence[tuple[bytes, bytes]]
"""Names and values in the order in which they came."""

CONNECTION_FIELDS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings"}
)
"""Fields that belong to a connection of HTTP/1 (RFC 9113 section 8.2.2)."""

UNPACKED_BYTES: Final = 8 * 1024
"""bytes that any head may have, however short it was as it came: twice HPACK's dynamic table of 4 KiB (RFC 9113 section
6.5.2), so that each field in the table may come twice."""
UNPACKED_TIMES: Final = 2
"""How many times as long as it came a head may be, beyond UNPACKED_BYTES. Huffman's code makes 8 bits of 5 at most (RFC
7541 appendix B), which is less. A longer head names the same few fields of the table again and again: it would cost us
what 32 KB cost, and its sender 20 bytes."""

REPEATED_LIMIT: Final = 4096
"""bytes. No larger head is kept for the next one of its connection, as in head_reader.py."""

_KNOWN: Final = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
# RFC 9113 section 8.2.1: a name is a token without upper case. Several of them, each with LF behind it.
_NAMES: Final = re.compile(rb"(?:[-!#$%&'*+.^_`|~0-9a-z]++\n)*+")
_WEBSOCKET: Final = b"websocket"


class Http2Heads:
    """Reads the heads of one connection, over which `scheme` is spoken: b"http" or b"https". A trusted proxy may say
    either, as it may have ended TLS (`any_scheme`)."""

    __slots__ = ("_any_scheme", "_last", "_plain", "_scheme")

    def __init__(self, plain: PlainHeads, scheme: bytes, any_scheme: bool) -> None:
        """`plain`: what all connections share, the limits among it."""
        self._plain = plain
        self._scheme = scheme
        self._any_scheme = any_scheme
        self._last: LastHead | None = None  # a plain head without a body

    def read(self, pairs: Pairs, ended: bool, new_key: Callable[[], bytes], received: int) -> Head:
        """The head that `pairs` are, which came in `received` bytes or less; `ended`: no body follows. `new_key` makes
        a Sec-WebSocket-Key for a server of HTTP/1, where a WebSocket is asked for (RFC 8441 section 5). Raises
        Broken."""
        last = self._last
        if last is not None and ended:
            head = last.again(pairs, self._plain, received)
            if head is not None:
                return head
        pseudo, fields = _parted(pairs)
        method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
        authority = pseudo.get(b":authority", b"")
        self._check_target(pseudo, method, path)
        protocol = pseudo.get(b":protocol")
        if protocol is not None:
            return self._tunnel(method, path, authority, protocol, fields, ended, new_key, received)
        text, stop = self._write(method, path, authority, fields, received)
        return self._read(text, stop, pairs, ended)

    def _check_target(self, pseudo: dict[bytes, bytes], method: bytes, path: bytes) -> None:
        if method == b"CONNECT" and b":protocol" not in pseudo:
            raise Broken(Rule.METHOD)
        if not method or not path or b":scheme" not in pseudo:
            raise Broken(Rule.PSEUDO_FIELD)
        scheme = pseudo[b":scheme"]
        if scheme != self._scheme and not (self._any_scheme and scheme in _SCHEMES):
            raise Broken(Rule.SCHEME)
        if path[0] != _SLASH and not (path == b"*" and method == b"OPTIONS"):
            raise Broken(Rule.TARGET_FORM)

    def _write(self, method: bytes, path: bytes, authority: bytes, fields: Pairs, received: int) -> tuple[bytes, int]:
        """The head as HTTP/1.1 writes it, and where its first line ends. Raises Broken."""
        names = [name for name, _ in fields]
        if _NAMES.fullmatch(b"%b\n" % b"\n".join(names) if names else b"") is None:
            raise Broken(Rule.FIELD_NAME)
        if not CONNECTION_FIELDS.isdisjoint(names):
            raise Broken(Rule.CONNECTION_FIELD)
        if any(name == b"te" and value != b"trailers" for name, value in fields):
            raise Broken(Rule.CONNECTION_FIELD)
        if names.count(b"cookie") > 1:
            fields = _one_cookie(fields)
        line = b"%b %b HTTP/1.1" % (method, path)
        lines = [line]
        if authority:
            lines.append(b"host: " + authority)
            lines += [b"%b: %b" % pair for pair in fields if pair[0] != b"host"]
            hosts = [value for name, value in fields if name == b"host"]
            if hosts:
                self._compare(authority, hosts)
        else:
            lines += [b"%b: %b" % pair for pair in fields]
        text = b"%b\r\n\r\n" % b"\r\n".join(lines)
        max_head = self._plain.examiner.max_head
        if len(text) > _most(max_head, received):
            raise Broken(Rule.TARGET_SIZE if len(line) > max_head else Rule.HEAD_SIZE)
        if text.count(b"\n") != len(lines) + 1 or text.count(b"\r") != len(lines) + 1:
            raise Broken(Rule.CONTROL_CHARACTER)
        return text, len(line)

    def _compare(self, authority: bytes, hosts: list[bytes]) -> None:
        """RFC 9113 section 8.3.1: Host, if there is one, says what `authority` says. Raises Broken."""
        if len(hosts) > 1:
            raise Broken(Rule.HOST_REPEATED)
        if HOST.fullmatch(authority) is None or HOST.fullmatch(hosts[0]) is None:
            raise Broken(Rule.HOST_SYNTAX)
        if not same_authority(authority, hosts[0], self._scheme.decode("ascii")):
            raise Broken(Rule.HOST_DIFFERS)

    def _read(self, text: bytes, stop: int, pairs: Pairs, ended: bool) -> Head:
        plain = self._plain
        head = plain.read(text, stop)
        if head is not None and ended and not head.length:
            self._last = LastHead(head, pairs, text, stop) if len(text) <= REPEATED_LIMIT else None
        if head is None:
            head = plain.examiner.examine(text, stop)
        head.http = "2"
        if ended:
            if head.length:
                raise Broken(Rule.STREAM_ERROR)
        elif not head.length and not _says_length(pairs):
            head.length = CHUNKED
            head.doubtful = head.method not in BODY_USUAL
        return head

    def _tunnel(
        self,
        method: bytes,
        path: bytes,
        authority: bytes,
        protocol: bytes,
        fields: Pairs,
        ended: bool,
        new_key: Callable[[], bytes],
        received: int,
    ) -> Head:
        """A WebSocket by extended CONNECT (RFC 8441), as HTTP/1.1 asks for one (RFC 6455 section 4.1). Raises
        Broken."""
        if method != b"CONNECT" or not authority or ended:
            raise Broken(Rule.PSEUDO_FIELD)
        if protocol != _WEBSOCKET:
            raise Broken(Rule.METHOD)
        kept = [pair for pair in fields if pair[0] != b"sec-websocket-key"]
        if _says_length(kept):
            raise Broken(Rule.PSEUDO_FIELD)
        text, stop = self._write(b"GET", path, authority, kept, received)
        upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: %b\r\n\r\n" % new_key()
        text = text[:-2] + upgrade
        examiner = self._plain.examiner
        if len(text) > examiner.max_head:
            raise Broken(Rule.HEAD_SIZE)
        head = examiner.examine(text, stop)
        head.http = "2"
        return head


class LastHead:
    """A plain head without a body, and what it was read from: most requests of a connection differ from the one before
    in their path, or in their path and Cookie. What is the same need not be looked at again."""

    __slots__ = ("_cookie", "_cookies", "_head", "_line", "_pairs", "_path", "_rest", "_text")

    def __init__(self, head: Head, pairs: Pairs, text: bytes, stop: int) -> None:
        """`head` was written as `text`, whose first line ends at `stop`. It has one :path, and no fields before it."""
        self._head = _copy(head)
        self._pairs = pairs
        self._text = text
        self._line = stop
        names = [name for name, _ in pairs]
        self._path = names.index(b":path")
        count = names.count(b"cookie")
        first = names.index(b"cookie") if count else len(names)
        together = names[first : first + count].count(b"cookie") == count
        self._cookies = first if together else len(names)  # where those begin that may be others
        self._rest = first + count if together else len(names)  # and where what is behind them does
        self._cookie = text.find(_COOKIE, stop) + 2 if count else 0  # its line in `text`

    def again(self, pairs: Pairs, plain: PlainHeads, received: int) -> Head | None:
        """The head that `pairs` are, which came in `received` bytes or less and are the whole request; None if it must
        be read in full. Raises Broken when the target is too long."""
        last, at, cookies, rest = self._pairs, self._path, self._cookies, self._rest
        if pairs == last:
            return _copy(self._head)
        behind = len(pairs) - len(last) + rest  # where what follows the cookies begins in `pairs`
        if behind < cookies or pairs[:at] != last[:at] or pairs[at + 1 : cookies] != last[at + 1 : cookies]:
            return None
        name, path = pairs[at]
        if name != b":path" or pairs[behind:] != last[rest:]:
            return None
        line = b"%b %b HTTP/1.1" % (self._head.method.encode("ascii"), path)
        crumbs = pairs[cookies:behind]
        if crumbs != last[cookies:rest]:
            return self._with_cookie(crumbs, line, plain, received)
        head = Head()
        head.__dict__.update(self._head.__dict__)
        return head if plain.again(head, line, len(line)) else None

    def _with_cookie(self, crumbs: Pairs, line: bytes, plain: PlainHeads, received: int) -> Head | None:
        if not crumbs or not self._cookie or any(name != b"cookie" for name, _ in crumbs):
            return None
        text, at = self._text, self._cookie
        cookie = b"cookie: " + b"; ".join([value for _, value in crumbs])
        data = b"%b%b%b%b" % (line, text[self._line : at], cookie, text[text.find(b"\r\n", at) :])
        if len(data) > _most(plain.examiner.max_head, received):
            return None
        start = at - self._line + len(line)
        return plain.with_cookie(self._head, data, len(line), start, start + len(cookie))


def _most(max_head: int, received: int) -> int:
    """bytes that a head may have that came in so many."""
    return min(max_head, UNPACKED_BYTES + UNPACKED_TIMES * received)


def _copy(head: Head) -> Head:
    """A head that stays as it is, whatever its request goes through."""
    other = Head()
    other.__dict__.update(head.__dict__)
    other.http = "2"
    return other


def _parted(pairs: Pairs) -> tuple[dict[bytes, bytes], Pairs]:
    """Pseudo-fields by name, and the fields. Raises Broken where one is unknown, comes twice or late."""
    pseudo: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name[:1] != b":":
            break
        if name in pseudo or name not in _KNOWN:
            raise Broken(Rule.PSEUDO_FIELD)
        pseudo[name] = value
    fields = pairs[len(pseudo) :]
    for name, _ in fields:
        if name[:1] == b":":
            raise Broken(Rule.PSEUDO_FIELD)
    return pseudo, fields


def _one_cookie(fields: Pairs) -> Pairs:
    """The same with one Cookie: clients may send each of its parts as a field (RFC 9113 section 8.2.3)."""
    whole = b"cookie", b"; ".join([value for name, value in fields if name == b"cookie"])
    return [*(pair for pair in fields if pair[0] != b"cookie"), whole]


def _says_length(fields: Pairs) -> bool:
    return any(name == b"content-length" for name, _ in fields)


_COOKIE: Final = b"\r\ncookie: "
_SCHEMES: Final = frozenset({b"http", b"https"})
_SLASH: Final = ord("/")
