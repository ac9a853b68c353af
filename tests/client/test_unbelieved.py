"""A proxy in front that nobody has told Shield of is seen in the traffic."""

from __future__ import annotations

import pytest

from shield.client.unbelieved import AGAIN_SECONDS, LEAST_SEEN, LOOK_SECONDS, MOST_PEERS, Unbelieved


def come(unbelieved: Unbelieved, address: str, clients: int, tells: bool = True) -> None:
    for _ in range(clients):
        unbelieved.seen += 1
        if tells:
            unbelieved.note(address)


def test_a_balancer_that_tells_of_most_clients_is_named() -> None:
    unbelieved = Unbelieved()
    come(unbelieved, "10.0.0.5", 60)
    come(unbelieved, "192.0.2.7", 40, tells=False)
    assert unbelieved.look(1.0)
    assert (unbelieved.peer, unbelieved.share) == ("10.0.0.5", 0.6)


@pytest.mark.parametrize(
    ("address", "clients", "tells"),
    [
        ("10.0.0.5", 49, True),  # a few
        ("10.0.0.5", 90, False),  # a program here that speaks for itself
        ("8.8.8.8", 90, True),  # anybody may write such a field
        ("nowhere%eth0", 40, True),
    ],
)
def test_others_are_not(address: str, clients: int, tells: bool) -> None:
    unbelieved = Unbelieved()
    come(unbelieved, address, clients, tells)
    come(unbelieved, "192.0.2.7", 100 - clients, tells=False)
    assert not unbelieved.look(1.0)
    assert (unbelieved.peer, unbelieved.share) == ("", 0.0)


def test_nothing_is_said_of_few_clients_and_not_each_second() -> None:
    unbelieved = Unbelieved()
    come(unbelieved, "fe80::5%eth0", LEAST_SEEN - 1)
    assert not unbelieved.look(1.0)
    come(unbelieved, "fe80::5%eth0", 1)
    assert unbelieved.look(2.0)
    come(unbelieved, "fe80::5%eth0", LEAST_SEEN)
    assert not unbelieved.look(2.0 + LOOK_SECONDS)
    assert unbelieved.peer == "fe80::5%eth0"
    come(unbelieved, "fe80::5%eth0", LEAST_SEEN)
    assert unbelieved.look(2.0 + AGAIN_SECONDS)


def test_it_is_over_when_the_proxy_is_trusted_or_gone() -> None:
    unbelieved = Unbelieved()
    come(unbelieved, "10.0.0.5", 100)
    assert unbelieved.look(1.0)
    come(unbelieved, "192.0.2.7", 100, tells=False)
    assert not unbelieved.look(1.0 + LOOK_SECONDS)
    assert unbelieved.peer == ""


def test_peers_are_bounded() -> None:
    unbelieved = Unbelieved()
    for number in range(10 * MOST_PEERS):
        come(unbelieved, f"10.0.{number >> 8}.{number & 255}", 1)
    assert len(unbelieved._peers) == MOST_PEERS
    assert not unbelieved.look(1.0)
