"""What the admin API may ask of the processes: to change what holds.

The one who asks is an `Asker`; access.py says who that is, process/rulebook.py does what is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a name for the audit list, "" if none is known, and the address, "" over a unix socket."""

    name: str
    address: str


class DeskError(Exception):
    """What is asked cannot be done. `status` is that of the answer; the text says why, and what to do instead."""

    def __init__(self, status: int, title: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.more = more


class Desk(Protocol):
    """Each method returns plain JSON values, and raises DeskError."""

    def rules(self) -> dict[str, Any]:
        """The rules that hold."""
        ...

    def audit(self, limit: int) -> dict[str, Any]:
        """The last changes, the newest first."""
        ...

    async def add(self, wish: Mapping[str, Any], asker: Asker) -> dict[str, Any]:
        """Make a rule."""
        ...

    async def lift(
        self,
        numbers: Sequence[int],
        subject: str,
        kinds: Sequence[str],
        pardon: bool,
        note: str,
        asker: Asker,
        here: Any = (),
    ) -> dict[str, Any]:
        """Take rules away: by their numbers, or of these kinds for a subject. `pardon`: forget what Shield did by
        itself to the subject, too. `here`: addresses that must not be locked out, besides the asker's."""
        ...

    async def undo(self, note: str, asker: Asker, here: Any = ()) -> dict[str, Any]:
        """Undo the last change."""
        ...

    async def reload(self, note: str, asker: Asker) -> dict[str, Any]:
        """Read the config again, as SIGHUP has it."""
        ...
