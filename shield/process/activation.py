"""Sockets that the service manager has bound, and passes at the start (sd_listen_fds(3), deploy/shield.socket).

They stay with the manager, so that connections wait in the kernel while Shield is started again, however it ended. A
passed socket serves the address of the config that it is bound to; addresses for which none is passed, Shield binds
itself. A socket that fits nothing is an error: somebody has changed one file and not the other.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Final

from shield.config.settings import Config
from shield.errors import StartError
from shield.process.inherited import Legacy
from shield.process.shared_sockets import Group
from shield.wire.addresses import TcpAddress, UnixAddress, parse_address

FIRST: Final = 3
"""SD_LISTEN_FDS_START."""
MOST: Final = 4096
"""Sockets: more than any unit names. It bounds what a wrong number in the environment can do."""

Address = TcpAddress | UnixAddress


def passed_sockets(config: Config, workers: int, environment: MutableMapping[str, str] | None = None) -> Legacy | None:
    """The sockets that are passed to this process, by the addresses of the config; None without any.

    Raises StartError for one that does not listen, fits no address, or for too few for the workers.
    """
    passed = _passed(os.environ if environment is None else environment)
    if not passed:
        return None
    try:
        return _assigned(config, workers, passed)
    except StartError:
        for _, sock in passed:
            sock.close()
        raise


def _passed(environment: MutableMapping[str, str]) -> list[tuple[str, socket.socket]]:
    """The sockets with their names (FileDescriptorName=); the variables are removed, as they are not for children."""
    pid, count, names = (environment.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()):
        return []
    if not (count.isascii() and count.isdecimal() and len(count) < 9) or int(count) > MOST:
        raise StartError(f"LISTEN_FDS is {count!r}, and not a number of sockets")
    labels, passed = names.split(":"), []
    for number in range(int(count)):
        label = labels[number] if number < len(labels) and labels[number] else str(number + 1)
        try:
            os.set_inheritable(FIRST + number, False)
            passed.append((label, socket.socket(fileno=FIRST + number)))
        except OSError as error:
            raise StartError(f"passed socket {label}: {error.strerror}") from error
    return passed


def _assigned(config: Config, workers: int, passed: Sequence[tuple[str, socket.socket]]) -> Legacy:
    wanted = config.listen.addresses, config.tls.redirect_from
    groups: tuple[dict[str, Group], dict[str, Group]] = ({}, {})
    admin: list[socket.socket] = []
    for label, sock in passed:
        address = _address(label, sock)
        at = next(((n, text) for n, texts in enumerate(wanted) for text in texts if address in _meant(text)), None)
        if at is not None:
            groups[at[0]].setdefault(at[1], []).append(sock)
        elif config.admin.address and address in _meant(config.admin.address):
            admin.append(sock)
        else:
            raise StartError(
                f"passed socket {label} listens on {address}, which is in none of listen.address, tls.redirect_from "
                "and admin.address"
            )
    for texts in groups:
        for text, group in texts.items():
            _check(text, group, workers)
    names = list(groups[0]), list(groups[1])
    return Legacy(
        workers=workers,
        keys=None,
        names=names,
        groups=(list(groups[0].values()), list(groups[1].values())),
        admin=(config.admin.address, admin),
        kept=True,
    )


def _check(text: str, group: Group, workers: int) -> None:
    """Each worker needs a socket of its own, in a group among which the kernel chooses."""
    if len(group) != workers:
        raise StartError(
            f"sockets passed for {text}: {len(group)}, and listen.workers is {workers}: the .socket unit must have "
            f"ListenStream={text} {workers} times" + (", and ReusePort=yes" if workers > 1 else "")
        )
    if workers > 1 and not all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) for sock in group):
        raise StartError(f"the sockets that are passed for {text} need ReusePort=yes in the .socket unit")


def _address(label: str, sock: socket.socket) -> Address:
    """What a socket listens on. Raises StartError."""
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise StartError(f"passed socket {label} does not listen for connections: it must be a ListenStream=")
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return UnixAddress(os.fsdecode(name))
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        raise StartError(f"passed socket {label} is of no internet protocol")
    return TcpAddress(_plain(name[0]), name[1])


def _meant(text: str) -> set[Address]:
    """What an address of the config stands for: a name may be several."""
    address = parse_address(text)
    if isinstance(address, UnixAddress):
        return {address}
    if not address.host:
        return {TcpAddress("::", address.port)}
    try:
        return {TcpAddress(_plain(address.host), address.port)}
    except ValueError:
        pass
    try:
        known = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {TcpAddress(_plain(str(place[0])), address.port) for *_, place in known}


def _plain(host: str) -> str:
    return str(ipaddress.ip_address(host.partition("%")[0]))
