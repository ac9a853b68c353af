"""`shield report`: make an account, and write it as a page."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from shield.console import show
from shield.console.client import Admin, UnreachableError
from shield.errors import StartError
from shield.report import from_logs, from_shield, page
from shield.report.account import Account
from shield.terminal import say

USUAL_SECONDS: Final = 7200.0
STDOUT: Final = "-"


class ReportError(StartError):
    """There is nothing to report from, or nowhere to write it. str() says what to do."""


def report(seconds: float | None, logs: Sequence[str], admin: Admin | None, output: str | None, json: bool) -> None:
    """Write a report: about `logs`, or by the Shield at `admin`. Raises StartError."""
    made = from_logs.account(logs, seconds) if admin is None else _asked(admin, seconds or USUAL_SECONDS)
    if json:
        say(orjson.dumps(made.as_json(), option=orjson.OPT_INDENT_2).decode(), 1)
        return
    text = page.html(made)
    if output == STDOUT:
        sys.stdout.write(text)
        return
    name = output or time.strftime("shield-report-%Y%m%d-%H%M.html", time.gmtime(made.until))
    try:
        Path(name).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ReportError(f"{name}: cannot be written: {error.strerror}") from error
    say(f"{name}: {page.headline(made)}", 1)


def _asked(admin: Admin, seconds: float) -> Account:
    try:
        status, said = admin.ask("GET", f"/api/report?seconds={seconds:.0f}")
    except UnreachableError as error:
        raise ReportError(f"{error}. Of logs: shield report --log FILE") from error
    if status != 200:
        detail = said.get("detail") or said.get("title") or f"it answers {status}"
        raise ReportError(f"the Shield at {admin.address} makes no report: {detail}")
    try:
        made = from_shield.account(said, admin.address)
        status, found = admin.ask("GET", "/api/rules")
        if status == 200:
            made.rules = [f"{show.words(rule)}{show.until(rule)}" for rule in found["rules"]]
        return made
    except UnreachableError as error:
        raise ReportError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"the Shield at {admin.address} is another version: {error!r}") from error
