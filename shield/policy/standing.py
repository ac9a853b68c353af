"""What the config says of addresses: networks, files of networks, autonomous systems and countries.

The networks of identity.allow and identity.deny are the judge's business (`named`). The rest is asked with the rules
that the operator makes at run time (rules/matching.py), which say in which order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from shield.model import Reason
from shield.policy.intervals import Intervals
from shield.policy.locations import Cidrs, number_of
from shield.policy.whereabouts import Where, asn_of, country_of, nowhere, region_of


class Listed(NamedTuple):
    """A file of networks, by its name, and what is in it."""

    name: str
    networks: Intervals


class Named(NamedTuple):
    """What is said of an address: `kind` is allow or deny; for which AS or country, or "" for a file; and where."""

    kind: str
    subject: str
    source: str


class Standing:
    """Made anew when a file has changed. `where` tells of an address; `lists` and `regions` say whether there is
    anything to ask."""

    __slots__ = ("_allow", "_asns", "_countries", "_deny", "_files", "_spared", "lists", "regions", "where")

    def __init__(
        self,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        where: Where = nowhere,
        allowed: Sequence[Listed] = (),
        denied: Sequence[Listed] = (),
        spared: Sequence[str] = (),
    ) -> None:
        """`allow`, `deny` are identity.allow and identity.deny; `allowed`, `denied` what is in the files. `spared` are
        networks that no file, AS or country concerns: those of trusted proxies, and of this machine."""
        self._spared = Cidrs(spared)
        self._allow = Cidrs([text for text in allow if not region_of(text)])
        self._deny = Cidrs([text for text in deny if not region_of(text)])
        self._asns: dict[int, Named] = {}
        self._countries: dict[str, Named] = {}
        for kind, texts in (("deny", deny), ("allow", allow)):
            for text in filter(None, map(region_of, texts)):
                named = Named(kind, text, f"identity.{kind}")
                if asn := asn_of(text):
                    self._asns[asn] = named
                else:
                    self._countries[country_of(text)] = named
        self._files = [
            (each.networks, Named(kind, "", f"identity.{kind}_files: {each.name}"))
            for kind, files in (("allow", allowed), ("deny", denied))
            for each in files
        ]
        self.where = where
        self.lists = bool(self._files)
        self.regions = bool(self._asns or self._countries)

    @property
    def names_networks(self) -> bool:
        """Whether identity.allow or identity.deny has networks."""
        return bool(self._allow) or bool(self._deny)

    def allows(self, address: str) -> bool:
        """Whether a textual address (ValueError when it is none) is in a network of identity.allow."""
        return address in self._allow

    def named(self, address: str) -> Reason | None:
        """What the networks of the config say of a textual address: ALLOWLISTED, DENYLISTED, or None. ValueError when
        it is none."""
        if not self.names_networks:
            return None
        version, bits, _ = number_of(address)
        return self.named_at(version, bits)

    def named_at(self, version: int, bits: int) -> Reason | None:
        """The same of an address of IP version 4 or 6, as a number."""
        if self._allow.has(version, bits):
            return Reason.ALLOWLISTED
        return Reason.DENYLISTED if self._deny.has(version, bits) else None

    def spares(self, version: int, bits: int) -> bool:
        """Whether no file, AS or country concerns an address."""
        return self._spared.has(version, bits)

    def listed(self, version: int, bits: int) -> Named | None:
        """What the files say of an address: those that allow before those that deny."""
        for networks, named in self._files:
            if networks.has(version, bits):
                return named
        return None

    def denying(self, version: int, span: tuple[int, int]) -> list[str]:
        """Where in the config addresses of IP version 4 or 6 from one number to another are denied, all or some."""
        files = [
            named.source for networks, named in self._files if named.kind == "deny" and networks.overlaps(version, span)
        ]
        return ["identity.deny", *files] if self._deny.overlaps(version, span) else files

    def of_asn(self, asn: int) -> Named | None:
        """What the config says of an AS."""
        return self._asns.get(asn)

    def of_country(self, country: str) -> Named | None:
        """What it says of a country."""
        return self._countries.get(country)


NOTHING_STANDING: Final = Standing()
