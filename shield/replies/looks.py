"""How the pages for people look: what an operator has put in place of Shield's name, colours, texts and templates.

Everything is read and tried once, at the start and by `shield check`: each template is rendered in each of its forms,
so a mistake is told with its file and line, and not to a visitor.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shield.files import UnusableError, open_file, why_not
from shield.replies.catalogue import CatalogueError
from shield.replies.languages import in_directory
from shield.replies.settings import PagesSettings, contrast

MOST_LOGO: Final = 8 * 1024
"""Bytes of a logo."""
MOST_FILE: Final = 64 * 1024
"""Bytes of a template or style sheet."""
TEMPLATES: Final = ("challenge.html", "error.html", "page.css", "error.css")
STATIC: Final = Path(__file__).parent / "static"
_MEDIA: Final = {".svg": ("image/svg+xml", b"<"), ".png": ("image/png", b"\x89PNG"), ".webp": ("image/webp", b"RIFF")}
"""Media type, and how such a file begins."""


class LooksError(Exception):
    """What is wrong with what the operator gave, and with which setting of [pages]."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key = key


@dataclass(frozen=True, slots=True)
class Looks:
    """What all pages share. `files` are the templates and style sheets by name, `texts` translations by language."""

    name: str = ""
    logo: str = ""  # a data: URI
    contact: str = ""
    colours: str = ""  # CSS
    files: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def file(self, name: str) -> str:
        """A template or a style sheet: the operator's, else ours. Style sheets end with the operator's colours."""
        found = self.files.get(name)
        if found is None:
            found = (STATIC / name).read_text(encoding="utf-8")
        return found.strip() + "\n" + self.colours if name.endswith(".css") and self.colours else found


def load(settings: PagesSettings) -> Looks:
    """What the settings ask for. LooksError when a file cannot be used."""
    files: dict[str, str] = {}
    texts: Mapping[str, Mapping[str, str]] = {}
    if settings.directory:
        directory = Path(settings.directory)
        if not directory.is_dir():
            raise LooksError("directory", f"{directory} is no directory")
        for path in sorted(directory.iterdir()):
            if path.name in TEMPLATES:
                files[path.name] = _text(path)
            elif path.suffix != ".po":
                raise LooksError("directory", f"{path}: allowed: {', '.join(TEMPLATES)} and texts like de.po")
        try:
            texts = in_directory(directory)
        except CatalogueError as error:
            raise LooksError("directory", str(error)) from None
    logo = _logo(Path(settings.logo)) if settings.logo else ""
    return Looks(settings.name, logo, settings.contact, _colours(settings), files, texts)


def _text(path: Path) -> str:
    data = _bytes("directory", path, MOST_FILE)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LooksError("directory", f"{path}:{line}: not UTF-8") from None


def _bytes(key: str, path: Path, most: int) -> bytes:
    try:
        with open_file(path, most) as file:
            return file.read(most)
    except (OSError, UnusableError) as error:
        raise LooksError(key, f"{path} {why_not(error)}") from None


def _logo(path: Path) -> str:
    media, begins = _MEDIA.get(path.suffix.lower(), ("", b""))
    if not media:
        raise LooksError("logo", f"{path}: allowed: .svg, .png, .webp")
    data = _bytes("logo", path, MOST_LOGO)
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(begins):
        raise LooksError("logo", f"{path} is no {path.suffix[1:].upper()} file")
    return f"data:{media};base64,{binascii.b2a_base64(data, newline=False).decode()}"


def _colours(settings: PagesSettings) -> str:
    """The operator's colours as CSS; on the button is black or white, whichever is more legible."""
    found = ""
    for colour, rule in ((settings.colour, "{}"), (settings.colour_dark, "@media(prefers-color-scheme:dark){{{}}}")):
        if colour:
            on = max(("#ffffff", "#000000"), key=lambda text: contrast(text, colour))
            found += rule.format(f":root{{--accent:{colour};--on-accent:{on}}}") + "\n"
    if settings.colour and not settings.colour_dark:  # ours stays
        found += "@media(prefers-color-scheme:dark){:root{--accent:#6dbba9;--on-accent:#000}}\n"
    return found
