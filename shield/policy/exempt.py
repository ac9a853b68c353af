"""Requests that the operator never wants challenged: by network, by path prefix, or by a preset (presets.py).

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
from shield.policy.presets import Budget, Presets
from shield.policy.request import Request


class Exempt:
    """Says whether a request is exempt; false at once where the operator named nothing."""

    __slots__ = ("_anybody", "_configured", "_networks", "_paths", "_prefixes", "_presets")

    def __init__(self, never: Sequence[str], presets: Sequence[str] = ()) -> None:
        """`never` are CIDRs and absolute paths, `presets` names. ValueError when one of the first is neither."""
        self._presets = Presets(presets) if presets else None
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
        if self._anybody and self._is_named(request):
            return True
        return self._presets is not None and self._presets.of(request) is not None

    def budget(self, request: Request) -> Budget | None:
        """What a newcomer's request is charged to under pressure besides, because it is exempt by a preset only."""
        if self._presets is None or (self._anybody and self._is_named(request)):
            return None
        return self._presets.of(request)

    def close_window(self, capacity: float) -> None:
        """Go by so many units/s that the service can do, as far as they are this worker's."""
        if self._presets is not None:
            self._presets.close_window(capacity)

    def _is_named(self, request: Request) -> bool:
        """Whether a request is exempt by its network or its path."""
        path = request.path
        if (path in self._paths or path.startswith(self._prefixes)) and not ambiguous(path):
            return True
        return bool(self._networks) and request.client.address in self._networks
