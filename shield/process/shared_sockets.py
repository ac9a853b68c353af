"""The sockets that the workers accept from: one of each for every address and worker, held by who starts them.

They share an address in groups, one for an address, so that the kernel chooses: which worker serves a network
(accept/steering.py), and whom none of them hears any more (accept/pit.py).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator, Sequence

from shield.accept import sockets
from shield.accept import steering as kernel
from shield.accept.pit import ALONE, Pit
from shield.config.settings import Config
from shield.errors import StartError
from shield.process.orphans import claim

Group = list[socket.socket]


class SharedSockets:
    """Listening sockets in groups, one group for an address, with one socket for each worker."""

    __slots__ = ("_names", "_pit", "_program", "_redirects", "_service", "_trusted", "_workers", "kept")

    def __init__(self, config: Config, workers: int, former: SharedSockets | None = None) -> None:
        """Bind them all, but for the groups of `former` whose addresses stay: both have these. Raises StartError."""
        self.kept: bool
        self._pit: Pit | None = None
        self._program: Sequence[kernel.Instruction] = ALONE
        self._workers = workers
        self._trusted = bool(config.listen.trusted_proxies)
        self._names = config.listen.addresses, config.tls.redirect_from
        self._service: list[list[socket.socket]] = []
        self._redirects: list[list[socket.socket]] = []
        self.kept = former is not None and former.kept
        """Whether all are a service manager's, who holds them, too."""
        try:
            for number, groups in enumerate((self._service, self._redirects)):
                self._bind(self._names[number], groups, [] if former is None else former._named(number), config)
            if former is not None and former.steers:
                self._program = former._program
                held = {id(group) for group in former._groups()}
                self._attach(group for group in self._groups() if id(group) not in held)
        except (StartError, OSError):
            self.close(former)
            raise

    @classmethod
    def holding(
        cls,
        names: tuple[Sequence[str], Sequence[str]],
        groups: tuple[Sequence[Group], Sequence[Group]],
        program: Sequence[kernel.Instruction] = ALONE,
        kept: bool = False,
    ) -> SharedSockets:
        """Sockets that somebody else has bound, by the addresses that a config has for them: for the service, and for
        plain HTTP. `program` chooses in their groups. `kept`: they are a service manager's."""
        held = cls.__new__(cls)
        held.kept = kept
        held._pit, held._program, held._trusted = None, program, False
        held._names = tuple(names[0]), tuple(names[1])
        held._service, held._redirects = list(groups[0]), list(groups[1])
        held._workers = len(next(iter(held._groups()), ()))
        return held

    def _groups(self) -> Iterator[Group]:
        yield from self._service
        yield from self._redirects

    @property
    def held(self) -> tuple[list[tuple[str, Group]], list[tuple[str, Group]]]:
        """All groups by the addresses that the config has for them: for the service, and for plain HTTP."""
        return self._named(0), self._named(1)

    @property
    def program(self) -> Sequence[kernel.Instruction]:
        """What chooses among the workers' sockets of a group."""
        return self._program

    def _bind(
        self, addresses: Sequence[str], groups: list[Group], held: list[tuple[str, Group]], config: Config
    ) -> None:
        in_groups = config.drops.by_kernel or self._workers > 1
        bind = sockets.bind_groups if in_groups else sockets.bind_alone
        for address in addresses:
            same = next((each for each in held if each[0] == address), None)
            if same is not None:
                held.remove(same)  # "127.0.0.1:0" may be listed twice
                groups.append(same[1])
            else:
                self.kept = False
                groups += bind([address], config.listen.backlog, self._workers)

    def _named(self, number: int) -> list[tuple[str, Group]]:
        """The groups by the addresses that the config has for them: for the service (0) or for plain HTTP (1)."""
        return list(zip(self._names[number], (self._service, self._redirects)[number], strict=True))

    @property
    def steers(self) -> bool:
        """Whether the kernel brings each network to one worker."""
        return self._program is not ALONE

    @property
    def addresses(self) -> list[str]:
        """The addresses at which clients are served."""
        return sockets.names([group[0] for group in self._service])

    @property
    def ports(self) -> list[int]:
        """The ports at which anybody can connect."""
        return [group[0].getsockname()[1] for group in self._groups()]

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

    def claim(self) -> bool:
        """Say to the workers of a supervisor that was killed that others accept from these sockets now (orphans.py).
        False while another supervisor says so."""
        return all(claim(sock) for group in self._service[:1] for sock in group)

    def steer(self) -> bool:
        """Have the kernel bring each network to one worker. False where it would be wrong to; OSError when it cannot.

        All connections of trusted proxies come from their few networks: steered, they would meet one worker.
        """
        if self._trusted:
            return False
        program = kernel.steering(self._workers, int.from_bytes(os.urandom(4), "big"))
        former, self._program = self._program, program
        try:
            self._attach(self._groups())
        except OSError:
            self._program = former
            raise
        return True

    def _attach(self, groups: Iterable[Group]) -> None:
        for group in groups:
            kernel.attach(group[0], self._program)

    def dig(self) -> str:
        """Have the kernel drop connections from now on, when told so by `drop`. What is in the way, or nothing.

        Several workers must have been steered before. Behind trusted proxies it would be the proxies that are dropped.
        """
        if self._trusted:
            return "listen.trusted_proxies is set"
        pit = Pit(tuple(self._groups()), self._program)
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
            with contextlib.suppress(OSError):  # else the kernel chooses by itself for whom it was to drop
                self._attach(self._groups())

    def close(self, other: SharedSockets | None = None) -> None:
        """Close all but those that `other` has, too. Idempotent. The workers' copies go on."""
        self.fill_in()
        kept = set() if other is None else {id(group) for group in other._groups()}
        for group in self._groups():
            if id(group) not in kept:
                for sock in group:
                    sock.close()
