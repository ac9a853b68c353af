"""Which nodes there are, and what each takes of the limits."""

from __future__ import annotations

from shield.policy.cluster.members import LOST, Members

NOW = 7_654_321.1


def test_before_the_store_was_reached_it_goes_by_how_many_there_are_to_be() -> None:
    members = Members("a", 4)
    assert members.count == 4
    assert not members.connected(NOW)
    assert members.limits(0.5, NOW) == (0.25, 0.25)
    assert members.slots(10) == 3


def test_while_it_is_connected_rates_are_whole_and_bursts_on_lease() -> None:
    members = Members("b", 1)
    members.heard(["c", "a"], NOW)
    assert members.names == ("a", "b", "c")
    assert members.limits(0.5, NOW) == (1.0, 0.5)
    assert members.limits(0.1, NOW) == (1.0, 1 / 3)
    members.heard([], NOW)
    assert members.limits(0.5, NOW) == (1.0, 1.0)


def test_when_the_store_is_lost_each_takes_its_part_of_those_there_were() -> None:
    members = Members("b", 1)
    members.heard(["a"], NOW)
    assert members.connected(NOW + LOST)
    assert not members.connected(NOW + LOST + 0.1)
    assert members.limits(0.7, NOW + LOST + 0.1) == (0.5, 0.5)


def test_the_places_at_the_service_are_dealt_out_whole() -> None:
    for whole in range(1, 40):
        dealt = []
        for name in "abc":
            members = Members(name, 1)
            members.heard([other for other in "abc" if other != name], NOW)
            dealt.append(members.slots(whole))
        assert sum(dealt) == max(whole, 3)
        assert max(dealt) - min(dealt) <= 1
