"""A config of one's own, out of four answers: behind `shield config init`.

It is the commented example that Shield ships, with the answers in the places of its values, so that there is one text
of comments. It is checked as `shield check` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shield.config.key_lines import key_lines
from shield.config.load import ConfigError, parse, shipped
from shield.config.spelling import as_toml

Key = tuple[str, ...]
"""A table and its key, or a key of the top level."""
Answers = Mapping[Key, object]

SERVERS: Final = ("upstream", "servers")
LISTEN: Final = ("listen", "address")
PROXIES: Final = ("listen", "trusted_proxies")
STATE: Final = ("state", "directory")
DRY_RUN: Final = ("dry_run",)
CERTIFICATES: Final = ("tls", "certificates")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for a key; `usual` is the answer that Return gives, None where one is needed."""

    key: Key
    option: str
    text: str
    usual: tuple[str, ...] | None
    comment: str
    several: bool = True

    def value(self, words: tuple[str, ...]) -> object:
        """The answer as a setting has it."""
        return words if self.several else " ".join(words)


QUESTIONS: Final = (
    Question(
        SERVERS,
        "--upstream",
        "Where is the service that is to be shielded? Of several servers, each, with spaces between.\n"
        "   For example: http://127.0.0.1:9000 or https://app.example:8443 or unix:/run/app.sock",
        None,
        "the service; of several servers the less busy one is taken",
    ),
    Question(
        LISTEN,
        "--listen",
        "At which address and port do clients connect? Of several, each, with spaces between.",
        ("0.0.0.0:80",),
        'or a list: ["0.0.0.0:80", "[::]:80"]',
    ),
    Question(
        PROXIES,
        "--trusted-proxy",
        "Does a load balancer, a CDN or another proxy stand in front of Shield? Then from which networks does it\n"
        "   connect, as 10.0.0.0/8? Return, if clients connect to Shield themselves.",
        (),
        'networks of the proxies in front of Shield, if any: ["10.0.0.0/8"]',
    ),
    Question(
        STATE,
        "--state",
        "In which directory does Shield keep what outlives a restart: its keys, and whom it knows?",
        ("/var/lib/shield",),
        "where keys and history outlive a restart; empty: in memory only",
        several=False,
    ),
)
_COMMENTS: Final[Mapping[Key, str]] = {
    **{question.key: question.comment for question in QUESTIONS},
    CERTIFICATES: "clients speak TLS; the files are read again when they change",
}
_PAIR: Final = re.compile(r"(\w+ *=) *.*")
_HEAD: Final = (
    "# Shield's config, written by `shield config init`. What you delete has its default; every other setting is in",
    "# docs/configuration.md. `shield check` tells of every mistake at once, `shield config diff` what is no default.",
)


def text(answers: Answers, schema: str = "") -> str:
    """The file. `schema` says where the JSON Schema is, for editors."""
    shown = Path(shipped()).read_text("utf-8")
    lines, at = shown.splitlines(), key_lines(shown)
    for key, value in answers.items():
        number = at[key] - 1
        pair, comment = _PAIR.sub(r"\1", lines[number]), _COMMENTS.get(key)
        lines[number] = f"{pair} {as_toml(value)}".ljust(32 * bool(comment)) + (f" # {comment}" if comment else "")
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    head = [f"#:schema {schema}"] * bool(schema)
    return "\n".join([*head, *_HEAD, *lines[first:], ""])


def mistakes(answers: Answers) -> list[str]:
    """What is wrong with answers, a line each."""
    try:
        parse(text(answers))
    except ConfigError as error:
        return [f"{item.key}: {f'found {item.found}; ' if item.found else ''}{item.allowed}" for item in error.mistakes]
    return []


def write(path: Path, content: str) -> None:
    """Make the file; a file or link that is there already is left as it is. Raises OSError (FileExistsError)."""
    with path.open("x", encoding="utf-8") as file:
        file.write(content)
