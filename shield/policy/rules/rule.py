"""One rule of the operator's, and what a wish must be to become one.

    kind        subject                                   value
    ban, deny   network, AS, country, client, pass        refuse: a ban says in Retry-After when it ends
    allow       network, AS, country, client, pass        forward, without limits and challenges, in tier T0
    limit       network, AS, country, client, pass        "RATE/BURST": one bucket for all there, in place of their own
                "client", "address"                       "RATE/BURST": in place of limits.client, limits.address
    pressure    "" or site                                "0.5": hold the pressure there
    challenge   path                                      "never": do not challenge what is asked for below it
                network, AS, country, client              "never", "always": whoever has no pass, in calm weather too
    dry_run     "", a measure (tried.py), or a site       "on", "off"
    key         a name                                    "[RATE/BURST ]SHA-256": an API key, and its budget

A network is a CIDR, or an address; an IPv6 address stands for its /64, as everywhere in Shield. "AS64500" is all
networks of an autonomous system, "country:XX" those of a country (whereabouts.py). A client is the 32 hex
digits that the log calls `client`; a pass is "pass:" and the 16 digits of its id, or its token. A site is the name that
the config gives it; what is said of one goes before what is said of all ("").

A rule that refuses somebody can be tried (`dry_run`): whom it would refuse is counted, and let through (trial.py).

Of the kinds that say whether somebody may come (ban, deny, allow) there is one rule for a subject, and one of each
other kind: a new one takes the place of the one before (`Rule.slot`). One that is tried stands beside it, until one
that holds takes its place.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from shield.policy.bucket import Rate
from shield.policy.pass_tokens import BODY, TOKEN_CHARS
from shield.policy.rows import count, number, text
from shield.policy.tried import MEASURES
from shield.policy.whereabouts import region_of

ACCESS: Final = ("ban", "deny", "allow")
KEY: Final = "key"
KINDS: Final = (*ACCESS, "limit", "pressure", "challenge", "dry_run", KEY)
SPARE: Final = "spare"
"""Kind of a rule that only engines are told: a network from where the operator asks. No file, AS or country concerns
it."""
OF_SITES: Final = ("pressure", "dry_run")
"""Kinds that may be for one site."""
CHALLENGES: Final = ("never", "always")
TRIABLE: Final = "ban, deny, limit of somebody, challenge always"
EVERY: Final = ("client", "address")
"""Subjects of a limit that stand for all clients without a pass, and for all addresses."""

MOST_CHARS: Final = 200
"""Characters of a note or a path."""
AUTHOR_CHARS: Final = 64
LEAST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 366 * 86_400.0
"""Seconds: a rule for longer belongs into the config."""
MOST_RATE: Final = 1e6
"""units/s, and units: more than any service takes."""
LEAST_BURST: Final = 1.0
"""Units: with less a single request could be refused for ever."""

SITE_NAME: Final = r"(?:\*\.|\[)?[0-9a-z_](?:[0-9a-z_.:-]{0,60}[0-9a-z_])?\]?"
"""The name of a site: mostly a host."""

_CLIENT: Final = re.compile(r"[0-9a-f]{32}")
_PASS: Final = re.compile(r"pass:([0-9a-f]{16})")
_TOKEN: Final = re.compile(rf"(?:pass:)?([0-9A-Za-z_-]{{{TOKEN_CHARS}}})")
_PATH: Final = re.compile(r"/[!-~]*")
_LEVEL: Final = re.compile(r"[01](?:\.[0-9]{1,9})?|\.[0-9]{1,9}")
_NAME: Final = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z._-]{0,62}[0-9A-Za-z])?")
_KEY: Final = re.compile(r"(?:(\S+) )?([0-9a-f]{64})")
_RATE: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)/([0-9]{1,7}(?:\.[0-9]{1,3})?)")

Network = IPv4Network | IPv6Network


class RefusedError(ValueError):
    """A wish that cannot be a rule. Says why, and what to do instead."""


class MissingError(RefusedError):
    """What is to be lifted or undone is not there."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that holds. Times are seconds of the wall clock; `expires` is 0 for one that holds until it is lifted."""

    number: int
    kind: str
    subject: str
    value: str
    author: str
    note: str
    created: float
    expires: float
    dry_run: bool = False

    @property
    def slot(self) -> tuple[str, str]:
        """What there is one rule of."""
        kind, subject = self.firm_slot
        return (f"{kind}, tried" if self.dry_run else kind), subject

    @property
    def firm_slot(self) -> tuple[str, str]:
        """The slot that it has, or would have if it held."""
        return ("access" if self.kind in ACCESS else self.kind), self.subject

    @property
    def network(self) -> Network | None:
        """The network that it is for, if it is for one."""
        return network_of(self.subject)

    @property
    def rate(self) -> Rate:
        """The bucket that a limit asks for."""
        return _rate(self.value)

    @property
    def digest(self) -> bytes:
        """The SHA-256 of an API key."""
        return bytes.fromhex(self.value[-64:])

    @property
    def budget(self) -> Rate | None:
        """The bucket of an API key; None: that of a pass."""
        value, _, _ = self.value.rpartition(" ")
        return _rate(value) if value else None

    def holds(self, wall: float) -> bool:
        """Whether it has not ended."""
        return not self.expires or self.expires > wall

    def plain(self) -> dict[str, Any]:
        """As JSON has it. `dry_run` is there where it is true: a Shield of an older version, which may come back,
        leaves a rule out that has it, instead of having it hold."""
        said: dict[str, Any] = {name: getattr(self, name) for name in FIELDS}
        return {**said, DRY_RUN: True} if self.dry_run else said


