"""How a service hears of the operator's rules that are changed at other machines, and tells of those that are changed
here: through whoever has the book (rulebook.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from shield.policy.cluster.changes import Change
from shield.policy.rules.rule import SPARE, Rule

Adopt = Callable[[Sequence[Change], Sequence[str]], Coroutine[Any, Any, None]]
MOST_PARDONS: Final = 256


class RulesDesk:
    """The rules as this process was told them last. `adopt` has the book changed."""

    __slots__ = ("_adopt", "_heard", "_pardons", "_rules", "_tasks", "watch")

    def __init__(self, adopt: Adopt) -> None:
        self._adopt = adopt
        self._rules: tuple[Rule, ...] = ()
        self._pardons: list[str] = []
        self._heard: list[str] = []  # pardons from elsewhere, which are no news
        self._tasks: set[asyncio.Task[None]] = set()
        self.watch: Callable[[], None] | None = None
        """Called after each change. Two of them that undo each other are two."""

    def follow(self, rules: Sequence[Rule], pardon: str = "") -> None:
        """These rules hold now; the operator has pardoned somebody, unless that is ""."""
        self._rules = tuple(rule for rule in rules if rule.kind != SPARE)
        if pardon in self._heard:
            self._heard.remove(pardon)
        elif pardon and len(self._pardons) < MOST_PARDONS:
            self._pardons.append(pardon)
        if self.watch is not None:
            self.watch()

    def rules(self) -> Sequence[Rule]:
        return self._rules

    def pardons(self) -> list[str]:
        taken, self._pardons = self._pardons, []
        return taken

    def adopt(self, changes: Sequence[Change], pardons: Sequence[str]) -> None:
        """Have the book changed, one time after the other. It may be busy while a config is read again."""
        self._heard = [*self._heard, *pardons][-MOST_PARDONS:]
        task = asyncio.get_running_loop().create_task(self._adopt(changes, pardons))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
