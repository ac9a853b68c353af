"""The fields of a head: what each is to Shield, by its name, and a mapping over those of a request.

Each direction has a table of names in lower case; a field whose name is not in it is KEPT. Two rules hold for both. A
field that may pass for the framing of a message without being it is not forwarded (`disguised`), nor is one that
Connection names (`without_named`).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from shield.readers import TELLING


class RequestField(enum.Enum):
    """What a field of a request is to us."""

    __hash__ = object.__hash__  # Enum's is written in Python and costs 0.1 µs

    KEPT = enum.auto()  # forwarded as it is
    DROPPED = enum.auto()  # hop-by-hop (RFC 9110 section 7.6.1), or a name that an upstream may mistake for another
    DISGUISED = enum.auto()  # framing under a name that is not quite right: refused
    HOST = enum.auto()
    CONTENT_LENGTH = enum.auto()
    TRANSFER_ENCODING = enum.auto()
    CONNECTION = enum.auto()
    COOKIE = enum.auto()
    USER_AGENT = enum.auto()
    ACCEPT_LANGUAGE = enum.auto()
    EXPECT = enum.auto()
    UPGRADE = enum.auto()
    WEBSOCKET_KEY = enum.auto()
    RANGE = enum.auto()  # left out when it asks for too much (ranges.py)
    X_FORWARDED_FOR = enum.auto()  # the chain of proxies, in one form
    FORWARDED = enum.auto()  # the chain, in the other
    ABOUT_CLIENT = enum.auto()  # says who asks, or by which address the service is reached (client_fields.py)
    LOOP = enum.auto()  # who has sent it on already (RFC 8586): kept, unless that was this Shield
    REQUEST_ID = enum.auto()
    SHOWN_PASS = enum.auto()  # the pass, sent by a program in the header of that name (challenge.header)
    ORIGIN = enum.auto()  # kept, and looked at where other origins read the answer (origins.py)
    TELLING = enum.auto()  # kept, and tells who reads the answer (shield/readers.py)


class ResponseField(enum.Enum):
    """What a field of a response is to us."""

    KEPT = enum.auto()
    DROPPED = enum.auto()  # hop-by-hop, or ours to write
    CONTENT_LENGTH = enum.auto()
    TRANSFER_ENCODING = enum.auto()
    CONNECTION = enum.auto()
    UPGRADE = enum.auto()
    EVENT_STREAM = enum.auto()  # a Content-Type that says that the response may go on for hours
    MEDIA = enum.auto()  # one that says so where no length does: sound, film, the pictures of a camera
    DATE = enum.auto()
    # What framing fields are that do not say what they should; with some responses that does not matter:
    BAD_LENGTH = enum.auto()
    SAME_LENGTHS = enum.auto()  # a list of equal ones
    BAD_CODING = enum.auto()


REQUEST_FIELDS: Final[Mapping[bytes, RequestField]] = {
    b"host": RequestField.HOST,
    b"content-length": RequestField.CONTENT_LENGTH,
    b"transfer-encoding": RequestField.TRANSFER_ENCODING,
    b"connection": RequestField.CONNECTION,
    b"cookie": RequestField.COOKIE,
    b"user-agent": RequestField.USER_AGENT,
    b"accept-language": RequestField.ACCEPT_LANGUAGE,
    b"expect": RequestField.EXPECT,
    b"upgrade": RequestField.UPGRADE,
    b"sec-websocket-key": RequestField.WEBSOCKET_KEY,
    b"range": RequestField.RANGE,
    b"request-range": RequestField.RANGE,  # what Netscape called it; Apache still listens
    b"keep-alive": RequestField.DROPPED,
    b"proxy-connection": RequestField.DROPPED,
    b"proxy-authenticate": RequestField.DROPPED,
    b"proxy-authorization": RequestField.DROPPED,
    b"te": RequestField.DROPPED,
    b"trailer": RequestField.DROPPED,
    b"http2-settings": RequestField.DROPPED,  # for the upgrade to h2c (RFC 7540 section 3.2.1), which is not offered
    b"x-forwarded-for": RequestField.X_FORWARDED_FOR,
    b"forwarded": RequestField.FORWARDED,
    b"cdn-loop": RequestField.LOOP,
    b"x-request-id": RequestField.REQUEST_ID,
    b"origin": RequestField.ORIGIN,
    **dict.fromkeys((name.lower().encode("ascii") for name in TELLING), RequestField.TELLING),
}

RESPONSE_FIELDS: Final[Mapping[bytes, ResponseField]] = {
    b"content-length": ResponseField.CONTENT_LENGTH,
    b"transfer-encoding": ResponseField.TRANSFER_ENCODING,
    b"connection": ResponseField.CONNECTION,
    b"upgrade": ResponseField.UPGRADE,
    b"date": ResponseField.DATE,
    b"content-type": ResponseField.EVENT_STREAM,  # if its value is that of one, else KEPT
    b"keep-alive": ResponseField.DROPPED,
    b"proxy-connection": ResponseField.DROPPED,
    b"proxy-authenticate": ResponseField.DROPPED,
    b"te": ResponseField.DROPPED,
    b"trailer": ResponseField.DROPPED,
}

_NOT_LETTERS = re.compile(rb"[^a-z]+")
_FRAMING: Final = frozenset({b"transferencoding", b"contentlength"})
_LEAST_FRAMING: Final = min(map(len, _FRAMING))  # most names are shorter, and need no closer look


def disguised(name: bytes) -> bool:
    """Whether a field of this name in lower case may pass for one that frames a message, which it is not.

    Transfer_Encoding and Content--Length are such names: CGI and some servers make the real one of them.
    """
    return len(name) >= _LEAST_FRAMING and _NOT_LETTERS.sub(b"", name) in _FRAMING


def without_named(lines: list[bytes], names: AbstractSet[bytes]) -> list[bytes]:
    """The lines without those that Connection names, in lower case (RFC 9110 section 7.6.1). Host and framing are not
    among them."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


