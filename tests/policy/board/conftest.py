"""Three engines over one board."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.policy.conftest import Make
from tests.policy.fleet import Fleet


@pytest.fixture
def fleet(make: Make) -> Any:
    """fleet(spread=False, workers=3, **as make) -> World whose engine is a Fleet."""

    def fleet(*, spread: bool = False, workers: int = 3, **settings: Any) -> Any:
        return make(engine=partial(Fleet, spread=spread, workers=workers), **settings)

    return fleet
