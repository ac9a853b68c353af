"""The table of endings, and that the exchange tells everybody what it says."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from bench.suites import rig
from bench.suites.micro.heads import GET
from shield.exchange import endings
from shield.exchange.endings import CANCEL, LEARN, NOTHING, OF_FAULT, Ending
from shield.exchange.ports import Seen
from shield.model import Fault, Outcome, Reason, Verdict
from shield.operator.metrics import Metrics
from tests.exchange.loopback import Asked, Loopback
from tests.harness import PermissiveEngine, QuietLog, reply, shielded, soon

ROWS = {ending.name: ending for ending in vars(endings).values() if isinstance(ending, Ending)}


def test_the_docstring_shows_every_row() -> None:
    table = (endings.__doc__ or "").split("-----------\n")[-1].split("\n\n")[0]
    shown = {line[:17].strip().lower().replace("_", " "): line for line in table.splitlines() if line.strip()}
    assert set(shown) == set(ROWS)
    for name, ending in ROWS.items():
        assert {LEARN: "learns", CANCEL: "cancels", NOTHING: "has decided"}[ending.told] in shown[name]
        if ending.logged > 0 and ending.seen is not Seen.REFUSAL:
            assert str(ending.logged) in shown[name]
        if ending.counter:
            assert ending.counter in shown[name]
        assert ("reused" in shown[name]) is ending.reuse
        assert ("a line of its own" in shown[name]) is not ending.logs
        assert ("refunds" in shown[name]) is ending.refunds_unsent


@pytest.mark.parametrize("ending", ROWS.values(), ids=ROWS)
def test_what_is_learned_and_logged_can_be_told(ending: Ending) -> None:
    assert repr(ending) == f"<Ending {ending.name}>"
    assert not ending.learned or ending.told == LEARN
    assert not ending.refunds_unsent or ending.told == CANCEL
    assert ending.seen is not Seen.STAND_IN or ending.logged == OF_FAULT
    assert not (ending.counter and ending.seen is Seen.STAND_IN), "a fault is counted by its own word"


class Told(PermissiveEngine):
    """Keeps the outcome beside what was learned."""

    def outcome(self) -> tuple[int, bool]:
        ((_, outcome),) = self.learned
        assert isinstance(outcome, Outcome)
        return outcome.status, outcome.stream


async def told(answer: bytes | None, leave: bool = False) -> tuple[Told, QuietLog, Metrics, Seen | None]:
    engine: Any = Told()
    async with shielded({"/": answer}, engine=engine) as (shield, origin):
        (stream,) = Loopback(shield).ask(Asked("/"))
        await origin.got()
        if leave:
            assert stream.exchange is not None
            stream.exchange.abandon(shield.clock())
        if answer and answer.endswith(b"part"):
            await soon(lambda: stream.content)
            origin.links[0].close()
        await soon(lambda: stream.seen)
        return engine, shield.log, shield.metrics, stream.seen


async def test_a_response_is_learned_logged_and_counted() -> None:
    engine, log, metrics, seen = await told(reply(b"x", status="404 Not Found"))
    assert (engine.outcome(), seen) == ((404, False), Seen.WHOLE)
    assert [line[2] for line in log.requests] == [404]
    assert (metrics.upstream_responses[4], sum(sum(one.counts) for one in metrics.request_seconds)) == (1, 1)


async def test_a_fault_is_learned_logged_and_counted_by_its_word() -> None:
    engine, log, metrics, seen = await told(b"no http\r\n\r\n")
    assert (engine.outcome(), seen) == ((502, False), Seen.STAND_IN)
    assert [line[2] for line in log.requests] == [502]
    assert metrics.faults == {Fault.UPSTREAM_GARBAGE.value: 1}
    assert sum(metrics.upstream_responses) == 0


async def test_a_response_that_breaks_off_is_logged_with_its_status_and_learned_as_502() -> None:
    engine, log, metrics, seen = await told(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
    assert (engine.outcome(), seen) == ((502, False), Seen.CUT)
    assert [line[2] for line in log.requests] == [200]
    assert metrics.faults == {Fault.UPSTREAM_CLOSED.value: 1}


async def test_a_fault_after_a_head_is_learned_with_the_status_that_is_logged_unless_the_row_names_one() -> None:
    engine: Any = Told()
    async with shielded({"/": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"}, engine=engine) as (shield, _):
        (stream,) = Loopback(shield).ask(Asked("/"))
        await soon(lambda: stream.content)
        assert stream.exchange is not None
        stream.exchange._end(endings.FAILED, shield.clock(), Fault.UPSTREAM_TIMEOUT)
        assert engine.outcome() == (504, False)
        assert [line[2] for line in shield.log.requests] == [504]


async def test_of_a_client_that_left_the_policy_learns_nothing() -> None:
    engine, log, metrics, seen = await told(None, leave=True)
    assert (engine.learned, len(engine.cancelled), seen) == ([], 1, Seen.NOTHING)
    assert [line[2] for line in log.requests] == [499]
    assert metrics.faults == {}


async def test_what_the_policy_shed_is_neither_learned_nor_cancelled_nor_logged_here() -> None:
    verdict = Verdict(Reason.QUEUE_TIMEOUT, 2)
    async with shielded() as (shield, _):
        shield.engine.verdicts = {"/": Verdict(Reason.AT_CAPACITY)}
        (stream,) = Loopback(shield).ask(Asked("/"))
        shield.forwarder.resume([shield.engine.let_in(verdict)], shield.clock())
        await asyncio.sleep(0)
        assert stream.seen is Seen.REFUSAL
        assert (shield.engine.learned, shield.engine.cancelled, shield.log.requests) == ([], [], [])
        assert shield.metrics.verdicts["shed"]["queue_timeout"] == 1


async def test_a_response_whose_end_cannot_be_written_leaves_nothing_behind() -> None:
    """The slot, the server and the connection to it are free before the client's transport gets the last bytes."""
    proxy = rig.Proxy()

    def failing(data: bytes) -> None:
        raise OSError("broken")

    proxy.connection.data_received(GET)
    assert proxy.engine.in_flight == 1
    proxy.transport.write = failing  # type: ignore[method-assign]
    with pytest.raises(OSError, match="broken"):
        proxy.origin.data_received(rig.RESPONSE)
    (server,) = proxy.pool.servers
    assert (proxy.engine.in_flight, server.outstanding, len(server.idle)) == (0, 0, 1)
    proxy.connection.on_deadline(time.monotonic() + 3600.0)
    assert "nothing" in repr(proxy.connection.watch)
