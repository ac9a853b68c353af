"""The admin API against its own OpenAPI document: schemathesis makes requests that fit it and requests that do not, and
looks whether each is answered as the document says, and none with an error of ours."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

SCHEMATHESIS = shutil.which(
    "schemathesis", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
)
EXAMPLES = 10
"""Of each operation, besides those at the bounds of what the document allows."""

# A wish that has the right form may still make no rule, which is 422: a ban with a value, or a network with a typo.
CONFIG = """\
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422", "503"]
"""

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(SCHEMATHESIS is None, reason="schemathesis is not installed"),
]


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_api_is_as_its_document_says(workers: int, start: Any, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    shield = await start(listen={"workers": workers}, state={"directory": str(tmp_path / "state")})
    process = await asyncio.create_subprocess_exec(
        *(str(SCHEMATHESIS), "--config-file", str(config), "run", f"http://{shield.admin}/api/openapi.json"),
        *("--checks", "all", "--max-examples", str(EXAMPLES), "--generation-deterministic", "--no-color"),
        *("--exclude-path", "/api/stream", "--suppress-health-check", "all"),
        cwd=tmp_path,
        env={**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-6000:]
    assert not shield.seen("exception")
    assert (await shield.asked("/readyz"))[0] == 200
