"""Forward-confirmed reverse DNS for clients whose User-Agent claims to be a configured crawler.

The address must have a name in one of the crawler's domains, and that name must lead back to the address: the first is
written by whoever owns the address, the second by whoever owns the domain (the check that search engines document).
Requests do not wait for it: until DNS has answered, a crawler is a client like any other.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

MAX_CHECKS: Final = 16
"""Look-ups at the same time, so that a flood of false Googlebots does not become a flood of DNS queries."""
MAX_NAMES: Final = 4
"""Names of one address that are followed; whoever owns the address chooses how many it has."""


class Names(Protocol):
    """What is asked of the resolver; see resolve.py."""

    def names(self, address: str) -> Awaitable[list[str]]: ...
    def ask(self, name: str) -> Awaitable[tuple[list[str], float]]: ...


class Crawlers:
    """Looks addresses up, and hands the result to `vouch(address, ok)`.

    When DNS gives no answer, nobody is told; the next connection of the address asks again.
    """

    def __init__(self, resolver: Names, vouch: Callable[[str, bool], None]) -> None:
        self._resolver = resolver
        self._vouch = vouch
        self._checks: dict[str, asyncio.Task[None]] = {}

    def check(self, address: str, domains: Sequence[str]) -> None:
        """Look `address` up, unless it is being looked up, or MAX_CHECKS others are."""
        if address in self._checks or len(self._checks) >= MAX_CHECKS:
            return
        task = asyncio.get_running_loop().create_task(self._check(address, domains))
        self._checks[address] = task
        task.add_done_callback(lambda _: self._checks.pop(address, None))

    async def _check(self, address: str, domains: Sequence[str]) -> None:
        try:
            self._vouch(address, await self._confirmed(address, domains))
        except OSError:
            return  # no answer: neither true nor false

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
