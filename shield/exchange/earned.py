"""Passes that are given away: to who behaves well, with a document of the service's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shield.http.head import Head
    from shield.operator.metrics import Metrics
    from shield.policy.engine import Engine
    from shield.policy.request import Request

SetCookie = Callable[[str, bool], bytes]
"""(token of a pass, was the document asked for over TLS) -> the value of a Set-Cookie field."""


class EarnedPasses:
    """Hands out earned passes. `anywhere`: with documents that a shared cache may keep, too; they are made private."""

    __slots__ = ("_anywhere", "_engine", "_metrics", "_set_cookie")

    def __init__(self, engine: Engine, metrics: Metrics, set_cookie: SetCookie, anywhere: bool) -> None:
        self._engine = engine
        self._metrics = metrics
        self._set_cookie = set_cookie
        self._anywhere = anywhere

    def fields(self, request: Request, head: Head, fields: list[bytes], secure: bool, now: float) -> list[bytes]:
        """The lines that are added to the `fields` of a response to `request`, which the policy would give a pass."""
        document, private = document_of(fields)
        if head.method != "GET" or not document or not (private or self._anywhere):
            return []
        token = self._engine.grant(request, now)
        if token is None:
            return []
        self._metrics.passes_granted["earned"] += 1
        cookie = b"Set-Cookie: %b\r\n" % self._set_cookie(token, secure)
        return [cookie] if private else [b"Cache-Control: private\r\n", cookie]


def document_of(fields: list[bytes]) -> tuple[bool, bool]:
    """(is it HTML, does the service itself keep it from shared caches or set a cookie with it)."""
    document = private = False
    for line in fields:
        name, _, value = line.lower().partition(b":")
        if name == b"content-type":
            document = value.startswith(b" text/html")
        elif name == b"set-cookie":
            private = True
        elif name == b"cache-control":
            private = private or b"private" in value or b"no-store" in value or b"no-cache" in value
    return document, private
