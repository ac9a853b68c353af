"""What a scene is: a service, those who use it, those who attack it. Written as TOML, validated as the config is.

All times are seconds of the story, which begins at 0; before that lies `calm`, in which the service has ordinary
traffic and Shield learns what is usual.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import ConfigDict
from typing_extensions import Doc

from shield.config.places import places
from shield.config.validation import STRICT, Mistake, mistake, validate
from shield.simulate.addresses import blocks

FOLDER: Final = Path(__file__).parent / "scenes"
MAX_FILE_BYTES: Final = 1 << 20
ALWAYS: Final = 1e9
"""Seconds. Longer than any scene."""
MOST_REQUESTS: Final = 1e8
"""That a scene may ask for; more would be played for half an hour and longer."""

Kind = Literal["people", "programs", "attackers"]

KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "people": {
        "retries": 2,
        "patience": 30.0,
        "waits": 120.0,
        "hash_rate": 4e6,
        "agents": 30,
        "agent": "Browser",
        "language": "en",
    },
    "programs": {"retries": 3, "patience": 60.0, "waits": 120.0, "agent": "Program"},
    "attackers": {"agent": "Bot"},
}
"""What is usual for each kind, where a scene does not say."""


@dataclass(frozen=True, slots=True)
class Change:
    """From `at` on the service is another one. What is left out stays as it was."""

    at: Annotated[float, Doc("seconds. When.")]
    slots: Annotated[int, Ge(0), Doc("requests. Worked on at once; 0: as before.")] = 0
    slower: Annotated[float, Ge(0), Doc("times. All its times, relative to the start; 0: as before.")] = 0.0
    errors: Annotated[float, Ge(-1), Le(1), Doc("share. Of 503 among its answers; -1: as before.")] = -1.0


@dataclass(frozen=True, slots=True)
class Thrash:
    """A service that does less when more is asked of it: each request takes (n / beyond)^power times as long."""

    beyond: Annotated[int, Ge(0), Doc("requests. Inside it, that it bears; 0: it does not thrash.")] = 0
    power: Annotated[float, Gt(0), Doc("exponent. Above 1 it gets less done in all.")] = 1.5


@dataclass(frozen=True, slots=True)
class RouteModel:
    """One route of the service."""

    time: Annotated[float, Gt(0), Doc("seconds. Mean time of a request, when a slot is free for it.")]
    variation: Annotated[float, Ge(0), Doc("Standard deviation of that over its mean.")] = 0.5
    errors: Annotated[float, Ge(0), Le(1), Doc("share. Of `status` among its answers.")] = 0.0
    status: Annotated[int, Ge(100), Le(599), Doc("status. What an error of this route is.")] = 503


@dataclass(frozen=True, slots=True)
class Service:
    """The model: so many slots, a queue in front of them, log-normal times."""

    slots: Annotated[int, Ge(1), Doc("requests. Worked on at once; further ones wait inside it, in order.")] = 16
    time: Annotated[float, Gt(0), Doc("seconds. Mean time of a request, when a slot is free for it.")] = 0.02
    variation: Annotated[float, Ge(0), Doc("Standard deviation of that over its mean; 0: always the same.")] = 0.5
    backlog: Annotated[int, Ge(0), Doc("requests. That wait inside it; to further ones it answers 503.")] = 2048
    errors: Annotated[float, Ge(0), Le(1), Doc("share. Of 503 among its answers.")] = 0.0
    thrash: Annotated[Thrash, Doc("Whether too many at once slow it down.")] = Thrash()
    routes: Annotated[dict[str, RouteModel], Doc("Routes that differ, by the path as populations ask for it.")] = field(
        default_factory=dict
    )
    changes: Annotated[tuple[Change, ...], Doc("What becomes of it.")] = ()


@dataclass(frozen=True, slots=True)
class Costs:
    """What Shield itself costs: seconds of its one core. 0 everywhere: nothing."""

    forward: Annotated[float, Ge(0), Doc("seconds. A request that is forwarded, with its answer.")] = 35e-6
    refuse: Annotated[float, Ge(0), Doc("seconds. One that is refused.")] = 15e-6
    challenge: Annotated[float, Ge(0), Doc("seconds. One that is challenged.")] = 25e-6
    answer: Annotated[float, Ge(0), Doc("seconds. The answer to a challenge, without the hashes.")] = 40e-6
    hash_: Annotated[float, Ge(0), Doc("seconds. A hash, to check an answer.")] = 1e-6
    backlog: Annotated[
        float,
        Gt(0),
        Doc("seconds. Of work that may lie before it; what comes then is lost, as from a full backlog."),
    ] = 2.0


@dataclass(frozen=True, slots=True)
class Past:
    """What a population did before the scene, that Shield remembers."""

    windows: Annotated[int, Ge(0), Doc("windows. In which each was seen; 0: nobody was ever here.")] = 0
    units: Annotated[
        float, Ge(0), Doc("units. Served to each before, about: from a quarter of it to four times as much.")
    ] = 100.0
    days: Annotated[float, Gt(1), Doc("days. Since the first visit.")] = 14.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """On and off in turn, beginning with on."""

    on: Annotated[float, Ge(0), Doc("seconds. On; 0: always on.")] = 0.0
    off: Annotated[float, Ge(0), Doc("seconds. Off.")] = 0.0


@dataclass(frozen=True, slots=True)
class Population:
    """Some who are alike: how many, where, how often they ask for what, and what they do with the answers."""

    kind: Annotated[Kind, Doc("What is usual for them: see KINDS.")]
    rate: Annotated[float, Gt(0), Doc("visits/s. Of all of them together; a visit is a page, or one request.")]
    members: Annotated[int, Ge(1), Doc("How many there are.")] = 1000
    fresh: Annotated[bool, Doc("Each visit is by the next of them, who has not been here before.")] = False

    # when
    from_: Annotated[float, Doc("seconds. From when on; else from the beginning of the calm.")] = -ALWAYS
    until: Annotated[float, Doc("seconds. Until when; else until the end.")] = ALWAYS
    ramp: Annotated[float, Ge(0), Doc("seconds. In which the rate rises from nothing to `rate`.")] = 0.0
    growth: Annotated[float, Gt(-1), Doc("share. By which the rate grows each minute, from `from` or 0 on.")] = 0.0
    pulse: Annotated[Pulse, Doc("On and off in turn.")] = Pulse()

    # where
    networks: Annotated[int, Ge(0), Doc("networks. They live in; 0: each in one of their own.")] = 0
    beside: Annotated[str, Doc("population. In whose networks they live, at addresses of their own.")] = ""
    behind: Annotated[str, Doc("population. Whose addresses they share.")] = ""
    per_address: Annotated[int, Ge(1), Doc("How many share an address.")] = 1
    ip: Annotated[Literal[4, 6], Doc("IPv4, or IPv6 with a /64 as the address and a /48 as the network.")] = 4

    # who
    agent: Annotated[str, Doc("text. What their User-Agents begin with.")] = ""
    agents: Annotated[int, Ge(0), Doc("How many User-Agents they have; 0: each one of its own.")] = 1
    language: Annotated[str, Doc("text. Accept-Language.")] = ""
    headers: Annotated[dict[str, str], Doc("Further request fields, as far as Shield reads them.")] = field(
        default_factory=dict
    )
    past: Annotated[Past, Doc("What Shield remembers of them.")] = Past()
    passes: Annotated[
        Literal["none", "earned", "shared", "forged"],
        Doc("earned: each has one since the past. shared: all use that of the first, who alone has a past. forged."),
    ] = "none"

    # what
    paths: Annotated[
        dict[str, float], MinLen(1), Doc("weights by path. In a path, * is replaced by a number each time.")
    ] = field(default_factory=lambda: {"/": 1.0})
    method: Annotated[str, Doc("method.")] = "GET"
    parts: Annotated[int, Ge(0), Doc("requests. That follow when the page is there: styles, pictures.")] = 0
    part_path: Annotated[str, Doc("path. Of those; * as in `paths`.")] = "/part/*"
    connections: Annotated[int, Ge(1), Doc("requests. For parts, at the same time.")] = 6

    # what they make of a refusal
    retries: Annotated[int, Ge(0), Doc("How often they try again, when they are told to.")] = 0
    patience: Annotated[float, Gt(0), Doc("seconds. From asking to having it; later is of no use to them.")] = 30.0
    waits: Annotated[
        float,
        Gt(0),
        Doc("seconds. The same when there is a challenge to solve, and a waiting room behind it."),
    ] = 600.0
    leaves: Annotated[float, Ge(0), Doc("seconds. After which they close the connection; 0: they do not.")] = 0.0
    hash_rate: Annotated[float, Ge(0), Doc("hashes/s. Of each of them; 0: challenges are ignored.")] = 0.0
    one_solver: Annotated[bool, Doc("One machine of `hash_rate` solves for all of them.")] = False
    answers: Annotated[
        Literal["right", "almost", "wrong", "forged", "replayed"],
        Doc("To challenges. almost: all but the last part is right; the further ones cost them no hashes."),
    ] = "right"
    pass_rate: Annotated[
        float, Ge(0), Doc("requests/s. Each who has bought a pass makes by itself; 0: only visits as before.")
    ] = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """The whole."""

    title: Annotated[str, Doc("text. One line.")]
    seconds: Annotated[float, Gt(0), Le(86_400), Doc("seconds. How long the story is.")]
    populations: Annotated[dict[str, Population], MinLen(1), Doc("Who asks, by name.")]
    about: Annotated[str, Doc("text. What it is to show.")] = ""
    calm: Annotated[float, Ge(0), Le(86_400), Doc("seconds. Of ordinary traffic before the story begins.")] = 120.0
    service: Annotated[Service, Doc("What is shielded.")] = Service()
    costs: Annotated[Costs, Doc("What Shield itself costs.")] = Costs()
    config: Annotated[
        dict[str, Any], Doc("Shield's config for this scene, in the words of config.toml; --config replaces it.")
    ] = field(default_factory=dict)

    __pydantic_config__: ClassVar[ConfigDict] = STRICT


class SceneError(Exception):
    """The scene cannot be used. str() names every mistake."""

    def __init__(self, name: str, mistakes: list[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{name}: {item}" for item in mistakes))


def names() -> list[str]:
    """The scenes that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Scene:
    """A scene that ships, by its name, or one in a file. Raises SceneError."""
    path = FOLDER / f"{name}.toml"
    if name not in names():
        path = Path(name)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(names())
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SceneError(name, [Mistake((), 0, "", f"cannot be read: {why}; scenes that ship: {known}")]) from error
    return parse(text, name)


