"""Steering in the kernel: which worker's listening socket gets a new connection.

Sockets that share an address by SO_REUSEPORT form a group, and a classic BPF program attached to the group chooses the
member for each connection (SO_ATTACH_REUSEPORT_CBPF, socket(7), Linux 4.5; no privilege needed). Ours chooses by the
source *network*, IPv4 /24 or IPv6 /48 as in policy/identity.py, so all that is known of a client, its address and its
network lives in one worker:

    network = version == 4 ? source >> 8 : source[0:4] * MIX ^ source[4:6]
    worker  = mix(network ^ seed) % workers

The version is read from the packet, since a dual-stack socket ([::]:80) gets both; ::ffff:a.b.c.d is an IPv4 packet.
The seed, drawn at each start, keeps anybody from choosing networks that all fall to one worker.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

SO_ATTACH_REUSEPORT_CBPF: Final = 51  # asm-generic/socket.h; the socket module does not have it
SKF_NET_OFF: Final = 0xFFF00000  # linux/filter.h: offsets from here count from the IP header
MIX: Final = 0x9E3779B1  # 2**32 / golden ratio, as a prime: Knuth's multiplicative hashing

# Offsets in the IP header (RFC 791 section 3.1, RFC 8200 section 3).
_VERSION: Final = SKF_NET_OFF
_SOURCE_V4: Final = SKF_NET_OFF + 12
_SOURCE_V6: Final = SKF_NET_OFF + 8

# Operation codes (linux/bpf_common.h). A is the accumulator, X the index register, k the operand.
LOAD_WORD: Final = 0x20  # A = 4 bytes at k, big-endian
LOAD_HALF: Final = 0x28  # A = 2 bytes at k
LOAD_BYTE: Final = 0x30  # A = 1 byte at k
COPY_TO_X: Final = 0x07  # X = A
MULTIPLY: Final = 0x24  # A *= k, modulo 2**32
SHIFT_RIGHT: Final = 0x74  # A >>= k
MODULO: Final = 0x94  # A %= k
XOR: Final = 0xA4  # A ^= k
XOR_X: Final = 0xAC  # A ^= X
JUMP: Final = 0x05  # skip k instructions
JUMP_IF_EQUAL: Final = 0x15  # skip `yes` instructions if A == k, else `no`
RETURN_A: Final = 0x16


class Instruction(NamedTuple):
    """One struct sock_filter."""

    code: int
    k: int = 0
    yes: int = 0
    no: int = 0


def steering(workers: int, seed: int) -> list[Instruction]:
    """The program that returns the number of a worker, 0 to workers - 1. `seed` is any 32 bits."""
    v4 = [Instruction(LOAD_WORD, _SOURCE_V4), Instruction(SHIFT_RIGHT, 8)]
    v6 = [
        Instruction(LOAD_WORD, _SOURCE_V6),
        Instruction(MULTIPLY, MIX),
        Instruction(COPY_TO_X),
        Instruction(LOAD_HALF, _SOURCE_V6 + 4),
        Instruction(XOR_X),
        Instruction(JUMP, len(v4)),
    ]
    return [
        Instruction(LOAD_BYTE, _VERSION),
        Instruction(SHIFT_RIGHT, 4),
        Instruction(JUMP_IF_EQUAL, 4, yes=len(v6), no=0),
        *v6,
        *v4,
        Instruction(XOR, seed),
        *_mix(),
        *_mix(),
        Instruction(MODULO, workers),
        Instruction(RETURN_A),
    ]


def _mix() -> Iterator[Instruction]:
    """A = A * MIX, its high half folded into the low one: neighbours must not meet the same worker, nor take turns."""
    yield Instruction(MULTIPLY, MIX)
    yield Instruction(COPY_TO_X)
    yield Instruction(SHIFT_RIGHT, 16)
    yield Instruction(XOR_X)


def assemble(program: Sequence[Instruction]) -> bytes:
    """The bytes of an array of struct sock_filter: u16 code, u8 jt, u8 jf, u32 k, in the machine's order."""
    return b"".join(struct.pack("=HBBI", code, yes, no, k) for code, k, yes, no in program)


def attach(member: socket.socket, program: Sequence[Instruction]) -> None:
    """Let `program` choose for the group of `member` from now on, in place of any earlier one. Raises OSError.

    It returns an index into the group, whose order is that of listen(). An index beyond the group leaves the choice to
    the kernel's own hash of addresses and ports.
    """
    if sys.platform != "linux":
        raise OSError(f"{sys.platform} has no SO_ATTACH_REUSEPORT_CBPF")
    code = ctypes.create_string_buffer(assemble(program))  # must outlive the call
    # struct sock_fprog: u16 length, padding, pointer.
    member.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("@HP", len(program), ctypes.addressof(code))
    )
