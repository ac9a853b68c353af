"""The sockets that several workers accept from: one of each for every address and worker, held by the supervisor."""

from __future__ import annotations

import os
import socket

from shield.accept import sockets
from shield.accept import steering as kernel
from shield.config.settings import Config


class SharedSockets:
    """Listening sockets in groups, one group for an address, with one socket for each worker."""

    __slots__ = ("_redirects", "_service", "_trusted", "_workers")

    def __init__(self, config: Config, workers: int) -> None:
        """Bind them all. Raises StartError."""
        backlog = config.listen.backlog
        self._workers = workers
        self._trusted = bool(config.listen.trusted_proxies)
        self._redirects: list[list[socket.socket]] = []
        self._service = sockets.bind_groups(config.listen.addresses, backlog, workers)
        try:
            self._redirects = sockets.bind_groups(config.tls.redirect_from, backlog, workers)
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
        program = kernel.steering(self._workers, int.from_bytes(os.urandom(4), "big"))
        for group in (*self._service, *self._redirects):
            kernel.attach(group[0], program)
        return True

    def close(self) -> None:
        """Idempotent. The workers' copies go on."""
        for group in (*self._service, *self._redirects):
            for sock in group:
                sock.close()