FIELDS: Final = ("number", "kind", "subject", "value", "author", "note", "created", "expires")
DRY_RUN: Final = "dry_run"


def read(row: Any) -> Rule:
    """The rule that `plain` made JSON of. ValueError when it makes no sense."""
    if not isinstance(row, dict) or row.keys() - {DRY_RUN} != set(FIELDS) or row.get(DRY_RUN, True) is not True:
        raise ValueError("no rule")
    kind, subject, value = (text(row[name]) for name in ("kind", "subject", "value"))
    author, note = text(row["author"]), text(row["note"])
    if checked(kind, subject, value) != (kind, subject, value) or (said(author, AUTHOR_CHARS), said(note)) != (
        author,
        note,
    ):
        raise ValueError("not as a rule is written")
    if DRY_RUN in row:
        triable(kind, subject, value)
    return Rule(
        count(row["number"]),
        kind,
        subject,
        value,
        author,
        note,
        number(row["created"], 0.0),
        number(row["expires"], 0.0),
        DRY_RUN in row,
    )


def checked(kind: str, subject: str, value: str) -> tuple[str, str, str]:
    """Kind, subject and value of a wish as a rule has them. RefusedError when they make none."""
    if kind in ACCESS:
        _nothing(kind, "value", value)
        return kind, who(subject), ""
    match kind:
        case "limit":
            return kind, subject if subject in EVERY else who(subject), _bucket(value)
        case "pressure":
            return kind, _site(kind, subject), _level(value)
        case "challenge":
            if value not in CHALLENGES:
                raise RefusedError(f'challenge: "{_short(value)}" is none of: {", ".join(CHALLENGES)}')
            return kind, _challenged(subject, value), value
        case "dry_run":
            if value not in ("on", "off"):
                raise RefusedError(f'dry_run: "{_short(value)}" is none of: on, off')
            return kind, subject if subject in MEASURES else _site(kind, subject), value
        case "key":
            return kind, name_of_key(subject), _key(value)
        case _:
            raise RefusedError(f'kind: "{_short(kind)}" is none of: {", ".join(KINDS)}')


