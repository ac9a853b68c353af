"""The challenge page for everybody: axe-core in each state, direction and colour; narrow; without a mouse.

The states are those of the page itself, before a stand-in for Shield that can be told to misbehave.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shield.policy.challenge.challenge import Redeemed
from shield.replies.pages import PREFIX
from tests.browser.conftest import browser, devtools, page, serve
from tests.browser.test_page import BUSY, StandIn, post
from tests.clients import axe

pytestmark = [pytest.mark.clients, pytest.mark.browser]

__all__ = ["browser", "devtools", "page", "serve"]

STATES = [
    "working",
    "queue",
    "waiting",
    "offline",
    "loop",
    "failed",
    "cookies",
    "frame",
    "resend",
    "busy",
    "busy after a form",
    "no script",
]


UNLIKE = {
    "cookies": "Object.defineProperty(navigator, 'cookieEnabled', {get: () => false})",
    "frame": "Object.defineProperty(self, 'origin', {get: () => 'null'})",
}
"""What a browser says that keeps no cookies, and one in a sandbox."""
NETWORK = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


async def reach(tab: Any, site: str, shield: StandIn, state: str) -> None:
    """Brings the page into a state, in which it stays for a while."""
    shield.hashes = 2**12
    if state == "working":
        shield.hashes = 2**36
    elif state == "offline":
        shield.hashes, shield.results = 2**20, [Redeemed.EXPIRED]
    elif state == "queue":
        shield.turns, shield.wait = 9, 50
    elif state == "waiting":
        shield.results = [Redeemed.BUSY] * 200
    elif state == "loop":
        shield.gives_cookie = False
    elif state == "failed":
        shield.results = [Redeemed.WRONG]
    elif state.startswith("busy"):
        shield.busy = [BUSY] * 200
    elif state == "no script":
        shield.refresh = 40
    elif state in UNLIKE:
        await tab.call("Page.addScriptToEvaluateOnNewDocument", source=UNLIKE[state])
    if state in ("resend", "busy after a form"):
        await tab.go("about:blank")
        await post(tab, f"{site}/upload", [("a", "b")], "multipart/form-data")
    else:
        await tab.go(site)
    if state.startswith("busy") or state == "no script":
        await tab.until("document.readyState === 'complete' && document.querySelector('main h1')")
    elif state == "offline":
        await tab.state("working")
        await tab.call("Network.enable")
        await tab.call("Network.emulateNetworkConditions", **NETWORK, offline=True)
        await tab.state("offline")
    else:
        await tab.state(state)


def unscripted(shield: StandIn) -> Callable[..., Awaitable[bytes]]:
    """What somebody without scripts sees. axe-core is one, so it is shown what <noscript> holds, but the refresh."""
    shield.zips = False

    async def answer(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        said = await shield(method, target, fields, body)
        if target.startswith(PREFIX):
            return said
        text = said.partition(b"\r\n\r\n")[2]
        text = re.sub(rb'<meta http-equiv="refresh"[^>]*>|<script.*?</script>|</?noscript>', b"", text, flags=re.DOTALL)
        return b"HTTP/1.1 503 Busy\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)

    return answer


async def dress(tab: Any, width: int, colours: str) -> None:
    await tab.call("Emulation.setDeviceMetricsOverride", width=width, height=640, deviceScaleFactor=1, mobile=False)
    features = [
        {"name": "prefers-color-scheme", "value": colours},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    await tab.call("Emulation.setEmulatedMedia", features=features)


@pytest.mark.parametrize("language", ["en", "ur"])
@pytest.mark.parametrize("state", STATES)
async def test_everybody_can_use_it(
    browser: Any, serve: Callable[[Any], Awaitable[str]], page: Any, state: str, language: str
) -> None:
    text = await axe.script()
    shield = StandIn(page)
    site = await serve(shield if state != "no script" else unscripted(shield))
    tab = await browser.tab()
    await tab.call("Network.setUserAgentOverride", userAgent="Mozilla/5.0", acceptLanguage=language)
    for colours in ("light", "dark"):
        await tab.call("Network.emulateNetworkConditions", **NETWORK, offline=False)
        await tab.call("Storage.clearDataForOrigin", origin=site, storageTypes="all")
        await tab.evaluate("try { sessionStorage.clear() } catch {}")
        await dress(tab, 1280, colours)
        await reach(tab, site, shield, state)
        assert await axe.findings(tab, text) == []
        await dress(tab, 320, colours)  # 1280 at 400 %
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_it_goes_by_keyboard_alone(browser: Any, serve: Callable[[Any], Awaitable[str]], page: Any) -> None:
    shield = StandIn(page)
    shield.results = [Redeemed.WRONG]
    site = await serve(shield)
    tab = await browser.tab()
    await tab.go(site)
    await tab.state("failed")

    async def press(key: str, code: int, text: str = "") -> None:
        typed = {"text": text} if text else {}
        await tab.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **typed)
        await tab.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    await press("Tab", 9)
    assert await tab.evaluate("document.activeElement.id") == "again"
    assert await tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await press("Tab", 9)
    assert await tab.evaluate("document.activeElement.tagName") == "SUMMARY"
    await tab.evaluate("document.getElementById('again').focus()")
    await press("Enter", 13, "\r")
    await tab.until("document.title === 'Behind GET'")
