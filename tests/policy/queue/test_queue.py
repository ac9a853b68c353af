"""Who goes next, who waits, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason, Tier
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.history import Record
from shield.policy.identity import IdentitySettings
from shield.policy.queue.settings import QueueSettings
from shield.policy.request import Request


def known(world: Any, address: str, units: float) -> Any:
    """A client with a history of so many units."""
    client = world.client(address)
    client.entry.record = world.engine._history.remember(
        Record(client.key, client.home, client.network, world.now - 999, world.now, 2, units)
    )
    return client


def fill(world: Any) -> list[Request]:
    """Take every slot."""
    occupants = []
    while world.engine.in_flight < world.engine._concurrency.limit:
        occupants.append(world.ask(world.client("203.0.113.1")))
        assert occupants[-1].verdict.action is Action.FORWARD
    return occupants


def press(world: Any) -> None:
    """Let there not be enough for all; nobody is challenged."""
    world.storm(0.5)
    world.engine._judge._tiers._mode = "off"


def free(world: Any, request: Request) -> Any:
    """Give one slot back; who gets it."""
    (next_,) = world.end(request)
    return next_


def test_requests_wait_when_every_slot_is_taken_and_go_when_one_is_free(make: Any, says: Any) -> None:
    world = make(2)
    first, second = fill(world)
    waiting = world.ask(world.client())
    assert says(waiting) == (Action.QUEUE, Reason.AT_CAPACITY)
    assert (world.engine.waiting, world.engine.in_flight) == (1, 2)
    assert free(world, first) is waiting
    assert says(waiting) == (Action.FORWARD, Reason.OK)
    assert world.end(second) == ()
    assert world.end(waiting) == ()
    assert (world.engine.waiting, world.engine.in_flight) == (0, 0)


def test_who_has_waited_is_forwarded_for_the_reason_that_admitted_it(make: Any, says: Any) -> None:
    world = make(2, identity=IdentitySettings(allow=("192.0.2.1",)))
    first, second = fill(world)
    named, held = world.ask(world.client()), world.ask(world.client(), body_pending=True)
    assert says(held) == (Action.FORWARD, Reason.ALLOWLISTED)
    world.engine.enter(held, world.now)
    assert says(named) == says(held) == (Action.QUEUE, Reason.AT_CAPACITY)
    for occupant in (first, second):
        assert says(free(world, occupant)) == (Action.FORWARD, Reason.ALLOWLISTED)


def test_those_who_are_told_to_come_back_are_told_different_times_within_bounds(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=0.0, ahead=0, least_length=0, least_retry=10, most_retry=12))
    fill(world)
    times = {world.ask(world.client(f"192.0.2.{i}")).verdict.retry_after for i in range(50)}
    assert times == {10, 11, 12}


def test_nobody_overtakes_the_queue(make: Any) -> None:
    world = make(2)
    occupants = fill(world)
    waiting = [world.ask(world.client(f"192.0.2.{i}")) for i in range(3)]
    world.engine._concurrency.slots.give()  # as if the limit had been raised
    late = world.ask(world.client("192.0.2.9"))
    assert late.verdict.action is Action.QUEUE
    changed = world.engine.tick(world.now)
    assert len(changed) == 1
    assert changed[0] in [*waiting, late]
    assert occupants


def test_a_better_tier_goes_first_then_who_was_served_more(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=9, ahead=0, least_length=0))
    press(world)
    (occupant,) = fill(world)
    stranger = world.ask(world.client("192.0.2.1"))
    visitor = world.ask(known(world, "192.0.2.2", 3.0))
    regular = world.ask(known(world, "192.0.2.3", 500.0))
    order = []
    for _ in range(3):
        occupant = free(world, occupant)
        order.append(occupant)
    assert order == [regular, visitor, stranger]


def test_a_pass_ranks_by_its_own_history(make: Any) -> None:
    world = make(1)
    holder = known(world, "192.0.2.1", 1.0)
    world.settle_down(holder)
    request = world.ask(holder)
    token = world.engine.present(world.engine.grant(request, world.now), world.now)
    world.end(request)
    world.settle_down(holder, shown=token)
    assert token.record is not None
    token.record.units = 5000.0
    (occupant,) = fill(world)
    world.engine._queue.pressed = True  # in calm weather nobody is ranked
    stranger, abroad = world.ask(world.client("192.0.2.9")), world.ask(world.client("198.51.100.1"), shown=token)
    assert int(abroad.rank) == 12
    assert [free(world, occupant), free(world, abroad)] == [abroad, stranger]


def test_equals_have_an_order_that_changes_every_ten_minutes(make: Any) -> None:
    def order() -> list[str]:
        (occupant,) = fill(world)
        for i in range(6):
            world.ask(world.client(f"192.0.2.{i}"))
        served = []
        for _ in range(6):
            occupant = free(world, occupant)
            served.append(occupant.client.address)
        world.end(occupant)
        return served

    world = make(1, queue=QueueSettings(length=9, ahead=0, least_length=0))
    press(world)
    first = order()
    assert order() == first
    world.now += 600
    assert order() != first


def test_of_one_client_s_requests_the_oldest_goes_first(make: Any) -> None:
    world = make(1)
    (occupant,) = fill(world)
    client = world.client()
    one, two = world.ask(client), world.ask(client)
    assert [free(world, occupant), free(world, one)] == [one, two]


def test_a_full_queue_gives_up_its_worst_for_a_better_one(make: Any, says: Any) -> None:
    world = make(1, queue=QueueSettings(ahead=0, least_length=0))
    (occupant,) = fill(world)
    strangers = [world.ask(world.client("192.0.2.1")) for _ in range(2)]
    late = world.ask(world.client("192.0.2.1"))
    assert says(late) == (Action.SHED, Reason.QUEUE_FULL)
    user = world.ask(known(world, "192.0.2.2", 9.0))
    assert says(user)[0] is Action.QUEUE
    evicted = strangers[1]
    assert says(evicted) == (Action.SHED, Reason.OUTRANKED)
    assert 2 <= evicted.verdict.retry_after <= 6
    changed = world.end(occupant)
    assert sorted(map(id, changed)) == sorted(map(id, [evicted, user]))
    assert world.engine.waiting == 1


@pytest.mark.parametrize(("concurrency", "places"), [(2, 256), (4, 400), (200, 4096)])
def test_twenty_browsers_that_open_a_page_at_once_all_have_a_place(make: Any, concurrency: int, places: int) -> None:
    world = make(concurrency)
    fill(world)
    users = [world.client(f"192.0.2.{i}") for i in range(20)]
    assert {world.ask(user).verdict.action for user in users for _ in range(6)} == {Action.QUEUE}
    assert world.engine.status(world.now).queue == places


@pytest.mark.parametrize(("seconds", "places"), [(0.0001, 4096), (0.02, 1000), (0.2, 256)])
def test_as_many_may_wait_as_are_served_within_a_second(make: Any, seconds: float, places: int) -> None:
    """1,500 connections before a service of 0.4 ms were too many for a queue of 256, and for nothing else."""
    world = make(20)
    for i in range(64):
        world.visit(world.client(f"192.0.2.{i}"), rtt=seconds)
    world.pass_time(0.5)
    assert world.engine.status(world.now).queue == places


def test_a_queue_of_no_length_turns_everybody_away(make: Any, says: Any) -> None:
    world = make(1, queue=QueueSettings(length=0, ahead=0, least_length=0))
    fill(world)
    assert says(world.ask(world.client())) == (Action.SHED, Reason.QUEUE_FULL)


def test_who_is_turned_away_pays_for_the_attempt_only(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=0, ahead=0, least_length=0))
    fill(world)
    client = world.client()
    world.ask(client)
    assert client.entry.tat - world.now == pytest.approx(0.02)


def test_retry_after_is_jittered(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=0, ahead=0, least_length=0))
    fill(world)
    waits = {world.ask(world.client(f"192.0.2.{i}")).verdict.retry_after for i in range(60)}
    assert waits == {2, 3, 4, 5, 6}


def stand(world: Any) -> None:
    """Make the queue a standing one: nobody leaves it for an interval."""
    world.pass_time(0.12, step=0.02)
    assert world.engine.status(world.now).standing_queue


@pytest.mark.parametrize(("p", "patience"), [(0.0, 2.0), (0.5, 0.04)])
def test_those_without_history_lose_patience_sooner_under_pressure(make: Any, p: float, patience: float) -> None:
    world = make(2, challenge=ChallengeSettings(mode="off"))
    if p:
        world.storm(p)
    fill(world)
    stranger, user = world.ask(world.client("192.0.2.1")), world.ask(known(world, "192.0.2.2", 9.0))
    assert world.pass_time(0.08 if p else patience - 0.02, step=0.02) == []
    changed = world.pass_time(0.06, step=0.02)
    if p:
        assert changed == [stranger]
        assert stranger.verdict.reason is Reason.QUEUE_TIMEOUT
        assert world.pass_time(0.3, step=0.02) == []
        changed = world.pass_time(0.1, step=0.02)
    assert user in changed
    assert world.engine.waiting == 0
    assert world.engine.tick(world.now) == ()


@pytest.mark.untraced
def test_patience_is_at_least_two_usual_answers(make: Any) -> None:
    world = make(1)
    for _ in range(100):  # more than the median is taken of
        world.visit(world.client("198.51.100.1"), rtt=2.0)
        world.pass_time(20)
    fill(world)
    world.ask(world.client())
    assert world.pass_time(3.9, step=0.1) == []
    assert len(world.pass_time(0.3, step=0.1)) == 1


def test_a_queue_that_moves_drops_nobody(make: Any) -> None:
    world = make(1)
    (occupant,) = fill(world)
    client = world.client()
    waiting = [world.ask(client) for _ in range(2)]
    for _ in range(200):
        world.pass_time(0.015, step=0.015)
        occupant = free(world, occupant)
        waiting.append(world.ask(client))
        assert waiting[-1].verdict.action is Action.QUEUE
    assert not world.engine.status(world.now).standing_queue or world.engine.waiting == 2
    assert all(request.verdict.action is not Action.SHED for request in waiting)


def test_in_a_standing_queue_the_newest_of_equals_goes_first_and_the_oldest_is_given_up(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=3, ahead=0, least_length=0, patience=0.3))
    press(world)
    (occupant,) = fill(world)
    client = world.client()
    one, two, three = (world.ask(client) for _ in range(3))
    stand(world)
    user = world.ask(known(world, "192.0.2.2", 9.0))
    assert one.verdict.reason is Reason.OUTRANKED
    changed = world.end(occupant)
    assert set(changed) == {one, user}
    assert [free(world, user), free(world, three)] == [three, two]


def test_a_standing_queue_gives_up_the_only_one_it_has(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=1, ahead=0, least_length=0, patience=0.3))
    press(world)
    fill(world)
    stranger = world.ask(world.client())
    stand(world)
    world.ask(known(world, "192.0.2.2", 9.0))
    assert stranger.verdict.reason is Reason.OUTRANKED


def test_a_queue_that_ran_empty_stands_no_longer(make: Any) -> None:
    world = make(1)
    (occupant,) = fill(world)
    waiting = world.ask(world.client())
    stand(world)
    assert free(world, occupant) is waiting
    world.pass_time(0.02, step=0.02)
    assert not world.engine.status(world.now).standing_queue


def test_the_shortest_wait_of_an_interval_counts(make: Any) -> None:
    world = make(1, queue=QueueSettings(length=9, ahead=0, least_length=0))
    (occupant,) = fill(world)
    client = world.client()
    for _ in range(4):
        world.ask(client)
    world.pass_time(0.06, step=0.02)
    occupant = free(world, occupant)  # waited 60 ms
    occupant = free(world, occupant)
    world.pass_time(0.06, step=0.02)
    assert world.engine.status(world.now).standing_queue


def test_who_leaves_the_queue_leaves_no_trace(make: Any) -> None:
    world = make(1)
    (occupant,) = fill(world)
    client = world.client()
    leaving, staying = world.ask(client), world.ask(client)
    debt = client.entry.tat
    assert world.engine.cancel(leaving, world.now) == ()
    assert client.entry.tat < debt
    assert free(world, occupant) is staying
    assert world.engine.cancel(leaving, world.now) == ()
    assert not world.engine._queue.remove(leaving)


def test_twenty_browsers_that_open_a_page_at_once_find_room_before_a_small_service(make: Any) -> None:
    world = make(4)
    clients = [world.client(f"198.51.100.{i}") for i in range(20)]
    requests = [world.ask(client) for client in clients for _ in range(6)]
    assert {request.verdict.action for request in requests} == {Action.FORWARD, Action.QUEUE}


def test_the_tier_of_a_stranger_is_the_last_but_one(make: Any) -> None:
    world = make(1)
    assert world.ask(world.client()).tier is Tier.T3


def test_in_calm_weather_the_older_of_a_tier_goes_first(make: Any) -> None:
    """By a keyed hash alone some waited until all others, who asked at the same moment, had their whole page."""
    world = make(1)
    (occupant,) = fill(world)
    waiting = [world.ask(world.client(f"192.0.2.{i}")) for i in range(9)]
    stand(world)
    for request in waiting:
        occupant = free(world, occupant)
        assert occupant is request


def test_in_calm_weather_regulars_that_fill_the_slots_do_not_keep_a_newcomer_waiting_for_ever(make: Any) -> None:
    world = make(1)
    regulars = [known(world, f"198.51.100.{i}", 9.0) for i in range(3)]
    (occupant,) = fill(world)
    newcomer = world.ask(world.client())
    for regular in regulars:
        world.ask(regular)
    began = world.now
    while newcomer.verdict.action is Action.QUEUE:
        assert world.pass_time(0.02, step=0.02) == []
        occupant = free(world, occupant)
        if occupant is not newcomer:
            world.ask(occupant.client)
    assert newcomer.verdict.action is Action.FORWARD
    assert world.now - began == pytest.approx(1.0, abs=0.05)


def test_in_calm_weather_of_one_address_one_request_at_a_time_goes_before_those_who_are_known(make: Any) -> None:
    """Slow readers of large files asked for 200 at once, and a second later all of these went before everybody."""
    world = make(1)
    regular = known(world, "198.51.100.1", 9.0)
    (occupant,) = fill(world)
    greedy = [world.ask(world.client("192.0.2.1")) for _ in range(20)]
    other = world.ask(world.client("192.0.2.2"))
    world.pass_time(1.1, step=0.02)
    wanted = [world.ask(regular) for _ in range(3)]
    order = []
    for _ in range(5):
        occupant = free(world, occupant)
        order.append(occupant)
    assert order == [greedy[0], other, *wanted]
    world.pass_time(0.04, step=0.02)
    wanted = [world.ask(regular)]
    occupant = free(world, occupant)
    assert [occupant, free(world, occupant)] == [greedy[1], *wanted]


def test_where_the_known_take_all_there_is_a_share_is_kept_for_who_bought_a_pass(make: Any, says: Any) -> None:
    """Attackers that had behaved for 90 minutes held earned passes: users with less than theirs got nothing at all."""
    world = make(1, queue=QueueSettings(length=0.0, ahead=0, least_length=20))
    world.storm(0.9)
    buyer = world.client("192.0.2.1")
    _, token = world.buy(buyer)
    buyers = [world.client(f"198.18.{i}.1") for i in range(8)]
    passes = [world.buy(each)[1] for each in buyers]
    occupant = world.ask(known(world, "203.0.113.1", 9.0))
    others = [known(world, f"198.51.100.{i}", 9.0) for i in range(20)]

    def crowd() -> None:
        while world.engine.waiting < 20:
            world.ask(others[world.engine.waiting])

    crowd()
    assert says(world.ask(buyer, shown=token)) == (Action.SHED, Reason.QUEUE_FULL)
    world.engine._windows._pressure._demand.known = 200.0
    world.pass_time(0.5)
    assert world.engine.status(world.now).bought_kept == pytest.approx(5.0)
    crowd()
    bought = [world.ask(each, shown=fresh) for each, fresh in zip(buyers, passes, strict=True)]
    kept = [request for request in bought if says(request)[0] is Action.QUEUE]
    # a second of 0.05 of what a slot can do; no rank of the others goes before, or puts them out
    assert sum(request.cost for request in kept) == pytest.approx(5.0, abs=kept[0].cost)
    assert all(says(request) == (Action.SHED, Reason.QUEUE_FULL) for request in bought if request not in kept)
    assert says(world.ask(known(world, "198.51.100.99", 9999.0)))[0] is Action.QUEUE
    *_, first = world.end(occupant)  # after those that were put out
    assert first in kept
    for _ in kept[1:]:
        first = free(world, first)
        assert first in kept
    assert free(world, first).tier is Tier.T1


def test_of_what_is_kept_more_is_left_to_those_whose_pass_has_taken_less(make: Any, says: Any) -> None:
    """In the order of arrival a farm's passes took it all: newcomers got less than with nothing kept."""
    world = make(1, queue=QueueSettings(length=0.0, ahead=0, least_length=8))
    world.storm(0.9)
    farmer, page = world.client("192.0.2.1"), world.client("192.0.2.2")
    (_, old), (_, new) = world.buy(farmer), world.buy(page)
    old.taken = 7.0  # three doublings
    world.ask(known(world, "203.0.113.1", 9.0))
    others = [known(world, f"198.51.100.{i}", 9.0) for i in range(8)]
    world.pass_time(2.5, step=0.02)
    world.engine._queue._kept.rate = 10.0
    while world.engine.waiting < 8:
        world.ask(others[world.engine.waiting])
    queued = [says(world.ask(farmer, shown=old))[0] is Action.QUEUE for _ in range(9)]
    assert queued == [True] * 4 + [False] * 5
    queued = [says(world.ask(page, shown=new))[0] is Action.QUEUE for _ in range(3)]
    assert queued == [True] * 3


