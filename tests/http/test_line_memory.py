"""Lines remembered: so many, so long, and no secrets, whichever side of Shield they come from."""

from __future__ import annotations

import pytest

from shield.http.line_memory import LineMemory

PUBLIC = (b"accept", b"date", b"etag", b"host", b"keep-alive", b"server", b"user-agent", b"vary")
SECRET = (
    b"authorization",
    b"authentication-info",
    b"cookie",
    b"cookie2",
    b"set-cookie",
    b"x-api-key",
    b"x-csrf-token",
    b"x-password",
    b"client-secret",
    b"shield-pass",
)


def remembered(*names: bytes, memory: LineMemory[int] | None = None) -> list[bytes]:
    memory = memory or LineMemory()
    for number, name in enumerate(names):
        memory.remember(name + b": 1", name, number)
    return [line.partition(b":")[0] for line in memory.known]


def test_a_line_is_known_by_its_bytes() -> None:
    memory = LineMemory[int]()
    memory.remember(b"Host: a", b"host", 1)
    memory.remember(b"HOST: a", b"host", 2)
    assert memory.known == {b"Host: a": 1, b"HOST: a": 2}
    assert memory.known.get(b"host: a") is None


def test_a_line_that_gives_its_reader_rights_is_never_remembered() -> None:
    assert remembered(*PUBLIC, *SECRET) == list(PUBLIC)


def test_further_names_can_be_secret() -> None:
    assert remembered(b"x-ticket", b"x-ticket-kind", memory=LineMemory((b"x-ticket",))) == [b"x-ticket-kind"]


def test_one_line_too_many_and_all_are_forgotten() -> None:
    memory = LineMemory[int](most=3)
    known = memory.known
    for number in range(8):
        memory.remember(b"%d" % number, b"", number)
        assert len(known) <= 3
    assert known == {b"6": 6, b"7": 7}
    assert memory.known is known, "readers hold on to it"


@pytest.mark.parametrize(("length", "kept"), [(512, 1), (513, 0)])
def test_a_long_line_is_not_remembered(length: int, kept: int) -> None:
    memory = LineMemory[int]()
    memory.remember(b"x" * length, b"x", 1)
    assert len(memory.known) == kept
