"""One server by itself: its place, its health, its load. Time is moved by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from shield.model import Fault
from shield.operator.metrics import Metrics
from shield.upstream.server import LEAST_SHARE, MOST_EJECTIONS, Server


@dataclass(eq=False)
class Connection:
    address: str = "192.0.2.1"
    idle_since: float = 0.0
    closed: bool = False

    def usable(self) -> bool:
        return not self.closed

    def close(self) -> None:
        self.closed = True


def server(name: str = "http://127.0.0.1:1") -> Server:
    return Server(name, Metrics().upstream(name))


@pytest.mark.parametrize(
    ("name", "host", "port", "tls", "authority"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1", 9000, False, b"127.0.0.1:9000"),
        ("https://app.example", "app.example", 443, True, b"app.example"),
        ("http://[::1]:81", "::1", 81, False, b"[::1]:81"),
        ("unix:/run/app.sock", "", 0, False, b"localhost"),
    ],
)
def test_what_a_name_means(name: str, host: str, port: int, tls: bool, authority: bytes) -> None:
    server = Server(name, Metrics().upstream(name))
    assert (server.host, server.port, server.tls, server.authority) == (host, port, tls, authority)


def test_a_server_says_how_it_is() -> None:
    assert repr(server()) == "<Server http://127.0.0.1:1 healthy outstanding=0 idle=0>"


def test_after_a_return_its_share_grows() -> None:
    made = server()
    made.outstanding = 1
    assert made.load(0.0, 20.0) == 2
    made.eject(0.0, 10.0)
    loads = [made.load(now, 20.0) for now in (10.0, 11.0, 20.0, 30.0, 99.0)]
    assert loads == [2 / LEAST_SHARE, 2 / LEAST_SHARE, 4, 2, 2]


def test_each_ejection_is_longer_up_to_a_limit() -> None:
    made = server()
    for turn in range(1, 2 * MOST_EJECTIONS):
        made.failed(Fault.UPSTREAM_CLOSED)
        made.eject(100.0, 10.0)
        assert made.failures == 0
        assert made.ejected_until == 100.0 + 10.0 * min(turn, MOST_EJECTIONS)
    assert made.counters.failures["upstream_closed"] == made.counters.ejections == 2 * MOST_EJECTIONS - 1


def test_it_is_down_after_checks_that_failed_in_a_row_and_up_after_one_that_did_not() -> None:
    made = server()
    told = [made.checked(ok, 5.0, 2) for ok in (True, False, True, False, False, False, True, True)]
    assert told == [False, False, False, False, True, False, True, False]
    assert (made.healthy, made.returned_at) == (True, 5.0)


def test_kept_connections_follow_the_name() -> None:
    made = server("http://app.example")
    stays, goes = Connection("192.0.2.1"), Connection("192.0.2.2")
    made.idle += [stays, goes]
    made.moved_to(["192.0.2.1", "192.0.2.3"])
    assert made.idle == [stays]
    assert goes.closed
    assert [made.at(address) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3")] == [True, False, True]
    assert server().at(""), "an address does not move"


def test_kept_connections_are_closed_by_age_and_forgotten_when_gone() -> None:
    made = server()
    old, new, other = Connection(idle_since=1.0), Connection(idle_since=2.0), Connection()
    made.idle += [old, new]
    made.close_idle(2.0)
    assert (made.idle, old.closed, new.closed) == ([new], True, False)
    made.forget(other)
    assert made.idle == [new]
    made.forget(new)
    assert made.idle == []
