"""Another scene's attackers, laid over a scene: `shield simulate my-site.toml --attack botnet`.

A scene of one's own site has people and programs; those that ship have attackers, made for a service of a certain size.
So their rates grow or shrink as the service does, and they ask for what there is: for the page that is asked for most,
or for the dearest route where it was a dear one that they asked for. When they come, how many they are, and what they
do with challenges stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from shield.config.validation import Mistake
from shield.simulate.population import Population
from shield.simulate.scene import Scene, SceneError, Service, check

PREFIX: Final = "attack-"


def attacked(scene: Scene, other: Scene, name: str) -> Scene:
    """The scene with the attackers of another, which `name` is for messages. SceneError when that makes no sense."""
    attackers = {each: model for each, model in other.populations.items() if model.kind == "attackers"}
    if not attackers:
        raise SceneError(name, [Mistake((), 0, "", "has no attackers that could be laid over another scene")])
    homes = [each for each, model in scene.populations.items() if model.kind == "people" and not model.fresh]
    home = (homes or list(scene.populations))[0]
    size = capacity(scene) / capacity(other)

    def elsewhere(who: str) -> str:
        return "" if not who else PREFIX + who if who in attackers else home

    laid = {
        PREFIX + each: replace(
            model,
            rate=model.rate * size,
            paths=_paths(model, scene, other),
            part_path=_most_asked(scene) if model.parts else model.part_path,
            beside=elsewhere(model.beside),
            behind=elsewhere(model.behind),
        )
        for each, model in attackers.items()
    }
    made = replace(
        scene,
        title=f"{scene.title}; attacked as in {name}",
        seconds=max(scene.seconds, other.seconds),
        populations={**scene.populations, **laid},
    )
    mistakes = check(made)
    if mistakes:
        raise SceneError(name, [Mistake(at, 0, "", why) for at, why in mistakes])
    return made


def capacity(scene: Scene) -> float:
    """Requests/s that the service can do of what its people and programs ask for."""
    service = scene.service
    asked = seconds = 0.0
    for model in scene.populations.values():
        if model.kind == "attackers":
            continue
        whole = sum(model.paths.values())
        for path, weight in model.paths.items():
            asked += model.rate * weight / whole
            seconds += model.rate * weight / whole * _time(service, path)
        asked += model.rate * model.parts
        seconds += model.rate * model.parts * _time(service, model.part_path)
    return service.slots * asked / seconds if seconds else service.slots / service.time


def _time(service: Service, path: str) -> float:
    route = service.routes.get(path)
    return service.time if route is None else route.time


def _paths(model: Population, scene: Scene, other: Scene) -> dict[str, float]:
    """What attackers ask for in a scene that is not theirs."""
    found: dict[str, float] = {}
    for path, weight in model.paths.items():
        route = other.service.routes.get(path)
        dear = route is not None and route.time > other.service.time
        there = _dearest(scene) if dear else _most_asked(scene)
        found[there] = found.get(there, 0.0) + weight
    return found


def _most_asked(scene: Scene) -> str:
    weights: dict[str, float] = {}
    for model in scene.populations.values():
        whole = sum(model.paths.values())
        for path, weight in model.paths.items():
            weights[path] = weights.get(path, 0.0) + model.rate * weight / whole
    return max(weights, key=lambda path: weights[path])


def _dearest(scene: Scene) -> str:
    paths = [path for model in scene.populations.values() for path in model.paths]
    return max(paths, key=lambda path: _time(scene.service, path))
