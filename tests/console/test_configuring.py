"""`shield config init`, `diff` and `schema`."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import trustme

from shield import cli
from shield.config.load import load, remarks
from shield.config.schema import schema
from shield.config.settings import Config

pytestmark = pytest.mark.wheel

SERVICE = "http://127.0.0.1:9000"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_four_answers_make_a_config_that_is_fine(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, f"{SERVICE} unix:/run/app.sock", "", "10.0.0.0/8", "")
    assert cli.main(["config", "init"]) == cli.FINE
    shown = capfd.readouterr()
    assert shown.err.count("]: ") + shown.err.count("\n: ") == 4
    assert "config.toml is written" in shown.out
    made = load("config.toml")
    assert made.dry_run
    assert made.upstream.servers == (SERVICE, "unix:/run/app.sock")
    assert made.listen.addresses == ("0.0.0.0:80",)
    assert made.listen.trusted_proxies == ("10.0.0.0/8",)
    assert made.state.directory == "/var/lib/shield"
    assert remarks("config.toml") == []
    assert cli.main(["check"]) == cli.FINE


def test_what_was_not_asked_is_as_by_default_and_commented() -> None:
    assert cli.main(["config", "init", "new.toml", "--yes", "--upstream", SERVICE, "--enforce"]) == cli.FINE
    text = Path("new.toml").read_text()
    assert 'servers = ["http://127.0.0.1:9000"]' in text
    assert 'mode = "auto"                    # "auto": under pressure' in text
    assert "demo" not in tomllib.loads(text)["upstream"]["servers"]
    made, usual = load("new.toml"), Config()
    assert (made.limits, made.challenge, made.dry_run) == (usual.limits, usual.challenge, False)
    assert text.splitlines()[1].startswith("# Shield's config, written by `shield config init`.")


def test_scripts_give_options_and_are_told_what_came_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    made = trustme.CA().issue_cert("shop.example")
    made.cert_chain_pems[0].write_to_path(chain)
    made.private_key_pem.write_to_path(key)
    options = "--yes --listen 0.0.0.0:443 --listen [::]:443 --certificate chain.pem --key key.pem --json --state s"
    assert cli.main(["config", "init", "--upstream", SERVICE, *options.split()]) == cli.FINE
    said = json.loads(capfd.readouterr().out)
    assert said["file"] == "config.toml"
    assert said["settings"]["listen.address"] == ["0.0.0.0:443", "[::]:443"]
    (one,) = load("config.toml").tls.certificates
    assert (one.chain, one.key) == (str(chain), str(key))


def test_a_wrong_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    answer(monkeypatch, "", "nowhere", SERVICE, "127.0.0.1:9000", "127.0.0.1:8000", "10.0.0.1/8", "", "state")
    assert cli.main(["config", "init"]) == cli.FINE
    shown = capfd.readouterr().err
    assert "An answer is needed." in shown
    assert "this is Shield itself" in shown
    assert "did you mean 10.0.0.0/8?" in shown
    assert load("config.toml").listen.addresses == ("127.0.0.1:8000",)


def test_nobody_who_answers_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    answer(monkeypatch, SERVICE)
    with pytest.raises(SystemExit) as caught:
        cli.main(["config", "init"])
    assert caught.value.code == cli.USAGE
    assert "--listen" in capfd.readouterr().err
    assert not Path("config.toml").exists()


@pytest.mark.parametrize("options", [["--yes"], ["--yes", "--upstream", SERVICE, "--key", "k.pem"]])
def test_wrong_usage(options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["config", "init", *options])
    assert caught.value.code == cli.USAGE


@pytest.mark.parametrize("link", [False, True])
def test_a_file_is_never_replaced(link: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """Nor is a link followed that leads nowhere."""
    if link:
        Path("config.toml").symlink_to("elsewhere.toml")
    else:
        Path("config.toml").write_text("mine")
    assert cli.main(["config", "init", "--yes", "--upstream", SERVICE]) == cli.MISTAKES
    assert "is there already" in capfd.readouterr().err
    assert not Path("elsewhere.toml").exists()
    assert link or Path("config.toml").read_text() == "mine"


def test_wrong_options_write_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "init", "--yes", "--upstream", "ftp://x", "--trusted-proxy", "all"]) == cli.MISTAKES
    shown = capfd.readouterr().err
    assert "upstream.servers[0]" in shown
    assert "listen.trusted_proxies[0]" in shown
    assert not Path("config.toml").exists()
    assert cli.main(["config", "init", "no/such/folder.toml", "--yes", "--upstream", SERVICE]) == cli.MISTAKES
    assert "cannot be written: No such file or directory" in capfd.readouterr().err


def test_diff(capfd: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text('dry_run = true\n[[route]]\npath = "/x"')
    Path("other.toml").write_text("[listen]\nworkers = 2")
    assert cli.main(["config", "diff"]) == cli.FINE
    assert capfd.readouterr().out.splitlines() == ["dry_run: false -> true", '+ route[/x]: { path = "/x" }']
    assert cli.main(["config", "diff", "config.toml", "other.toml"]) == cli.FINE
    assert capfd.readouterr().out.splitlines() == [
        "dry_run: true -> false",
        "listen.workers: 1 -> 2",
        '- route[/x]: { path = "/x" }',
    ]
    assert cli.main(["config", "diff", "config.toml", "config.toml"]) == cli.FINE
    assert capfd.readouterr().out == "config.toml is as config.toml\n"
    assert cli.main(["config", "diff", "--json"]) == cli.FINE
    said = json.loads(capfd.readouterr().out)
    assert (said["from"], said["to"]) == ("the defaults", "config.toml")
    assert said["differences"][0] == {"key": "dry_run", "from": "false", "to": "true"}


def test_diff_of_a_config_with_mistakes(capfd: pytest.CaptureFixture[str]) -> None:
    Path("config.toml").write_text("dry_run = 1")
    assert cli.main(["config", "diff"]) == cli.MISTAKES
    assert "line 1: dry_run: found 1" in capfd.readouterr().err


def test_schema(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "schema"]) == cli.FINE
    assert json.loads(capfd.readouterr().out) == schema()


def test_it_is_asked_at_a_terminal(tmp_path: Path) -> None:
    """As a process, whose standard input is a pipe that gives the answers."""
    done = subprocess.run(
        [sys.executable, "-m", "shield", "config", "init"],
        input=f"{SERVICE}\n127.0.0.1:8000\n\n{tmp_path}/state\n",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[0.0.0.0:80]: " in done.stderr
    assert load("config.toml").state.directory == f"{tmp_path}/state"


TAPLO = shutil.which("taplo", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


@pytest.mark.skipif(TAPLO is None, reason="needs taplo")
def test_taplo_reads_the_schema() -> None:
    """What the editors' reader says by the line at the top of the file."""
    assert TAPLO is not None
    assert cli.main(["config", "init", "--yes", "--upstream", SERVICE]) == cli.FINE
    text = Path("config.toml").read_text()
    assert text.startswith("#:schema file:///")
    Path("wrong.toml").write_text(text.replace("dry_run = true", "dry_run = 7"))
    right, wrong = (
        subprocess.run([TAPLO, "check", name], capture_output=True, text=True, timeout=60, check=False)
        for name in ("config.toml", "wrong.toml")
    )
    assert right.returncode == 0, right.stderr
    assert wrong.returncode != 0
    assert "boolean" in wrong.stderr
