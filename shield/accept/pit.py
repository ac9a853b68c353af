"""The pit: where the kernel brings new connections of dropped addresses, in each group of listening sockets.

It is the last socket of its group, and nobody accepts from it. As long as the group has it, a program must choose for
each connection (dropping.py): the kernel's own choice would bring everybody there now and then. So the program is
attached before the pit begins to listen. It is closed before any other socket of its group, since the last socket of a
group takes the number of one that is closed.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Network, ip_network
from typing import Final

from shield.accept import sockets
from shield.accept.dropping import MOST_INSTRUCTIONS, NARROWEST_V6, RETURN, Prefix, fitting
from shield.accept.steering import Instruction, attach

ALONE: Final = (Instruction(RETURN, 0),)
"""For a group with one socket besides the pit: everybody goes there."""
_TOO_LONG: Final = (errno.ENOMEM, errno.EINVAL)
_LEAST_INSTRUCTIONS: Final = 256


class Pit:
    """One for all groups of a process. `open` it, `fill` it as often as you like, and `close` it."""

    __slots__ = ("_groups", "_most", "_pits", "_rest")

    def __init__(self, groups: Sequence[Sequence[socket.socket]], rest: Sequence[Instruction] = ALONE) -> None:
        """All groups have as many sockets. `rest` chooses among them, and so far nothing else may be in a group."""
        self._groups = groups
        self._rest = rest
        self._pits: list[socket.socket] = []
        self._most = MOST_INSTRUCTIONS

    def open(self) -> None:
        """Put the program and the pit in their places. Raises OSError or StartError, and nothing has changed then."""
        try:
            for group in self._groups:
                attach(group[0], self._rest)
                self._pits += sockets.bind(sockets.names(group[:1]), 0, reuse_port=True)
        except BaseException:
            self.close()
            raise

    def fill(self, addresses: Sequence[str]) -> int:
        """Drop new connections of these, in place of those of the last call; for how many there was room.

        An address is an IPv4 address or an IPv6 prefix. Put the worst first. The kernel may take shorter programs only
        (net.core.optmem_max): then there is room for fewer.
        """
        if not self._pits:
            return 0
        prefixes = [_prefix(address) for address in addresses[: self._most // 2]]  # no more of them fit
        while True:
            program, number = fitting(prefixes, len(self._groups[0]), self._rest, self._most)
            try:
                for group in self._groups:
                    attach(group[0], program)
            except OSError as error:
                if error.errno not in _TOO_LONG:
                    raise
                if self._most <= _LEAST_INSTRUCTIONS:
                    return 0  # those of the last call are still dropped
                self._most //= 2
            else:
                return number

    def close(self) -> None:
        """Idempotent."""
        for pit in self._pits:
            pit.close()
        self._pits.clear()


@lru_cache(maxsize=MOST_INSTRUCTIONS)
def _prefix(address: str) -> Prefix:
    prefix = ip_network(address, strict=False)
    if isinstance(prefix, IPv6Network) and prefix.prefixlen > NARROWEST_V6:
        return prefix.supernet(new_prefix=NARROWEST_V6)
    return prefix
