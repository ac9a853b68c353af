"""What the routes that a request is under say of it, put together.

A request is under one route, and may be under others as far as these restrict, since its path can be read in several
ways (readings.py). What allows more is said by that one route only, and only where the path is spelled as its own: the
service may read another spelling as a path elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shield.policy.per_route.brake import ENTRIES, LEAST_ENTRIES, Brake, Level
from shield.policy.per_route.settings import RouteSettings, is_host, is_method, is_type
from shield.policy.request import Request
from shield.policy.whereabouts import Where, nowhere

NEVER: Final = "never"
ALWAYS: Final = "always"


class PerRoute:
    """One table [[route]], and its buckets. `brake` is None without a limit, `conditional` true where host, content
    type, AS or country must be looked at."""

    __slots__ = ("_where", "brake", "conditional", "folded", "number", "prefix", "settings")

    def __init__(self, number: int, settings: RouteSettings, entries: int, where: Where = nowhere) -> None:
        """`entries`: buckets of each level; `where` tells of an address."""
        self._where = where
        self.number = number
        self.settings = settings
        self.prefix = settings.prefix
        self.folded = settings.prefix.lower()
        levels = [Level(name, allowance, entries) for name, allowance in settings.limits()]
        self.brake = Brake(settings.label, levels, settings.dry_run) if levels else None
        self.conditional = bool(settings.hosts or settings.types or settings.asn or settings.country)

    def is_for(self, method: str) -> bool:
        """Whether it is for requests with a method, in upper case."""
        methods = self.settings.methods
        return not methods or any(is_method(method, named) for named in methods)

    def holds(self, request: Request) -> bool | None:
        """Whether host, content type, AS and country of a request are its; None where the request does not name its
        host."""
        settings = self.settings
        hosts, types = settings.hosts, settings.types
        if settings.asn or settings.country:
            there = self._where(request.client.address)
            if settings.asn and there.asn not in settings.asn:
                return False
            if settings.country and there.country not in settings.country:
                return False
        headers = request.headers
        if types:
            kind = headers.get("Content-Type", "").partition(";")[0].strip(" \t").lower()
            if not any(is_type(kind, pattern) for pattern in types):
                return False
        if not hosts:
            return True
        host = headers.get("Host")
        if host is None:
            return None  # HTTP/1.0: some services take the host of the target, some their first
        name = _without_port(host.lower()).rstrip(".")
        return any(is_host(name, pattern) for pattern in hosts)


def per_route(settings: Sequence[RouteSettings], sites: int = 1, where: Where = nowhere) -> tuple[PerRoute, ...]:
    """All routes of one of so many sites, in their order."""
    levels = sum(1 for one in settings for _ in one.limits())
    entries = max(LEAST_ENTRIES, ENTRIES // max(levels, 1) // sites)
    return tuple(PerRoute(number, one, entries, where) for number, one in enumerate(settings))


class Terms:
    """What holds for a request. `route` is the one that it is under; `cost` in units, `most_body` in bytes, timeouts in
    seconds, None where it is as elsewhere. `plain`: what the route allows holds, too. `least_cost`, `narrow_body`: the
    bounds of routes of which only what restricts holds; 0 for none."""

    __slots__ = ("always_dry", "body_buffer", "brakes", "cost", "first_byte", "idle", "least_cost", "mode",
                 "most_body", "narrow_body", "plain", "route")  # fmt: skip

    def __init__(self, route: PerRoute, plain: bool, others: Sequence[PerRoute] = ()) -> None:
        """`plain`: the request is spelled as `route` is, and may have what it allows."""
        self.route = route
        self.plain = plain
        together = (route, *others)
        self.brakes = tuple(one.brake for one in together if one.brake is not None)
        real = [one.settings for one in together if not one.settings.dry_run]
        own = route.settings if plain and not route.settings.dry_run else None
        self.mode = own.challenge if own is not None else None
        if any(one.challenge == ALWAYS for one in real):
            self.mode = ALWAYS
        self.always_dry = any(one.settings.dry_run and one.settings.challenge == ALWAYS for one in together)
        self.cost = own.cost if own is not None else None
        self.least_cost = max((one.cost for one in real if one.cost is not None and one is not own), default=0.0)
        self.most_body = own.body_bytes if own is not None else None
        bodies = [one.body_bytes for one in real if one.body_bytes is not None and one is not own]
        self.narrow_body = min(bodies, default=0)
        self.first_byte = own.first_byte_timeout if own is not None else None
        self.idle = own.idle_timeout if own is not None else None
        self.body_buffer = own.body_buffer_bytes if own is not None else None

    def body_limit(self, usual: int) -> int:
        """Bytes that a body may have, 0 for any number. `usual`: http.max_body_bytes."""
        most = usual if self.most_body is None else self.most_body
        return min(most, self.narrow_body) if most and self.narrow_body else most or self.narrow_body

    def price(self, estimated: float) -> float:
        """Units that a request costs, which is taken to cost `estimated` by what was measured."""
        cost = estimated if self.cost is None else self.cost
        return max(cost, self.least_cost)


def _without_port(host: str) -> str:
    return host if host.endswith("]") else host.partition(":")[0] if host[:1] != "[" else host.partition("]")[0] + "]"
