"""What Shield imports is what it says it needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import shield

ROOT = Path(__file__).parents[2]


def test_nobody_is_told_to_install_a_stranger_s_package() -> None:
    """The name `shield` on PyPI is not ours: what it installs is no proxy, and an upgrade would replace this one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == "shield-proxy"
    assert project["scripts"] == {"shield": "shield.cli:main"}
    texts = [*(ROOT / "docs").rglob("*.md"), *Path(shield.__file__).parent.rglob("*.py")]
    told = re.compile(r"pip install [^\n`]*\bshield\b(?!-proxy)|\bshield\[")
    assert [path.name for path in texts if told.search(path.read_text("utf-8"))] == []


def test_every_import_is_declared_and_not_left_to_others_to_bring() -> None:
    imported = set()
    for path in Path(shield.__file__).parent.rglob("*.py"):
        if path.name in (
            "top.py",
            "mmdb.py",
            "httpx.py",
            "hashwx.py",
        ):  # of extras of these names, and they say what is missing
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                imported.add(node.module.partition(".")[0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[=<>\[ ]", each)[0].lower().replace("_", "-") for each in project["dependencies"]}
    known = packages_distributions()
    foreign = imported - sys.stdlib_module_names - {"shield"}
    needed = {known[name][0].lower().replace("_", "-") for name in foreign}
    assert needed == declared
