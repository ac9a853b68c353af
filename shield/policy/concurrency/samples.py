"""Upstream times as they come in: bounded, and with a count of the clients that they are from."""

from __future__ import annotations

from typing import Final

MOST_SAMPLES: Final = 1024
"""Samples kept at most: bounds the memory and the time of sorting (0.1 ms), whatever the rate."""


class Samples:
    """Responses of one window or one round. Of an error only its number is kept: an error may be quick."""

    __slots__ = ("_clients", "_most_clients", "errors", "excess", "full", "ratios", "vague")

    def __init__(self, most_clients: int) -> None:
        self.ratios: list[float] = []  # upstream time over the route's baseline
        self.excess: list[float] = []  # seconds beyond the route's baseline
        self.errors = self.vague = 0
        self.full = False
        self.vague = 0  # of the times, those that are not known well enough to send the service more at once
        self._clients: set[bytes] = set()
        self._most_clients = most_clients  # more need not be told apart, which bounds the set

    def __len__(self) -> int:
        return len(self.ratios) + self.errors

    def add(self, client: bytes, ratio: float, excess: float, error: bool) -> None:
        """Take one response; of what comes when there are MOST_SAMPLES, only the client."""
        if len(self._clients) < self._most_clients:
            self._clients.add(client)
        if self.full:
            return
        ratios = self.ratios
        if error:
            self.errors += 1
        else:
            ratios.append(ratio)
            self.excess.append(excess)
        if len(ratios) + self.errors == MOST_SAMPLES:
            self.full = True

    @property
    def clients(self) -> int:
        """Clients that the samples are from, counted up to the number that is asked for."""
        return len(self._clients)

    def keep_last(self, number: int) -> None:
        """Forget all but the last so many times; the errors and the clients stay."""
        del self.ratios[:-number]
        del self.excess[:-number]
        self.full = len(self) >= MOST_SAMPLES

    def clear(self) -> None:
        """Begin anew."""
        self.ratios.clear()
        self.excess.clear()
        self._clients.clear()
        self.errors = self.vague = 0
        self.full = False
