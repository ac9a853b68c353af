"""Several workers' admin listeners seen as one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from shield.operator import merge
from shield.operator.merge import WorkersView
from shield.operator.server import AdminServer, AdminSettings

FACTS = [{"worker": 0, "pid": 100, "restarts": 0}, {"worker": 1, "pid": 101, "restarts": 3}]


class Worker:
    """What one worker shows."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.answer = (True, "ready")

    def ready(self) -> tuple[bool, str]:
        return self.answer

    def status(self) -> dict[str, Any]:
        return {
            "ready": self.answer[0],
            "pressure": 0.25 * self.number,
            "attack": self.number == 1,
            "in_flight": 2 + self.number,
            "requests": {"forward": {"ok": 10}, **({"ban": {"denylisted": 1}} if self.number else {})},
            "routes": ["/"],
        }

    async def recent(self) -> dict[str, Any]:
        """Both tell of the attack, and each of a ban of its own."""
        attack = {"requests": {"forward": {"ok": 10}, "limit": {"client_rate": 1 + self.number}}, "routes": {}}
        return {
            "refused": [{"at": 5.0 + self.number, "known": self.number == 0, "address": f"192.0.2.{self.number}"}],
            "events": [
                {"at": 20.0 + self.number / 50, "event": "attack", "fields": attack},
                {"at": 11.0, "event": "ban", "fields": {"client": f"{self.number}"}},
                {"at": 10.0 + self.number / 50, "event": "attack_onset", "fields": {"cause": "rate"}},
            ],
        }

    async def bans(self) -> list[dict[str, Any]]:
        ban = {"client": "", "until": 9.0, "relapses": 1, "score": 20.0}
        return [{"address": address, **ban} for address in ("192.0.2.7", f"192.0.3.{self.number}")]

    async def explain(self, question: Mapping[str, str]) -> dict[str, Any]:
        if "nowhere" in question.values():
            raise ValueError("nowhere is no address")
        known = question.get("request_id") == f"of-{self.number}" or question.get("address") == "192.0.2.9"
        refused = [{"at": float(self.number), "id": f"{self.number}"}] if known else []
        subjects = [{"subject": f"client {self.number}"}] * known + [{"subject": "somebody new there"}]
        return {"asked": "", "found": known, "subjects": subjects, "refused": refused}

    def metrics(self) -> Iterable[Metric]:
        requests = CounterMetricFamily("shield_requests", "Requests.", labels=["action"])
        requests.add_metric(["forward"], 10 + self.number)
        yield requests
        yield GaugeMetricFamily("shield_pressure", "Pressure.", value=0.25)


@contextlib.asynccontextmanager
async def merged(folder: Path, *workers: Worker, draining: bool = False) -> AsyncIterator[WorkersView]:
    paths = [str(folder / f"{number}.sock") for number in range(2)]
    async with contextlib.AsyncExitStack() as stack:
        for worker in workers:
            server = AdminServer(AdminSettings(address=f"unix:{paths[worker.number]}"), worker)
            await server.start()
            stack.push_async_callback(server.close)
        view = WorkersView(paths, lambda: FACTS, lambda: draining)
        stack.push_async_callback(view.close)
        yield view


async def test_status_has_totals_and_every_worker(tmp_path: Path) -> None:
    async with merged(tmp_path, Worker(0), Worker(1)) as view:
        await view.refresh("/api/status")
        status = view.status()
    workers = status.pop("workers")
    assert status == {
        "ready": True,
        "pressure": 0.25,
        "attack": True,
        "in_flight": 5,
        "requests": {"forward": {"ok": 20}, "ban": {"denylisted": 1}},
    }
    assert [(w["worker"], w["pid"], w["restarts"], w["answers"]) for w in workers] == [
        (0, 100, 0, True),
        (1, 101, 3, True),
    ]
    assert workers[1]["in_flight"] == 3
    assert workers[1]["routes"] == ["/"]


async def test_metrics_are_labelled(tmp_path: Path) -> None:
    async with merged(tmp_path, Worker(0), Worker(1)) as view:
        await view.refresh("/metrics")
        families = {family.name: family for family in view.metrics()}
    assert families["shield_requests"].type == "counter"
    assert [(s.labels, s.value) for s in families["shield_requests"].samples] == [
        ({"action": "forward", "worker": "0"}, 10.0),
        ({"action": "forward", "worker": "1"}, 11.0),
    ]
    assert [s.value for s in families["shield_worker_restarts"].samples] == [0, 3]
    assert all("worker" in s.labels for family in families.values() for s in family.samples)


