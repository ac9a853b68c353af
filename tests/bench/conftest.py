"""Tests of the bench, which lies beside the package and not in it: the tests of an installed wheel run without them."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))

collect_ignore_glob = [] if (ROOT / "bench").is_dir() else ["*"]
