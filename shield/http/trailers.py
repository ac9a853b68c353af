"""Trailers: the fields behind a message's body (RFC 9110 section 6.5), and which of them may be sent on.

They come when everything has been decided by the fields in front, and some recipients merge them with these. So none is
sent on that would decide anything there: of framing and routing, of who asks and what is asked for, of what the content
is, of how a response is kept (section 6.5.1), nor what Shield itself reads or writes. What is left says something about
the message that nobody knew before: a checksum, a time, a gRPC status.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from shield.http.client_fields import about_client
from shield.http.fields import REQUEST_FIELDS, RESPONSE_FIELDS, disguised
from shield.http.framing import MAX_TRAILER_BYTES, MOST_TRAILERS
from shield.http.grammar import FIELD_LINE
from shield.http.lists import members

_OF_REQUESTS: Final = (
    "authorization cookie early-data if-match if-modified-since if-none-match if-range if-unmodified-since "
    "max-forwards referer traceparent tracestate x-csrf-token x-http-method x-http-method-override x-method-override "
    "x-requested-with"
)
_OF_RESPONSES: Final = (
    "age allow alt-svc authentication-info cache-control clear-site-data expires link location pragma "
    "proxy-status refresh retry-after set-cookie set-cookie2 status strict-transport-security surrogate-control "
    "vary via warning www-authenticate x-frame-options x-sendfile"
)
_MEANS_SOMETHING: Final = frozenset(f"{_OF_REQUESTS} {_OF_RESPONSES}".encode("ascii").split())
_FAMILIES: Final = (b"access-control-", b"content-", b"if-", b"proxy-", b"sec-", b"x-accel-")


def may_follow(name: bytes) -> bool:
    """Whether a field of this name, in lower case, may be sent behind a body."""
    return not (
        name in _MEANS_SOMETHING
        or name in REQUEST_FIELDS
        or name in RESPONSE_FIELDS
        or name.startswith(_FAMILIES)
        or about_client(name)
        or disguised(name)
    )


def lines_of(pairs: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Trailers of HTTP/2 as lines, without CRLF; nothing if there are too many of them."""
    if len(pairs) > MOST_TRAILERS:
        return []
    lines = [b"%b: %b" % pair for pair in pairs]
    return lines if sum(map(len, lines)) <= MAX_TRAILER_BYTES else []


def passable(lines: Sequence[bytes], to_server: bool = False, read: Collection[bytes] = ()) -> list[bytes]:
    """Those of these lines, as they came without CRLF, that may be sent on, each with its CRLF. `to_server`: CGI and
    WSGI map "_" and "-" to one letter there, so no name may have one. `read`: names, in lower case, of fields that
    Shield reads because its settings say so."""
    passed = []
    for line in lines:
        match = FIELD_LINE.fullmatch(line)
        if match is None or (to_server and b"_" in match[1]):
            continue
        name = match[1].lower()
        if name not in read and may_follow(name):
            passed.append(b"%b: %b\r\n" % match.groups())
    return passed


def wanted(te: str | None) -> bool:
    """Whether a TE field says that its sender takes trailers (RFC 9110 section 10.1.4)."""
    if te is None:
        return False
    return any(member.lower() == "trailers" for member in members(te))
