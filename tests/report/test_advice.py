"""Which limits to look at again."""

from __future__ import annotations

from typing import Any

import pytest

from shield.report.account import Account, Attack, Felt
from shield.report.advice import advice


def account(verdicts: dict[tuple[str, str], int] | None = None, **more: Any) -> Account:
    made = Account("test", 0.0, 60.0, verdicts={("forward", "ok"): 1000, **(verdicts or {})})
    for name, value in more.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (account(), "Nothing stands out"),
        (account({("limit", "client_rate"): 3}), "Nothing stands out"),
        (account({("limit", "client_rate"): 300}), "raise limits.client"),
        (account({("limit", "address_rate"): 300}), "limits.address"),
        (account({("limit", "network_rate"): 300}), "Networks were above"),
        (account({("limit", "fingerprint_rate"): 300}), "identity.api_keys"),
        (account({("limit", "route_rate"): 2}), "Limits of single routes refused 2 requests"),
        (account({("challenge", "oversubscribed"): 300}), "more capacity"),
        (account({("shed", "queue_timeout"): 300}), "upstream.max_concurrency"),
        (account({("ban", "honeypot"): 5}), "limits.honeypots"),
        (account(dry_run=True), "set dry_run = false"),
        (account(attacks=[Attack(0.0, None, "Shield itself is at its limit")]), "listen.workers"),
        (account(felt=[Felt("T0", 1000, 900, 0.02, 0.2)]), "100 of 1,000 were not served"),
        (account(felt=[Felt("T1", 1000, 1000, 0.02, 4.2)]), "took 4.2 s or longer"),
        (account(felt=[Felt("T3", 1000, 1, 0.02, 40.0)]), "Nothing stands out"),
    ],
)
def test_advice(made: Account, words: str) -> None:
    assert any(words in each for each in advice(made)), advice(made)
