"""A fast wrong answer is no answer, and a contest says so."""

from __future__ import annotations

import dataclasses

from bench.common.processes import (
    share_out,
)
from bench.load.plan import Result
from bench.peers import contender
from bench.suites import contest
from bench.suites.workloads import WORKLOADS


class TestRequests:
    """A fast wrong answer is no answer, and the bench says so."""

    def judge(self, result: Result, counted: dict[str, float] | None) -> list[str]:
        bench = contest.Contest(
            WORKLOADS["proxied"], share_out([0, 1]), 1.0, False, None, 0  # type: ignore[arg-type]
        )  # fmt: skip
        return bench.judge(contender.Contender("shield", "Shield", "", 1, None, (2, "/metrics")), result, counted)

    def result(self, requests: int, refused: int = 0) -> Result:
        return Result(requests, 1.0, 1, refused, 0, 0.001, 0.002)

    def test_the_metrics_have_to_show_what_was_sent(self) -> None:
        assert self.judge(self.result(1000), {"forward/ok": 1000.0}) == []
        assert self.judge(self.result(1000), {"forward/ok": 1064.0}) == []  # one under way on each connection
        assert len(self.judge(self.result(1000), {"forward/ok": 1065.0})) == 1
        assert self.judge(self.result(1000), {"forward/ok": 1000.0, "queue/at_capacity": 70.0}) == []
        assert len(self.judge(self.result(1000), {"forward/ok": 999.0})) == 1

    def test_refusals_where_none_are_due_are_a_problem(self) -> None:
        assert len(self.judge(self.result(1000, refused=1), {"forward/ok": 999.0, "limit/client_rate": 1.0})) == 1


class TestJudgement:
    def judge(self, name: str, result: Result, counted: dict[str, float] | None) -> list[str]:
        cores = share_out([0, 1])
        bench = contest.Contest(WORKLOADS[name], cores, 1.0, False, None, 0)  # type: ignore[arg-type]
        return bench.judge(contender.Contender("shield", "Shield", "", 1, None, (2, "/metrics")), result, counted)

    def test_a_websocket_counts_once_and_no_message_may_be_lost(self) -> None:
        good = Result(5000, 1.0, 1, 0, 0, 0.001, 0.002, {"101": 64}, upgrades=64)
        assert self.judge("websocket", good, {"forward/ok": 64.0}) == []
        assert len(self.judge("websocket", good, {"forward/ok": 65.0})) == 1
        assert len(self.judge("websocket", dataclasses.replace(good, failed=1), None)) == 1
        assert len(self.judge("websocket", dataclasses.replace(good, upgrades=63), {"forward/ok": 63.0})) == 1

    def test_nothing_is_no_answer(self) -> None:
        nothing = Result(0, 1.0, 0, 0, 0, 0.0, 0.0)
        assert len(self.judge("proxied", nothing, None)) == 1
        assert self.judge("download-large", dataclasses.replace(nothing, bytes=5), None) == []  # none was complete

    def test_a_run_by_number_agrees_with_the_metrics(self) -> None:
        told = {"sent": 100, "answered": 100, "requests": 100, "good": 100, "counted": {"forward/ok": 100.0}}
        assert contest.miscounted(told) == []
        assert contest.miscounted({**told, "counted": {"forward/ok": 100.0, "queue/at_capacity": 3.0}}) == []
        assert len(contest.miscounted({**told, "answered": 99})) == 1
        assert len(contest.miscounted({**told, "counted": {"forward/ok": 99.0, "limit/client_rate": 1.0}})) == 1
        assert len(contest.miscounted({**told, "counted": {"forward/ok": 99.0}})) == 2
        refused = {**told, "good": 5, "counted": {"forward/ok": 5.0, "limit/client_rate": 95.0}}
        assert contest.miscounted(refused) == []
