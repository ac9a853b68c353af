"""A service manager's part in socket activation (sd_listen_fds(3)): binds sockets, and becomes the command.

    activator.py ADDRESS... -- COMMAND...

An address is host:port, or a path. One that is named twice gets SO_REUSEPORT, as with ReusePort=yes. In the place of
addresses, "from:PATH": whoever listens on that Unix socket holds the sockets, and sends two of them.
"""

from __future__ import annotations

import os
import socket
import sys


def bind(text: str, again: bool) -> socket.socket:
    if text.startswith("/"):
        made = socket.socket(socket.AF_UNIX)
        made.bind(text)
    else:
        host, _, port = text.rpartition(":")
        made = socket.socket(socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, again)
        made.bind((host, int(port)))
    made.listen(128)
    return made


def fetch(path: str) -> list[socket.socket]:
    with socket.socket(socket.AF_UNIX) as holder:
        holder.connect(path)
        _, descriptors, _, _ = socket.recv_fds(holder, 1, 2)
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def main() -> None:
    middle = sys.argv.index("--")
    addresses, command = sys.argv[1:middle], sys.argv[middle + 1 :]
    if addresses[0].startswith("from:"):
        made = fetch(addresses[0].removeprefix("from:"))
    else:
        made = [bind(text, addresses.count(text) > 1) for text in addresses]
    high = [os.dup2(sock.fileno(), 100 + number) for number, sock in enumerate(made)]  # out of the way
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, 3 + number)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(made)), "LISTEN_FDNAMES": "one:two:three"}
    os.closerange(3 + len(made), 200)
    os.execvp(command[0], command)  # noqa: S606 - that is its task


if __name__ == "__main__":
    main()
