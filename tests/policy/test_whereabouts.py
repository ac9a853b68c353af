"""What is known of an address, and how rules name an AS and a country."""

from __future__ import annotations

import pytest

from shield.policy.whereabouts import NOWHERE, Whereabouts, asn_of, country_of, nowhere, region_of


@pytest.mark.parametrize(
    ("text", "asn", "country", "region"),
    [
        ("AS64500", 64500, "", "AS64500"),
        ("as1", 1, "", "AS1"),
        ("AS4294967295", 4294967295, "", "AS4294967295"),
        ("AS4294967296", 0, "", ""),
        ("AS0", 0, "", ""),
        ("AS064500", 0, "", ""),
        ("64500", 0, "", ""),
        ("country:xx", 0, "XX", "country:XX"),
        ("Country:XX", 0, "XX", "country:XX"),
        ("country:XXX", 0, "", ""),
        ("country:", 0, "", ""),
        ("192.0.2.0/24", 0, "", ""),
    ],
)
def test_an_as_and_a_country_by_their_names(text: str, asn: int, country: str, region: str) -> None:
    assert (asn_of(text), country_of(text), region_of(text)) == (asn, country, region)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (Whereabouts(64500, "XX", "Example Net"), "AS64500 Example Net, XX"),
        (Whereabouts(64500), "AS64500"),
        (Whereabouts(country="XX"), "XX"),
        (NOWHERE, ""),
    ],
)
def test_in_words(there: Whereabouts, words: str) -> None:
    assert there.words() == words


def test_who_knows_nothing_says_so() -> None:
    assert nowhere("192.0.2.1") is NOWHERE
