"""Sockets that a service manager passes."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from shield.config.settings import Config
from shield.errors import StartError
from shield.process import activation
from shield.process.activation import passed_sockets
from shield.process.inherited import Legacy

LOW = 300  # a descriptor from which on some are free

Pass = Callable[..., dict[str, str]]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pass]:
    """give(socket, ...) passes these; the environment that says so."""
    given: list[int] = []

    def passed(*socks: socket.socket, names: str = "") -> dict[str, str]:
        first = LOW + 10 * len(given)
        copies = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, first + number) for number, sock in enumerate(socks)]
        assert copies == list(range(first, first + len(copies)))
        given.extend(copies)
        monkeypatch.setattr(activation, "FIRST", first)
        return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(socks)), "LISTEN_FDNAMES": names, "OTHER": "x"}

    yield passed
    for descriptor in given:
        try:
            os.close(descriptor)
        except OSError:
            continue


def config(*addresses: str, admin: str = "", redirect: tuple[str, ...] = ()) -> Config:
    made = Config()
    return replace(
        made,
        listen=replace(made.listen, address=addresses),
        admin=replace(made.admin, address=admin),
        tls=replace(made.tls, redirect_from=redirect),
    )


def name(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def let_go(legacy: Legacy | None) -> None:
    assert legacy is not None
    legacy.sockets().close()
    legacy.close()


def test_each_socket_serves_the_address_that_it_is_bound_to(give: Pass, tmp_path: object) -> None:
    path = f"{tmp_path}/admin"
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as two,
        socket.create_server(("127.0.0.1", 0)) as three,
        socket.socket(socket.AF_UNIX) as operator,
    ):
        operator.bind(path)
        operator.listen()
        environment = give(three, operator, two, one)
        settings = config("127.0.0.1:1", name(one), name(two), admin=f"unix:{path}", redirect=(name(three),))
        legacy = passed_sockets(settings, 1, environment)
        assert legacy is not None
        assert environment == {"OTHER": "x"}
        assert legacy.names == ([name(two), name(one)], [name(three)])
        assert [name(sock) for group in legacy.groups[0] for sock in group] == [name(two), name(one)]
        assert not any(os.get_inheritable(sock.fileno()) for group in legacy.groups[0] for sock in group)
        assert [sock.getsockname() for sock in legacy.admin[1]] == [path]
        let_go(legacy)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_name_is_what_it_stands_for(give: Pass, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        settings = config(f"{host}:{one.getsockname()[1]}")
        let_go(passed_sockets(settings, 1, give(one)))


def test_every_interface(give: Pass) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6) as one:
        let_go(passed_sockets(config(f":{one.getsockname()[1]}"), 1, give(one)))


@pytest.mark.parametrize("environment", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}])
def test_what_is_for_another_process_is_left_alone(environment: dict[str, str]) -> None:
    assert passed_sockets(config("127.0.0.1:1"), 1, environment) is None
    assert environment == {}


@pytest.mark.parametrize("count", ["", "x", "-1", "1000000"])
def test_a_number_that_is_none(count: str) -> None:
    with pytest.raises(StartError, match="LISTEN_FDS is"):
        passed_sockets(config("127.0.0.1:1"), 1, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count})


def test_what_is_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "FIRST", 900_000)
    with pytest.raises(StartError, match="passed socket web: Bad file descriptor"):
        passed_sockets(config("x:1"), 1, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"})


def test_what_fits_no_address_is_said_by_its_name(give: Pass) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        pytest.raises(StartError, match=f"passed socket web listens on {name(one)}, which is in none of"),
    ):
        passed_sockets(config("127.0.0.1:1"), 1, give(one, names="web"))


def test_what_does_not_listen_for_connections(give: Pass) -> None:
    with socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        idle.bind(("127.0.0.1", 0))
        for sock in (idle, datagrams):
            with pytest.raises(StartError, match="does not listen for connections"):
                passed_sockets(config(name(idle)), 1, give(sock))


def test_each_worker_needs_one_of_its_own(give: Pass) -> None:
    with socket.socket() as one, socket.socket() as two, socket.create_server(("127.0.0.1", 0)) as single:
        for sock in (one, two):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", 0) if sock is one else one.getsockname())
            sock.listen()
        with pytest.raises(StartError, match=r"sockets passed for .*: 2, and listen.workers is 1"):
            passed_sockets(config(name(one)), 1, give(one, two))
        with pytest.raises(StartError, match=r"ListenStream=127.0.0.1:\d+ 2 times, and ReusePort=yes"):
            passed_sockets(config(name(single)), 2, give(single))
        with pytest.raises(StartError, match="need ReusePort=yes"):
            passed_sockets(config(name(single)), 2, give(single, single))
        let_go(passed_sockets(config(name(one)), 2, give(one, two)))
