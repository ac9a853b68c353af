"""Forward-confirmed reverse DNS for clients whose User-Agent claims to be a configured crawler.

The address must have a name in one of the crawler's domains, and that name must lead back to the address: the first is
written by whoever owns the address, the second by whoever owns the domain (the check that search engines document).
Requests do not wait for it: until DNS has answered, a crawler is a client like any other.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

MAX_CHECKS: Final = 16
"""Look-ups at the same time, so that a flood of false Googlebots does not become a flood of DNS queries."""
MAX_NAMES: Final = 4
"""Names of one address that are followed; whoever owns the address chooses how many it has."""


class Names(Protocol):
    """What is asked of the resolver; see resolve.py."""

    def names(self, address: str) -> Awaitable[list[str]]: ...
    def ask(self, name: str) -> Awaitable[tuple[list[str], float]]: ...


@dataclass(slots=True)
class Counts:
    """What has become of those who claim to be one crawler: `claims` of clients, the others of addresses that were
    looked up. `answered` is when DNS last said something (monotonic seconds), 0 for never."""

    claims: int = 0
    confirmed: int = 0
    refuted: int = 0
    unanswered: int = 0
    put_off: int = 0
    looking: int = 0
    answered: float = 0.0


class Crawlers:
    """Looks addresses up, and hands the result to `vouch(address, ok)`. `counts` are by the agents of
    identity.crawlers; `clock` gives monotonic seconds.

    When DNS gives no answer, nobody is told; the next connection of the address asks again.
    """

    def __init__(
        self, resolver: Names, vouch: Callable[[str, bool], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._resolver = resolver
        self._vouch = vouch
        self._clock = clock
        self._checks: dict[str, asyncio.Task[None]] = {}
        self.counts: dict[str, Counts] = {}

    def claimed(self, agent: str) -> None:
        """Count a client that claims to be a crawler."""
        self.of(agent).claims += 1

    def of(self, agent: str) -> Counts:
        """The counts of one crawler."""
        return self.counts.setdefault(agent, Counts())

    def check(self, address: str, domains: Sequence[str], agent: str = "") -> None:
        """Look `address` up, unless it is being looked up, or MAX_CHECKS others are."""
        if address in self._checks:
            return
        counts = self.of(agent)
        if len(self._checks) >= MAX_CHECKS:
            counts.put_off += 1
            return
        counts.looking += 1
        task = asyncio.get_running_loop().create_task(self._check(address, domains, counts))
        self._checks[address] = task
        task.add_done_callback(lambda _: self._checks.pop(address, None))

    async def _check(self, address: str, domains: Sequence[str], counts: Counts) -> None:
        try:
            confirmed = await self._confirmed(address, domains)
        except OSError:
            counts.unanswered += 1  # neither true nor false
            return
        finally:
            counts.looking -= 1
        counts.answered = self._clock()
        counts.confirmed += confirmed
        counts.refuted += not confirmed
        self._vouch(address, confirmed)

    async def _confirmed(self, address: str, domains: Sequence[str]) -> bool:
        wanted = ipaddress.ip_address(address)
        for name in (await self._resolver.names(address))[:MAX_NAMES]:
            if any(name == domain or name.endswith("." + domain) for domain in map(str.lower, domains)):
                addresses, _ = await self._resolver.ask(name)
                if any(ipaddress.ip_address(found) == wanted for found in addresses):
                    return True
        return False

    async def close(self) -> None:
        """Cancel the look-ups under way."""
        for task in list(self._checks.values()):
            task.cancel()
        await asyncio.gather(*self._checks.values(), return_exceptions=True)
