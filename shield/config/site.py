"""The tables [[site]]: several sites behind one Shield, and what each has of its own (docs/sites.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from annotated_types import Ge, Gt, Le, MaxLen
from typing_extensions import Doc

from shield.client.watch import TimeoutSettings
from shield.complaints import Complaint
from shield.marks import Unit
from shield.model import DEFAULT_SITE
from shield.policy.per_route.settings import MOST_ROUTES, RouteSettings, wrong_host
from shield.policy.rules.rule import SITE_NAME
from shield.policy.tried import MEASURES
from shield.upstream.settings import DEMO, UpstreamSettings

MOST_SITES: Final = 64
"""Each has an engine that closes its windows, in 0.2 ms twice a second, and metrics."""
MOST_HOSTS: Final = 256
"""Of one site."""


@dataclass(frozen=True, slots=True)
class SiteTimeouts:
    """How long clients of one site may take; what the service may take is in [site.upstream]. What is left out is as in
    [timeouts], and so are all waits that end before it is known which site somebody asks."""

    progress: Annotated[float | None, Gt(0), Le(300), Unit("s"), Doc("In place of timeouts.progress.")] = None
    min_rate: Annotated[int | None, Ge(0), Le(1 << 20), Unit("bytes/s"), Doc("In place of timeouts.min_rate.")] = None
    pause: Annotated[float | None, Ge(0), Le(3600), Unit("s"), Doc("In place of timeouts.pause.")] = None

    def over(self, usual: TimeoutSettings) -> TimeoutSettings:
        """What holds at the site."""
        return replace(
            usual,
            progress=usual.progress if self.progress is None else self.progress,
            min_rate=usual.min_rate if self.min_rate is None else self.min_rate,
            pause=usual.pause if self.pause is None else self.pause,
        )


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """One of several sites, by host names, with servers, a concurrency limit, a queue, a pressure and a price of its
    own. What it does not set is as in the rest of the file. Clients, their bans and their limits are known to all sites
    together. A host that no site names is the site's that names none, else it is served by [upstream] if that names
    servers, else it is answered 421."""

    upstream: Annotated[
        UpstreamSettings, Doc("Its servers, as a table [site.upstream] below it: all keys of [upstream].")
    ]
    name: Annotated[
        str, Doc("What logs, metrics and commands call it. Empty: its first host; of the one without hosts `default`.")
    ] = ""
    hosts: Annotated[
        tuple[str, ...],
        MaxLen(MOST_HOSTS),
        Doc(
            'Hosts that it is for, without port: ["shop.example", "*.shop.example"]. "*." is for all hosts below, and '
            "not for the one named; of several the longest holds. Empty: for all hosts that no other site names."
        ),
    ] = ()
    dry_run: Annotated[bool | None, Doc("In place of the `dry_run` of all sites.")] = None
    challenge: Annotated[
        Literal["auto", "always", "never"] | None,
        Doc('"never" is off; left out: as challenge.mode. A route\'s `challenge` goes before it.'),
    ] = None
    max_pressure: Annotated[float | None, Ge(0.0), Le(1.0), Doc("In place of pressure.max_pressure.")] = None
    body_bytes: Annotated[
        int | None, Ge(0), Unit("bytes"), Doc("Size of a request body, in place of http.max_body_bytes; 0 is any.")
    ] = None
    body_buffer_bytes: Annotated[
        int | None, Ge(0), Le(1 << 24), Unit("bytes"), Doc("In place of http.body_buffer_bytes.")
    ] = None
    preserve_host: Annotated[bool | None, Doc("In place of http.preserve_host.")] = None
    forwarded_from: Annotated[
        Literal["x-forwarded-for", "forwarded", "none"] | None,
        Doc("In place of listen.forwarded_from: in which field trusted proxies name the client who asks this site."),
    ] = None
    timeouts: Annotated[SiteTimeouts, Doc("How long its clients may take, as a table [site.timeouts] below it.")] = (
        SiteTimeouts()
    )
    route: Annotated[
        tuple[RouteSettings, ...],
        MaxLen(MOST_ROUTES),
        Doc("Rules for single routes of it, as tables [[site.route]] below it: all keys of [[route]], which follow."),
    ] = ()

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or (self.hosts[0] if self.hosts else DEFAULT_SITE)

    def complaints(self) -> Iterator[Complaint]:
        if not re.fullmatch(SITE_NAME, self.label):
            yield ("name",), "a name of up to 64 small letters, digits, dots, hyphens and underscores"
        elif self.hosts and self.label == DEFAULT_SITE:
            yield ("name",), "this is the name of the site for all hosts that no other one names"
        if self.label in MEASURES:
            yield ("name",), "this is the name of a measure, which `shield dry-run` takes: give it another one"
        for number, host in enumerate(self.hosts):
            if wrong := wrong_host(host):
                yield ("hosts", number), wrong
            elif host in self.hosts[:number]:
                yield ("hosts", number), "this host is listed twice"
        if self.upstream.servers == (DEMO,):
            yield ("upstream",), "name its servers: the demo site is none of several"
        yield from ((("upstream", *at), why) for at, why in self.upstream.complaints())
        for number, route in enumerate(self.route):
            yield from ((("route", number, *at), why) for at, why in route.complaints())
