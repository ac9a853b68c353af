"""The slots of several workers, which are one pool.

A worker may take one more while all together have fewer than there are. So a worker whose clients ask for much has what
the others leave. And it has a *share* and a *least*, or those that came first would keep the others out for as long as
they ask:

    least    GUARANTEED of an equal part, rounded up: it may take so much whatever the others have
    share    in proportion to those who wait: first those with a history, and then the others. So they wait equally
             long at each worker, as in one queue. Up to its share it may take while all together have no more than the
             slots and the least of each other worker

Who has more than its share gives it back as its requests end, and takes none again until the sum is below the number of
slots. Until then there are at most as many above it as twice what is guaranteed to the other workers: less than a
quarter of the slots, and two for each of them. Besides, two workers that look within the same microsecond may both take
the last one.

One worker leads, and says how many slots there are, and what the epoch is (slots.py); the others look every 20 ms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from shield.policy.board.memory import Cell
from shield.policy.board.seat import Seat
from shield.policy.concurrency.settings import ConcurrencySettings
from shield.policy.concurrency.slots import Slots

GUARANTEED: Final = 0.125


class SharedSlots(Slots):
    """As Slots, for one of several workers. `in_flight`, `taken` and `taken_full` are those of all. It has more than 15
    attributes because it puts some in the place of those that Slots counts in."""

    __slots__ = (
        "_ghosts",
        "_in_flight",
        "_me",
        "_most",
        "_seat",
        "_since",
        "_since_full",
        "_untold",
        "_window_full",
        "least",
        "share",
    )

    def __init__(self, settings: ConcurrencySettings, size: int, seat: Seat) -> None:
        self._seat = seat
        self._me = seat.worker
        self._in_flight = seat.board.cells(Cell.IN_FLIGHT)
        self._ghosts = 0  # requests of workers that are not alive
        self._untold = 0  # slots taken here since the last look
        self._since = self._since_full = self._window_full = 0
        self.share = self.least = self._most = 0
        super().__init__(settings, size)
        self.open_window()

    @property
    def in_flight(self) -> int:
        """Requests at the service, of all workers."""
        return sum(self._in_flight) - self._ghosts

    @in_flight.setter
    def in_flight(self, value: int) -> None:
        """Begin; what an engine before this one has at the service still counts."""

    @property
    def exhausted(self) -> bool:
        """Whether this worker may take no more."""
        held = self._in_flight[self._me]
        if held < self.least:
            return False
        total = sum(self._in_flight) - self._ghosts
        return total >= self.size and (held >= self.share or total >= self._most)

    @exhausted.setter
    def exhausted(self, value: bool) -> None:
        """It follows from what is taken."""

    @property
    def held(self) -> int:
        """Slots that this worker has taken."""
        count: int = self._in_flight[self._me]
        return count

    @property
    def part(self) -> float:
        """This worker's part of what is divided equally."""
        return self._seat.part

    @property
    def taken(self) -> int:
        """Slots taken in the round, by all workers; by others, as of the last look."""
        return self._seat.total(Cell.TAKEN) + self._untold - self._since

    @taken.setter
    def taken(self, value: int) -> None:
        self._since = self._seat.total(Cell.TAKEN) + self._untold - value

    @property
    def taken_full(self) -> int:
        """Of these, those that took the last one, or found none."""
        return self._seat.total(Cell.TAKEN_FULL) - self._since_full

    @taken_full.setter
    def taken_full(self, value: int) -> None:
        self._since_full = self._seat.total(Cell.TAKEN_FULL) - value

    def take(self) -> None:
        """Send a request to the service."""
        in_flight = self._in_flight
        in_flight[self._me] += 1
        self._untold += 1
        if self.awaited or sum(in_flight) - self._ghosts >= self.reached_at:
            self._tell_taken()
            self._seat.add(Cell.TAKEN_FULL, 1)
            self.look()

    def _tell_taken(self) -> None:
        self._seat.add(Cell.TAKEN, self._untold)
        self._untold = 0

    def give(self) -> None:
        """Take a slot back."""
        self._in_flight[self._me] -= 1

    def takes_long(self, stranger: bool) -> None:
        """Let a request go on at the service without its slot."""
        self._seat.add(Cell.LONG, 1)
        self._seat.add(Cell.STRANGE, int(stranger))
        super().takes_long(stranger)

    def ends_long(self, stranger: bool) -> None:
        """Count a long request that has ended at the service no more."""
        self._seat.add(Cell.LONG, -1)
        self._seat.add(Cell.STRANGE, -int(stranger))
        super().ends_long(stranger)

    def counts_as(self, stranger: bool) -> None:
        """Count a long request as a stranger's from now on, or as one of T0 and T1."""
        self._seat.add(Cell.STRANGE, 1 if stranger else -1)
        super().counts_as(stranger)

    @property
    def long(self) -> int:
        """Requests that are at the service without a slot, of all workers."""
        return self._of_live(Cell.LONG)

    @property
    def strange(self) -> int:
        """Of these, those of T2 to T4."""
        return self._of_live(Cell.STRANGE)

    def _of_live(self, kind: Cell) -> int:
        cells = self._seat.board.cells(kind)
        return sum(cells[number] for number in self._seat.live)

    def look(self) -> None:
        """See whether all were taken meanwhile, by whomever. It is the leader that begins a round for that."""
        if self._seat.total(Cell.TAKEN_FULL) > self._window_full:
            self.saturated = True
        if not self.reached and self.taken_full > 0:
            if self._seat.leads:
                self.epoch += 1
                self._forget()
            self.reached = True

    def open_window(self) -> None:
        """Begin a window. It is saturated from the beginning where all slots are taken."""
        super().open_window()
        self._window_full = self._seat.total(Cell.TAKEN_FULL)

    def sync(self, now: float) -> None:
        """Say how many slots there are, where this worker leads, or see it; and take this worker's share."""
        seat, cells = self._seat, self._seat.board.cells
        self._tell_taken()
        live = seat.live
        self._ghosts = sum(count for number, count in enumerate(self._in_flight) if number not in live)
        self._derive()
        if seat.leads:
            self.look()
            cells(Cell.SIZE)[self._me], cells(Cell.EPOCH)[self._me] = self.size, self.epoch
        else:
            self._follow(cells(Cell.SIZE)[live[0]], cells(Cell.EPOCH)[live[0]], now)
        known, others = cells(Cell.KNOWN_WAITING), cells(Cell.OTHERS_WAITING)
        needs = [min(known[number], self.size) for number in live]
        first = deal(self.size, needs)
        # Nobody gets more for these than they, and what is at the service already, can take.
        first = [min(slots, self._in_flight[number] + known[number]) for slots, number in zip(first, live, strict=True)]
        then = deal(self.size - sum(first), [others[number] for number in live])
        index = live.index(self._me)
        self.share = first[index] + then[index]
        self.least = math.ceil(GUARANTEED * self.size / len(live))
        self._most = self.size + self.least * (len(live) - 1)

    def _follow(self, size: int, epoch: int, now: float) -> None:
        if size > 0 and (size != self.size or epoch != self.epoch):
            self.size, self.epoch = size, epoch
            self._derive()
            self.begin(now)

    def say_waiting(self, known: int, others: int) -> None:
        """Say how many requests wait at this worker: of T0 and T1, and others. Connections that are not read just now
        count as others, but no more of them than this worker has slots: not each of them has sent a request."""
        others += min(self.awaited, self.size)
        cells = self._seat.board.cells
        cells(Cell.KNOWN_WAITING)[self._me], cells(Cell.OTHERS_WAITING)[self._me] = known, others

    @property
    def waiting_elsewhere(self) -> int:
        """Requests that wait at other workers."""
        known, others = self._seat.board.cells(Cell.KNOWN_WAITING), self._seat.board.cells(Cell.OTHERS_WAITING)
        return sum(known[number] + others[number] for number in self._seat.live if number != self._me)


def deal(slots: int, needs: Sequence[int]) -> list[int]:
    """Deal out slots in proportion to needs: whole ones, and the last few by the largest remainders (Hare)."""
    total = sum(needs)
    if slots <= 0 or total <= 0:
        return [0] * len(needs)
    dealt = [slots * need // total for need in needs]
    by_remainder = sorted(range(len(needs)), key=lambda index: -(slots * needs[index] % total))
    for index in by_remainder[: slots - sum(dealt)]:
        dealt[index] += 1
    return dealt
