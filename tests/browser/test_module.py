"""The module for programs (clients/js), in Chromium: a page whose own calls solve what they meet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import shield

PACKAGE = Path(__file__).parents[2] / "clients" / "js"
WORKER = Path(shield.__file__).parent / "replies" / "static" / "worker.js"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not PACKAGE.exists(), reason="clients/ is no part of the wheel"),
]

PAGE = """<!doctype html><title>Shop</title><script type="module">
import { shieldFetch } from "/static/shield.js";
const told = [];
const fetch = shieldFetch({ budget: { seconds: 30 }, progress: ({ solved }) => told.push(solved) });
const ask = async () => (await fetch("/api", { method: "POST", body: "b" })).text();
globalThis.found = Promise.all([ask(), ask()]).then(async (both) => [...both, await ask(), told.at(-1)].join(" "));
document.title = "ready";
</script>"""


async def test_calls_of_a_page_get_through(
    browser: Any, serve: Callable[[Any], Awaitable[str]], run_shield: Callable[..., Awaitable[str]]
) -> None:
    calls: list[bytes] = []
    files = {"/static/shield.js": PACKAGE / "shield.js", "/static/work.js": WORKER}

    async def site(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        kind, text = "text/plain", b"in"
        if target == "/static/":
            kind, text = "text/html", PAGE.encode()
        elif target in files:
            kind, text = "text/javascript", files[target].read_bytes()
        else:
            calls.append(body)
        return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind.encode(), len(text), text)

    tab = await browser.tab()
    address = await run_shield(await serve(site), 'never = ["/static"]\nleast_hashes = 262144\nsub_puzzles = 8')
    await tab.go(f"{address}/static/")
    await tab.until("document.title === 'ready'")
    assert await tab.evaluate("found") == "in in in 8"
    assert calls == [b"b"] * 3
    assert tab.violations() == []
