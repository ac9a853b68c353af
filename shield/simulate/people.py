"""Members of a population, what each of them wants, and the crowd that they are while a scene runs."""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from math import inf
from random import Random
from typing import TYPE_CHECKING, Final

from shield.simulate.population import ALWAYS, Population
from shield.simulate.result import Tally

if TYPE_CHECKING:
    from shield.policy.engine import Engine
    from shield.policy.entries import Pass
    from shield.policy.identity import Client
    from shield.policy.request import Request
    from shield.simulate.addresses import Block
    from shield.simulate.origin import Origin, Times

BEGINS: Final = 10_000_000.0
"""The engine's clock when the story begins: far from 0, and with room for the past."""
MOST_WAITING: Final = 32
"""Wants of one member that wait for its pass."""
ROUND_TRIP: Final = 0.1  # seconds, to fetch a challenge's script, or a page anew
AGAIN: Final = (1.0, 3.0)  # seconds, within which one tries again that got an error


class Member:
    """One member of a crowd: a person, a program, a host."""

    __slots__ = (
        "armed",
        "client",
        "crowd",
        "failing_since",
        "served_at",
        "shown_pass",
        "solving",
        "ticket",
        "waiting",
        "waits_for",
        "waits_until",
    )

    def __init__(self, crowd: Crowd, client: Client, shown_pass: Pass | None) -> None:
        self.crowd = crowd
        self.client = client
        self.shown_pass = shown_pass
        self.solving = False  # a challenge, or in the waiting room
        self.armed = False  # asks by itself at `pass_rate`
        self.waiting: list[Want] = []  # for the pass
        self.ticket = ""  # of one that waits instead of solving
        self.waits_for: Want | None = None
        self.waits_until = -inf
        self.served_at = -inf  # when it last got something
        self.failing_since = inf  # when it asked for the first thing since that it did not get

    @property
    def is_stranger(self) -> bool:
        """Whether it has neither a pass nor a history."""
        record = self.client.entry.record
        return self.shown_pass is None and (record is None or not record.live)

    def begin_to_solve(self, want: Want) -> None:
        """Set to work on a challenge, for the sake of `want`."""
        self.solving = True
        self.waiting.append(want)

    def stop_solving(self) -> list[Want]:
        """It has a pass, or gave up: what has waited for that."""
        self.solving = False
        waiting, self.waiting = self.waiting, []
        return waiting

    def served(self, now: float) -> float:
        """It got something; for how long it had got nothing before, in seconds."""
        locked_out = self.locked_out(now)
        self.failing_since = inf
        self.served_at = now
        return locked_out

    def failed(self, asked_at: float) -> None:
        """It did not get what it asked for then."""
        self.failing_since = min(self.failing_since, max(asked_at, self.served_at))

    def locked_out(self, now: float) -> float:
        """Seconds for which it has asked and got nothing."""
        return now - self.failing_since if self.failing_since < inf else 0.0

    def gave_up(self, now: float) -> bool:
        """Whether nothing that it wants is of use any more."""
        waiting = self.waiting
        return bool(waiting) and all(now - want.asked_at > want.patience for want in waiting)


