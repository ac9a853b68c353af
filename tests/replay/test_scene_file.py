"""A scene for the simulator out of logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from shield import cli
from shield.simulate import world
from shield.simulate.scene import Scene, parse

START = 1_796_000_000.0
AGENT = "Mozilla/5.0 (X11; Linux x86_64) Firefox/{}.0"


def line(at: float, address: str, path: str, agent: str, seconds: float = 0.02, method: str = "GET") -> str:
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(START + at + seconds))
    return f'{address} - - [{stamp} +0000] "{method} {path} HTTP/1.1" 200 512 "-" "{agent}" rt={seconds:.3f}\n'


def usual(seconds: int = 600) -> Iterator[tuple[float, str]]:
    """Twice a second one of forty people asks for a page of three parts. Each ten seconds one sends a form, somebody
    new comes, and a feed reader."""
    random = Random(1)
    for number in range(seconds * 2):
        at, who = number / 2, random.randrange(40)
        path = random.choice(["/", "/shop/{}", "/shop/{}", "/search?q={}"]).format(number)
        agent = AGENT.format(100 + who % 8)
        yield at, line(at, f"198.51.{who // 2}.{who}", path, agent, random.lognormvariate(-4, 0.4))
        for part in range(3):
            yield at + 0.1, line(at + 0.1, f"198.51.{who // 2}.{who}", f"/static/{part}.png", agent, 0.002)
        if not number % 20:
            yield at + 0.2, line(at + 0.2, f"203.0.{number // 20}.7", "/", AGENT.format(90), 0.02)
            yield at + 0.3, line(at + 0.3, "192.0.2.1", "/feed", "Reader/1", 0.01)
            yield at + 0.4, line(at + 0.4, f"198.51.{who // 2}.{who}", "/cart", agent, 0.1, "POST")


def flood() -> Iterator[tuple[float, str]]:
    for number in range(3000):
        at = 300 + number / 100
        yield at, line(at, f"10.{number % 250}.{number // 250}.1", "/search", "python-requests/2", 0.05)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(*parts: Iterator[tuple[float, str]]) -> Scene:
    rows = sorted(row for part in parts for row in part)
    Path("access.log").write_text("".join(text for _, text in rows))
    assert cli.main(["replay", "access.log", "--scene", "site.toml"]) == cli.FINE
    return parse(Path("site.toml").read_text())


def test_a_scene_has_the_rates_and_the_people_of_the_log() -> None:
    scene = made(usual(), flood())
    people, new, programs, posting = (
        scene.populations[name] for name in ("returning", "newcomers", "programs", "posting")
    )
    assert people.rate == pytest.approx(2.0, rel=0.15)
    assert (people.members, people.parts, people.agents, people.browser) == (40, 3, 8, True)
    assert people.past.windows
    assert set(people.paths) == {"/", "/shop/*", "/search"}
    assert people.paths["/shop/*"] == pytest.approx(2 * people.paths["/"], rel=0.2)
    assert people.part_path.startswith("/static/")
    assert new.fresh
    assert new.rate == pytest.approx(0.1, rel=0.3)
    assert (programs.members, programs.kind, programs.paths) == (1, "programs", {"/feed": programs.paths["/feed"]})
    assert (posting.method, posting.behind) == ("POST", "returning")
    assert posting.rate == pytest.approx(0.1, rel=0.3)
    assert scene.service.routes["/shop/*"].time == pytest.approx(0.0183, rel=0.25)
    assert scene.service.routes["/cart"].time == pytest.approx(0.1, rel=0.05)
    assert scene.service.routes["/shop/*"].variation == pytest.approx(0.4, abs=0.15)


@pytest.mark.scene
def test_an_attack_in_the_log_is_no_part_of_the_usual(capfd: pytest.CaptureFixture[str]) -> None:
    calm, attacked = made(usual()), None
    Path("site.toml").unlink()
    attacked = made(usual(), flood())
    assert {name: one.rate for name, one in calm.populations.items()} == {
        name: one.rate for name, one in attacked.populations.items()
    }
    assert "left out: 3,000 requests of visitors in a hurry, and of programs that came once" in capfd.readouterr().out


def test_a_scene_that_was_made_is_played(capfd: pytest.CaptureFixture[str]) -> None:
    scene = made(usual(300))
    result = world.run(replace(scene, seconds=20.0, calm=10.0), 1)
    assert result.population("returning").share > 0.99
    assert "Attack it: shield simulate site.toml --attack botnet" in capfd.readouterr().out


@pytest.mark.scene
def test_nothing_of_visitors_gets_into_a_scene_and_hostile_paths_do_no_harm() -> None:
    hostile = ['/a"]\\n[populations.x', "/\x7f\x1b[31m", "/" + "x" * 5000, "/ü", "/'''", "/a]b=c#"]
    rows = [
        (at, line(at, "192.0.2.9", hostile[int(at) % 6].replace(" ", ""), AGENT.format(7))) for at in range(0, 600, 5)
    ]
    made(iter(rows), usual())
    text = Path("site.toml").read_text()
    assert "192.0.2" not in text
    assert "Mozilla" not in text
    assert "q=" not in text
    assert len(text.encode()) < 1 << 20
    assert text.isprintable() or all(each.isprintable() or each == "\n" for each in text)


def test_a_log_of_pages_without_parts_has_pages_only() -> None:
    rows = [
        (at, line(at, f"198.51.100.{at % 9}", "/a.css" if at % 7 == 0 else "/", AGENT.format(1))) for at in range(600)
    ]
    scene = made(iter(rows))
    assert scene.populations["returning"].parts == 0
    assert set(scene.populations["returning"].paths) == {"/", "/a.css"}
    assert scene.populations["returning"].rate == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["flood.log", "--scene", "new.toml"], "there is nothing to make a scene of"),
        (["a.log", "--scene", "a.log"], "a.log: there is such a file"),
        (["a.log", "--scene", "no/such/folder.toml"], "cannot be written"),
        (["missing.log", "--scene", "new.toml"], "there is no such file"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_line(
    given: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("flood.log").write_text("".join(text for _, text in flood()))
    Path("a.log").write_text("".join(text for _, text in usual(150)))
    assert cli.main(["replay", *given]) == cli.NOT_STARTED
    assert said in capfd.readouterr().err
    assert not Path("new.toml").exists()


def test_a_scene_is_made_instead_of_a_replay() -> None:
    with pytest.raises(SystemExit):
        cli.main(["replay", "a.log", "--scene", "s.toml", "--json"])
