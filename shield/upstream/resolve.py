"""The addresses of upstream servers' names, kept for as long as their DNS records say.

c-ares does the asking, which also reads the hosts file.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

import aiodns

MIN_TTL: Final = 1.0
"""s. A record is used for so long at least, even one that says 0."""
MAX_TTL: Final = 300.0
"""s. A record is used for so long at most, so that a change is noticed."""
STALE: Final = 3600.0
"""s. The last addresses are used for so much longer when the name server does not answer."""

_NO_SUCH_NAME: Final = frozenset({aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA})


class Resolver:
    """Looks names up, and remembers their addresses. The names come from the config, which bounds them."""

    def __init__(self, nameserver: str, clock: Callable[[], float]) -> None:
        """`nameserver`: "address:port", or "" for the system's."""
        self._nameserver = nameserver
        self._clock = clock
        self._resolver: aiodns.DNSResolver | None = None
        self._known: dict[str, tuple[float, list[str]]] = {}

    def _client(self) -> aiodns.DNSResolver:
        if self._resolver is None:  # needs a running loop
            self._resolver = self._new_client()
        return self._resolver

    def _new_client(self) -> aiodns.DNSResolver:
        if self._nameserver:
            host, _, port = self._nameserver.rpartition(":")
            return aiodns.DNSResolver(
                nameservers=[host.strip("[]")], udp_port=int(port), tcp_port=int(port), timeout=2.0, tries=2
            )
        return aiodns.DNSResolver(timeout=2.0, tries=2)

    async def lookup(self, name: str) -> list[str]:
        """The addresses of `name`, IPv4 and IPv6. Raises OSError when there are none and none were known lately."""
        now = self._clock()
        known = self._known.get(name)
        if known is not None and now < known[0]:
            return known[1]
        try:
            addresses, ttl = await self.ask(name)
        except OSError:
            if known is not None and now < known[0] + STALE:
                return known[1]
            raise
        self._known[name] = (now + ttl, addresses)
        return addresses

    async def ask(self, name: str) -> tuple[list[str], float]:
        """The addresses of `name`, asked for anew, and for how many seconds they hold. Raises OSError when there are
        none."""
        client = self._new_client()  # a kept one has a cache of its own, of up to an hour, that cannot be switched off
        try:
            result = await client.getaddrinfo(name, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            raise OSError(f"cannot resolve {name}: {error.args[-1]}") from error
        finally:
            await client.close()
        addresses, ttls = [], [MAX_TTL]
        for node in result.nodes:
            address = node.addr[0]
            text = address.decode("ascii") if isinstance(address, bytes) else address
            if text not in addresses:
                addresses.append(text)
            ttls.append(float(node.ttl))
        if not addresses:
            raise OSError(f"cannot resolve {name}: no address")
        return addresses, max(MIN_TTL, min(ttls))

    async def names(self, address: str) -> list[str]:
        """The names of `address` in reverse DNS, in lower case and without the final dot; empty when it has none.

        Raises OSError when the name server gives no answer, which is another thing.
        """
        try:
            result = await self._client().gethostbyaddr(address)
        except aiodns.error.DNSError as error:
            if error.args and error.args[0] in _NO_SUCH_NAME:
                return []
            raise OSError(f"cannot look up {address}: {error.args[-1]}") from error
        return [name.rstrip(".").lower() for name in (result.name, *result.aliases) if name]

    async def close(self) -> None:
        """Close the sockets to the name server."""
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None
