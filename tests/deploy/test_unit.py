"""The units for systemd, and logrotate: what the system's own tools say of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "shield.service"
ANALYZE = shutil.which("systemd-analyze")
MOST_EXPOSED = 2.0
pytestmark = pytest.mark.skipif(not UNIT.exists(), reason="deploy/ is no part of the wheel")


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_the_unit_is_hardened() -> None:
    """As `systemd-analyze security` counts: from 0 for what can do no harm to 10."""
    assert ANALYZE is not None
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"Overall exposure level for shield\.service: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze looks at no file: {done.stderr.strip()[:100]}")
    assert float(found[1]) < MOST_EXPOSED


def test_what_the_files_name_fits_together() -> None:
    unit, rotate = UNIT.read_text(), (DEPLOY / "logrotate").read_text()
    assert re.search(r"^LogsDirectory=shield$", unit, re.MULTILINE)
    assert "/var/log/shield/*.log" in rotate
    assert "--signal=USR1 shield.service" in rotate
    assert "DynamicUser=yes" in unit


LOGROTATE = shutil.which("logrotate", path="/usr/sbin:/usr/bin")


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")
def test_logrotate_understands_it(tmp_path: Path) -> None:
    assert LOGROTATE is not None
    config = tmp_path / "shield"
    config.write_text((DEPLOY / "logrotate").read_text().replace("/var/log/shield", str(tmp_path)))
    done = subprocess.run(
        [LOGROTATE, "-d", "-s", str(tmp_path / "state"), str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "error" not in done.stderr
