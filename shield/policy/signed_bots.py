"""Bots that sign their requests (Web Bot Auth), each with a budget of its own wherever it asks from.

Whether a signature holds is found outside of the policy, by `verify` (lookup/web_bot_auth.py), which is asked only for
requests that bring one. One that does not hold is nothing at all: the request is judged as if it had none.

Key: the bot's name; size: as many as there are files of keys, at most MOST_BOTS; they are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from math import inf
from typing import Final

from shield.policy.bucket import Rate
from shield.policy.entries import Pass, PassKind
from shield.policy.request import Request

MOST_BOTS: Final = 256
ID_BYTES: Final = 8  # of the digest; the id of the budget
SIGNED: Final = "Signature-Input"

Verify = Callable[[Request, float], str]
"""The name of the bot that signed a request; empty where nobody is known to have."""


class SignedBots:
    """Finds the budget of the bot that signed a request. `verify` is set by who builds the process, if it is
    `enabled`."""

    __slots__ = ("_budgets", "_rate", "enabled", "verify")

    def __init__(self, enabled: bool, rate: Rate) -> None:
        self.enabled = enabled
        self.verify: Verify | None = None
        self._rate = rate
        self._budgets: dict[str, Pass] = {}

    def of(self, request: Request, now: float) -> Pass | None:
        """The budget; None without a signature, and for one that does not hold. Notes the name in the request."""
        verify = self.verify
        if verify is None or request.headers.get(SIGNED) is None:
            return None
        name = verify(request, now)
        if not name:
            return None
        request.bot = name
        budget = self._budgets.get(name)
        if budget is None:
            if len(self._budgets) >= MOST_BOTS:  # files were replaced again and again
                self._budgets.clear()
            key = sha256(b"bot " + name.encode("utf-8")).digest()[:ID_BYTES]
            budget = self._budgets[name] = Pass(key, PassKind.API_KEY, self._rate, 0.0, inf, None)
        return budget
