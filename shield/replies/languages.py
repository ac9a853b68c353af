"""Which language a visitor reads, of those that there are catalogues for, by Accept-Language (RFC 9110 section 12.5.4).

English needs no catalogue. The others are read when somebody first asks for them. A flood has few values of the field,
so those that were looked up are remembered: at most MOST_KNOWN, of at most LONGEST bytes each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shield.replies.catalogue import LOCALE, Catalogue, CatalogueError, read

ENGLISH: Final = "en"
MOST_KNOWN: Final = 512
LONGEST: Final = 200
"""bytes of the field that are read. Browsers send up to 60."""
_SAME: Final = {"nb": "no", "nn": "no", "iw": "he", "in": "id"}
"""Tags of a language that has its catalogue under another one: by now, or by its family."""


class Languages:
    """The catalogues, and the choice between them. `own`: the operator's, whose texts come before ours."""

    __slots__ = ("_catalogues", "_own", "known", "tags")

    def __init__(self, own: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._own = own or {}
        self.tags = frozenset({ENGLISH, *(path.stem for path in LOCALE.glob("*.po")), *self._own})
        self._catalogues: dict[str, Catalogue] = {}
        self.known: dict[bytes, str] = {b"": ENGLISH}  # what was looked up, by Accept-Language

    def of(self, accepted: bytes) -> str:
        """The tag of the language for a visitor who sends this Accept-Language."""
        found = self.known.get(accepted)
        return self._choose(accepted) if found is None else found

    @property
    def own(self) -> tuple[str, ...]:
        """The languages of the operator's own texts."""
        return tuple(self._own)

    def catalogue(self, tag: str) -> Catalogue:
        """The texts of a language; English ones where its catalogue has gone since the start."""
        found = self._catalogues.get(tag)
        if found is None:
            path = LOCALE / f"{tag}.po"
            try:
                ours = read(path) if tag != ENGLISH and path.exists() else {}
            except CatalogueError:
                ours = {}
            found = self._catalogues[tag] = Catalogue(tag, {**ours, **self._own.get(tag, {})})
        return found

    def _choose(self, accepted: bytes) -> str:
        best, tag = 0.0, ENGLISH
        for each in accepted[:LONGEST].decode("latin-1").lower().split(","):
            name, _, weight = each.partition(";")
            found = self._nearest(name.strip())
            quality = _quality(weight)
            if found and quality > best:
                best, tag = quality, found
        if len(accepted) <= LONGEST:
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            self.known[accepted] = tag
        return tag

    def _nearest(self, name: str) -> str:
        """The tag that we have for a wanted one: itself, else its language (RFC 4647 section 3.4); empty if neither."""
        while name:
            if name in self.tags:
                return name
            name = _SAME.get(name) or name.rpartition("-")[0]
        return ""


def _quality(weight: str) -> float:
    """The q of an entry, 1 without one; 0 when it is not a number from 0 to 1."""
    text = weight.replace(" ", "")
    if not text:
        return 1.0
    try:
        value = float(text.removeprefix("q="))
    except ValueError:
        return 0.0
    return value if 0.0 <= value <= 1.0 else 0.0


def in_directory(directory: Path) -> dict[str, dict[str, str]]:
    """The operator's catalogues: the .po files of a directory, by their language. CatalogueError when one is wrong."""
    found = {}
    for path in sorted(directory.glob("*.po")):
        tag = path.stem.lower()
        if not tag.replace("-", "").isalnum() or not tag.isascii() or len(tag) > 20:
            raise CatalogueError(path, 0, "the name is no language: de.po, pt-br.po")
        found[tag] = read(path)
    return found
