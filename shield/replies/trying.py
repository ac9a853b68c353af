"""Whether what an operator gave for the pages makes pages: asked before Shield goes by it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import jinja2

from shield.complaints import Complaint
from shield.replies.looks import TEMPLATES, LooksError, load
from shield.replies.rendering import Replies
from shield.replies.settings import PagesSettings


def complaints(settings: PagesSettings) -> Iterator[Complaint]:
    """What is wrong with the files that the settings name: nothing, or the first mistake in the directory, and in the
    logo."""
    try:
        Replies("shield_pass", "Shield-Pass", load(settings)).try_all()
    except LooksError as error:
        yield (error.key,), str(error)
        if error.key != "logo" and settings.logo:
            yield from complaints(PagesSettings(logo=settings.logo))
    except jinja2.TemplateError as error:
        yield ("directory",), _told(error, settings.directory)


def _told(error: jinja2.TemplateError, directory: str) -> str:
    """A template's mistake with its file and line."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"{Path(directory) / (error.name or '')}:{error.lineno}: {error.message}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        name = Path(frame.filename).name
        if name in TEMPLATES:
            return f"{Path(directory) / name}:{frame.lineno}: {error.message}"
    return f"{directory}: {error.message}"
