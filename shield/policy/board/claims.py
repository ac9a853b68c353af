"""Claims: an answer to a challenge, or a ticket of the waiting room, is accepted by one worker alone.

A worker that would accept one first writes down its claim, then reads whether another worker has claimed the same. The
later of two sees the earlier one's claim in any case, and refuses. If both see each other's, both refuse. So an
answer that is sent to two workers within the same microseconds may buy nothing, and never buys twice. (A store is seen
by the other cores long before the interpreter has come to the next load.)
"""

from __future__ import annotations

import struct
from typing import Final

from shield.policy.board.memory import PLACE_BYTES, SPENT
from shield.policy.board.seat import Reader, Seat

CLAIM: Final = struct.Struct("<16sd")
"""What is claimed, and until when that matters, in monotonic seconds."""


class Claims:
    """Claims for one worker, and reads what the others have claimed.

    `place` is the number that challenges of this worker carry, `places` are those of all workers.
    """

    __slots__ = ("_reader", "_ring", "_seat", "place", "places")

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._ring = seat.board.spent[seat.worker]
        self._reader = Reader(seat, seat.board.spent)
        self._name(seat.board.place)

    def _name(self, first: int) -> None:
        workers = range(self._seat.board.workers)
        names = [((first + number) & 0xFFFF).to_bytes(PLACE_BYTES, "big") for number in workers]
        self.place = names[self._seat.worker]
        self.places = frozenset(names)

    def inherit(self, place: bytes) -> None:
        """Come in the place of the worker of this number at another board, which mints no more."""
        board = self._seat.board
        board.place = (int.from_bytes(place, "big") - self._seat.worker) & 0xFFFF
        self._name(board.place)

    @property
    def missed(self) -> int:
        """Claims of others that were not heard."""
        return self._reader.missed

    def read(self) -> list[tuple[bytes, float]]:
        """What others have claimed since the last call; at the first, what they and the worker before had."""
        return [CLAIM.unpack(data) for data in self._reader.read(SPENT[0]) if len(data) == CLAIM.size]

    def claim(self, what: bytes, until: float) -> None:
        """Write down a claim; 16 bytes. Then read()."""
        self._ring.write(CLAIM.pack(what, until))
