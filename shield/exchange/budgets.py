"""What is left of the budget of an API key, told with each answer: the RateLimit fields of
draft-ietf-httpapi-ratelimit-headers-10 (`identity.tell_api_keys`).

    RateLimit-Policy: "pass_rate";q=400;w=20     the bucket: 400 units, full again within 20 s
    RateLimit: "pass_rate";r=371;t=2             371 are left; it is full in 2 s

They have the name that a refusal for want of them has. A service that tells of limits of its own is not interrupted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shield.policy.engine import Engine
    from shield.policy.request import Request


class Budgets:
    """Makes the fields."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def fields(self, request: Request, fields: list[bytes], now: float) -> list[bytes]:
        """The lines that are added to the `fields` of an answer to `request`; none without an API key."""
        left = self._engine.left(request, now)
        if left is None or any(line[:9].lower() == b"ratelimit" for line in fields):
            return []
        name = left.name.encode("ascii")
        return [
            b'RateLimit-Policy: "%b";q=%d;w=%d\r\n' % (name, left.quota, left.window),
            b'RateLimit: "%b";r=%d;t=%d\r\n' % (name, left.remaining, left.reset),
        ]
