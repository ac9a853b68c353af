"""The command line: what it prints, and the exit statuses that scripts rely on."""

from __future__ import annotations

import errno
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
from shield.process.words import Welcome

pytestmark = pytest.mark.wheel

CONSOLE = {"shield.console", "shield.console.arguments", "shield.console.config_arguments"}

BAD = "dry_run = 1\n[listen]\nbacklog = 0\n"


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, str]]:
    """In place of the service: remembers with what it was to run, and what it would have said."""
    calls: list[tuple[Config, str]] = []

    def run(config: Config, welcome: Welcome, again: object, *given: object) -> int:
        calls.append((config, welcome(config, config.listen.addresses[0])))
        return 0

    monkeypatch.setattr("shield.process.alone.run", run)
    return calls


def write(text: str, name: str = "config.toml") -> str:
    Path(name).write_text(text)
    return name


def test_run_takes_the_file_in_the_current_directory(runs: list[tuple[Config, str]]) -> None:
    write("dry_run = true")
    assert cli.main(["run"]) == cli.FINE
    ((config, said),) = runs
    assert config.dry_run
    assert said.endswith("change `servers` in [upstream] in config.toml")


def test_run_without_any_file_takes_the_shipped_one(runs: list[tuple[Config, str]]) -> None:
    assert cli.main(["run"]) == cli.FINE
    ((config, said),) = runs
    assert config == Config()
    assert "change `servers` in line " in said


