"""What the operator is told at the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]


@pytest.mark.parametrize("workers", [1, 2])
async def test_that_a_restart_forgets_everything_is_said_once(start: Start, workers: int) -> None:
    shield = await start(listen={"workers": workers})
    assert shield.seen("started", state="")
    await shield.logged("state_not_kept", level="warning", effect="history and keys end with this process")
    assert await shield.end() == 0
    assert len(shield.seen("state_not_kept")) == 1


async def test_keys_in_a_file_of_their_own_do_not_end_with_the_process(start: Start, tmp_path: Path) -> None:
    shield = await start(state={"secret_file": tmp_path / "keys"})
    await shield.logged("state_not_kept", effect="history ends with this process")


async def test_a_trial_may_forget(start: Start) -> None:
    shield = await start(dry_run=True)
    assert await shield.end() == 0
    assert not shield.seen("state_not_kept")
