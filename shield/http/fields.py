"""The fields of a request head as a mapping that looks at nothing until somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Fields(Mapping[str, str]):
    """Names in any case, in the order in which they came; of a repeated field the first value. Asked seldom."""

    __slots__ = ("_head", "_split")

    def __init__(self, head: bytes) -> None:
        """`head` from its first line to its last CRLF CRLF."""
        self._head = head
        self._split: list[bytes] | None = None

    def _lines(self) -> list[bytes]:
        lines = self._split
        if lines is None:
            lines = self._split = self._head[self._head.find(b"\r\n") + 2 : -4].split(b"\r\n")
        return lines

    def _values(self, name: str) -> Iterator[str]:
        wanted = name.lower().encode("utf-8", "surrogateescape") + b":"
        length = len(wanted)
        for line in self._lines():
            if line[:length].lower() == wanted:
                yield line[length:].decode("utf-8", "surrogateescape").strip(" \t")

    def getall(self, name: str, default: list[str] | None = None) -> list[str] | None:
        """All values of a field."""
        return list(self._values(name)) or default

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return next(self._values(name), default)

    def __getitem__(self, name: str) -> str:
        for value in self._values(name):
            return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(line.partition(b":")[0].decode("ascii").lower() for line in self._lines()))

    def __len__(self) -> int:
        return len(list(iter(self)))
