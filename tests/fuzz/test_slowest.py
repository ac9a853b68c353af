"""The search for dear inputs, with steps counted in place of time."""

from __future__ import annotations

import random

from tests.fuzz import slowest


def test_the_search_climbs_to_what_costs_more() -> None:
    def commas(_: str, data: bytes) -> float:
        return data.count(b",") / (len(data) + slowest.LEAST_BYTES)

    seeds = [b"a,b", b"abc"]
    best = slowest.climb("range", seeds, 0.3, random.Random(1), commas)
    assert best == sorted(best, reverse=True)
    assert len(best) <= slowest.BEST
    assert best[0][0] > 10 * max(commas("", seed) for seed in seeds)


def test_every_parser_has_seeds() -> None:
    assert set(slowest.SEEDS) == set(slowest.PARSERS)
    for name in slowest.PARSERS:
        data = slowest.seeds(slowest.SEEDS[name][0])[0]
        assert slowest.cost(name, data, 1) > 0.0
