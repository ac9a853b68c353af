"""Which of a config's sites a line of a log is for, by its host, as Shield would have found it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shield.client.hosting import Hosting
from shield.errors import StartError
from shield.replay.lines import Line

if TYPE_CHECKING:
    from shield.config.settings import Config, Site

HOSTLESS: Final = "no line tells which host was asked, so nobody knows which site it is for"


class Hosts:
    """The sites of one config. `hostless`: the name of the one for lines that tell no host; empty: the site for all
    other hosts, if there is one. StartError for a name that no site has."""

    __slots__ = ("_hosting", "_hostless", "sites")

    def __init__(self, config: Config, hostless: str = "") -> None:
        self.sites = config.sites
        self._hosting: Hosting[Site] | None = None
        self._hostless: Site | None = None
        if config.site:
            self._hosting = Hosting([(site.hosts, site) for site in self.sites])
            self._hostless = named(config, hostless) if hostless else self._hosting.of(b"")

    def of(self, line: Line) -> Site | None:
        """The site that a line is for; None when it is none."""
        if self._hosting is None:
            return self.sites[0]
        host = line.host
        return self._hosting.of(host.encode("utf-8", "replace")) if host else self._hostless


def named(config: Config, name: str) -> Site:
    """The site of that name. StartError when there is none."""
    found = next((site for site in config.sites if site.name == name), None)
    if found is None:
        names = ", ".join(site.name for site in config.sites)
        raise StartError(
            f"no site is called {name}: there are {names}" if config.site else "the config has no [[site]]"
        )
    return found
