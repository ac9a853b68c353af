"""Databases that tell the AS or the country of an address."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shield.files import UnusableError
from shield.lookup import mmdb
from shield.lookup.mmdb import Database
from shield.policy.whereabouts import NOWHERE, Whereabouts
from tests.lookup.databases import BUILT, asn, country, database, write

ASNS = {"192.0.2.0/24": asn(64500, "Example Net"), "2001:db8::/32": asn(64501)}
COUNTRIES = {"192.0.2.0/25": country("XX"), "2001:db8::/32": country("YY"), "198.51.100.0/24": {"country": {}}}


def test_the_as_of_an_address(tmp_path: Path) -> None:
    found = Database(str(write(tmp_path / "asn.mmdb", "GeoLite2-ASN", ASNS)), "asn")
    assert (found.type, found.built) == ("GeoLite2-ASN", BUILT)
    assert found.where("192.0.2.7") == Whereabouts(64500, "", "Example Net")
    assert found.where("2001:db8::1") == Whereabouts(64501)
    assert [found.where(text) for text in ("192.0.3.1", "2001:db9::1", "no address", "")] == [NOWHERE] * 4


def test_the_country_of_an_address(tmp_path: Path) -> None:
    found = Database(str(write(tmp_path / "country.mmdb", "GeoLite2-Country", COUNTRIES)), "country")
    assert found.where("192.0.2.7") == Whereabouts(country="XX")
    assert found.where("2001:db8::1") == Whereabouts(country="YY")
    assert found.where("192.0.2.200") is found.where("198.51.100.1") is NOWHERE


@pytest.mark.parametrize(
    ("kind", "record", "there"),
    [
        ("asn", {"asn": "AS64500", "as_name": "Example"}, Whereabouts(64500, "", "Example")),
        ("asn", {"asn": "AS64500", "name": "Example"}, Whereabouts(64500, "", "Example")),
        ("asn", {"traits": asn(64500, "Example")}, Whereabouts(64500, "", "Example")),
        ("asn", asn(64500, "\x1b[2Jx" + "y" * 99), Whereabouts(64500, "", "[2Jx" + "y" * 59)),
        ("country", {"country": "XX"}, Whereabouts(country="XX")),
        ("country", {"country_code": "XX", "country": "Example Land"}, Whereabouts(country="XX")),
    ],
)
def test_other_makers_records(tmp_path: Path, kind: Any, record: Any, there: Whereabouts) -> None:
    assert (
        Database(str(write(tmp_path / "x.mmdb", "Other", {"192.0.2.0/24": record})), kind).where("192.0.2.1") == there
    )


@pytest.mark.parametrize(
    ("kind", "data", "why"),
    [
        ("asn", database("GeoLite2-Country", COUNTRIES), 'is a "GeoLite2-Country" database, which tells the AS of no'),
        ("country", database("GeoLite2-ASN", ASNS), 'is a "GeoLite2-ASN" database, which tells the country of no'),
        ("asn", database("GeoLite2-ASN", {"192.0.2.0/24": "text"}), "tells the AS of no address"),
        ("asn", database("GeoLite2-ASN", ASNS)[:-40], "is damaged, or no .mmdb"),
        ("asn", b"<html>404 Not Found</html>", "is damaged, or no .mmdb"),
        ("asn", b"", "is damaged, or no .mmdb"),
    ],
)
def test_a_database_of_the_wrong_kind_or_a_damaged_one(tmp_path: Path, kind: Any, data: bytes, why: str) -> None:
    path = tmp_path / "x.mmdb"
    path.write_bytes(data)
    with pytest.raises(UnusableError) as refused:
        Database(str(path), kind)
    assert why in str(refused.value)
    assert "/proc/" not in str(refused.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Database(str(tmp_path / "none.mmdb"), "asn")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnusableError, match="not a regular file"):
        Database(str(tmp_path / "pipe"), "asn")
    with pytest.raises(UnusableError, match="not a regular file"):
        Database(str(tmp_path), "asn")


def test_a_file_that_is_truncated_while_it_is_in_use_does_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "asn.mmdb", "GeoLite2-ASN", ASNS)
    found = Database(str(path), "asn")
    path.write_bytes(b"")
    assert found.where("192.0.2.7").asn == 64500


def test_damage_in_the_data_is_found_by_who_looks_there(tmp_path: Path) -> None:
    good = database("GeoLite2-ASN", ASNS)
    at = good.index(b"autonomous_system_number", good.index(b"autonomous_system_number") + 1) - 2
    path = tmp_path / "x.mmdb"
    path.write_bytes(good[:at] + b"\xff" * 40 + good[at + 40 :])
    found = Database(str(path), "asn")
    assert found.where("192.0.2.1").asn == 64500
    assert found.where("2001:db8::1") is NOWHERE


def test_without_the_package_the_line_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmdb.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnusableError, match=r"pip install 'shield-proxy\[mmdb\]'"):
        Database(str(write(tmp_path / "asn.mmdb", "GeoLite2-ASN", ASNS)), "asn")


@pytest.mark.parametrize("size", [24, 28, 32])
def test_trees_with_records_of_each_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "asn.mmdb"
    path.write_bytes(database("GeoLite2-ASN", {"2001:db8::/32": asn(64501), **ASNS}, size=size))
    found = Database(str(path), "asn")
    assert [found.where(text).asn for text in ("192.0.2.7", "2001:db8::1")] == [64500, 64501]


def test_whatever_is_damaged_it_is_refused_or_read(tmp_path: Path) -> None:
    random, path, read = Random(1), tmp_path / "x.mmdb", 0
    for _ in range(200):
        data = bytearray(database("GeoLite2-ASN", ASNS))
        for _ in range(random.randrange(1, 6)):
            data[random.randrange(len(data))] = random.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(UnusableError):
            found = Database(str(path), "asn")
            read += 1
            for text in ("192.0.2.7", "2001:db8::1", "198.51.100.1", "::1"):
                assert isinstance(found.where(text), Whereabouts)
    assert 20 < read < 180


def test_a_tree_that_leads_back_to_itself_is_looked_at_only_so_long(tmp_path: Path) -> None:
    data = bytearray(database("GeoLite2-ASN", ASNS))
    data[:6] = bytes(6)  # both sides of the root are the root
    (tmp_path / "x.mmdb").write_bytes(data)
    with pytest.raises(UnusableError, match="tells the AS of no address"):
        Database(str(tmp_path / "x.mmdb"), "asn")
