"""A class that has grown says why, as `make lint` asks (.ci/sizes.py)."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

import shield

SCRIPT = Path(__file__).parents[1] / ".ci" / "sizes.py"


@pytest.fixture(scope="module")
def sizes() -> Any:
    spec = importlib.util.spec_from_file_location("sizes", SCRIPT)
    if spec is None or spec.loader is None or not SCRIPT.is_file():
        pytest.skip("the checks are not part of a wheel")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_class_with_many_attributes_says_why(sizes: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status = sizes.main(Path(shield.__file__).parent)
    assert (status, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize(
    ("attributes", "name", "docstring", "silent"),
    [
        (15, "Thing", "A thing.", False),
        (16, "Thing", "A thing.", True),
        (16, "Thing", "A thing. It has more than\n    15 attributes because it is large.", False),
        (16, "ThingSettings", "A thing.", False),
    ],
)
def test_what_it_has_to_say(sizes: Any, attributes: int, name: str, docstring: str, silent: bool) -> None:
    slots = [f"a{n}" for n in range(attributes)]
    (node,) = ast.parse(f'class {name}:\n    """{docstring}"""\n    __slots__ = {slots}').body
    assert sizes.unexplained(node) is silent
