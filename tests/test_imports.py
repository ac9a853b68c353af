"""Imports point one way, and the policy has no clock, no chance and no I/O of its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import shield

ROOT = Path(shield.__file__).parent
POLICY_MAY = {  # no clock, no chance, no I/O
    "orjson",  # of rows for the board
    *("__future__", "annotated_types", "array", "base64", "bisect", "cachetools", "collections", "dataclasses", "enum"),
    *("functools", "hashlib", "heapq", "hmac", "ipaddress", "math", "operator", "re", "shield", "struct", "typing"),
    "typing_extensions",
}
PURE_MAY = POLICY_MAY | {"http", "multidict", "orjson", "urllib"}  # http/, and wire/ but for what reads and writes
ALSO = {  # and what single files use of a module that could do more
    "shield.http.head": {"aiohttp"},  # its parser's messages
    "shield.http.head_reader": {"aiohttp"},
    "shield.wire.certificate": {"ssl"},  # PEM to DER
    "shield.wire.proxy_protocol": {"socket"},  # the numbers of address families
}
FOUNDATION = {"bucket", "table", "keys", "status"}  # of the policy: these import none of the others
LOWEST = {f"shield.{name}" for name in ("model", "marks", "complaints", "readers")}  # what the policy may import, too


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> list[tuple[str, str]]:
    """(module, name) of every import in a file, those for type checking included; name is empty for a whole module."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


FILES = {name_of(path): imports(path) for path in sorted(ROOT.rglob("*.py"))}
LEAVES = {name_of(path) for path in ROOT.rglob("*.py") if path.name != "__init__.py"}
POLICY = {name: found for name, found in FILES.items() if name.startswith("shield.policy")}


def test_there_is_something_to_look_at() -> None:
    assert {"shield.model", "shield.policy.engine", "shield.policy.bucket"} <= set(FILES)


