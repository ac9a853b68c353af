"""Each setting says what it is, in which unit and why; the two pages of the manual are made from that."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from typing_extensions import Doc

from shield.config.reference import configuration, constants, write
from shield.config.settings import Config
from shield.config.validation import hints, toml_name
from shield.marks import Source, Unit, Why
from shield.policy.bucket import Rate

PAGES = Path(__file__).parents[2] / "docs"


class Setting(NamedTuple):
    key: str
    default: Any
    marks: tuple[Any, ...]

    def mark(self, kind: type) -> Any:
        return next((mark for mark in self.marks if isinstance(mark, kind)), None)

    @property
    def is_number(self) -> bool:
        values = self.default if isinstance(self.default, tuple) and self.default else (self.default,)
        return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def settings() -> Iterator[Setting]:
    for table in dataclasses.fields(Config):
        value = getattr(Config(), table.name)
        if dataclasses.is_dataclass(value):
            kinds = hints(type(value))
            for field in dataclasses.fields(value):
                name = toml_name(field.name)
                yield Setting(f"{table.name}.{name}", getattr(value, field.name), get_args(kinds[name])[1:])


ALL = list(settings())


def test_the_pages_are_current(tmp_path: Path) -> None:
    """`make docs` writes them."""
    write(tmp_path)
    for name in ("configuration.md", "constants.md", "log.md"):
        assert (PAGES / name).read_text("utf-8") == (tmp_path / name).read_text("utf-8"), f"run make docs: {name}"


def test_a_setting_says_what_it_is() -> None:
    page = configuration()
    for setting in ALL:
        text = setting.mark(Doc).documentation
        assert f"| `{setting.key.partition('.')[2]}` |" in page
        assert re.match(r'[A-Z0-9"]', text), setting.key
        assert text.endswith("."), setting.key


def test_a_number_has_its_unit_and_its_reason() -> None:
    numbers = [setting for setting in ALL if setting.is_number]
    assert len(numbers) > 150
    assert [setting.key for setting in numbers if setting.mark(Unit) is None] == []
    whole = [setting for setting in ALL if setting.is_number or isinstance(setting.default, Rate)]
    assert [setting.key for setting in whole if setting.mark(Why) is None] == []


def test_a_reason_says_where_the_number_is_from() -> None:
    page = constants()
    for setting in ALL:
        why = setting.mark(Why)
        if why is not None:
            assert why.source in get_args(Source)
            assert f"| `{setting.key}` |" in page
            assert re.match(r"[0-9]+ ", why.reason) if why.source == "RFC" else not why.reason.endswith("."), why


def test_a_figure_stands_in_one_place() -> None:
    """What a setting means is said without its default, or one of them will be wrong some day."""
    for setting in ALL:
        if setting.is_number and not isinstance(setting.default, tuple) and setting.default > 10:
            shown = {f"{setting.default:g}", f"{setting.default:,.0f}"}
            assert not shown & set(re.findall(r"[\d.,]*\d", setting.mark(Doc).documentation)), setting.key
