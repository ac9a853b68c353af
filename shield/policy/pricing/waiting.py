"""Waiting instead of solving: a pass for those who run no script, such as text browsers and simple programs.

The ticket is the token of the challenge itself, which tells when it was minted, for whom, and whether it is spent
(challenge.py). Nothing is remembered of those who wait, so they cannot fill a table. With p the pressure, and the score
and the live passes of a client's network, it has to wait

    least (most / least)^p  x  2^(score / doubling)  x  (1 + live passes of the network),   at most `most` seconds

and whoever comes earlier is told how long is left. Who has waited gets a pass of the kind WAITED, whose tier is below
that of a solved one, while there are some: `waited_share` of n* (pricing.py) a second, saved up for `savings` seconds.
When there are none, those who have waited come again in `AGAIN` seconds, until the ticket expires. A client of a
network with n live passes gets one that nobody has taken for `AGAIN` log2(1 + n) seconds: meanwhile those have come who
have fewer. Among equals chance decides. (One address that claimed to be a hundred programs, and asked twenty times a
second, got 138 of 147 passes before that, and twenty people elsewhere the rest.)
"""

from __future__ import annotations

import math
from typing import Final

from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.pricing.settings import PricingSettings

AGAIN: Final = 5
"""s. So long as a restless visitor would wait before trying by hand."""


class Waiting:
    """How long it takes to wait for a pass, and how many there are for those who do."""

    __slots__ = ("_by_network", "_doubling", "_lain", "_least", "_most", "_saved", "_savings", "_share")

    def __init__(self, settings: PricingSettings, challenge: ChallengeSettings) -> None:
        self._share = settings.waited_share
        self._by_network = settings.by_network
        self._savings = settings.savings
        self._most = min(settings.waited_most, challenge.lifetime / 2)
        self._least = min(settings.waited_least, self._most)
        self._doubling = challenge.doubling
        self._saved = math.inf  # passes that may be issued
        self._lain = math.inf  # seconds for which there has been one

    @property
    def possible(self) -> bool:
        """Whether waiting buys anything."""
        return self._share > 0.0

    def seconds(self, pressure: float, score: float, live: int) -> float:
        """How long a client has to wait. `live`: passes of its network."""
        wait: float = self._least * (self._most / self._least) ** pressure * (1 + live)
        wait *= 2.0 ** (max(score, 0.0) / self._doubling)
        return min(wait, self._most)

    def read(self, rate: float, seconds: float, part: float) -> None:
        """Take a reading of `seconds` in which `rate` passes/s were issued by all workers, of whom this is a `part`."""
        mine = self._share * rate * part
        self._lain = self._lain + seconds if self._saved >= 1.0 else 0.0
        self._saved = min(self._saved + mine * seconds, max(1.0, mine * self._savings))

    def rest(self) -> None:
        """In calm weather there are as many as are wanted, until the next reading."""
        self._saved = self._lain = math.inf

    def take(self, live: int) -> bool:
        """Issue one to a client whose network has so many `live` passes, if there is one for it."""
        if self._saved < 1.0 or (self._by_network and self._lain < AGAIN * math.log2(1 + live)):
            return False
        self._saved -= 1.0
        return True
