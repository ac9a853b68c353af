"""Dropping in the kernel: new connections of banned sources reach a socket that nobody accepts from.

The program of steering.py chooses the socket of a group for each new connection. In front of it stands a search for
the source among the banned prefixes. A source that is found is sent to the pit: one more socket of the group, with the
shortest backlog there is, from which nobody accepts. When its backlog is full, the kernel drops each SYN that follows.
So a banned source costs the workers nothing, and nobody else is touched.

Classic BPF has no loops, so the search is a balanced tree of comparisons.

    IPv4    The tree leads to the last range that does not begin behind the source, and the source is in it or not.
    IPv6    The same twice: the first 32 bits lead to a tree over the second 32 bits. A prefix has 32 to 64 bits.

A comparison can skip 255 instructions. Where it must lead further, it leads to a jump beside it, which can skip any
number. The program is written from its end, so that the places of all that a comparison leads to are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import groupby
from typing import Final

from shield.accept.steering import JUMP, JUMP_IF_EQUAL, LOAD_BYTE, LOAD_WORD, SHIFT_RIGHT, SKF_NET_OFF, Instruction

MOST_INSTRUCTIONS: Final = 4096
"""Of a program: BPF_MAXINSNS in linux/bpf_common.h."""
WIDEST_V6: Final = 32
NARROWEST_V6: Final = 64
"""Bits of an IPv6 prefix. One host has a /64 as a rule, and chooses the rest of its address itself."""

JUMP_IF_AT_LEAST: Final = 0x35  # skip `yes` instructions if A >= k, else `no`
RETURN: Final = 0x06  # k

_REACH: Final = 255  # instructions that a comparison can skip
_CLOSE: Final = 240  # and how far away an outcome may be: two jumps may come to stand between it and its comparison
_WORDS: Final = 1 << 32

# Offsets in the IP header (RFC 791 section 3.1, RFC 8200 section 3).
_VERSION: Final = SKF_NET_OFF
_SOURCE_V4: Final = SKF_NET_OFF + 12
_SOURCE_V6: Final = SKF_NET_OFF + 8

EACH: Final = 2.02
"""Instructions for an IPv4 address among two thousand, and for one of two words."""

Prefix = IPv4Network | IPv6Network
Range = tuple[int, int]
"""The first word in it, and the first one behind it."""


def drop(prefixes: Iterable[Prefix], pit: int, rest: Sequence[Instruction]) -> list[Instruction]:
    """The program that returns `pit` for a source within `prefixes`, and does what `rest` does for any other.

    It may be longer than the kernel takes: see `fitting`. Raises ValueError for an IPv6 prefix that has fewer than 32
    or more than 64 bits.
    """
    v4: list[Range] = []
    v6: list[tuple[int, Range]] = []
    for prefix in prefixes:
        first = int(prefix.network_address)
        if isinstance(prefix, IPv4Network):
            v4.append((first, first + prefix.num_addresses))
        elif WIDEST_V6 <= prefix.prefixlen <= NARROWEST_V6:
            second = first >> 64 & (_WORDS - 1)
            v6.append((first >> 96, (second, second + (1 << NARROWEST_V6 - prefix.prefixlen))))
        else:
            raise ValueError(f"{prefix} does not have {WIDEST_V6} to {NARROWEST_V6} bits")
    program = _Program(pit, rest)
    search_v4 = program.search_v4(_merged(v4))
    search_v6 = program.search_v6([(word, _merged(part for _, part in found)) for word, found in _by_word(v6)])
    program.begin(search_v4, search_v6)
    return program.instructions()


def fitting(
    prefixes: Sequence[Prefix], pit: int, rest: Sequence[Instruction], most: int = MOST_INSTRUCTIONS
) -> tuple[list[Instruction], int]:
    """The program of at most so many instructions for the first of `prefixes`, and for how many of them.

    Put the worst first. Each prefix takes 2 to 5 instructions: 800 to 2,000 of them fit. How many that are is guessed,
    since to write a program takes 12 ms; a few more might fit.
    """
    number = _guess(prefixes, most - len(rest))
    while True:
        program = drop(prefixes[:number], pit, rest)
        if len(program) <= most or not number:
            return program, number
        number = min(number - 1, number * most // len(program))


def _guess(prefixes: Sequence[Prefix], most: int) -> int:
    """How many of the first prefixes fit, about: each takes a comparison and a jump or so, and again as much where it
    is the first of its IPv6 /32."""
    words: set[int] = set()
    instructions = 0.0
    for number, prefix in enumerate(prefixes):
        instructions += EACH
        if isinstance(prefix, IPv6Network):
            word = int(prefix.network_address) >> 96
            if word not in words:
                words.add(word)
                instructions += EACH
        if instructions > most:
            return number
    return len(prefixes)


def _merged(ranges: Iterable[Range]) -> list[Range]:
    """The same words in ascending ranges that neither overlap nor touch."""
    merged: list[Range] = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((first, end))
    return merged


def _by_word(ranges: Iterable[tuple[int, Range]]) -> Iterable[tuple[int, Iterable[tuple[int, Range]]]]:
    """Ranges of the second word, grouped by the first, in ascending order."""
    return groupby(sorted(ranges), key=lambda one: one[0])


class _Program:
    """A program that is written from its end. A label is the number of instructions from there to the end."""

    __slots__ = ("_backwards", "_drop", "_pass", "_pit", "_rest")

    def __init__(self, pit: int, rest: Sequence[Instruction]) -> None:
        self._backwards = list(reversed(rest))
        self._pit = pit
        self._rest = self._pass = len(rest)
        self._drop = self._put(RETURN, pit)

    def instructions(self) -> list[Instruction]:
        return self._backwards[::-1]

    def begin(self, v4: int, v6: int) -> None:
        """Choose by the version of the packet, since a dual-stack socket gets both."""
        self._compare(JUMP_IF_EQUAL, 4, v4, v6)
        self._put(SHIFT_RIGHT, 4)
        self._put(LOAD_BYTE, _VERSION)

    def search_v4(self, ranges: Sequence[Range]) -> int:
        """Look for an IPv4 source. Returns the label where that begins."""
        if not ranges:
            return self._rest
        self._tree(ranges)
        return self._put(LOAD_WORD, _SOURCE_V4)

    def search_v6(self, ranges: Sequence[tuple[int, Sequence[Range]]]) -> int:
        """Look for an IPv6 source: for each first word there are ranges of the second."""
        if not ranges:
            return self._rest
        self._tree_of_trees(ranges)
        return self._put(LOAD_WORD, _SOURCE_V6)

    def _tree(self, ranges: Sequence[Range]) -> int:
        """A is the word to look for."""
        if len(ranges) > 1:
            middle = len(ranges) // 2
            right, left = self._tree(ranges[middle:]), self._tree(ranges[:middle])
            return self._compare(JUMP_IF_AT_LEAST, ranges[middle][0], right, left)
        first, end = ranges[0]
        self._bring_outcomes_close()
        if end == first + 1:
            return self._compare(JUMP_IF_EQUAL, first, self._drop, self._pass)
        inside = self._drop if end == _WORDS else self._compare(JUMP_IF_AT_LEAST, end, self._pass, self._drop)
        return self._compare(JUMP_IF_AT_LEAST, first, inside, self._pass)

    def _tree_of_trees(self, ranges: Sequence[tuple[int, Sequence[Range]]]) -> int:
        """A is the first word; behind the comparison that finds it the second is loaded."""
        if len(ranges) > 1:
            middle = len(ranges) // 2
            right, left = self._tree_of_trees(ranges[middle:]), self._tree_of_trees(ranges[:middle])
            return self._compare(JUMP_IF_AT_LEAST, ranges[middle][0], right, left)
        word, seconds = ranges[0]
        self._tree(seconds)
        found = self._put(LOAD_WORD, _SOURCE_V6 + 4)
        self._bring_outcomes_close()
        return self._compare(JUMP_IF_EQUAL, word, found, self._pass)

    def _bring_outcomes_close(self) -> None:
        here = len(self._backwards)
        if here - min(self._drop, self._pass) > _CLOSE:
            self._drop = self._put(RETURN, self._pit)
            self._pass = self._jump(self._rest)

    def _compare(self, code: int, k: int, yes: int, no: int) -> int:
        """Lead to one of two labels, by way of a jump where one is too far away."""
        if len(self._backwards) + 1 - yes > _REACH:  # the other may need a jump, too, that stands in between
            yes = self._jump(yes)
        if len(self._backwards) - no > _REACH:
            no = self._jump(no)
        here = len(self._backwards)
        return self._put(code, k, here - yes, here - no)

    def _jump(self, label: int) -> int:
        return self._put(JUMP, len(self._backwards) - label)

    def _put(self, code: int, k: int, yes: int = 0, no: int = 0) -> int:
        self._backwards.append(Instruction(code, k, yes, no))
        return len(self._backwards)
