"""A reply that Shield gives itself, as a value: what is said, and how HTTP/1.1 writes it.

Nothing in replies/ knows a connection. Its functions return a `Reply`, or, when the reply depends on a body that has
not been read yet, a `BodyWanted`; the connection reads, sends, counts and closes. Status, fields and body are kept
apart, so a protocol other than HTTP/1.1 can write the same reply in its own form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shield.http.response_head import STATUS_LINES

_CLOSE: Final = b"Connection: close\r\n"


class Reply:
    """Status, field lines and body of one reply. Never changed once it is made.

    `fields` are complete lines, CRLF included, with Date and Content-Length among them and without Connection, which
    HTTP/1.1 alone has. `closes` says that the connection must end with this reply, because the position in what the
    client sends is no longer certain.
    """

    # Not a frozen dataclass: making one of those takes 0.6 µs longer, and each challenge is a reply of its own.
    __slots__ = ("_forms", "body", "closes", "fields", "pairs", "status")

    def __init__(self, status: int, fields: bytes, body: bytes, closes: bool = False) -> None:
        self.status = status
        self.fields = fields
        self.body = body
        self.closes = closes
        self._forms: list[tuple[bytes, ...] | None] = [None, None, None, None]
        self.pairs: dict[bool, list[tuple[bytes, bytes]]] = {}  # its head in HTTP/2, by whether it goes over TLS

    def __repr__(self) -> str:
        return f"<Reply {self.status}, {len(self.body)} bytes{', closes' if self.closes else ''}>"

    def with_fields(self, lines: bytes) -> Reply:
        """The same with more field lines; itself where there are none."""
        return Reply(self.status, self.fields + lines, self.body, self.closes) if lines else self

    def summary(self) -> str:
        """What it says, in a line: of a problem document the detail and the reason, else the body if it is a line."""
        body = self.body
        if body.startswith(b"{"):
            said = orjson.loads(body)
            detail, reason = said.get("detail", ""), said.get("reason")
            return f"{detail} ({reason})" if reason else str(detail)
        return f"{self.status}" if body.startswith(b"<") else body.decode("utf-8", "replace").strip()

    def message(self, head_only: bool, close: bool, request_id: bytes = b"") -> bytes:
        """The reply as an HTTP/1.1 message. `head_only`: without the body, to HEAD; `close`: the last one of its
        connection. A page or a problem document names `request_id`, to be quoted; one of more than 64 characters is
        cut.

        Each of the four forms is made when it is first asked for and kept: a flood gets the same refusal many times.
        """
        form = head_only | close << 1
        parts = self._forms[form]
        if parts is None:
            parts = self._forms[form] = self._write(head_only, close)
        if not request_id or len(parts) == 1:
            return parts[0]
        name = request_id[:NAME_CHARS]
        return b"".join((parts[1], name, parts[2], _SPACES[len(name)], parts[3]))

    def _write(self, head_only: bool, close: bool) -> tuple[bytes, ...]:
        """The message; where it has room for an id, also what comes before it, what ends it and what comes later."""
        closing = _CLOSE if close else b""
        body = b"" if head_only else self.body
        message = b"%b%b%b\r\n%b" % (STATUS_LINES[self.status], self.fields, closing, body)
        for room, begins, ends in _ROOMS:
            before, _, after = message.partition(room)
            if after:
                return message, before + begins, ends, after
        return (message,)


@dataclass(frozen=True, slots=True)
class Template:
    """A reply with values left open: `fields` is a format for `bytes % values`, and the body may hold WAIT."""

    status: int
    fields: bytes
    body: bytes
    closes: bool = False

    def fill(self, *values: Any, wait: int = 0) -> Reply:
        """The reply with `values` in the order of the fields; the first one is the date. `wait`: seconds, for pages."""
        body = self.body.replace(WAIT, b"%6d" % wait) if wait else self.body
        return Reply(self.status, self.fields % values, body, self.closes)


@dataclass(frozen=True, slots=True)
class BodyWanted:
    """What is said depends on the body of the request, which is to be read first.

    Whoever serves the request reads at most `limit` bytes and sends `reply(body, now)`; for a longer body
    `reply(None, now)`.
    """

    limit: int
    reply: Callable[[bytes | None, float], Reply]


OPEN: Final = b"%b"
"""The date of a template."""

WAIT: Final = b"@wait@"
"""Stands for the seconds to wait in the body of a page, which are as long: the length of the body is known before."""

NAME_CHARS: Final = 64
_SPACES: Final = tuple(b" " * (NAME_CHARS - length) for length in range(NAME_CHARS + 1))
"""What comes after an id, by its length: as many bytes for both together, whatever the id."""
_ON_PAGE: Final = b"<code>", b"</code>"
_AS_MEMBER: Final = b',"request_id":"', b'"'
UNNAMED: Final = b"<!--%b-->" % (b" " * (len(b"".join(_ON_PAGE)) + NAME_CHARS - len("<!---->")))
"""Stands on a page for the id of its request, so that it is as long with one as without."""
NO_MEMBER: Final = b" " * (len(b"".join(_AS_MEMBER)) + NAME_CHARS)
"""The same for a problem document, behind its last member."""
_ROOMS: Final = ((UNNAMED, *_ON_PAGE), (NO_MEMBER, *_AS_MEMBER))


def head_fields(date: bytes, media: bytes, length: bytes, more: bytes) -> bytes:
    """The field lines of a reply with a body: those that every one has, then `more`."""
    return b"Date: %b\r\nContent-Type: %b\r\nContent-Length: %b\r\nX-Content-Type-Options: nosniff\r\n%b" % (
        date,
        media,
        length,
        more,
    )
