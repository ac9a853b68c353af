"""How the pages for people look: the table [pages]."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from annotated_types import MaxLen
from typing_extensions import Doc

from shield.complaints import Complaint

GROUNDS: Final = ("#f6f7f8", "#14181a")
"""The colours behind a text, in light and in dark (static/page.css)."""
LEAST_CONTRAST: Final = 4.5
"""Ratio of a text's luminance to that of its ground (WCAG 2.2, 1.4.3)."""
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
_CONTACT: Final = re.compile(r"(https?://|mailto:)[!-~]{1,200}")


@dataclass(frozen=True, slots=True)
class PagesSettings:
    """How the pages for people look, and what they say."""

    name: Annotated[
        str, MaxLen(80), Doc("Who runs the site, as its visitors know it: stands on every page of Shield. Empty: none.")
    ] = ""
    logo: Annotated[
        str, Doc("File with a logo, .svg, .png or .webp, of 8 KiB at most: it is a part of each page. Empty: none.")
    ] = ""
    contact: Annotated[
        str, Doc("Where visitors ask for help, and quote the number of their request: https://... or mailto:...")
    ] = ""
    colour: Annotated[
        str, Doc("Colour of bar, links and button in light, like #2f6f62. It must be legible on the page's ground.")
    ] = ""
    colour_dark: Annotated[str, Doc("The same in dark.")] = ""
    directory: Annotated[
        str,
        Doc(
            "Directory with your own texts (`de.po`) and templates (`challenge.html`, `error.html`, `page.css`, "
            "`error.css`), each in place of Shield's. Empty: none."
        ),
    ] = ""

    def complaints(self) -> Iterator[Complaint]:
        if not self.name.isprintable():
            yield ("name",), "allowed: a name in one line"
        if self.contact and not _CONTACT.fullmatch(self.contact):
            yield ("contact",), "allowed: https://... or mailto:..."
        for key, ground in zip(("colour", "colour_dark"), GROUNDS, strict=True):
            colour = getattr(self, key)
            if colour and not _COLOUR.fullmatch(colour):
                yield (key,), 'allowed: a colour like "#2f6f62"'
            elif colour and (found := contrast(colour, ground)) < LEAST_CONTRAST:
                yield (key,), f"not legible: its contrast with {ground} is {found:.1f}; at least {LEAST_CONTRAST}"


def contrast(one: str, other: str) -> float:
    """How well a colour is legible on another one, from 1 to 21 (WCAG 2.2, contrast ratio). Each as #rrggbb."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
