"""One worker's seat at the board: its own cells, which other workers are alive, and which of all leads."""

from __future__ import annotations

from typing import Final

from shield.policy.board.memory import Board, Cell, Ring, Time

STALE: Final = 1.5
"""Seconds without a beat after which a worker counts no more: three windows, so that a busy loop does not lose it."""


class Seat:
    """The part of the board that one worker writes. `spread`: the kernel brings connections to any worker, whichever
    client they are from.

    A process keeps its seat when its config is read again. For a moment two engines have the seat then; only the one
    that joined last writes to the board.
    """

    __slots__ = ("_beats", "_owner", "board", "live", "others", "spread", "worker")

    def __init__(self, board: Board, worker: int, spread: bool = False) -> None:
        self.board = board
        self.worker = worker
        self.spread = spread
        self.others = tuple(number for number in range(board.workers) if number != worker)
        self.live: tuple[int, ...] = (worker,)  # as of the last beat; this one among them
        self._beats = board.times(Time.BEAT)
        self._owner: object = None
        board.leave(worker)  # whoever was here before has ended

    def join(self, owner: object) -> None:
        """Have `owner` speak for this worker from now on."""
        self._owner = owner

    def speaks(self, owner: object) -> bool:
        """Whether it is `owner` who speaks for this worker."""
        return self._owner is owner

    def beat(self, now: float) -> None:
        """Write down that this worker is alive, and read which others are. A time in the future is not believed: it was
        written by another clock."""
        beats = self._beats
        beats[self.worker] = now
        self.live = tuple(number for number, at in enumerate(beats) if now - STALE < at < now + STALE)

    @property
    def leader(self) -> int:
        """The number of the worker that leads."""
        return self.live[0]

    @property
    def leads(self) -> bool:
        """Whether this worker leads."""
        return self.live[0] == self.worker

    @property
    def part(self) -> float:
        """This worker's part of what is divided equally, in (0, 1]."""
        return 1.0 / len(self.live)

    def add(self, kind: Cell, more: int) -> None:
        """Add to one of this worker's numbers."""
        self.board.cells(kind)[self.worker] += more

    def total(self, kind: Cell) -> int:
        """The sum of a kind over all workers, dead ones too."""
        return sum(self.board.cells(kind))


class Reader:
    """Reads the rings of one kind that the other workers write, and counts the entries that it missed."""

    __slots__ = ("_own", "_rings", "_since", "missed")

    def __init__(self, seat: Seat, rings: list[Ring]) -> None:
        self._rings = [(number, rings[number]) for number in seat.others]
        self._since = {number: ring.oldest for number, ring in self._rings}  # what was told before we came, too
        own = rings[seat.worker]
        self._own = [
            data for _, data in own.read(own.oldest, own.written) if data is not None
        ]  # of who was here before
        self.missed = 0  # entries

    def read(self, most: int) -> list[bytes]:
        """What was written since the last call, up to so many entries of each."""
        found, self._own = self._own[:most], self._own[most:]
        for number, ring in self._rings:
            since = self._since[number]
            if since == ring.written:
                continue
            if since < ring.oldest or since > ring.written:
                self.missed += max(ring.oldest - since, 0)
                since = self._since[number] = ring.oldest
            for entry, data in ring.read(since, most):
                self._since[number] = entry
                if data is None:
                    self.missed += 1
                else:
                    found.append(data)
        return found
