"""Whom Shield must never challenge, in the operator's words: networks and path prefixes.

They are programs that cannot answer: payment callbacks, feeds, monitors. Limits, pressure and tiers hold for them as
they do with `challenge.mode = "off"`. A prefix is of whole segments: "/api" is for /api and /api/users, not /apis. A
path that an upstream may read as another one (dot segments, empty segments, backslashes, escaped slashes and dots) is
under no prefix, or "/api/../search" would be a way around.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from shield.policy.locations import Cidrs
from shield.policy.request import Request

_AMBIGUOUS: Final = re.compile(r"/\.|//|\\|%(?:2[ef5]|5c)", re.IGNORECASE)


class Exempt:
    """Answers whether a request is one of them; false at once where there are none."""

    __slots__ = ("_anybody", "_networks", "_paths", "_prefixes")

    def __init__(self, never: Sequence[str]) -> None:
        """`never` are CIDRs and absolute paths. ValueError when one is neither."""
        paths = [text.rstrip("/") for text in never if text.startswith("/")]
        self._networks = Cidrs([text for text in never if not text.startswith("/")])
        self._paths = frozenset(paths)
        self._prefixes = tuple(f"{path}/" for path in paths)
        self._anybody = bool(never)

    def __contains__(self, request: Request) -> bool:
        if not self._anybody:
            return False
        path = request.path
        if (path in self._paths or path.startswith(self._prefixes)) and not _AMBIGUOUS.search(path):
            return True
        return bool(self._networks) and request.client.address in self._networks
