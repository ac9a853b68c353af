"""`shield replay`: logs in, what a config would have done out."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from shield import cli
from shield.replay import kept
from tests.lookup import databases

START = 1_796_000_000.0
AGENT = "Mozilla/5.0 (X11; Linux x86_64) Firefox/{}.0"


def line(at: float, address: str, path: str, agent: str, seconds: float = 0.02, status: int = 200) -> str:
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(START + at + seconds))
    return f'{address} - - [{stamp} +0000] "GET {path} HTTP/1.1" {status} 512 "-" "{agent}" rt={seconds:.3f}\n'


def usual(seconds: int, rate: float = 6.0) -> Iterator[tuple[float, str]]:
    """Sixty regulars, in networks of their own."""
    random = Random(1)
    for number in range(int(seconds * rate)):
        at, who = number / rate, random.randrange(60)
        path = random.choice(["/", "/shop/7", "/style.css", "/search"])
        yield at, line(at, f"198.51.{who}.7", path, AGENT.format(100 + who), 0.02)


def flood(start: int, seconds: int, rate: int) -> Iterator[tuple[float, str]]:
    """As many addresses as requests, one program; the service ends half of them in time, and lets the others wait."""
    for number in range(seconds * rate):
        at = start + number / rate
        address = f"10.{number // 62500}.{number // 250 % 250}.{number % 250}"
        yield at, line(at, address, "/search", "python-requests/2", 0.02 + number / rate)


def write(*parts: Iterator[tuple[float, str]], name: str = "access.log") -> str:
    rows = sorted(row for part in parts for row in part)
    Path(name).write_text("".join(text for _, text in rows))
    return name


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text("")
    return tmp_path


def replayed(*given: str, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert cli.main(["replay", "--json", *given]) == cli.FINE
    found: dict[str, Any] = orjson.loads(capfd.readouterr().out)
    return found


def refused(config: dict[str, Any]) -> dict[str, int]:
    return {each["reason"]: each["requests"] for each in config["verdicts"] if each["action"] != "forward"}


@pytest.mark.scene
def test_a_flood_would_have_been_refused_and_the_regulars_would_not(capfd: pytest.CaptureFixture[str]) -> None:
    log = write(usual(420), flood(300, 30, 150))
    found = replayed(log, capfd=capfd)
    (config,) = found["configs"]
    assert found["requests"] == config["requests"] == sum(each["requests"] for each in config["verdicts"])
    assert found["requests"] == 420 * 6 + 30 * 150
    assert config["refused"] > 3000
    assert config["counts"]["attack_onset"] == 1
    assert any("An attack begins" in event["text"] for event in config["events"])
    assert config["regulars"] == 60
    assert config["harmed"] <= 3
    most = max((each for each in config["verdicts"] if each["action"] != "forward"), key=lambda each: each["requests"])
    assert most["clients"] == pytest.approx(most["requests"], rel=0.05)  # each asked once


@pytest.mark.scene
def test_a_replay_comes_out_the_same_again(capfd: pytest.CaptureFixture[str]) -> None:
    log = write(usual(150), flood(100, 10, 150))
    once, again = (replayed(log, capfd=capfd) for _ in range(2))
    assert once.pop("seconds") >= 0 <= again.pop("seconds")
    assert once == again


@pytest.mark.scene
def test_a_limit_that_is_too_low_names_the_regulars_that_it_hurts(capfd: pytest.CaptureFixture[str]) -> None:
    """The story of an operator who brakes the search page, and sees whom that would have cost how much."""
    Path("brake.toml").write_text(
        '[[route]]\nname = "search"\npath = "/search"\nlimit = { client = { per_minute = 0.1, burst = 1 } }\n'
    )
    log = write(usual(400))
    found = replayed(log, "--against", "brake.toml", capfd=capfd)
    before, after = found["configs"]
    assert (before["config"], after["config"]) == ("config.toml", "brake.toml")
    assert refused(before) == {}
    assert before["harmed"] == 0
    assert set(refused(after)) == {"route_rate"}
    row = next(each for each in after["verdicts"] if each["reason"] == "route_rate")
    assert row["rule"] == "search"
    assert row["regulars"] == after["harmed"] > 50
    worst = after["regulars_refused"][0]
    assert re.fullmatch(r"198\.51\.\d+\.7", worst["address"])
    assert worst["user_agent"].startswith("Mozilla/5.0")
    assert worst["reasons"] == {"route_rate": worst["refused"]}
    assert START <= worst["first"] < worst["last"] <= START + 400
    assert cli.main(["replay", log, "--against", "brake.toml"]) == cli.FINE
    said = capfd.readouterr().out
    assert "side by side" in said
    assert 'limit route_rate of "search"' in said
    assert f"{after['harmed']} regulars that only brake.toml would have refused something" in said


def test_a_limit_that_is_tried_refuses_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text(
        '[[route]]\nname = "search"\npath = "/search"\ndry_run = true\n'
        "limit = { client = { per_minute = 0.1, burst = 1 } }\n"
    )
    (config,) = replayed(write(usual(200)), capfd=capfd)["configs"]
    assert config["refused"] == config["harmed"] == 0
    assert {each["action"]: each["rule"] for each in config["verdicts"]} == {"forward": "", "limit_dry_run": "search"}


def test_a_dry_run_is_replayed_as_what_it_would_refuse(capfd: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text('dry_run = true\n[identity]\ndeny = ["198.51.0.0/16"]\n')
    assert cli.main(["replay", write(usual(130))]) == cli.FINE
    said = capfd.readouterr()
    assert "config.toml: dry_run is on there, and left out here" in said.err
    assert "would have refused 780 of 780 requests (100.00%)" in said.out
    assert "ban denylisted" in said.out


def test_rotated_and_compressed_logs_are_one_and_broken_lines_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    rows = [text for _, text in usual(200)]
    Path("access.log").write_text("".join(rows[600:]) + "broken \x1b[31m line\n")
    Path("access.log.1.gz").write_bytes(gzip.compress("".join(rows[:600]).encode()))
    assert cli.main(["replay", "access.log", "access.log.1.gz"]) == cli.FINE
    said = capfd.readouterr().out
    assert "2 logs: 1,200 requests in 3 min 20 s" in said
    assert "left out: 1 line that cannot be read:\n  access.log:601: it is in no format that is known" in said
    assert "\x1b" not in said


def test_hostile_text_does_not_reach_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text('[identity]\ndeny = ["192.0.2.0/24"]\n')
    Path("access.log").write_text(
        "".join(line(at, "192.0.2.1", "/", "Mozilla/5.0 \x1b]0;owned\x07") for at in range(300))
    )
    assert cli.main(["replay", "access.log"]) == cli.FINE
    said = capfd.readouterr().out
    assert "Mozilla/5.0 ?]0;owned?" in said
    assert "\x1b" not in said


def test_regulars_with_a_browser_answer_the_challenge_and_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text('[challenge]\nmode = "always"\n')
    (config,) = replayed(write(usual(240)), capfd=capfd)["configs"]
    assert refused(config).keys() == {"challenge_always"}
    harmed = config["regulars_refused"]
    assert len(harmed) == 60
    assert all(each["answered"] == 1 for each in harmed)
    assert config["refused"] < 240 * 6 / 4


def test_who_asks_through_a_trusted_proxy_is_told_apart(capfd: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text(
        '[listen]\ntrusted_proxies = ["192.0.2.0/24"]\n[identity]\ndeny = ["198.51.100.7/32"]\n'
    )
    row = '192.0.2.1 - - [30/Nov/2026:10:{:02}:00 +0000] "GET / HTTP/1.1" 200 2 "-" "Mozilla" "1.2.3.4, {}, 192.0.2.9"'
    Path("access.log").write_text("".join(row.format(i, f"198.51.100.{7 + i % 2}") + "\n" for i in range(10)))
    (config,) = replayed("access.log", capfd=capfd)["configs"]
    assert refused(config) == {"denylisted": 5}
    assert config["regulars"] == 2


def test_what_files_tell_of_addresses_is_gone_by(capfd: pytest.CaptureFixture[str], directory: Path) -> None:
    log = write(usual(40, 3.0))
    databases.write(directory / "asn.mmdb", "GeoLite2-ASN", {"198.51.0.0/19": databases.asn(64500)})
    Path("drop.txt").write_text("198.51.40.0/24\n198.51.41.0/24\n")
    Path("config.toml").write_text('[identity]\nasn = "asn.mmdb"\ndeny = ["AS64500"]\ndeny_files = ["drop.txt"]\n')
    (config,) = replayed(log, capfd=capfd)["configs"]
    asked = [text.split(".")[2] for text in Path(log).read_text().splitlines()]
    assert refused(config) == {"denylisted": sum(int(net) < 32 or net in ("40", "41") for net in asked)}


def test_a_quiet_month_is_replayed_in_a_moment(capfd: pytest.CaptureFixture[str]) -> None:
    Path("access.log").write_text("".join(line(at * 7200.0, "192.0.2.1", "/", "Mozilla/5.0") for at in range(360)))
    found = replayed("access.log", capfd=capfd)
    assert found["requests"] == 360
    assert found["seconds"] < 5
    assert found["configs"][0]["refused"] == 0


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        (["missing.log"], cli.NOT_STARTED, "missing.log: there is no such file"),
        (["."], cli.NOT_STARTED, ".: this is a directory"),
        (["empty.log"], cli.NOT_STARTED, "empty.log: no request in it"),
        (["strange.log"], cli.NOT_STARTED, "strange.log:1: it is in no format that is known"),
        (["a.log", "--config", "missing.toml"], cli.MISTAKES, "missing.toml: cannot be read"),
        (["a.log", "--config", "wrong.toml"], cli.MISTAKES, "wrong.toml"),
        (["a.log", "--against", "wrong.toml"], cli.MISTAKES, "wrong.toml"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_a_line(
    given: list[str], status: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("empty.log").write_text("")
    Path("strange.log").write_text("what is this\n")
    Path("a.log").write_text(line(0, "192.0.2.1", "/", "x"))
    Path("wrong.toml").write_text("dry_run = 1\n")
    assert cli.main(["replay", *given]) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_to_compare_a_config_with_itself_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["replay", "a.log", "--config", "a.toml", "--against", "a.toml"])
    assert ended.value.code == cli.USAGE


SITES = """
[[site]]
hosts = ["shop.example", "*.shop.example"]
[site.upstream]
servers = ["http://127.0.0.1:9001"]
[[site.route]]
path = "/search"
limit = { client = { per_minute = 1, burst = 1 } }
[[site]]
name = "blog"
hosts = ["blog.example"]
[site.upstream]
servers = ["http://127.0.0.1:9002"]
"""


def test_each_line_is_judged_by_the_site_that_its_host_has(capfd: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text(SITES)
    lines = []
    for number in range(60):
        text = line(number, "198.51.100.7", "/search", AGENT.format(100), 0.02 if number % 3 else 0.4)
        host = ("www.shop.example:80", "blog.example:443", "scanned.example:80")[number % 3]
        lines.append(f"{host} {text}" if number % 2 else f"{text.rstrip()} host={host.partition(':')[0]}\n")
    Path("access.log").write_text("".join(lines))
    (config,) = replayed("access.log", capfd=capfd)["configs"]
    of = config["sites"]
    assert (of["shop.example"]["requests"], of["blog"]["requests"], config["misdirected"]) == (20, 20, 20)
    assert of["blog"]["refused"] == 0
    assert refused(config) == {"route_rate": of["shop.example"]["refused"]}
    assert of["shop.example"]["refused"] > 10
    assert config["requests"] == 60
    assert cli.main(["replay", "access.log"]) == cli.FINE
    said = capfd.readouterr().out
    assert "site blog: 20 requests, 0 refused" in said
    assert "for no site, so answered 421: 20\n" in said


def test_lines_without_a_host_are_for_the_site_that_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text(SITES)
    log = write(usual(10))
    assert cli.main(["replay", log]) == cli.NOT_STARTED
    assert "no line tells which host was asked" in capfd.readouterr().err
    Path("one.toml").write_text("")
    assert cli.main(["replay", log, "--site", "blog", "--config", "one.toml"]) == cli.NOT_STARTED
    assert "the config has no [[site]]" in capfd.readouterr().err
    assert cli.main(["replay", log, "--site", "shop"]) == cli.NOT_STARTED
    assert "no site is called shop: there are shop.example, blog" in capfd.readouterr().err
    (config,) = replayed(log, "--site", "blog", capfd=capfd)["configs"]
    assert config["sites"]["blog"]["requests"] == 60
    Path("config.toml").write_text(SITES + '[upstream]\nservers = ["http://127.0.0.1:9003"]\n')
    (config,) = replayed(log, capfd=capfd)["configs"]
    assert config["sites"]["default"]["requests"] == 60


@pytest.mark.parametrize("most", [0, 20_000])
def test_it_comes_out_the_same_where_not_all_lines_are_kept(
    most: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "BATCH", 50)
    log = write(usual(60))
    usually = replayed(log, capfd=capfd)
    monkeypatch.setattr(kept, "MOST_BYTES", most)
    again = replayed(log, capfd=capfd)
    assert usually.pop("seconds") >= 0 <= again.pop("seconds")
    assert usually == again


def test_without_a_disk_the_logs_are_read_twice(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: Any) -> Any:
        raise OSError

    monkeypatch.setattr(kept.tempfile, "TemporaryFile", full)
    assert replayed(write(usual(10)), capfd=capfd)["requests"] == 60
