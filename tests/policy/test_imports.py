"""Imports point one way, and the policy has no clock, no chance and no I/O of its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import shield

ROOT = Path(shield.__file__).parent
FORBIDDEN = {"asyncio", "aiohttp", "time", "random", "secrets", "logging", "socket", "os", "uvloop", "datetime"}
FOUNDATION = {"bucket", "table", "keys"}  # of the policy: these import none of its other modules
VALUES = (  # what proxy and admin may take from the policy's modules besides the engine
    "Settings",
    "Challenge",
    "Client",
    "Pass",
    "Redeemed",
    "Redemption",
    "Rate",
)
FOUNDATIONS_OF = {  # and its foundations: what the edge limits by address, it limits as the policy does
    "shield.proxy.openings": {"SLACK", "Table", "place"},
    "shield.proxy.connections": {"place"},
}


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
POLICY = {name: found for name, found in FILES.items() if name.startswith("shield.policy")}


def test_there_is_something_to_look_at() -> None:
    assert {"shield.model", "shield.policy.engine", "shield.policy.bucket"} <= set(FILES)


@pytest.mark.parametrize("name", POLICY)
def test_the_policy_does_no_io_and_reads_no_clock(name: str) -> None:
    assert {module.partition(".")[0] for module, _ in POLICY[name]} & FORBIDDEN == set()


@pytest.mark.parametrize("name", POLICY)
def test_the_policy_imports_nothing_of_shield_but_itself_and_the_vocabulary(name: str) -> None:
    inside = {module for module, _ in POLICY[name] if module.partition(".")[0] == "shield"}
    assert {
        module for module in inside if not module.startswith("shield.policy.") and module != "shield.model"
    } == set()


@pytest.mark.parametrize("name", [name for name in POLICY if name != "shield.policy.engine"])
def test_nothing_in_the_policy_imports_the_engine(name: str) -> None:
    assert "shield.policy.engine" not in {module for module, _ in POLICY[name]}


@pytest.mark.parametrize("module", sorted(FOUNDATION))
def test_bucket_and_table_rest_on_nothing(module: str) -> None:
    inside = {module for module, _ in FILES[f"shield.policy.{module}"] if module.startswith("shield")}
    assert inside <= {"shield.model"}


def test_the_vocabulary_imports_the_policy_for_type_checking_only() -> None:
    tree = ast.parse((ROOT / "model.py").read_text("utf-8"))
    at_run_time = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not any((module or "").startswith("shield") for module in at_run_time)


def test_no_two_modules_of_the_policy_import_each_other() -> None:
    def runtime(name: str) -> set[str]:
        tree = ast.parse((ROOT.parent / Path(*name.split("."))).with_suffix(".py").read_text("utf-8"))
        return {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}

    edges = {name: runtime(name) & set(POLICY) for name in POLICY if name != "shield.policy"}
    while leaves := [name for name, needs in edges.items() if not needs & set(edges)]:
        for name in leaves:
            del edges[name]
    assert edges == {}


def test_only_the_service_and_the_command_line_read_the_config() -> None:
    readers = {name for name, found in FILES.items() if any(module == "shield.config" for module, _ in found)}
    belongs_to_config = {"shield.reference", "shield.cross_checks", "shield.validation"}  # its checks and its manual
    roots = {"shield.service", "shield.workers", "shield.worker", "shield.simulate.world", "shield.simulate.command"}
    assert readers - belongs_to_config <= roots | {"shield.cli", "shield.__main__"}


@pytest.mark.parametrize(
    "name", [n for n in FILES if n.startswith(("shield.proxy", "shield.admin", "shield.simulate"))]
)
def test_the_edge_takes_from_the_policy_its_engine_and_values_only(name: str) -> None:
    for module, what in FILES[name]:
        if module.startswith("shield.policy") and module != "shield.policy.engine":
            allowed = what.endswith(VALUES) or what in FOUNDATIONS_OF.get(name, ())
            assert allowed, f"{name} takes {what} from {module}"
