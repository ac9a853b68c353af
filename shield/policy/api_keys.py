"""API keys: programs that the operator knows, each with a budget of its own wherever it asks from."""

from __future__ import annotations

from hashlib import sha256
from math import inf
from typing import Final

from shield.policy.bucket import Rate
from shield.policy.entries import Pass, PassKind
from shield.policy.identity import IdentitySettings
from shield.policy.request import Request

ID_BYTES: Final = 8  # of the digest; the id of the budget


class ApiKeys:
    """Finds the budget of the API key that a request carries. `header` is empty where there are none."""

    __slots__ = ("_by_digest", "header")

    def __init__(self, settings: IdentitySettings, rate: Rate) -> None:
        self.header = settings.api_key_header
        digests = [bytes.fromhex(digest) for digest in settings.api_keys]  # the config holds no key itself
        self._by_digest = {
            digest: Pass(digest[:ID_BYTES], PassKind.API_KEY, rate, 0.0, inf, None) for digest in digests
        }

    def of(self, request: Request) -> Pass | None:
        """The budget; None without a key, and for a wrong one. To be asked only where there is a header."""
        value = request.headers.get(self.header)
        if value is None:
            return None
        return self._by_digest.get(sha256(value.encode("utf-8", "surrogatepass")).digest())
