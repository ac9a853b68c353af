"""Files of networks."""

from __future__ import annotations

import os
import tempfile
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.files import UnusableError
from shield.lookup import lists
from shield.lookup.lists import NetworkList, read


def made(tmp_path: Path, text: str | bytes) -> NetworkList:
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(str(path))


def has(found: NetworkList, *texts: str) -> list[bool]:
    return [found.networks.has(ip_address(text).version, int(ip_address(text))) for text in texts]


def test_networks_and_addresses_with_comments(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        "\ufeff; Spamhaus DROP List\r\n"
        "192.0.2.0/24 ; SBL1\r\n"
        "\n"
        "# a comment\n"
        "  198.51.100.7   # one address\n"
        "2001:db8::/32;SBL2\n"
        "2001:DB8:1::1\n"
        "::ffff:203.0.113.0/120\n"
        "224.0.0.0/3\n8000::/1",
    )
    assert (found.bad, found.empty, found.networks.entries) == (None, False, 7)
    assert has(found, "192.0.2.255", "198.51.100.7", "2001:db8:ffff::", "203.0.113.9", "239.1.1.1") == [True] * 5
    assert has(found, "192.0.3.0", "198.51.100.8", "2001:db9::", "203.0.114.0") == [False] * 4


def test_json_lines_as_spamhaus_has_them(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        '{"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"ripencc"}\n'
        '{"cidr":"2001:db8::/32","sblid":"SBL2","rir":"#"}\n'
        '{"type":"metadata","timestamp":1700000000,"size":2,"records":2}\n',
    )
    assert (found.bad, found.networks.entries) == (None, 2)
    assert has(found, "192.0.2.1", "2001:db8::1") == [True, True]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("192.0.2", '"192.0.2" is no network'),
        ("192.0.2.0/33", "is no network"),
        ("192.0.2.0/255.255.255.0", "is no network"),
        ("192.0.2.0/", "is no network"),
        ("192.0.2.01", "is no network"),
        ("192.0.2.0/٢٤", "is no network"),
        ("192.0.2.1/24", "has bits beyond its /24"),
        ("fe80::1%eth0", "is no network"),
        ("::/129", "is no network"),
        ("example.org", "is no network"),
        ("as64500", "AS64500 is no network: name it in identity.allow or identity.deny instead"),
        ("country:xx ; a country", "country:XX is no network"),
        ("<html>", "is no network"),
        ("\x1b[2J" + "x" * 500, "\\x1b[2J"),
        ("1\x002", "is no network"),
        ("0.0.0.0/0", "larger than any provider's network"),
        ("192.0.0.0/7", "larger than any provider's network"),
        ("::/0", "larger than any provider's network"),
        ("2000::/4", "larger than any provider's network"),
        ('{"cidr": 7}', 'has no "cidr"'),
        ('{"asn": 7}', 'has no "cidr"'),
        ('{"cidr": "192.0.2.0/24"', "is no JSON"),
        ('{"cidr": "192.0.2.0/99"}', "is no network"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path, line: str, why: str) -> None:
    found = made(tmp_path, f"192.0.2.0/24\n\n{line}\n198.51.100.0/24\n")
    assert found.bad is not None
    assert (found.bad.number, found.bad.of) == (3, 1)
    assert why in str(found.bad)
    assert len(str(found.bad)) < 300
    assert str(found.bad).isprintable()
    assert found.networks.entries == 2


def test_the_first_of_many_bad_lines(tmp_path: Path) -> None:
    found = made(tmp_path, "192.0.2.0/24\nno\nneither\n\xffnor\n")
    assert str(found.bad) == 'line 2: "no" is no network, and 2 more'


def test_an_empty_file_and_one_that_says_it_has_nobody(tmp_path: Path) -> None:
    assert made(tmp_path, "\n \n").empty
    assert not made(tmp_path, "# nobody\n").empty


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MOST_LINES", 3)
    monkeypatch.setattr(lists, "MOST_BYTES", 100)
    with pytest.raises(UnusableError, match="more than 3 lines"):
        made(tmp_path, "\n" * 4)
    with pytest.raises(UnusableError, match="more than 100 bytes"):
        made(tmp_path, "#" * 101)
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "none"))
    with pytest.raises(UnusableError, match="not a regular file"):
        read(str(tmp_path))


def test_a_pipe_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(UnusableError, match="not a regular file"):
        read(str(path))


def test_a_large_list(tmp_path: Path) -> None:
    found = made(tmp_path, "".join(f"{10 + i // 65536}.{i // 256 % 256}.{i % 256}.0/25 ; SBL\n" for i in range(20_000)))
    assert (found.bad, found.networks.entries, len(found.networks)) == (None, 20_000, 20_000)
    assert has(found, "10.0.0.1", "10.78.31.127", "10.78.31.128", "10.78.32.0") == [True, True, False, False]


@given(st.one_of(st.binary(max_size=60), st.text(alphabet='0123456789./:;#{}"cidrabf -', max_size=30).map(str.encode)))
def test_whatever_a_line_has_it_is_a_network_or_told(line: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(line)
        file.flush()
        found = read(file.name)
    assert found.bad is None or str(found.bad).isprintable()
