"""What the docs name exists: files, links, classes and their methods, functions, tests, keys, metrics, make targets.

Who renames something that the docs name corrects the docs.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path

import pytest

from shield.config.settings import Config
from shield.config.validation import hints

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in (*ROOT.glob("docs/**/*.md"), *(ROOT / f"{n}.md" for n in ("README", "CONTRIBUTING"))))
HERE = pytest.mark.skipif(not (ROOT / "Makefile").exists(), reason="needs the whole repository")

CODE = ("shield", "bench", "tests", ".ci")
ENDINGS = r"(?:py|md|toml|txt|html|js|css|json|yml|yaml|sh|service|socket|cfg|svg|bin)"
FILE = re.compile(rf"(?!/)[\w./-]*\w\.{ENDINGS}|(?:shield|tests|docs|bench|deploy|requirements|\.ci)/[\w./-]*")
TEST = re.compile(rf"({FILE.pattern})::(\w+)|(test_\w+)")
METHOD = re.compile(r"([A-Z]\w*[a-z]\w*)\.(_?[a-z]\w*)(?:\(.*\))?")
CLASS = re.compile(r"_?[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]*)+")
FUNCTION = re.compile(r"(?:\w+\.)*(_?[a-z]\w*)\(\)")
MODULE = re.compile(r"-m ((?:shield|bench|tests)[\w.]*)|(?<![\w/.])(shield\.[a-z_.]+[a-z_])(?!\w)")
CONSTANT = re.compile(r"((?:[a-z_]+\.)+)(_?[A-Z][A-Z_0-9]+)|(_?[A-Z][A-Z0-9]*_[A-Z_0-9]+)")
KEY = re.compile(r"([a-z_]+)\.([a-z_0-9]+)(?:\.([a-z]+))?")
TARGET = re.compile(r"make ([a-z-]+)(?: [A-Z_]+=.*)?")
METRIC = re.compile(r"shield_[a-z_]+(?=\W|$)")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")

OTHERS = {"ClientHello", "ClientSession", "SameSite", "WebSocket", "WebSockets", "module.NAME", "history.unusable"}
"""Names of other people's that look like ours, placeholders, and files that are made while Shield runs."""
OTHER_FUNCTIONS = {"accept", "connect", "fetch", "freeze", "recv", "send", "writev"}
OTHER_FILES = {"history.json", "learned.json", "rules.json"}
"""Files that are made or asked for while Shield runs."""


@cache
def files() -> frozenset[str]:
    """Every file and folder of the repository, from its root."""
    found = set()
    for top in (*CODE, "docs", "deploy", "requirements"):
        for path in (ROOT / top).rglob("*"):
            if "__pycache__" not in path.parts:
                found |= {str(path.relative_to(ROOT)), str(path.parent.relative_to(ROOT))}
    return frozenset(found | {path.name for path in ROOT.iterdir()})


