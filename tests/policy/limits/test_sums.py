"""What networks were charged, until the other workers are told."""

from __future__ import annotations

from shield.policy.entries import NetworkEntry
from shield.policy.limits.sums import MOST_NETWORKS, NetworkSums, Sum


def test_they_add_up_until_they_are_taken() -> None:
    sums, one, other = NetworkSums(), NetworkEntry("192.0.2.0/24", 10.0, 5.0), NetworkEntry("10.0.0.0/24", 10.0, 5.0)
    sums.add(one, 1.0, 0.0)
    sums.add(other, 0.0, 2.0)
    sums.add(one, 0.5, 3.0)
    assert sums.take() == [Sum(one, 1.5, 3.0), Sum(other, 0.0, 2.0)]
    assert sums.take() == []


def test_of_too_many_networks_no_more_are_noted() -> None:
    sums = NetworkSums()
    networks = [NetworkEntry(str(number), 10.0, 5.0) for number in range(MOST_NETWORKS + 3)]
    for network in networks:
        sums.add(network, 1.0, 0.0)
    sums.add(networks[0], 1.0, 0.0)
    assert sums.lost == 3
    assert len(sums.take()) == MOST_NETWORKS
