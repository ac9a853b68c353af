"""What a proxy adds, and what makes the figures worthless."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from bench.load import open_loop
from bench.suites import latency


class TestLatency:
    def row(self, peer: str, number: int, seconds: float, **change: Any) -> dict[str, Any]:
        late = dataclasses.asdict(open_loop.Lateness(*[1e-6] * 6))
        found = {"peer": peer, "round": number, "rate": 100, "late": late, "failed": 0, "refused": 0, "foreign": 0.01}
        return {**found, "thrown_out": None, **dict.fromkeys(open_loop.QUANTILES, seconds), **change}

    def test_what_a_proxy_adds_is_taken_within_a_round(self) -> None:
        # The machine is slow in round 1, for both.
        rows = [
            self.row("direct", 0, 0.001),
            self.row("shield", 0, 0.003),
            self.row("shield", 1, 0.012),
            self.row("direct", 1, 0.010),
            self.row("shield", 1, 0.5, thrown_out="the generator was late"),
        ]
        found = latency.summary(rows)
        assert found["shield"]["added"]["p99"] == pytest.approx(0.002)
        assert found["direct"]["added"]["p99"] == 0.0

    def test_failures_lost_rounds_and_a_busy_machine_are_problems(self) -> None:
        good = self.row("shield", 0, 0.001)
        assert latency.judge([good], 1) == []
        for change in ({"failed": 1}, {"refused": 1}, {"foreign": 0.5}, {"thrown_out": "late"}):
            assert len(latency.judge([good | change], 1)) == 1, change
        assert latency.judge([good | {"thrown_out": "late"}, good], 1) == []  # it was played again

    def test_a_proxy_that_seems_to_be_faster_than_none_is_a_problem(self) -> None:
        rows = [
            self.row(peer, 0, seconds, rate=rate)
            for rate in (100, 200, 300)
            for peer, seconds in (("direct", 0.001), ("shield", 0.002), ("envoy", 0.0005 if rate == 200 else 0.002))
        ]
        (problem,) = latency.judge(rows, 1)
        assert problem.startswith("Envoy, local_ratelimit adds less than nothing")

    def test_a_generator_that_measures_wrongly_is_a_problem(self) -> None:
        def checks(delay: float, stall: float, carried: float) -> dict[str, dict[str, float]]:
            return {
                "delay": {"expected": 0.002, "measured": delay},
                "stall": {"expected": 0.09, "measured": stall},
                "overload": {"expected": 10_000.0, "measured": carried},
            }

        assert latency.judge_checks(checks(0.00205, 0.088, 9500.0)) == []
        assert latency.judge_checks(checks(0.00205, 0.088, math.nan)) == []  # a machine too fast to be overloaded
        for wrong in ((0.0015, 0.09, 1e4), (0.0025, 0.09, 1e4), (math.nan, 0.09, 1e4), (0.002, 0.004, 1e4)):
            assert len(latency.judge_checks(checks(*wrong))) == 1
        assert len(latency.judge_checks(checks(0.00205, 0.09, 5000.0))) == 1

    def test_shield_is_held_against_envoy_at_half_load(self) -> None:
        def at(shield: float, envoy: float) -> list[dict[str, Any]]:
            peers = {name: {"added": {"p99": added}} for name, added in (("shield", shield), ("envoy", envoy))}
            return [{"share": 0.25, "peers": {}}, {"share": 0.5, "peers": peers}]

        assert latency.held_against_envoy(at(0.002, 0.001)) == []
        assert len(latency.held_against_envoy(at(0.0021, 0.001))) == 1
        assert len(latency.held_against_envoy(at(math.nan, 0.001))) == 1
        assert latency.held_against_envoy(at(0.001, -0.001)) == []  # judge() says that noise hides it
        assert latency.held_against_envoy([{"share": 0.5, "peers": {"shield": {}}}]) == []
