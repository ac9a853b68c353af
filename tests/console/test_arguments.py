"""What the command line for a running Shield understands."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from shield import cli
from shield.console.arguments import NAMES, SHELLS, duration
from shield.console.completion import commands, script


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("2d", 172_800), ("1d2h3m4s", 93_784)],
)
def test_times(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1w", "-5m", "5m1h", "1.5h", "1 h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write 90s, 30m"):
        duration(text)


@pytest.mark.parametrize(
    "name", [*NAMES, "run", "check", "demo", "simulate", "config", "config init", "config diff", "config schema"]
)
def test_help_teaches_by_examples_that_are_understood(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([*name.split(), "--help"])
    shown = capfd.readouterr().out
    examples = [line.strip() for line in shown.partition("Examples:")[2].splitlines() if line.startswith("  shield ")]
    assert examples
    assert "Exit status: 0: " in shown
    for example in examples:
        words = example.replace("'our partner'", "our-partner").replace("'a crawler'", "a-crawler").split()
        assert cli._parser().parse_args(words[1 : words.index(">") if ">" in words else None]).command in name


@pytest.mark.parametrize(
    "arguments",
    [
        ["ban"],
        ["ban", "192.0.2.7", "--for", "soon"],
        ["pressure", "up"],
        ["lift", "seven"],
        ["lift", "\u0663"],
        ["completion", "csh"],
    ],
)
def test_wrong_usage(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == cli.USAGE
    assert "usage: shield" in capfd.readouterr().err


def test_the_parser_s_commands_as_a_shell_needs_them() -> None:
    found = commands(cli._parser())
    assert set(NAMES) | {"run", "check", "completion"} <= set(found)
    assert found["pressure"].words == ("hold", "release")
    assert {"--for", "--note", "--json", "--admin"} <= set(found["ban"].options)
    assert found["config"].words == ("init", "diff", "schema")
    assert "--trusted-proxy" in found["config"].inner["init"].options
    assert (found["config"].inner["diff"].files, found["config"].files) == (True, False)


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_for_shells_have_all_commands_and_are_understood(
    shell: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", shell]) == cli.FINE
    text = capfd.readouterr().out
    assert text == script(shell, cli._parser()) + "\n"
    assert all(name in text for name in NAMES)
    found = shutil.which(shell)
    if found is not None:
        path = tmp_path / "script"
        path.write_text(text)
        subprocess.run([found, "-n", str(path)], check=True, timeout=20)


def test_bash_completes(capfd: pytest.CaptureFixture[str]) -> None:
    cli.main(["completion", "bash"])
    ask = 'COMP_WORDS=(shield {0}); COMP_CWORD={1}; _shield; echo "${{COMPREPLY[*]}}"\n'
    questions = [("un", 1), ("pressure ho", 2), ("ban --f", 2), ("config in", 2), ("config init --tr", 3)]
    text = capfd.readouterr().out + "".join(ask.format(*question) for question in questions)
    done = subprocess.run(["bash"], input=text, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.splitlines() == [
        "unban undo", "hold", "--for --force", "init", "--trusted-proxy"
    ]  # fmt: skip
