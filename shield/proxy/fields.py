"""The fields of a request head as a mapping that decodes nothing until somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Fields(Mapping[str, str]):
    """Names in any case, in the order in which they came; of a repeated field the first value."""

    __slots__ = ("_lines", "_values")

    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self._values: dict[str, list[str]] | None = None

    def _read(self) -> dict[str, list[str]]:
        values = self._values
        if values is None:
            values = self._values = {}
            for line in self._lines:
                name, _, value = line.decode("utf-8", "surrogateescape").partition(":")
                values.setdefault(name.lower(), []).append(value.strip(" \t"))
        return values

    def getall(self, name: str, default: list[str] | None = None) -> list[str] | None:
        """All values of a field."""
        return self._read().get(name.lower(), default)

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        found = self._read().get(name.lower())
        return default if found is None else found[0]

    def __getitem__(self, name: str) -> str:
        return self._read()[name.lower()][0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())