def test_in_a_brownout_the_tiers_take_turns(make: Any) -> None:
    """In a strict order newcomers got nothing for as long as a service was slow that could do half of what is asked."""
    world = make(1)
    regulars = [known(world, f"198.51.100.{i}", 9.0) for i in range(30)]
    (occupant,) = fill(world)
    early = world.ask(world.client("203.0.113.9"))
    world.pass_time(1.5, step=0.02)  # in calm weather it waited long enough to go before all
    world.engine._queue.pressed = world.engine._queue.brownout = True
    world.engine._queue.known_fit = False
    waiting = [world.ask(regular) for regular in regulars]
    waiting += [world.ask(world.client(f"192.0.2.{i}")) for i in range(10)]
    assert free(world, occupant) is early
    occupant = early
    tiers = []
    while world.engine.waiting:
        occupant = free(world, occupant)
        tiers.append(occupant.tier)
    assert len(tiers) == len(waiting)
    assert [tiers[:20].count(tier) for tier in (Tier.T1, Tier.T3)] == [16, 4]
    assert max(at for at, tier in enumerate(tiers) if tier is Tier.T1) < 40
    assert set(tiers[-2:]) == {Tier.T3}


def test_in_a_brownout_those_who_are_known_go_first_while_there_is_enough_for_them(make: Any) -> None:
    world = make(1)
    (occupant,) = fill(world)
    world.pass_time(0.5)
    world.engine._queue.pressed = world.engine._queue.brownout = True
    strangers = [world.ask(world.client(f"192.0.2.{i}")) for i in range(3)]
    regulars = [world.ask(known(world, f"198.51.100.{i}", 9.0)) for i in range(3)]
    assert world.engine._queue.known_fit
    served = []
    while world.engine.waiting:
        occupant = free(world, occupant)
        served.append(occupant)
    assert set(served[:3]) == set(regulars)
    assert set(served[3:]) == set(strangers)


