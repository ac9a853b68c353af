"""Imports of the bench point one way: suites, plots, load and peers, origins, and at the bottom the common modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench.common.processes import ROOT

BENCH = ROOT / "bench"

# From the top to the bottom. A file may import from the folders below its own, and from its own.
ORDER = (("__main__",), ("suites",), ("plots",), ("load", "peers"), ("origins",), ("common",))
RANK = {name: len(ORDER) - place for place, names in enumerate(ORDER) for name in names}
SENDS = {"create_connection", "open_connection", "sock_connect"}
"""What opens a connection. A file that calls one of these has its target from the guard."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {name_of(path): ast.parse(path.read_text("utf-8")) for path in sorted(BENCH.rglob("*.py"))}


def imported(name: str) -> set[str]:
    """The bench's files that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench"):
            found |= {module if module in TREES else str(node.module) for module in
                      (f"{node.module}.{alias.name}" for alias in node.names)}  # fmt: skip
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("bench")}
    return found - {name}


FILES = [name for name in TREES if name != "bench"]


def folder(name: str) -> str:
    return name.split(".")[1]


def test_every_folder_has_its_place() -> None:
    assert {folder(name) for name in FILES} == set(RANK)


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down(name: str) -> None:
    upward = {
        module
        for module in imported(name)
        if folder(module) != folder(name) and RANK[folder(module)] >= RANK[folder(name)]
    }
    assert upward == set()


def test_no_files_import_each_other() -> None:
    left = {name: imported(name) for name in TREES}
    while leaves := [name for name, needs in left.items() if not needs & set(left)]:
        for name in leaves:
            del left[name]
    assert set(left) == set()


def called(tree: ast.Module) -> set[str]:
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "") for each in calls}


@pytest.mark.parametrize("name", [name for name in FILES if SENDS & called(TREES[name])])
def test_the_guard_stands_before_whatever_opens_a_connection(name: str) -> None:
    assert "bench.common.guard" in imported(name)
