"""A scene: a service, those who use it, those who attack it. It is written as TOML and validated as the config is.

All times are seconds of the story, which begins at 0; before that lies `calm`, in which the service has ordinary
traffic and Shield learns what is usual.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import ConfigDict
from typing_extensions import Doc

from shield.config.key_lines import key_lines
from shield.config.validation import STRICT, Mistake, mistake, validate
from shield.errors import MistakesError
from shield.simulate.addresses import blocks
from shield.simulate.population import USUAL, Population

FOLDER: Final = Path(__file__).parent / "scenes"
MAX_FILE_BYTES: Final = 1 << 20
MOST_REQUESTS: Final = 1e8
"""That a scene may ask for; more would be played for half an hour and longer."""


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
    waits: Annotated[
        bool, Doc("The service only waits, as for a long poll: it takes none of its slots, and nothing slows it down.")
    ] = False


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


class SceneError(MistakesError):
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
    lines = key_lines(text)
    scene, mistakes = validate(Scene, _as_usual(data), lines)
    if scene is not None:
        mistakes += [mistake(data, lines, path, why) for path, why in check(scene)]
    if scene is None or mistakes:
        raise SceneError(name, mistakes)
    return scene


def _as_usual(data: dict[str, Any]) -> dict[str, Any]:
    """The document with what is usual for each kind filled in."""
    populations = data.get("populations")
    if not isinstance(populations, dict):
        return data
    filled = {
        name: {**USUAL.get(str(table.get("kind")), {}), **table} if isinstance(table, dict) else table
        for name, table in populations.items()
    }
    return {**data, "populations": filled}


def check(scene: Scene) -> list[tuple[tuple[str | int, ...], str]]:
    """Mistakes that no single value shows, with their keys: names of populations, and rooms that are too small."""
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
        if (
            population.from_ < population.until
            and (asked := population.requests(-scene.calm, scene.seconds)) > MOST_REQUESTS
        ):
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