def triable(kind: str, subject: str, value: str) -> None:
    """Refuse a dry run of what refuses nobody, or of what is not one client's. Takes what checked() returned.
    RefusedError."""
    if kind in ("ban", "deny") or value == "always" or (kind == "limit" and subject not in EVERY):
        return
    if kind == "limit":
        raise RefusedError(
            f"a limit of every {subject} cannot be tried beside the one that holds: try all limits by dry-run on "
            "limits, or another config by shield replay"
        )
    what = f"{kind} {value}".rstrip()
    raise RefusedError(f"{what} refuses nobody, so there is nothing to try: what can be tried is {TRIABLE}")


def _challenged(subject: str, value: str) -> str:
    """Who is never or always challenged: below a path, or at somebody's address."""
    if subject.startswith("/"):
        path = _path(subject)
        if value == "always":
            raise RefusedError(
                "always is for networks, AS, countries and clients: to challenge everybody below a path, set "
                'challenge = "always" in a [[route]] of the config, and reload'
            )
        return path
    try:
        named = who(subject)
    except RefusedError as error:
        path = ', or for never a path, which begins with "/"' if value == "never" else ""
        raise RefusedError(f"{error}{path}") from None
    if named.startswith("pass:"):
        raise RefusedError("who shows a pass has answered already: use allow, limit, ban or deny for a pass")
    return named


def who(subject: str) -> str:
    """A network, an AS, a country, a client or a pass as rules name them. RefusedError when it is none of these."""
    if region := region_of(subject):
        return region
    if _CLIENT.fullmatch(subject):
        return subject
    if found := _PASS.fullmatch(subject):
        return subject
    if found := _TOKEN.fullmatch(subject):
        return f"pass:{_id_of(found[1])}"
    if subject.startswith("pass:"):
        raise RefusedError("a pass is pass: and the 16 hex digits of its id, or its whole token (42 characters)")
    return str(_network(subject))


def name_of_key(subject: str) -> str:
    """The name of an API key. RefusedError when it is none."""
    if not _NAME.fullmatch(subject):
        raise RefusedError(
            f'"{_short(subject)}" is no name of a key: up to 64 letters, digits, dots, - and _, as billing or partner-2'
        )
    return subject


def with_digest(value: str, digest: str) -> str:
    """What an API key with this SHA-256 says, of a wish that names at most a RATE/BURST. RefusedError."""
    return f"{_bucket(value)} {digest}" if value else digest


def network_of(subject: str) -> Network | None:
    """The network that a subject as rules name it stands for; None when it stands for something else."""
    return ip_network(subject) if "/" in subject and not subject.startswith("/") else None


def within(name: str, network: Network) -> bool:
    """Whether an address is in a network, by the name that its entry has (IPv6: that of its /64)."""
    if name == "other":
        return False
    address = ip_address(name.removesuffix("/64"))
    return address in network


def ends(seconds: float | None, wall: float) -> float:
    """When a rule ends that is to hold for so many seconds; 0 for none. RefusedError when that is no time."""
    if seconds is None:
        return 0.0
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise RefusedError("for: from 1 second to 366 days; leave it out for a rule that holds until it is lifted")
    return wall + seconds


def said(words: str, most: int = MOST_CHARS) -> str:
    """A note or a name that is fit for a line of the log and a terminal. RefusedError when it is not."""
    if len(words) > most:
        raise RefusedError(f"at most {most} characters, not {len(words)}")
    if not words.isprintable():
        raise RefusedError("a note or a name is one line, without control characters")
    return words


