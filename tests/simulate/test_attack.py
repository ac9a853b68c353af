"""The attackers of one scene, laid over another."""

from __future__ import annotations

from pathlib import Path

import pytest

from shield import cli
from shield.simulate import scene
from shield.simulate.attack import attacked, capacity
from shield.simulate.scene import SceneError, parse

SITE = """
title = "My site"
seconds = 20
calm = 5
[service]
slots = 2
time = 0.02
[service.routes."/report"]
time = 0.4
[populations.people]
kind = "people"
members = 20
rate = 5
past = { windows = 3 }
[populations.people.paths]
"/" = 3
"/report" = 1
"""
FLOOD = """
title = "A flood"
seconds = 30
[service]
slots = 16
time = 0.02
[service.routes."/dear"]
time = 1.0
[populations.usual]
kind = "people"
rate = 10
[populations.usual.paths]
"/" = 9
"/dear" = 1
[populations.bots]
kind = "attackers"
members = 50
rate = 800
from = 5
until = 12
beside = "usual"
[populations.dear]
kind = "attackers"
rate = 80
from = 5
behind = "bots"
[populations.dear.paths]
"/dear" = 1
"""


def test_attackers_are_as_strong_for_this_service_as_they_were_for_theirs() -> None:
    site, flood = parse(SITE), parse(FLOOD)
    assert capacity(site) == pytest.approx(2 / (0.75 * 0.02 + 0.25 * 0.4))
    assert capacity(flood) == pytest.approx(16 / (0.9 * 0.02 + 0.1 * 1.0))
    both = attacked(site, flood, "flood")
    bots = both.populations["attack-bots"]
    assert bots.rate == pytest.approx(800 * capacity(site) / capacity(flood))
    assert (bots.from_, bots.until, bots.members, bots.beside) == (5, 12, 50, "people")
    assert both.populations["people"] == site.populations["people"]
    assert both.service == site.service
    assert both.seconds == 30


def test_attackers_ask_for_what_there_is() -> None:
    both = attacked(parse(SITE), parse(FLOOD), "flood")
    assert both.populations["attack-bots"].paths == {"/": 1.0}
    dear = both.populations["attack-dear"]
    assert (dear.paths, dear.behind) == ({"/report": 1.0}, "attack-bots")


def test_a_scene_without_attackers_attacks_nobody() -> None:
    with pytest.raises(SceneError, match="flood: has no attackers"):
        attacked(parse(FLOOD), parse(SITE), "flood")


def test_an_attack_that_would_take_all_day_to_play_is_refused() -> None:
    site = parse(SITE.replace("slots = 2", "slots = 200_000"))
    with pytest.raises(SceneError, match="requests in the scene"):
        attacked(site, parse(FLOOD.replace("until = 12", "")), "flood")


@pytest.mark.parametrize(
    "name", [name for name in scene.names() if "attackers" in (scene.FOLDER / f"{name}.toml").read_text()]
)
def test_the_attackers_of_every_scene_that_ships_can_be_laid_over_another(name: str) -> None:
    both = attacked(parse(SITE), scene.load(name), name)
    assert any(each.startswith("attack-") for each in both.populations)


def test_an_attack_is_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("site.toml").write_text(SITE)
    Path("flood.toml").write_text(FLOOD.replace("rate = 800", "rate = 2000"))
    assert cli.main(["simulate", "site.toml", "--attack", "flood.toml"]) == cli.FINE
    said = capfd.readouterr().out
    assert said.startswith("My site; attacked as in flood.toml (30 s")
    assert "attack-bots" in said
    assert cli.main(["simulate", "site.toml", "--attack", "site.toml"]) == cli.MISTAKES
    assert "site.toml: has no attackers" in capfd.readouterr().err
    assert cli.main(["simulate", "site.toml", "--attack", "nothing"]) == cli.MISTAKES
