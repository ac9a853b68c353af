"""A proxy in front that nobody has told Shield of: all its clients look like one, and are limited as one.

It is seen in the traffic: most connections come from one private address, and what they ask tells of other clients
(X-Forwarded-For, Forwarded and the like). That is counted when a connection's client is recognized, which is about
once a connection. Nothing is believed for it: to trust a proxy is the operator's decision.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

LEAST_SEEN: Final = 100
"""Clients that must have been recognized before anything is said."""
LEAST_SHARE: Final = 0.5
"""Of these, told of by one private address."""
MOST_PEERS: Final = 64
"""Peers that are counted between two looks; a proxy is among the first."""
LOOK_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 3600.0
"""How often it is said while it stays so."""


class Unbelieved:
    """`seen` is counted up for each client that is recognized at a peer which is not trusted; `note` is called besides
    when its request tells of another client; `look` now and then. Times are monotonic seconds."""

    __slots__ = ("_next_look", "_peers", "_quiet_until", "peer", "seen", "share")

    def __init__(self) -> None:
        self.seen = 0
        self.peer = ""
        """The address that looks like a proxy; "" when none does."""
        self.share = 0.0
        """Of the clients, those that it told of."""
        self._peers: dict[str, int] = {}
        self._next_look = 0.0
        self._quiet_until = 0.0

    def note(self, address: str) -> None:
        """A request from here tells of another client."""
        if address in self._peers or len(self._peers) < MOST_PEERS:
            self._peers[address] = self._peers.get(address, 0) + 1

    def look(self, now: float) -> bool:
        """Look at what was counted since enough was; whether there is something to say."""
        if now < self._next_look or self.seen < LEAST_SEEN:
            return False
        self._next_look = now + LOOK_SECONDS
        most = max(self._peers, key=self._peers.__getitem__, default="")
        share = min(self._peers[most] / self.seen, 1.0) if most else 0.0
        found = share >= LEAST_SHARE and ip_address(most.partition("%")[0]).is_private
        self.peer, self.share = (most, share) if found else ("", 0.0)
        self.seen = 0
        self._peers.clear()
        if not found or now < self._quiet_until:
            return False
        self._quiet_until = now + AGAIN_SECONDS
        return True
