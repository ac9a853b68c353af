"""The search for dropped sources: in an interpreter of classic BPF, against ipaddress, and once in the real kernel."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest

from shield.accept import dropping, sockets
from shield.accept import steering as kernel
from shield.accept.dropping import MOST_INSTRUCTIONS, Prefix, drop, fitting
from shield.accept.pit import ALONE, Pit
from tests.accept.test_steering import interpret, packet

PIT = 77
REST = kernel.steering(3, 1)

DICE: dict[str, Callable[[random.Random], Prefix]] = {
    "IPv4 addresses": lambda dice: IPv4Network(dice.getrandbits(32)),
    "IPv4 networks": lambda dice: IPv4Network((dice.getrandbits(32), dice.choice([1, 8, 20, 24, 31])), strict=False),
    "IPv6 /64": lambda dice: IPv6Network((dice.getrandbits(128), 64), strict=False),
    "IPv6 of one site": lambda dice: IPv6Network(
        (0x20010DB8 << 96 | dice.getrandbits(96), 56 + dice.randrange(9)), False
    ),
    "IPv6 networks": lambda dice: IPv6Network((dice.getrandbits(128), dice.choice([32, 33, 48])), strict=False),
}


def chosen(program: list[kernel.Instruction], source: str) -> int:
    return interpret(kernel.assemble(program), packet(source))


def probes(prefixes: Iterable[Prefix], dice: random.Random) -> list[str]:
    """The ends of each prefix, their neighbours outside, and anybody."""
    found = [str(IPv4Address(dice.getrandbits(32))) for _ in range(20)]
    found += [str(IPv6Address(dice.getrandbits(128))) for _ in range(20)]
    for prefix in prefixes:
        kind, most = (IPv4Address, 2**32) if prefix.version == 4 else (IPv6Address, 2**128)
        ends = int(prefix[0]), int(prefix[-1])
        found += [str(kind(number)) for number in (*ends, ends[0] - 1, ends[1] + 1) if 0 <= number < most]
    return found


@pytest.mark.parametrize("number", [0, 1, 2, 3, 60, 300])
@pytest.mark.parametrize("kind", [*DICE, "all"])
def test_whoever_is_in_a_prefix_meets_the_pit_and_nobody_else(kind: str, number: int) -> None:
    dice = random.Random(f"{kind} {number}")
    prefixes = [DICE[kind if kind in DICE else dice.choice([*DICE])](dice) for _ in range(number)]
    program = drop(prefixes, PIT, REST)
    for source in probes(dice.sample(prefixes, min(number, 25)), dice):
        inside = any(ip_address(source) in prefix for prefix in prefixes)
        assert chosen(program, source) == (PIT if inside else chosen(REST, source)), source


def test_neighbours_are_one_range_and_all_addresses_are_one_too() -> None:
    whole = drop([IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1")], PIT, REST)
    assert {chosen(whole, source) for source in ("0.0.0.0", "255.255.255.255", "127.255.255.255")} == {PIT}
    assert chosen(whole, "::1") == chosen(REST, "::1")
    assert len(drop(ip_network("10.0.0.0/24").subnets(new_prefix=32), PIT, REST)) == len(
        drop([ip_network("10.0.0.0/24")], PIT, REST)
    )


@pytest.mark.parametrize(
    ("kind", "number"), [("IPv4 addresses", 2000), ("IPv4 networks", 1000), ("IPv6 /64", 1000), ("all", 1000)]
)
def test_a_thousand_prefixes_fit(kind: str, number: int) -> None:
    dice = random.Random(1)
    prefixes = [DICE[kind if kind in DICE else dice.choice([*DICE])](dice) for _ in range(number)]
    program, fitted = fitting(prefixes, 1, ALONE)
    assert fitted == number
    assert len(program) <= MOST_INSTRUCTIONS


def test_of_too_many_the_first_are_dropped() -> None:
    prefixes = [IPv4Network(number * 9_999) for number in range(1000)]
    program, fitted = fitting(prefixes, PIT, REST, 500)
    assert len(program) <= 500 < len(drop(prefixes[: fitted + 5], PIT, REST))
    assert fitted > 200
    assert fitting(prefixes, PIT, REST, len(REST)) == (drop([], PIT, REST), 0), "not even one fits"
    assert chosen(program, str(prefixes[fitted - 1][0])) == PIT
    assert chosen(program, str(prefixes[fitted][0])) != PIT


@pytest.mark.parametrize("kind", ["IPv4 addresses", "IPv6 /64", "IPv6 of one site"])
def test_a_program_is_hardly_ever_written_twice(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4,096 prefixes 11 were written to find the longest that fits: 0.1 s, each second of a flood."""
    dice = random.Random(1)
    prefixes = [DICE[kind](dice) for _ in range(4096)]
    written = []

    def count(some: Iterable[Prefix], pit: int, rest: Sequence[kernel.Instruction]) -> list[kernel.Instruction]:
        written.append(1)
        return drop(some, pit, rest)

    monkeypatch.setattr(dropping, "drop", count)
    program, _ = fitting(prefixes, 1, ALONE)
    assert len(written) <= 3
    assert 0.8 * MOST_INSTRUCTIONS < len(program) <= MOST_INSTRUCTIONS


