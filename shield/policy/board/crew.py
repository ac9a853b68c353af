"""What an engine tells the other workers, and hears from them, every 20 ms.

    samples   upstream times, for the worker that leads
    reports   what was counted, for the worker that leads
    orders    what that makes of them, for those that follow
    news      bans and scores, passes, places in the waiting room: for everybody, as plain rows (remembered.py)

What must not be had twice is claimed at once (claims.py).
"""

from __future__ import annotations

import struct
from typing import Any, Final

import orjson

from shield.policy.board.memory import Time
from shield.policy.board.report import Counted, Elsewhere, Totals
from shield.policy.board.seat import Reader, Seat
from shield.policy.concurrency.concurrency import Concurrency, Sample
from shield.policy.concurrency.shared_slots import SharedSlots
from shield.policy.status import BoardStatus

SAMPLE: Final = struct.Struct("<8sddIHH")
"""Client (of whom it is only asked who is another one), seconds, usual seconds of its route, epoch, error, vague."""
SAMPLES_AT_ONCE: Final = 8
MOST_SAMPLES_READ: Final = 64
MOST_NEWS_READ: Final = 256
"""Rows of each other worker that are taken at a time, in 3 ms or less. More wait in the ring."""
MOST_ORDERS_SECONDS: Final = 5.0
"""Between two orders, as far as what fades with time goes by it."""
MOST_SAMPLE: Final = 3600.0  # seconds


class Crew:
    """One engine's part in what the workers do together."""

    __slots__ = (
        "_concurrency", "_elsewhere", "_joined", "_news", "_ordered", "_samples", "_seat", "_slots", "_totals", "leads",
        "lost",
    )  # fmt: skip

    def __init__(self, seat: Seat, concurrency: Concurrency) -> None:
        slots = concurrency.slots
        assert isinstance(slots, SharedSlots)  # noqa: S101 - with a seat they are
        self._seat = seat
        self._concurrency = concurrency
        self._slots = slots
        self._totals = Totals()
        self._elsewhere = Elsewhere()
        self._ordered = 0.0  # when the newest orders that are known here were given
        self._samples = Reader(seat, seat.board.samples)
        self._news = Reader(seat, seat.board.news)
        self._joined = False
        self.leads = False
        """Whether this engine closes the windows for all."""
        self.lost = 0
        """Rows and samples that did not fit, or made no sense."""
        concurrency.away = []

    def sync(self, now: float, known_waiting: int, others_waiting: int) -> bool:
        """Look at the board; say how many wait here, of T0 and T1, and others. From the first call on it is this engine
        that speaks for its worker. False once a later one of this process does."""
        seat, slots = self._seat, self._slots
        if not self._joined:
            self._joined = True
            seat.join(self)
        if not seat.speaks(self):
            return False
        seat.beat(now)
        slots.say_waiting(known_waiting, others_waiting)
        slots.sync(now)
        if not self.leads:
            self._send_samples()
        return True

    def take_turn(self, now: float) -> None:
        """See who leads. Whoever begins to lead has gone by the newest orders before."""
        leads = self._seat.leads
        if leads and not self.leads:
            self._concurrency.lead(now)
            self._elsewhere.read(self._reports())
            self._samples.read(MOST_SAMPLES_READ)
        elif self.leads and not leads:
            self._concurrency.away = []
        self.leads = leads

    @property
    def waiting_elsewhere(self) -> int:
        """Requests that wait at other workers."""
        return self._slots.waiting_elsewhere

    def status(self, missed: int, lost: int) -> BoardStatus:
        """What came of it. `missed`, `lost`: by others here."""
        return BoardStatus(
            workers=len(self._seat.live),
            leads=self.leads,
            missed=self._samples.missed + self._news.missed + missed,
            lost=self.lost + self._elsewhere.unread + lost,
        )

    # From those that follow to the worker that leads

    def report(self, counted: Counted, now: float) -> None:
        """Report what was counted since the last call."""
        self._seat.board.reports[self._seat.worker].write(self._totals.add(counted, now))

    def elsewhere(self) -> Counted:
        """What the others have counted since the last call."""
        return self._elsewhere.read(self._reports())

    def _reports(self) -> dict[int, bytes | None]:
        reports, me = self._seat.board.reports, self._seat.worker
        return {number: reports[number].read() for number in self._seat.live if number != me}

    def _send_samples(self) -> None:
        away = self._concurrency.away
        if not away:
            return
        self._concurrency.away = []
        ring = self._seat.board.samples[self._seat.worker]
        for begin in range(0, len(away), SAMPLES_AT_ONCE):
            ring.write(
                b"".join(
                    SAMPLE.pack(client[:8], seconds, baseline, epoch & 0xFFFFFFFF, error, vague)
                    for client, seconds, baseline, error, epoch, vague in away[begin : begin + SAMPLES_AT_ONCE]
                )
            )

    def samples(self) -> list[Sample]:
        """What the others have seen of the service under load since the last call."""
        found: list[Sample] = []
        for data in self._samples.read(MOST_SAMPLES_READ):
            for client, seconds, usual, epoch, error, vague in SAMPLE.iter_unpack(data):
                if 0.0 < seconds < MOST_SAMPLE and 0.0 <= usual < MOST_SAMPLE:
                    found.append((client, seconds, usual, error == 1, epoch, vague == 1))
                else:
                    self.lost += 1
        return found

    # From the worker that leads to those that follow

    def order(self, row: list[Any], now: float) -> None:
        """Have the others go by this row."""
        seat = self._seat
        if seat.board.orders[seat.worker].write(orjson.dumps(row)):
            self._ordered = seat.board.times(Time.ORDERED)[seat.worker] = now
        else:
            self.lost += 1

    def orders(self, now: float) -> tuple[list[Any], float] | None:
        """The newest orders of another worker, and the seconds since those before; None when they are known."""
        given = self._seat.board.times(Time.ORDERED)
        newest = max(self._seat.others, key=given.__getitem__, default=None)
        if newest is None or not self._ordered < given[newest] <= now:
            return None
        data = self._seat.board.orders[newest].read()
        try:
            row = orjson.loads(data or b"")
        except ValueError:
            self.lost += 1  # tried again in 20 ms
            return None
        seconds = min(given[newest] - self._ordered, MOST_ORDERS_SECONDS)
        self._ordered = given[newest]
        return row, seconds

    # From each to all

    def tell(self, row: list[Any]) -> None:
        """Tell the others a row."""
        data = orjson.dumps(row)
        if not self._seat.board.news[self._seat.worker].write(data):
            self.lost += 1

    def hear(self) -> list[Any]:
        """Rows that the others have told since the last call, up to MOST_NEWS_READ of each."""
        rows = []
        for data in self._news.read(MOST_NEWS_READ):
            try:
                rows.append(orjson.loads(data))
            except ValueError:
                self.lost += 1
        return rows
