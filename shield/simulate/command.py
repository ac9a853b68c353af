"""`shield simulate`: play a scene, say what came of it, draw it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from shield.errors import StartError
from shield.model import DEFAULT_SITE
from shield.simulate import attack, chart, progress, report, scene, world

if TYPE_CHECKING:
    from shield.config.settings import Config


def simulate(
    name: str,
    config: Config | None,
    seed: int,
    json_file: str | None,
    chart_file: str | None,
    attack_name: str | None = None,
) -> bool:
    """Play a scene and report; whether all that was asked for was done. `attack_name` is a scene whose attackers are
    laid over it. Raises SceneError."""
    played = scene.load(name)
    if attack_name is not None:
        played = attack.attacked(played, scene.load(attack_name), attack_name)
    with progress.bar(name, -played.calm, played.seconds) as tell:
        result = world.run(played, seed, config, progress=tell)
    print(report.text(result))
    done = True
    if json_file is not None:
        try:
            Path(json_file).write_bytes(orjson.dumps(result.as_json()))
        except OSError as error:
            print(f"shield: {json_file}: {error.strerror}", file=sys.stderr)
            done = False
    if chart_file is not None:
        try:
            chart.draw(result, chart_file)
        except chart.ChartError as error:
            print(f"shield: {error}", file=sys.stderr)
            done = False
    return done


def of_site(config: Config, name: str) -> Config:
    """The config of the site of that name, which the scene's service stands for. Without a name it is the one for all
    other hosts, or the only service. StartError when that is none."""
    found = [site for site in config.sites if site.name == (name or DEFAULT_SITE)]
    if not config.site:
        if name:
            raise StartError("--site: the config has no [[site]]")
        return config
    if not found:
        names = ", ".join(site.name for site in config.sites)
        what = f"no site is called {name}" if name else "the config has several sites, and a scene has one service"
        raise StartError(f"--site: {what}: name one of {names}")
    return config.only(found[0])


def scenes() -> str:
    """What ships, a line each."""
    found = {name: scene.load(name).title for name in scene.names()}
    width = max(map(len, found), default=0)
    return "\n".join(f"{name:<{width}}  {title}" for name, title in found.items())