class Fields(Mapping[str, str]):
    """The fields of a request by their names, in any case and in the order in which they came.

    Of a repeated field it gives the first value. Nothing is split or kept until somebody asks for the first time, which
    for most requests nobody does.
    """

    __slots__ = ("_head", "_lower")

    def __init__(self, head: bytes) -> None:
        """`head` from its first line to its last CRLF CRLF."""
        self._head = head
        self._lower: bytes | None = None  # the same in lower case

    def lines(self) -> list[bytes]:
        """The lines of all fields as they came, without their ends."""
        return self._head[self._head.find(b"\r\n") + 2 : -4].split(b"\r\n")

    def getall(self, name: str, default: list[str] | None = None) -> list[str] | None:
        """All values of a field, in order; `default` when there is none."""
        wanted = name.lower().encode("utf-8", "surrogateescape") + b":"
        length = len(wanted)
        return [_text(line[length:]) for line in self.lines() if line[:length].lower() == wanted] or default

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        lower = self._lower
        if lower is None:
            lower = self._lower = self._head.lower()
        wanted = _WANTED.get(name) or _wanted(name)
        at = lower.find(wanted)
        if at < 0:
            return default
        return _text(self._head[at + len(wanted) : lower.find(b"\r\n", at)])

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(line.partition(b":")[0].decode("ascii").lower() for line in self.lines()))

    def __len__(self) -> int:
        return len(list(iter(self)))


_WANTED: Final[dict[str, bytes]] = {}
"""What to look for in a head, by the name of the field. Most names that are asked for stand in the code."""
_MOST_WANTED: Final = 128
"""Names that are kept; of any others nothing is."""


def _wanted(name: str) -> bytes:
    """What a line of the field `name` begins with, in lower case and after the line before."""
    wanted = b"\n%b:" % name.lower().encode("utf-8", "surrogateescape")
    if len(_WANTED) < _MOST_WANTED:
        _WANTED[name] = wanted
    return wanted


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape").strip(" \t")
