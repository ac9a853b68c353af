"""The steering program: in an interpreter of classic BPF, over every address one likes, and once in the real kernel."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address

import pytest

from shield.accept import sockets
from shield.accept import steering as kernel
from shield.errors import StartError

WORD = 0xFFFFFFFF
SEED = 0xC0FFEE11


def interpret(code: bytes, packet: bytes) -> int:
    """What the bytes of a program return for a packet that begins at its IP header."""
    program = [struct.unpack_from("=HBBI", code, at) for at in range(0, len(code), 8)]
    a = x = at = 0
    while True:
        operation, yes, no, k = program[at]
        at += 1
        if operation in (0x20, 0x28, 0x30):  # ld, ldh, ldb
            offset, size = k - 0xFFF00000, {0x20: 4, 0x28: 2, 0x30: 1}[operation]
            assert 0 <= offset <= len(packet) - size, "reads beyond the packet, where the kernel returns 0"
            a = int.from_bytes(packet[offset : offset + size], "big")
        elif operation == 0x07:
            x = a
        elif operation == 0x24:
            a = a * k & WORD
        elif operation == 0x74:
            a >>= k
        elif operation == 0x94:
            a %= k
        elif operation == 0xA4:
            a ^= k
        elif operation == 0xAC:
            a ^= x
        elif operation == 0x05:
            at += k
        elif operation == 0x15:
            at += yes if a == k else no
        elif operation == 0x35:
            at += yes if a >= k else no
        elif operation == 0x06:
            return k
        else:
            assert operation == 0x16, f"unknown operation {operation:#x}"
            return a


def packet(source: str) -> bytes:
    """An IP header from `source` to somewhere, with odd bytes wherever the program must not look."""
    if ":" in source:
        return b"\x6a\xbc" + b"\xde" * 6 + IPv6Address(source).packed + b"\x99" * 16
    return b"\x45" + b"\x77" * 11 + IPv4Address(source).packed + b"\x88" * 4


def worker(source: str, workers: int, seed: int = SEED) -> int:
    return interpret(kernel.assemble(kernel.steering(workers, seed)), packet(source))


def test_the_whole_network_meets_one_worker() -> None:
    for third in range(64):
        assert len({worker(f"203.0.{third}.{last}", 7) for last in range(256)}) == 1
    for site in range(64):
        hosts = ("::1", ":1::", ":ffff:1:2:3:4", ":8000::ffff")
        assert len({worker(f"2001:db8:{site:x}{rest}", 7) for rest in hosts}) == 1


@pytest.mark.parametrize("workers", [2, 3, 4, 8, 61])
@pytest.mark.parametrize("seed", [0, 1, SEED, WORD])
@pytest.mark.parametrize(
    "pattern", ["10.1.{}.7", "10.{}.0.7", "{}.0.0.7", "2001:db8:{:x}::1", "2001:{:x}::1", "2a00:0:{:x}00::"]
)
def test_neighbours_spread(workers: int, seed: int, pattern: str) -> None:
    """Of 256 networks that differ in one byte, each worker gets its share, give or take five standard deviations."""
    counts = Counter(worker(pattern.format(n), workers, seed) for n in range(256))
    assert max(counts) < workers
    share = 256 / workers
    assert max(counts.values()) < share + 5 * share**0.5
    assert min(counts[w] for w in range(workers)) > share - 5 * share**0.5


def test_the_seed_decides() -> None:
    """Who knows the program and not the seed cannot choose networks that meet one worker."""
    chosen = [f"10.{n // 256}.{n % 256}.1" for n in range(1024)]
    chosen = [source for source in chosen if worker(source, 4, seed=1) == 0]
    counts = Counter(worker(source, 4, seed=2) for source in chosen)
    assert max(counts.values()) < len(chosen) / 2


@pytest.fixture
def groups() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.skipif(sys.platform != "linux", reason="SO_ATTACH_REUSEPORT_CBPF is Linux's")
@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::]:0"])
def test_the_kernel_does_the_same(groups: ExitStack, address: str) -> None:
    """Over IPv4, also to a dual-stack socket, where the client's address is ::ffff:127.9.n.5."""
    (group,) = sockets.bind_groups([address], 128, 3)
    for sock in group:
        groups.enter_context(sock)
    kernel.attach(group[0], kernel.steering(3, SEED))
    port = group[0].getsockname()[1]
    met = set()
    for n in range(30):
        for last in (5, 6):
            source = f"127.9.{n}.{last}"
            expected = worker(source, 3)
            with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)):
                accepted, peer = group[expected].accept()  # non-blocking: it is there or the test fails
                accepted.close()
                assert peer[0].endswith(source)
            met.add(expected)
    assert met == {0, 1, 2}


@pytest.mark.skipif(sys.platform != "linux", reason="SO_ATTACH_REUSEPORT_CBPF is Linux's")
def test_the_kernel_does_the_same_for_ipv6(groups: ExitStack) -> None:
    """There is one loopback address, so the seed is what changes."""
    (group,) = sockets.bind_groups(["[::1]:0"], 128, 2)
    for sock in group:
        groups.enter_context(sock)
    met = set()
    for seed in range(16):
        kernel.attach(group[0], kernel.steering(2, seed))
        expected = worker("::1", 2, seed)
        with socket.create_connection(group[0].getsockname()[:2]):
            group[expected].accept()[0].close()
        met.add(expected)
    assert met == {0, 1}


def test_elsewhere_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel.sys, "platform", "darwin")
    with socket.socket() as sock, pytest.raises(OSError, match="darwin has no"):
        kernel.attach(sock, kernel.steering(2, SEED))


def test_a_socket_without_a_group_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(OSError, match=r".") as caught:
        kernel.attach(sock, kernel.steering(2, SEED))
    assert caught.value.errno == errno.EINVAL


def test_nobody_joins_a_group_by_mistake(groups: ExitStack) -> None:
    """Two services at one address would each get a part of the connections, and neither would say so."""
    (group,) = sockets.bind_groups(["127.0.0.1:0"], 128, 2)
    for sock in group:
        groups.enter_context(sock)
    (address,) = set(sockets.names(group))
    with pytest.raises(StartError, match=f"cannot listen on {address}: Address already in use"):
        sockets.bind_groups([address], 128, 2)
