"""An attack that comes to one machine alone is an attack to all that stand before the same service."""

from __future__ import annotations

from typing import Any

import pytest

from shield.policy.board.report import NOTHING, Counted
from shield.policy.cluster import counting as module
from shield.policy.cluster.counting import Counting
from shield.policy.pressure.window import IDLE
from shield.policy.pricing.solves import Solves
from tests.policy.cluster.test_machines import Machine
from tests.policy.conftest import OFFSET

SOME = Counted(requests=10, completed=5.0)


def test_each_adds_what_the_others_have_counted_since() -> None:
    a, b = Counting(), Counting()
    a.meet(SOME, 4, OFFSET)
    b.hear({"a": a.told})
    assert b.meet(NOTHING, 3, OFFSET) == (NOTHING, 4), "what was before it came is counted already"
    a.meet(SOME, 4, OFFSET + 0.5)
    b.hear({"a": a.told})
    there, places = b.meet(SOME, 3, OFFSET + 0.5)
    assert (there.requests, there.completed, places) == (10, 5.0, 4)
    assert b.meet(SOME, 3, OFFSET + 1.0)[0].requests == 0, "and not twice"


def test_one_that_has_told_nothing_yet_counts_for_nothing() -> None:
    a = Counting()
    a.hear({"b": Counting().told})
    assert a.meet(SOME, 4, OFFSET) == (NOTHING, 0)


@pytest.mark.parametrize("report", [None, [1, 2], ["x"], ["{}", "many"], ["{}", -1.0, 0]])
def test_what_makes_no_sense_is_refused(report: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        Counting().hear({"b": report})


def test_while_the_store_is_lost_the_others_are_taken_to_see_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    a = Counting()
    a.machines, a.lost = 4, True
    there, places = a.meet(SOME, 3, OFFSET)
    assert (there.requests, there.completed, places) == (30, 15.0, 9)
    monkeypatch.setattr(module, "MOST_ALIKE", 2)
    assert a.meet(SOME, 3, OFFSET)[0].requests == 20
    a.machines = 1
    assert a.meet(SOME, 3, OFFSET) == (NOTHING, 0)


def flood(attacked: Machine, others: list[Machine], seconds: float, per_window: int) -> None:
    """Strangers come to one machine, and each window all tell each other what they have counted."""
    machines, came = [attacked, *others], 0
    for _ in range(int(seconds / 0.5)):
        engine = attacked.engines[-1]
        for number in range(per_window):
            came += 1
            client = engine.identify(
                f"10.{came >> 16 & 255}.{came >> 8 & 255}.{came & 255}", "Bot/1.0", "", "", attacked.now
            )
            request = attacked.request(len(attacked.engines) - 1)
            request.client = client
            engine.decide(request, attacked.now)
            if number < 20:
                engine.release(request, attacked.now)
            else:
                engine.cancel(request, attacked.now)
        for machine in machines:
            for _ in range(25):
                machine.now += 0.02
                for one in machine.engines:
                    one.tick(machine.now, IDLE)
        for machine in machines:
            mine = machine.engines[0].counting
            assert mine is not None
            mine.hear(
                {str(id(other)): other.engines[0].counting.told for other in machines if other is not machine}  # type: ignore[union-attr]
            )


@pytest.mark.parametrize("workers", [1, 2])
def test_an_attack_on_one_machine_is_known_to_the_others(workers: int) -> None:
    a, b = Machine("a", workers, concurrency=4), Machine("b", concurrency=4)
    for machine in (a, b):
        for engine in machine.engines:
            engine.share(1.0, 1.0, lambda slots: slots, machine.now, machines=2)
    flood(a, [b], 10.0, 2000)
    assert a.engines[0].attack
    assert b.engines[0].attack
    assert b.engines[0].pressure == pytest.approx(a.engines[0].pressure, abs=0.1)


def test_of_the_passes_each_machine_issues_its_part() -> None:
    issued = {}
    for machines in (1, 4):
        pricing = Machine("a").engines[0]._pricing
        pricing.machines = machines
        for window in range(200):
            pricing.read(100.0, 50.0, 0.5, None, OFFSET + window / 2)
            while pricing.ready:
                pricing.take()
                pricing.solved_elsewhere(Solves(issued=machines - 1.0))  # as many at each of the others
                issued[machines] = issued.get(machines, 0) + 1
    assert issued[4] == pytest.approx(issued[1] / 4, rel=0.25)
