"""Who is asking: an address, the networks around it, and one client among those behind it.

    address   IPv4 /32 or IPv6 /64 (locations.py)
    network   IPv4 /24 or IPv6 /48, and the /56 between
    client    the address, and a keyed hash of what one program does not change between requests: User-Agent,
              Accept-Language and, where Shield ends TLS, the JA4 of the ClientHello. Not the order of fields, Accept or
              Cookie: one browser sends several orders, and a pass adds a cookie

At most `identity.clients_per_address` clients are told apart behind an address. Further ones are dealt by their hash to
as many entries that they share (stochastic fairness queueing, McKenney 1990). Each of these has a bucket, so a client
that asks for too much takes it from few others. None has a score, a ban or a bought pass, since those would be
strangers'. So rotating the User-Agent buys that many buckets and no more, and the bucket of the address binds before.
A client with a history always has an entry of its own.

The operator names networks that are allowed or denied (all that can be named is in standing.py), and crawlers. A
crawler is believed when its address has been confirmed by forward-confirmed reverse DNS (`vouch`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from annotated_types import Ge, Le, MaxLen
from typing_extensions import Doc

from shield.complaints import Complaint, is_field_name, wrong_network
from shield.marks import Unit, Why
from shield.model import Reason
from shield.policy.entries import AddressEntry, ClientEntry, NetworkEntry, NetworkRates, Record
from shield.policy.history import History
from shield.policy.keys import Keys, client_tag
from shield.policy.locations import Location, locate
from shield.policy.standing import Standing
from shield.policy.table import Table, TableSettings
from shield.policy.whereabouts import Whereabouts, region_of

HOUR: Final = 3600.0

ADDRESS_BYTES: Final = 250
CLIENT_BYTES: Final = 340
NETWORK_BYTES: Final = 290
"""Bytes per entry, key and tables included; by tracemalloc over 20,000 entries in use, CPython 3.11. An address or
client that was banned, and a client that was challenged, takes 140 more (`Rare` and a float or two)."""

VALUE_CHARS: Final = 256
"""Characters of a header value that count: no browser's User-Agent is longer, and hashing 8 KiB costs 10 µs."""


MOST_FILES: Final = 32
"""Files of networks of each kind: each is looked into until one has the address."""

EVERYBODY: Final = frozenset({"0.0.0.0/0", "::/0"})

