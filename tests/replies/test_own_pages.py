"""Answers to challenges and claims of tickets, on the wire."""

from __future__ import annotations

import json
from typing import Any

from shield.policy.challenge.challenge import Redeemed, Redemption
from tests.harness import PermissiveEngine, Shield, post

ANSWER = "/.well-known/shield/answer"
TYPE = "Content-Type: application/json"


class Clerk(PermissiveEngine):
    """Sends everybody to the waiting room, and lets them in at the second claim."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[str] = []

    def redeem(self, client: Any, token: str, nonces: list[int], now: float) -> Redemption:
        return Redemption(Redeemed.WAITING, ticket="a-ticket", wait=20, retry_after=5)

    def claim(self, client: Any, ticket: str, now: float) -> Redemption:
        self.claims.append(ticket)
        if len(self.claims) < 2:
            return Redemption(Redeemed.WAITING, ticket=ticket, wait=1, retry_after=1)
        return Redemption(Redeemed.ACCEPTED, "a-pass", 300)


async def test_who_has_solved_too_early_waits_and_claims_the_pass() -> None:
    clerk = Clerk()
    shield = Shield("http://127.0.0.1:9", engine=clerk)
    async with shield, await shield.client() as client:
        waiting = await client.ask(post(ANSWER, b'{"token": "t", "nonces": [1]}', TYPE))
        assert (waiting.status, waiting.get("Retry-After")) == (202, "5")
        told = json.loads(waiting.body)
        assert told == {"ticket": "a-ticket", "wait": 20, "answer_to": ANSWER}
        # The reply itself may be sent back: what else is in it is ignored.
        again = await client.ask(post(told["answer_to"], waiting.body, TYPE))
        assert (again.status, again.get("Retry-After")) == (202, "1")
        accepted = await client.ask(post(ANSWER, b'{"ticket": "a-ticket"}', TYPE))
        assert accepted.status == 200
        assert json.loads(accepted.body)["pass"] == "a-pass"
        cookie = accepted.get("Set-Cookie")
        assert cookie is not None
        assert cookie.startswith("shield_pass=a-pass;")
    assert clerk.claims == ["a-ticket"] * 2
    assert shield.metrics.redemptions == {"waiting": 2, "accepted": 1}
    assert shield.metrics.passes_granted["bought"] == 1
