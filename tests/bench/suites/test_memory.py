"""What a client and a connection take."""

from __future__ import annotations

import socket

import pytest

from bench.plots.memory_tables import CLAIMED
from bench.suites import memory
from bench.suites.memory import clients, connections
from tests.bench.serving import SMALL


class TestMemory:
    def test_every_client_is_one_of_its_own(self) -> None:
        addresses = {clients.address(number) for number in range(250_000)}
        assert len(addresses) == 250_000
        assert len({address.rpartition(".")[0] for address in addresses}) == 2500
        assert clients.address(clients.MANY + clients.WARM - 1) == "10.39.25.100"

    def test_clients_in_the_tables_are_those_that_were_driven(self) -> None:
        said: list[int] = []
        row = clients.in_a_process(1000, said.append)
        assert said == [0]
        connections = {"wanted": 5, "connections": 5, "readings": [{"open": 1}, {"open": 6, "step": "silent"}]}
        assert memory.judge([row], connections) == []
        # Some of it lies in pages that the warm-up had touched already; 100,000 tell more.
        assert 0 <= row["bytes"] < 10_000
        assert 200 < sum(row["tables"][name]["claimed"] for name in CLAIMED) < 2000

    def test_figures_of_fewer_clients_or_connections_are_problems(self) -> None:
        tables = {"addresses": {"entries": 10, "claimed": 1.0}, "clients": {"entries": 9, "claimed": 1.0}}
        connections = {"wanted": 6, "connections": 5, "readings": [{"open": 0}, {"open": 4, "step": "silent"}]}
        assert len(memory.judge([{"clients": 10, "tables": tables}], connections)) == 3

    def test_more_bytes_than_wanted_are_told(self) -> None:
        clients = [{"clients": 1000, "bytes": 749.0}, {"clients": 2000, "bytes": 751.0}]
        connections = {"silent": 8000.0, "used": 9000.0}
        assert memory.held_against_wanted(clients, connections) == [
            "with 2,000 clients, each takes 751 bytes, at most 750 are wanted",
            "a connection that is idle after a request takes 9,000 bytes, at most 8,192 are wanted",
        ]

    def test_an_exchange_ends_with_the_answer(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(SMALL)
            connections.exchange([ours])
            assert theirs.recv(1000) == connections.REQUEST
            theirs.sendall(SMALL.replace(b"200 OK", b"503 No"))
            with pytest.raises(RuntimeError, match="503"):
                connections.exchange([ours])
