"""All open connections: counted, drained, cut."""

from __future__ import annotations

from typing import Any

from shield.client.connections import Connections
from shield.client.crowding import NOWHERE, Crowding
from shield.client.flow import ReadAhead
from shield.client.watch import Limits, TimeoutSettings, Watch
from shield.operator.metrics import Metrics
from shield.upstream.settings import UpstreamSettings
from tests.harness import PermissiveEngine, QuietLog


class Member:
    def __init__(self) -> None:
        self.watch = Watch(Limits(TimeoutSettings(), UpstreamSettings()), 0.0, last=False)
        self.seat, self.whereabouts = -1, NOWHERE
        self.drained: list[float] = []
        self.was_cut = False

    def drain(self, now: float) -> None:
        self.drained.append(now)

    def cut(self) -> None:
        self.was_cut = True


def made(metrics: Metrics, told: list[int]) -> Connections:
    engine: Any = PermissiveEngine()
    log: Any = QuietLog()
    crowding = Crowding(engine, log, metrics.connections_closed, lambda address: False, lambda: 0.0)
    return Connections(crowding, ReadAhead(1, 1), metrics, lambda: told.append(metrics.connections_open))


def test_they_are_counted_and_who_wants_room_is_told() -> None:
    metrics, told = Metrics(), list[int]()
    connections = made(metrics, told)
    one, other = (Member() for _ in range(2))
    for member in (one, other):
        connections.opened(member)  # type: ignore[arg-type]
    assert (len(connections), set(connections), metrics.connections_open) == (2, {one, other}, 2)
    connections.closed(one)  # type: ignore[arg-type]
    assert (len(connections), metrics.connections_open, metrics.connections_total, told) == (1, 1, 2, [1])


def test_all_are_drained_and_those_that_are_left_are_cut() -> None:
    metrics = Metrics()
    connections = made(metrics, [])
    members = [Member() for _ in range(3)]
    for member in members:
        connections.opened(member)  # type: ignore[arg-type]
    assert not connections.draining
    connections.drain(7.0)
    assert connections.draining
    assert [member.drained for member in members] == [[7.0]] * 3
    connections.closed(members[0])  # type: ignore[arg-type]
    assert connections.cut() == 2
    assert [member.was_cut for member in members] == [False, True, True]
    assert repr(connections).startswith("<Connections 2 draining <Crowding ")
