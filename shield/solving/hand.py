"""Searches nonces, one slice of one sub-puzzle at a time. Also a program of its own, which search.py starts.

As a program it says "ready", reads "TOKEN TARGET" (16 hex digits), then jobs "INDEX START COUNT" line by line, and says
"NONCE" for each, or "-1". It imports nothing of Shield, so that it starts in 10 ms, and ends with its input.
"""

from __future__ import annotations

import sys
from hashlib import sha256


def search(token: str, index: int, start: int, count: int, target: bytes) -> int:
    """The first of `count` nonces from `start` on whose hash is below `target` (8 bytes), or -1."""
    begun = sha256(sha256(token.encode("ascii")).digest() + index.to_bytes(4, "big"))
    for nonce in range(start, start + count):
        state = begun.copy()
        state.update(nonce.to_bytes(8, "big"))
        # Bytes compare as big-endian numbers do; a digest that begins with the target is longer, so not below it.
        if state.digest() < target:
            return nonce
    return -1


def main() -> None:
    """Do the jobs on stdin."""
    print("ready", flush=True)
    token, target = sys.stdin.readline().split()
    for line in sys.stdin:
        index, start, count = map(int, line.split())
        print(search(token, index, start, count, bytes.fromhex(target)), flush=True)


if __name__ == "__main__":
    main()
