"""Chromium and Firefox: a page with its parts, a form, fetch, EventSource, WebSocket, a download.

In the weather that needs a pass the browser has one from before. How it gets one is in test_firefox.py and in
tests/browser.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import conftest as browsers
from tests.clients import firefox, site
from tests.clients.conftest import Front, every_weather

pytestmark = pytest.mark.clients

LOADED = "() => [...document.images].filter(image => image.complete && image.naturalWidth === 8).length"


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[browsers.Browser]:
    """With a fresh profile, which knows no authority of ours."""
    with browsers.launch(tmp_path / "profile", "--ignore-certificate-errors") as address:
        async with browsers.connect(address) as browser:
            yield browser


SPOKEN = """() => performance.getEntriesByType("navigation").concat(performance.getEntriesByType("resource"))
    .map(entry => entry.nextHopProtocol).filter(Boolean)"""

TALK = """async (size) => {
    const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
    socket.binaryType = "arraybuffer";
    const next = () => new Promise((done, failed) => { socket.onmessage = done; socket.onclose = failed; });
    await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed; });
    socket.send("grüß dich");
    const text = (await next()).data;
    socket.send(new Uint8Array(size));
    const bytes = (await next()).data.byteLength;
    socket.onclose = null;
    socket.close(1000);
    return [text, bytes];
}"""

LISTEN = """async (count) => {
    const source = new EventSource("/events");
    const told = [];
    await new Promise((done, failed) => {
        source.onmessage = (event) => { told.push(event.data); if (told.length === count) done(); };
        source.onerror = failed;
    });
    source.close();
    return told;
}"""

FETCH = """async (size) => {
    const body = new Uint8Array(size).map((_, place) => place % 256);
    const sent = await (await fetch("/upload", {method: "POST", body})).text();
    const put = await (await fetch("/echo", {method: "PUT", body: "12345"})).text();
    const got = await (await fetch("/large", {headers: {Range: "bytes=1000-1999"}})).arrayBuffer();
    return [sent, put, got.byteLength, await (await fetch("/zipped")).text()];
}"""


async def talk(tab: Any) -> None:
    """Everything that a page's scripts do."""
    sent = [site.EXPECTED["upload"], "PUT echo 5", 1000, site.WORDS.decode()]
    assert await tab.call_with(len(site.UPLOAD), FETCH) == sent
    assert await tab.call_with(3, LISTEN) == ["0", "1", "2"]
    assert await tab.call_with(1 << 20, TALK) == ["grüß dich", 1 << 20]


@every_weather
@pytest.mark.browser
async def test_chromium_loads_sends_listens_talks_and_saves(
    front: Front, browser: browsers.Browser, tmp_path: Path
) -> None:
    tab = await browser.tab()
    if front.http2:  # it opens two connections, and leaves one when it sees that it needs no other
        front.allowed.add('shield_tls_handshakes_total outcome="failed"')
    if front.token:
        await tab.call("Network.setCookie", name="shield_pass", value=front.token, url=front.url("/"), httpOnly=True)
    for _ in range(2):
        await tab.go(front.url("/page"))
        await tab.until("document.title === 'Album' && document.readyState === 'complete'")
        assert await tab.call_with(None, LOADED) == site.PARTS
    spoken = set(await tab.call_with(None, SPOKEN))
    assert spoken == {"h2" if front.http2 else "http/1.1"}
    await talk(tab)
    await browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    await tab.evaluate("Object.assign(document.createElement('a'), {href: '/large', download: 'large'}).click()")
    async with front.patience():
        while not (saved := tmp_path / "large").exists() or saved.stat().st_size < len(site.LARGE):
            await front.shield.status()
    assert saved.read_bytes() == site.LARGE
    await tab.evaluate("setTimeout(() => document.forms[0].submit()) && 0")
    await tab.until("document.title === 'Thanks größe'")


@every_weather
async def test_firefox_loads_sends_listens_and_talks(front: Front, tmp_path: Path) -> None:
    async with firefox.launched(tmp_path / "profile") as tab:
        if front.token:
            value = {"type": "string", "value": front.token}
            cookie = {"name": "shield_pass", "value": value, "domain": "127.0.0.1", "path": "/", "httpOnly": True}
            await tab.call("storage.setCookie", cookie=cookie)
        for _ in range(2):
            await tab.go(front.url("/page"))
            assert await tab.call_with(None, LOADED) == site.PARTS
        await talk(tab)
