"""A client has its limits once over all nodes, but for what is on lease."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from shield.model import Action
from shield.policy.bucket import Rate
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.cluster import leases as module
from shield.policy.cluster.leases import Leases, Settled
from shield.policy.cluster.side import Side
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.engine import Engine
from shield.policy.keys import Keys
from shield.policy.limits.settings import LimitsSettings
from shield.policy.reputation import ReputationSettings
from shield.policy.request import Request
from shield.policy.routes import RoutesSettings
from shield.policy.settings import EngineSettings
from tests.policy.conftest import OFFSET, WALL

KEYS = Keys(b"\x01" * 32)
CLIENT, ADDRESS = Rate(10, 100), Rate(50, 200)
LEASE = 0.5
SETTINGS = EngineSettings(
    limits=LimitsSettings(client=CLIENT, address=ADDRESS, costs={"GET /": 1.0}, refused_cost=1e-9),
    reputation=ReputationSettings(limit_hit=0.0),  # what is measured here is the buckets
    concurrency=ConcurrencySettings(adaptive=False),
    challenge=ChallengeSettings(mode="off"),
    routes=RoutesSettings(),
)


class Shared:
    """The buckets in the store, as script.py has them."""

    def __init__(self) -> None:
        self.buckets: dict[bytes, tuple[float, float]] = {}

    def charge(self, charged: Sequence[Settled], now: float) -> list[tuple[float, float]]:
        taken = []
        for one in charged:
            paid, asked = self.buckets.get(one.name, (0.0, 0.0))
            paid = min(max(paid, now) + one.paid, now + one.most)
            asked = min(max(asked, now) + one.asked, now + one.most_asked)
            self.buckets[one.name] = paid, asked
            taken.append((paid - now, asked - now))
        return taken


class Node:
    def __init__(self, number: int, nodes: int) -> None:
        limits = SETTINGS.limits
        self.leases = Leases(limits.client, limits.address, limits.wide, limits.least_factor, KEYS)
        self.engine = Engine(
            SETTINGS, KEYS, random.Random(number).randbytes, WALL - OFFSET, 1000, side=Side(self.leases)
        )
        self.leases.lease(LEASE, nodes)
        self.engine.share(1.0, LEASE, lambda slots: slots, OFFSET)

    def ask(self, now: float, address: str = "192.0.2.1", agent: str = "Browser/1.0") -> bool:
        client = self.engine.identify(address, agent, "en", "", now)
        request = Request(client, "GET", "/", {}, None, False, None)
        verdict = self.engine.decide(request, now)
        if verdict.action is Action.FORWARD:
            self.engine.release(request, now)
        return verdict.action is Action.FORWARD

    def settle(self, shared: Shared, now: float) -> int:
        charged = self.leases.settle(now)
        self.leases.settled(charged, shared.charge(charged, now), now)
        return len(charged)


@pytest.mark.untraced
@pytest.mark.parametrize("nodes", [1, 2, 3, 10])
def test_over_all_nodes_a_client_gets_its_limit_and_the_leases_at_most(nodes: int) -> None:
    fleet, shared, now = [Node(number, nodes) for number in range(nodes)], Shared(), OFFSET
    let_in, seconds = 0, 20.0
    dice = random.Random(nodes)
    while now < OFFSET + seconds:
        for one in fleet:
            let_in += sum(one.ask(now) for _ in range(dice.randrange(12)))
        now += 0.1
        for one in fleet:
            one.settle(shared, now)
    alone = CLIENT.burst + CLIENT.rate * seconds
    assert 0.95 * alone <= let_in <= alone + nodes * (LEASE * CLIENT.burst + CLIENT.rate * 0.1)
    # and what was had beyond it at first is paid back
    assert abs(let_in - alone) <= nodes * LEASE * CLIENT.burst


def test_who_asks_one_node_only_has_all_of_its_limit() -> None:
    node, other, shared, now = Node(1, 3), Node(2, 3), Shared(), OFFSET
    let_in = 0
    for _ in range(100):
        let_in += sum(node.ask(now) for _ in range(9))
        now += 0.1
        node.settle(shared, now)
        assert other.settle(shared, now) == 0
    alone = CLIENT.burst + CLIENT.rate * 10.0
    assert abs(let_in - alone) <= LEASE * CLIENT.burst / 10


def test_who_is_quiet_is_not_told_of() -> None:
    node, shared, now = Node(1, 3), Shared(), OFFSET
    for _ in range(200):
        assert node.ask(now)
        now += 0.25
        assert node.settle(shared, now) == 0
    assert not shared.buckets


def test_a_refill_is_not_what_a_node_has_fined_for() -> None:
    """Refused attempts cost a little, also where a node has a lease."""
    node, shared, now = Node(1, 2), Shared(), OFFSET
    while node.ask(now):
        pass
    client = node.engine.identify("192.0.2.1", "Browser/1.0", "en", "", now)
    node.settle(shared, now)
    for _ in range(200):
        node.ask(now)
    owed = client.entry.tat
    node.settle(shared, now)
    assert client.entry.tat >= owed - LEASE * CLIENT.burst / CLIENT.rate


def test_what_was_not_settled_is_due_still() -> None:
    node, shared, now = Node(1, 2), Shared(), OFFSET
    for _ in range(40):
        node.ask(now)
    charged = node.leases.settle(now)
    assert {type(one.holder).__name__ for one in charged} == {"ClientEntry", "AddressEntry"}
    assert node.leases.settle(now) == []
    node.leases.failed(charged)
    again = node.leases.settle(now)
    assert [(one.name, round(one.paid, 6)) for one in again] == [(one.name, round(one.paid, 6)) for one in charged]
    node.leases.settled(again, shared.charge(again, now), now)
    assert node.leases.noted == 2
    assert node.leases.settle(now + 60.0) == []
    assert node.leases.noted == 0


def test_a_bucket_that_is_forgotten_meanwhile_is_settled_all_the_same() -> None:
    node, shared = Node(1, 2), Shared()
    for _ in range(40):
        node.ask(OFFSET)
    charged = node.leases.settle(OFFSET)
    node.leases._used.clear()
    node.leases.settled(charged, shared.charge(charged, OFFSET), OFFSET)
    assert [one.holder.tat for one in charged] == pytest.approx([OFFSET] * 2), "the lease is filled again"


def test_a_pass_has_its_limit_once_and_its_whole_burst_on_lease() -> None:
    nodes, shared, now = [Node(1, 2), Node(2, 2)], Shared(), OFFSET
    token = nodes[0].engine._passes.earn(now)
    let_in = 0
    for _ in range(50):
        for one in nodes:
            shown = one.engine.present(token, now)
            client = one.engine.identify("192.0.2.1", "Browser/1.0", "en", "", now)
            for _ in range(20):
                request = Request(client, "GET", "/", {}, shown, False, None)
                let_in += one.engine.decide(request, now).action is Action.FORWARD
                one.engine.release(request, now)
        now += 0.1
        for one in nodes:
            one.settle(shared, now)
    limit = SETTINGS.limits.pass_
    alone = limit.burst + limit.rate * 5.0
    assert alone * 0.9 <= let_in <= alone + 2 * (limit.burst + limit.rate * 0.1)


def test_names_in_the_store_say_nothing_of_whose_they_are() -> None:
    node = Node(1, 2)
    for _ in range(40):
        node.ask(OFFSET, "203.0.113.99")
    for one in node.leases.settle(OFFSET):
        assert b"203" not in one.name
        assert len(one.name) == 12


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_NOTED", 2)
    node = Node(1, 2)
    for number in range(3):
        node.ask(OFFSET, f"192.0.2.{number}")
    assert (node.leases.noted, node.leases.lost) == (2, 1)
    assert node.leases.settle(OFFSET) == []
    assert node.leases.lost == 3, "nor is there room for their addresses"
    charged = [module.Settled(b"", node.engine.identify("192.0.2.9", "", "", "", OFFSET).entry, 1.0, 1.0, 1.0, 1.0)]
    node.leases.failed(charged)
    assert node.leases.lost == 4


def test_what_is_charged_while_the_store_is_asked_is_not_lost() -> None:
    node, shared = Node(1, 2), Shared()
    for _ in range(30):
        node.ask(OFFSET)
    charged = node.leases.settle(OFFSET)
    for _ in range(15):
        node.ask(OFFSET)
    node.leases.settled(charged, shared.charge(charged, OFFSET), OFFSET)
    client = node.engine.identify("192.0.2.1", "Browser/1.0", "en", "", OFFSET)
    assert client.entry.tat == pytest.approx(OFFSET + 1.5), "thirty are given back, fifteen are not settled yet"


def test_a_bad_score_counts_for_more() -> None:
    node = Node(1, 2)
    client = node.engine.identify("192.0.2.1", "Browser/1.0", "en", "", OFFSET)
    client.entry.score, client.entry.scored_at = 40.0, OFFSET
    request = Request(client, "GET", "/", {}, None, False, None)
    node.engine.decide(request, OFFSET)
    if request.charged_factor > 0.0:
        request.charged_factor = 0.0
        node.leases.note(request)
    assert all(use.asked < 1000.0 for use in node.leases._used.values())
