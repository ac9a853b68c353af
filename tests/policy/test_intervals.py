"""Large sets of networks."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.policy.intervals import Intervals, Span

Network = IPv4Network | IPv6Network


def span(network: Network) -> Span:
    return int(network.network_address), int(network.broadcast_address)


def intervals(*texts: str) -> Intervals:
    networks = [ip_network(text) for text in texts]
    return Intervals(
        [span(each) for each in networks if each.version == 4], [span(each) for each in networks if each.version == 6]
    )


def has(found: Intervals, text: str) -> bool:
    address = ip_address(text)
    return found.has(address.version, int(address))


def test_addresses_of_both_families_at_the_edges() -> None:
    found = intervals("192.0.2.0/25", "198.51.100.7/32", "2001:db8::/32")
    inside = ["192.0.2.0", "192.0.2.127", "198.51.100.7", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"]
    outside = ["192.0.1.255", "192.0.2.128", "198.51.100.6", "198.51.100.8", "2001:db7::1", "2001:db9::", "::1"]
    assert [has(found, text) for text in inside + outside] == [True] * 5 + [False] * 7
    assert not has(intervals(), "192.0.2.1")


def test_neighbours_and_parts_become_one_interval() -> None:
    found = intervals("192.0.2.128/25", "192.0.2.0/25", "192.0.2.0/28", "192.0.3.0/24", "203.0.113.0/24")
    assert (found.entries, len(found)) == (5, 2)
    assert has(found, "192.0.2.255")
    assert has(found, "192.0.3.255")
    assert not has(found, "192.0.4.0")


@pytest.mark.parametrize(
    ("asked", "met"),
    [
        ("192.0.2.0/24", True),
        ("192.0.0.0/16", True),
        ("192.0.2.0/26", False),
        ("192.0.2.192/26", True),
        ("192.0.3.0/24", False),
        ("2001:db8::/32", True),
        ("2001:db7::/32", False),
    ],
)
def test_a_network_is_met_when_one_address_of_it_is_in_one(asked: str, met: bool) -> None:
    network = ip_network(asked)
    found = intervals("192.0.2.128/25", "2001:db8:1::/48")
    assert found.overlaps(network.version, (int(network[0]), int(network[-1]))) is met


V4 = st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 32)).map(
    lambda drawn: IPv4Network((drawn[0] >> (32 - drawn[1]) << (32 - drawn[1]), drawn[1]))
)


@given(st.lists(V4, max_size=20), st.integers(0, (1 << 32) - 1))
def test_an_address_is_in_it_when_it_is_in_one_of_the_networks(networks: list[IPv4Network], bits: int) -> None:
    found = Intervals([span(each) for each in networks])
    address = ip_address(bits)
    for each in (bits, *(edge for network in networks for edge in span(network))):
        assert found.has(4, each) == any(ip_address(each) in network for network in networks)
    assert address.version == 4
