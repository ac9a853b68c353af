"""Requests that the operator never wants challenged: by network, or by path prefix.

They come from programs that cannot answer: payment callbacks, feeds, monitors. Limits, pressure and tiers hold for them
as they do with `challenge.mode = "off"`.

A prefix is made of whole segments: "/api" is for /api and /api/users, not for /apis. A path that an upstream may read
as another one (dot segments, empty segments, backslashes, escaped slashes and dots) is under no prefix: otherwise
"/api/../search" would be a way around. A name that begins with a dot, such as "/.well-known", is no dot segment.
"""

from __future__ import annotations

from collections.abc import Sequence

from shield.policy.locations import Cidrs
from shield.policy.per_route.readings import ambiguous
from shield.policy.request import Request


class Exempt:
    """Says whether a request is exempt; false at once where the operator named nothing."""

    __slots__ = ("_anybody", "_configured", "_networks", "_paths", "_prefixes")

    def __init__(self, never: Sequence[str]) -> None:
        """`never` are CIDRs and absolute paths. ValueError when one is neither."""
        self._networks = Cidrs([text for text in never if not text.startswith("/")])
        self._configured = tuple(text.rstrip("/") for text in never if text.startswith("/"))
        self.spare(())

    def spare(self, more: Sequence[str]) -> None:
        """Have these paths exempt, too, in place of those that were before."""
        paths = [*self._configured, *more]
        self._paths = frozenset(paths)
        self._prefixes = tuple(f"{path}/" for path in paths)
        self._anybody = bool(paths) or bool(self._networks)

    def __contains__(self, request: Request) -> bool:
        if not self._anybody:
            return False
        path = request.path
        if (path in self._paths or path.startswith(self._prefixes)) and not ambiguous(path):
            return True
        return bool(self._networks) and request.client.address in self._networks