@pytest.mark.parametrize("prefix", ["2001:db8::/31", "2001:db8::1/128"])
def test_an_ipv6_prefix_of_another_width_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="does not have 32 to 64 bits"):
        drop([ip_network(prefix, strict=False)], PIT, REST)


@pytest.mark.skipif(sys.platform != "linux", reason="SO_ATTACH_REUSEPORT_CBPF is Linux's")
def test_the_kernel_drops_them_until_they_are_let_go() -> None:
    """Of three networks that come to a group of one socket, also to a dual-stack one."""
    groups = sockets.bind_groups(["127.0.0.1:0", "[::]:0"], 16, 1)
    pit = Pit(groups)
    assert pit.fill(["127.9.1.5"]) == 0  # it is not open yet
    pit.open()

    def served(source: str) -> list[bool]:
        """Whether each socket gets the connection of a source."""
        answers = []
        for (listener,) in groups:
            client = socket.socket()
            client.bind((source, 0))
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", listener.getsockname()[1]))
            try:
                accepted, peer = listener.accept()  # non-blocking: on the loopback it is there at once, or never
            except BlockingIOError:
                answers.append(False)
            else:
                accepted.close()
                answers.append(peer[0].endswith(source))
            client.close()
        return answers

    try:
        assert pit.fill(["127.9.1.5", "127.9.2.0/24", "2001:db8::/64", "2001:db8::7/128"]) == 4
        for _ in range(3):  # the first connection fills the pit
            assert served("127.9.1.5") == served("127.9.2.77") == [False, False]
            assert served("127.9.1.6") == served("127.9.3.77") == [True, True]
        assert pit.fill(["127.9.1.6"]) == 1
        assert served("127.9.1.5") == served("127.9.2.77") == [True, True]
        assert served("127.9.1.6") == [False, False]
        pit.close()
        pit.close()
        assert served("127.9.1.6") == [True, True]
    finally:
        pit.close()
        for (listener,) in groups:
            listener.close()


def test_without_such_a_kernel_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    groups = sockets.bind_groups(["127.0.0.1:0"], 16, 1)
    with groups[0][0], pytest.raises(OSError, match="plan9"):
        Pit(groups).open()


def test_where_the_kernel_takes_short_programs_only_fewer_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """net.core.optmem_max bounds the size of a program; 20 KiB of it took 2,500 instructions for long."""
    attached: list[int] = []

    def attach(_: socket.socket, program: list[kernel.Instruction]) -> None:
        if len(program) > 1500:
            raise OSError(12, "Cannot allocate memory")
        attached.append(len(program))

    monkeypatch.setattr("shield.accept.pit.attach", attach)
    groups = sockets.bind_groups(["127.0.0.1:0"], 16, 1)
    with groups[0][0]:
        pit = Pit(groups)
        pit.open()
        addresses = [f"10.{number // 250}.{number % 250}.1" for number in range(2000)]
        assert 520 > pit.fill(addresses) > 400
        assert attached[-1] <= 1024
        attached.clear()
        monkeypatch.setattr("shield.accept.pit.attach", lambda *_: attach(groups[0][0], [*ALONE] * 9999))
        assert pit.fill(addresses) == 0
        pit.close()
