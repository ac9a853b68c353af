"""What can be set for a route: the tables [[route]]."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from operator import eq
from typing import Annotated, Final, Literal, TypeVar

from annotated_types import Ge, Gt, Le, MaxLen
from typing_extensions import Doc

from shield.complaints import Complaint, is_field_name
from shield.marks import Unit
from shield.policy.per_route.readings import ambiguous, under
from shield.policy.whereabouts import MOST_ASN, country_of

MOST_ROUTES: Final = 64
"""A path that was not asked for lately is compared with each of them."""
PAGE_PARTS: Final = 80
"""Requests of one page: what `limits.client` admits at once, too."""

_NO_PATH: Final = re.compile(r"[^!-~]|[?#;*{}<>]")
_PLAIN_ESCAPE: Final = re.compile(r"%(?![89A-Fa-f][0-9A-Fa-f])")
T = TypeVar("T")

_HOST: Final = re.compile(r"(?:\*\.)?[0-9a-z_](?:[0-9a-z_-]*[0-9a-z_])?(?:\.[0-9a-z_](?:[0-9a-z_-]*[0-9a-z_])?)*")
_LITERAL: Final = re.compile(r"\[[0-9a-f:.]+\]")
_TYPE: Final = re.compile(r"[!#$&^_.+0-9a-z-]+/(?:\*|[!#$&^_.+0-9a-z-]+)")


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many requests may come, in the long run and at once."""

    per_minute: Annotated[float, Gt(0), Le(1e6), Unit("requests/min"), Doc("Requests a minute, in the long run.")]
    burst: Annotated[float, Ge(1), Le(1e6), Unit("requests"), Doc("Requests that may come at once.")]


