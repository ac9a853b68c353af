"""Which site a request is for, by its host: exact names, then the longest wildcard, then the site for all others.

Where there is one site nobody asks. Hosts come from clients, so what is remembered of them is bounded, and to look one
up costs a step for each of its labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from shield.http.grammar import without_port

Site = TypeVar("Site")
"""What a site is served with."""

MOST_KEPT: Final = 1024
"""Hosts, as they were sent."""
KEPT_BYTES: Final = 255
"""Of a host that is remembered; a name has no more (RFC 1035 section 2.3.4)."""


class Hosting(Generic[Site]):
    """The sites of a process. `default` serves the hosts that no site names; None: nobody does."""

    __slots__ = ("_default", "_exact", "_kept", "_wild")

    def __init__(self, sites: Sequence[tuple[Sequence[str], Site]]) -> None:
        """`sites`: the hosts of each, in lower case; without hosts, the default."""
        self._exact: dict[bytes, Site] = {}
        self._wild: dict[bytes, Site] = {}  # "*.example.org" as b"example.org"
        self._default: Site | None = None
        self._kept: dict[bytes, Site | None] = {}
        for hosts, serving in sites:
            if not hosts:
                self._default = serving
            for host in hosts:
                if host.startswith("*."):
                    self._wild[host[2:].encode("ascii")] = serving
                else:
                    self._exact[host.encode("ascii")] = serving

    def of(self, host: bytes) -> Site | None:
        """Who serves a host, as a request names it; None when nobody does. An empty one is the default's."""
        try:
            return self._kept[host]
        except KeyError:
            found = self._find(host)
        if len(host) <= KEPT_BYTES:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[host] = found
        return found

    def _find(self, host: bytes) -> Site | None:
        name = without_port(host).lower().rstrip(b".")
        if len(name) > KEPT_BYTES:  # nobody's, and its labels too many to look at
            return self._default
        found = self._exact.get(name)
        while found is None and name:
            _, _, name = name.partition(b".")
            found = self._wild.get(name)
        return found or self._default
