"""The bans that Shield has made by itself and that are in force, for the operator to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shield.policy.identity import Identity
from shield.policy.reputation import Reputation


@dataclass(frozen=True, slots=True)
class Ban:
    """One ban: of an address, or of one client there (its key in hex). `until` is monotonic seconds."""

    address: str
    client: str
    until: float
    relapses: int
    score: float

    def plain(self, shift: float) -> dict[str, Any]:
        """As JSON has it. `shift`: from our clock to that of the wall."""
        return {
            "address": self.address,
            "client": self.client,
            "until": round(self.until + shift, 3),
            "relapses": self.relapses,
            "score": round(self.score, 1),
        }


def in_force(identity: Identity, reputation: Reputation, now: float) -> Iterator[Ban | None]:
    """All of them; None for each entry that is looked at and not banned, so that the caller may pause after so many."""
    for source in tuple(identity.addresses.values()):
        until = source.rare.banned_until
        score = source.rare.hard
        yield Ban(source.name, "", until, source.rare.relapses, score) if until > now else None
    for entry in tuple(identity.clients.values()):
        until = entry.rare.banned_until
        if until > now:
            yield Ban(entry.source.name, entry.key.hex(), until, entry.rare.relapses, reputation.of_client(entry, now))
        else:
            yield None