@dataclass(frozen=True, slots=True)
class RouteLimit:
    """Whose requests are counted together. What is left out has no limit of its own."""

    client: Annotated[
        Allowance | None, Doc("Each client; who shows a pass or an API key is counted by that, wherever it is.")
    ] = None
    address: Annotated[
        Allowance | None, Doc("Each address (IPv6: /64), with all clients there but those with an API key.")
    ] = None
    network: Annotated[Allowance | None, Doc("Each IPv4 /24 or IPv6 /48 likewise.")] = None


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """Rules for the requests below a path. A request is under the first route that it fits, in the order of the file;
    what a route does not set is as it is elsewhere."""

    path: Annotated[
        str,
        Doc(
            'Path that the route begins with, in whole segments: "/api" is for /api and /api/users, not for /apis; "/" '
            "for all. What restricts holds for each spelling that a service may read as such a path (escapes, dot "
            'segments, "//", parameters after ";", upper case); what allows more holds for this spelling only.'
        ),
    ]
    name: Annotated[
        str, MaxLen(64), Doc("What the log and `shield explain` call it. Empty: its methods and its path.")
    ] = ""
    methods: Annotated[
        tuple[str, ...], Doc('Methods that it is for: ["POST"]. Empty: all. With GET it is for HEAD, too.')
    ] = ()
    hosts: Annotated[
        tuple[str, ...], Doc('Hosts that it is for, without port: ["shop.example", "*.example.org"]. Empty: all.')
    ] = ()
    types: Annotated[
        tuple[str, ...],
        Doc('Content types of requests that it is for: ["application/json", "image/*"]. Empty: all, and none.'),
    ] = ()
    asn: Annotated[
        tuple[int, ...],
        Doc("Autonomous systems that it is for, by their numbers: [64500]. Empty: all. Needs identity.asn."),
    ] = ()
    country: Annotated[
        tuple[str, ...],
        Doc('Countries that it is for, by ISO 3166-1: ["XX"]. Empty: all, and unknown ones. Needs identity.country.'),
    ] = ()
    limit: Annotated[
        RouteLimit,
        Doc(
            "Requests that may come: { client = { per_minute = 5, burst = 10 }, address = … , network = … }. Beyond, "
            "they are refused (`route_rate`) before anything else is charged. Who is in identity.allow has no limit."
        ),
    ] = RouteLimit()
    cost: Annotated[
        float | None,
        Gt(0),
        Unit("units"),
        Doc("What a request costs, in place of what is measured, and of limits.costs."),
    ] = None
    body_bytes: Annotated[
        int | None, Ge(1), Unit("bytes"), Doc("Size of a request body, in place of http.max_body_bytes.")
    ] = None
    challenge: Annotated[
        Literal["auto", "always", "never"] | None,
        Doc(
            '"always": whoever has no pass is challenged, in calm weather too. "never": nobody is; newcomers are '
            'slowed under pressure instead. "auto": newcomers are, under pressure. Left out: as challenge.mode.'
        ),
    ] = None
    first_byte_timeout: Annotated[
        float | None, Gt(0), Le(86400), Unit("s"), Doc("In place of upstream.first_byte_timeout.")
    ] = None
    idle_timeout: Annotated[float | None, Gt(0), Le(86400), Unit("s"), Doc("In place of upstream.idle_timeout.")] = None
    body_buffer_bytes: Annotated[
        int | None, Ge(0), Le(1 << 24), Unit("bytes"), Doc("In place of http.body_buffer_bytes.")
    ] = None
    dry_run: Annotated[
        bool,
        Doc(
            'Try it: its `limit` and challenge = "always" are decided, counted and logged, and refuse nobody; nothing '
            "else that it sets holds."
        ),
    ] = False

    @property
    def prefix(self) -> str:
        """Its path without a slash at the end."""
        return self.path.rstrip("/")

    @property
    def label(self) -> str:
        """What it is called."""
        regions = [f"AS{asn}" for asn in self.asn[:1]] + list(self.country[:1])
        return self.name or " ".join([",".join(self.methods), *self.hosts[:1], self.path, *regions]).strip()

    def limits(self) -> Iterator[tuple[str, Allowance]]:
        """Its limits, by whom they count."""
        for level in fields(self.limit):
            allowance = getattr(self.limit, level.name)
            if allowance is not None:
                yield level.name, allowance

    def complaints(self) -> Iterator[Complaint]:
        if not self.path.startswith("/"):
            yield ("path",), 'a path begins with "/"'
        elif _NO_PATH.search(self.path):
            yield ("path",), "the beginning of a path, without wildcards, parameters and query"
        elif ambiguous(self.path) or _PLAIN_ESCAPE.search(self.path):
            yield ("path",), "a path without dot segments, empty segments, and escapes of ASCII characters"
        elif len(self.path) > 200:
            yield ("path",), "a path of 200 characters at most"
        for number, method in enumerate(self.methods):
            if not is_field_name(method) or method != method.upper():
                yield ("methods", number), 'a method in upper case, such as "POST"'
        for number, host in enumerate(self.hosts):
            if wrong := wrong_host(host):
                yield ("hosts", number), wrong
        for number, kind in enumerate(self.types):
            if not _TYPE.fullmatch(kind):
                yield ("types", number), 'a content type in lower case, such as "application/json", or "image/*"'
        for number, asn in enumerate(self.asn):
            if not 0 < asn <= MOST_ASN:
                yield ("asn", number), f"a number from 1 to {MOST_ASN}"
        for number, country in enumerate(self.country):
            if country_of(f"country:{country}") != country:
                yield ("country", number), 'the two capital letters of ISO 3166-1, such as "XX"'

    def covers(self, other: RouteSettings) -> bool:
        """Whether each request that fits the other one fits this one, too."""
        return (
            under(other.prefix.lower(), self.prefix.lower())
            and _all_in(other.methods, self.methods, is_method)
            and _all_in(other.hosts, self.hosts, is_host)
            and _all_in(other.types, self.types, is_type)
            and _all_in(other.asn, self.asn, eq)
            and _all_in(other.country, self.country, eq)
        )


def wrong_host(host: str) -> str:
    """What is wrong with the name of a host, or with a pattern for those below one; empty when nothing is."""
    if _HOST.fullmatch(host) or _LITERAL.fullmatch(host):
        return ""
    return 'a host in lower case without port (xn-- if need be), or "*." and a host'


def is_host(host: str, pattern: str) -> bool:
    """Whether a host is the one that a pattern names, or below it: "*.example.org" is not for example.org itself."""
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]) and len(host) > len(pattern) - 1)


def is_type(kind: str, pattern: str) -> bool:
    """Whether a content type, without parameters and in lower case, is one that a pattern names."""
    return kind == pattern or (pattern.endswith("/*") and kind.startswith(pattern[:-1]))


def is_method(method: str, named: str) -> bool:
    """Whether a method, in upper case, is one that a route names."""
    return method == named or (method == "HEAD" and named == "GET")


def _all_in(some: tuple[T, ...], patterns: tuple[T, ...], fits: Callable[[T, T], bool]) -> bool:
    """Whether whatever fits one of `some` fits one of the patterns; nothing stands for everything."""
    return not patterns or (bool(some) and all(any(fits(one, pattern) for pattern in patterns) for one in some))
