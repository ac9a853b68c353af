"""The requests that were refused in the last minutes, so that an operator can say why.

A ring for those that got a page, since people quote the id on it, and one for the others. In each second a ring
takes PER_NETWORK of a network, and PER_SECOND of strangers and as many of those who are known: no flood takes the place
of the user who calls, unless it comes from as many networks as that. MOST of each ring are kept, for SECONDS at most.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from shield.model import Tier, Verdict
from shield.policy.explain.picture import Picture
from shield.policy.request import Request
from shield.readers import PEOPLE

MOST: Final = 3000
"""Two and a half minutes of the largest flood, and hours of a small one. 700 bytes each, by tracemalloc."""
PER_SECOND: Final = 10
PER_NETWORK: Final = 2
SECONDS: Final = 3600.0
MOST_SHOWN: Final = 20
"""Of an address or a pass, the newest first."""
RECENT_SECONDS: Final = 60.0
MOST_LOOKED_AT: Final = 300
"""Of each ring, for what is recent."""
MOST_RECENT: Final = 20
BRIEF_CHARS: Final = 80
CHARS: Final = 256
"""Of a path, a host or a User-Agent."""


class Taker(Protocol):
    """Takes pictures (policy/explain/explainer.py)."""

    def of_request(self, request: Request, now: float) -> Picture: ...
    def of_unread(self, address: str, verdict: Verdict, now: float) -> Picture: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused request: when (monotonic seconds), of whom, for what, and the picture that its verdict went by."""

    at: float
    id: str
    address: str
    client: str
    shown: str
    method: str
    host: str
    path: str
    agent: str
    status: int
    picture: Picture

    def plain(self, shift: float) -> dict[str, Any]:
        """As JSON has it. `shift`: from our clock to that of the wall."""
        verdict = self.picture.verdict
        return {
            "at": round(self.at + shift, 3),
            "id": self.id,
            "address": self.address,
            "client": self.client,
            "method": self.method,
            "host": self.host,
            "path": self.path,
            "user_agent": self.agent,
            "status": self.status,
            "reason": "" if verdict is None else verdict.reason.value,
            "where": self.picture.there.words(),
        }

    @property
    def is_known(self) -> bool:
        """Whether it came with a pass that has a history, or from a client that has one."""
        return self.picture.tier <= Tier.T1 and bool(self.client)

    def brief(self, shift: float) -> dict[str, Any]:
        """As the dashboard has it."""
        said = self.plain(shift)
        verdict = self.picture.verdict
        return {
            **{key: said[key] for key in ("at", "id", "address", "client", "method", "reason", "where")},
            "action": "" if verdict is None else verdict.action.value,
            "path": self.path[:BRIEF_CHARS],
            "user_agent": self.agent[:BRIEF_CHARS],
            "known": self.is_known,
        }


class _Budget:
    """What a ring takes in one second of the caller's clock."""

    __slots__ = ("_ends", "_had", "_left")

    def __init__(self) -> None:
        self._ends = float("-inf")
        self._had: dict[str, int] = {}  # by network; as many at most as were taken
        self._left = [PER_SECOND, PER_SECOND]  # of strangers, and of those who are known

    def admit(self, network: str, holds: bool, now: float) -> bool:
        if now >= self._ends:
            self._ends = now + 1.0
            self._had.clear()
            self._left = [PER_SECOND, PER_SECOND]
        if self._left[holds] <= 0:
            return False
        had = self._had.get(network, 0)
        if had >= PER_NETWORK:
            return False
        self._had[network] = had + 1
        self._left[holds] -= 1
        return True


class Refusals:
    """The two rings of one process. `taker` is there once there is a policy to ask."""

    __slots__ = ("_rings", "taker")

    def __init__(self, most: int = MOST) -> None:
        self.taker: Taker | None = None
        self._rings = tuple((_Budget(), deque[Refusal](maxlen=most)) for _ in range(2))

    def note(self, now: float, request: Request, status: int, request_id: bytes, holds: bool) -> None:
        """Keep a refused request, if there is room in this second. `holds`: it has a pass or a history."""
        budget, ring = self._rings[request.reader in PEOPLE]
        client = request.client
        if not budget.admit(client.network, holds, now) or self.taker is None:
            return
        _forget_old(ring, now)
        headers, shown = request.headers, request.shown_pass
        ring.append(
            Refusal(
                now,
                request_id[:CHARS].decode("ascii", "replace"),
                client.address,
                client.key.hex(),
                "" if shown is None else shown.key.hex(),
                request.method[:CHARS],
                headers.get("Host", "")[:CHARS],
                request.path[:CHARS],
                headers.get("User-Agent", "")[:CHARS],
                status,
                self.taker.of_request(request, now),
            )
        )

    def note_unread(self, now: float, address: str, verdict: Verdict, status: int, request_id: bytes) -> None:
        """The same for a request that was refused for its address, and not read."""
        budget, ring = self._rings[True]
        if not budget.admit(address.rpartition("." if "." in address else ":")[0], False, now) or self.taker is None:
            return
        _forget_old(ring, now)
        picture = self.taker.of_unread(address, verdict, now)
        name = request_id[:CHARS].decode("ascii", "replace")
        ring.append(Refusal(now, name, address, "", "", "", "", "", "", status, picture))

    def by_id(self, request_id: str) -> Refusal | None:
        """The refused request with this id."""
        return next((each for _, ring in self._rings for each in reversed(ring) if each.id == request_id), None)

    def of(self, matches: Callable[[Refusal], bool], most: int) -> list[Refusal]:
        """The latest that match, the newest first."""
        found = sorted((each for each in self._all() if matches(each)), key=lambda each: -each.at)
        return found[:most]

    def recent(self, now: float, shift: float) -> list[dict[str, Any]]:
        """Who was refused within RECENT_SECONDS, and why, as JSON has it: the newest of a client's for one reason, and
        how many of these are kept. Known clients first, then the newest first; MOST_RECENT at most."""
        found: dict[tuple[str, str, Verdict | None], tuple[Refusal, int]] = {}
        for each in sorted(self._looked_at(now - RECENT_SECONDS), key=lambda each: -each.at):
            who = each.address, each.client, each.picture.verdict
            newest, count = found.get(who, (each, 0))
            found[who] = newest, count + 1
        told = sorted(found.values(), key=lambda one: (not one[0].is_known, -one[0].at))
        return [each.brief(shift) | {"count": count} for each, count in told[:MOST_RECENT]]

    def _looked_at(self, since: float) -> Iterator[Refusal]:
        for _, ring in self._rings:
            for each in itertools.islice(reversed(ring), MOST_LOOKED_AT):
                if each.at < since:
                    break
                yield each

    def _all(self) -> Iterator[Refusal]:
        for _, ring in self._rings:
            yield from ring


def _forget_old(ring: deque[Refusal], now: float) -> None:
    while ring and ring[0].at + SECONDS < now:
        ring.popleft()
