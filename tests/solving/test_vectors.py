"""Every solver and the verifier agree on docs/protocol-vectors.json."""

from __future__ import annotations

import json
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from shield.demo import solver
from shield.policy.challenge.challenge import solved
from shield.solving import challenge, hand
from shield.solving.challenge import Budget, Challenge, NotUnderstoodError
from shield.solving.search import solve
from tests.solving import vectors

FILE = Path(__file__).parents[2] / "docs" / "protocol-vectors.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text("utf-8"))


def test_the_file_is_what_the_script_makes() -> None:
    assert FILE.read_text("utf-8") == vectors.text(), "run make docs"


def test_there_are_vectors() -> None:
    assert {name: len(found) for name, found in VECTORS.items() if isinstance(found, list)} == {
        "seeds": 7,
        "hashes": 27,
        "solutions": 6,
        "answers": 8,
        "documents": 30,
    }


@pytest.mark.parametrize("row", VECTORS["hashes"], ids=lambda row: f"{row['token'][:4]}-{row['index']}-{row['nonce']}")
def test_a_hash(row: dict[str, Any]) -> None:
    """Just above its own first eight bytes a nonce meets the target, and at them it does not."""
    at = int(row["sha256"][:16], 16)
    seed = {each["token"]: each["seed"] for each in VECTORS["seeds"]}[row["token"]]
    message = bytes.fromhex(seed) + row["index"].to_bytes(4, "big") + row["nonce"].to_bytes(8, "big")
    assert sha256(message).hexdigest() == row["sha256"]
    arguments = (row["token"], row["index"], row["nonce"], 1)
    assert hand.search(*arguments, (at + 1).to_bytes(8, "big")) == row["nonce"]
    assert hand.search(*arguments, at.to_bytes(8, "big")) == -1


@pytest.mark.parametrize("row", VECTORS["solutions"], ids=lambda row: f"{row['k']}-{row['target']}")
def test_a_solution(row: dict[str, Any]) -> None:
    token, k, target = row["token"], row["k"], int(row["target"], 16)
    assert solver.solve(token, k, target) == row["nonces"]
    assert solve(Challenge(token, k, target, ""), Budget(60), threading.Event()) == row["nonces"]
    assert solved(token, target, row["nonces"]) == k


@pytest.mark.parametrize("row", VECTORS["answers"], ids=lambda row: row["what"])
def test_an_answer(row: dict[str, Any]) -> None:
    assert solved(row["token"], int(row["target"], 16), row["nonces"]) == row["solved"]


@pytest.mark.parametrize("row", VECTORS["documents"], ids=lambda row: row["what"])
def test_a_document(row: dict[str, Any]) -> None:
    if row["challenge"] == "refused":
        with pytest.raises(NotUnderstoodError):
            challenge.read(row["document"], VECTORS["site"])
        return
    found = challenge.read(row["document"], VECTORS["site"])
    if row["challenge"] is None:
        assert found is None
    else:
        assert found is not None
        assert round(found.hashes) == row["challenge"]["hashes"]
        assert found.answer_to == row["challenge"]["answer_to"]
