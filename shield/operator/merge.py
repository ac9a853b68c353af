"""What several workers say, as one: metrics with a `worker` label, status with totals, readiness of all.

Each worker has an admin listener of its own on a private unix socket. The merged view asks all of them at once, anew
for each request; one that does not answer in time is reported as such, not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from shield.marks import Merge
from shield.operator.refusals import MOST_RECENT, MOST_SHOWN
from shield.operator.status import MERGES, OF_SITE

MOST_BANS: Final = 10_000_000
"""More than there can be."""
RECENT: Final = "/api/recent"
SAME_SECONDS: Final = 3.0
_OF: Final = ("client", "address", "pass", "fingerprint", "server", "worker", "rule", "reason", "site", "path")
"""Fields that say what an event is about."""
ANSWER_SECONDS: Final = 1.0
"""A worker's loop turns in milliseconds, so one that takes longer is not well; scrapers give up after 10 s."""

Facts = Sequence[Mapping[str, Any]]
"""What the supervisor knows of each worker: "worker" (its number), "pid", "restarts"."""


class WorkersView:
    """What several workers show, as one. Call `refresh` before each reading, and `close` at the end."""

    def __init__(
        self,
        paths: Sequence[str],
        facts: Callable[[], Facts],
        draining: Callable[[], bool],
        events: Callable[[], Sequence[dict[str, Any]]] = tuple,
    ) -> None:
        """`paths` are the workers' sockets, in their order; `events` those of the supervisor's own timeline."""
        self._facts = facts
        self._events = events
        self._draining = draining
        self._paths = paths
        self._sessions: list[aiohttp.ClientSession] = []
        self._answers: dict[str, list[tuple[int, str] | None]] = {}  # by path asked for: status and text by worker

    async def refresh(self, path: str) -> None:
        """Ask every worker for `path`, for at most ANSWER_SECONDS."""
        await self._open()
        self._answers[path] = list(await asyncio.gather(*(_ask(session, path) for session in self._sessions)))

    async def _open(self) -> None:
        if not self._sessions:
            # One connection per question: a kept one would be broken by a restart of its worker.
            self._sessions = [
                aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(socket, force_close=True),
                    timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                )
                for socket in self._paths
            ]

    async def close(self) -> None:
        for session in self._sessions:
            await session.close()

    def ready(self) -> tuple[bool, str]:
        if self._draining():
            return False, "draining"
        said = []
        for worker, answer in enumerate(self._answers["/readyz"]):
            if answer is None:
                return False, f"worker {worker} does not answer"
            status, text = answer
            if status != 200:
                return False, f"worker {worker}: {text.strip()}"
            said.append(text.strip())
        lacking = dict.fromkeys(text for text in said if text != "ready")
        return True, "; ".join(lacking) or "ready"

    def status(self) -> dict[str, Any]:
        """Totals under the names that a single process uses, then each worker's own status."""
        answers = [_said(answer) for answer in self._answers["/api/status"]]
        totals = {}
        for key, rule in MERGES.items():
            values = [said[key] for said in answers if key in said]
            if values:
                totals[key] = MERGERS[rule](values)
        workers = [{**known, "answers": bool(said), **said} for known, said in zip(self._facts(), answers, strict=True)]
        return {**totals, "ready": not self._draining() and all(answers) and totals["ready"], "workers": workers}

    async def explain(self, question: Mapping[str, str]) -> dict[str, Any]:
        """What the workers say of a question, as one. ValueError when it is none, or none answers."""
        path = f"/api/explain?{urlencode(question)}"
        await self._open()
        answers = await asyncio.gather(*(_ask(session, path) for session in self._sessions))
        said = [(answer[0], orjson.loads(answer[1])) for answer in answers if answer is not None]
        found = [answer for status, answer in said if status == 200]
        if found:
            return _explained(found)
        if wrong := [answer for status, answer in said if status == 422]:
            raise ValueError(wrong[0]["detail"])
        asked, site = next(iter(question.values())), question.get("site", "")
        return {"asked": asked, "site": site, "found": False, "subjects": [], "refused": []}

    async def bans(self) -> list[dict[str, Any]]:
        """The bans of all workers, each once: they tell each other of most."""
        await self._open()
        path = f"/api/bans?limit={MOST_BANS}"
        answers = await asyncio.gather(*(_ask(session, path) for session in self._sessions))
        bans = (ban for answer in answers for ban in _said(answer).get("bans", ()))
        return list({(ban["address"], ban["client"]): ban for ban in bans}.values())

    async def recent(self) -> dict[str, Any]:
        """Whom all workers have refused of late, and what has happened in any of them."""
        await self._open()
        answers = [_said(a) for a in await asyncio.gather(*(_ask(session, RECENT) for session in self._sessions))]
        refused = [each for answer in answers for each in answer.get("refused", ())]
        refused.sort(key=lambda each: (not each["known"], -each["at"]))
        events = [*self._events(), *(each for answer in answers for each in answer.get("events", ()))]
        return {"refused": refused[:MOST_RECENT], "events": _once(events)}

    def metrics(self) -> Iterator[Metric]:
        """Every worker's samples, labelled, and what the supervisor counts."""
        families: dict[str, Metric] = {}
        up = GaugeMetricFamily("shield_worker_up", "1 while a worker answers its supervisor.", labels=["worker"])
        restarts = CounterMetricFamily("shield_worker_restarts", "Times a worker was started anew.", labels=["worker"])
        for known, answer in zip(self._facts(), self._answers["/metrics"], strict=True):
            worker = str(known["worker"])
            said = answer is not None and answer[0] == 200
            up.add_metric([worker], said)
            restarts.add_metric([worker], known["restarts"])
            if answer is None or not said:
                continue
            for family in text_string_to_metric_families(answer[1]):
                merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                merged.samples += [s._replace(labels={**s.labels, "worker": worker}) for s in family.samples]
        yield up
        yield restarts
        yield from families.values()


