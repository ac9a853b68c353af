"""What no type can say: every table's complaints about itself, and those that concern several tables.

Each check yields (path, what is allowed); validation.py adds the line and what was found.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shield.complaints import Complaint, KeyPath
from shield.lookup.trouble import unusable
from shield.policy.per_route.settings import RouteSettings
from shield.upstream.settings import DEMO, UpstreamSettings
from shield.wire.addresses import TcpAddress, UnixAddress, parse_address

if TYPE_CHECKING:
    from shield.config.settings import Config


def check(config: Config) -> Iterator[Complaint]:
    """Everything that is wrong with a config whose types and ranges are right."""
    for table in fields(config):
        complaints = getattr(getattr(config, table.name), "complaints", None)
        if complaints is not None:
            yield from (((table.name, *at), allowed) for at, allowed in complaints())
    for number, route in enumerate(config.route):
        yield from ((("route", number, *at), allowed) for at, allowed in route.complaints())
    for number, site in enumerate(config.site):
        yield from ((("site", number, *at), allowed) for at, allowed in site.complaints())
    yield from _named_twice(config)
    yield from _sites_at_odds(config)
    yield from _listening_twice(config)
    if config.listen.gate:
        if config.site:
            yield (
                ("listen", "gate"),
                "of no use with [[site]]: one policy answers for all hosts that are asked about",
            )
        if config.tls.redirect_from:
            yield ("tls", "redirect_from"), "of no use with listen.gate: the proxy that asks sends on to https"
    yield from _in_circles(config)
    yield from ((("identity", *at), allowed) for at, allowed in unusable(config.identity))
    yield from _pages(config)
    yield from _hashes(config)
    yield from _of_a_cluster(config)
    for at, route in _routes(config):
        for key in ("asn", "country"):
            if getattr(route, key) and not getattr(config.identity, key):
                yield (*at, key), f"Shield cannot tell which addresses are there: name a database in identity.{key}"


def _of_a_cluster(config: Config) -> Iterator[Complaint]:
    """What several machines need to be one."""
    if config.cluster.store and not config.state.secret_file:
        yield (
            ("cluster", "store"),
            "the nodes know each other by their keys: name a file in state.secret_file, the same at all",
        )


def _routes(config: Config) -> Iterator[tuple[KeyPath, RouteSettings]]:
    for number, route in enumerate(config.route):
        yield ("route", number), route
    for place, site in enumerate(config.site):
        yield from ((("site", place, "route", number), route) for number, route in enumerate(site.route))


def _named_twice(config: Config) -> Iterator[Complaint]:
    """Two routes with one name could not be told apart in the log."""
    seen: dict[str, int] = {}
    for number, route in enumerate(config.route):
        first = seen.setdefault(route.label, number)
        if first != number:
            yield ("route", number), f"route[{first}] has the same name, methods and path: give one of them a name"
    for place, site in enumerate(config.site):
        there = dict(seen)
        for number, route in enumerate(site.route):
            first = there.setdefault(route.label, number)
            if first != number or route.label in seen:
                where = f"route[{first}]" if route.label in seen else f"site[{place}].route[{first}]"
                yield (
                    ("site", place, "route", number),
                    f"{where} has the same name, methods and path: give one of them a name",
                )


def _sites_at_odds(config: Config) -> Iterator[Complaint]:
    """Each host, and each name, is one site's; and one at most is for all other hosts."""
    hosts: dict[str, int] = {}
    names: dict[str, int] = {}
    others: int | None = None
    for place, site in enumerate(config.site):
        first = names.setdefault(site.label, place)
        if first != place and site.hosts:
            yield ("site", place), f'site[{first}] is called "{site.label}", too: give one of them another name'
        for number, host in enumerate(site.hosts):
            first = hosts.setdefault(host, place)
            if first != place:
                yield ("site", place, "hosts", number), f"this host is that of site[{first}]"
        if site.hosts:
            continue
        if others is not None:
            yield ("site", place), f"site[{others}] is for all hosts that no site names already: name this one's hosts"
        elif config.upstream.servers != (DEMO,):
            yield ("site", place), "[upstream] is for all hosts that no site names already: name this one's hosts"
        others = place


def _listening_twice(config: Config) -> Iterator[Complaint]:
    """The listener for plain HTTP and the admin listener need addresses of their own; port 0 is never taken."""
    clients = config.listen.addresses
    for number, address in enumerate(config.tls.redirect_from):
        if address in clients and not address.endswith(":0"):
            yield ("tls", "redirect_from", number), "clients connect here already"
    address = config.admin.address
    if address and address in (*clients, *config.tls.redirect_from) and not address.endswith(":0"):
        yield ("admin", "address"), "clients connect here already: choose another port"


def _in_circles(config: Config) -> Iterator[Complaint]:
    """Servers that are Shield itself. Names other than localhost are not looked up."""
    own = [("listen.address", address) for address in config.listen.addresses]
    own += [("tls.redirect_from", address) for address in config.tls.redirect_from]
    own += [("admin.address", config.admin.address)] * bool(config.admin.address)
    upstreams: list[tuple[KeyPath, UpstreamSettings]] = [(("upstream",), config.upstream)]
    upstreams += [(("site", place, "upstream"), site.upstream) for place, site in enumerate(config.site)]
    for at, upstream in upstreams:
        for number, server in enumerate(upstream.servers):
            for key, address in own:
                with contextlib.suppress(ValueError):  # another complaint
                    if _reaches(server, parse_address(address)):
                        yield (*at, "servers", number), f"this is Shield itself ({key}): requests would circle"
                        break


def _hashes(config: Config) -> Iterator[Complaint]:
    """HashWX needs an extra."""
    if config.challenge.algorithm == "hashwx":
        from shield.replies.hashwx import missing  # noqa: PLC0415

        if why := missing():
            yield ("challenge", "algorithm"), f'"sha256", since "hashwx" {why}'


def _pages(config: Config) -> Iterator[Complaint]:
    """Files for the pages that cannot be used. Only where some are named: it brings the template library along."""
    if config.pages.logo or config.pages.directory:
        from shield.replies.trying import complaints  # noqa: PLC0415

        pages = replace(config.pages, colour="", colour_dark="")  # of which there was another complaint
        yield from ((("pages", *at), allowed) for at, allowed in complaints(pages))


_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "h2c": 80, "h2": 443}
_EVERY_INTERFACE: Final = {"": {4, 6}, "::": {4, 6}, "0.0.0.0": {4}}
"""Of which families connections come to a listener on such a host."""


def _reaches(server: str, listener: TcpAddress | UnixAddress) -> bool:
    """Whether what is sent to this server comes to the listener. ValueError if it is no server."""
    if isinstance(listener, UnixAddress):
        return server == str(listener)
    parts = urlsplit(server)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    if not listener.port or listener.port != port or not parts.hostname:
        return False
    listening = {"localhost": "127.0.0.1"}.get(listener.host, listener.host)
    for name in ("127.0.0.1", "::1") if parts.hostname == "localhost" else (parts.hostname,):
        if name == listening:
            return True
        ip = ipaddress.ip_address(name)
        if ip.version in _EVERY_INTERFACE.get(listening, ()) and (ip.is_loopback or ip.is_unspecified):
            return True
        if ip.is_unspecified and listening in {"127.0.0.1", "::1"}:  # connecting to it is connecting to loopback
            return True
    return False
