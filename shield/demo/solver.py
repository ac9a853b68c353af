"""A solver for programs: answers a challenge of docs/protocol.md with the standard library alone.

For tests, the documentation's example and the benchmarks. It is short and therefore slow: about a million hashes a
second on one core, so that a challenge at the lowest price takes about a second.
"""

from __future__ import annotations

import hashlib
import itertools
import struct


def solve(token: str, k: int, target: int) -> list[int]:
    """The smallest nonce of each of the `k` sub-puzzles of `token`. `target`: a hash's first 64 bits must be below.

    Takes 2**64 / target hashes for each sub-puzzle on average, without bound.
    """
    seed = hashlib.sha256(token.encode("ascii")).digest()
    return [_search(hashlib.sha256(seed + struct.pack(">I", index)), target.to_bytes(8, "big")) for index in range(k)]


def _search(start: hashlib._Hash, target: bytes) -> int:
    for nonce in itertools.count():
        state = start.copy()
        state.update(nonce.to_bytes(8, "big"))
        # Bytes compare as big-endian numbers do; a digest that begins with the target is longer, so not below it.
        if state.digest() < target:
            return nonce
    raise AssertionError  # count() does not end
