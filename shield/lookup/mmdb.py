"""Databases in MaxMind's format (.mmdb), which tell the AS or the country of an address.

GeoLite2, GeoIP2 and DB-IP have one layout, IPinfo another; both are read. maxminddb is an extra, and imported only
where a database is named.

A database is copied into memory that belongs to no file, and read there: of a file that somebody truncates while it is
mapped, a read would end the process (SIGBUS).
"""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Mapping
from typing import Any, Final, Literal

from shield.lookup.files import UnusableError, open_file
from shield.policy.whereabouts import NOWHERE, Whereabouts, asn_of, country_of

Kind = Literal["asn", "country"]

INSTALL: Final = "pip install 'shield-proxy[mmdb]'"
MOST_BYTES: Final = 1 << 30
LOOKED_AT: Final = 1000
"""Networks of a database that are looked at to see whether it is of the right kind."""
NAME_CHARS: Final = 64
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

    __slots__ = ("_damaged", "_kind", "_reader", "built", "type")

    def __init__(self, path: str, kind: Kind) -> None:
        if why := missing():
            raise UnusableError(why)
        import maxminddb  # noqa: PLC0415 - an extra

        self._kind = kind
        self._damaged = (maxminddb.InvalidDatabaseError, ValueError)  # ValueError: it is no address
        copy = _copy(path)
        try:
            self._reader: Any = maxminddb.open_database(f"/proc/self/fd/{copy}")
            found = self._reader.metadata()
            self.type = _printable(found.database_type)
            self.built = float(found.build_epoch)
            tells = any(_read(record, kind) != NOWHERE for _, record in itertools.islice(iter(self._reader), LOOKED_AT))
        except (maxminddb.InvalidDatabaseError, ValueError, TypeError) as error:
            raise UnusableError(f"is damaged, or no .mmdb: {_printable(str(error).replace(_fd(copy), 'it'))}") from None
        finally:
            os.close(copy)
        if not tells:
            raise UnusableError(f'is a "{self.type}" database, which tells {_TELLS[kind]}')

    def where(self, address: str) -> Whereabouts:
        """What it tells of a textual address; NOWHERE also where the database is damaged. It takes 1 to 3 µs."""
        try:
            return _read(self._reader.get(address), self._kind)
        except self._damaged:
            return NOWHERE


def _fd(number: int) -> str:
    return f"/proc/self/fd/{number}"


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
    if not isinstance(record, Mapping):
        return NOWHERE
    return _asn(record) if kind == "asn" else _country(record)


def _asn(record: Mapping[str, Any]) -> Whereabouts:
    traits = record.get("traits")  # of GeoIP2 Enterprise
    for part in (record, traits if isinstance(traits, Mapping) else {}):
        number = part.get("autonomous_system_number")
        if type(number) is int and number > 0:
            return Whereabouts(number, "", _printable(part.get("autonomous_system_organization")))
    number = asn_of(str(record.get("asn", "")))  # IPinfo's
    if not number:
        return NOWHERE
    return Whereabouts(number, "", _printable(record.get("as_name") or record.get("name")))


def _country(record: Mapping[str, Any]) -> Whereabouts:
    country = record.get("country")
    code = country.get("iso_code") if isinstance(country, Mapping) else record.get("country_code") or country
    known = country_of(f"country:{code}")
    return Whereabouts(0, known) if known else NOWHERE


def _printable(text: Any) -> str:
    shown = text if isinstance(text, str) else ""
    return "".join(letter for letter in shown[:NAME_CHARS] if letter.isprintable())
