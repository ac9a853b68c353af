"""Connection attempts: where they come from, how many there are, and when they stop."""

from __future__ import annotations

import socket
import threading

from bench.common.guard import Target
from bench.load.attempts import MOST_ADDRESSES, TRAP, addresses, attempt, be_unwelcome

SOURCES = addresses(2)


def test_every_source_is_another_loopback_address() -> None:
    found = addresses(MOST_ADDRESSES)
    assert len(set(found)) == MOST_ADDRESSES
    assert all(address.startswith("127.") for address in found)


def test_attempts_keep_their_rate_and_say_how_many_came_about() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        made = attempt(Target("127.0.0.1", listening.getsockname()[1]), SOURCES, 200.0, 0.3)
    assert 0 < made.attempts <= 61
    assert made.established == made.attempts


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    made = attempt(Target("127.0.0.1", port), SOURCES, 0.0, 0.1)
    assert made.attempts > 0
    assert made.established == 0


def test_an_address_asks_until_its_connection_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            one, (peer, _) = listening.accept()
            with one:  # what is unread makes its end a reset
                assert peer == SOURCES[0]
                assert one.recv(100).startswith(f"GET {TRAP} HTTP/1.1\r\n".encode())
                one.sendall(b"no")

        serving = threading.Thread(target=refuse)
        serving.start()
        assert be_unwelcome(Target("127.0.0.1", listening.getsockname()[1]), SOURCES[0]) >= 50
        serving.join()