def test_run_with_mistakes_does_not_start(runs: list[tuple[Config, str]], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--config", write(BAD, "my.toml")]) == cli.MISTAKES
    assert runs == []
    assert capfd.readouterr().err.splitlines() == [
        "my.toml: line 1: dry_run: found 1; allowed: true or false",
        "my.toml: line 3: listen.backlog: found 0; allowed: a whole number from 1 to 65535",
    ]


def test_a_failed_start_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def run(config: Config, welcome: Welcome, again: object, *given: object) -> int:
        raise StartError("listen.address: cannot listen on 127.0.0.1:80: Permission denied")

    monkeypatch.setattr("shield.process.alone.run", run)
    assert cli.main(["run"]) == cli.NOT_STARTED
    assert capfd.readouterr().err == "shield: listen.address: cannot listen on 127.0.0.1:80: Permission denied\n"


def test_check(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config", write("")]) == cli.FINE
    assert capfd.readouterr().out == "config.toml: fine\n"
    assert cli.main(["check", "--config", write(BAD)]) == cli.MISTAKES
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "config.toml: 2 mistakes"


def test_check_says_by_its_status_what_nobody_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk a config without a mistake was refused, and a service manager did not start Shield."""

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    good, bad = write(""), write(BAD, "bad.toml")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        statuses = [cli.main(["check", *more, "--config", name]) for name in (good, bad) for more in ([], ["--json"])]
    assert statuses == [cli.FINE, cli.FINE, cli.MISTAKES, cli.MISTAKES]


def test_check_as_json(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--json", "--config", write("")]) == cli.FINE
    assert orjson.loads(capfd.readouterr().out) == {"file": "config.toml", "ok": True, "mistakes": [], "remarks": []}
    assert cli.main(["check", "--json", "--config", write(BAD)]) == cli.MISTAKES
    report = orjson.loads(capfd.readouterr().out)
    assert report["ok"] is False
    assert report["mistakes"][0] == {"key": "dry_run", "line": 1, "found": "1", "allowed": "allowed: true or false"}


def test_check_tells_of_keys_without_effect(capfd: pytest.CaptureFixture[str]) -> None:
    name = write("[log]\nrequests = true\n[tls]\nredirect_port = 444\n[upstream]\neject_after = 9\n")
    assert cli.main(["check"]) == cli.FINE
    captured = capfd.readouterr()
    assert captured.out == f"{name}: fine\n"
    assert captured.err.splitlines() == [
        f"{name}: line 4: tls.redirect_port: found 444; has no effect without tls.certificates",
        f"{name}: line 6: upstream.eject_after: found 9; has no effect with one server: only one of several is ejected",
    ]
    assert cli.main(["check", "--json"]) == cli.FINE
    report = orjson.loads(capfd.readouterr().out)
    assert report["ok"] is True
    assert [item["key"] for item in report["remarks"]] == ["tls.redirect_port", "upstream.eject_after"]


def test_a_missing_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config", "none.toml"]) == cli.MISTAKES
    assert "none.toml: cannot be read: No such file or directory" in capfd.readouterr().err


def test_the_demo_goes_by_the_config(runs: list[tuple[Config, str]]) -> None:
    """It served on port 8080 whatever the config said, and never as a dry run."""
    write(
        'dry_run = true\n[listen]\naddress = "127.0.0.9:8099"\nworkers = 1\n[upstream]\nmax_concurrency = 5\n'
        "[history]\nwindow = 7\n[log]\nrefused_per_second = 3\n[limits]\nrefused_cost = 0.5\n"
    )
    assert cli.main(["demo"]) == cli.FINE
    ((config, said),) = runs
    assert config.dry_run
    assert config.listen.addresses == ("127.0.0.9:8099",)
    assert (config.upstream.max_concurrency, config.history.window) == (5, 7)
    assert (config.log.refused_per_second, config.limits.refused_cost) == (3, 0.5)
    assert f"{sys.executable} -m shield.demo.flood http://127.0.0.9:8099/\n" in said
    assert "does not go by" not in said


@pytest.mark.parametrize(
    ("address", "served"),
    [
        ('"0.0.0.0:80"', ("127.0.0.1:80",)),
        ('":8081"', ("127.0.0.1:8081",)),
        ('["[::]:80", "[2001:db8::1]:80", "192.0.2.1:80"]', ("[::1]:80", "127.0.0.1:80")),
        ('["localhost:80", "site.example:81"]', ("localhost:80", "127.0.0.1:81")),
    ],
)
def test_the_demo_is_on_loopback_and_says_what_it_sets_aside(
    address: str, served: tuple[str, ...], runs: list[tuple[Config, str]]
) -> None:
    write(f'[listen]\naddress = {address}\n[upstream]\nservers = ["http://127.0.0.1:9000"]')
    assert cli.main(["demo"]) == cli.FINE
    ((config, said),) = runs
    assert config.listen.addresses == served
    assert config.upstream.servers == ("demo",)
    assert "The demo does not go by these keys of the config: listen.address, upstream.servers." in said


@pytest.mark.parametrize("arguments", [[], ["fly"], ["config"]])
def test_wrong_usage(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == cli.USAGE
    assert "usage: shield" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--port", "1"], "shield run: error: it takes no --port 1 (`shield run --help`"),
        (["check", "my.toml"], "shield check: error: it takes no my.toml. A config is named by --config my.toml ("),
        (["ban", "192.0.2.1", "5"], "shield ban: error: it takes no 5 (`shield ban --help`"),
    ],
)
def test_what_a_command_does_not_take_is_told(
    arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == cli.USAGE
    assert capfd.readouterr().err.startswith(told)


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capfd.readouterr().out == f"shield {shield.__version__}\n"


# As a process.


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["run", "--help"], ["fly"]])
def test_nobody_waits_for_imports_to_read_help(arguments: list[str]) -> None:
    """`shield --version` took three quarters of a second, and so would each Tab of a shell that completes."""
    script = "import shield.cli, sys\ntry: shield.cli.main()\nfinally: print('', *sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert "shield" in done.stdout + done.stderr
    imported = done.stderr.splitlines()[-1].split()
    ours = {name for name in imported if name.startswith("shield")}
    assert ours == {"shield", "shield.cli", "shield.errors", "shield.terminal"} | CONSOLE
    assert not {"asyncio", "aiohttp", "pydantic", "ssl", "typing_extensions"} & set(imported)


def environment() -> dict[str, str]:
    """Finds Shield in the same place that the tests import it from."""
    return {**os.environ, "PYTHONPATH": str(Path(shield.__file__).parents[1])}


def start(*arguments: str) -> subprocess.Popen[str]:
    """`python -m shield`."""
    command = [sys.executable, "-m", "shield", *arguments]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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


def test_notify_says_what_did_not_arrive(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[notify]\nwebhook = "http://127.0.0.1:9/secret"\n')
    assert cli.main(["notify", "--config", str(path), "--json"]) == cli.MISTAKES
    report = orjson.loads(capfd.readouterr().out)
    assert (report["ok"], report["sent"][0]["where"]) == (False, "http://127.0.0.1:9")
    assert cli.main(["notify", "--config", str(path)]) == cli.MISTAKES
    assert capfd.readouterr().err.startswith("http://127.0.0.1:9: ")
    path.write_text("")
    assert cli.main(["notify", "--config", str(path)]) == cli.MISTAKES
    assert "nobody is to be told" in capfd.readouterr().err


def test_top_without_a_terminal_says_what_scripts_use(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["top"]) == cli.USAGE
    assert "shield status --json" in capfd.readouterr().err
