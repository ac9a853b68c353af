"""On which line of a TOML document each key stands. tomllib does not tell, and mistakes want a line.

Only for documents that tomllib has accepted: nothing is checked here, values are only skipped in the right way.
"""

from __future__ import annotations

import re
from typing import Final

Path = tuple[str | int, ...]
"""Keys and indices from the top: ("upstream", "servers", 0)."""

_SPACE: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")
_STRINGS: Final = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}(?!")', re.DOTALL),
    re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)
_ESCAPES: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def key_lines(text: str) -> dict[Path, int]:
    """The line, counted from 1, of every key, table header and array element."""
    return _Scan(text).run()


class _Scan:
    """One pass, top-down; `at` is the position, `lines` what was found."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._line = 1
        self._counted_to = 0

    def run(self) -> dict[Path, int]:
        table: Path = ()
        arrays: dict[Path, int] = {}
        while True:
            self._skip()
            if self.at >= len(self.text):
                return self.lines
            if self.text.startswith("[[", self.at):
                self.at += 2
                name = self._resolve(self._dotted("]"), arrays)
                arrays[name] = arrays.get(name, -1) + 1
                self.lines.setdefault(name, self._here())
                table = (*name, arrays[name])
                self._mark(table)
                self.at += 2
            elif self.text[self.at] == "[":
                self.at += 1
                table = self._resolve(self._dotted("]"), arrays)
                self._mark(table)
                self.at += 1
            else:
                self._pair(table)

    def _resolve(self, keys: Path, arrays: dict[Path, int]) -> Path:
        """A header below an array of tables means its last element."""
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if path in arrays and number < len(keys) - 1:
                path = (*path, arrays[path])
        return path

    def _pair(self, table: Path) -> None:
        start = self._here()
        path = (*table, *self._dotted("="))
        for depth in range(len(table) + 1, len(path) + 1):
            self.lines.setdefault(path[:depth], start)
        self.at += 1
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip()
        if self._string() is not None:
            return
        if self.text[self.at] == "[":
            self._items("]", path)
        elif self.text[self.at] == "{":
            self._items("}", path)
        else:
            match = _SCALAR.match(self.text, self.at)
            assert match is not None  # noqa: S101 - the pattern matches the empty string
            self.at = match.end()

    def _items(self, end: str, path: Path) -> None:
        """The inside of an array or of an inline table, from its opening bracket to after the closing one."""
        self.at += 1
        index = 0
        while True:
            self._skip()
            if self.text[self.at] == ",":
                self.at += 1
            elif self.text[self.at] == end:
                self.at += 1
                return
            elif end == "}":
                self._pair(path)
            else:
                self._mark((*path, index))
                self._value((*path, index))
                index += 1

    def _dotted(self, end: str) -> Path:
        """A key like `a."b c".d`; stops before `end`."""
        keys: list[str] = []
        while True:
            self._skip()
            if self.text[self.at] == end:
                return tuple(keys)
            if self.text[self.at] == ".":
                self.at += 1
                continue
            quoted = self._string()
            if quoted is not None:
                keys.append(quoted)
                continue
            match = _KEY.match(self.text, self.at)
            if match is None:
                raise ValueError("not a TOML document")
            keys.append(match.group())
            self.at = match.end()

    def _string(self) -> str | None:
        """Skip a string of any kind and return its text (exact for keys); None when there is no string."""
        for pattern in _STRINGS:
            match = pattern.match(self.text, self.at)
            if match is not None:
                self.at = match.end()
                raw = match.group()
                return _unescape(raw[1:-1]) if raw[0] == '"' else raw[1:-1]
        return None

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def _mark(self, path: Path) -> None:
        self.lines.setdefault(path, self._here())

    def _here(self) -> int:
        self._line += self.text.count("\n", self._counted_to, self.at)
        self._counted_to = self.at
        return self._line


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match.group(1)
        return chr(int(code[1:], 16)) if code[0] in "uU" else _ESCAPES.get(code, code)

    return re.sub(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", character, text)
