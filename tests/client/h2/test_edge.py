"""Where frames end, however they are cut."""

from __future__ import annotations

import pytest

from shield.client.h2.edge import Edge
from tests.client.h2.peer import CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PREFACE, frame, settings

PARTS = [
    (PREFACE, False),
    (settings(), False),
    (frame(HEADERS, 0, 1, bytes(30)), True),
    (frame(CONTINUATION, 0, 1, bytes(300)), True),
    (frame(CONTINUATION, 0, 1), True),
    (frame(CONTINUATION, END_HEADERS, 1), False),
    (frame(DATA, 0, 1, bytes(70_000)), False),
    (frame(DATA, 0, 1), False),
    (frame(PING, 0, 0, bytes(8)), False),
    (frame(HEADERS, END_HEADERS, 3, bytes(20)), False),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9, 10, 24, 1000, 100_000])
def test_it_knows_whether_something_is_owed(size: int) -> None:
    whole = b"".join(data for data, _ in PARTS)
    ends = {}
    at = 0
    for data, owed in PARTS:
        at += len(data)
        ends[at] = owed
    edge = Edge(len(PREFACE))
    for start in range(0, len(whole), size):
        edge.read(whole[start : start + size])
        at = min(start + size, len(whole))
        if at in ends:
            assert edge.inside() == ends[at], at


@pytest.mark.parametrize(("kind", "owed"), [(HEADERS, True), (PING, True), (DATA, False)])
def test_the_rest_of_a_frame_is_owed_once_its_kind_is_known_but_for_data(kind: int, owed: bool) -> None:
    edge = Edge(0)
    data = frame(kind, END_HEADERS, 1, bytes(8))
    edge.read(data[:3])
    assert not edge.inside()
    for place in range(3, len(data) - 1):
        edge.read(data[place : place + 1])
        assert edge.inside() == owed
    edge.read(data[-1:])
    assert not edge.inside()
