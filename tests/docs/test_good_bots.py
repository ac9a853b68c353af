"""docs/good-bots.md names each preset, with its share."""

from __future__ import annotations

import re
from pathlib import Path

from shield.policy.presets import PRESETS

PAGE = (Path(__file__).parents[2] / "docs" / "good-bots.md").read_text(encoding="utf-8")


def test_each_preset_is_described_with_its_share() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (\d+) % \|$", PAGE, re.MULTILINE)
    assert rows == [(name, f"{preset.share:.0%}".rstrip("%")) for name, preset in PRESETS.items()]
