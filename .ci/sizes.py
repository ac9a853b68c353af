"""The largest classes and the longest functions of shield/: what to look at before something grows further.

`make lint` prints them. It fails where a class has more than MOST attributes and no sentence with REASON in its
docstring says why it must. Settings and status are lists of fields, and exempt.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SHOWN = 10
MOST = 15
REASON = f"more than {MOST} attributes"
LISTS = ("Config", "Settings", "Status")
"""How the names of classes end that are lists of fields."""


def attributes(node: ast.ClassDef) -> set[str]:
    """What an instance holds: slots, dataclass fields, and whatever its methods set."""
    found: set[str] = set()
    enum = any("enum" in ast.unparse(base).lower() for base in node.bases)
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name) and not enum:
            if "ClassVar" not in ast.unparse(part.annotation):
                found.add(part.target.id)
        elif isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "__slots__":
            found |= {name.value for name in ast.walk(part.value) if isinstance(name, ast.Constant)}
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= set(own(part))
    return found


def own(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """The attributes that a method sets of its object."""
    for part in ast.walk(function):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store) and ast.unparse(part.value) == "self":
            yield part.attr


def unexplained(node: ast.ClassDef) -> bool:
    """Whether a class has too many attributes and does not say why."""
    said = " ".join((ast.get_docstring(node) or "").split())
    return len(attributes(node)) > MOST and not node.name.endswith(LISTS) and REASON not in said.lower()


def main(root: Path) -> int:
    classes, functions, silent = [], [], []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ClassDef):
                classes.append((len(attributes(node)), f"{where} {node.name}"))
                if unexplained(node):
                    silent.append(f"{where} {node.name} has {len(attributes(node))}")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append((node.end_lineno - node.lineno + 1, f"{where} {node.name}"))
    for title, rows in (("attributes of a class", classes), ("lines of a function", functions)):
        print(f"Most {title}:")
        for count, name in sorted(rows, key=lambda row: (-row[0], row[1]))[:SHOWN]:
            print(f"  {count:4} {name}")
    for line in silent:
        print(f"{line} attributes: say in its docstring why it must have {REASON}", file=sys.stderr)
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "shield")))
