"""Connections that ask again as soon as anything comes back."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from bench.common.guard import Target
from bench.load.rush import MOST_ADDRESSES, Rush, source

ANSWER = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Answers each request of each connection, or closes it instead; notes who came, and how often each asked."""

    def __init__(self, answer: bytes = ANSWER, once: bool = False) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.where = Target("127.0.0.1", self.listening.getsockname()[1])
        self.answer, self.once = answer, once
        self.asked: list[tuple[str, int]] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                line, (peer, _) = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(line, peer), daemon=True).start()

    def serve(self, line: socket.socket, peer: str) -> None:
        count = 0
        with line:
            try:
                while line.recv(4096):
                    count += 1
                    if self.answer:
                        line.sendall(self.answer)
                    if self.once or not self.answer:
                        break
            except OSError:
                pass
        self.asked.append((peer, count))


def test_every_address_is_another_one() -> None:
    assert len({source(number) for number in range(MOST_ADDRESSES)}) == MOST_ADDRESSES
    assert source(MOST_ADDRESSES - 1).startswith("127.")


def test_each_line_asks_again_whatever_comes_back() -> None:
    server = Server()
    with server.listening:
        found = Rush(server.where, 2, close=False).run(4, 0.0, 0.3)
    assert found.statuses.keys() == {"503"}
    assert found.statuses["503"] > 8
    assert found.lost == 0
    assert found.first_byte is not None
    deadline = time.monotonic() + 5
    while len(server.asked) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(peer for peer, _ in server.asked) == [source(0)] * 2 + [source(1)] * 2
    assert all(count > 1 for _, count in server.asked)


@pytest.mark.parametrize("close", [True, False])
def test_a_line_that_ends_is_opened_again(close: bool) -> None:
    server = Server(once=True)
    with server.listening:
        found = Rush(server.where, 1, close).run(1, 0.0, 0.5)
    assert found.statuses["503"] > 1


def test_an_end_without_an_answer_is_told() -> None:
    server = Server(answer=b"")
    with server.listening:
        found = Rush(server.where, 1, close=False).run(2, 0.0, 0.2)
    assert found.statuses == {}
    assert found.lost >= 2
    assert found.first_byte is None


def test_where_nobody_listens_it_ends_all_the_same() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        where = Target("127.0.0.1", closed.getsockname()[1])
    found = Rush(where, 1, close=False).run(2, 0.0, 0.1)
    assert found.statuses == {}
