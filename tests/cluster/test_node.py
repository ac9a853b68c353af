"""Several nodes over a real store are one: what happens at one of them holds at all."""

from __future__ import annotations

from shield.demo.solver import solve
from shield.model import Action
from shield.policy.challenge.challenge import Redeemed
from shield.policy.keys import Keys
from shield.policy.rules.rule import Rule
from tests.cluster.conftest import BAD, Machine, Machines, Store, banned, misbehave, rounds


async def test_nodes_see_each_other_and_one_that_leaves_is_gone(machines: Machines) -> None:
    a, b, c = machines("a"), machines("b"), machines("c")
    await rounds(a, b, c)
    assert a.node.members.names == b.node.members.names == c.node.members.names == ("a", "b", "c")
    await c.node.leave(True)
    await rounds(a, b, times=1)
    assert a.node.members.names == b.node.members.names == ("a", "b")
    assert [one["node"] for one in a.node.status().nodes] == ["a", "b"]


async def test_a_ban_at_one_node_holds_at_all_and_so_does_its_pardon(machines: Machines) -> None:
    a, b, c = machines("a"), machines("b"), machines("c")
    await rounds(a, b, c)
    misbehave(a)
    assert banned(a)
    await rounds(a, b, c, times=1)
    assert banned(b)
    assert banned(c)
    for _ in a.engine.pardon(f"{BAD}/32", a.now):
        pass
    await rounds(a, b, c, times=1)
    assert not banned(b)
    assert not banned(c)
    await rounds(c, b, a)  # and nobody tells it back
    assert not banned(a)


