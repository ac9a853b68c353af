"""The attacks that are replayed on loopback: who comes when, and what they do.

Times count in seconds from the onset. A scene is made for a size: `seconds` of attack and `rate` requests/s in all.

Some attacks are floods, which the service could not carry. Others are cheap: they hold what others need, make the proxy
work, or have somebody else punished. Nothing of these is to be noticed. So in their scenes people click in calm weather
exactly as they do under attack, newcomers too, and what the proxy takes of its core and of memory is compared as well
(`Scene.cheap`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.load import hellos
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
FEW_NEWCOMERS: Final = 10  # where the service has room for all
DOWNLOAD_EVERY: Final = 8.0  # seconds between two downloads of one newcomer, on average
LINE: Final = 800_000.0  # bytes/s of a newcomer's line
LOOKS_EVERY: Final = 3.0  # seconds between two looks at a page elsewhere, of each visitor
PARTS: Final = 15_000  # of a cookie
COOKIES: Final = 270.0  # requests/s that bring one
LIGHT: Final = "/light"  # a route of its own; the service can carry what is asked
BANNED: Final = "127.99.0.1"
TO_BAN: Final = 2.0  # seconds that it takes


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
    """`lasts` and `visits` in seconds; `number` is the simulated scene that it replays. `file` is what newcomers
    download."""

    title: str
    says: str
    number: int | None
    waves: Callable[[Size], list[Wave]]
    lasts: Callable[[Size], float] = lambda size: size.seconds
    visits: Callable[[Size], float] = lambda size: 4 * size.window
    shared: int = 0
    newcomers: int = 0
    file: str = ""
    cheap: bool = False
    http2: bool = False  # the attack speaks HTTP/2 without TLS, beside users of HTTP/1.1 on the same port: Shield only


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


def uploads(size: Size) -> list[Wave]:
    half = size.seconds / 2
    return [
        Wave("upload", 0.0, half, 5, connections=25, pace=17_500.0),
        Wave("upload", half, half, 10, first=100, connections=60, pace=20_000.0),
    ]


def wrong_protocol(size: Size) -> list[Wave]:
    users = dict.fromkeys(address for address, _, _ in crowd(size.users))
    visitors = [*users, *(newcomer(index) for index in range(FEW_NEWCOMERS))]
    rate = hellos.PICTURES * len(visitors) / LOOKS_EVERY
    return [Wave("pictures", 0.0, size.seconds, len(visitors), rate, addresses=visitors)]


def cookies(size: Size) -> list[Wave]:
    half = size.seconds / 2
    return [
        Wave("get", 0.0, half, 30, COOKIES, cookie=PARTS, paths=(LIGHT,)),
        Wave("broken", half - TO_BAN, TO_BAN, 1, 30.0, keep=0.0, address=BANNED),
        Wave("get", half, half, 1, COOKIES, cookie=PARTS, paths=(LIGHT,), address=BANNED),
    ]


def readers(size: Size) -> list[Wave]:
    return [Wave("reader", 0.0, size.seconds, 1, connections=20, pace=600.0)]


def unread(size: Size) -> list[Wave]:
    return [Wave("unread", 0.0, size.seconds, 30, connections=1500, opens=150.0)]


def slow_answers(size: Size) -> list[Wave]:
    return [Wave("waiter", 0.0, size.seconds, 4, connections=40)]


def resets(size: Size) -> list[Wave]:
    half = size.seconds / 2
    return [
        Wave("h2-resets", 0.0, half, 50, connections=50, pace=40_000.0),
        Wave("h2-provoked", half, half, 50, first=100, connections=50, pace=40_000.0),
    ]


def frames(size: Size) -> list[Wave]:
    return [
        Wave("h2-continuation", 0.0, size.seconds, 25, connections=50, pace=20_000.0),
        Wave("h2-window", 0.0, size.seconds, 25, first=100, connections=50),
    ]


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
    "uploads": Scene(
        "Uploads that hold slots",
        "25 uploads of 1 GB from 5 addresses at 17.5 kB/s each, then 60 from 10 at 20 kB/s",
        None,
        uploads,
        newcomers=FEW_NEWCOMERS,
        cheap=True,
    ),
    "wrong-protocol": Scene(
        "Pictures from the wrong port",
        f"a page elsewhere has every user and newcomer send {hellos.PICTURES} ClientHellos to the plain port, every "
        f"{LOOKS_EVERY:g} s",
        None,
        wrong_protocol,
        newcomers=FEW_NEWCOMERS,
        cheap=True,
    ),
    "cookies": Scene(
        "Cookies of 15,000 parts",
        f"{COOKIES:g} requests/s bring one, of 30 KB: from 30 addresses that did nothing else, then from one that has "
        "sent 60 programs' broken requests",
        None,
        cookies,
        newcomers=FEW_NEWCOMERS,
        cheap=True,
    ),
    "readers": Scene(
        "Slow readers of one address",
        "20 read a file of 8 MiB at 600 bytes/s, while newcomers download 4 MiB at 0.8 MB/s",
        None,
        readers,
        newcomers=FEW_NEWCOMERS,
        file="/download",
        cheap=True,
    ),
    "unread": Scene(
        "Unread answers",
        "1,500 connections from 30 addresses ask for 136 KiB each, and read nothing: the system takes 46 of them",
        None,
        unread,
        newcomers=FEW_NEWCOMERS,
        cheap=True,
    ),
    "slow-answers": Scene(
        "Answers that the service lets wait",
        "40 connections from 4 addresses ask for what the service answers after 25 s, without any work",
        None,
        slow_answers,
        newcomers=FEW_NEWCOMERS,
        cheap=True,
    ),
    "h2-resets": Scene(
        "Cancelled streams of HTTP/2",
        "50 addresses ask for 9,000 pages a second and cancel each at once; then they have the server cancel them",
        None,
        resets,
        newcomers=FEW_NEWCOMERS,
        cheap=True,
        http2=True,
    ),
    "h2-frames": Scene(
        "Header blocks without end, and windows of zero",
        "25 addresses send CONTINUATION for ever, 1 MB/s in all; 25 ask for 100 articles and let nothing pass",
        None,
        frames,
        newcomers=FEW_NEWCOMERS,
        cheap=True,
        http2=True,
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


def newcomer(index: int) -> str:
    """The address of one."""
    return f"127.3.{index}.1"


def people(scene: Scene, size: Size, times: Timeline) -> list[Person]:
    """The users with all their clicks. The same seed for every contender: all see the same day.

    Where the attack is cheap, the clicks under attack are those of the calm again. The newcomers of both are different
    people, and as many.
    """
    rng = random.Random(11)
    gap = (scene.visits(size) - 0.1 * size.window) / VISITS  # of visits; two windows have to see one each

    def repeated(mean: float) -> list[float]:
        """Seconds from the beginning of calm and of attack."""
        result = [rng.uniform(0, mean)]
        while result[-1] < size.calm:
            result.append(result[-1] + think(rng, mean))
        return result[:-1]

    def under_attack(offsets: list[float]) -> list[float]:
        rounds = math.ceil((times.end - times.attack) / size.calm)
        return [
            click
            for number in range(rounds)
            for offset in offsets
            if (click := times.attack + number * size.calm + offset) < times.end
        ]

    def clicks(mean: float, returning: bool) -> list[float]:
        result = []
        if returning:
            first = times.visits + rng.uniform(0, 0.9 * gap)
            result = [first + visit * gap for visit in range(VISITS)]
        if scene.cheap:
            offsets = repeated(mean)
            return [*result, *(times.calm + offset for offset in offsets), *under_attack(offsets)]
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
    mean = DOWNLOAD_EVERY if scene.file else THINK / 2
    for index in range(scene.newcomers):
        agent, language = AGENTS[index % len(AGENTS)], LANGUAGES[index % len(LANGUAGES)]
        both = clicks(mean, False)
        attacked = [click for click in both if click >= times.attack]
        calm = [click for click in both if click < times.attack]
        for number, when in ((index, attacked), (scene.newcomers + index, calm)):
            who = (newcomer(number), agent, language, when)
            found += [Person(*who, group="newcomer", file=scene.file, pace=LINE)] if when else []
    return found
