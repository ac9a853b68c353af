"""Whether those who solve challenges are a flash crowd: honest newcomers, all at once.

Of those who are newcomers in calm weather some share come from networks that are known (history.py counts them). When
at least `flash_share` of that share is found among the networks that solve, they are people: they wait for a pass
instead of burning their batteries. A botnet's networks are mostly unknown. Where newcomers hardly ever come from known
networks (`least_usual`), that tells nobody from another, and there is no flash crowd.
"""

from __future__ import annotations

from typing import Final

from shield.policy.pricing.settings import PricingSettings

MOST_SEEN: Final = 4096
"""Networks told apart in one window."""


class FlashCrowd:
    """Counts the networks of solvers, and those of them that are known. `on`: they are a flash crowd."""

    __slots__ = ("_known", "_new", "_new_known", "_seen", "_settings", "_solvers", "on")

    def __init__(self, settings: PricingSettings) -> None:
        self._settings = settings
        self.on = False
        self._seen: dict[str, bool] = {}  # networks that solved in the open window, and whether they are known
        # since they were told last, or read
        self._new = 0.0
        self._new_known = 0.0
        # of the last half minute, fading
        self._solvers = 0.0
        self._known = 0.0

    def solved(self, network: str, known: bool) -> None:
        """Count a right answer."""
        if len(self._seen) < MOST_SEEN and network not in self._seen:
            self._seen[network] = known
            self._new += 1.0
            self._new_known += known

    def take(self) -> tuple[float, float]:
        """Networks that solved since the last call, and the known ones of them: for the worker that judges."""
        taken = self._new, self._new_known
        self._new = self._new_known = 0.0
        return taken

    def solved_elsewhere(self, networks: float, known: float) -> None:
        """Count networks that solved at other workers."""
        self._new += networks
        self._new_known += known

    def forget(self) -> None:
        """Let every network count anew: a window is over, which another worker judges."""
        self._seen.clear()

    def close_window(self, usual: float | None) -> None:
        """Judge the window. `usual`: the share of newcomers from known networks in calm weather, None if not known."""
        settings = self._settings
        new, known = self.take()
        self._solvers = settings.solves_kept * self._solvers + new
        self._known = settings.solves_kept * self._known + known
        self._seen.clear()
        if usual is None or usual < settings.least_usual or self._solvers < settings.least_solves:
            self.on = False
            return
        wanted = settings.flash_share * usual * self._solvers
        self.on = self._known >= (wanted * settings.flash_kept if self.on else wanted)