def parse(text: str, name: str = "scene") -> Scene:
    """A scene from a TOML document. Raises SceneError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SceneError(name, [Mistake((), 0, "", f"not TOML: {error}")]) from error
    lines = places(text)
    scene, mistakes = validate(Scene, _as_usual(data), lines)
    if scene is not None:
        mistakes += [mistake(data, lines, path, why) for path, why in _cross_checks(scene)]
    if scene is None or mistakes:
        raise SceneError(name, mistakes)
    return scene


def _as_usual(data: dict[str, Any]) -> dict[str, Any]:
    """The document with what is usual for each kind filled in."""
    populations = data.get("populations")
    if not isinstance(populations, dict):
        return data
    filled = {
        name: {**KINDS.get(str(table.get("kind")), {}), **table} if isinstance(table, dict) else table
        for name, table in populations.items()
    }
    return {**data, "populations": filled}


def _cross_checks(scene: Scene) -> list[tuple[tuple[str | int, ...], str]]:
    """What no single value shows: names of populations, and rooms that are too small."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    for name, population in scene.populations.items():
        at = ("populations", name)
        earlier = list(scene.populations)[: list(scene.populations).index(name)]
        for key in ("beside", "behind"):
            other = getattr(population, key)
            if other and other not in earlier:
                found.append(((*at, key), "must name a population that stands further up"))
        if population.beside and population.behind:
            found.append(((*at, "behind"), "either beside or behind, not both"))
        if population.until <= population.from_:
            found.append(((*at, "until"), "must be after `from`"))
        if population.from_ >= scene.seconds:
            found.append(((*at, "from"), f"must be within the scene, which ends after {scene.seconds:g} s"))
        if population.passes in ("earned", "shared") and not population.past.windows:
            found.append(((*at, "passes"), "needs past.windows of at least 1: passes come from the past"))
        if bool(population.pulse.on) != bool(population.pulse.off):
            found.append(((*at, "pulse"), "needs both on and off"))
        if population.from_ < population.until and (asked := _requests(population, scene)) > MOST_REQUESTS:
            why = f"asks for {asked:.1e} requests in the scene; allowed: {MOST_REQUESTS:.0e}"
            found.append(((*at, "rate"), why))
        if not any(weight > 0 for weight in population.paths.values()) or min(population.paths.values()) < 0:
            found.append(((*at, "paths"), "weights must not be negative, nor all zero"))
    asked_for = {path for one in scene.populations.values() for path in (*one.paths, one.part_path)}
    found += [
        (("service", "routes", path), "no population asks for this path")
        for path in scene.service.routes
        if path not in asked_for
    ]
    for i, change in enumerate(scene.service.changes):
        if change == Change(change.at):
            found.append((("service", "changes", i), "changes nothing: set slots, slower or errors"))
        if change.at >= scene.seconds:
            why = f"must be within the scene, which ends after {scene.seconds:g} s"
            found.append((("service", "changes", i, "at"), why))
    if not found:
        try:
            blocks(scene.populations)
        except ValueError as error:
            why, name = error.args
            found.append((("populations", name), why))
    return found


def _requests(population: Population, scene: Scene) -> float:
    """How many a population asks for, tries again and ramps aside."""
    begins = max(population.from_, -scene.calm)
    seconds = min(population.until, scene.seconds) - begins
    grows = math.log1p(population.growth) / 60.0
    since = 0.0 if population.from_ > -ALWAYS else min(begins, 0.0)  # growth begins with `from`, or the story
    try:
        grown = math.expm1(grows * (since + seconds)) / grows if grows else since + seconds
    except OverflowError:
        return math.inf
    pulse = population.pulse
    share = pulse.on / (pulse.on + pulse.off) if pulse.on else 1.0
    return population.rate * (grown - since) * share * (1 + population.parts)
