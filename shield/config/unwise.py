"""What is right and unwise: it harms users, or does not do what it seems to. `shield check` says so; Shield starts all
the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from shield.complaints import Complaint
from shield.policy.per_route.settings import PAGE_PARTS, RouteSettings

if TYPE_CHECKING:
    from shield.config.settings import Config

_BODILESS: Final = frozenset({"GET", "HEAD"})


def unwise(config: Config) -> Iterator[Complaint]:
    """Each such value, and why."""
    if config.notify.mail and not os.access(config.notify.sendmail, os.X_OK):
        yield ("notify", "mail"), f"cannot be sent: notify.sendmail, {config.notify.sendmail}, cannot be run here"
    for number, route in enumerate(config.route):
        yield from ((("route", number, *at), why) for at, why in _of_route(config, route))
        covers = next((n for n, other in enumerate(config.route[:number]) if other.covers(route)), None)
        if covers is not None:
            yield ("route", number), f"is never the first that fits: route[{covers}] fits all of its requests"


def _of_route(config: Config, route: RouteSettings) -> Iterator[Complaint]:
    pages = not route.methods or not _BODILESS.isdisjoint(route.methods)
    everywhere = not route.prefix and pages and not route.types
    for level, allowance in route.limits():
        if everywhere and allowance.burst < PAGE_PARTS:
            yield (
                ("limit", level),
                f"is less than the {PAGE_PARTS} requests that a page may take: pages would lack parts",
            )
    if everywhere and route.challenge == "never":
        yield ("challenge",), "nobody is challenged on any page: name the paths that programs ask for"
    if route.challenge == "never" and config.challenge.mode == "off":
        yield ("challenge",), 'has no effect while challenge.mode is "off": nobody is challenged'
    if route.types and route.methods and _BODILESS.issuperset(route.methods):
        yield ("types",), "has no effect with these methods: their requests have no body, and so no content type"
    client, address = route.limit.client, route.limit.address
    if client and address and address.per_minute <= client.per_minute and address.burst <= client.burst:
        yield ("limit", "client"), "has no effect: limit.address allows no more to all clients there together"
    burst = config.limits.client.burst
    if client and route.cost is not None and client.burst * route.cost > burst:
        units = client.burst * route.cost
        yield ("limit", "client"), f"is never reached: that many cost {units:g} units, and limits.client has {burst:g}"
    tried = any(route.limits()) or route.challenge == "always"
    if route.dry_run and not tried:
        yield ("dry_run",), 'tries nothing: only limit and challenge = "always" are tried, and nothing else holds'
    if any(route.limits()) and config.listen.trusted_proxies and config.listen.workers != 1:
        yield ("limit",), "is for each worker: behind listen.trusted_proxies they share no limits of routes"
