"""What is right and unwise: it harms users, or does not do what it seems to. `shield check` says so; Shield starts all
the same."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shield.accept.certificate_files import load
from shield.complaints import Complaint
from shield.lookup.trouble import bad_lines
from shield.policy.per_route.settings import PAGE_PARTS, RouteSettings
from shield.policy.presets import Presets
from shield.policy.whereabouts import country_of, region_of
from shield.wire.addresses import UnixAddress, parse_address

if TYPE_CHECKING:
    from shield.config.settings import Config

_ASKED_UNASKED: Final = frozenset(
    {
        "/ads.txt",
        "/apple-touch-icon.png",
        "/favicon.ico",
        "/robots.txt",
        "/sitemap.xml",
        "/.well-known/change-password",
        "/.well-known/security.txt",
    }
)
"""Paths that crawlers, link previews and password managers try on any site, linked or not."""
_BODILESS: Final = frozenset({"GET", "HEAD"})
_HTTPS: Final = 443
_WIDEST: Final = {4: 8, 6: 19}
"""Bits of the largest networks that registries give to one provider."""


def unwise(config: Config, wall: float | None = None) -> Iterator[Complaint]:
    """Each such value, and why. `wall` is the time, in seconds since 1970."""
    yield from _listening(config)
    yield from _certificates(config, time.time() if wall is None else wall)
    yield from _admin(config)
    yield from _networks(config)
    yield from _limits(config)
    yield from ((("identity", *at), why) for at, why in bad_lines(config.identity))
    for number, path in enumerate(config.challenge.never):
        if path.startswith("/") and not path.strip("/"):
            why = (
                'is every path, so nobody is ever challenged: name the paths that programs ask for, or say mode = "off"'
            )
            yield ("challenge", "never", number), why
    if config.state.directory and not Path(config.state.directory).is_absolute():
        yield (
            ("state", "directory"),
            "is relative: it is another one, and all is forgotten, where Shield is started in another directory",
        )
    if config.notify.mail and not os.access(config.notify.sendmail, os.X_OK):
        yield ("notify", "mail"), f"cannot be sent: notify.sendmail, {config.notify.sendmail}, cannot be run here"
    for number, route in enumerate(config.route):
        yield from ((("route", number, *at), why) for at, why in _of_route(config, route))
        covers = next((n for n, other in enumerate(config.route[:number]) if other.covers(route)), None)
        if covers is not None:
            yield ("route", number), f"is never the first that fits: route[{covers}] fits all of its requests"
    for place, site in enumerate(config.site):
        for number, route in enumerate(site.route):
            yield from ((("site", place, "route", number, *at), why) for at, why in _of_route(config, route))
            covers = next((n for n, other in enumerate(site.route[:number]) if other.covers(route)), None)
            if covers is not None:
                why = f"is never the first that fits: site[{place}].route[{covers}] fits all of its requests"
                yield ("site", place, "route", number), why


def _listening(config: Config) -> Iterator[Complaint]:
    if config.tls.certificates:
        return
    for number, text in enumerate(config.listen.addresses):
        address = parse_address(text)
        if not isinstance(address, UnixAddress) and address.port == _HTTPS:
            at: tuple[str | int, ...] = ("listen", "address")
            several = not isinstance(config.listen.address, str)
            yield (
                (*at, number) if several else at,
                "is the port of https, and without tls.certificates no TLS is spoken",
            )


def _certificates(config: Config, wall: float) -> Iterator[Complaint]:
    for number, one in enumerate(config.tls.certificates):
        if trouble := load(one).trouble(wall):
            yield ("tls", "certificates", number, "chain"), trouble


def _admin(config: Config) -> Iterator[Complaint]:
    """The admin listener where others than this machine reach it."""
    admin = config.admin
    address = parse_address(admin.address) if admin.address else None
    if address is None or isinstance(address, UnixAddress) or _is_loopback(address.host):
        return
    if not admin.token_file:
        yield (
            ("admin", "address"),
            "is reached from other machines, and without admin.token_file whoever does may read all of it",
        )
    if not admin.certificate:
        yield (
            ("admin", "address"),
            "is reached from other machines without TLS, so tokens can be read on their way: see admin.certificate",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _networks(config: Config) -> Iterator[Complaint]:
    """Networks so wide that everybody, or half of everybody, is in them."""
    for table, key, texts, why in (
        ("listen", "trusted_proxies", config.listen.trusted_proxies, "whoever is in it may say that they are anybody"),
        ("identity", "allow", config.identity.allow, "whoever is in it is never limited, challenged or banned"),
    ):
        for number, text in enumerate(texts):
            if region_of(text):
                if country_of(text):
                    yield (table, key, number), f"is a whole country, and floods come from every one: {why}"
                continue
            network = ipaddress.ip_network(text, strict=False)
            if network.prefixlen == 0:
                yield (table, key, number), f"is everybody: {why}"
            elif network.prefixlen < _WIDEST[network.version]:
                yield (table, key, number), f"is larger than any provider's network: {why}"


def _limits(config: Config) -> Iterator[Complaint]:
    """Buckets that a page empties, and such as are never reached."""
    limits = config.limits
    page = PAGE_PARTS * limits.calm_cost
    for key, rate in (("pass", limits.pass_), ("client", limits.client), ("address", limits.address)):
        if rate.burst < page:
            why = (
                f"has a burst of less than {page:g} units, which a page of {PAGE_PARTS} parts may take: some would lack"
            )
            yield ("limits", key), why
    if limits.address.burst < limits.client.burst:
        yield ("limits", "address"), "is for all clients of an address together, and has less than limits.client"
    promised = [path.rstrip("/") for path in config.policy().challenge.never if path.startswith("/")]
    presets = Presets(config.challenge.presets)
    for number, path in enumerate(limits.honeypots):
        if any(each and (path == each or path.startswith(each + "/")) for each in promised):
            yield ("limits", "honeypots", number), "is for programs (challenge.never, tls.acme), and bans them"
        elif names := presets.names(path):
            yield ("limits", "honeypots", number), f"is for programs (challenge.presets: {names}), and bans them"
        elif path in _ASKED_UNASKED:
            yield ("limits", "honeypots", number), "is what honest programs ask every site for, and bans them"


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
