"""Coming in the place of a Shield that runs (upgrade.py has its side): the sockets, keys and the rest that it gives.

A Shield that was started by another one finds the number of a socket in its environment. Over it comes, as long as the
other lives:

    first   a line of JSON (Legacy), after the descriptors that it counts, MOST_AT_ONCE at a time, each time with "f"
    then    a line from here, and one from there, in turn:

        {"ready": PID}       here everything is built, and nothing is accepted      or {"error": why}, and the end
        {"begin": true}      there nobody is dropped by the kernel any more
        {"begun": true}      here clients are accepted
        {"main": true}       there nothing is accepted any more, and the service manager knows whom it has to watch

Whatever goes wrong before "begun", the other one goes on as if nothing had been. An end of the socket is an answer.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import select
import signal
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shield.accept.pit import ALONE
from shield.accept.steering import Instruction
from shield.errors import StartError
from shield.process.shared_sockets import Group, SharedSockets

VARIABLE: Final = "SHIELD_INHERITS"
"""In the environment: the descriptor of the socket to the one before."""
VERSION: Final = 1
"""Of what is said between two Shields. One that says something else is not understood, and Shield starts anew."""
MOST_AT_ONCE: Final = 200
"""Descriptors in a message: SCM_MAX_FD of the kernel is 253."""
MOST_PREDECESSORS: Final = 16
"""Processes before this one that still serve somebody. Beyond it the oldest is told to stop."""
CLOSE_SECONDS: Final = 5.0
"""Beyond timeouts.drain, for a process to save its history; then it is waited for no longer."""
LOOK_SECONDS: Final = 0.05
"""How often it is looked whether processes before this one have ended, once all are to stop."""
FIRST_SECONDS: Final = 10.0
"""Within which the first line comes, which has been sent when this process begins."""
LINE_BYTES: Final = 16 << 20
"""More than the first line has with as many rules as there may be."""


@dataclass(slots=True)
class Legacy:
    """What is given besides rows: sockets by the addresses that the config had for them, and what is kept in memory.

    From a service manager there is no more than sockets (activation.py).
    """

    workers: int
    keys: tuple[bytes, bytes | None] | None
    names: tuple[list[str], list[str]]  # addresses for the service, and for plain HTTP
    groups: tuple[list[Group], list[Group]]  # of sockets, one for each worker
    program: Sequence[Instruction] = ALONE  # that chooses in each group
    admin: tuple[str, list[socket.socket]] = ("", [])
    estates: list[socket.socket] = field(default_factory=list)  # one for each worker (estate.py)
    before: list[int] = field(default_factory=list)  # pidfds of the processes before, the oldest first
    rules: list[Any] = field(default_factory=list)  # of the operator, as rows (policy/rules/book.py)
    kept: bool = False  # the sockets are a service manager's
    stderr: int = 2

    @classmethod
    def of(
        cls,
        held: SharedSockets,
        workers: int,
        keys: tuple[bytes, bytes | None],
        admin: tuple[str, list[socket.socket]],
        estates: list[socket.socket],
        before: list[int],
    ) -> Legacy:
        """What a process gives whose sockets these are."""
        service, redirect = held.held
        names = [name for name, _ in service], [name for name, _ in redirect]
        groups = [group for _, group in service], [group for _, group in redirect]
        return cls(workers, keys, names, groups, held.program, admin, estates, before, kept=held.kept)

    def line(self) -> dict[str, Any]:
        """All but the descriptors, as JSON can say it."""
        assert self.keys is not None  # noqa: S101 - a Shield gives it
        current, previous = self.keys
        return {
            "version": VERSION,
            "workers": self.workers,
            "keys": [current.hex(), None if previous is None else previous.hex()],
            "service": [[name, len(group)] for name, group in zip(self.names[0], self.groups[0], strict=True)],
            "redirect": [[name, len(group)] for name, group in zip(self.names[1], self.groups[1], strict=True)],
            "program": [list(each) for each in self.program],
            "admin": [self.admin[0], len(self.admin[1])],
            "estates": len(self.estates),
            "before": len(self.before),
            "rules": self.rules,
            "kept": self.kept,
        }

    def descriptors(self) -> list[int]:
        """All of them, in the order of `line`."""
        groups = [*self.groups[0], *self.groups[1], self.admin[1], self.estates]
        return [*(sock.fileno() for group in groups for sock in group), *self.before, self.stderr]

    @classmethod
    def read(cls, line: Mapping[str, Any], descriptors: list[int]) -> Legacy:
        """What `line` and `descriptors` made. Raises ValueError when they make no sense."""
        left, made = iter(descriptors), []

        def sockets(count: int) -> list[socket.socket]:
            new = [socket.socket(fileno=next(left)) for _ in range(count)]
            made.extend(new)
            return new

        try:
            if line["version"] != VERSION:
                raise ValueError(f"it speaks version {line['version']} of the handover, and this Shield {VERSION}")
            current, previous = line["keys"]
            names = [name for name, _ in line["service"]], [name for name, _ in line["redirect"]]
            groups = [sockets(count) for _, count in line["service"]], [sockets(count) for _, count in line["redirect"]]
            address, count = line["admin"]
            return cls(
                workers=int(line["workers"]),
                keys=(bytes.fromhex(current), None if previous is None else bytes.fromhex(previous)),
                names=names,
                groups=groups,
                program=tuple(Instruction(*each) for each in line["program"]),
                admin=(address, sockets(count)),
                estates=sockets(line["estates"]),
                before=[next(left) for _ in range(line["before"])],
                rules=list(line.get("rules", [])),
                kept=line.get("kept") is True,
                stderr=next(left),
            )
        except (KeyError, TypeError, ValueError, StopIteration, OSError) as error:
            for sock in made:
                sock.close()
            for descriptor in left:
                os.close(descriptor)
            if isinstance(error, ValueError):
                raise
            raise ValueError(f"what it gives makes no sense: {error!r}") from error

    def close(self) -> None:
        """Let go of what is for the heir alone, once it was sent."""
        for sock in (*self.admin[1], *self.estates):
            sock.close()
        while self.before:
            os.close(self.before.pop())

    def admin_at(self, address: str) -> Sequence[socket.socket]:
        """The sockets of the admin listener, if this is its address still; else they are closed."""
        (former, given), self.admin = self.admin, ("", [])
        if former == address:
            return given
        for sock in given:
            sock.close()
        return ()

    def sockets(self) -> SharedSockets:
        """Those that clients connect to."""
        program = ALONE if tuple(self.program) == ALONE else self.program
        return SharedSockets.holding(self.names, self.groups, program, self.kept)


class Predecessors:
    """The processes before this one that have not ended yet. `stop` has them stop, too, and `gone` waits for that."""

    __slots__ = ("_pidfds",)

    def __init__(self, pidfds: list[int] | None = None) -> None:
        self._pidfds = [] if pidfds is None else pidfds
        self._forget()
        while len(self._pidfds) > MOST_PREDECESSORS:
            self._end(self._pidfds.pop(0))

    def living(self) -> list[int]:
        """Copies of their pidfds, the oldest first."""
        self._forget()
        return [os.dup(pidfd) for pidfd in self._pidfds]

    def stop(self) -> None:
        """Have them drain: this process ends as well."""
        for pidfd in self._pidfds:
            _signalled(pidfd, signal.SIGTERM)

    async def gone(self, seconds: float) -> None:
        """Wait until they have ended, or for so long. A service manager kills what is left when this process ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._pidfds:
                    await asyncio.sleep(LOOK_SECONDS)
                    self._forget()
        while self._pidfds:
            os.close(self._pidfds.pop())

    def _forget(self) -> None:
        for pidfd in list(self._pidfds):
            if _ended(pidfd):
                self._pidfds.remove(pidfd)
                os.close(pidfd)

    @staticmethod
    def _end(pidfd: int) -> None:
        _signalled(pidfd, signal.SIGTERM)
        os.close(pidfd)


