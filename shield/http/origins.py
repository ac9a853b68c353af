"""Which other origins the service lets read its answers (CORS), so that they can read a refusal of Shield too.

A page on app.example that calls api.example reads the answer only if it carries Access-Control-Allow-Origin. A refusal
without it looks to the page's script like a broken line: no status, no reason, no Retry-After. Shield invents no
permission. It remembers what the service has answered to the same origin at the same host, and says the same again.

    learned from     each answer of the service to a request with Origin, preflights included, that allows that origin
    forgotten        after KEPT_SECONDS without such an answer; and the oldest first, when there are MOST

Table: key = host and Origin as sent, in lower case; value = the field lines to send and when they were learned; at most
MOST entries of at most LONGEST bytes of key, so 1 MiB. One per worker, gone with a restart: the next answer teaches it
again. It is pure: `now` is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MOST: Final = 1024
LONGEST: Final = 320
"""bytes of host and origin together. A name of the DNS has 253 at most."""
KEPT_SECONDS: Final = 86_400.0
"""The longest for which a browser keeps a permission itself (Firefox: a day; Chromium: two hours)."""

_ALLOW: Final = b"access-control-allow-origin:"
_CREDENTIALS: Final = b"access-control-allow-credentials:"
_ANYBODY: Final = b"Access-Control-Allow-Origin: *\r\n"
_CREDITED: Final = b"Access-Control-Allow-Credentials: true\r\n"
_EXPOSED: Final = b"Access-Control-Expose-Headers: Retry-After, RateLimit, RateLimit-Policy\r\n"
"""Fields of Shield's own, which say nothing of the service."""


class Origins:
    """The permissions of the service that are remembered."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: dict[tuple[bytes, bytes], tuple[bytes, float]] = {}  # the one learned last is the last

    def learn(self, host: bytes, origin: bytes, fields: Iterable[bytes], now: float) -> None:
        """Remember it if a response with these field lines, to a request of `origin` for `host`, lets it be read."""
        if len(host) + len(origin) > LONGEST:
            return
        allowed: list[bytes] = []
        credentials = b""
        for line in fields:
            lower = line.lower()
            if lower.startswith(_ALLOW):
                allowed.append(lower[len(_ALLOW) :].strip())
            elif lower.startswith(_CREDENTIALS) and line[len(_CREDENTIALS) :].strip() == b"true":
                credentials = _CREDITED
        origin = origin.lower()
        if allowed not in ([b"*"], [origin]):
            return
        known = self._lines
        key = (host.lower(), origin)
        known.pop(key, None)
        if len(known) >= MOST:
            del known[next(iter(known))]
        known[key] = (b"Access-Control-Allow-Origin: %b\r\n%b%b" % (allowed[0], credentials, _EXPOSED), now)

    def lines(self, host: bytes, origin: bytes, now: float) -> bytes:
        """The field lines with which `origin` may read an answer of `host`; empty where that is not known."""
        found = self._lines.get((host.lower(), origin.lower()))
        return found[0] if found is not None and found[1] + KEPT_SECONDS > now else b""

    def trusted(self, host: bytes, origin: bytes, now: float) -> bytes:
        """The same, where `origin` may also act for who visits `host`: empty if the service lets it send no
        credentials along."""
        found = self.lines(host, origin, now)
        return found if _CREDITED in found and not found.startswith(_ANYBODY) else b""
