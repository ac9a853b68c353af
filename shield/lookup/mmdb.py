"""Databases in MaxMind's format (.mmdb), which tell the AS or the country of an address.

GeoLite2, GeoIP2 and DB-IP have one layout, IPinfo another; both are read. maxminddb is an extra, and imported only
where a database is named.

A database is copied into memory that belongs to no file, and read there: of a file that somebody truncates while it is
mapped, a read would end the process (SIGBUS).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, Literal

from shield.files import UnusableError, open_file
from shield.policy.whereabouts import NOWHERE, Whereabouts, asn_of, country_of

Kind = Literal["asn", "country"]

INSTALL: Final = "pip install 'shield-proxy[mmdb]'"
MOST_BYTES: Final = 1 << 30
LOOKED_AT: Final = 1000
MOST_NODES: Final = 20_000
"""Networks, and nodes of the tree on the way to them, that are looked at to see whether a database is of the right
kind: 20 ms at most."""
NAME_CHARS: Final = 64
_COUNTRIES: Final[dict[str, Whereabouts]] = {}
"""By their codes: at most as many as there are pairs of letters."""
WRONG: Final = (RuntimeError, ValueError, TypeError, LookupError)
"""What the reader raises of a damaged database (InvalidDatabaseError is a RuntimeError), or for what is no address."""
_TELLS: Final[Mapping[Kind, str]] = {
    "asn": "the AS of no address; allowed: GeoLite2-ASN, GeoIP2-ISP, DB-IP ASN, IPinfo and the like",
    "country": "the country of no address; allowed: GeoLite2-Country or -City, DB-IP Country, IPinfo and the like",
}


def missing() -> str:
    """Why no database can be read at all; "" when they can."""
    return "" if importlib.util.find_spec("maxminddb") else f"needs maxminddb, which is not installed: {INSTALL}"


class Database:
    """One database, as it was when it was read. `type` is what it calls itself, `built` when it was made (seconds since
    1970). Raises UnusableError or OSError when it is damaged, or of another kind."""

    __slots__ = ("_kind", "_reader", "built", "type")

    def __init__(self, path: str, kind: Kind) -> None:
        if why := missing():
            raise UnusableError(why)
        import maxminddb  # noqa: PLC0415 - an extra

        self._kind = kind
        copy = _copy(path)
        try:
            self._reader: Any = maxminddb.open_database(f"/proc/self/fd/{copy}")
            found = self._reader.metadata()
            self.type = _printable(found.database_type)
            self.built = float(found.build_epoch)
            tells = any(self.where(address) != NOWHERE for address in _addresses(copy, found))
        except WRONG as error:
            raise UnusableError(f"is damaged, or no .mmdb: {_printable(str(error).replace(_fd(copy), 'it'))}") from None
        finally:
            os.close(copy)
        if not tells:
            raise UnusableError(f'is a "{self.type}" database, which tells {_TELLS[kind]}')

    def where(self, address: str) -> Whereabouts:
        """What it tells of a textual address; NOWHERE also where the database is damaged. It takes 1 to 3 µs."""
        try:
            return _read(self._reader.get(address), self._kind)
        except WRONG:
            return NOWHERE


def _fd(number: int) -> str:
    return f"/proc/self/fd/{number}"


def _addresses(copy: int, about: Any) -> Iterator[str]:
    """The first LOOKED_AT networks of a database by an address of each, as far as MOST_NODES of its tree tell.

    maxminddb could tell them (Reader.__iter__), but in a damaged database it writes beyond its buffers (3.2.0)."""
    count, size = int(about.node_count), int(about.record_size)
    most = 128 if about.ip_version == 6 else 32
    if size not in (24, 28, 32):
        raise ValueError("records of another size than 24, 28 or 32 bits")
    stack, found = [(0, 0, 0)], 0
    for _ in range(MOST_NODES):
        if not stack or found >= LOOKED_AT:
            return
        node, depth, prefix = stack.pop()
        pair = os.pread(copy, size // 4, node * (size // 4))
        if len(pair) < size // 4:
            raise ValueError("its tree goes beyond its end")
        for side in (1, 0):
            value, at = _record(pair, size, side), prefix | side << (most - 1 - depth)
            if value < count and depth + 1 < most:
                stack.append((value, depth + 1, at))
            elif value > count:
                found += 1
                yield str(IPv6Address(at) if most == 128 else IPv4Address(at))


def _record(pair: bytes, size: int, side: int) -> int:
    """A record of a node; of 28 bits, the byte in the middle has the first four of each."""
    half = size // 8
    if size != 28:
        return int.from_bytes(pair[half:] if side else pair[:half], "big")
    return (
        (pair[3] & 15) << 24 | int.from_bytes(pair[4:], "big")
        if side
        else ((pair[3] >> 4) << 24 | int.from_bytes(pair[:3], "big"))
    )


def _copy(path: str) -> int:
    """A descriptor of memory with what is in a file. OSError, UnusableError."""
    with open_file(path, MOST_BYTES) as file:
        made = os.memfd_create("shield-mmdb")
        try:
            with os.fdopen(os.dup(made), "wb") as copy:
                left = MOST_BYTES
                while left > 0 and (data := file.read(1 << 20)):
                    copy.write(data[:left])
                    left -= len(data)
        except BaseException:
            os.close(made)
            raise
        return made


def _read(record: Any, kind: Kind) -> Whereabouts:
    """What a record of a database tells. Anything may be in it."""
    if type(record) is not dict:
        return NOWHERE
    return _asn(record) if kind == "asn" else _country(record)


def _asn(record: Mapping[str, Any]) -> Whereabouts:
    number = record.get("autonomous_system_number")
    if type(number) is int and number > 0:
        return Whereabouts(number, "", _printable(record.get("autonomous_system_organization")))
    traits = record.get("traits")  # of GeoIP2 Enterprise
    if type(traits) is dict and "autonomous_system_number" in traits:
        return _asn({**traits, "traits": None})
    number = asn_of(str(record.get("asn", "")))  # IPinfo's
    if not number:
        return NOWHERE
    return Whereabouts(number, "", _printable(record.get("as_name") or record.get("name")))


def _country(record: Mapping[str, Any]) -> Whereabouts:
    country = record.get("country")
    code = country.get("iso_code") if type(country) is dict else record.get("country_code") or country
    found = _COUNTRIES.get(code) if type(code) is str else None
    if found is not None:
        return found
    known = country_of(f"country:{code}")
    if not known:
        return NOWHERE
    return _COUNTRIES.setdefault(known, Whereabouts(0, known))


def _printable(text: Any) -> str:
    shown = text if isinstance(text, str) else ""
    if shown.isprintable() and len(shown) <= NAME_CHARS:
        return shown
    return "".join(letter for letter in shown[:NAME_CHARS] if letter.isprintable())
