"""The files of the dashboard, read once: a page, its style and script, and uPlot, which draws.

Whoever reaches the admin listener may have them: they hold nothing of this Shield. The page asks the API for
everything, with a token where one is needed. It has no inline script or style, and its policy lets it ask nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""The Content-Security-Policy of the page."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file: its bytes, and its Content-Type."""

    data: bytes
    kind: str


@cache
def files() -> Mapping[str, File]:
    """All files, by their paths on the admin listener."""
    folder = Path(__file__).parent
    found = {
        f"/dashboard/{path.name}": File(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES
    }
    return {"/": found["/dashboard/index.html"], **found}
