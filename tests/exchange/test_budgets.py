"""RateLimit fields with the answers to who shows an API key."""

from __future__ import annotations

from typing import Any

from shield.exchange.budgets import Budgets
from shield.policy.limits.limits import Left


class Engine:
    left_of: Left | None = Left("pass_rate", 400, 20, 371, 2)

    def left(self, request: Any, now: float) -> Left | None:
        return self.left_of


def test_the_budget_is_told_unless_the_service_tells_of_its_own() -> None:
    engine: Any = Engine()
    budgets, request = Budgets(engine), Any
    page = b"Content-Type: text/html\r\n"
    assert budgets.fields(request, [page], 0.0) == [  # type: ignore[arg-type]
        b'RateLimit-Policy: "pass_rate";q=400;w=20\r\n',
        b'RateLimit: "pass_rate";r=371;t=2\r\n',
    ]
    for own in (b"ratelimit-limit: 7\r\n", b"RateLimit: 7\r\n", b"RATELIMIT-POLICY: 7\r\n"):
        assert budgets.fields(request, [page, own], 0.0) == []  # type: ignore[arg-type]
    engine.left_of = None
    assert budgets.fields(request, [page], 0.0) == []  # type: ignore[arg-type]
