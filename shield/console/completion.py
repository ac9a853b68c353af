"""Scripts that complete commands and options in bash, zsh and fish, made from the parser. Nothing of Shield runs when
Tab is pressed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

FILE_OPTIONS: Final = (
    "--config",
    "--against",
    "--scene",
    "--log",
    "--output",
    "--token-file",
    "--chart",
    "--state",
    "--certificate",
    "--key",
    "--ca",
)
"""Options that a file follows."""


class Command(NamedTuple):
    """A command as a shell needs it: what it does, its options with their help, words that may follow, commands of its
    own, and whether a file may follow."""

    what: str
    options: Mapping[str, str]
    words: tuple[str, ...]
    inner: Mapping[str, Command]
    files: bool


def commands(parser: argparse.ArgumentParser) -> dict[str, Command]:
    """The commands of a parser."""
    found = next((each for each in parser._actions if isinstance(each, argparse._SubParsersAction)), None)
    if found is None:
        return {}
    helps = {each.dest: each.help or "" for each in found._choices_actions}
    return {name: _command(helps[name], parsed) for name, parsed in found.choices.items()}


def _command(what: str, parsed: argparse.ArgumentParser) -> Command:
    options = {
        option: each.help or "" for each in parsed._actions for option in each.option_strings if option.startswith("--")
    }
    follow = [each for each in parsed._actions if not each.option_strings]
    words = [str(word) for each in follow for word in each.choices or ()]
    return Command(what, options, tuple(words), commands(parsed), any("FILE" in str(each.metavar) for each in follow))


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script for a shell."""
    made = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell]
    return "\n".join(made(commands(parser)))


def _deep(found: Mapping[str, Command], before: str = "") -> Iterator[tuple[str, Command]]:
    """Commands by all of their words: "ban", "config", "config init"."""
    for name, command in found.items():
        yield before + name, command
        yield from _deep(command.inner, f"{before}{name} ")


def _bash(found: Mapping[str, Command]) -> Iterator[str]:
    yield "# bash completion for shield"
    yield "_shield() {"
    yield '    local word="${COMP_WORDS[COMP_CWORD]}" words="" files=""'
    yield '    case "${COMP_WORDS[COMP_CWORD-1]}" in'
    yield f'        {"|".join(FILE_OPTIONS)}) COMPREPLY=($(compgen -f -- "$word")); return ;;'
    yield "    esac"
    yield '    if [ "$COMP_CWORD" -eq 1 ]; then'
    yield f'        words="{" ".join(found)} --help --version"'
    yield "    else"
    inner = [name for name, command in found.items() if command.inner]
    yield '        local command="${COMP_WORDS[1]}"'
    yield f'        case "$command" in {"|".join(inner)})'
    yield '            [ "$COMP_CWORD" -gt 2 ] && command="$command ${COMP_WORDS[2]}" ;;'
    yield "        esac"
    yield '        case "$command" in'
    for name, command in _deep(found):
        files = " files=-f" if command.files else ""
        yield f'            "{name}") words="{" ".join((*command.words, *command.options))}"{files} ;;'
    yield "        esac"
    yield "    fi"
    yield '    COMPREPLY=($(compgen $files -W "$words" -- "$word"))'
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
    yield f"        {'|'.join(FILE_OPTIONS)}) _files; return ;;"
    yield "    esac"
    yield "    local command=$words[2]"
    inner = [name for name, command in found.items() if command.inner]
    yield f'    case "$command" in {"|".join(inner)})'
    yield '        (( CURRENT > 3 )) && command="$command $words[3]" ;;'
    yield "    esac"
    yield '    case "$command" in'
    for name, command in _deep(found):
        if command.files:
            yield f'        "{name}") _files ;|'
        yield f'        "{name}") found=('
        for word in command.words:
            what = command.inner[word].what if word in command.inner else ""
            yield f"            {_quoted(f'{word}:{what}' if what else word)}"
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
    for name, command in _deep(found):
        words = name.split()
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in words)
        if command.inner:
            seen += f"; and not __fish_seen_subcommand_from {' '.join(command.inner)}"
        seen = f"-n {_quoted(seen)}"
        for word in command.words:
            what = f" -d {_quoted(command.inner[word].what)}" if word in command.inner else ""
            yield f"complete -c shield {seen} -a {word}{what}"
        if command.files:
            yield f"complete -c shield {seen} -F"
        for option, what in command.options.items():
            files = " -rF" if option in FILE_OPTIONS else ""
            yield f"complete -c shield {seen} -l {option[2:]}{files} -d {_quoted(what)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "'\\''") + "'"
