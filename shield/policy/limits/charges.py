"""What a request pays in calm weather, and what hitting a limit says of its client.

Each admitted request counts as demand in the tally of the open window.
"""

from __future__ import annotations

from typing import Final

from shield.model import Verdict
from shield.policy.entries import ClientEntry, PassKind
from shield.policy.history import History
from shield.policy.limits.limits import CLIENT_RATE, PASS_RATE, Limits
from shield.policy.pressure.window import Tally
from shield.policy.provoked import by_another_site
from shield.policy.reputation import Reputation
from shield.policy.request import Request

RULE: Final = PassKind.RULE


class Charges:
    """Charges requests that no measure of pressure applies to."""

    __slots__ = ("_history", "_limits", "_reputation", "_tally")

    def __init__(self, limits: Limits, reputation: Reputation, history: History, tally: Tally) -> None:
        self._limits = limits
        self._reputation = reputation
        self._history = history
        self._tally = tally

    def count(self, request: Request) -> None:
        """Count a request as demand that reaches the service: one that is never limited, or was charged elsewhere."""
        self._tally.admitted(request.tier, request.cost)

    def newcomer(self) -> None:
        """Count a newcomer who comes."""
        self._tally.came += 1

    def admit(self, request: Request, welcome: Verdict, now: float) -> Verdict:
        """Charge a request that no measure of pressure applies to: `welcome`, or a limit."""
        refusal = self._limits.admit(request, now)
        if refusal is not None:
            self.hit(request, refusal, now)
            return refusal
        self._tally.admitted(request.tier, request.cost)
        return welcome

    def went_beyond(self, entry: ClientEntry, now: float) -> None:
        """Let a client that was refused earn no history meanwhile."""
        self._history.limited(entry, now)

    def ranked(self, rank: float, units: float) -> None:
        """Note the rank of demand that was counted already."""
        self._tally.ranked(rank, units)

    def hit(self, request: Request, refusal: Verdict, now: float) -> None:
        """Hold a limit against the client, if it is its own and not its neighbours'."""
        charged = request.charged_pass
        if refusal.reason is CLIENT_RATE or (refusal.reason is PASS_RATE and charged and charged.kind is not RULE):
            client = request.client
            reputation = self._reputation
            if reputation.open_to_soft(client.entry, now) and not by_another_site(request):
                reputation.soft(client.source, client.entry, reputation.settings.limit_hit, now)
            self._history.limited(client.entry, now)
            if charged is not None:
                self._history.limited(charged, now)
