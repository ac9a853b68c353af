"""What Shield imports is what it says it needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import shield


def test_every_import_is_declared_and_not_left_to_others_to_bring() -> None:
    imported = set()
    for path in Path(shield.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                imported.add(node.module.partition(".")[0])
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[=<>\[ ]", each)[0].lower().replace("_", "-") for each in project["dependencies"]}
    known = packages_distributions()
    foreign = imported - sys.stdlib_module_names - {"shield"}
    needed = {known[name][0].lower().replace("_", "-") for name in foreign}
    assert needed == declared