@cache
def definitions() -> tuple[frozenset[str], dict[str, frozenset[str]], frozenset[str]]:
    """Functions, classes with what is defined or set in each, and constants of modules."""
    functions: set[str] = set()
    classes: dict[str, set[str]] = {}
    constants: set[str] = set()
    for top in CODE:
        for path in (ROOT / top).rglob("*.py"):
            tree = ast.parse(path.read_text("utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    functions.add(node.name)
                elif isinstance(node, ast.ClassDef):
                    classes.setdefault(node.name, set()).update(members(node))
            constants |= {name for node in tree.body for name in assigned(node)}
    return frozenset(functions), {name: frozenset(found) for name, found in classes.items()}, frozenset(constants)


def members(node: ast.ClassDef) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield part.name
        elif isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            yield part.attr
        else:
            yield from assigned(part)


def assigned(node: ast.AST) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    yield from (target.id for target in targets if isinstance(target, ast.Name))


@cache
def keys() -> dict[str, frozenset[str]]:
    return {name: frozenset(hints(kind)) for name, kind in hints_of_tables().items()}


def hints_of_tables() -> dict[str, type]:
    found = {name: type(getattr(Config(), name, None)) for name in hints(Config)}
    return {name: kind for name, kind in found.items() if is_dataclass(kind)}


@cache
def strings() -> str:
    """The source in which the metrics are named."""
    return "".join(path.read_text("utf-8") for path in (ROOT / "shield").rglob("*.py"))


def exists(path: str) -> bool:
    """From the root, or from any folder: `policy/queue.py` is named in short, too."""
    path = path.rstrip("/").removeprefix("./")
    return path in files() or any(known.endswith(f"/{path}") for known in files()) or path in OTHER_FILES


def has_module(name: str) -> bool:
    """A module, a folder of them, or a name in a module."""
    parts = name.split(".")
    whole, inside = "/".join(parts), "/".join(parts[:-1])
    return whole in files() or f"{whole}.py" in files() or f"{inside}.py" in files()


def wrong(span: str) -> Iterator[str]:
    """What one piece of code in a page names and nobody has."""
    functions, classes, constants = definitions()
    if span in OTHERS:
        return
    if match := TEST.fullmatch(span):
        path, test, alone = match.groups()
        if (path and not exists(path)) or ((test or alone) not in functions and not exists(f"{alone}.py")):
            yield span
    elif FILE.fullmatch(span):
        if not exists(span):
            yield span
    elif match := METHOD.fullmatch(span):
        name, method = match.groups()
        if method not in classes.get(name, ()):
            yield span
    elif CLASS.fullmatch(span):
        if span not in classes and not hasattr(builtins, span):
            yield span
    elif match := FUNCTION.fullmatch(span):
        if match[1] not in functions and match[1] not in OTHER_FUNCTIONS and not hasattr(builtins, match[1]):
            yield span
    elif match := CONSTANT.fullmatch(span):
        place, name, alone = match.groups()
        if (name or alone) not in constants or (place and not has_module(f"shield.{place.rstrip('.')}")):
            yield span
    elif (match := KEY.fullmatch(span)) and match[1] in keys():
        if match[2] not in keys()[match[1]]:
            yield span
    elif match := TARGET.fullmatch(span):
        if not re.search(rf"^{match[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE):
            yield span
    elif match := METRIC.match(span):
        if span not in {"shield_pass", "shield_pass_wait"} and not any(
            name in strings() for name in metric_names(match[0])
        ):
            yield span
    else:
        for module in (one or two for one, two in MODULE.findall(span)):
            if not has_module(module) and module not in {"shield.toml", "shield.service", "shield.example"}:
                yield module


def metric_names(shown: str) -> Iterator[str]:
    """As they may stand in the code: what a scrape shows has an ending that the library adds."""
    for ending in ("", "_total", "_bucket", "_sum", "_count"):
        if shown.endswith(ending):
            yield f'"{shown.removesuffix(ending)}"'


def spans(text: str) -> Iterator[str]:
    """Pieces of code in running text; blocks of it are left out, as they show what a user types."""
    text = re.sub(r"^ *(```|~~~).*?^ *\1", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from (span.replace("\n", " ") for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text))


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def dead_links(page: Path) -> Iterator[str]:
    for path, anchor in LINK.findall(page.read_text("utf-8")):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            yield f"({path}{anchor})"


def stale() -> set[str]:
    found = set()
    for page in PAGES:
        if page.exists():
            name = page.relative_to(ROOT)
            found |= {f"{name} {what}" for span in spans(page.read_text("utf-8")) for what in wrong(span)}
            found |= {f"{name} {link}" for link in dead_links(page)}
    return found


@HERE
def test_what_the_docs_name_exists() -> None:
    assert not stale(), "the docs name what is nowhere: correct them"


@HERE
@pytest.mark.parametrize(
    "span",
    [
        "policy/no_such_file.py", "tests/policy/test_queue.py::test_no_such", "test_nothing_at_all",
        "Engine.no_method()",
        "NoSuchClass", "no_such_function()", "policy.queue.NO_SUCH", "NO_SUCH", "queue.no_such_key", "make no-target",
        "shield_no_such_metric", "python -m shield.no.module", "shield/no_folder/",
    ],
)  # fmt: skip
def test_what_is_nowhere_is_found(span: str) -> None:
    assert list(wrong(span))


@HERE
@pytest.mark.parametrize(
    "span",
    [
        "policy/engine.py", "shield/policy/", "Engine.decide()", "Engine", "decide()", "queue.interval", "make test",
        "shield_pressure", "shield_faults_total", "python -m bench micro", "policy.pass_tokens.TOKEN_CHARS",
        "docs/protocol.md",
    ],
)  # fmt: skip
def test_what_exists_is_let_through(span: str) -> None:
    assert not list(wrong(span))
