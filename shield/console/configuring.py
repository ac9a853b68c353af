"""`shield config`: writes a config, says what one changes, prints its schema."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shield.config import diff, init, schema
from shield.config.load import find, load
from shield.config.settings import Config
from shield.console.arguments import wrong
from shield.errors import MistakesError
from shield.terminal import say

if TYPE_CHECKING:
    import argparse

DONE: Final = 0
REFUSED: Final = 1
MOST_TRIES: Final = 20
"""Wrong answers to one question, before it is a program that answers."""


def run(options: argparse.Namespace) -> int:
    """Carry out a command; its exit status. Raises MistakesError."""
    match options.what:
        case "init":
            return _init(options)
        case "diff":
            return _diff(options)
        case _:
            say(schema.as_text().rstrip("\n"), 1)
            return DONE


def _diff(options: argparse.Namespace) -> int:
    """What FILE has other than the defaults; of two files, what the second has other than the first."""
    names = ["the defaults", find(options.file)]
    if options.other is not None:
        names = [options.file, options.other]
    before = Config() if options.other is None else load(names[0])
    found = list(diff.differences(before, load(names[1])))
    if options.json:
        plain = [{"key": each.key, "from": each.before, "to": each.after} for each in found]
        say(json.dumps({"from": names[0], "to": names[1], "differences": plain}, indent=2, ensure_ascii=False), 1)
        return DONE
    lines = [
        f"{each.key}: {each.before} -> {each.after}"
        if each.before and each.after
        else f"{'+' if each.after else '-'} {each.key}: {each.after or each.before}"
        for each in found
    ]
    say("\n".join(lines) or f"{names[1]} is as {names[0]}", 1)
    return DONE


def _init(options: argparse.Namespace) -> int:
    path = Path(options.file)
    if os.path.lexists(path):
        raise MistakesError(f"shield: {path} is there already, and is not replaced: name another file")
    if options.key and not options.certificate:
        wrong("config init", "--key needs --certificate")
    answers: dict[init.Key, object] = {init.DRY_RUN: not options.enforce}
    if options.certificate:
        files = {"chain": _absolute(options.certificate), "key": _absolute(options.key or "")}
        answers[init.CERTIFICATES] = [{key: file for key, file in files.items() if file}]
    given: dict[init.Key, list[str] | None] = {
        init.SERVERS: options.upstream,
        init.LISTEN: options.listen,
        init.PROXIES: options.trusted_proxy,
        init.STATE: None if options.state is None else [options.state],
    }
    for question in init.QUESTIONS:
        words = given[question.key]
        if words is None and not options.yes:
            _ask(question, answers)
            continue
        if words is None and question.usual is None:
            wrong("config init", f"--yes needs {question.option}, since no value of it is usual")
        answers[question.key] = question.value(tuple(words or question.usual or ()))
    answers[init.STATE] = _absolute(str(answers[init.STATE]))
    if wrongs := init.mistakes(answers):
        raise MistakesError("\n".join(f"shield: {each}" for each in wrongs))
    try:
        init.write(path, init.text(answers, _schema()))
    except OSError as error:
        raise MistakesError(f"shield: {path} cannot be written: {error.strerror}") from None
    _tell(options, path, answers)
    return DONE


def _ask(question: init.Question, answers: dict[init.Key, object]) -> None:
    """Ask until the answer is right. The terminal's own line editing does."""
    usual = " ".join(question.usual or ())
    for _ in range(MOST_TRIES):
        say(f"\n{question.text}")
        os.write(2, f"[{usual}]: ".encode() if usual else b": ")
        line = sys.stdin.readline()
        if not line:
            break
        words = tuple(line.split()) or question.usual
        if words is None:
            say("   An answer is needed.")
            continue
        answers[question.key] = question.value(words)
        wrongs = init.mistakes(answers)
        if not wrongs:
            return
        say("\n".join(f"   {each}" for each in wrongs))
    wrong("config init", f"no answer: give it as {question.option}; with --yes nothing is asked")


def _absolute(file: str) -> str:
    return str(Path(file).absolute()) if file else ""


def _schema() -> str:
    """Where the schema is that goes with this Shield: in the environment that it is installed in, or in a clone."""
    shared = Path(sys.prefix, "share", "shield", "config.schema.json")
    cloned = Path(__file__).parents[2] / "docs" / "config.schema.json"
    return next((path.as_uri() for path in (cloned, shared) if path.is_file()), "")


def _tell(options: argparse.Namespace, path: Path, answers: dict[init.Key, Any]) -> None:
    if options.json:
        said = {".".join(key): value for key, value in answers.items()}
        say(json.dumps({"file": str(path), "settings": said}, indent=2, ensure_ascii=False), 1)
        return
    say(f"{path} is written.\n  shield check --config {path}\n  shield run --config {path}", 1)
    if not options.enforce:
        say("dry_run = true: nobody is refused yet; the log says who would be. Set it to false when that is right.", 1)
