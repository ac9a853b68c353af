"""A glance at a config: two keys of it, unchecked. To read and check all of it takes half a second."""

from __future__ import annotations

import tomllib
from pathlib import Path


def admin(path: str) -> tuple[str | None, str]:
    """`admin.address` and `admin.certificate` as the file at `path` has them; None and "" where it does not say. Raises
    OSError, or ValueError for what is no TOML or has something else there."""
    with Path(path).open("rb") as file:
        table = tomllib.load(file).get("admin", {})
    address, certificate = (table.get("address"), table.get("certificate", "")) if isinstance(table, dict) else (0, "")
    if (address is not None and not isinstance(address, str)) or not isinstance(certificate, str):
        raise ValueError("admin.address or admin.certificate is no text")
    return address, certificate
