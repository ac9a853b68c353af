"""What a byte can cost: that the bench sends what it says, in the situations that it says, and judges by its bound."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from bench.plots.asymmetry_tables import markdown
from bench.suites import asymmetry, rig
from bench.suites.asymmetry.http2 import FRAMES
from bench.suites.asymmetry.inputs import DIRECT, LEAST, PATHS, Input, one_by_one, worst
from bench.suites.asymmetry.parsers import PARSERS
from shield.http.head import Examiner
from shield.http.plain_head import PlainHeads


@pytest.mark.parametrize("situation", asymmetry.SITUATIONS)
async def test_every_input_meets_what_its_situation_says(situation: str) -> None:
    proxies = {proxied: asymmetry.make(situation, proxied) for proxied in (False, True)}
    for name, sent in PATHS.items():
        if situation != "forwarded" and (sent.answer is not None or sent.before):
            continue
        proxy = proxies[sent.proxied]
        before = {action: proxy.counted(action) for action in ("forward", "limit", "ban")}
        assert await asymmetry.once(proxy, sent) >= 0.0
        counted = {action: proxy.counted(action) - count for action, count in before.items()}
        if situation == "forwarded":
            assert counted["limit"] == counted["ban"] == 0, name
            assert counted["forward"] in (0, sent.requests), name  # none of what is no request, or for Shield itself
        else:
            assert counted["forward"] == 0 or sent.proxied, name


@pytest.mark.parametrize("situation", asymmetry.SITUATIONS)
async def test_every_input_over_http2_meets_what_its_situation_says(situation: str) -> None:
    proxy = asymmetry.make(situation, False)
    for name, sent in FRAMES.items():
        before = {action: proxy.counted(action) for action in ("forward", "limit", "ban")}
        assert await asymmetry.converse(proxy, sent) >= 0.0
        counted = {action: proxy.counted(action) - count for action, count in before.items()}
        if situation == "forwarded":
            assert counted["limit"] == counted["ban"] == 0, name
            assert counted["forward"] <= sent.requests + 1, name  # one may come before what is measured
            if "ordinary" in name or "least" in name:
                assert counted["forward"] >= sent.requests, name
        else:
            assert counted["forward"] == 0, name
        if situation == "banned":
            assert counted["ban"] <= 1, name  # its connection ends


async def test_ordinary_requests_are_carried_to_the_end() -> None:
    proxy = asymmetry.make("forwarded", False)
    await asymmetry.once(proxy, PATHS[asymmetry.ORDINARY])
    assert proxy.counted("forward") == 1
    assert proxy.transport.written > 500
    await asymmetry.once(proxy, Input((LEAST * 16,), 16))
    assert proxy.counted("forward") == 17


async def test_a_refused_request_is_refused() -> None:
    proxy = asymmetry.make("refused", False)
    before = proxy.counted("limit")
    await asymmetry.once(proxy, PATHS[asymmetry.ORDINARY])
    assert proxy.counted("limit") == before + 1


async def test_a_banned_address_has_no_head_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(PlainHeads, "read", never)
    monkeypatch.setattr(Examiner, "examine", never)
    proxy = asymmetry.make("banned", False)
    for name in ("an ordinary GET", "a cookie of parts", "short fields", "long fields", "chunks of a byte"):
        before = proxy.counted("ban")
        await asymmetry.once(proxy, PATHS[name])
        assert proxy.counted("ban") == before + 1, name


@pytest.mark.parametrize("parser", [*PARSERS])
def test_every_parser_takes_what_is_kept_for_it(parser: str) -> None:
    kept = [data for name, data in DIRECT.values() if name == parser] + worst(parser)
    assert worst(parser)
    for data in kept:
        assert data
        PARSERS[parser]()(data)


def test_reads_and_requests_are_units() -> None:
    assert Input((LEAST * 16,), 16).units == 16
    assert Input(one_by_one(LEAST)).units == len(LEAST) == Input((LEAST,)).size


def test_on_the_wire_each_read_is_a_packet_at_least() -> None:
    assert asymmetry.wire([LEAST]) == len(LEAST) + 40
    assert asymmetry.wire(one_by_one(LEAST)) == 41 * len(LEAST)
    assert asymmetry.wire([bytes(1460), bytes(1461)]) == 2921 + 3 * 40


def test_what_is_above_the_bound_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    costs = {"an ordinary GET": 50e-6, "the least GET": 90e-6, "short fields": 900e-6, "long fields": 900e-6}

    async def carried(_: rig.Proxy, sent: Input, *__: Any) -> float:
        return next(cost for name, cost in costs.items() if PATHS[name] is sent)

    monkeypatch.setattr(asymmetry, "carried", carried)
    monkeypatch.setattr(asymmetry, "PATHS", {name: PATHS[name] for name in costs})
    monkeypatch.setattr(asymmetry, "FRAMES", {})
    monkeypatch.setattr(asymmetry, "DIRECT", {})
    monkeypatch.setattr(asymmetry, "FRAMES", {})
    monkeypatch.setattr(asymmetry, "worst", lambda _: [])
    path = tmp_path / "raw.json"
    status = asymmetry.run(argparse.Namespace(values=1, inputs=None, json=path))
    results = json.loads(path.read_text())
    assert status == 1
    assert {row["input"] for row in results["rows"] if row["above"]} == {"short fields"}
    assert len(results["problems"]) == 3
    by_name = {(row["input"], row["situation"]): row for row in results["rows"]}
    least = by_name["the least GET", "forwarded"]
    assert least["ratio"] > 30 > least["wire_ratio"] > 10 > least["unit_ratio"] == pytest.approx(1.8)
    assert results["rows"] == sorted(results["rows"], key=lambda row: -row["per_kib"])
    assert capsys.readouterr().out.strip() == markdown(results).strip()