def _network(subject: str) -> Network:
    shown = _short(subject)
    address, slash, length = subject.partition("/")
    try:
        if not slash:
            found = ip_address(address)
            if isinstance(found, IPv6Address):
                if found.ipv4_mapped is None:
                    return IPv6Network((int(found) >> 64 << 64, 64))
                found = found.ipv4_mapped
            return IPv4Network(found)
        if not (length.isascii() and length.isdecimal()):
            raise ValueError("a netmask")
        if "%" in address:
            raise ValueError("a zone")
        network = ip_network(subject, strict=False)
    except ValueError:
        raise RefusedError(
            f'"{shown}" is no network, AS, country, client or pass: write 192.0.2.0/24, 192.0.2.7, 2001:db8::/48, '
            f"AS64500, country:XX, the 32 hex digits that the log calls client, or pass: and 16 of them"
        ) from None
    if network.network_address != ip_address(address):
        raise RefusedError(f"{shown} has bits beyond the /{length}: the network is {network}, the address {address}")
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        raise RefusedError(f"{shown} is a network of IPv4 addresses: write it as such")
    if isinstance(network, IPv6Network) and network.prefixlen > 64:
        raise RefusedError(f"{shown} is less than a /64, which one line has to itself: name that, or the address alone")
    return network


def _id_of(token: str) -> str:
    """The id in a token, whoever has signed it: a rule for one that nobody has does nothing."""
    try:
        id_: bytes = BODY.unpack(urlsafe_b64decode(token + "==")[: BODY.size])[2]
    except ValueError:  # pragma: no cover - 42 characters of the alphabet are always 31 bytes
        raise RefusedError("this is no token of a pass") from None
    return id_.hex()


def _bucket(value: str) -> str:
    found = _RATE.fullmatch(value)
    if found is None:
        raise RefusedError(
            f'limit: "{_short(value)}" is no RATE/BURST, like 20/400 or 0.5/10: units a second, and units at once, '
            "with at most three decimals"
        )
    rate, burst = float(found[1]), float(found[2])
    if not 0.0 < rate <= MOST_RATE or not LEAST_BURST <= burst <= MOST_RATE:
        raise RefusedError("limit: a rate above 0 and a burst of at least 1, up to a million; to refuse, ban or deny")
    return f"{_figure(rate)}/{_figure(burst)}"


def _rate(value: str) -> Rate:
    rate, burst = value.split("/")
    return Rate(float(rate), float(burst))


def _key(value: str) -> str:
    found = _KEY.fullmatch(value)
    if found is None:
        raise RefusedError(
            f'key: "{_short(value)}" is none of: nothing, RATE/BURST, and either of them before the SHA-256 of the key '
            "(64 hex digits)"
        )
    return with_digest(found[1] or "", found[2])


def _figure(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _level(value: str) -> str:
    level = float(value) if _LEVEL.fullmatch(value) else -1.0  # float() takes digits of any alphabet, and spaces
    if not 0.0 <= level <= 1.0:
        raise RefusedError(f'pressure: "{_short(value)}" is no number from 0 (nobody is challenged) to 1')
    return _figure(round(level, 3))


def _path(subject: str) -> str:
    if not _PATH.fullmatch(subject) or len(subject) > MOST_CHARS or "?" in subject or "#" in subject:
        raise RefusedError(f'"{_short(subject)}" is no path: it begins with "/", has no query and no spaces')
    path = subject.rstrip("/")
    if not path:
        raise RefusedError('"/" is every path, so nobody would be challenged: use challenge.mode = "off" in the config')
    return path


def _site(kind: str, subject: str) -> str:
    if subject and not re.fullmatch(SITE_NAME, subject):
        raise RefusedError(f'{kind}: "{_short(subject)}" is no name of a site')
    return subject


def _nothing(kind: str, what: str, value: Any) -> None:
    if value:
        raise RefusedError(f"{kind} has no {what}")


def _short(words: str) -> str:
    """Of hostile length, and perhaps unprintable."""
    return words[:40].encode("unicode_escape").decode("ascii")


def wish(said_: Mapping[str, Any], name: str, otherwise: str = "") -> str:
    """A text out of a wish in JSON. RefusedError when it is something else."""
    value = said_.get(name, otherwise)
    if not isinstance(value, str):
        raise RefusedError(f"{name}: a text")
    return value
