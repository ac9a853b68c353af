"""Pictures of each state of the pages that visitors see, for the documents: python -m tests.clients.pictures [FOLDER]

The challenge page stands before a stand-in for Shield that can be told to misbehave, as in test_challenge_page.py.
Every state in the light on a desk; some also in the dark, from right to left, and on a phone. It needs Chromium and
Pillow.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from tests.browser import conftest as browsers
from tests.browser.test_page import StandIn
from tests.clients.screenshots import dress, parse
from tests.clients.test_challenge_page import STATES, reach, unscripted

DESK: Final = (720, "light", "en")
SOME: Final = ("working", "queue", "failed", "busy", "no script")
OTHERS: Final = {"dark": (720, "dark", "en"), "rtl": (720, "light", "ar"), "phone": (360, "light", "de")}
"""Width, colours and language."""
COLOURS: Final = 48
"""In a picture: it is text on one ground."""


async def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as profile, browsers.launch(Path(profile)) as address:
        for state in STATES:
            await _picture(address, folder, state, "", *DESK)
            for name, how in OTHERS.items() if state in SOME else ():
                await _picture(address, folder, state, f"-{name}", *how)


async def _picture(
    address: str, folder: Path, state: str, suffix: str, width: int, colours: str, language: str
) -> None:
    async with browsers.connect(address) as browser, browsers.serving() as serve:
        context = await browser.call("Target.createBrowserContext", disposeOnDetach=True)
        browser.context = context["browserContextId"]
        shield = StandIn(browsers.make_page)
        site = await serve(_of(shield, state))
        tab = await browser.tab()
        await tab.call("Network.setUserAgentOverride", userAgent="Mozilla/5.0", acceptLanguage=language)
        await dress(tab, width, 800, colours)
        await reach(tab, site, shield, state)
        await asyncio.sleep(0.7)
        height = await tab.evaluate("Math.ceil(document.body.getBoundingClientRect().bottom) + 24")
        await dress(tab, width, height, colours)
        path = folder / f"page-{state.replace(' ', '-')}{suffix}.png"
        await tab.screenshot(path)
        _shrink(path)
        print(path, path.stat().st_size)


def _of(shield: StandIn, state: str) -> Callable[..., Awaitable[bytes]]:
    answer: Any = unscripted(shield) if state == "no script" else shield
    return answer  # type: ignore[no-any-return]


def _shrink(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as shot:
        few = shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    asyncio.run(main(parse()))
