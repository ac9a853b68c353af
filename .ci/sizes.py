"""The largest classes and the longest functions of shield/: what to look at before something grows further.

Only information: `make lint` prints it and fails for none of it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SHOWN = 10


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


def main(root: Path) -> None:
    classes, functions = [], []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ClassDef):
                classes.append((len(attributes(node)), f"{where} {node.name}"))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append((node.end_lineno - node.lineno + 1, f"{where} {node.name}"))
    for title, rows in (("attributes of a class", classes), ("lines of a function", functions)):
        print(f"Most {title}:")
        for count, name in sorted(rows, key=lambda row: (-row[0], row[1]))[:SHOWN]:
            print(f"  {count:4} {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "shield"))
