"""The program of docs/protocol.md, as printed, against Shield itself: a client from outside too, if not a browser."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"


async def test_the_documented_client_reads_the_page(
    tmp_path: Path,
    page: Callable[..., bytes],
    serve: Callable[[Any], Awaitable[str]],
    run_shield: Callable[..., Awaitable[str]],
) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    async def site(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        seen.append((target, fields))
        return page("Behind")

    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert sum(1 for line in code.splitlines() if line.strip()) <= 32
    program = tmp_path / "client.py"
    program.write_text(code, encoding="utf-8")
    shield = await run_shield(await serve(site), "sub_puzzles = 4\nleast_hashes = 16384")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        f"{shield}/data?x=1",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert errors == b""
    assert b"<h1>Behind</h1>" in output
    ((target, fields),) = seen
    assert target == "/data?x=1"
    assert "shield-pass" not in fields
