"""Finds the routes that a request is under.

By method and path this is remembered, as for most requests nothing else matters. What is remembered is bounded by
`MOST_KEPT`, first in, first out; long paths are not, since they are cut as keys.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from shield.policy.per_route.readings import ambiguous, readings, under
from shield.policy.per_route.settings import RouteSettings
from shield.policy.per_route.terms import PerRoute, Terms, per_route
from shield.policy.request import Request
from shield.policy.whereabouts import Where, nowhere

MOST_KEPT: Final = 4096
"""Methods and paths."""
KEPT_CHARS: Final = 256
"""Of a method and path that is remembered."""

Found = tuple[tuple[PerRoute, ...], ...]
"""For each reading of a path the routes that it may be under, in their order."""


class Routing:
    """All routes of a config, which cannot be changed: another config has another one."""

    __slots__ = ("_kept", "_order", "_plain", "routes")

    def __init__(self, settings: Sequence[RouteSettings], sites: int = 1, where: Where = nowhere) -> None:
        self.routes = per_route(settings, sites, where)
        self._plain = {one: Terms(one, True) for one in self.routes}
        self._kept: dict[str, Terms | Found | None] = {}
        self._order: deque[str] = deque()

    def of(self, request: Request) -> Terms | None:
        """What the routes say of a request; None when it is under none."""
        target = request.method + request.path
        try:
            found = self._kept[target]
        except KeyError:
            found = self._find(request.method.upper(), request.path)
            if len(target) <= KEPT_CHARS:
                self._keep(target, found)
        return self._choose(found, request) if isinstance(found, tuple) else found

    def _keep(self, target: str, found: Terms | Found | None) -> None:
        if len(self._kept) >= MOST_KEPT:
            del self._kept[self._order.popleft()]
        self._kept[target] = found
        self._order.append(target)

    def _find(self, method: str, path: str) -> Terms | Found | None:
        """What holds for all requests with a method and a path; where that depends, what it may be."""
        routes = [one for one in self.routes if one.is_for(method)]
        read = readings(path)
        if not read:  # it may be under any
            return tuple((one,) for one in routes)
        found = tuple(tuple(one for one in routes if under(text, one.folded)) for text in read)
        if not any(found):
            return None
        first = found[0]
        if len(found) == 1 and not first[0].conditional:
            return self._plain[first[0]] if _as_written(path, first[0]) else Terms(first[0], False)
        return found

    def _choose(self, found: Found, request: Request) -> Terms | None:
        """The first route of each reading whose conditions hold."""
        chosen: dict[PerRoute, bool] = {}  # and whether the request may have what it allows
        for number, candidates in enumerate(found):
            for one in candidates:
                holds = one.holds(request)
                if holds is False:
                    continue
                certain = holds is True and number == 0 and _as_written(request.path, one)
                chosen[one] = chosen.get(one, False) or certain
                if holds:
                    break
        if not chosen:
            return None
        routes = sorted(chosen, key=lambda one: (not chosen[one], one.number))
        best, *others = routes
        return self._plain[best] if chosen[best] and not others else Terms(best, chosen[best], others)


def _as_written(path: str, route: PerRoute) -> bool:
    """Whether no service reads a path as one outside of a route's."""
    return under(path, route.prefix) and not ambiguous(path)
