"""The judges of one engine: one for each challenge.mode, as routes and rules may name another than the config does.

All share the same buckets, scores and API keys, and go by the same weather.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from shield.policy.challenge.settings import ChallengeMode
from shield.policy.judge import Judge
from shield.policy.pressure.weather import Weather
from shield.policy.request import Request
from shield.policy.tiers import Tiers

WORDS: Final[Mapping[str, ChallengeMode]] = {"auto": "auto", "always": "always", "never": "off"}
"""The challenge.mode that the word for `challenge` of a route or a rule stands for."""


class Judges:
    """`usual` is the one of the config, `by_word` has them by WORDS, and the usual one under None."""

    __slots__ = ("_all", "_tiers", "by_word", "usual")

    def __init__(self, judges: Mapping[ChallengeMode, tuple[Tiers, Judge]], usual: ChallengeMode) -> None:
        """`usual`: challenge.mode."""
        self._tiers, self.usual = judges[usual]
        self._all = tuple(judge for _, judge in judges.values())
        self.by_word: dict[str | None, Judge] = {None: self.usual}
        self.by_word |= {word: judges[mode][1] for word, mode in WORDS.items()}

    def close_window(self, weather: Weather, bought_factor: float, now: float) -> None:
        """Go by this weather, and by this factor on the rate of bought passes."""
        for judge in self._all:
            judge.close_window(weather, bought_factor, now)

    def take_bought(self) -> float:
        """Units that bought passes took since the last call."""
        return sum([judge.take_bought() for judge in self._all])

    def enforce(self, enforced: bool) -> None:
        """Whether verdicts are carried out from now on."""
        for judge in self._all:
            judge.enforce(enforced)

    def spare(self, paths: Sequence[str]) -> None:
        """Challenge nobody below these paths, in place of those that were said before."""
        for judge in self._all:
            judge.spare(paths)

    def challengeable(self, request: Request) -> bool:
        """Whether a request may be challenged at all, wherever it comes from."""
        return not self._tiers.unchallenged(request)