PAGE: Final = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
PART: Final = {"Accept": "image/*", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


class Page:
    """A page that has come: how many of its parts are `left` to be asked for, and how many are `missing` yet."""

    __slots__ = ("asked_at", "left", "missing")

    def __init__(self, parts: int, asked_at: float) -> None:
        self.left = parts
        self.missing = parts
        self.asked_at = asked_at


class Want:
    """Something that a member wants, with all its tries. `page` is that of a part, None for a visit."""

    __slots__ = (
        "asked_at",
        "challenged",
        "member",
        "page",
        "path",
        "patience",
        "request",
        "sent_at",
        "times",
        "tries",
    )

    def __init__(self, member: Member, path: str, times: Times, page: Page | None, now: float) -> None:
        self.member = member
        self.path = path
        self.times = times
        self.page = page
        self.asked_at = now
        self.sent_at = 0.0
        self.tries = 0
        self.patience = member.crowd.model.patience  # seconds; longer once it was challenged
        self.challenged = False
        self.request: Request | None = None  # the one under way, of those who may leave


class Path:
    """A path that a population asks for."""

    __slots__ = ("head", "tail", "times")

    def __init__(self, text: str, times: Times) -> None:
        self.head, star, self.tail = text.partition("*")
        self.times = times
        if not star:
            self.tail = "\0"  # there is nothing to fill in

    def text(self, random: Random) -> str:
        """One of its forms."""
        if self.tail == "\0":
            return self.head
        return f"{self.head}{int(random.random() * 1e9)}{self.tail}"


class Crowd:
    """A population while a scene runs: its members as far as they came, its dice, and what it got.

    It has more than 15 attributes because what each visit needs is computed once.
    """

    def __init__(
        self, name: str, population: Population, block: Block, origin: Origin, tally: Tally, begins: float, seed: str
    ) -> None:
        self.name = name
        self.model = population
        self.block = block
        self.random = Random(seed)
        self.tally = tally
        self.begins = begins  # the story, on the engine's clock
        self.headers = {
            "Host": "example.org",
            **({"Accept-Language": population.language} if population.language else {}),
            **population.headers,
        }
        self.part_headers = {**self.headers, **PART} if population.browser else self.headers
        if population.browser:
            self.headers.update(PAGE)
        self.paths = [Path(text, origin.times(text)) for text in population.paths]
        self.part = Path(population.part_path, origin.times(population.part_path))
        self.weights = list(accumulate(population.paths.values()))
        self.members: dict[int, Member] = {}  # not of `fresh` ones: those are forgotten when they have gone
        self.tokens: dict[int, str] = {}  # passes from the past
        self.solver_free = 0.0  # when the one solver is
        self.spent = ""  # a challenge that was answered
        self.even = not (population.ramp or population.growth or population.pulse.on)  # always the same rate
        self.ends = begins + population.until
        self._next = 0

    def start(self, now: float) -> float:
        """When the first visit is."""
        return self.after(max(now, self.begins + self.model.from_))

    def after(self, now: float) -> float:
        """When the next visit after `now` is; infinity when there is none. A Poisson process, thinned."""
        model = self.model
        end = self.ends
        peak = model.rate
        if self.even:
            now += self.random.expovariate(peak)
            return now if now < end else inf
        while now < end:
            if model.growth:
                peak = max(self._rate(now), self._rate(now + 60.0))
            on = self._on_again(now)
            if on > now:
                now = on
                continue
            step = self.random.expovariate(peak)
            if model.growth and step > 60.0:  # the peak was that of a minute
                now += 60.0
                continue
            now += step
            if now < end and self._on_again(now) == now:
                rate = self._rate(now)
                if rate >= peak or self.random.random() * peak < rate:
                    return now
        return inf

    def _rate(self, now: float) -> float:
        """Visits/s, pulses aside."""
        model = self.model
        since = now - self.begins - (model.from_ if model.from_ > -ALWAYS else 0.0)
        rate = model.rate
        if model.ramp and since < model.ramp:
            rate *= max(since, 0.0) / model.ramp
        if model.growth and since > 0.0:
            rate *= (1.0 + model.growth) ** (since / 60.0)
        return rate

    def _on_again(self, now: float) -> float:
        """`now` in the on phase of a pulse, else the beginning of the next one."""
        pulse = self.model.pulse
        if not pulse.on:
            return now
        begin = self.begins + (self.model.from_ if self.model.from_ > -ALWAYS else 0.0)
        cycle = pulse.on + pulse.off
        into = (now - begin) % cycle
        return now if into < pulse.on else now - into + cycle

    def pick(self) -> int:
        """The number of the member whose visit it is."""
        if self.model.fresh:
            self._next += 1
            return (self._next - 1) % self.model.members
        return int(self.random.random() * self.model.members)

    def agent(self, member: int) -> str:
        """A member's User-Agent."""
        model = self.model
        return f"{model.agent}/{member % model.agents if model.agents else member}"

    def identify(self, engine: Engine, member: int, now: float) -> Client:
        """An engine's handle on a member."""
        return engine.identify(self.block.address(member), self.agent(member), self.model.language, "", now)

    def path(self) -> Path:
        """The path that a visit asks for."""
        if len(self.paths) == 1:
            return self.paths[0]
        return self.paths[bisect(self.weights, self.random.random() * self.weights[-1])]

    def solving_time(self, k: int, expected: int) -> float:
        """Seconds that one takes for k sub-puzzles: the sum of k exponential times (Erlang's distribution)."""
        return self.random.gammavariate(k, expected / k / self.model.hash_rate)
