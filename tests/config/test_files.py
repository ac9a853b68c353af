"""A pipe where a key names a file: `shield check` says so, and does not wait for somebody to write into it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = """\
tls.certificates = [{ chain = "pipe", key = "pipe" }]
identity.asn = "pipe"
identity.deny_files = ["pipe"]
pages.logo = "pipe.svg"
pages.directory = "pages"
admin.certificate = "pipe"
[upstream]
servers = ["https://127.0.0.1:9000"]
ca = "pipe"
"""


def test_no_pipe_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    for name in ("pipe", "pipe.svg", "pages/page.css"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "config.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "shield", "check", "--config", "config.toml"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    wrong = {line.split(": ")[2] for line in done.stderr.splitlines() if "not a regular file" in line}
    tls = {"tls.certificates[0].chain", "tls.certificates[0].key", "admin.certificate", "upstream.ca"}
    assert wrong == tls | {"identity.asn", "identity.deny_files[0]", "pages.logo", "pages.directory"}
