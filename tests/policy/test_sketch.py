"""The heaviest keys of a stream, and how many different ones there are, in bounded memory."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from shield.policy.sketch import Distinct, Sketch


def test_what_makes_more_than_its_share_is_in_the_sketch_and_the_bounds_hold() -> None:
    rng = random.Random(1)
    sketch: Sketch[int] = Sketch(20)
    exact: Counter[int] = Counter()
    for _ in range(20_000):
        key = rng.randrange(4) if rng.random() < 0.4 else rng.randrange(100, 5000)
        sketch.add(key, 1.0)
        exact[key] += 1
        assert len(sketch) <= 20
    assert sketch.total == 20_000
    for key in range(4):
        counter = sketch[key]
        assert counter.count - counter.error <= exact[key] <= counter.count
    for key in (*range(4), *range(100, 200)):
        assert sketch.most(key) * sketch.total >= exact[key]
    assert {counter.key for counter in sketch.heaviest(0.08)} == {0, 1, 2, 3}
    counts = [counter.count - counter.error for counter in sketch.heaviest(0.01)]
    assert counts == sorted(counts, reverse=True)


def test_scaling_changes_no_share_and_no_order() -> None:
    rng = random.Random(2)
    sketch: Sketch[int] = Sketch(8)
    for _ in range(500):
        sketch.add(int(rng.expovariate(0.3)), 1.0)
    shares = {counter.key: sketch.share(counter) for counter in sketch.values()}
    sketch.scale(1e-6)
    assert {counter.key: sketch.share(counter) for counter in sketch.values()} == pytest.approx(shares)
    least = min(counter.count for counter in sketch.values())
    sketch.add(10**6, 1e-6)
    assert sketch[10**6].error == least


def test_what_never_came_has_no_share_while_there_is_room() -> None:
    sketch: Sketch[str] = Sketch(16)
    sketch.add("a", 1.0)
    assert sketch.most("b") == 0.0
    sketch.clear()
    assert (len(sketch), sketch.total, sketch.heaviest(0.1)) == (0, 0.0, [])


@pytest.mark.parametrize("n", [0, 3, 1000, 100_000])
@pytest.mark.untraced
def test_different_clients_are_counted_to_a_percent(n: int) -> None:
    rng = random.Random(n)
    seen = Distinct()
    for _ in range(n):
        tag = rng.randbytes(16)
        seen.add(tag)
        seen.add(tag)
    assert seen.count() == pytest.approx(n, rel=0.015)


def test_a_full_bitmap_is_a_number_too() -> None:
    seen = Distinct()
    seen._bits = bytearray(b"\xff" * len(seen._bits))
    assert seen.count() > 5_000_000
