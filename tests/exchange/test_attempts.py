"""Attempts after the first."""

from __future__ import annotations

import asyncio

from shield.exchange.attempts import IDEMPOTENT, Attempts
from shield.operator.metrics import Metrics
from shield.upstream.server import Server


def test_methods_that_change_something_are_not_repeated() -> None:
    assert not IDEMPOTENT & {"POST", "PATCH", "LOCK", "MKCOL", "COPY", "MOVE"}


def test_a_failed_attempt_is_counted_and_a_server_avoided_if_need_be() -> None:
    one, other = (Server(f"http://127.0.0.1:{port}", Metrics().upstream(str(port))) for port in (1, 2))
    attempts = Attempts()
    attempts.failed(one, avoid=True)
    attempts.failed(other, avoid=False)
    assert (attempts.number, attempts.tried, attempts.last) == (2, (one,), other.name)
    assert (one.counters.retries, other.counters.retries) == (1, 1)
    assert repr(attempts) == "<Attempts 2 failed>"


async def test_a_connection_that_is_being_opened_is_given_up() -> None:
    attempts = Attempts()
    attempts.cancel()
    task = attempts.connecting = asyncio.get_running_loop().create_task(asyncio.Event().wait())  # type: ignore[assignment]
    assert repr(attempts) == "<Attempts 0 failed, connecting>"
    attempts.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert attempts.connecting is None
