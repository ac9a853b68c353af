"""The JSON Schema that editors read: current, complete, and at one with the config's own checks."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from shield.config.schema import schema
from shield.config.settings import Config
from shield.config.validation import hints

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "config.toml", *sorted((Path(__file__).parent / "good").glob("*.toml"))]
EXAMPLE = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
WHOLE = pytest.mark.skipif(not (ROOT / "config.toml").exists(), reason="needs the whole repository")


@functools.cache
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema())


def wrong(text: str) -> list[str]:
    """What the schema says against a TOML document."""
    found = validator().iter_errors(tomllib.loads(text))
    return [f"{error.json_path}: {error.message}" for error in found]


def test_it_is_a_schema_and_current() -> None:
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    assert json.loads((ROOT / "docs" / "config.schema.json").read_text("utf-8")) == made, "run make docs"


@WHOLE
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_configs_are_right_by_it(path: Path) -> None:
    assert wrong(path.read_text("utf-8")) == []


@WHOLE
def test_examples_in_the_docs_are_right_by_it() -> None:
    found = {
        f"{page.name}, example {number}": example
        for page in sorted(ROOT.glob("docs/**/*.md"))
        for number, example in enumerate(EXAMPLE.findall(page.read_text("utf-8")))
        if "[populations." not in example  # of a scene
    }
    assert len(found) >= 6
    assert {name: errors for name, example in found.items() if (errors := wrong(example))} == {}


@pytest.mark.parametrize(
    "text",
    [
        "dry_run = 1",
        "dryrun = true",
        "[listen]\nport = 80",
        "[listen]\nworkers = -1",
        '[challenge]\nmode = "sometimes"',
        "[limits]\nclient = { rate = 1 }",
        '[[route]]\nmethods = ["POST"]',
        '[[route]]\npath = "/"\nlimit = { client = { per_minute = 0, burst = 1 } }',
    ],
)
def test_mistakes_are_wrong_by_it(text: str) -> None:
    assert wrong(text) != []


def test_each_key_says_what_it_means_and_its_unit() -> None:
    made = schema()
    for name, kind in hints(Config).items():
        table = made["properties"][name]
        assert table["description"], name
        if "$ref" in table:
            assert "default" not in table
            keys = made["$defs"][table["$ref"].rpartition("/")[2]]["properties"]
            assert all(key["description"] for key in keys.values()), name
        assert kind is not None
    watch: dict[str, Any] = made["$defs"]["TimeoutSettings"]["properties"]["header"]
    assert watch["default"] == 10.0
    assert watch["description"].endswith("Unit: s.")
    assert "title" not in watch


@WHOLE
def test_the_shipped_config_names_it() -> None:
    """As Taplo reads it: in a comment at the top, from where the file is."""
    first = (ROOT / "config.toml").read_text("utf-8").splitlines()[0]
    assert first.startswith("#:schema ")
    assert (ROOT / first.removeprefix("#:schema ")).is_file()
