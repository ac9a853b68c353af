"""The command line: what it prints, and the exit statuses that scripts rely on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import shield
from shield import cli
from shield.config.settings import Config
from shield.errors import StartError

pytestmark = pytest.mark.wheel

BAD = "dry_run = 1\n[listen]\nbacklog = 0\n"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, str]]:
    """In place of the service: remembers with what it was to run."""
    calls: list[tuple[Config, str]] = []

    def run(config: Config, path: str) -> int:
        calls.append((config, path))
        return 0

    monkeypatch.setattr("shield.process.service.run", run)
    return calls


def write(text: str, name: str = "config.toml") -> str:
    Path(name).write_text(text)
    return name


def test_run_takes_the_file_in_the_current_directory(runs: list[tuple[Config, str]]) -> None:
    write("dry_run = true")
    assert cli.main(["run"]) == cli.FINE
    ((config, path),) = runs
    assert config.dry_run
    assert path == "config.toml"


def test_run_without_any_file_takes_the_shipped_one(runs: list[tuple[Config, str]]) -> None:
    assert cli.main(["run"]) == cli.FINE
    ((config, path),) = runs
    assert config == Config()
    assert Path(path).is_file()


def test_run_with_mistakes_does_not_start(runs: list[tuple[Config, str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--config", write(BAD, "my.toml")]) == cli.MISTAKES
    assert runs == []
    assert capsys.readouterr().err.splitlines() == [
        "my.toml: line 1: dry_run: found 1; allowed: true or false",
        "my.toml: line 3: listen.backlog: found 0; allowed: a whole number from 1 to 65535",
    ]


def test_a_failed_start_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: Config, path: str) -> int:
        raise StartError("listen.address: cannot listen on 127.0.0.1:80: Permission denied")

    monkeypatch.setattr("shield.process.service.run", run)
    assert cli.main(["run"]) == cli.NOT_STARTED
    assert capsys.readouterr().err == "shield: listen.address: cannot listen on 127.0.0.1:80: Permission denied\n"


def test_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config", write("")]) == cli.FINE
    assert capsys.readouterr().out == "config.toml: fine\n"
    assert cli.main(["check", "--config", write(BAD)]) == cli.MISTAKES
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "config.toml: 2 mistakes"


def test_check_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--json", "--config", write("")]) == cli.FINE
    assert orjson.loads(capsys.readouterr().out) == {"file": "config.toml", "ok": True, "mistakes": []}
    assert cli.main(["check", "--json", "--config", write(BAD)]) == cli.MISTAKES
    report = orjson.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["mistakes"][0] == {"key": "dry_run", "line": 1, "found": "1", "allowed": "allowed: true or false"}


def test_a_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config", "none.toml"]) == cli.MISTAKES
    assert "none.toml: cannot be read: No such file or directory" in capsys.readouterr().err


def test_demo_is_on_loopback_whatever_the_config_says(
    runs: list[tuple[Config, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    write('dry_run = true\n[listen]\naddress = "0.0.0.0:80"\n[upstream]\nservers = ["http://127.0.0.1:9000"]')
    assert cli.main(["demo"]) == cli.FINE
    ((config, _),) = runs
    assert config.listen.address == "127.0.0.1:8080"
    assert config.upstream.servers == ("demo",)
    assert not config.dry_run
    assert "http://127.0.0.1:8080/" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run", "--port", "1"], ["check", "config.toml"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == cli.USAGE
    assert "usage: shield" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"shield {shield.__version__}\n"


# As a process.


def start(*arguments: str) -> subprocess.Popen[str]:
    """`python -m shield`, from the same place that the tests import it from."""
    environment = {**os.environ, "PYTHONPATH": str(Path(shield.__file__).parents[1])}
    command = [sys.executable, "-m", "shield", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def occupied() -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("table", ["listen", "admin"])
def test_an_occupied_port(occupied: str, table: str) -> None:
    addresses = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", table: occupied}
    write("".join(f'[{name}]\naddress = "{address}"\n' for name, address in addresses.items()))
    process = start("run")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == cli.NOT_STARTED
    (line,) = [line for line in errors.splitlines() if line.startswith("shield: ")]
    assert occupied in line
    assert "in use" in line
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_runs_until_it_is_told_to_stop(number: signal.Signals) -> None:
    write('[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = ""\n')
    process = start("run")
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    while not any(line["event"] == "started" for line in lines):
        line = process.stderr.readline()
        assert line, "ended before it started"
        if line.startswith("{"):
            lines.append(orjson.loads(line))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == cli.FINE
    assert "Traceback" not in errors
