"""What files on disk tell of addresses: read at the start, and again when they change.

Files are looked at every CHECK_SECONDS, in a thread, and read there, once they have not changed for SETTLE_SECONDS:
somebody may be writing them. Of a new version that cannot be used (a damaged database, a list with a line that is no
network, a file that is gone or has become empty) nothing is used, and the one before stays. At the start there is none
before: then a list's other lines hold, and a database must be right (trouble.py says so before).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Final, Literal

from shield.files import GONE, Stamp, UnusableError, stamp_of
from shield.lookup.lists import NetworkList, read
from shield.lookup.mmdb import Database
from shield.policy.identity import IdentitySettings
from shield.policy.rules.lockout import OWN
from shield.policy.standing import Listed, Standing
from shield.policy.whereabouts import NOWHERE, Where, Whereabouts, nowhere

CHECK_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 1.0
MOST_KEPT: Final = 16_384
"""Addresses whose whereabouts are remembered, at 300 bytes each: that takes 0.1 µs, and a look-up 2 to 6."""
SAMPLES: Final = 8

Use = Literal["asn", "country", "allow", "deny"]
Tell = Callable[..., None]
"""Logs an event: its name, and its fields by name."""


@dataclass(slots=True)
class Source:
    """One file, and what holds of it. `error` says why its newest version does not; `changed` is when the version that
    holds was written (seconds since 1970)."""

    use: Use
    path: str
    stamp: Stamp = GONE
    changed: float = 0.0
    database: Database | None = None
    networks: NetworkList | None = None
    error: str = ""

    @property
    def entries(self) -> int:
        """Networks in a list."""
        return 0 if self.networks is None else self.networks.networks.entries

    def read(self, first: bool) -> None:
        """Read the file as it is now; `first`: there is no version that holds. OSError, UnusableError."""
        self.stamp, self.error = stamp_of(self.path), ""
        if self.use in ("asn", "country"):
            self.database = Database(self.path, "asn" if self.use == "asn" else "country")
        else:
            found = read(self.path)
            if found.bad is not None and not first:
                raise UnusableError(str(found.bad))
            if found.empty and not first:
                raise UnusableError("is empty: to have nobody in it, write a comment into it")
            self.networks = found
            if found.bad is not None:
                self.error = str(found.bad)
        self.changed = self.stamp[0] / 1e9


class Known:
    """All files of [identity]. Call `load`, then `run`. `where` tells of an address."""

    __slots__ = ("_kept", "_notify", "_settings", "_trusted", "rested", "sources", "where")

    def __init__(
        self,
        settings: IdentitySettings,
        trusted: Sequence[str] = (),
        notify: Tell | None = None,
        former: Known | None = None,
    ) -> None:
        """`trusted` are networks of trusted proxies; `notify` is told of files that were read, or cannot be used.
        What `former` has read, and has not changed, is not read again."""
        self._settings = settings
        self._trusted = tuple(trusted)
        self._notify = notify
        self._kept: dict[str, Whereabouts] = {}
        self.rested = False
        known: dict[tuple[Use, str], Source] = {}
        if former is not None:
            known = {(one.use, one.path): replace(one) for one in former.sources}  # each watches for itself
        self.sources: tuple[Source, ...] = tuple(known.get(each) or Source(*each) for each in _named(settings))
        self.where: Where = self._where if settings.asn or settings.country else nowhere

    @property
    def tells(self) -> bool:
        """Whether there is a database."""
        return self.where is not nowhere

    def load(self) -> None:
        """Read all files that have changed. Takes as long as the disk does; raises nothing."""
        for one in self.sources:
            first = one.database is None and one.networks is None
            if first or stamp_of(one.path) != one.stamp:
                self._read(one, first)

    def standing(self) -> Standing:
        """What the config and the files say of addresses."""
        allowed, denied = (
            [Listed(one.path, one.networks.networks) for one in self.sources if one.use == use and one.networks]
            for use in ("allow", "deny")
        )
        spared = (*OWN, *self._trusted)
        return Standing(self._settings.allow, self._settings.deny, self.where, allowed, denied, spared)

    async def run(self, apply: Callable[[Standing], None]) -> None:
        """Have what changes applied, for as long as it is not `rested`."""
        while self.sources and not self.rested:
            await asyncio.sleep(CHECK_SECONDS)
            if await self.look(SETTLE_SECONDS) and not self.rested:
                apply(self.standing())

    async def look(self, settle: float = 0.0) -> bool:
        """Read what has changed, in a thread; whether what holds has changed. `settle`: seconds for which a file must
        have stayed the same."""
        changed = await asyncio.to_thread(self._changed)
        if not changed:
            return False
        if settle:
            await asyncio.sleep(settle)
            again = await asyncio.to_thread(self._changed)
            changed = [each for each in changed if each in again]
        done = [await asyncio.to_thread(self._read, one, False) for one, _ in changed]
        return any(done)

    def _changed(self) -> list[tuple[Source, Stamp]]:
        stamps = [(one, stamp_of(one.path)) for one in self.sources]
        return [(one, stamp) for one, stamp in stamps if stamp != one.stamp]

    def _read(self, one: Source, first: bool) -> bool:
        """Read a file; whether it can be used."""
        database = one.use in ("asn", "country")
        try:
            one.read(first)
        except (OSError, UnusableError) as error:
            one.error = str(getattr(error, "strerror", None) or error)
            effect = "nothing is known by it" if first else "the one before stays"
            self._tell(
                "database_not_loaded" if database else "list_not_loaded",
                path=one.path,
                of=one.use,
                error=one.error,
                effect=effect,
            )
            return False
        self._kept = {}
        if one.database is not None:
            self._tell("database_loaded", path=one.path, of=one.use, type=one.database.type, built=one.database.built)
            return True
        if one.error:
            effect = "its other lines hold"
            self._tell("list_not_loaded", path=one.path, of=one.use, error=one.error, effect=effect)
        self._tell("list_loaded", path=one.path, of=one.use, entries=one.entries, spared=list(self.spared(one)))
        return True

    def spared(self, one: Source) -> Iterator[str]:
        """The networks in a list of denials that it does not concern all the same: of a trusted proxy, this machine."""
        if one.use == "deny" and one.networks is not None:
            for text in (*OWN, *self._trusted):
                network = ip_network(text, strict=False)
                if one.networks.networks.overlaps(network.version, (int(network[0]), int(network[-1]))):
                    yield text

    def _tell(self, name: str, **fields: object) -> None:
        if self._notify is not None:
            self._notify(name, **fields)

    def around(self, network: str) -> Whereabouts:
        """Where a network is, as far as SAMPLES addresses in it are at the same place."""
        whole = ip_network(network, strict=False)
        step = max(whole.num_addresses // SAMPLES, 1)
        found = [self.where(str(whole[place * step])) for place in range(min(SAMPLES, whole.num_addresses))]
        first = found[0]
        same = all(each.asn == first.asn for each in found)
        country = first.country if all(each.country == first.country for each in found) else ""
        return Whereabouts(first.asn, country, first.name) if same else Whereabouts(country=country)

    def _where(self, address: str) -> Whereabouts:
        kept = self._kept
        found = kept.get(address)
        if found is None:
            if len(kept) >= MOST_KEPT:
                kept.clear()
            found = kept[address] = self._find(address)
        return found

    def _find(self, address: str) -> Whereabouts:
        asn = country = NOWHERE
        for one in self.sources[:2]:  # databases come first
            if one.database is not None:
                if one.use == "asn":
                    asn = one.database.where(address)
                else:
                    country = one.database.where(address)
        if asn is NOWHERE:
            return country
        return asn if country is NOWHERE else Whereabouts(asn.asn, country.country, asn.name)


def whereabouts(settings: IdentitySettings, addresses: Sequence[str]) -> Mapping[str, Whereabouts]:
    """What the databases tell of some addresses, for who asks rarely: they are read anew."""
    known = Known(settings)
    if not known.tells or not addresses:
        return {}
    for one in known.sources:
        if one.use in ("asn", "country"):
            known._read(one, True)
    return {address: known.where(address) for address in addresses}


def _named(settings: IdentitySettings) -> Iterator[tuple[Use, str]]:
    if settings.asn:
        yield "asn", settings.asn
    if settings.country:
        yield "country", settings.country
    for path in settings.allow_files:
        yield "allow", path
    for path in settings.deny_files:
        yield "deny", path