async def _ask(session: aiohttp.ClientSession, path: str) -> tuple[int, str] | None:
    try:
        async with session.get(f"http://localhost{path}") as response:
            return response.status, await response.text()
    except (aiohttp.ClientError, TimeoutError, OSError):  # none there, being restarted, or stuck
        return None


def _explained(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What several workers explain. Where none knows more than what holds for anybody, one is enough."""
    found = [answer for answer in answers if answer["found"]] or answers[:1]
    subjects: dict[str, dict[str, Any]] = {}
    for answer in found:
        for subject in answer["subjects"]:
            subjects.setdefault(subject["subject"], subject)
    refused = sorted((each for answer in found for each in answer["refused"]), key=lambda each: -each["at"])
    return {**found[0], "subjects": list(subjects.values()), "refused": refused[:MOST_SHOWN]}


def _once(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events, the newest first, each once: what holds for all workers, each of them tells within SAME_SECONDS. What
    each has counted of an attack is added up."""
    found: list[dict[str, Any]] = []
    latest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in sorted(events, key=lambda each: each["at"]):
        fields = event["fields"]
        of = (event["event"], *(fields.get(key) for key in _OF))
        before = latest.get(of)
        if before is None or event["at"] - before["at"] > SAME_SECONDS:
            latest[of] = event
            found.append(event)
        elif event["event"] == "attack":
            counted = [before["fields"]["requests"], fields["requests"]]
            before["fields"] = {**before["fields"], "requests": _by_key(sum, counted)}
    return found[::-1]


def _said(answer: tuple[int, str] | None) -> dict[str, Any]:
    """The status that a worker answered with; empty when there is none."""
    said: dict[str, Any] = orjson.loads(answer[1]) if answer is not None and answer[0] == 200 else {}
    return said


def _by_key(merge: Callable[[Sequence[Any]], Any], values: Sequence[Any]) -> Any:
    """Numbers become one, and tables key by key."""
    if not isinstance(values[0], dict):
        return merge(values)
    keys = dict.fromkeys(key for value in values for key in value)
    return {key: _by_key(merge, [value[key] for value in values if key in value]) for key in keys}


def _each(values: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What several workers say of each site; during a reload not all know the same ones."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for value in values for name in value):
        said = [value[name] for value in values if name in value]
        totals = {key: MERGERS[rule]([each[key] for each in said]) for key, rule in OF_SITE.items()}
        found[name] = {**said[0], **totals}
    return found


MERGERS: Final[Mapping[Merge, Callable[[Sequence[Any]], Any]]] = {
    Merge.SUM: partial(_by_key, sum),
    Merge.MAX: partial(_by_key, max),
    Merge.ANY: any,
    Merge.ALL: all,
    Merge.EACH: _each,
}