def test_in_a_brownout_the_places_of_a_full_queue_are_shared_as_the_turns_are(make: Any, says: Any) -> None:
    """Where the last tier had to leave, newcomers were not there when their turn came, and got 3 to 16 % of seven
    tenths."""
    world = make(1, queue=QueueSettings(length=16, ahead=0, least_length=0))
    fill(world)
    world.engine._queue.pressed = world.engine._queue.brownout = True
    regulars = [world.ask(known(world, f"198.51.100.{i}", 9.0)) for i in range(16)]
    strangers = [world.ask(world.client(f"192.0.2.{i}")) for i in range(16)]
    world.engine.tick(world.now)
    kept = [sum(says(request)[0] is Action.QUEUE for request in asked) for asked in (regulars, strangers)]
    assert kept == [13, 3]
    assert {says(request)[1] for request in regulars + strangers} == {
        Reason.AT_CAPACITY,
        Reason.OUTRANKED,
        Reason.QUEUE_FULL,
    }


def test_in_a_brownout_who_has_been_refused_for_longest_goes_first_and_then_not_again(make: Any, says: Any) -> None:
    world = make(1, queue=QueueSettings(length=0.0, ahead=0, least_length=1))
    (occupant,) = fill(world)
    world.engine._queue.pressed = world.engine._queue.brownout = True
    lucky, unlucky = world.client("192.0.2.1"), world.client("192.0.2.2")
    first = world.ask(lucky)
    assert says(world.ask(unlucky)) == (Action.SHED, Reason.QUEUE_FULL)
    assert free(world, occupant) is first
    world.now += 0.1
    second = world.ask(lucky)
    again = world.ask(unlucky)
    assert says(second) == (Action.SHED, Reason.OUTRANKED)
    assert list(world.end(first)) == [second, again]
    world.now += 0.1
    assert says(world.ask(lucky)) == (Action.QUEUE, Reason.AT_CAPACITY)
    assert says(world.ask(unlucky)) == (Action.SHED, Reason.QUEUE_FULL)
    assert world.client("192.0.2.2").entry.refused_since == world.now


