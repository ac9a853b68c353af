"""API keys: programs that the operator knows, each with a budget of its own wherever it asks from.

Those of the config have the limits of a pass. Those that were made at run time are rules (rules/rule.py), with a budget
that the operator names. Of both only the SHA-256 is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from math import inf
from typing import Final

from shield.policy.bucket import Rate
from shield.policy.entries import Pass, PassKind
from shield.policy.identity import IdentitySettings
from shield.policy.request import Request
from shield.policy.rules.rule import Rule

ID_BYTES: Final = 8  # of the digest; the id of the budget


class ApiKeys:
    """Finds the budget of the API key that a request carries. `header` is empty where there are none."""

    __slots__ = ("_by_digest", "_field", "_of_config", "_rate", "header")

    def __init__(self, settings: IdentitySettings, rate: Rate) -> None:
        self._field = settings.api_key_header
        self._rate = rate
        self._of_config = [bytes.fromhex(digest) for digest in settings.api_keys]  # the config holds no key itself
        self._by_digest: dict[bytes, Pass] = {}
        self.header = ""
        self.go_by(())

    def go_by(self, rules: Sequence[Rule]) -> None:
        """Know these keys, and those of the config, and no others. Buckets that stay are as full as they were."""
        before = self._by_digest
        rates = {rule.digest: rule.budget or self._rate for rule in rules}
        rates |= dict.fromkeys(self._of_config, self._rate)
        self._by_digest = {digest: _kept(before.get(digest), digest, rate) for digest, rate in rates.items()}
        self.header = self._field if rates else ""

    def of(self, request: Request) -> Pass | None:
        """The budget; None without a key, and for a wrong one. To be asked only where there is a header."""
        value = request.headers.get(self.header)
        if value is None:
            return None
        return self._by_digest.get(sha256(value.encode("utf-8", "surrogatepass")).digest())


def _kept(before: Pass | None, digest: bytes, rate: Rate) -> Pass:
    if before is not None and (before.rate, before.burst) == (rate.rate, rate.burst):
        return before
    return Pass(digest[:ID_BYTES], PassKind.API_KEY, rate, 0.0, inf, None)
