"""Whether a queue stands, from the waits of those who left."""

from __future__ import annotations

import pytest

from shield.policy.queue.settings import QueueSettings
from shield.policy.queue.standing import Standing

NOW = 4321.0


@pytest.fixture
def standing() -> Standing:
    """One whose interval has just begun."""
    standing = Standing(QueueSettings())
    standing.begin(NOW)
    return standing


def test_it_is_judged_when_the_interval_is_over(standing: Standing) -> None:
    assert not standing.over(NOW + 0.09)
    assert standing.over(NOW + 0.1)
    standing.judge(0.0, NOW + 0.1)
    assert not standing.over(NOW + 0.19)


@pytest.mark.parametrize(("waits", "stands"), [([0.5, 0.01, 0.5], False), ([0.5, 0.03, 0.5], True)])
def test_the_shortest_wait_says_it(standing: Standing, waits: list[float], stands: bool) -> None:
    for wait in waits:
        standing.departed(wait, empty=False)
    standing.judge(9.0, NOW + 0.1)
    assert standing.on is stands


@pytest.mark.parametrize(("oldest", "stands"), [(0.01, False), (0.1, True)])
def test_where_nobody_left_the_oldest_says_it(standing: Standing, oldest: float, stands: bool) -> None:
    standing.judge(oldest, NOW + 0.1)
    assert standing.on is stands


def test_a_queue_that_ran_empty_does_not_stand(standing: Standing) -> None:
    standing.departed(0.5, empty=False)
    standing.departed(0.5, empty=True)
    standing.judge(0.0, NOW + 0.1)
    assert not standing.on


def test_a_queue_in_which_nobody_waits_stands_no_longer(standing: Standing) -> None:
    standing.judge(1.0, NOW + 0.1)
    assert standing.on
    standing.clear()
    assert not standing.on
