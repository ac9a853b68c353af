"""Tests of the bench, which lies beside the package and not in it: the tests of an installed wheel run without them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

collect_ignore_glob = [] if (ROOT / "bench").is_dir() else ["*"]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A certificate for 127.0.0.1 (bench.peers.plan.Certificate)."""
    from bench.peers import certificate

    if why := certificate.missing():
        pytest.skip(why)
    return certificate.make(tmp_path_factory.mktemp("certificate"))