_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True)
class CrawlerSettings:
    """A crawler and the domains its addresses resolve to."""

    agent: Annotated[str, Doc("Text that its User-Agent contains, for example Googlebot.")]
    domains: Annotated[tuple[str, ...], Doc("Domains that its addresses must resolve into, and back.")]


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """Who is told apart from whom, and who is known by name."""

    clients_per_address: Annotated[
        int,
        Ge(1),
        Le(1024),
        Unit("clients"),
        Doc("Clients told apart behind one address. Further ones share as many entries."),
        Why(
            "Chosen",
            "further programs behind one address share entries, and an attacker that changes its User-Agent gets no "
            "more than so many",
        ),
    ] = 32
    idle: Annotated[
        float,
        Ge(60),
        Unit("s"),
        Doc("Time without a request after which an address, client or network is forgotten."),
        Why("Chosen", "twice `reputation.address_half_life`: what is forgotten has faded"),
    ] = 2 * HOUR
    allow: Annotated[
        tuple[str, ...],
        Doc(
            "Networks that are never limited, challenged or scored, and first in the queue. Also autonomous systems "
            '("AS64500", with `asn`) and countries ("country:XX", with `country`), which are scored all the same.'
        ),
    ] = ()
    deny: Annotated[
        tuple[str, ...],
        Doc('Networks that are always refused with 403; also autonomous systems ("AS64500") and countries.'),
    ] = ()
    allow_files: Annotated[
        tuple[str, ...],
        MaxLen(MOST_FILES),
        Doc(
            "Files of further networks that are allowed: one per line, with comments after # or ;, or JSON lines with "
            "a cidr. Read again when they change."
        ),
    ] = ()
    deny_files: Annotated[
        tuple[str, ...], MaxLen(MOST_FILES), Doc("Files of further networks that are refused, likewise: feeds.")
    ] = ()
    asn: Annotated[
        str,
        Doc(
            "A database in MaxMind's format (.mmdb) that tells of which autonomous system (AS) an address is: "
            "GeoLite2-ASN and the like. Needs `maxminddb`. Read again when it changes."
        ),
    ] = ""
    country: Annotated[str, Doc("One that tells the country: GeoLite2-Country, -City and the like.")] = ""
    api_key_header: Annotated[
        str,
        Doc("Field in which programs send an API key; the service sees it, too. Empty: there are none."),
    ] = "Shield-Key"
    api_keys: Annotated[
        tuple[str, ...],
        Doc(
            "SHA-256 of each API key, in hex. A key has the limits of a pass, and tier T0. `shield key make` makes "
            "keys at run time, with limits of their own."
        ),
    ] = ()
    tell_api_keys: Annotated[
        bool, Doc("Tell who shows an API key with each answer what is left of its budget, in the RateLimit fields.")
    ] = False
    crawlers: Annotated[
        tuple[CrawlerSettings, ...], Doc("Crawlers that are let through once their address is confirmed.")
    ] = ()

    bot_keys: Annotated[
        str,
        Doc(
            "Directory of JWK Sets (NAME.json), one for each bot that signs its requests (Web Bot Auth). Who has "
            "signed with a key of NAME.json is treated as a confirmed crawler, with a budget of its own as a pass has. "
            "Read again when a file changes. Needs the extra `web-bot-auth`. See docs/good-bots.md."
        ),
    ] = ""

    def complaints(self) -> Iterator[Complaint]:
        for key, texts in (("allow", self.allow), ("deny", self.deny)):
            for number, text in enumerate(texts):
                if wrong := self._wrong(text):
                    yield (key, number), wrong
        for number, path in enumerate(self.deny_files):
            if path in self.allow_files:
                yield ("deny_files", number), "this file is in identity.allow_files too"
        for number, network in enumerate(self.deny):
            if network in self.allow:
                yield ("deny", number), "this is in identity.allow too"
            if network in EVERYBODY and not self.allow:
                yield ("deny", number), "this is everybody: name those who may come in identity.allow, or leave it out"
        for number, key in enumerate(self.api_keys):
            if not _SHA256.fullmatch(key):
                yield ("api_keys", number), "allowed: 64 hex digits, the SHA-256 of the key (never the key itself)"
        if self.api_keys and not self.api_key_header:
            yield ("api_keys",), "keys need identity.api_key_header, the field that carries them"
        if self.api_key_header and not is_field_name(self.api_key_header):
            yield ("api_key_header",), "allowed: the name of a header field, like X-Api-Key"
        for number, crawler in enumerate(self.crawlers):
            if not crawler.agent:
                yield ("crawlers", number, "agent"), "an empty name would fit every User-Agent"
            if not crawler.domains:
                yield ("crawlers", number, "domains"), "at least one domain is needed"

    def _wrong(self, text: str) -> str:
        """What is wrong with an entry of `allow` or `deny`; "" when nothing is."""
        region = region_of(text)
        if not region:
            wrong = wrong_network(text)
            return f'{wrong}, "AS64500" or "country:XX"' if wrong.startswith("allowed") else wrong
        key = "asn" if region.startswith("AS") else "country"
        unknown = f"Shield cannot tell which addresses are there: name a database in identity.{key}"
        return "" if getattr(self, key) else unknown


class Client:
    """The handle on one client: kept by a connection while the address and the fields that name it do not change.

    `live` turns False when one of its entries was forgotten; the engine then renews the handle by itself. `address` is
    the client's address without ::ffff:, `home` the part of it that is remembered (IPv6: the /64). `named` is
    ALLOWLISTED, DENYLISTED or None; `crawler` is the configured crawler that the User-Agent claims to be.
    """

    __slots__ = (
        "address",
        "crawler",
        "entry",
        "home",
        "ja4",
        "key",
        "language",
        "named",
        "network",
        "source",
        "user_agent",
    )

    def __init__(
        self, address: str, home: str, network: str, key: bytes, user_agent: str, language: str, ja4: str
    ) -> None:
        self.address = address
        self.home = home
        self.network = network
        self.key = key
        self.user_agent = user_agent
        self.language = language
        self.ja4 = ja4
        self.entry: ClientEntry
        self.source: AddressEntry
        self.named: Reason | None = None
        self.crawler: CrawlerSettings | None = None

    @property
    def live(self) -> bool:
        """Whether all entries behind the handle are still in their tables."""
        source = self.source
        return self.entry.live and source.live and source.network.live and (source.site is None or source.site.live)

    @property
    def unverified(self) -> bool:
        """Whether it claims to be a crawler and DNS has not been asked yet: look it up and call `vouch`."""
        return self.crawler is not None and self.source.vouched is None

    def __repr__(self) -> str:
        return f"<Client {self.key.hex()[:12]} {self.address} in {self.network}>"


