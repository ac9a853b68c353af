"""The short form of `make fuzz`: the kept inputs, and the same few thousand mutations of them each time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.run import shown
from tests.fuzz.targets import SEEDS, TARGETS, seeds

MUTATIONS: Final = {
    "client_connection": 200,
    "http2_connection": 150,
    "http2_head": 500,
    "upstream": 250,
    "config_file": 50,
    "state_files": 1000,
    "forwarded": 1500,
}
"""Half a second's worth; of the others there are more."""


def test_each_target_has_seeds() -> None:
    assert {file.stem for file in SEEDS.iterdir()} == set(TARGETS)
    assert sum(file.stat().st_size for file in SEEDS.iterdir()) < 100_000, "small inputs only"


def test_what_is_shown_of_a_crash_is_a_line_of_a_seeds_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = bytes(range(256))
    (tmp_path / "all.txt").write_text(f"# a comment\n{shown(every)}\n", "utf-8")
    monkeypatch.setattr("tests.fuzz.targets.SEEDS", tmp_path)
    assert seeds("all") == [every]


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    for data in seeds(name):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str) -> None:
    target, known, dice = TARGETS[name], seeds(name), random.Random(name)
    for _ in range(MUTATIONS.get(name, 4000)):
        data = mutated(known, dice)
        try:
            target(data)
        except BaseException as error:
            error.add_note(f"for seeds/{name}.txt: {shown(data)}")
            raise
