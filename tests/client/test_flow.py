"""Backpressure over one connection."""

from __future__ import annotations

from typing import Any

from shield.client.flow import Flow, ReadAhead


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


def test_reading_ahead_has_a_bound_for_each_and_one_for_all() -> None:
    flow, transport, shared = made()
    other = Flow(transport, shared)
    transport.unsent = 100
    assert flow.read_ahead()
    assert flow.read_ahead(), "the same bytes are counted once"
    assert shared.total == 100
    assert repr(shared) == "<ReadAhead 100 of 150 bytes>"
    assert not other.read_ahead(), "200 of all"
    transport.unsent = 50
    assert other.read_ahead()
    assert shared.total == 150
    transport.unsent = 101
    assert not flow.read_ahead(), "101 of one"
    flow.caught_up()
    assert (shared.total, flow.ahead, flow.blocked) == (50, 0, False)
    other.caught_up()
    assert shared.total == 0
