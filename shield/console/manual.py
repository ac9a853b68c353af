"""The manual page shield(1), made from the parser: what --help says of each command, with its options and examples."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Final

_BEGIN: Final = re.compile(r"^([.'])", re.MULTILINE)
_ENVIRONMENT: Final = (
    ("SHIELD_ADMIN", "The admin listener that commands ask: 127.0.0.1:9901, https://host:9901 or unix:/path."),
    ("SHIELD_TOKEN", "The token that they show there."),
    ("SHIELD_CA", "A file with the authorities that vouch for its certificate, in place of the system's."),
)
_FILES: Final = (
    ("config.toml", "The config, in the current directory: for run, check, demo and config where none is named."),
    ("/etc/shield/config.toml", "Where commands look for the admin listener, too."),
)


def page(parser: argparse.ArgumentParser, version: str) -> str:
    """The page, as man(1) reads it."""
    return "\n".join(_page(parser, version)) + "\n"


def _page(parser: argparse.ArgumentParser, version: str) -> Iterator[str]:
    yield '.\\" Made from the help of the commands by `make docs`. Change that, not this file.'
    yield f'.TH SHIELD 1 "" "Shield {_text(version)}" "User Commands"'
    yield ".SH NAME"
    yield f"shield \\- {_text(_first_low(parser.description or ''))}"
    yield ".SH SYNOPSIS"
    yield ".B shield\n.I COMMAND\n.RI [ options ]"
    yield from _epilog(parser, ".SH")
    yield ".SH COMMANDS"
    for name, command in _commands(parser):
        yield from _command(name, command)
    yield ".SH ENVIRONMENT"
    for name, what in _ENVIRONMENT:
        yield f".TP\n.B {name}\n{_text(what)}"
    yield ".SH FILES"
    for name, what in _FILES:
        yield f".TP\n.I {_text(name)}\n{_text(what)}"


def _commands(parser: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Commands by all of their words; of those that have commands of their own, these follow."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield before + name, command
                yield from _commands(command, f"{before}{name} ")


def _command(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    shown = [action for action in command._actions if not isinstance(action, argparse._HelpAction)]
    yield f".SS shield {_text(name)} {_text(' '.join(map(_short, shown)))}".rstrip()
    yield _text(command.description or "")
    for action in shown:
        if action.help:
            yield f".TP\n.B {_text(_long(action))}\n{_text(action.help % {'default': action.default})}"
    yield from _epilog(command, ".PP")


def _short(action: argparse.Action) -> str:
    """An argument or an option in a synopsis."""
    if isinstance(action, argparse._SubParsersAction):
        return "COMMAND"
    text = _long(action)
    if action.nargs in ("*", "+"):
        text += " ..."
    return text if not action.option_strings and action.nargs != "?" else f"[{text}]"


def _long(action: argparse.Action) -> str:
    value = _value(action)
    names = ", ".join(action.option_strings)
    return f"{names} {value}".strip() if names else value


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar is not None:
        return str(action.metavar)
    return "|".join(map(str, action.choices)) if action.choices else action.dest.upper()


def _epilog(command: argparse.ArgumentParser, begin: str) -> Iterator[str]:
    """Examples, and what is said after them."""
    for part in (command.epilog or "").split("\n\n"):
        head, _, rest = part.partition("\n")
        if head == "Examples:":
            yield ".SH EXAMPLES" if begin == ".SH" else ".PP\nExamples:"
            yield f".PP\n.nf\n.RS 2\n{_text(re.sub('^  ', '', rest, flags=re.MULTILINE))}\n.RE\n.fi"
        elif part and begin == ".SH":
            yield f".SH EXIT STATUS\n{_text(part.removeprefix('Exit status: '))}"
        elif part:
            yield f".PP\n{_text(part)}"


def _first_low(text: str) -> str:
    return (text[:1].lower() + text[1:]).rstrip(".")


def _text(text: str) -> str:
    """Text as roff takes it for text."""
    return _BEGIN.sub(r"\\&\1", text.replace("\\", "\\e").replace("-", "\\-"))
