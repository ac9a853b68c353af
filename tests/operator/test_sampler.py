"""Who gets the lines that there are."""

from __future__ import annotations

from collections import Counter

from shield.operator.sampler import FairSampler


def second(sampler: FairSampler, now: float, *refused: tuple[str, bool, int]) -> Counter[str]:
    """The lines of a second in which each network is refused so often, by turns, the most refused one first."""
    lines: Counter[str] = Counter()
    for turn in range(max(times for _, _, times in refused)):
        for network, holds, times in refused:
            if turn < times and sampler.admit(network, holds, now):
                lines[network] += 1
    return lines


def test_one_network_has_all_of_the_budget_while_nobody_else_is_refused() -> None:
    sampler = FairSampler(10)
    for now in range(3):
        assert second(sampler, now, ("a", False, 500)) == {"a": 10}
    assert sampler.suppressed == 3 * 490


def test_a_flood_of_one_network_leaves_the_others_their_part() -> None:
    sampler = FairSampler(10)
    flood = ("flood", False, 5000)
    assert second(sampler, 0, flood) == {"flood": 10}
    for _ in range(500):
        sampler.admit("flood", False, 1.0)
    assert not sampler.admit("quiet", False, 1.5), "in the first second nobody knows of them"
    for now in (2, 3):
        for _ in range(500):
            sampler.admit("flood", False, now)
        assert [sampler.admit("quiet", False, now + 0.5) for _ in range(6)] == [True] * 5 + [False]


def test_in_a_flood_from_everywhere_a_regular_is_found() -> None:
    """Half of the lines are for those who have a pass or a history, once one of them was refused."""
    sampler = FairSampler(10)
    botnet = [f"10.0.{n}.0/24" for n in range(2000)]
    found = 0
    for now in range(10):
        for network in botnet:
            sampler.admit(network, False, now)
        found += sampler.admit("192.0.2.0/24", True, now + 0.9)
    assert found == 9


def test_more_networks_than_lines_have_one_line_each_and_take_no_more_memory() -> None:
    sampler = FairSampler(3)
    for now in range(2):
        lines = second(sampler, now, *((f"10.0.{n}.0/24", False, 9) for n in range(100)))
        assert sorted(lines.values()) == [1, 1, 1]
    assert len(sampler._seen) == len(sampler._had) == 3


def test_without_a_budget_there_is_no_line() -> None:
    sampler = FairSampler(0)
    assert not sampler.admit("a", True, 0.0)
    assert sampler.suppressed == 1
