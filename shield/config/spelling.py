"""Values as one would write them in the config file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from shield.config.validation import toml_name


def as_toml(value: Any) -> str:
    """A value of a setting on one line; "-" for what is left out."""
    if value is None:
        return "-"
    if is_dataclass(value):
        there = [(toml_name(f.name), getattr(value, f.name)) for f in fields(value)]
        said = [f"{name} = {as_toml(item)}" for name, item in there if item is not None]
        return "{ " + ", ".join(said) + " }" if said else "{}"
    if isinstance(value, Mapping):
        said = [f"{json.dumps(key)} = {as_toml(item)}" for key, item in value.items()]
        return "{ " + ", ".join(said) + " }" if said else "{}"
    if isinstance(value, (tuple, list, frozenset)):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)
