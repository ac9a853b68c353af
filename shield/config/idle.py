"""Keys that are right but have no effect beside the others. `shield check` says so; Shield starts all the same."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from shield.complaints import Complaint

if TYPE_CHECKING:
    from shield.config.settings import Config


def idle(config: Config) -> Iterator[Complaint]:
    """Each key that differs from its default and has no effect, and why."""
    usual = type(config)()
    for table, keys, why in _idle(config):
        for key in keys:
            if getattr(getattr(config, table), key) != getattr(getattr(usual, table), key):
                yield (table, key), f"has no effect {why}"


def _idle(config: Config) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Tables, keys of theirs that have no effect, and why."""
    yield from _idle_listening(config)
    yield from _idle_forwarding(config)
    if not config.admin.address:
        yield "admin", ("hosts",), "while admin.address is empty"
    if config.log.level not in {"debug", "info"}:
        yield "log", ("requests", "refused_per_second"), f'while log.level is "{config.log.level}"'
    if not any(place.startswith("syslog") for place in (config.log.output, config.log.access_output)):
        yield "log", ("syslog_facility",), "while no lines go to syslog"
    if config.challenge.mode == "off":
        yield "challenge", ("never", "presets"), 'while challenge.mode is "off": nobody is challenged'
    if not config.concurrency.adaptive:
        searching = tuple(each.name for each in fields(config.concurrency) if each.name in _SEARCHING)
        yield "concurrency", searching, "while concurrency.adaptive is false"
        if config.upstream.max_concurrency:
            yield "concurrency", ("start",), "while concurrency.adaptive is false and upstream.max_concurrency is set"


_SEARCHING: Final = frozenset(
    {"least", "most", "probe_every", "probe_samples", "grow_above", "growth", "shrink", "error_shrink"}
)
"""What only the search for the limit goes by."""


def _idle_listening(config: Config) -> Iterator[tuple[str, tuple[str, ...], str]]:
    tls, listen = config.tls, config.listen
    unchallenged = ("acme",) if config.challenge.mode == "off" else ()  # else it keeps ACME from being challenged
    if not listen.trusted_proxies:
        yield "listen", ("forwarded_from",), "without listen.trusted_proxies: nobody's field is believed"
    if not tls.certificates:
        more = () if listen.proxy_protocol else ("handshake_timeout",)
        keys = ("handshakes", "handshake_rate", "redirect_port", "hsts_subdomains", *unchallenged, *more)
        yield "tls", keys, "without tls.certificates"
        yield "http", ("h2",), "without tls.certificates"
        return
    yield "listen", ("h2c",), "with tls.certificates: no service is left that is asked without TLS"
    if not tls.redirect_from:
        yield "tls", ("redirect_port", *unchallenged), "without tls.redirect_from"
    if not tls.hsts:
        yield "tls", ("hsts_subdomains",), "while tls.hsts is 0"


def _idle_forwarding(config: Config) -> Iterator[tuple[str, tuple[str, ...], str]]:
    http, upstream = config.http, config.upstream
    if config.listen.gate:
        yield "upstream", ("servers", "max_concurrency"), "with listen.gate: other proxies carry the requests"
    if not http.body_spool_bytes:
        yield "http", ("body_spools_bytes", "body_spool_directory"), "while http.body_spool_bytes is 0"
    if not http.response_buffer_bytes:
        yield "http", ("response_buffers_bytes",), "while http.response_buffer_bytes is 0"
    if len(upstream.servers) == 1:
        yield "upstream", ("eject_after", "eject_seconds"), "with one server: only one of several is ejected"
    if not any(server.startswith("https:") for server in upstream.servers):
        yield "upstream", ("verify",), "without an https server"
    servers = [server for site in config.sites for server in site.upstream.servers]
    if not config.identity.crawlers and not any(map(_named, servers)):
        yield "upstream", ("resolver",), "where no server has a name"


def _named(server: str) -> bool:
    """Whether the server's host is a name, which has to be resolved."""
    host: Any = None if server.startswith("unix:") else urlsplit(server).hostname
    try:
        return host is not None and not ipaddress.ip_address(host)
    except ValueError:
        return True
