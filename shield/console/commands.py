"""What each command asks the admin listener, and its exit status."""

from __future__ import annotations

import json
import os
import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from shield.console import show
from shield.console.arguments import wrong
from shield.console.client import Admin, UnreachableError, find
from shield.terminal import say

if TYPE_CHECKING:
    import argparse

DONE: Final = 0
REFUSED: Final = 1
NOT_REACHED: Final = 3
_TOKEN: Final = re.compile(r"[0-9A-Za-z_-]{42}")

Question = tuple[str, str, dict[str, Any] | None]
"""Method, path with query, and body."""


def run(options: argparse.Namespace) -> int:
    """Carry out a command; its exit status."""
    try:
        admin = find(options.admin, options.config, options.token_file)
        status, answer = ask(options, admin)
    except UnreachableError as error:
        if options.json:
            say(json.dumps({"title": "Not reached", "detail": str(error)}, indent=2), 1)
        else:
            say(f"shield: {error}")
        return NOT_REACHED
    if options.json:
        say(json.dumps(answer, indent=2, ensure_ascii=False), 1)
    elif status < 300:
        say(show.answer(options.command, answer), 1)
    else:
        say(f"shield: {show.problem(answer)}")
    return DONE if status < 300 else REFUSED


def ask(options: argparse.Namespace, admin: Admin) -> tuple[int, dict[str, Any]]:
    """Ask what a command asks: status and answer, as show.answer takes it. Raises UnreachableError."""
    status, answer = admin.ask(*_question(options))
    if status < 300 and options.command == "key" and options.what == "list":
        answer = {**answer, "rules": [rule for rule in answer["rules"] if rule["kind"] == "key"]}
    if status < 300 and not options.json:
        if options.command == "status":
            answer = {"status": answer, "rules": _rules(admin)}
        elif options.command == "rules" and any(rule.get("dry_run") for rule in answer["rules"]):
            counted, state = admin.ask("GET", "/api/status")
            answer = {**answer, "tried": state.get("rules_tried", {}) if counted == 200 else {}}
    return status, answer


def _rules(admin: Admin) -> list[dict[str, Any]]:
    status, answer = admin.ask("GET", "/api/rules")
    found: list[dict[str, Any]] = answer.get("rules", []) if status == 200 else []
    return found


def _question(options: argparse.Namespace) -> Question:
    match options.command:
        case "unban":
            return _lift(options, subject=options.subject, kind=["ban", "deny"], pardon="1")
        case "lift":
            return _lift(options, number=options.numbers)
        case "undo":
            return "POST", "/api/undo", {**_who(options), "here": _here()}
        case "reload":
            return "POST", "/api/reload", _who(options)
        case "pressure":
            return _pressure(options)
        case "challenge":
            if options.what == "auto":
                if options.dry_run:
                    wrong("challenge", "auto lifts a rule, so there is nothing to try: leave out --dry-run")
                return _lift(options, subject=options.subject, kind=["challenge"])
            return _add(options, subject=options.subject, value=options.what)
        case "dry-run":
            if options.measure and options.site:
                wrong("dry-run", "a measure is tried at all sites: leave out --site, or the measure")
            of = {"subject": options.measure} if options.measure else _at(options)
            if options.what == "config":
                return _lift(options, **of, kind=["dry_run"])
            return _add(options, **of, value=options.what)
        case "key" if options.what == "make":
            return _add(options, subject=options.subject, value=options.value)
        case "key" if options.what == "revoke":
            return _lift(options, subject=options.subject, kind=["key"])
        case "limit":
            return _add(options, subject=options.subject, value=options.value)
        case "explain":
            at = {"site": options.site} if options.site else {}
            return "GET", f"/api/explain?{urlencode({_kind(options.asked): options.asked} | at)}", None
        case "ban" | "deny" | "allow":
            return _add(options, subject=options.subject)
        case _:
            return options.method, options.path, None


def _kind(asked: str) -> str:
    """What is asked about."""
    if asked.startswith("pass:") or _TOKEN.fullmatch(asked):
        return "pass"
    try:
        ip_address(asked)
    except ValueError:
        return "request_id"
    return "address"


def _pressure(options: argparse.Namespace) -> Question:
    if options.what == "release":
        if options.value is not None:
            wrong("pressure", "release takes no number")
        return _lift(options, kind=["pressure"], **_at(options))
    if options.value is None:
        wrong("pressure", "hold needs a number from 0 to 1: shield pressure hold 0.5")
    return _add(options, value=options.value, **_at(options))


def _at(options: argparse.Namespace) -> dict[str, str]:
    """The site that is meant, where it is not all."""
    return {"subject": options.site} if options.site else {}


def _add(options: argparse.Namespace, **more: Any) -> Question:
    wish = {"kind": options.kind, **more, **_who(options), "here": _here()}
    if options.seconds is not None:
        wish["seconds"] = options.seconds
    wish |= {name: True for name in ("force", "dry_run") if getattr(options, name, False)}
    return "POST", "/api/rules", wish


def _lift(options: argparse.Namespace, **which: Any) -> Question:
    return "DELETE", f"/api/rules?{urlencode({**which, **_who(options), 'here': _here()}, doseq=True)}", None


def _who(options: argparse.Namespace) -> dict[str, str]:
    name = options.author or os.environ.get("SUDO_USER") or os.environ.get("USER") or f"user {os.getuid()}"
    return {"author": name, "note": options.note}


def _here() -> list[str]:
    """From where the operator has come to this machine, so that nobody bans themselves over SSH."""
    words = os.environ.get("SSH_CONNECTION", "").split()
    return [words[0].partition("%")[0]] if words else []
