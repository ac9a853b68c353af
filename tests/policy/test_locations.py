"""Where a textual address belongs."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.policy.locations import Cidrs, locate, number_of, wider


@pytest.mark.parametrize(
    ("text", "address", "home", "network", "site"),
    [
        ("192.0.2.77", "192.0.2.77", "192.0.2.77", "192.0.2.0/24", ""),
        ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.77", "192.0.2.0/24", ""),
        ("2001:db8:1:2ff::9", "2001:db8:1:2ff::9", "2001:db8:1:2ff::/64", "2001:db8:1::/48", "2001:db8:1:200::/56"),
        ("::1", "::1", "0:0:0:0::/64", "0:0:0::/48", "0:0:0:0::/56"),
    ],
)
def test_an_address_and_what_is_around_it(text: str, address: str, home: str, network: str, site: str) -> None:
    assert locate(text) == (address, home, network, site)


@pytest.mark.parametrize(
    "text",
    ["", "unknown", "1.2.3", "1.2.3.4.5", "1.2.3.4:80", "01.2.3.4", "1.2.3.256", "1.2.3.٤", "[::1]", "2001:db8::/64"],
)
def test_what_is_no_address_is_refused(world: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        world.client(text)


ADDRESSES = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=6),
    st.integers(0, 2**32 - 1).map(lambda n: 0xFFFF << 32 | n).map(IPv6Address),
)


@given(ADDRESSES, st.sampled_from(["compressed", "exploded"]))
def test_every_way_to_write_an_address_puts_it_in_the_same_place(ip: IPv4Address | IPv6Address, form: str) -> None:
    address, home, network, site = locate(getattr(ip, form))
    ip = getattr(ip, "ipv4_mapped", None) or ip
    around = (32, 24, None) if ip.version == 4 else (64, 48, 56)
    assert ip_address(address) == ip
    for text, length in zip((home, network, site), around, strict=True):
        assert text == "" if length is None else ip_network(text) == ip_network((ip, length), strict=False)
    assert locate(ip.compressed)[1:] == (home, network, site)


@given(ADDRESSES)
def test_the_region_around_a_network(ip: IPv4Address | IPv6Address) -> None:
    _, _, network, _ = locate(str(ip))
    block, region = wider(network)
    inner = ip_network(network)
    assert inner.subnet_of(ip_network(region))  # type: ignore[arg-type]
    assert ip_network(region).prefixlen == (16 if inner.version == 4 else 32)
    assert (block == "") == (inner.version == 6)
    assert not block or inner.subnet_of(ip_network(block))  # type: ignore[arg-type]


def test_lists_of_networks_hold_both_families_and_any_length() -> None:
    cidrs = Cidrs(["192.0.2.0/25", "198.51.100.7", "2001:db8::/33"])
    inside = ["192.0.2.1", "::ffff:192.0.2.127", "198.51.100.7", "2001:db8:7fff::1"]
    outside = ["192.0.2.128", "198.51.100.8", "2001:db8:8000::", "::1"]
    assert [address in cidrs for address in inside + outside] == [True] * 4 + [False] * 4
    assert not Cidrs([])


@pytest.mark.parametrize(
    ("text", "version", "number", "plain"),
    [
        ("192.0.2.1", 4, 0xC0000201, "192.0.2.1"),
        ("::ffff:192.0.2.1", 4, 0xC0000201, "192.0.2.1"),
        ("2001:db8::1", 6, 0x20010DB8 << 96 | 1, "2001:db8::1"),
        ("2001:db8:1:2::/64", 6, 0x20010DB800010002 << 64, "2001:db8:1:2::"),
    ],
)
def test_an_address_as_a_number(text: str, version: int, number: int, plain: str) -> None:
    assert number_of(text) == (version, number, plain)


@pytest.mark.parametrize("text", ["192.0.2", "192.0.2.256", "192.0.2.01", "other", "", "2001:db8::/48", "::g"])
def test_what_has_no_number(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - ipaddress words it
        number_of(text)
