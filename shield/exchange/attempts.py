"""What has been tried to bring one request to a server, and whether something else may be tried."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shield.upstream.server import Server

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH"})
"""Methods that RFC 9110 section 9.2.2 and the WebDAV registry call idempotent, of those that are common."""


class Attempts:
    """The attempts of one request after the first. Most requests need none, and so have no such object.

    `number` of attempts that have failed, `tried` servers that are not to be asked again, the `last` server's
    name; `connecting` while a connection is being opened.
    """

    __slots__ = ("connecting", "last", "number", "tried")

    def __init__(self) -> None:
        self.number = 0
        self.tried: tuple[Server, ...] = ()
        self.last = ""
        self.connecting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Attempts {self.number} failed{', connecting' if self.connecting else ''}>"

    def failed(self, server: Server, avoid: bool) -> None:
        """An attempt at `server` has failed, and another one will be made; `avoid` that server then."""
        self.number += 1
        self.last = server.name
        server.counters.retries += 1
        if avoid:
            self.tried = (*self.tried, server)

    def cancel(self) -> None:
        """Cancel the connecting, if it is under way."""
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
