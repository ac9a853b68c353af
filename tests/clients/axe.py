"""axe-core, which judges whether everybody can use a page: one version, fetched once by npm and held to its digest."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.browser.conftest import Tab

VERSION: Final = "4.14.1"
SHA512: Final = (
    "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b73"
    "4f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5"
)
KEPT: Final = Path(__file__).parents[2] / "build" / "axe-core"


async def script() -> str:
    """Its text. Without npm, or where that cannot fetch it, the test is skipped."""
    archive = KEPT / f"axe-core-{VERSION}.tgz"
    if not archive.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed")
        KEPT.mkdir(parents=True, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *("npm", "pack", "--silent", f"axe-core@{VERSION}"), cwd=KEPT, stdout=asyncio.subprocess.DEVNULL
        )
        if await process.wait() or not archive.exists():
            pytest.skip("npm cannot fetch axe-core")
    assert hashlib.sha512(archive.read_bytes()).hexdigest() == SHA512, f"{archive} is not what was pinned"
    with tarfile.open(archive) as files:
        file = files.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode("utf-8")


async def findings(tab: Tab, text: str) -> list[str]:
    """What axe-core finds in the page that a tab shows, one line each."""
    await tab.call("Page.setBypassCSP", enabled=True)
    await tab.evaluate(f"{text}; undefined")
    found: dict[str, Any] = json.loads(await tab.evaluate("axe.run().then((all) => JSON.stringify(all.violations))"))
    return [
        f"{each['id']}: {each['help']}: " + "; ".join(node["html"][:160] for node in each["nodes"][:4])
        for each in found  # type: ignore[attr-defined]
    ]
