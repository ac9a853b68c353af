"""Backpressure over one connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from shield.client.flow import STEP, Flow, ReadAhead
from shield.model import Tier


class Transport:
    def __init__(self) -> None:
        self.reading = True
        self.closing = False
        self.unsent = 0

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, _: str) -> None:
        """It has no socket."""


def made(each: int = 100, most: int = 150) -> tuple[Flow, Any, ReadAhead]:
    transport: Any = Transport()
    shared = ReadAhead(each, most)
    return Flow(transport, shared), transport, shared


def test_pausing_twice_is_pausing_once() -> None:
    flow, transport, _ = made()
    flow.resume()
    flow.pause()
    flow.pause()
    assert (flow.paused, transport.reading) == (True, False)
    flow.resume()
    flow.resume()
    assert (flow.paused, transport.reading) == (False, True)


def test_a_transport_that_closes_is_left_alone() -> None:
    flow, transport, _ = made()
    transport.closing = True
    flow.pause()
    assert (flow.paused, transport.reading) == (False, True)
    transport.closing = False
    flow.pause()
    transport.closing = True
    flow.resume()
    assert (flow.paused, transport.reading) == (False, False)


def test_what_the_client_has_taken_is_what_was_sent_and_waits_no_more() -> None:
    flow, transport, _ = made()
    flow.sent, transport.unsent = 70, 30
    assert (flow.unsent(), flow.taken()) == (30, 40)
    flow.blocked = True
    assert repr(flow) == "<Flow blocked, 30 bytes unsent>"


def request(address: str = "203.0.113.5", tier: Tier = Tier.T3) -> Any:
    client = SimpleNamespace(key=address, home=address, network=address.rpartition(".")[0])
    return SimpleNamespace(client=client, tier=tier)


def test_reading_ahead_has_a_bound_for_each_and_a_share_of_all() -> None:
    flow, transport, shared = made(each=100, most=250)
    other = Flow(transport, shared)
    transport.unsent = 100
    assert flow.read_ahead(request())
    assert flow.read_ahead(request()), "the same bytes are counted once"
    assert shared.total == 100
    assert repr(shared) == "<ReadAhead 100 of 250 bytes>"
    assert not other.read_ahead(request()), "its address would have 200, and leave 50"
    assert other.ahead == 0
    transport.unsent = 70
    assert other.read_ahead(request("198.51.100.7"))
    assert shared.total == 170
    transport.unsent = 101
    assert not flow.read_ahead(request()), "101 of one"
    flow.caught_up()
    assert (shared.total, flow.ahead, flow.blocked) == (70, 0, False)
    other.caught_up()
    assert shared.total == 0


def test_what_is_read_ahead_is_set_aside_in_steps() -> None:
    """An account for each read would cost as much as half of the read."""
    flow, transport, shared = made(each=4 * STEP, most=100 * STEP)
    transport.unsent = 1
    assert flow.read_ahead(request())
    assert flow.ahead == STEP
    transport.unsent = STEP + 1
    assert flow.read_ahead(request())
    assert flow.ahead == shared.total == 2 * STEP
