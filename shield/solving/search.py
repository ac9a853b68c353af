"""Finds the nonces of a challenge, in as many processes as there are cores; blocks until they are found.

One process holds Python's lock while it hashes, so a search on a thread would slow everything else in the program. The
processes are plain ones with pipes, not multiprocessing's: these import the program's main module again, which a script
without a guard does not survive. Where no process can be started (a frozen program, no more processes allowed), or the
search is too short to be worth one, it goes on here, in slices.

All of it ends within a slice when `stop` is set or the time is over, and nothing is left running.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shield.solving import hand
from shield.solving.challenge import Budget, Challenge, StoppedError, TooExpensiveError

SLICE_SECONDS: Final = 0.1
"""Of work in one job: short enough to share the last sub-puzzles, long enough that the pipes cost nothing."""
FIRST_JOB: Final = 20_000
"""Hashes in a first job, before the speed is known."""
HERE_JOB: Final = 4_000
"""Hashes at a time where the search goes on in this process: 2 ms, after which others get a turn."""
FEW_HASHES: Final = 1 << 17
"""Below so many it takes less time here than it takes to start processes."""
MOST_PROCESSES: Final = 64
JUDGED_AFTER: Final = 0.3
"""Seconds after which the speed is known well enough to say whether the budget is enough."""
HOPELESS: Final = 2.0
"""Times the budget, above which the search is given up at once: with 16 sub-puzzles none ends so early."""
LOOK_SECONDS: Final = 0.05
"""How often it is looked whether to stop."""
START_SECONDS: Final = 10.0
"""Within which a process has said that it is ready, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a search is. `left` is the seconds that it will take on, as expected; the search has no memory."""

    solved: int
    k: int
    hashes: int
    seconds: float
    left: float


Tell = Callable[[Progress], None]


def solve(
    challenge: Challenge, budget: Budget, stop: threading.Event | None = None, tell: Tell | None = None
) -> list[int]:
    """The nonces of a challenge. TooExpensiveError, and StoppedError once `stop` is set."""
    budget.check(challenge)
    search = _Search(challenge, budget, stop or threading.Event(), tell)
    hands = [] if challenge.hashes <= FEW_HASHES else _start(challenge, budget)
    try:
        if hands:
            search.by(hands)
        if search.unsolved:
            search.here()
        return search.nonces
    finally:
        for each in hands:
            each.end()


class _Hand:
    """A process that searches."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", hand.__file__]
        self._process = subprocess.Popen(  # noqa: S603 - this Python, and a file of ours
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert self._process.stdin is not None  # noqa: S101 - as asked above
        assert self._process.stdout is not None  # noqa: S101
        self._in, self.out = self._process.stdin, self._process.stdout
        self._read = b""
        self.part = self.start = self.count = 0
        self.since = 0.0
        self.speed = 0.0  # hashes a second, once it is known

    def begin(self, challenge: Challenge) -> bool:
        """Whether it is ready, and has taken the challenge."""
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            selector.register(self.out, selectors.EVENT_READ)
            end = time.monotonic() + START_SECONDS
            while time.monotonic() < end and selector.select(end - time.monotonic()):
                line = self.line()
                if line is not None:
                    self._in.write(f"{challenge.token} {challenge.target:016x}\n".encode())
                    return line == b"ready"
        return False

    def give(self, part: int, start: int) -> int:
        """Give it a job; how many nonces."""
        self.part, self.start, self.since = part, start, time.monotonic()
        self.count = max(1000, int(self.speed * SLICE_SECONDS)) if self.speed else FIRST_JOB
        self._in.write(b"%d %d %d\n" % (part, start, self.count))
        return self.count

    def line(self) -> bytes | None:
        """A line, when a whole one is there; b"" at the end."""
        data = os.read(self.out.fileno(), 64)
        self._read += data
        line, newline, rest = self._read.partition(b"\n")
        if newline:
            self._read = rest
            return line
        return None if data else b""

    def end(self) -> None:
        """Be gone."""
        self._process.kill()
        self._in.close()
        self.out.close()
        self._process.wait()


def _start(challenge: Challenge, budget: Budget) -> list[_Hand]:
    """Processes that are ready; none where none can be had."""
    if getattr(sys, "frozen", False) or not sys.executable or not Path(hand.__file__).is_file():
        return []  # what sys.executable names is no Python
    started: list[_Hand] = []
    with contextlib.suppress(OSError):
        for _ in range(min(budget.processes or _cores(), MOST_PROCESSES, challenge.k)):
            started.append(_Hand())  # noqa: PERF401 - those before one that cannot be started are kept
    ready = [each for each in started if each.begin(challenge)]
    for each in started:
        if each not in ready:
            each.end()
    return ready


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Search:
    """What is found, and what is left."""

    def __init__(self, challenge: Challenge, budget: Budget, stop: threading.Event, tell: Tell | None) -> None:
        self._challenge = challenge
        self._seconds = budget.seconds
        self._stop = stop
        self._tell = tell
        self.nonces = [-1] * challenge.k
        self.unsolved = set(range(challenge.k))
        self._next = [0] * challenge.k  # the first nonce that nobody has been given
        self._hands = [0] * challenge.k  # how many search in it
        self._hashes = 0
        self._started = time.monotonic()
        self._judged = False

    def by(self, hands: list[_Hand]) -> None:
        """Have these search. When all of them have died, some is left unsolved."""
        with selectors.DefaultSelector() as selector:
            for each in hands:
                selector.register(each.out, selectors.EVENT_READ, each)
                self._assign(each)
            while self.unsolved and selector.get_map():
                for key, _ in selector.select(LOOK_SECONDS):
                    if not self._heard(key.data):
                        selector.unregister(key.data.out)
                self._look()

    def here(self) -> None:
        """Search in this process."""
        challenge, target = self._challenge, self._challenge.target.to_bytes(8, "big")
        while self.unsolved:
            part = min(self.unsolved)
            nonce = hand.search(challenge.token, part, self._next[part], HERE_JOB, target)
            self._found(part, nonce, self._next[part], HERE_JOB)
            self._next[part] += HERE_JOB
            self._look()
            time.sleep(0)

    def _assign(self, to: _Hand) -> None:
        """The unsolved part with the fewest hands: near the end several share one, on different nonces."""
        part = min(self.unsolved, key=lambda each: (self._hands[each], each))
        self._hands[part] += 1
        with contextlib.suppress(OSError):  # it has died, which its end of file says
            self._next[part] += to.give(part, self._next[part])

    def _heard(self, each: _Hand) -> bool:
        """Take what a hand says, and give it more; False when it has died, with its job undone."""
        line = each.line()
        if line is None:
            return True
        if not line:
            self._hands[each.part] -= 1
            self._next[each.part] = min(self._next[each.part], each.start)
            return False
        nonce, took = int(line), time.monotonic() - each.since
        self._hands[each.part] -= 1
        done = self._found(each.part, nonce, each.start, each.count)
        if done > 500:  # a find right at the start says nothing of the speed
            each.speed = done / max(took, 0.001)
        if self.unsolved:
            self._assign(each)
        return True

    def _found(self, part: int, nonce: int, start: int, count: int) -> int:
        done = count if nonce < 0 else nonce - start + 1
        self._hashes += done
        if nonce >= 0 and part in self.unsolved:
            self.unsolved.discard(part)
            self.nonces[part] = nonce
        return done

    def _look(self) -> None:
        """Tell how far it is, and stop where that is wanted."""
        seconds = time.monotonic() - self._started
        speed = self._hashes / max(seconds, 0.001)
        left = len(self.unsolved) * 2.0**64 / self._challenge.target / max(speed, 1.0)
        if self._tell is not None:
            self._tell(Progress(self._challenge.k - len(self.unsolved), self._challenge.k, self._hashes, seconds, left))
        if not self.unsolved:
            return
        if self._stop.is_set():
            raise StoppedError("stopped")
        if seconds > self._seconds:
            raise TooExpensiveError(f"not solved within {self._seconds:g} s; it would take some {left:.0f} s more")
        if seconds > JUDGED_AFTER and not self._judged:
            self._judged = True
            if left > HOPELESS * self._seconds:
                raise TooExpensiveError(
                    f"the challenge would take some {left:.0f} s here ({speed / 1e6:.1f} million hashes a second), and "
                    f"the budget is {self._seconds:g} s"
                )
