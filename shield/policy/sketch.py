"""Two ways to count a stream in bounded memory: its heaviest keys, and how many different ones there are.

Sketch     Space-Saving (Metwally, Agrawal and El Abbadi 2005): with k counters, everything that makes more than
           1/k of the stream is in it, and each count is known to within the count that its counter was taken over
           with
Distinct   linear counting (Whang, Vander-Zanden and Taylor 1990), in a bitmap of 64 KiB
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

BITS: Final = 1 << 19
"""Bits of the bitmap of `Distinct`: good for two million keys."""

K = TypeVar("K", bound=Hashable)


class Counter(Generic[K]):
    """The count of one key, at most `error` too high."""

    __slots__ = ("count", "error", "key")

    def __init__(self, key: K, count: float, error: float) -> None:
        self.key = key
        self.count = count
        self.error = error


class Sketch(dict[K, Counter[K]], Generic[K]):
    """The heaviest keys of a stream, in at most `size` counters: Space-Saving."""

    __slots__ = ("_least", "_pushed", "_size", "total")

    def __init__(self, size: int) -> None:
        super().__init__()
        self.total = 0.0
        self._size = size
        self._least: list[tuple[float, int, Counter[K]]] = []  # heap by count as of when pushed
        self._pushed = 0

    def add(self, key: K, weight: float) -> None:
        """Count a key. A new one takes the counter, and the count, of the least counted one when there is no room."""
        self.total += weight
        counter = self.get(key)
        if counter is not None:
            counter.count += weight
            return
        error = self._evict() if len(self) >= self._size else 0.0
        counter = self[key] = Counter(key, error + weight, error)
        self._push(counter)

    def share(self, counter: Counter[K]) -> float:
        """The share that a key has at least."""
        return (counter.count - counter.error) / self.total

    def most(self, key: K) -> float:
        """The share that any key has at most."""
        counter = self.get(key)
        if counter is not None:
            return counter.count / self.total
        return self._smallest().count / self.total if len(self) >= self._size else 0.0

    def heaviest(self, least: float) -> list[Counter[K]]:
        """Those with at least that share, the heaviest first."""
        found = [counter for counter in self.values() if counter.count - counter.error >= least * self.total]
        return sorted(found, key=lambda counter: counter.error - counter.count)

    def scale(self, factor: float) -> None:
        """Multiply all counts."""
        self.total *= factor
        for counter in self.values():
            counter.count *= factor
            counter.error *= factor
        self._least.clear()
        for counter in self.values():
            self._push(counter)

    def clear(self) -> None:
        super().clear()
        self._least.clear()
        self.total = 0.0

    def _evict(self) -> float:
        """Give the least counted key up; its count."""
        counter = self._smallest()
        heapq.heappop(self._least)
        del self[counter.key]
        return counter.count

    def _smallest(self) -> Counter[K]:
        while True:
            count, _, counter = self._least[0]
            if counter.count == count:
                return counter
            heapq.heappop(self._least)
            self._push(counter)

    def _push(self, counter: Counter[K]) -> None:
        self._pushed += 1
        heapq.heappush(self._least, (counter.count, self._pushed, counter))


class Distinct:
    """Counts different keyed hashes, to within 1 %."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray(BITS // 8)

    def add(self, tag: bytes) -> None:
        """Note a tag of which the first three bytes are as good as random."""
        bit = int.from_bytes(tag[:3], "big") >> 5
        self._bits[bit >> 3] |= 1 << (bit & 7)

    def count(self) -> float:
        """How many different ones were noted, about."""
        empty = BITS - int.from_bytes(self._bits, "big").bit_count()
        return BITS * math.log(BITS / max(empty, 1))

    def clear(self) -> None:
        self._bits = bytearray(BITS // 8)
