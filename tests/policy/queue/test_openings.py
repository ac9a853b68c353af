"""In calm weather visits begin only as far as the queue has room for what they ask for next."""

from __future__ import annotations

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from shield.model import Tier
from shield.policy.queue.openings import FILLED
from shield.policy.queue.queue import Queue
from shield.policy.queue.settings import QueueSettings

LENGTH = 40
MOST = FILLED * LENGTH
NOW = 1000.0
T1, T3 = Tier.T1, Tier.T3


def request(tier: Tier = T3, cost: float = 1.0) -> Any:
    home = SimpleNamespace(home="192.0.2.1")
    return SimpleNamespace(tier=tier, rank=0.0, queued_at=0.0, client=home, headers={}, shown_pass=None, cost=cost)


@pytest.fixture
def queue() -> Queue:
    """Before four slots of 50 ms, which do as much in the half second that is the patience."""
    queue = Queue(QueueSettings(length=0, least_length=LENGTH, ahead=0.0, calm_patience=0.5), 4)
    queue.length.sample(0.05)
    queue.close_window(4, False, False, 0.0, NOW)
    return queue


def fill(queue: Queue, parts: int) -> list[Any]:
    asked = [request() for _ in range(parts)]
    for one in asked:
        assert queue.push(one, NOW, NOW) is None
    return asked


def test_who_would_begin_a_visit_waits_until_there_is_room_for_its_parts(queue: Queue) -> None:
    parts = fill(queue, int(MOST))
    page = request()
    assert queue.push(page, inf, NOW) is None
    for part in parts:
        parts += fill(queue, 1)  # each connection asks for the next
        assert queue.pop(NOW) is part
        if len(parts) > 3 * MOST:
            break
    assert queue._openings.held == 1
    last = parts[-len(queue) + 1 :]
    assert queue.pop(NOW) is last[0]
    assert queue.pop(NOW) is page, "now there is room, and it came before what is left"
    assert [queue.pop(NOW) for _ in range(len(queue))] == last[1:]


def test_where_only_pages_wait_they_go_in_the_order_in_which_they_came(queue: Queue) -> None:
    pages = [request() for _ in range(LENGTH)]
    assert [queue.push(page, inf, NOW) for page in pages] == [None] * LENGTH
    assert [queue.pop(NOW) for _ in pages] == pages


def test_as_many_begin_as_have_room_for_six_parts_each(queue: Queue) -> None:
    pages = [request() for _ in range(10)]
    for page in pages:
        queue.push(page, inf, NOW)
    last = fill(queue, 1)
    served = [queue.pop(NOW) for _ in range(7)]
    assert served == pages[:7], "as each that goes leaves room for the next"
    assert queue.push(request(), inf, NOW) is None
    assert queue._openings.held == 0
    assert last


def test_what_programs_ask_for_has_no_parts_and_needs_no_room_for_them(queue: Queue) -> None:
    for _ in range(1000):
        queue.push(request(), inf, NOW)
        queue.pop(NOW)
    for _ in range(int(MOST)):
        queue.push(request(), inf, NOW)
    assert queue._openings.held == 0
    queue.push(request(), inf, NOW)
    assert queue._openings.held == 1


def test_the_better_tier_is_let_in_first(queue: Queue) -> None:
    fill(queue, int(MOST))
    stranger, user = request(), request(T1)
    for page in (stranger, user):
        queue.push(page, inf, NOW)
    assert queue.pop(NOW) is user
    for _ in range(2):
        queue.pop(NOW)
    assert queue._openings.held == 0
    assert stranger in [queue.pop(NOW) for _ in range(2)]


def test_parts_have_room_in_a_full_queue_and_then_take_the_place_of_who_is_held(queue: Queue) -> None:
    fill(queue, LENGTH - 1)
    page = request()
    assert queue.push(page, inf, NOW) is None
    another = request()
    assert queue.push(another, inf, NOW) is another, "of equals it came last"
    fill(queue, LENGTH)
    assert queue.push(request(), NOW, NOW) is page
    part = request()
    assert queue.push(part, NOW, NOW) is part
    assert len(queue) == 2 * LENGTH


def test_who_is_held_does_not_go_before_all_tiers_however_long_it_waits(queue: Queue) -> None:
    fill(queue, int(MOST) + 1)
    page = request()
    queue.push(page, inf, NOW)
    queue.tick(NOW + 0.3)
    assert queue.pop(NOW + 0.3) is not page
    assert page in queue.tick(NOW + 0.6)
    assert queue._openings.held == 0


def test_who_is_held_can_leave(queue: Queue) -> None:
    fill(queue, int(MOST))
    page = request()
    queue.push(page, inf, NOW)
    assert queue.remove(page)
    assert queue._openings.held == 0


def test_under_pressure_nobody_is_held(queue: Queue) -> None:
    fill(queue, int(MOST))
    queue.push(request(), inf, NOW)
    for one in queue.waiting:
        one.request.tier = T1
    queue.close_window(4, True, False, 0.0, NOW)
    queue.push(request(), inf, NOW)
    assert queue._openings.held == 0


def test_before_the_first_answer_there_is_room_for_the_least_length() -> None:
    queue = Queue(QueueSettings(length=2.0, least_length=LENGTH, ahead=1.0), 20)
    assert queue.length.most > LENGTH
    fill(queue, int(MOST))
    queue.push(request(), inf, NOW)
    assert queue._openings.held == 1


def test_of_several_workers_each_has_room_for_what_the_others_leave(queue: Queue) -> None:
    queue.share(0.25, elsewhere=LENGTH // 2)
    fill(queue, int(FILLED * LENGTH / 2))
    queue.push(request(), inf, NOW)
    assert queue._openings.held == 1
    fill(queue, LENGTH - len(queue))
    part = request()
    assert queue.push(part, NOW, NOW) is not None, "twice the half of the length"
