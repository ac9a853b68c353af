"""What is wrong with the files of [identity], for those who check the config: before anything is started, and all of
it, while what is read later can only be told of in the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shield.complaints import Complaint
from shield.files import UnusableError, unreadable, why_not
from shield.lookup.bot_keys import read_keys
from shield.lookup.lists import MOST_BYTES, read
from shield.lookup.mmdb import Database, Kind, missing
from shield.lookup.web_bot_auth import missing as missing_library
from shield.policy.identity import IdentitySettings


def unusable(settings: IdentitySettings) -> Iterator[Complaint]:
    """Databases that cannot be used, and files that cannot be read at all: with such Shield does not start."""
    databases: tuple[tuple[Kind, str], ...] = (("asn", settings.asn), ("country", settings.country))
    for kind, path in databases:
        if path and (wrong := missing() or _of_database(path, kind)):
            yield (kind,), wrong
    if settings.bot_keys and (wrong := missing_library() or _of_directory(settings.bot_keys)):
        yield ("bot_keys",), wrong
    for key in ("allow_files", "deny_files"):
        for number, path in enumerate(getattr(settings, key)):
            if wrong := unreadable(path, MOST_BYTES):
                yield (key, number), wrong


def bad_lines(settings: IdentitySettings) -> Iterator[Complaint]:
    """Lists that can only be used in part, or not at all: Shield starts all the same."""
    for key in ("allow_files", "deny_files"):
        for number, path in enumerate(getattr(settings, key)):
            if wrong := _of_list(path):
                yield (key, number), wrong


def _of_database(path: str, kind: Kind) -> str:
    try:
        Database(path, kind)
    except (OSError, UnusableError) as error:
        return why_not(error)
    return ""


def _of_directory(path: str) -> str:
    """What is wrong with a directory of keys."""
    if not Path(path).is_dir():
        return "is no directory"
    for file in sorted(Path(path).glob("*.json")):
        try:
            read_keys(str(file))
        except (OSError, UnusableError) as error:
            return f"{file.name} {why_not(error)}"
    return ""


def _of_list(path: str) -> str:
    try:
        found = read(path)
    except OSError as error:
        return why_not(error)
    except UnusableError as error:
        return f"{error}: none of it holds"
    if found.bad is None:
        return ""
    return f"{found.bad}: a Shield that runs keeps the list from before, and at a start the other lines hold"
