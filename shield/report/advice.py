"""Which limits to look at again, out of what was refused and whom that met. Each piece of advice names the setting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shield.report.account import KNOWN, Account

PART: Final = 0.01
"""Of all requests, from which on refusals for a reason are worth a sentence."""
SLOW: Final = 1.0
"""Seconds, from which on the p95 of known users is worth one."""
LOST: Final = 0.02
"""Share of the requests of known users that were not served, likewise."""


def advice(account: Account) -> list[str]:
    """The most important first; never empty."""
    return list(_advice(account)) or ["Nothing stands out: no limit seems too tight or too wide for this time."]


def _advice(account: Account) -> Iterator[str]:
    if account.dry_run:
        yield (
            "Shield is in a dry run and refuses nobody. If what it would refuse looks right, set dry_run = false. "
            "For a trial: shield dry-run off --for 1h."
        )
    yield from _known(account)
    total = max(account.requests, 1)

    def much(*reasons: str) -> bool:
        return account.of(*reasons) >= PART * total

    if much("oversubscribed"):
        yield (
            "Known visitors alone asked for more than the service can do, and some of them were challenged. No limit "
            "helps there: the service needs more capacity, or its dearest routes a limit of their own ([[route]])."
        )
    if much("queue_full", "queue_timeout", "outranked"):
        yield (
            "Requests were turned away by the queue. If the service had room, look at upstream.max_concurrency and "
            "queue.length; if it had none, at its dearest routes below."
        )
    if much("pass_rate", "client_rate"):
        yield (
            "Clients were above their limits. If people are among them, raise limits.client or limits.pass, and try it "
            "first: shield replay access.log --against new.toml."
        )
    if much("address_rate"):
        yield (
            "Addresses were above their limits. An office or a mobile carrier behind one address needs more: raise "
            "limits.address, or name it in identity.allow."
        )
    if much("network_rate"):
        yield "Networks were above their limits under pressure. See below which, and whether they belong to users."
    if account.of("route_rate"):
        yield (
            f"Limits of single routes refused {account.of('route_rate'):,} requests. See in the log (`route`) which, "
            "and whether people were among them."
        )
    if much("fingerprint_rate"):
        yield (
            "Much came from one program that known visitors do not use, and was limited as one client. If it is a "
            "partner's, give it an API key (identity.api_keys) or name its network in identity.allow."
        )
    if account.of("honeypot") and account.of("honeypot") >= 3:
        yield "Honeypots caught scanners. Look at limits.honeypots: no page may link to one."
    if any(each.cause.startswith("Shield itself") for each in account.attacks):
        yield "Shield itself was at its limit: give it more cores (listen.workers)."


def _known(account: Account) -> Iterator[str]:
    """What known users felt."""
    for each in account.felt:
        if each.tier not in KNOWN:
            continue
        if each.asked and each.served < (1.0 - LOST) * each.asked and not account.dry_run:
            lost = each.asked - each.served
            yield (
                f"Of the requests of visitors {'with a pass' if each.tier == 'T0' else 'who are known'} {lost:,} of "
                f"{each.asked:,} were not served. Look for them with shield explain ADDRESS, and in the log by tier."
            )
        if each.p95 is not None and each.p95 >= SLOW:
            yield (
                f"One in twenty answers to {'visitors with a pass' if each.tier == 'T0' else 'known visitors'} took "
                f"{each.p95:.1f} s or longer: the service was at its limit. Look at upstream.max_concurrency, and at "
                "how quick its routes are."
            )
