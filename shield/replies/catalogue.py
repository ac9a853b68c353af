"""Catalogues of translated texts, in gettext's .po format, which translators' tools read and write.

Of the format, what pages need is read: comments, `msgid`, `msgstr`, and strings that go on in the next line. Plurals
and contexts are refused, as no text has any. What is in a catalogue is checked here: each translation keeps the
placeholders of its text, and is not so long that a page would lose its form.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shield.files import UnusableError, open_file, why_not

MOST_BYTES: Final = 128 * 1024
"""Of a catalogue."""
LOCALE: Final = Path(__file__).parent / "locale"
_PLACEHOLDER: Final = re.compile(r"\{[a-z]+\}")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\["\\nt])*"')


class CatalogueError(Exception):
    """What is wrong with a file, and at which line (from 1; 0: with all of it)."""

    def __init__(self, path: Path, line: int, what: str) -> None:
        super().__init__(f"{path}:{line}: {what}" if line else f"{path}: {what}")


def read(path: Path) -> dict[str, str]:
    """The translations of a catalogue by their English texts, without those that are empty. CatalogueError when it
    cannot be read or breaks a rule."""
    try:
        with open_file(path, MOST_BYTES) as file:
            data = file.read(MOST_BYTES)
    except (OSError, UnusableError) as error:
        raise CatalogueError(path, 0, why_not(error)) from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CatalogueError(path, data.count(b"\n", 0, error.start) + 1, "not UTF-8") from None
    return _parse(path, text)


def _parse(path: Path, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    msgid: str | None = None
    msgstr: str | None = None
    began = 0

    def close() -> None:
        nonlocal msgid, msgstr
        if msgid is None:
            return
        if msgstr is None:
            raise CatalogueError(path, began, "msgid without msgstr")
        if msgid in found:
            raise CatalogueError(path, began, "this text is translated above already")
        if msgid and msgstr:
            if wrong := fault_of(msgid, msgstr):
                raise CatalogueError(path, began, wrong)
            found[msgid] = msgstr
        msgid = msgstr = None

    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word == "msgid":
            close()
            msgid, began = _string(path, number, rest), number
        elif word == "msgstr" and msgid is not None and msgstr is None:
            msgstr = _string(path, number, rest)
        elif line.startswith('"') and msgid is not None:
            if msgstr is None:
                msgid += _string(path, number, line)
            else:
                msgstr += _string(path, number, line)
        else:
            raise CatalogueError(path, number, 'allowed: comments, msgid "...", msgstr "..." and strings that go on')
    close()
    return found


def _string(path: Path, number: int, text: str) -> str:
    if _STRING.fullmatch(text.strip()) is None:
        raise CatalogueError(path, number, 'not a string in double quotes; within, write \\" and \\\\')
    value: str = ast.literal_eval(text.strip())
    return value


def fault_of(text: str, translation: str) -> str:
    """What is wrong with the translation of a text; empty when nothing is."""
    if sorted(_PLACEHOLDER.findall(text)) != sorted(_PLACEHOLDER.findall(translation)):
        return f"other placeholders than in the text: {', '.join(_PLACEHOLDER.findall(text)) or 'it has none'}"
    most = longest(text)
    if len(translation) > most:
        return f"{len(translation)} characters; at most {most} for this text"
    if any(letter < " " for letter in translation):
        return "a control character"
    return ""


def longest(text: str) -> int:
    """Characters that a translation of a text may have: 1.8 times as many, and 20 for the short ones."""
    return len(text) * 9 // 5 + 20


class Catalogue:
    """The texts in one language. `tag` is its BCP 47 tag, `texts` its translations by the English texts."""

    __slots__ = ("direction", "tag", "texts")

    def __init__(self, tag: str, texts: Mapping[str, str]) -> None:
        self.tag = tag
        self.direction = "rtl" if tag.partition("-")[0] in RIGHT_TO_LEFT else "ltr"
        self.texts = texts

    def text(self, english: str) -> str:
        """A text in this language; the English one where it is not translated."""
        return self.texts.get(english, english)


RIGHT_TO_LEFT: Final = frozenset({"ar", "he", "fa", "ur"})
