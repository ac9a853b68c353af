"""What the operator has set for single routes (`[[route]]`), as far as a client connection carries it out: how large a
request's body may be, and how long the service may take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shield.http.framing import CHUNKED

if TYPE_CHECKING:
    from shield.client.watch import Limits, Watch
    from shield.policy.per_route.selecting import Routing
    from shield.policy.per_route.terms import Terms
    from shield.policy.request import Request


class Routed:
    """One per site; without `routing` nothing is set for single routes. `most_body`: http.max_body_bytes, or the
    site's; 0 for any number."""

    __slots__ = ("_limits", "_most_body", "_routing", "_usual")

    def __init__(self, routing: Routing | None, usual: Limits, most_body: int) -> None:
        self._routing = routing
        self._usual = usual
        self._most_body = most_body
        self._limits: dict[tuple[float | None, float | None], Limits] = {}  # one for each pair that is set somewhere

    def of(self, request: Request) -> Terms | None:
        """What the routes say of a request."""
        return None if self._routing is None else self._routing.of(request)

    def set_limits(self, watch: Watch, terms: Terms | None) -> None:
        """Have the connection's next waits take as long as `terms` say."""
        if terms is None or (terms.first_byte is None and terms.idle is None):
            watch.limits = self._usual
            return
        wanted = terms.first_byte, terms.idle
        found = self._limits.get(wanted)
        if found is None:
            found = self._limits[wanted] = self._usual.but(*wanted)
        watch.limits = found

    def most_body(self, terms: Terms | None) -> int:
        """Bytes that the body may have; 0 for any number."""
        return self._most_body if terms is None else terms.body_limit(self._most_body)


def too_long(length: int, most: int) -> bool:
    """Whether a body of a declared length may not come. One in chunks may, until it has become too long."""
    return length != CHUNKED and 0 < most < length


def largest(usual: int, others: Iterable[int | None]) -> int:
    """The most bytes that any body may have: `usual`, which is 0 for any number, or one of the others."""
    return max([usual, *(other for other in others if other is not None)]) if usual else 0
