"""Listening sockets: making them, alone or in groups that share an address, and their names."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence

from shield.errors import StartError
from shield.wire.addresses import UnixAddress, parse_address


def bind(addresses: Sequence[str], backlog: int, reuse_port: bool) -> list[socket.socket]:
    """Listening sockets for all of `addresses`, or StartError naming the one that failed, and none."""
    sockets: list[socket.socket] = []
    try:
        for text in addresses:
            try:
                sockets.append(_bind_one(text, backlog, reuse_port))
            except (OSError, ValueError) as error:
                raise StartError(f"cannot listen on {text}: {getattr(error, 'strerror', None) or error}") from error
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def adopt(descriptors: Sequence[int], backlog: int) -> list[socket.socket]:
    """The listening sockets behind `descriptors`, which are theirs from now on; those that wait to be accepted stay."""
    adopted = [socket.socket(fileno=number) for number in descriptors]
    for sock in adopted:
        sock.listen(backlog)  # it listens already; the backlog may be another one now
        sock.setblocking(False)
    return adopted


def bind_groups(addresses: Sequence[str], backlog: int, members: int) -> list[list[socket.socket]]:
    """For each address a group of sockets that share it, in the order in which the kernel counts them.

    Raises StartError as bind() does, and also when somebody else is in the group: SO_REUSEPORT would let a second
    Shield of the same user in, and each would silently get a part of the connections.
    """
    groups: list[list[socket.socket]] = []
    try:
        for text in addresses:
            (alone,) = bind([text], backlog, reuse_port=False)
            port = alone.getsockname()[1]
            alone.close()
            groups.append(bind([f"{text.rpartition(':')[0]}:{port}"] * members, backlog, reuse_port=True))
    except BaseException:
        for sock in itertools.chain(*groups):
            sock.close()
        raise
    return groups


def bind_alone(addresses: Sequence[str], backlog: int, members: int) -> list[list[socket.socket]]:
    """For each address a group of one socket, which nothing can join. Raises StartError as bind() does."""
    assert members == 1  # noqa: S101 - see above
    return [[sock] for sock in bind(addresses, backlog, reuse_port=False)]


def _bind_one(text: str, backlog: int, reuse_port: bool) -> socket.socket:
    address = parse_address(text)
    if isinstance(address, UnixAddress):
        raise ValueError("clients connect over TCP, since limits need their addresses")
    family = socket.AF_INET6 if ":" in address.host or not address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((address.host, address.port))
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def names(sockets: Sequence[socket.socket]) -> list[str]:
    """The addresses of `sockets` as host:port."""
    found = (sock.getsockname() for sock in sockets)
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port, *_ in found]
