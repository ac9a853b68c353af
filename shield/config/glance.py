"""A glance at a config: one key of it, unchecked. To read and check all of it takes half a second."""

from __future__ import annotations

import tomllib
from pathlib import Path


def admin_address(path: str) -> str | None:
    """`admin.address` as the file at `path` has it; None where it does not say. Raises OSError, or ValueError for what
    is no TOML or has something else there."""
    with Path(path).open("rb") as file:
        table = tomllib.load(file).get("admin", {})
    address = table.get("address") if isinstance(table, dict) else 0
    if address is not None and not isinstance(address, str):
        raise ValueError("admin.address is no text")
    return address
