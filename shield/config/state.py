"""The [state] table. What is done with it stands in process/state.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typing_extensions import Doc

from shield.complaints import Complaint


@dataclass(frozen=True, slots=True)
class StateSettings:
    """What survives a restart."""

    directory: Annotated[
        str,
        Doc(
            "Directory where the signing keys, the history of clients and what else was learned are kept over a "
            "restart. Empty: in memory only."
        ),
    ] = ""
    secret_file: Annotated[
        str,
        Doc(
            "File with the signing keys, 64 hex digits per line: the first signs, an optional second is "
            "still accepted. Empty: `keys` in the state directory, created with mode 0600."
        ),
    ] = ""

    def complaints(self) -> Iterator[Complaint]:
        if self.directory and Path(self.directory).exists() and not Path(self.directory).is_dir():
            yield ("directory",), "this is a file; a directory is needed"
        if self.secret_file:
            parent = Path(self.secret_file).parent
            if Path(self.secret_file).is_dir():
                yield ("secret_file",), "this is a directory; a file is needed"
            elif not parent.is_dir():
                yield ("secret_file",), f"the directory {parent} does not exist"