@pytest.mark.parametrize("name", POLICY)
def test_the_policy_does_no_io_and_reads_no_clock(name: str) -> None:
    assert {module.partition(".")[0] for module, _ in POLICY[name]} - POLICY_MAY == set()
    tree = (
        ast.parse((ROOT.parent / Path(*name.split("."))).with_suffix(".py").read_text("utf-8"))
        if name in LEAVES
        else ast.parse("")
    )
    assert {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & {"open", "print", "input"} == set()


def test_the_policy_opens_no_file_and_prints_nothing() -> None:
    called = set()
    for path in (ROOT / "policy").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        called |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert called & {"open", "print", "input", "__import__"} == set()


ASK_THE_KERNEL = ("transport", "splice", "spill", "sideline")
PURE = [name for name in FILES if name.startswith(("shield.http", "shield.wire")) and not name.endswith(ASK_THE_KERNEL)]


@pytest.mark.parametrize("name", PURE)
def test_http_and_wire_are_pure(name: str) -> None:
    assert {module.partition(".")[0] for module, _ in FILES[name]} - PURE_MAY - ALSO.get(name, set()) == set()


def test_the_docstring_of_a_folder_imports_nothing() -> None:
    """To import a file runs the `__init__` of its folder, so an import there would be one of every file."""
    assert {name for name in FILES if name not in LEAVES and FILES[name]} == set()


@pytest.mark.parametrize("name", POLICY)
def test_the_policy_imports_nothing_of_shield_but_itself_and_the_vocabulary(name: str) -> None:
    inside = {module for module, _ in POLICY[name] if module.partition(".")[0] == "shield"}
    assert {module for module in inside if not module.startswith("shield.policy.") and module not in LOWEST} == set()


@pytest.mark.parametrize(
    "name", [name for name in POLICY if name not in {"shield.policy.engine", "shield.policy.sites"}]
)
def test_nothing_in_the_policy_imports_the_engine(name: str) -> None:
    assert "shield.policy.engine" not in {module for module, _ in POLICY[name]}


@pytest.mark.parametrize("module", sorted(FOUNDATION))
def test_the_foundation_rests_on_nothing(module: str) -> None:
    inside = {module for module, _ in FILES[f"shield.policy.{module}"] if module.startswith("shield")}
    assert inside <= LOWEST | {"shield.policy.status"}


# The way of a request is the order of the folders. A file may import from folders below its own, and from its own.
ORDER = (
    ("__main__",),
    ("cli",),
    ("report",),
    ("replay",),
    ("process", "simulate", "console"),
    ("demo",),
    ("config",),
    ("accept",),
    ("client",),
    ("exchange", "replies"),
    ("upstream",),
    ("cluster",),
    ("operator", "exchange.ports", "lookup"),
    ("policy", "http", "wire", "solving"),
    ("model", "marks", "complaints", "files", "errors", "readers", "terminal"),
)
RANK = {name: len(ORDER) - place for place, names in enumerate(ORDER) for name in names}
PORTS = "exchange.ports"  # the one file of exchange/ that upstream/ may import
# only these look at the config as a whole
CONFIG_READERS = {"process", "simulate", "replay", "cli", "demo", "config", "console"}
TOML = {"tomllib", "pydantic"}


def place_of(module: str) -> str:
    """The entry of ORDER that a module belongs to; for a folder's own docstring, the folder."""
    name = module.removeprefix("shield.")
    return name if name in RANK else name.partition(".")[0]


def edges() -> dict[str, set[str]]:
    """Each file of Shield, without the folders' docstrings, and the files that it imports."""
    found = {}
    for name, imported in FILES.items():
        wanted = {f"{module}.{what}" if f"{module}.{what}" in FILES else module for module, what in imported}
        found[name] = {module for module in wanted if module in FILES and module != "shield"}
    return found


def test_every_folder_has_its_place() -> None:
    assert {place_of(name) for name in FILES if name != "shield"} - set(RANK) == set()


def upward() -> set[tuple[str, str]]:
    """Imports that do not point down."""
    found = set()
    for name, imported in edges().items():
        for module in imported:
            here, there = place_of(name), place_of(module)
            same = here == there
            if not same and RANK[here] <= RANK[there]:
                found.add((name, module))
    return found


def circular() -> set[str]:
    """Files that reach themselves by their imports."""
    left = edges()
    while leaves := [name for name, needs in left.items() if not needs & set(left)]:
        for name in leaves:
            del left[name]
    wanted = {module for needs in left.values() for module in needs}
    while top := [name for name in left if name not in wanted]:
        for name in top:
            del left[name]
        wanted = {module for needs in left.values() for module in needs}
    return set(left)


def test_the_ports_know_values_only() -> None:
    assert {place_of(module) for module in edges()[f"shield.{PORTS}"]} <= {"http", "wire", "model"}


def test_imports_point_down() -> None:
    assert upward() == set()


def test_what_programs_use_stands_alone() -> None:
    """A program that calls a site imports no proxy, and the proxy nothing of it: only commands may."""
    of = {name: needs for name, needs in edges().items() if name.startswith("shield.solving")}
    assert {place_of(module) for needs in of.values() for module in needs} == {"solving"}
    users = {name for name, needs in edges().items() if any(place_of(module) == "solving" for module in needs)}
    assert {place_of(name) for name in users} <= {"solving", "cli"}


def test_no_files_import_each_other() -> None:
    assert circular() == set()


def test_of_the_exchange_the_upstream_sees_the_ports_only() -> None:
    found = {
        module
        for name, imported in edges().items()
        if name.startswith("shield.upstream")
        for module in imported
        if module.startswith("shield.exchange")
    }
    assert found <= {f"shield.{PORTS}"}


def test_only_some_read_the_whole_config_and_only_config_knows_toml() -> None:
    readers = {name for name, imported in edges().items() if any(m.startswith("shield.config") for m in imported)}
    assert {place_of(name) for name in readers} <= CONFIG_READERS
    knows = {name for name, imported in FILES.items() if TOML & {module.partition(".")[0] for module, _ in imported}}
    assert {place_of(name) for name in knows} <= {"config", "simulate", "demo"}