class Identity:
    """The tables of addresses, networks and clients, and the way into them.

    Clients are named with `keys.current`. A client that the history knows by its name under the previous key is found
    there, so a change of keys makes nobody a stranger.
    """

    def __init__(
        self,
        settings: IdentitySettings,
        tables: TableSettings,
        rates: NetworkRates,
        keys: Keys,
        history: History,
    ) -> None:
        self._key = keys.current
        self._previous = keys.previous
        self._history = history
        self._rates = rates
        self._clients_per_address = settings.clients_per_address
        self.standing = Standing(settings.allow, settings.deny)
        self._names_anybody = self.standing.names_networks
        self._crawlers = settings.crawlers
        nowhere = NetworkEntry("other", *rates.v4, overflow=True)
        self.networks: Table[str, NetworkEntry] = Table(
            tables.networks, settings.idle, lambda: NetworkEntry("other", *rates.v4, overflow=True)
        )
        self.addresses: Table[str, AddressEntry] = Table(
            tables.addresses,
            settings.idle,
            lambda: AddressEntry("other", nowhere, None, None, overflow=True),
            known=lambda source: history.clients_at(source.name) > 0,
        )
        self.clients: Table[bytes, ClientEntry] = Table(
            tables.clients,
            settings.idle,
            self._others,
            _leave_address,
            lambda entry: entry.record is not None and entry.record.live,
        )

    def identify(self, address: str, user_agent: str, language: str, ja4: str, now: float) -> Client:
        """The handle on the client that asks from `address` (textual; ValueError when it is no address)."""
        user_agent, language = user_agent[:VALUE_CHARS], language[:VALUE_CHARS]
        source = self.addresses.get(address)  # the text of an IPv4 address is the key itself
        if source is not None and source.site is None and source.network.live and not source.network.overflow:
            key = client_tag(self._key, _identity(address, user_agent, language, ja4))
            client = Client(source.name, source.name, source.network.name, key, user_agent, language, ja4)
            client.named = source.rare.named
            client.source = source
            entry = self.clients.get(key)
            if entry is None or entry.source is not source:
                entry = self._entry(client, self._record(client), now)
            client.entry = entry
        else:
            where = locate(address)
            address, home, network, _ = where
            key = client_tag(self._key, _identity(home, user_agent, language, ja4))
            client = Client(address, home, network, key, user_agent, language, ja4)
            client.named = self.named(address) if self._names_anybody else None
            self._enter(client, where, now)
        for crawler in self._crawlers:
            if crawler.agent in user_agent:
                client.crawler = crawler
                break
        return client

    def renew(self, client: Client, now: float) -> None:
        """Bring a handle to entries that were forgotten up to date, in place."""
        self._enter(client, locate(client.address), now)

    def former(self, client: Client) -> bytes | None:
        """The name that a client had under the previous key, if there is one."""
        if self._previous is None:
            return None
        return client_tag(self._previous, _identity(client.home, client.user_agent, client.language, client.ja4))

    def vouch(self, address: str, ok: bool, now: float) -> None:
        """Keep what DNS says of an address that claims to be a crawler's."""
        source = self.source(address, now)
        if not source.overflow:  # or its word would hold for all who share it
            source.vouched = ok

    def source(self, address: str, now: float) -> AddressEntry:
        """The entry of a textual address (ValueError when it is none)."""
        return self._source(locate(address), self.named(address), now)

    def allows(self, address: str) -> bool:
        """Whether a textual address (ValueError when it is none) is in a network of `identity.allow`."""
        return self.standing.allows(address)

    def named(self, address: str) -> Reason | None:
        """What the networks of the config say of a textual address: ALLOWLISTED, DENYLISTED, or None. ValueError when
        it is none."""
        return self.standing.named(address)

    def where(self, address: str) -> Whereabouts:
        """The AS and the country of a textual address."""
        return self.standing.where(address)

    def met(self, address: str) -> AddressEntry | None:
        """The entry of a textual address that is in the table, not one that strangers share; None for any other."""
        source = self.addresses.get(address)
        if source is None and ":" in address:
            try:
                source = self.addresses.get(locate(address)[1])
            except ValueError:
                return None
        return source

    def restore_source(self, home: str, now: float) -> AddressEntry:
        """The entry of an address by the name of its entry. ValueError when that is none."""
        address = f"{home[:-3]}" if home.endswith("::/64") else home
        return self.source(address, now)

    def restore_network(self, name: str, now: float) -> NetworkEntry:
        """The entry of a network by its name. ValueError when that is none."""
        address, _, length = name.partition("/")
        _, _, around, inner = locate(address)
        if name == around:
            return self._network(name, self._rates.v6_48 if inner else self._rates.v4, now)
        if not inner or name != inner:
            raise ValueError(f"/{length} is no network of ours")
        return self._network(name, self._rates.v6_56, now)

    def restore(self, key: bytes, home: str, now: float) -> ClientEntry | None:
        """The entry of a client by its key and the name of its address; None where it would have to share one.
        ValueError when the name is none."""
        entry = self.clients.get(key)
        if entry is not None:
            return entry if entry.source.name == home else None
        source = self.restore_source(home, now)
        if source.rare.overflow or source.clients >= self._clients_per_address:
            return None
        record = self._history.recall(key, None)
        made = ClientEntry(key, source, record)
        if self.clients.enter(key, made, now, record is not None) is not made:
            return None
        source.clients += 1
        return made

    def _others(self) -> ClientEntry:
        """The entry that newcomers share when the table of clients is full."""
        others = ClientEntry(b"other", self.addresses.shared, None, overflow=True)
        others.windows = -1  # makes no history
        return others

    def expire(self, now: float) -> None:
        """Forget what has been idle, a few entries at a time."""
        self.clients.expire(now)
        self.addresses.expire(now)
        self.networks.expire(now)

    def _enter(self, client: Client, where: Location, now: float) -> None:
        """Give a handle its entries."""
        record = self._record(client)
        client.source = self._source(where, client.named, now, record is not None)
        client.entry = self._entry(client, record, now)

    def _source(self, where: Location, named: Reason | None, now: float, known: bool = False) -> AddressEntry:
        """The entry of an address. `known`: somebody there has a history, and must not share one with strangers."""
        _, home, around, inner = where
        source = self.addresses.get(home)
        if source is None:
            site = self._network(inner, self._rates.v6_56, now) if inner else None
            network = self._network(around, self._rates.v6_48 if inner else self._rates.v4, now)
            return self.addresses.enter(home, AddressEntry(home, network, site, named), now, known)
        if not source.network.live:
            source.network = self._network(around, self._rates.v6_48 if inner else self._rates.v4, now)
        if source.site is not None and not source.site.live:
            source.site = self._network(inner, self._rates.v6_56, now)
        return source

    def _network(self, name: str, rates: tuple[float, float], now: float) -> NetworkEntry:
        network = self.networks.get(name)
        return network if network is not None else self.networks.enter(name, NetworkEntry(name, *rates), now)

    def _record(self, client: Client) -> Record | None:
        return self._history.recall(client.key, self.former(client))

    def _entry(self, client: Client, record: Record | None, now: float) -> ClientEntry:
        """The entry of a client, or the one that it shares with further clients of its address."""
        key, source = client.key, client.source
        entry = self.clients.get(key)
        if entry is None:
            if record is None and source.clients >= self._clients_per_address:
                return self.clients.shared if source.rare.overflow else self._crowded(client, now)
            entry = self.clients.enter(key, ClientEntry(key, source, record), now, record is not None)
            entry.source.clients += 1
        elif entry.source is not source:  # the address was forgotten meanwhile
            entry.source = source
            source.clients += 1
            source.served += entry.windows > 0
        return entry

    def _crowded(self, client: Client, now: float) -> ClientEntry:
        """The shared entry of a client that has none of its own at its address: always the same one."""
        source, lot = client.source, int.from_bytes(client.key[:4], "big") % self._clients_per_address
        key = client_tag(self._key, f"{source.name}\0{lot}".encode())  # an identity has more NULs
        entry = self.clients.get(key)
        if entry is None:
            record = self._history.recall(key, None)
            entry = ClientEntry(key, source, record, overflow=True)
            return self.clients.enter(key, entry, now, record is not None)
        if entry.source is not source:  # as above
            entry.source = source
            source.served += entry.windows > 0
        return entry


def _identity(home: str, user_agent: str, language: str, ja4: str) -> bytes:
    return f"{home}\0{user_agent}\0{language}\0{ja4}".encode("utf-8", "surrogatepass")


def _leave_address(entry: ClientEntry) -> None:
    if not entry.rare.overflow:
        entry.source.clients -= 1
    entry.source.served -= entry.windows > 0
