"""What became of honest requests: what a fall excuses, and how often each may come to the service."""

from __future__ import annotations

import pytest

from bench.load import ledger
from bench.load.ledger import Ledger


def test_every_answered_request_came_to_the_service_once() -> None:
    book = Ledger()
    for name, kind, what, times in (
        ("a", "get", "ok", 1),
        ("b", "get", "ok", 3),
        ("c", "post", "ok", 1),
        ("d", "post", "502", 1),
        ("e", "post", "502", 0),
        ("f", "get", "ok", 0),
        ("g", "get", "ok", 4),
        ("h", "post", "ok", 2),
        ("i", "chunked", "503", 2),
    ):
        book.write(kind, name, what, "127.2.0.1")
        book.seen[name] += times
    assert [problem.split(",")[0] for problem in book.miscounted()] == ["get f", "get g", "post h", "chunked i"]


def test_an_error_is_excused_only_after_a_fall(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Ledger()
    now = 1000.0
    monkeypatch.setattr(ledger.time, "monotonic", lambda: now)
    book.write("get", "a", "502", "127.2.0.1")
    book.fall()
    now += ledger.AFTERMATH - 1
    for name, what in (("b", "502"), ("c", "cut"), ("d", "unanswered"), ("e", "wrong"), ("f", "429")):
        book.write("get", name, what, "127.2.0.1")
    now += 2
    book.write("get", "g", "503", "127.2.0.1")
    assert [problem.split()[1] for problem in book.problems] == ["a", "d", "e", "f", "g"]
    assert book.falls == 1


def test_problems_are_bounded() -> None:
    book = Ledger()
    for number in range(2 * ledger.MOST_PROBLEMS):
        book.write("get", str(number), "429", "127.2.0.1")
    assert len(book.problems) == ledger.MOST_PROBLEMS
    assert book.outcomes["429"] == 2 * ledger.MOST_PROBLEMS