async def test_ready_when_all_are(tmp_path: Path) -> None:
    second = Worker(1)
    async with merged(tmp_path, Worker(0), second) as view:
        await view.refresh("/readyz")
        assert view.ready() == (True, "ready")
        second.answer = (True, "ready, but for blog")
        await view.refresh("/readyz")
        assert view.ready() == (True, "ready, but for blog")
        second.answer = (False, "no upstream server is healthy")
        await view.refresh("/readyz")
        assert view.ready() == (False, "worker 1: no upstream server is healthy")
    async with merged(tmp_path, Worker(0), Worker(1), draining=True) as view:
        await view.refresh("/readyz")
        assert view.ready() == (False, "draining")


@pytest.mark.parametrize("stuck", [False, True])
async def test_a_worker_that_does_not_answer_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: bool
) -> None:
    monkeypatch.setattr(merge, "ANSWER_SECONDS", 0.1)
    async with merged(tmp_path, Worker(0)) as view, contextlib.AsyncExitStack() as stack:
        if stuck:  # it accepts, and says nothing
            held: list[asyncio.StreamWriter] = []
            server = await asyncio.start_unix_server(lambda _, w: held.append(w), str(tmp_path / "1.sock"))
            stack.callback(server.close)
            stack.callback(lambda: [writer.close() for writer in held])
        async with asyncio.timeout(5):
            for path in ("/readyz", "/api/status", "/metrics"):
                await view.refresh(path)
        assert view.ready() == (False, "worker 1 does not answer")
        status = view.status()
        assert not status["ready"]
        assert status["in_flight"] == 2
        assert status["workers"][1] == {**FACTS[1], "answers": False}
        families = {family.name: family for family in view.metrics()}
    assert [s.value for s in families["shield_worker_up"].samples] == [1, 0]
    assert [s.labels["worker"] for s in families["shield_requests"].samples] == ["0"]


async def test_what_workers_explain_is_one(tmp_path: Path) -> None:
    async with merged(tmp_path, Worker(0), Worker(1)) as view:
        both = await view.explain({"address": "192.0.2.9"})
        assert [each["subject"] for each in both["subjects"]] == ["client 0", "somebody new there", "client 1"]
        assert [each["id"] for each in both["refused"]] == ["1", "0"]
        one = await view.explain({"request_id": "of-1"})
        assert (one["found"], one["refused"]) == (True, [{"at": 1.0, "id": "1"}])
        stranger = await view.explain({"address": "192.0.2.8"})
        assert (stranger["found"], len(stranger["subjects"])) == (False, 1)
        assert (await view.explain({"request_id": "gone"}))["found"] is False
        with pytest.raises(ValueError, match="nowhere is no address"):
            await view.explain({"address": "nowhere"})
    async with merged(tmp_path) as view:
        assert (await view.explain({"address": "192.0.2.9"}))["found"] is False


async def test_a_ban_that_several_workers_know_of_is_one(tmp_path: Path) -> None:
    async with merged(tmp_path, Worker(0), Worker(1)) as view:
        assert sorted(ban["address"] for ban in await view.bans()) == ["192.0.2.7", "192.0.3.0", "192.0.3.1"]
    async with merged(tmp_path) as view:
        assert await view.bans() == []


async def test_what_happens_in_all_workers_is_told_once_and_what_each_has_counted_added_up(tmp_path: Path) -> None:
    async with merged(tmp_path, Worker(0), Worker(1)) as view:
        view._events = lambda: [{"at": 30.0, "event": "rule_added", "fields": {"rule": 1}}]
        said = await view.recent()
    assert [(each["event"], each["at"]) for each in said["events"]] == [
        ("rule_added", 30.0),
        ("attack", 20.0),
        ("ban", 11.0),
        ("ban", 11.0),
        ("attack_onset", 10.0),
    ]
    assert said["events"][1]["fields"]["requests"] == {"forward": {"ok": 20}, "limit": {"client_rate": 3}}
    assert [each["address"] for each in said["refused"]] == ["192.0.2.0", "192.0.2.1"]  # who is known is first


async def test_attacks_on_two_sites_at_once_are_two(tmp_path: Path) -> None:
    async with merged(tmp_path) as view:
        of = {"cause": "demand", "requests_per_second": 9.0}
        view._events = lambda: [
            {"at": 30.0 + place / 10, "event": "attack_onset", "fields": {"site": site, **of}}
            for place, site in enumerate(("shop", "blog", "shop"))
        ]
        said = await view.recent()
    assert [each["fields"]["site"] for each in said["events"]] == ["blog", "shop"]
