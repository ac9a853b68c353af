"""An origin whose latency is known, to hold a load generator against: what it measures must be what happened here.

Every answer leaves `--delay` seconds after its request was read. With `--stall` it neither reads nor writes for so
long, once a second, for the first time half a second after its first request. A generator that counts from due times
then sees that of all requests the share (stall - x) took longer than x; a closed loop sees one slow request per
connection.

It keeps its core busy so that it is not late itself, and ends after `--seconds` in any case.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import select
import socket
import time
from collections import deque
from typing import Final

from bench.common.guard import bounded, loopback
from bench.origins.small_origin import render

PERIOD: Final = 1.0  # s between the beginnings of two stalls
FIRST: Final = 0.5  # s from the first request to the first stall
MOST_DELAY: Final = 0.5  # s


def serve(host: str, port: int, delay: float, stall: float, seconds: float) -> None:
    """Until the time is up. Requests are GETs that arrive in one piece each."""
    clock, answer = time.perf_counter, render(b"x" * 500)
    waiting: deque[tuple[float, socket.socket]] = deque()  # when it is due; all wait equally long, so in order
    connections: dict[int, socket.socket] = {}
    next_stall = end = clock() + seconds
    began = False
    with socket.create_server((host, port), backlog=1024) as listener, select.epoll() as poll:
        listener.setblocking(False)
        poll.register(listener, select.EPOLLIN)
        while (now := clock()) < end:
            if stall and now >= next_stall:
                time.sleep(max(0.0, next_stall + stall - now))
                next_stall += PERIOD
                continue
            while waiting and waiting[0][0] <= clock():
                with contextlib.suppress(OSError):  # the generator has ended
                    waiting.popleft()[1].send(answer)
            for descriptor, _ in poll.poll(0):
                if descriptor == listener.fileno():
                    accepted, _ = listener.accept()
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connections[accepted.fileno()] = accepted
                    poll.register(accepted, select.EPOLLIN)
                    continue
                connection = connections[descriptor]
                try:
                    asked = connection.recv(65_536)
                except ConnectionError:
                    asked = b""
                if not asked:
                    waiting = deque(entry for entry in waiting if entry[1] is not connection)
                    del connections[descriptor]
                    poll.unregister(descriptor)
                    connection.close()
                elif b"\nConnection: close\r" in asked:  # somebody who looks whether we are up
                    connection.send(answer)
                    connection.shutdown(socket.SHUT_WR)
                else:
                    if not began:
                        began, next_stall = True, now + FIRST
                    waiting.append((clock() + delay, connection))
    for connection in connections.values():
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.origins.known_origin", description="An origin of known latency."
    )
    parser.add_argument("--host", type=loopback, default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=bounded(float, 0, MOST_DELAY), default=0.0, help="seconds")
    parser.add_argument("--stall", type=bounded(float, 0, MOST_DELAY), default=0.0, help="seconds, once a second")
    parser.add_argument("--seconds", type=bounded(float, 0.1, 60), default=20.0, help="until it ends by itself")
    arguments = parser.parse_args()
    gc.disable()
    serve(arguments.host, arguments.port, arguments.delay, arguments.stall, arguments.seconds)


if __name__ == "__main__":
    main()
