"""The sockets that the workers accept from: one of each for every address and worker, held by who starts them.

They share an address in groups, one for an address, so that the kernel chooses: which worker serves a network
(accept/steering.py), and whom none of them hears any more (accept/pit.py).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from shield.accept import sockets
from shield.accept import steering as kernel
from shield.accept.pit import ALONE, Pit
from shield.config.settings import Config
from shield.errors import StartError


class SharedSockets:
    """Listening sockets in groups, one group for an address, with one socket for each worker."""

    __slots__ = ("_pit", "_program", "_redirects", "_service", "_trusted", "_workers")

    def __init__(self, config: Config, workers: int) -> None:
        """Bind them all. Raises StartError."""
        backlog = config.listen.backlog
        self._pit: Pit | None = None
        self._program: Sequence[kernel.Instruction] = ALONE
        self._workers = workers
        self._trusted = bool(config.listen.trusted_proxies)
        self._redirects: list[list[socket.socket]] = []
        groups = config.drops.by_kernel or workers > 1
        bind = sockets.bind_groups if groups else sockets.bind_alone
        self._service = bind(config.listen.addresses, backlog, workers)
        try:
            self._redirects = bind(config.tls.redirect_from, backlog, workers)
        except BaseException:
            self.close()
            raise

    @property
    def addresses(self) -> list[str]:
        """The addresses at which clients are served."""
        return sockets.names([group[0] for group in self._service])

    @property
    def redirect_addresses(self) -> list[str]:
        """The addresses at which plain HTTP is sent on to https."""
        return sockets.names([group[0] for group in self._redirects])

    def sockets(self, worker: int) -> list[socket.socket]:
        """Those of one worker, for the service."""
        return [group[worker] for group in self._service]

    def redirect_sockets(self, worker: int) -> list[socket.socket]:
        """Those of one worker, for plain HTTP."""
        return [group[worker] for group in self._redirects]

    def descriptors(self, worker: int) -> tuple[int, ...]:
        """The descriptors of one worker's sockets for the service."""
        return tuple(group[worker].fileno() for group in self._service)

    def redirect_descriptors(self, worker: int) -> tuple[int, ...]:
        """The descriptors of one worker's sockets for plain HTTP."""
        return tuple(group[worker].fileno() for group in self._redirects)

    def steer(self) -> bool:
        """Have the kernel bring each network to one worker. False where it would be wrong to; OSError when it cannot.

        All connections of trusted proxies come from their few networks: steered, they would meet one worker.
        """
        if self._trusted:
            return False
        self._program = kernel.steering(self._workers, int.from_bytes(os.urandom(4), "big"))
        for group in (*self._service, *self._redirects):
            kernel.attach(group[0], self._program)
        return True

    def dig(self) -> str:
        """Have the kernel drop connections from now on, when told so by `drop`. What is in the way, or nothing.

        Several workers must have been steered before. Behind trusted proxies it would be the proxies that are dropped.
        """
        if self._trusted:
            return "listen.trusted_proxies is set"
        pit = Pit((*self._service, *self._redirects), self._program)
        try:
            pit.open()
        except (OSError, StartError) as error:
            return str(error)
        self._pit = pit
        return ""

    def drop(self, addresses: Sequence[str]) -> bool:
        """Have the kernel drop new connections of these, the worst first, in place of those of the last call.

        False where it would not be done even if it was tried again later.
        """
        if self._pit is not None:
            self._pit.fill(addresses)
        return True

    def fill_in(self) -> None:
        """Drop nobody any more. To be called before any of the sockets is closed."""
        if self._pit is not None:
            self._pit.close()
            self._pit = None

    def close(self) -> None:
        """Idempotent. The workers' copies go on."""
        self.fill_in()
        for group in (*self._service, *self._redirects):
            for sock in group:
                sock.close()
