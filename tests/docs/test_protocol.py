"""docs/protocol.md says what is so: its words, its vectors, its program."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path

import pytest

from shield.demo.solver import solve
from shield.model import Fault, Reason
from shield.policy.challenge.challenge import Redeemed
from shield.replies import faults
from shield.replies.wording import CHALLENGES, REFUSALS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def row(start: str) -> str:
    """The only row of a table that begins so."""
    (found,) = [line for line in DOCUMENT.splitlines() if line.startswith(f"| {start} |")]
    return found


@pytest.mark.parametrize("reason", [*CHALLENGES, *REFUSALS], ids=lambda reason: reason.value)
def test_reasons_are_listed_with_their_status(reason: Reason) -> None:
    kind, status = ("challenge", 503) if reason in CHALLENGES else REFUSALS[reason][:2]
    assert f"`{reason.value}`" in row(f"{status} | `{kind}`")


@pytest.mark.parametrize("result", list(Redeemed), ids=lambda result: result.value)
def test_results_of_an_answer_are_listed(result: Redeemed) -> None:
    if result is Redeemed.WAITING:
        assert "waiting room" in row("202 |")
    elif result is not Redeemed.ACCEPTED:
        assert row(f"{503 if result is Redeemed.BUSY else 400} | `{result.value}`")


def test_faults_are_listed_with_their_status() -> None:
    _, _, table = DOCUMENT.partition("## Other replies of Shield")
    listed = {
        (int(status), word)
        for status, words in re.findall(r"^\| (\d{3}) \| (.*) \|$", table, re.MULTILINE)
        for word in re.findall(r"`([a-z_]+)`", words)
    }
    assert listed == {(fault.status, fault.value) for fault in Fault}


def test_every_fault_that_is_documented_can_happen() -> None:
    sources = Path(faults.__file__).parents[1].rglob("*.py")
    code = "\n".join(path.read_text("utf-8") for path in sources if path.name != "faults.py")
    assert [fault.name for fault in Fault if not re.search(rf"\bFault\.{fault.name}\b", code)] == []


def test_vectors() -> None:
    token = re.search(r"^token  (\S+)$", DOCUMENT, re.MULTILINE)
    seed = re.search(r"^seed   (\S+)$", DOCUMENT, re.MULTILINE)
    assert token is not None
    assert seed is not None
    assert hashlib.sha256(token[1].encode()).hexdigest() == seed[1]
    vectors = re.findall(r"^(\d)  (\d+) +([0-9a-f]{64})$", DOCUMENT, re.MULTILINE)
    assert len(vectors) == 5
    for index, nonce, digest in vectors:
        message = bytes.fromhex(seed[1]) + struct.pack(">IQ", int(index), int(nonce))
        assert hashlib.sha256(message).hexdigest() == digest
    assert solve(token[1], 4, 2**52) == [int(nonce) for _, nonce, _ in vectors[:4]]


def test_the_solver_takes_the_number_of_hashes_that_is_asked() -> None:
    """The mean of the smallest nonces is 2^64 / target - 1; over 400 sub-puzzles, within five standard deviations."""
    nonces = solve("AQEQ" * 13, 400, 2**64 // 64)
    assert abs(sum(nonces) / 400 - 63) < 5 * 64 / 20
