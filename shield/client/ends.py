"""The two ends of a client's transport, and how it is cut, whatever is spoken over it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

from shield.wire.proxy_protocol import Ends

if TYPE_CHECKING:
    from shield.client.crowding import Guest
    from shield.client.serving import Serving


def address_of(transport: Any, told: Ends | None) -> str:
    """The client's address, as a PROXY header has `told` it, or that of its socket; empty where it has gone already."""
    name = transport.get_extra_info("peername") if told is None else told
    return bare(name[0]) if name else ""


def enter(guest: Guest, serving: Serving, transport: Any, address: str, secure: bool) -> bool:
    """Have a new connection from `address` counted, if it may come in."""
    crowding = serving.connections.crowding
    if not address:  # it was reset before it was accepted: nobody is left to answer, and nobody to charge
        transport.abort()
    elif secure and not crowding.admit(address):  # of plain ones the listener has asked
        reset(transport)
    else:
        crowding.add(guest)
        return True
    return False


def reset(transport: Any) -> None:
    """Cut it so that the client sees an error, whatever it was told about the end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def both_ends(told: Ends | None, transport: asyncio.Transport, client: str, address: str) -> Ends:
    """Both ends of the connection of the client at `address`, for a PROXY header: as they were `told` by one, or those
    of the `transport` from `client`. Of one that a trusted proxy has named in a field, only the address is known."""
    ends = told
    if ends is None:
        here = transport.get_extra_info("socket").getsockname()
        port = transport.get_extra_info("peername")[1]
        ends = Ends(client.partition("%")[0], port, _unzoned(here[0]), here[1])
    return (
        ends if _unzoned(ends.source) == _unzoned(address) else ends._replace(source=_unzoned(address), source_port=0)
    )


def bare(address: str) -> str:
    """Without the prefix of an IPv4 client on a dual-stack socket; else all of IPv4 would share one /64."""
    return address.removeprefix("::ffff:")


def _unzoned(address: str) -> str:
    """Bare, and without a zone (fe80::1%eth0), which means nothing elsewhere."""
    return bare(address).partition("%")[0]
