"""The engines of all sites of one Shield, as far as something concerns all of them; mostly there is one.

The first one looks after what is known of clients (clients.py), which all go by. What was learned is told as rows:
what concerns clients once, and of each site what its engine has learned of its service. Rows of a site other than the
default are wrapped: `["at", name, ...row]`. So a site may be removed or get another name: its rows find nobody then.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from shield.model import DEFAULT_SITE, Verdict
from shield.policy.bans import Ban
from shield.policy.engine import Engine
from shield.policy.news import News
from shield.policy.rules.rule import Rule
from shield.policy.standing import Standing

AT: Final = "at"
OF_SITES: Final = frozenset({"route", "limit", "price", "weather", "wait"})
"""Kinds of rows that are each site's own."""


class Sites:
    """All engines, in the order of the config. The first is that of the default site, if there is one."""

    __slots__ = ("_by_name", "_strict", "engines", "first")

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = tuple(engines)
        self.first = engines[0]
        self._by_name: Mapping[str, Engine] = {engine.site: engine for engine in engines}
        # Who may pay a way out of the ban of an address at one site is not shut out from any.
        self._strict = next((engine for engine in engines if engine.challenges), self.first)

    def __iter__(self) -> Iterator[Engine]:
        return iter(self.engines)

    def at(self, name: str) -> Engine | None:
        """The engine of a site."""
        return self._by_name.get(name)

    # Clients, whichever site they ask

    def shut_out(self, address: str, now: float) -> Verdict | None:
        """As that of Engine, of a request of which it is not known yet which site it is for."""
        for engine in self.engines:
            if engine.lets_banned_in:
                return None
        return self._strict.shut_out(address, now)

    def refused_unread(self, address: str, now: float) -> None:
        """As that of Engine."""
        self.first.refused_unread(address, now)

    def bans(self, now: float) -> Iterator[Ban | None]:
        """As those of Engine."""
        return self.first.bans(now)

    def pardon(self, subject: str, now: float) -> Iterator[int]:
        """As that of Engine."""
        return self.first.pardon(subject, now)

    def follow(self, rules: Sequence[Rule], now: float) -> None:
        """Go by these rules of the operator's at all sites."""
        for engine in self.engines:
            engine.follow(rules, now)

    def know(self, standing: Standing, now: float) -> None:
        """Go by what the config and its files say of addresses at all sites."""
        for engine in self.engines:
            engine.know(standing, now)

    @property
    def attack(self) -> bool:
        """Whether there is an attack at any of them."""
        return any(engine.attack for engine in self.engines)

    @property
    def bans_made(self) -> int:
        """Bans so far."""
        return self.first.bans_made

    def let_go(self, most: int) -> bool:
        """As that of Engine."""
        return self.first.let_go(most)

    # What was learned

    def export_history(self, now: float) -> Iterator[list[Any]]:
        """As that of Engine."""
        return self.first.export_history(now)

    def import_history(self, rows: Iterable[list[Any]], now: float, homes: dict[str, str] | None = None) -> int:
        """As that of Engine."""
        return self.first.import_history(rows, now, homes)

    def export_learned(self, now: float, heir: bool = False) -> Iterator[list[Any] | None]:
        """As that of Engine, of all sites."""
        for engine in self.engines:
            named = engine.site != DEFAULT_SITE
            for row in engine.export_learned(now, heir):
                yield [AT, engine.site, *row] if named and row is not None and row[0] in OF_SITES else row

    def import_learned(self, rows: Iterable[Any], now: float, same: Container[str]) -> int:
        """Take rows that `export_learned` made; how many were of use. `same`: the sites whose service is the one of
        which they were learned. What is of a site that is not here is left out."""
        return sum(self._import(row, now, same) for row in rows)

    def _import(self, row: Any, now: float, same: Container[str]) -> int:
        kind = kind_of(row)
        if kind not in OF_SITES:
            return self.first.import_learned((row,), now)
        name = DEFAULT_SITE
        if row[0] == AT:
            _, name, *row = row
        engine = self._by_name.get(name) if isinstance(name, str) else None
        return 0 if engine is None else engine.import_learned((row,), now, name in same)

    @property
    def journal(self) -> News:
        """As that of Engine."""
        return self.first.journal

    def export_journal(self) -> Iterator[list[Any]]:
        """As that of Engine."""
        return self.first.export_journal()


def kind_of(row: Any) -> str:
    """The kind of a row, at whichever site; empty when it has none."""
    match row:
        case ["at", str(), str(kind), *_] | [str(kind), *_]:
            return kind
    return ""