async def test_a_node_that_joins_hears_of_what_was_before(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    await rounds(a, b)
    misbehave(a)
    a.book.put(Rule(1, "deny", "198.51.100.0/24", "", "root", "", a.now + a.wall_offset, 0.0))
    await rounds(a, b)
    late = machines("late")
    await rounds(late, times=2)
    assert banned(late)
    assert [rule.subject for rule in late.book.rules()] == ["198.51.100.0/24"]


async def test_an_answer_that_is_sent_to_all_nodes_buys_one_pass(machines: Machines) -> None:
    nodes = [machines("a"), machines("b"), machines("c")]
    await rounds(*nodes)
    a = nodes[0]
    client = a.engine.identify("192.0.2.7", "Solver/1.0", "en", "", a.now)
    request = a.enter("192.0.2.7", "Solver/1.0")
    challenge = a.engine.mint(request, a.now)
    nonces = solve(challenge.token, challenge.k, challenge.target)

    def send(one: Machine) -> Redeemed:
        there = one.engine.identify("192.0.2.7", "Solver/1.0", "en", "", one.now)
        return one.engine.redeem(there, challenge.token, nonces, one.now).result

    assert client.key == nodes[1].engine.identify("192.0.2.7", "Solver/1.0", "en", "", a.now).key
    results = [send(nodes[1]), send(nodes[2])]
    assert results == [Redeemed.BUSY, Redeemed.BUSY], "to be sent again in a moment"
    await rounds(nodes[1], nodes[2], a, a, times=1)
    await rounds(nodes[1], nodes[2], times=1)
    results = [send(one) for one in (nodes[2], nodes[1], a)]
    assert sorted(result.value for result in results) == ["accepted", "spent", "spent"]
    assert [send(one) for one in nodes] == [Redeemed.SPENT] * 3


async def test_the_node_that_minted_takes_an_answer_at_once(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    await rounds(a, b)
    challenge = a.engine.mint(a.enter("192.0.2.7", "Solver/1.0"), a.now)
    nonces = solve(challenge.token, challenge.k, challenge.target)
    there = a.engine.identify("192.0.2.7", "Solver/1.0", "en", "", a.now)
    assert a.engine.redeem(there, challenge.token, nonces, a.now).result is Redeemed.ACCEPTED
    other = b.engine.identify("192.0.2.7", "Solver/1.0", "en", "", b.now)
    assert b.engine.redeem(other, challenge.token, nonces, b.now).result is Redeemed.BUSY
    await rounds(b, a, a, b, times=1)
    assert b.engine.redeem(other, challenge.token, nonces, b.now).result is Redeemed.SPENT


async def test_of_two_changes_of_a_rule_the_newer_one_holds_everywhere(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    await rounds(a, b)
    wall = a.now + a.wall_offset
    rule = Rule(1, "deny", "198.51.100.0/24", "", "root", "", wall, 0.0)
    a.book.put(rule)
    await rounds(a, b, times=1)
    assert b.ask("198.51.100.7").verdict.action is Action.BAN
    b.book.lift(rule)
    await rounds(b, a, times=1)
    assert a.ask("198.51.100.7").verdict.action is Action.FORWARD
    assert a.book.rules() == b.book.rules() == ()
    b.book.said.append("203.0.113.0/24")
    await rounds(b, a, times=1)
    assert a.book.pardoned == ["203.0.113.0/24"]
    assert not b.book.pardoned


async def test_a_client_has_its_limit_once_however_many_nodes_it_asks(machines: Machines) -> None:
    nodes = [machines("a"), machines("b"), machines("c")]
    await rounds(*nodes)
    rate = nodes[0].engine.nominal_limits[0]
    lease = 0.5 * rate.burst
    began, let_in = nodes[0].now, 0
    for _ in range(12):
        for one in nodes:
            for _ in range(60):
                let_in += one.ask("192.0.2.8").verdict.action is Action.FORWARD
        await rounds(*nodes, times=1)
    seconds = nodes[0].now - began
    alone = rate.burst + rate.rate * seconds
    assert rate.burst <= let_in <= alone + len(nodes) * (lease + rate.rate * seconds / 12) + 3


async def test_a_quiet_client_costs_the_store_nothing(machines: Machines, store: Store) -> None:
    a = machines("a")
    machines("b")
    await rounds(a)
    for _ in range(5):
        a.ask("192.0.2.9")
    await rounds(a)
    assert store.do("KEYS", "*:b:*") == b"*0\r\n"
    for _ in range(60):
        a.ask("192.0.2.9")
    await rounds(a)
    assert store.do("KEYS", "*:b:*").startswith(b"*2\r\n")


async def test_what_somebody_else_has_put_there_is_not_believed(machines: Machines, store: Store) -> None:
    a, b = machines("a"), machines("b")
    stranger = machines("c", keys=Keys(b"\x08" * 32))
    await rounds(a, b, stranger)
    assert a.node.members.names == ("a", "b")
    misbehave(stranger)
    await rounds(stranger, a, times=1)
    assert not banned(a)
    assert a.node.seals.rejected["key"] >= 2
    store.do("HSET", "{shield}:nodes", "evil", b"\x01" + b"x" * 60)
    store.do("HSET", "{shield}:nodes", "newer", b"\x02" + b"x" * 60)
    await rounds(a, times=1)
    assert a.node.members.names == ("a", "b")
    assert a.node.seals.rejected["version"] == 1


async def test_a_service_of_eight_places_has_them_once(machines: Machines) -> None:
    nodes = [machines(name, concurrency=8) for name in ("a", "b", "c")]
    await rounds(*nodes)
    assert [one.engine.concurrency_limit for one in nodes] == [3, 3, 2]
    let_in = [one.enter(f"192.0.2.{number}").verdict.action for one in nodes for number in range(10)]
    assert let_in.count(Action.FORWARD) == 8


async def test_two_workers_of_rules_that_differ_are_said_to_disagree(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    await rounds(a, b)
    b.book.held[("access", "198.51.100.0/24")] = Rule(1, "deny", "198.51.100.0/24", "", "", "", 1.0, 0.0)
    b.node._changes.begin(b.book.rules())  # as if it had been told
    await rounds(b, a, times=1)
    assert a.node.status().disagreements == ["b has other rules of the operator's"]


async def test_what_one_node_counts_is_told_to_the_others(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    apart = machines("apart", one_service=False)
    await rounds(a, b, apart)
    for one in (a, b, apart):
        one.engine.tick(one.now + 1.0)  # a window, from which on it is counted
    await rounds(a, b, apart)
    for one in (a, b, apart):
        one.engine.tick(one.now + 2.0)
    for number in range(50):
        a.ask(f"192.0.2.{number}")
    a.engine.tick(a.now + 3.0)
    await rounds(a, b, apart, times=1)
    for one in (b, apart):
        one.engine.tick(one.now + 3.0)
    assert b.engine.status(b.now).demand > 1.0
    assert apart.engine.status(apart.now).demand == 0.0, "it has servers of its own"