def test_in_a_brownout_who_was_challenged_before_it_was_found_goes_first(make: Any, says: Any) -> None:
    world = make(1)
    world.storm(0.5)
    early, late = world.client("192.0.2.1"), world.client("192.0.2.2")
    assert says(world.ask(early)) == (Action.CHALLENGE, Reason.NEWCOMER)
    began = world.now
    world.pass_time(1.0)
    assert says(world.ask(early)) == (Action.CHALLENGE, Reason.NEWCOMER)
    assert early.entry.refused_since == began
    world.see(pressed=False)
    (occupant,) = fill(world)
    world.engine._queue.pressed = world.engine._queue.brownout = True
    last = world.ask(late)
    first = world.ask(early)
    assert free(world, occupant) is first
    assert free(world, first) is last


def test_a_queue_that_moves_is_no_excuse_to_wait_for_ever(make: Any, says: Any) -> None:
    """Equals stand in the order of a keyed hash under pressure: while some pass in milliseconds others never do."""
    world = make(1)
    press(world)
    (occupant,) = fill(world)

    def rank(client: Any) -> float:
        request = world.request(client)
        request.tier = Tier.T3
        found = world.engine._admission._ranks.of(request, world.now)
        assert isinstance(found, float)
        return found

    clients = sorted((world.client(f"192.0.2.{i}") for i in range(6)), key=rank)
    last = world.ask(clients[0])
    began = world.now
    world.ask(clients[-1])
    while says(last)[0] is Action.QUEUE:
        changed = world.pass_time(0.01, step=0.01)
        assert not world.engine.status(world.now).standing_queue
        if changed:
            break
        occupant = free(world, occupant)
        assert occupant is not last
        world.ask(occupant.client)
    assert says(last) == (Action.SHED, Reason.QUEUE_TIMEOUT)
    assert world.now - began == pytest.approx(2.0, abs=0.03)


def test_who_waited_as_calm_weather_allows_is_not_turned_away_when_pressure_begins(make: Any, says: Any) -> None:
    """A flood fills the queue within a second, and users wait. Their patience shrinks to what they have waited already,
    and the next tick refused them, though four slots would have served them within 50 ms."""
    world = make(1, queue=QueueSettings(calm_patience=3.0, known_patience=0.4, promoted_after=0.3))
    (occupant,) = fill(world)
    strangers = [world.ask(world.client("192.0.2.1")) for _ in range(3)]
    user = world.ask(known(world, "198.51.100.2", 9.0))
    world.pass_time(1.2, step=0.1)  # the oldest stranger has been put before all tiers
    queue = world.engine._queue
    assert queue.waiting[-1].request is strangers[0]
    assert world.pass_time(0.2, step=0.1) == []
    queue.close_window(1, True, False, 0.0, world.now)
    assert queue.waiting[-1].request is user
    stand(world)
    assert says(user) == (Action.QUEUE, Reason.AT_CAPACITY)
    assert free(world, occupant) is user
