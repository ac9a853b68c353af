"""Payload from one socket to another without passing through Python."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

import pytest

from shield.wire import splice
from shield.wire.splice import NOT_NOW, PIPE_BYTES, Pipe, Shortcut

CHANCE = random.Random(3)


class Sink:
    """Takes what its socket takes, and keeps the rest, as a transport does."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.kept = b""

    def idle_socket(self) -> socket.socket | None:
        return None if self.kept else self.sock

    def write(self, data: bytes) -> None:
        self.kept += data


def pair(buffer: int = 0) -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection, neither of them blocking."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.socket()
        if buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        one.connect(server.getsockname())
        other, _ = server.accept()
    for each in (one, other):
        each.setblocking(False)
    if buffer:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    return one, other


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    assert made.open()
    yield made
    assert "bytes" in repr(made)


def test_what_comes_is_what_goes_and_no_byte_more(pipe: Pipe) -> None:
    server, source = pair()
    client, target = pair()
    shortcut = Shortcut(pipe, Sink(target))
    assert shortcut.pass_on(source, 100) == 0, "nothing is there"
    data = CHANCE.randbytes(5000)
    server.sendall(data)
    passed = shortcut.pass_on(source, 3000)
    assert passed == 3000, "the next response begins behind"
    assert client.recv(9000) == data[:3000]
    assert source.recv(9000) == data[3000:]
    for each in (server, source, client, target):
        each.close()


def test_what_the_client_does_not_take_is_written_as_usual(pipe: Pipe) -> None:
    server, source = pair()
    client, target = pair(buffer=4096)
    sink = Sink(target)
    shortcut = Shortcut(pipe, sink)
    data = CHANCE.randbytes(PIPE_BYTES)
    sent = server.send(data)
    passed = 0
    while not sink.kept:
        more = shortcut.pass_on(source, PIPE_BYTES)
        assert more > 0
        passed += more
    assert len(sink.kept) <= pipe.size
    assert shortcut.pass_on(source, 1) == NOT_NOW, "the rest goes first"
    client.setblocking(True)
    got = b""
    while len(got) < passed - len(sink.kept):
        got += client.recv(1 << 20)
    assert got + sink.kept == data[:passed]
    assert passed <= sent
    for each in (server, source, client, target):
        each.close()


def test_an_end_or_an_error_is_left_to_whoever_reads(pipe: Pipe) -> None:
    server, source = pair()
    client, target = pair()
    shortcut = Shortcut(pipe, Sink(target))
    server.close()
    assert shortcut.pass_on(source, 100) == NOT_NOW
    assert source.recv(1) == b""
    source.close()
    assert shortcut.pass_on(source, 100) == NOT_NOW, "there is no such descriptor"
    client.close()
    target.close()


def test_of_a_client_that_has_gone_nothing_stays_in_the_pipe(pipe: Pipe) -> None:
    """It is shared: the next client would get what was meant for this one."""
    server, source = pair()
    client, target = pair()
    sink = Sink(target)
    shortcut = Shortcut(pipe, sink)
    target.shutdown(socket.SHUT_WR)
    server.sendall(b"for nobody")
    assert shortcut.pass_on(source, 100) == len(b"for nobody")
    assert sink.kept == b"for nobody", "to be written, which fails and tells the connection"
    other_client, other = pair()
    server.sendall(b"for somebody")
    assert Shortcut(pipe, Sink(other)).pass_on(source, 100) == len(b"for somebody")
    assert other_client.recv(100) == b"for somebody"
    for each in (server, source, client, target, other, other_client):
        each.close()


def test_without_files_or_splice_there_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    made = Pipe()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe2", none_left)
        assert not made.open()
    assert made.open(), "later there are files again"
    assert made.open()
    monkeypatch.setattr(splice, "_SUPPORTED", False)
    assert not Pipe().open()


def test_a_user_with_many_pipes_gets_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = splice.fcntl.fcntl

    def refuse(fd: int, command: int, argument: int = 0) -> int:
        if command == splice.fcntl.F_SETPIPE_SZ:
            raise PermissionError(1, "Operation not permitted")
        return real(fd, command, argument)

    monkeypatch.setattr(splice.fcntl, "fcntl", refuse)
    made = Pipe()
    assert made.open()
    assert 0 < made.size < PIPE_BYTES
