"""What an answer waits for in Shield is told from what the service took."""

from __future__ import annotations

import time

import pytest

from tests.harness import Link, Received, get, reply, shielded

BUSY = 0.05  # seconds


@pytest.mark.parametrize("own", [True, False])
async def test_an_answer_that_waits_while_shield_serves_others_is_not_the_service_s_slowness(own: bool) -> None:
    """The answer is in the kernel while the loop does something else, be that Shield's work or, to see that the test
    can fail, time in which Shield would only have waited."""

    async def handle(link: Link, request: Received) -> None:
        if not own:
            time.sleep(BUSY)  # noqa: ASYNC251 - the service takes so long
        await link.send(reply(b"ok"))
        if own:
            shield.forwarder.turns.now()  # something was read meanwhile
            time.sleep(BUSY)  # noqa: ASYNC251

    async with shielded(None, handle) as (shield, _), await shield.client() as client:
        await client.send(get("/"))
        await client.until(b"ok")
        ((_, outcome),) = shield.engine.learned
        assert (outcome.rtt - outcome.unsure < BUSY / 2) is own
        assert outcome.rtt < 20 * BUSY
