"""Scripts that complete commands and options in bash, zsh and fish, made from the parser. Nothing of Shield runs when
Tab is pressed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Command(NamedTuple):
    """A command as a shell needs it: what it does, its options with their help, and words that may follow."""

    what: str
    options: Mapping[str, str]
    words: tuple[str, ...]


def commands(parser: argparse.ArgumentParser) -> dict[str, Command]:
    """The commands of a parser."""
    (found,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    helps = {each.dest: each.help or "" for each in found._choices_actions}
    return {name: _command(helps[name], parsed) for name, parsed in found.choices.items()}


def _command(what: str, parsed: argparse.ArgumentParser) -> Command:
    options = {
        option: each.help or "" for each in parsed._actions for option in each.option_strings if option.startswith("--")
    }
    words = [str(word) for each in parsed._actions if not each.option_strings for word in each.choices or ()]
    return Command(what, options, tuple(words))


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script for a shell."""
    made = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return "\n".join(made(commands(parser)))


def _bash(found: Mapping[str, Command]) -> Iterator[str]:
    yield "# bash completion for shield"
    yield "_shield() {"
    yield '    local word="${COMP_WORDS[COMP_CWORD]}" words=""'
    yield '    case "${COMP_WORDS[COMP_CWORD-1]}" in'
    yield '        --config|--against|--scene|--token-file|--chart) COMPREPLY=($(compgen -f -- "$word")); return ;;'
    yield "    esac"
    yield '    if [ "$COMP_CWORD" -eq 1 ]; then'
    yield f'        words="{" ".join(found)} --help --version"'
    yield "    else"
    yield '        case "${COMP_WORDS[1]}" in'
    for name, command in found.items():
        yield f'            {name}) words="{" ".join((*command.words, *command.options))}" ;;'
    yield "        esac"
    yield "    fi"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$word"))'
    yield "}"
    yield "complete -F _shield shield"


def _zsh(found: Mapping[str, Command]) -> Iterator[str]:
    yield "#compdef shield"
    yield "_shield() {"
    yield "    local -a found"
    yield "    if (( CURRENT == 2 )); then"
    yield "        found=("
    for name, command in found.items():
        yield f"            {_quoted(f'{name}:{command.what}')}"
    yield "        )"
    yield "        _describe command found"
    yield "        return"
    yield "    fi"
    yield '    case "$words[CURRENT-1]" in'
    yield "        --config|--against|--scene|--token-file|--chart) _files; return ;;"
    yield "    esac"
    yield '    case "$words[2]" in'
    for name, command in found.items():
        yield f"        {name}) found=("
        for word in command.words:
            yield f"            {_quoted(word)}"
        for option, what in command.options.items():
            yield f"            {_quoted(f'{option}:{what}')}"
        yield "        ) ;;"
    yield "    esac"
    yield "    _describe option found"
    yield "}"
    yield '_shield "$@"'


def _fish(found: Mapping[str, Command]) -> Iterator[str]:
    yield "# fish completion for shield"
    yield "complete -c shield -f"
    for name, command in found.items():
        yield f"complete -c shield -n __fish_use_subcommand -a {name} -d {_quoted(command.what)}"
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        if command.words:
            yield f"complete -c shield {seen} -a {_quoted(' '.join(command.words))}"
        for option, what in command.options.items():
            files = " -rF" if option in ("--config", "--against", "--scene", "--token-file", "--chart") else ""
            yield f"complete -c shield {seen} -l {option[2:]}{files} -d {_quoted(what)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "'\\''") + "'"
