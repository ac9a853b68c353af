"""Reports: running sums, so that what was missed is made up for; and nonsense is left out."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from shield.policy.board.report import NOTHING, STATES, SUMS, Counted, Elsewhere, Totals, both, counted
from shield.policy.pressure.window import NONE, Asked, OwnLoad
from shield.policy.pricing.solves import Solves

NOW = 900.0
SOME = Counted(
    requests=10,
    asked=Asked(5.0, 3.0, 1.0, 6, (1.0, *NONE[1:])),
    completed=4.0,
    usual_cost=3.5,
    shed=2,
    bought=1.5,
    solves=Solves(3.0, 2.0, 1.0, 4.0),
    oldest_wait=0.25,
    own=OwnLoad(0.01, 0.5, 0.02),
    newcomers=(7.0, 2.0),
    parts=9.0,
)


def test_what_is_told_is_what_was_counted() -> None:
    assert counted(SOME.sums(), SOME.state()) == SOME


def test_between_two_readings_all_that_was_reported_counts_once() -> None:
    totals, elsewhere = Totals(), Elsewhere()
    first = totals.add(SOME, NOW)
    assert elsewhere.read({1: first}) == both(NOTHING, replace(counted([0.0] * SUMS, SOME.state())))
    totals.add(SOME, NOW + 0.1)  # a report that nobody read
    found = elsewhere.read({1: totals.add(SOME, NOW + 0.2)})
    assert (found.requests, found.asked.units, found.shed, found.solves.issued) == (20, 10.0, 4, 8.0)
    assert found.asked.ranks[0] == 2.0
    assert elsewhere.read({1: totals.add(NOTHING, NOW + 0.3)}) == NOTHING


def test_of_several_workers_sums_add_up_and_the_worst_counts() -> None:
    one, two, elsewhere = Totals(), Totals(), Elsewhere()
    elsewhere.read({1: one.add(NOTHING, NOW), 2: two.add(NOTHING, NOW)})
    late_but_idle = replace(SOME, own=OwnLoad(0.02, 0.1, 0.5), oldest_wait=2.0)
    found = elsewhere.read({1: one.add(SOME, NOW), 2: two.add(late_but_idle, NOW)})
    assert found.requests == 20
    assert found.oldest_wait == 2.0
    assert found.own == OwnLoad(0.01, 0.5, 0.5)
    assert found.newcomers == (14.0, 4.0)
    assert found.parts == 18.0
    assert (found.asked.came, found.usual_cost) == (12, 7.0)


def test_a_worker_that_was_replaced_begins_anew() -> None:
    elsewhere = Elsewhere()
    elsewhere.read({1: Totals().add(SOME, NOW)})
    again = Totals()
    assert elsewhere.read({1: again.add(SOME, NOW + 5.0)}).requests == 0
    assert elsewhere.read({1: again.add(SOME, NOW + 5.0)}).requests == 10
    assert elsewhere.read({}) == NOTHING
    assert elsewhere.read({1: again.add(SOME, NOW + 6.0)}).requests == 0  # it was away: all of it is taken for counted


@pytest.mark.parametrize(
    "report",
    [
        None,
        b"{",
        b"[1.0, 2]",
        orjson.dumps([1.0, [0.0] * 3, [0.0] * STATES]),
        orjson.dumps([1.0, [0.0] * SUMS, [0.0] * (STATES - 1)]),
        orjson.dumps([1.0, ["x"] * SUMS, [0.0] * STATES]),
        orjson.dumps([1.0, [-1.0] * SUMS, [0.0] * STATES]),
        orjson.dumps([1.0, [1e16] * SUMS, [0.0] * STATES]),
        orjson.dumps([1.0, [0.0] * SUMS, [-1.0] * STATES]),
        orjson.dumps([1.0, [0.0] * SUMS, [None] * STATES]),
        orjson.dumps(7),
    ],
)
def test_a_report_that_makes_no_sense_is_left_out_and_made_up_for(report: bytes | None) -> None:
    totals, elsewhere = Totals(), Elsewhere()
    elsewhere.read({1: report})
    elsewhere.read({1: totals.add(NOTHING, NOW)})
    assert elsewhere.read({1: report}) == NOTHING
    assert elsewhere.unread == (0 if report is None else 2)
    assert elsewhere.read({1: totals.add(SOME, NOW)}).requests == 10
