"""The attacks that are replayed on loopback: who comes when, and what they do.

Times count in seconds from the onset. A scene is made for a size: `seconds` of attack and `rate` requests/s in all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.load.attackers import Wave
from bench.load.users import AGENTS, LANGUAGES, Person, crowd, think

VISITS: Final = 3  # of each returning user, before
THINK: Final = 6.0  # seconds between two clicks of a user, on average
SHARED: Final = 200  # people behind one address ...
SHARED_ADDRESS: Final = "127.2.255.1"
SHARED_THINK: Final = 40.0  # ... who click less, for all of them together are not to be more than the service can do
SHARED_PARTS: Final = 2
SHARED_VISITS: Final = 36.0  # seconds; one address may load 50 things a second while nobody there holds a pass
NEWCOMERS: Final = 20


@dataclass(frozen=True, slots=True)
class Size:
    """What a run is made with. `window` is that of Shield's history, in seconds."""

    seconds: float
    calm: float
    users: int
    rate: float
    window: float


@dataclass(frozen=True, slots=True)
class Scene:
    """`lasts` and `visits` in seconds; `number` is the simulated scene that it replays."""

    title: str
    says: str
    number: int | None
    waves: Callable[[Size], list[Wave]]
    lasts: Callable[[Size], float] = lambda size: size.seconds
    visits: Callable[[Size], float] = lambda size: 4 * size.window
    shared: int = 0
    newcomers: int = 0


def overload(size: Size) -> list[Wave]:
    return [Wave("get", 0.0, size.seconds, 20, size.rate)]


def many(size: Size) -> list[Wave]:
    return [Wave("get", 0.0, size.seconds, int(30 * size.rate), size.rate, keep=0.0)]


def pulse(size: Size) -> float:
    return size.seconds / 3


def pulses(size: Size) -> list[Wave]:
    on = pulse(size)
    first = [Wave("get", 2 * number * on, on, 500, size.rate) for number in range(3)]
    search = Wave("get", 5 * on + size.seconds, size.seconds, 200, size.rate / 5, first=10_000, paths=("/search",))
    return [*first, search]


def answers(size: Size) -> list[Wave]:
    return [Wave("answers", 0.0, size.seconds, 2000, size.rate, keep=0.25)]


def shared(size: Size) -> list[Wave]:
    abuser = Wave("get", 0.0, size.seconds, 1, size.rate / 20, paths=("/abuse",), address=SHARED_ADDRESS)
    return [*many(size), abuser]


def slow(size: Size) -> list[Wave]:
    return [Wave("slow", 0.0, size.seconds, 50, connections=300)]


SCENES: Final[Mapping[str, Scene]] = {
    "overload": Scene(
        "Overload by users, and a flood",
        f"{NEWCOMERS} people who were never here click every 3 s, and 20 addresses ask for all they can",
        1,
        overload,
        newcomers=NEWCOMERS,
    ),
    "many": Scene(
        "Many addresses",
        "each address asks once in half a minute, over a new connection",
        3,
        many,
    ),
    "pulses": Scene(
        "Pulses, then a different attack",
        "500 addresses ask, pause and ask again, three times; after a rest 200 others ask for the slowest page",
        7,
        pulses,
        lasts=lambda size: 5 * pulse(size) + 2 * size.seconds,
    ),
    "answers": Scene(
        "Wrong answers to challenges",
        "2,000 addresses send forged, broken and wrong answers as fast as requests for pages in other scenes",
        12,
        answers,
    ),
    "shared": Scene(
        f"{SHARED} users behind one address",
        f"beside the usual users, {SHARED} share an address with one that floods, during the scene of many addresses",
        13,
        shared,
        visits=lambda size: max(SHARED_VISITS, 4 * size.window),
        shared=SHARED,
    ),
    "slow": Scene(
        "Slow heads, bodies and readers",
        "300 connections from 50 addresses give or take a little each second",
        None,
        slow,
    ),
}
"""By the name that `--scenes` takes."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Monotonic seconds at which the phases begin, and the end."""

    visits: float
    calm: float
    attack: float
    end: float


def timeline(scene: Scene, size: Size, begin: float) -> Timeline:
    calm = begin + scene.visits(size) + 2
    return Timeline(begin, calm, calm + size.calm, calm + size.calm + scene.lasts(size))


def people(scene: Scene, size: Size, times: Timeline) -> list[Person]:
    """The users with all their clicks. The same seed for every contender: all see the same day."""
    rng = random.Random(11)
    gap = (scene.visits(size) - 0.1 * size.window) / VISITS  # of visits; two windows have to see one each

    def clicks(mean: float, returning: bool) -> list[float]:
        result = []
        if returning:
            first = times.visits + rng.uniform(0, 0.9 * gap)
            result = [first + visit * gap for visit in range(VISITS)]
        click = (times.calm if returning else times.attack) + rng.uniform(0, mean)
        while click < times.end:
            result.append(click)
            click += think(rng, mean)
        return result

    found = [Person(*who, clicks(THINK, True)) for who in crowd(size.users)]
    for index in range(scene.shared):
        # Two dozen versions of programs: more than Shield tells apart behind one address.
        agent = AGENTS[index % len(AGENTS)].replace("0.0", f"0.{index % 7}")
        who = (SHARED_ADDRESS, agent, LANGUAGES[index % len(LANGUAGES)])
        found.append(Person(*who, clicks(SHARED_THINK, True), SHARED_PARTS, "shared"))
    for index in range(scene.newcomers):
        who = (f"127.3.{index}.1", AGENTS[index % len(AGENTS)], LANGUAGES[index % len(LANGUAGES)])
        found.append(Person(*who, clicks(THINK / 2, False), group="newcomer"))
    return found