def _ended(pidfd: int) -> bool:
    """Whether a process has ended, although its parent may not have looked."""
    return bool(select.select([pidfd], [], [], 0)[0])


def _signalled(pidfd: int, number: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        return False
    return True


class Predecessor:
    """The Shield before this one, which goes on until this one has begun."""

    __slots__ = ("_link", "legacy", "others")

    def __init__(self, link: socket.socket, legacy: Legacy) -> None:
        self._link = link
        self.legacy = legacy
        self.others = Predecessors(legacy.before)

    @classmethod
    def met(cls, environment: MutableMapping[str, str] | None = None) -> Predecessor | None:
        """The one that has started this process; None when it was somebody else. Raises StartError.

        From then on standard error is where the one before writes to, and not to the one before.
        """
        environment = os.environ if environment is None else environment
        number = environment.pop(VARIABLE, "")
        if not number:
            return None
        with contextlib.ExitStack() as stack:
            try:
                link = stack.enter_context(socket.socket(fileno=int(number)))
                os.set_inheritable(link.fileno(), False)
                link.settimeout(FIRST_SECONDS)
                legacy = Legacy.read(*_first(link))
            except (OSError, ValueError) as error:
                raise StartError(f"cannot come in the place of the Shield before: {error}") from error
            stack.pop_all()
        os.dup2(legacy.stderr, 2)
        os.close(legacy.stderr)
        link.setblocking(False)
        return cls(link, legacy)

    def refuse(self, why: str) -> None:
        """Say that this process cannot serve, and let go of all that was given."""
        with contextlib.suppress(OSError):
            self._link.sendall(orjson.dumps({"error": why}, option=orjson.OPT_APPEND_NEWLINE))
        self._link.close()
        self.legacy.sockets().close()
        self.legacy.close()

    async def let_begin(self) -> None:
        """Say that everything is ready, and wait until this process may begin. Raises StartError."""
        await self._talk({"ready": os.getpid()}, "begin")

    async def begun(self) -> None:
        """Say that clients are accepted here, and wait until they are not there. When it ends, that is as good."""
        with contextlib.suppress(StartError):
            await self._talk({"begun": True}, "main")
        self._link.close()

    async def _talk(self, line: dict[str, Any], expected: str) -> None:
        try:
            await say(self._link, line)
            answer = await heard(self._link)
        except OSError as error:
            raise StartError(f"the Shield before has ended: {error.strerror}") from error
        if expected not in answer:
            raise StartError("the Shield before goes on by itself")


def _first(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    descriptors: list[int] = []
    while (begun := link.recvmsg(1, socket.CMSG_SPACE(4 * (MOST_AT_ONCE + 50)), socket.MSG_CMSG_CLOEXEC))[0] == b"f":
        for level, kind, content in begun[1]:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
                descriptors += numbers
    line: bytes = begun[0]
    while not line.endswith(b"\n") and len(line) < LINE_BYTES and (more := link.recv(65_536)):
        line += more
    found = orjson.loads(line)
    if not isinstance(found, dict):
        raise ValueError("what it gives makes no sense")
    return found, descriptors


async def bequeath(link: socket.socket, legacy: Legacy) -> None:
    """Send it all; the other end reads it when it begins. Raises OSError."""
    descriptors = legacy.descriptors()
    for start in range(0, len(descriptors), MOST_AT_ONCE):
        socket.send_fds(link, [b"f"], descriptors[start : start + MOST_AT_ONCE])
    await say(link, legacy.line())


async def say(link: socket.socket, line: dict[str, Any]) -> None:
    """Send a line. Raises OSError."""
    await asyncio.get_running_loop().sock_sendall(link, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


async def heard(link: socket.socket) -> dict[str, Any]:
    """The next line; empty when the other end has gone. They take turns, so nothing comes behind it."""
    loop, data = asyncio.get_running_loop(), b""
    try:
        while not data.endswith(b"\n") and len(data) < LINE_BYTES:
            more = await loop.sock_recv(link, 65_536)
            if not more:
                return {}
            data += more
        found = orjson.loads(data)
    except (ConnectionError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
