"""The manual page shield(1)."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shield import __version__, cli
from shield.console.completion import commands
from shield.console.manual import page

PAGE = Path(__file__).parents[2] / "deploy" / "man" / "shield.1"
GROFF = shutil.which("groff")


@pytest.mark.skipif(not PAGE.exists(), reason="deploy/ is no part of the wheel")
def test_it_is_current() -> None:
    assert PAGE.read_text("utf-8") == cli.manual(), "run make docs"


def test_every_command_and_option_is_in_it() -> None:
    made = cli.manual()
    found = commands(cli._parser())
    for name, command in found.items():
        section, *_ = re.findall(
            rf"^\.SS shield {re.escape(name.replace('-', chr(92) + '-'))}(?: .*)?\n((?:(?!\.SS shield).*\n)*)",
            made,
            re.MULTILINE,
        )
        for option in command.options:
            if option != "--help":
                assert option.replace("-", "\\-") in section, (name, option)
        assert command.inner or "Examples:" in section
    assert ".SS shield config init [FILE] [\\-\\-upstream SERVER]" in made
    assert f"Shield {__version__}" in made


def test_text_that_roff_would_take_for_orders() -> None:
    parser = argparse.ArgumentParser(
        prog="shield", description="A \\thing that\n.B ends", epilog="Examples:\n  .x\n  'y"
    )
    made = page(parser, "1")
    assert "\\ething that\n\\&.B ends" in made
    assert "\\&.x\n\\&'y" in made


@pytest.mark.skipif(GROFF is None, reason="groff is not installed")
def test_groff_finds_it_right() -> None:
    assert GROFF is not None
    done = subprocess.run(
        [GROFF, "-man", "-Tutf8", "-ww", "-z"],
        input=cli.manual(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
