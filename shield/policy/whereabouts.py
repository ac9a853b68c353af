"""Whose an address is on the Internet: the autonomous system (AS) that announces it, and the country.

Both are plain values that are told from outside (lookup/): the policy is given a function, and asks it only where a
rule, a list or a route is about them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

MOST_ASN: Final = (1 << 32) - 1
"""RFC 6793: four bytes."""

_ASN: Final = re.compile(r"AS([1-9][0-9]{0,9})", re.IGNORECASE)
_COUNTRY: Final = re.compile(r"country:([A-Za-z]{2})", re.IGNORECASE)


class Whereabouts(NamedTuple):
    """What is known of an address: the number of its AS (0: unknown), its country by ISO 3166-1 in upper case ("":
    unknown), and what the AS is called."""

    asn: int = 0
    country: str = ""
    name: str = ""

    def words(self) -> str:
        """For people: "AS64500 Example Net, XX"; "" where nothing is known."""
        return ", ".join(filter(None, (f"AS{self.asn} {self.name}".rstrip() if self.asn else "", self.country)))


NOWHERE: Final = Whereabouts()

Where = Callable[[str], Whereabouts]
"""Tells the whereabouts of a textual address, NOWHERE for one of which nothing is known."""


def nowhere(_: str) -> Whereabouts:
    """The Where of those who know nothing."""
    return NOWHERE


def asn_of(subject: str) -> int:
    """The number that "AS64500" names; 0 for another text."""
    found = _ASN.fullmatch(subject)
    number = 0 if found is None else int(found[1])
    return number if number <= MOST_ASN else 0


def country_of(subject: str) -> str:
    """The country that "country:XX" names, in upper case; "" for another text."""
    found = _COUNTRY.fullmatch(subject)
    return "" if found is None else found[1].upper()


def region_of(subject: str) -> str:
    """An AS or a country as rules and settings name it: "AS64500", "country:XX"; "" for another text."""
    if asn := asn_of(subject):
        return f"AS{asn}"
    country = country_of(subject)
    return f"country:{country}" if country else ""
