"""How long a newcomer's visit takes from the challenge to the page: python -m tests.clients.visit_times [VISITS]

Chromium visits `shield run` with its defaults, where everybody is challenged at the least price. Each visit is a
browser context of its own, and its time that from the first navigation to the end of the load event of the page behind.

Slower devices are made of this one. Chromium slows the page (Emulation.setCPUThrottlingRate), but not its workers: for
these the price is as many times higher, which takes the same. What a page says that has no workers, or no WebAssembly,
is taken from it by a script. One core is left alone, so of two one works.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from shield.policy.challenge.settings import ChallengeSettings
from tests.browser import conftest as browsers

SLOWER: Final = (1, 4, 6)
NO_WORKERS: Final = "Worker = undefined;"
NO_SIMD: Final = "delete globalThis.WebAssembly;"
PLAIN: Final = """{ const real = Worker; Worker = class extends real { constructor(url) {
    const text = document.getElementById("work").textContent;
    super(URL.createObjectURL(new Blob(["delete globalThis.WebAssembly;" + text], { type: "text/javascript" })));
} }; }"""
"""A worker is a world of its own: it is told there."""
KINDS: Final = {
    "workers, WebAssembly": ("", True),
    "workers, plain JavaScript": (PLAIN, True),
    "on the page, WebAssembly": (NO_WORKERS, False),
    "on the page, plain JavaScript": (NO_WORKERS + NO_SIMD, False),
}
"""What the browser lacks; whether workers do the work."""
TIMES: Final = """sessionStorage.begun ??= performance.timeOrigin;"""
TOOK: Final = (
    """performance.timeOrigin + performance.getEntriesByType("navigation")[0].loadEventEnd - sessionStorage.begun"""
)
LOADED: Final = """document.title === "Home" && performance.getEntriesByType("navigation")[0].loadEventEnd > 0"""


async def main(visits: int) -> None:
    """Print a table in Markdown."""
    print(f"| browser | {' | '.join(f'{rate}x' for rate in SLOWER)} |\n|---|{'---|' * len(SLOWER)}")
    with tempfile.TemporaryDirectory() as place, browsers.launch(Path(place) / "profile") as address:
        for name, (lacks, works) in KINDS.items():
            cells = []
            for rate in SLOWER:
                async with shield(Path(place), rate if works else 1) as site, browsers.connect(address) as browser:
                    times = [await visit(browser, site, lacks, rate) for _ in range(visits)]
                best = statistics.quantiles(times, n=20, method="inclusive")[-1]
                cells.append(f"{statistics.median(times):.2f} s, {best:.2f} s")
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


async def visit(browser: browsers.Browser, site: str, lacks: str, rate: int) -> float:
    """Seconds of one visit."""
    context = await browser.call("Target.createBrowserContext", disposeOnDetach=True)
    browser.context = context["browserContextId"]
    tab = await browser.tab()
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=TIMES + lacks)
    await tab.call("Emulation.setCPUThrottlingRate", rate=rate)
    await tab.go(site)
    await tab.until(LOADED)
    took: float = await tab.evaluate(TOOK)
    await browser.call("Target.disposeBrowserContext", browserContextId=browser.context)
    return took / 1000


@asynccontextmanager
async def shield(place: Path, times: int) -> AsyncIterator[str]:
    """`shield run` before a small site, with a price so many times the least."""

    async def home(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        return browsers.make_page("Home")

    hashes = times * ChallengeSettings().least_hashes
    async with browsers.serving() as serve:
        config = place / "config.toml"
        config.write_text(
            '[listen]\naddress = "127.0.0.1:0"\n[admin]\naddress = ""\n[challenge]\nmode = "always"\n'
            f"least_hashes = {hashes}\n[upstream]\nservers = [{json.dumps(await serve(home))}]\n"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "shield", "run", "--config", str(config)), stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        try:
            async for line in process.stderr:
                if line.startswith(b"{") and (said := json.loads(line))["event"] == "started":
                    break
            draining = asyncio.create_task(process.stderr.read())
            yield f"http://{said['listen'][0]}"
        finally:
            process.terminate()
            await process.wait()
        await draining


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
