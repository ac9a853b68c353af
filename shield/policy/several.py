"""What an engine does besides, where it is one of several workers (board/): it looks at the board every 20 ms.

Who leads closes the windows for all. Who follows reports what it has counted, and goes by the orders of whoever leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from shield.policy.board.claims import Claims
from shield.policy.board.crew import Crew
from shield.policy.board.paid import Paid
from shield.policy.board.report import Counted, both
from shield.policy.challenge.challenge import Challenger
from shield.policy.cluster.counting import Counting
from shield.policy.cluster.side import Side
from shield.policy.concurrency.concurrency import Concurrency
from shield.policy.news import News
from shield.policy.queue.queue import Queue
from shield.policy.remembered import Remembered
from shield.policy.routes import Routes
from shield.policy.status import BoardStatus
from shield.policy.upstream_times import UpstreamTimes
from shield.policy.windows import EARLY, Windows

REPORT_SECONDS: Final = 0.1
"""How often a worker that follows reports, and tells of payments. The one that leads reads every half second."""
MOST_ASKED: Final = 64
"""Answers to other machines' challenges that a worker which follows asks for every 20 ms, by way of the one that leads.
"""
ROUTES_TOLD: Final = 8
"""Routes of which a worker tells the others in each window, those most asked for: who has seen most of one is right."""


class Several:
    """Carries news between the board and the parts of one engine. It has more than 15 attributes because each of them
    is one. `side`: where there are other machines, what they hear from the worker that leads."""

    __slots__ = (
        "_challenger",
        "_claims",
        "_concurrency",
        "_counting",
        "_crew",
        "_news",
        "_paid",
        "_paid_at",
        "_queue",
        "_remembered",
        "_routes",
        "_settled",
        "_side",
        "_times",
        "_told_at",
        "_window",
        "_windows",
    )  # fmt: skip

    def __init__(
        self,
        *,
        crew: Crew,
        claims: Claims,
        news: News,
        paid: Paid | None,
        challenger: Challenger,
        concurrency: Concurrency,
        queue: Queue,
        remembered: Remembered,
        routes: Routes,
        settled: int,
        times: UpstreamTimes,
        window: float,
        windows: Windows,
        side: Side | None = None,
        counting: Counting | None = None,
    ) -> None:
        """`settled`: samples after which a route's time is known; `window`: seconds; `paid`: where connections are
        spread."""
        self._crew = crew
        self._claims = claims
        self._news = news
        self._paid = paid
        self._challenger = challenger
        self._concurrency = concurrency
        self._queue = queue
        self._remembered = remembered
        self._routes = routes
        self._settled = settled
        self._times = times
        self._side = side
        self._counting = counting
        self._window = window
        self._windows = windows
        self._paid_at = self._told_at = 0.0  # when payments and routes were told

    @property
    def report_seconds(self) -> float:
        """Seconds after which what was counted is due; 0: those of a window."""
        return 0.0 if self._crew.leads else REPORT_SECONDS

    @property
    def hurries(self) -> bool:
        """Whether this engine leads and requests wait, here or elsewhere."""
        return self._crew.leads and bool(self._queue.waiting or self._crew.waiting_elsewhere)

    def sync(self, now: float) -> bool:
        """Go by what the other workers say, and tell them what is new. False where another engine has come in the
        place of this one, and speaks for this worker."""
        crew = self._crew
        if not crew.sync(now, *self._queue.by_history()):
            return False
        orders = crew.orders(now)
        if orders is not None:
            try:
                self._windows.follow(*orders, now)
            except (ValueError, TypeError):
                crew.lost += 1
        crew.take_turn(now)
        self._queue.share(self._concurrency.slots.part, crew.waiting_elsewhere)
        if crew.leads:
            for sample in crew.samples():
                self._times.learn_elsewhere(*sample, now)
            if self._routes.typical.samples <= self._settled:  # the others wait for it
                self._news.changed("route", self._routes.typical)
        self._tell(now)
        self._hear(now)
        return True

    def close_window(self, counted: Counted, seconds: float, now: float) -> bool:
        """Close the window that lasted so long, for all workers; or report what was counted to the one that does.
        Whether as much time has passed as a window lasts."""
        crew, windows = self._crew, self._windows
        if crew.leads:
            self._close_all(counted, seconds, now)
            crew.order(windows.orders(), now)
        else:
            crew.report(windows.report(counted), now)
        if now < self._told_at + self._window - EARLY:
            return False
        self._told_at = now
        for route in self._routes.most_asked(ROUTES_TOLD):
            self._news.changed("route", route)
        return True

    def _close_all(self, counted: Counted, seconds: float, now: float) -> None:
        """Close the window for all workers, together with other machines if there are any."""
        workers, windows = self._crew.elsewhere(), self._windows
        if self._counting is None:
            windows.close(now, seconds, counted, workers)
            return
        mine = both(windows.retell(counted), workers)
        machines, places = self._counting.meet(mine, self._concurrency.limit, now)
        windows.close(now, seconds, counted, both(workers, machines), places)

    def status(self) -> BoardStatus:
        """What came of it."""
        lost = self._news.lost + (0 if self._paid is None else self._paid.lost)
        return self._crew.status(self._claims.missed, lost)

    @property
    def leads(self) -> bool:
        """Whether this worker leads."""
        return self._crew.leads

    def pass_on(self, rows: Sequence[list[Any]]) -> None:
        """Tell the other workers what another machine has told."""
        for row in rows:
            self._crew.tell(row)

    def _relay(self, row: Any) -> None:
        """Have the worker that leads tell the other machines what one of this machine's has to say."""
        if self._side is not None and self._crew.leads and isinstance(row, list) and row:
            self._side.tell(row)

    def _tell(self, now: float) -> None:
        if self._side is not None and not self._crew.leads:
            for row in self._side.take(MOST_ASKED):
                self._crew.tell(row)
        for kind, thing in self._news.take():
            row = self._remembered.row(kind, thing)
            self._crew.tell(row)
            self._relay(row)
        if self._paid is not None and now >= self._paid_at + REPORT_SECONDS:
            self._paid_at = now
            for row in self._paid.rows(now):
                self._crew.tell(row)

    def _hear(self, now: float) -> None:
        news = self._news
        news.on = False  # what was heard is no news
        rows = self._crew.hear()
        self._remembered.load(rows, now)
        news.on = True
        for row in rows:
            self._relay(row)
            if self._side is not None:
                self._side.hear(row)
        # This is done at each answer, too; here it is for whoever inherits from this worker.
        self._challenger.hear(now)
