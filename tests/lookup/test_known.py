"""All files that tell of addresses: read at the start, and again when they change."""

from __future__ import annotations

import asyncio
import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from shield.lookup import known as module
from shield.lookup.known import MOST_KEPT, Known, whereabouts
from shield.lookup.trouble import bad_lines, unusable
from shield.policy.identity import IdentitySettings
from shield.policy.locations import number_of
from shield.policy.whereabouts import NOWHERE, Whereabouts, nowhere
from tests.lookup.databases import asn, country, write


class Files:
    """A directory with a database of each kind and two lists, and what was told of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.number = 0
        write(path / "asn.mmdb", "GeoLite2-ASN", {"192.0.2.0/24": asn(64500, "Example Net")})
        write(
            path / "country.mmdb", "GeoLite2-Country", {"192.0.2.0/25": country("XX"), "2001:db8::/32": country("YY")}
        )
        self.write("drop.txt", "192.0.2.0/24 ; SBL1\n")
        self.write("ours.txt", "192.0.2.9\n")
        self.settings = IdentitySettings(
            asn=self.at("asn.mmdb"),
            country=self.at("country.mmdb"),
            allow_files=(self.at("ours.txt"),),
            deny_files=(self.at("drop.txt"),),
        )

    def at(self, name: str) -> str:
        return str(self.path / name)

    def write(self, name: str, text: str | bytes) -> None:
        """Write a file anew, at another time than before."""
        path = self.path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.number += 1
        os.utime(path, (self.number, self.number))

    def load(self, trusted: tuple[str, ...] = (), former: Known | None = None) -> Known:
        made = Known(self.settings, trusted, lambda name, **fields: self.told.append((name, fields)), former)
        made.load()
        return made

    def last(self) -> tuple[str, str]:
        name, fields = self.told[-1]
        return name, str(fields.get("error", fields.get("entries", fields.get("type"))))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def listed(known: Known, address: str) -> str:
    said = known.standing().listed(ip_address(address).version, int(ip_address(address)))
    return "" if said is None else said.kind


def test_what_the_files_tell(files: Files) -> None:
    known = files.load()
    assert known.tells
    assert known.where("192.0.2.7") == Whereabouts(64500, "XX", "Example Net")
    assert known.where("192.0.2.200") == Whereabouts(64500, "", "Example Net")
    assert known.where("2001:db8::1") == Whereabouts(0, "YY", "")
    assert known.where("198.51.100.1") is known.where("no address") is NOWHERE
    assert [listed(known, text) for text in ("192.0.2.7", "192.0.2.9", "192.0.3.1")] == ["deny", "allow", ""]
    assert [name for name, _ in files.told] == ["database_loaded"] * 2 + ["list_loaded"] * 2


def test_without_files_nothing_is_known_or_watched() -> None:
    known = Known(IdentitySettings())
    known.load()
    assert known.where is nowhere
    assert not known.tells
    assert not known.standing().lists
    asyncio.run(known.run(lambda standing: None))  # ends at once


def test_as_many_addresses_are_remembered_as_there_may_be(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_KEPT > 1000
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    known = files.load()
    assert {known.where(f"192.0.2.{last}").asn for last in range(10)} == {64500}
    assert len(known._kept) <= 3


async def test_a_list_that_has_changed(files: Files) -> None:
    known = files.load()
    assert not await known.look()
    files.write("drop.txt", "198.51.100.0/24\n203.0.113.0/24\n")
    assert await known.look()
    assert files.last() == ("list_loaded", "2")
    assert [listed(known, text) for text in ("192.0.2.7", "203.0.113.1")] == ["", "deny"]
    assert not await known.look()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("198.51.100.0/24\n# fine\n198.51.100\n", 'line 3: "198.51.100" is no network'),
        ("<html>\n<body>\n", 'line 1: "<html>" is no network, and 1 more'),
        ("", "is empty: to have nobody in it, write a comment into it"),
        ("0.0.0.0/0\n", 'line 1: "0.0.0.0/0" is larger than any provider\'s network'),
    ],
)
async def test_of_a_list_with_a_bad_line_nothing_is_used_and_the_one_before_stays(
    files: Files, text: str, error: str
) -> None:
    known = files.load()
    files.write("drop.txt", text)
    assert not await known.look()
    assert files.last() == ("list_not_loaded", error)
    assert files.told[-1][1]["effect"] == "the one before stays"
    assert (listed(known, "192.0.2.7"), known.sources[3].error) == ("deny", error)
    assert not await known.look()  # it is not read again before it changes
    files.write("drop.txt", "# nobody\n")
    assert await known.look()
    assert (listed(known, "192.0.2.7"), known.sources[3].error) == ("", "")


async def test_a_file_that_is_gone(files: Files) -> None:
    known = files.load()
    (files.path / "drop.txt").unlink()
    assert not await known.look()
    assert files.last() == ("list_not_loaded", "No such file or directory")
    assert listed(known, "192.0.2.7") == "deny"


async def test_a_database_that_has_changed_and_a_damaged_one(files: Files) -> None:
    known = files.load()
    assert known.where("192.0.2.7").asn == 64500
    files.write("asn.mmdb", b"<html>")
    assert not await known.look()
    assert files.last()[0] == "database_not_loaded"
    assert known.where("192.0.2.7").asn == 64500
    files.write("asn.mmdb", (files.path / "country.mmdb").read_bytes())
    assert not await known.look()
    assert "which tells the AS of no address" in files.last()[1]
    write(files.path / "asn.mmdb", "GeoLite2-ASN", {"192.0.2.0/24": asn(64999)})
    assert await known.look()
    assert known.where("192.0.2.7") == Whereabouts(64999, "XX", "")


def test_at_the_start_the_other_lines_of_a_list_hold(files: Files) -> None:
    files.write("drop.txt", "192.0.2.0/24\nno network\n")
    known = files.load()
    assert listed(known, "192.0.2.7") == "deny"
    assert [name for name, _ in files.told[-2:]] == ["list_not_loaded", "list_loaded"]
    assert known.sources[3].error == 'line 2: "no network" is no network'


def test_what_cannot_be_read_at_the_start_is_told_and_nothing_is_known_by_it(files: Files) -> None:
    files.write("asn.mmdb", b"")
    (files.path / "drop.txt").unlink()
    known = files.load()
    assert known.where("192.0.2.7") == Whereabouts(0, "XX", "")
    assert listed(known, "192.0.2.7") == ""
    assert [name for name, _ in files.told] == [
        "database_not_loaded",
        "database_loaded",
        "list_loaded",
        "list_not_loaded",
    ]


def test_another_config_takes_over_what_has_been_read(files: Files) -> None:
    former = files.load()
    files.told.clear()
    known = files.load(former=former)
    assert files.told == []
    assert [one.path for one in known.sources] == [one.path for one in former.sources]
    files.write("drop.txt", "no network\n")
    files.load(former=former)
    assert files.last()[0] == "list_not_loaded"
    assert listed(known, "192.0.2.7") == "deny"


def test_trusted_proxies_and_this_machine_are_spared_and_it_is_told(files: Files) -> None:
    files.write("drop.txt", "127.0.0.0/8\n10.0.0.0/8\n192.0.2.0/24\n")
    known = files.load(trusted=("10.1.0.0/16", "2001:db8:9::/48"))
    standing = known.standing()
    assert [
        standing.spares(*number_of(text)[:2]) for text in ("127.0.0.1", "10.1.2.3", "::1", "10.2.0.1", "192.0.2.1")
    ] == [
        *[True] * 3,
        *[False] * 2,
    ]
    assert files.told[-1][1]["spared"] == ["127.0.0.1", "10.1.0.0/16"]


async def test_changes_are_applied_for_as_long_as_it_is_not_rested(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.001)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.001)
    known, applied = files.load(), asyncio.Event()

    def apply(standing: Any) -> None:
        applied.set()
        known.rested = True

    files.write("drop.txt", "198.51.100.0/24\n")
    async with asyncio.timeout(20):
        await known.run(apply)
    assert applied.is_set()


def test_whereabouts_for_who_asks_rarely(files: Files) -> None:
    found = whereabouts(files.settings, ["192.0.2.7", "198.51.100.1"])
    assert found == {"192.0.2.7": Whereabouts(64500, "XX", "Example Net"), "198.51.100.1": NOWHERE}
    assert whereabouts(files.settings, []) == whereabouts(IdentitySettings(), ["192.0.2.7"]) == {}


def test_what_is_wrong_with_the_files_of_a_config(files: Files) -> None:
    assert list(unusable(files.settings)) == list(bad_lines(files.settings)) == []
    files.write("asn.mmdb", (files.path / "country.mmdb").read_bytes())
    (files.path / "country.mmdb").unlink()
    files.write("drop.txt", "192.0.2.0/24\nno network\n")
    (files.path / "ours.txt").unlink()
    found = dict(unusable(files.settings))
    assert found["asn",].startswith('is a "GeoLite2-Country" database, which tells the AS of no address')
    assert found["country",] == "cannot be read: No such file or directory"
    assert found["allow_files", 0] == "cannot be read: No such file or directory"
    assert ("deny_files", 0) not in found
    lines = dict(bad_lines(files.settings))
    assert lines["deny_files", 0].startswith(
        'line 2: "no network" is no network: a Shield that runs keeps the list from'
    )
    assert lines["allow_files", 0] == "cannot be read: No such file or directory"


def test_where_a_network_is_as_far_as_all_of_it_is_at_one_place(files: Files) -> None:
    known = files.load()
    assert known.around("192.0.2.0/26") == Whereabouts(64500, "XX", "Example Net")
    assert known.around("192.0.2.0/24") == Whereabouts(64500, "", "Example Net")
    assert known.around("192.0.0.0/16") == NOWHERE
    assert known.around("2001:db8:1::/48") == Whereabouts(0, "YY", "")
    assert known.around("192.0.2.7/32").asn == 64500
