"""The order in which the requests of logs came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shield.replay.lines import UNKNOWN, Line
from shield.replay.order import HELD_SECONDS, Astray, in_order


def line(at: float, seconds: float = UNKNOWN, exact: bool = True) -> Line:
    return Line(at, seconds, exact, "192.0.2.1", "GET", "/", 200)


def merged(*logs: Sequence[Line]) -> list[float]:
    found = [each.at for each in in_order([(log[0].at, lambda log=log: log) for log in logs], Astray())]  # type: ignore[misc]
    assert found == sorted(found)
    return found


def test_a_long_request_stands_before_those_that_came_later() -> None:
    assert merged([line(1000.0), line(1003.0), line(1001.0, 5.0), line(1010.0)]) == [1000.0, 1001.0, 1003.0, 1010.0]


def test_requests_of_one_second_are_spread_over_it() -> None:
    log = [line(1000.0, exact=False) for _ in range(4)] + [line(1001.0, exact=False)]
    assert merged(log) == [1000.125, 1000.375, 1000.625, 1000.875, 1001.5]


def test_requests_that_ended_in_one_second_are_spread_by_that() -> None:
    log = [line(1000.0 - took, took, exact=False) for took in (0.1, 0.2)]
    assert merged(log) == [1000.25 - 0.1, 1000.75 - 0.2]


def test_rotated_logs_may_be_given_in_any_order_and_each_is_opened_in_its_time() -> None:
    opened = []

    def log(name: str, first: float) -> Iterable[Line]:
        opened.append(name)
        return [line(first + second) for second in range(5)]

    logs = [(5000.0, lambda: log("new", 5000.0)), (1000.0, lambda: log("old", 1000.0))]
    found = in_order(logs, Astray())
    assert next(found).at == 1000.0
    assert opened == ["old"]
    assert [each.at for each in found][-1] == 5004.0


def test_logs_of_two_servers_are_merged() -> None:
    assert merged([line(1000.0), line(1002.0)], [line(1001.0), line(1003.0)]) == [1000.0, 1001.0, 1002.0, 1003.0]


def test_a_line_with_a_wrong_clock_is_left_out_and_makes_no_other_late() -> None:
    astray = Astray()
    log = [line(9e9), line(1000.0), line(1001.0), line(8e9), line(1002.0), line(1003.0)]
    assert [each.at for each in in_order([(1000.0, lambda: log)], astray)] == [1000.0, 1001.0, 1002.0, 1003.0]
    assert astray.lines == 2


def test_a_night_without_requests_is_no_wrong_clock() -> None:
    astray = Astray()
    log = [line(1000.0), line(40_000.0), line(40_001.0), line(80_000.0)]
    assert len(list(in_order([(1000.0, lambda: log)], astray))) == 4
    assert not astray.lines


def test_what_is_further_out_of_order_comes_as_early_as_it_still_can() -> None:
    late = HELD_SECONDS * 2
    assert merged([line(1000.0), line(1000.0 + late), line(1001.0), line(1002.0 + late)])[1:3] == [
        1001.0,
        1000.0 + late,
    ]
    assert merged([line(1000.0), line(1000.0 + late), line(1000.5 + late), line(1001.0)])[2] >= 1000.0


def test_an_empty_log_is_no_end() -> None:
    assert [each.at for each in in_order([(0.0, list), (5.0, lambda: [line(5.0)])], Astray())] == [5.0]
