"""`shield simulate` as it is called, and what it writes."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from shield import cli
from shield.config.load import load
from shield.simulate import command, progress

SCENE = """
title = "A small flood"
about = "Something to look at."
seconds = 10
calm = 3
[service]
slots = 2
changes = [{ at = 5, slots = 1, slower = 2.0, errors = 0.5 }]
[config.upstream]
max_concurrency = 2
[populations.people]
kind = "people"
members = 20
rate = 5
past = { windows = 3 }
[populations.flood]
kind = "attackers"
rate = 200
from = 1
"""


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("flood.toml").write_text(SCENE)
    return "flood.toml"


@pytest.fixture
def no_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither matplotlib nor rich was installed."""
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> ModuleType:
        if name.startswith(("rich", "matplotlib")):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)


@pytest.mark.wheel
def test_without_a_scene_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate"]) == cli.FINE
    assert "botnet  " in capsys.readouterr().out


def test_it_tells_who_got_what_and_what_happened(scene: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate", scene, "--seed", "3", "--json", "out.json"]) == cli.FINE
    said = capsys.readouterr().out
    assert said.startswith("A small flood (10 s, seed 3; took ")
    for words in ("people", "flood begin: 200/s", "the service changes: 1 slots, times 2 of the usual, 50 % errors"):
        assert words in said
    told = orjson.loads(Path("out.json").read_bytes())
    assert set(told["populations"]) == {"people", "flood"}
    assert told["populations"]["flood"]["asked"] == pytest.approx(1800, rel=0.1)
    assert len(told["series"]["pressure"]) == len(told["times"]) == 14  # from -3 to the end
    assert told["events"][0]["event"] == "attack_onset"


def test_a_config_takes_the_place_of_the_scene_s(scene: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.toml").write_text("dry_run = true\n")
    assert cli.main(["simulate", scene, "--config", "my.toml"]) == cli.FINE
    assert "refused" not in capsys.readouterr().out
    Path("my.toml").write_text("dry_run = 1\n")
    assert cli.main(["simulate", scene, "--config", "my.toml"]) == cli.MISTAKES


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "nothing.toml",
            None,
            "nothing.toml: cannot be read: No such file or directory; scenes that ship: aged-passes, botnet",
        ),
        ("bad.toml", "seconds = 'x'", "bad.toml: line 1: seconds: found"),
        ("bad.toml", "= 1", "bad.toml: not TOML"),
        ("bad.toml", SCENE.replace("max_concurrency = 2", "max_concurrency = 'x'"), "upstream.max_concurrency: found"),
    ],
)
def test_mistakes_are_told(
    name: str, text: str | None, says: str, scene: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        Path(name).write_text(text)
    assert cli.main(["simulate", name]) == cli.MISTAKES
    assert says in capfd.readouterr().err


def test_a_file_that_cannot_be_written_is_a_mistake(scene: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate", scene, "--json", "no/such/folder.json"]) == cli.MISTAKES
    assert "no/such/folder.json: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.filterwarnings("default")  # matplotlib's own
def test_a_chart_is_drawn(ending: str, scene: str) -> None:
    pytest.importorskip("matplotlib")
    assert cli.main(["simulate", scene, "--chart", f"flood.{ending}"]) == cli.FINE
    assert Path(f"flood.{ending}").stat().st_size > 10_000
    assert cli.main(["simulate", scene, "--chart", f"no/such/flood.{ending}"]) == cli.MISTAKES


def test_a_chart_of_another_kind_is_refused(scene: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate", scene, "--chart", "flood.gif"]) == cli.MISTAKES
    assert "the name of a chart ends in .png or .svg" in capsys.readouterr().err


@pytest.mark.usefixtures("no_extras")
def test_without_the_extra_there_is_a_text_and_a_word_about_it(scene: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["simulate", scene, "--chart", "flood.png"]) == cli.MISTAKES
    said = capsys.readouterr()
    assert "flood begin" in said.out
    assert said.err == "shield: a chart needs matplotlib: pip install matplotlib\n"


class Terminal:
    """stderr as a terminal."""

    def __init__(self, real: Any) -> None:
        self.isatty = lambda: True
        self.write = real.write
        self.flush = real.flush
        self.encoding = "utf-8"


@pytest.mark.usefixtures("no_extras")
def test_progress_is_a_line_now_and_then_without_rich(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", Terminal(__import__("sys").stderr))
    with progress.bar("flood", -10.0, 10.0) as tell:
        for at in range(-10, 10):
            tell(float(at), "pressure 0")
    assert capsys.readouterr().err.splitlines() == [f"flood: {part:3d} % pressure 0" for part in range(0, 100, 10)]


def test_progress_is_a_bar_with_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr("sys.stderr", Terminal(__import__("sys").stderr))
    with progress.bar("flood", 0.0, 1.0) as tell:
        tell(0.5, "pressure 0")
    assert "flood" in capsys.readouterr().err


def test_progress_is_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bar("flood", 0.0, 1.0) as tell:
        tell(0.5, "pressure 0")
    assert capsys.readouterr().err == ""


def test_a_config_with_sites_is_played_for_the_one_that_is_named(scene: str, capfd: pytest.CaptureFixture[str]) -> None:
    config = """
    [[site]]
    name = "shop"
    hosts = ["shop.example"]
    upstream = { servers = ["http://127.0.0.1:9001"], max_concurrency = 2 }
    max_pressure = 0.0
    """
    Path("sites.toml").write_text(config)
    given = ["simulate", scene, "--config", "sites.toml"]
    assert cli.main(given) == cli.NOT_STARTED
    assert "a scene has one service: name one of shop" in capfd.readouterr().err
    assert cli.main([*given, "--site", "blog"]) == cli.NOT_STARTED
    assert "no site is called blog: name one of shop" in capfd.readouterr().err
    assert cli.main([*given, "--site", "shop"]) == cli.FINE
    played = command.of_site(load("sites.toml"), "shop")
    assert (played.site, played.upstream.max_concurrency, played.pressure.max_pressure) == ((), 2, 0.0)
    assert played.policy() == load("sites.toml").sites[0].policy
    Path("sites.toml").write_text("")
    assert cli.main([*given, "--site", "shop"]) == cli.NOT_STARTED
