"""Pages that stay open while their passes end: renew.js in Chromium and Firefox, before Shield where everybody is
challenged. A pass lives for seconds here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import browser, devtools, page, run_shield, serve, warm
from tests.clients import firefox

pytestmark = [pytest.mark.clients, pytest.mark.browser]

__all__ = ["browser", "devtools", "page", "run_shield", "serve", "warm"]

SCRIPT = "/.well-known/shield/renew.js"
SHORT = "pass_lifetime = {}\nleast_hashes = 4096\nmost_hashes = 4096\n"
STRANGE = "Mozilla/5.0 (somebody else)"
CALLS = """(seconds) => new Promise((done) => {
    const said = {}, end = Date.now() + 1000 * seconds;
    const call = async () => {
        const reply = await fetch("/api", {method: "POST", body: "x"});
        said[reply.status] = (said[reply.status] ?? 0) + 1;
        if (Date.now() < end) setTimeout(call, 150); else done(said);
    };
    call();
})"""
"""What the calls of a page get that makes one after another."""


class App:
    """A page with the script, and an API. Remembers what it was asked for."""

    def __init__(self, page: Any, attributes: str = "async", policy: str = "", script: str = SCRIPT) -> None:
        self.script = script
        self.attributes = attributes
        self.policy = policy
        self.calls: list[bytes] = []
        self.origin = ""  # of a page elsewhere that may call
        self._page = page

    async def __call__(self, method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        more = f"Content-Security-Policy: {self.policy}\r\n" if self.policy else ""
        if target == "/api":
            if self.origin:
                more += f"Access-Control-Allow-Origin: {self.origin}\r\nAccess-Control-Allow-Credentials: true\r\n"
                more += "Access-Control-Allow-Methods: PUT\r\nAccess-Control-Allow-Headers: content-type\r\n"
            if method != "OPTIONS":
                self.calls.append(body)
            return f"HTTP/1.1 200 OK\r\n{more}Content-Length: 2\r\n\r\n{{}}".encode()
        said: bytes = self._page("App", f"<script src='{self.script}' {self.attributes}></script>")
        return said.replace(b"\r\n", b"\r\n" + more.encode(), 1)


@pytest.fixture
def start(serve: Any, run_shield: Callable[..., Awaitable[str]]) -> Callable[..., Awaitable[str]]:
    async def started(app: Any, lifetime: float, algorithm: str = "sha256") -> str:
        return await run_shield(await serve(app), SHORT.format(lifetime) + f'algorithm = "{algorithm}"\n')

    return started


async def cookie(tab: Any) -> str:
    cookies = (await tab.call("Network.getCookies"))["cookies"]
    return next((str(each["value"]) for each in cookies if each["name"] == "shield_pass"), "")


@pytest.mark.parametrize("algorithm", ["sha256", "hashwx"])
@pytest.mark.parametrize("policy", ["default-src 'self'", "default-src 'self'; worker-src 'none'"])
async def test_calls_go_on_past_the_end_of_several_passes(
    browser: Any, start: Any, page: Any, policy: str, algorithm: str
) -> None:
    """A page lived on a pass that ended: from then on each of its calls got a challenge that nobody saw."""
    app = App(page, policy=policy)
    shield = await start(app, 8, algorithm)
    tab = await browser.tab()
    await tab.go(shield)
    await tab.until("document.title === 'App' && globalThis.shieldRenew")
    first = await cookie(tab)
    assert list(await tab.call_with(20, CALLS)) == ["200"]
    assert first != await cookie(tab) != ""
    assert [each for each in tab.violations() if "worker" not in each and "data:," not in each] == []


async def test_without_the_script_they_do_not(browser: Any, start: Any, page: Any) -> None:
    shield = await start(App(page, script="/none.js"), 3)
    tab = await browser.tab()
    await tab.go(shield)
    await tab.until("document.title === 'App'")
    assert "503" in await tab.call_with(6, CALLS)


async def test_a_call_that_was_challenged_all_the_same_is_made_again_with_its_body(
    browser: Any, start: Any, page: Any
) -> None:
    app = App(page, "data-fetch")
    shield = await start(app, 3600)
    tab = await browser.tab()
    await tab.go(shield)
    await tab.until("document.title === 'App' && globalThis.shieldRenew")
    await tab.call("Network.clearBrowserCookies")
    await tab.call("Network.setUserAgentOverride", userAgent=STRANGE)  # else the pass just bought would stand in
    sent = """Promise.all(["a", "b", "c"].map((body) => fetch("/api", {method: "POST", body})))
        .then((replies) => replies.map((reply) => reply.status))"""
    assert await tab.evaluate(sent) == [200, 200, 200]
    assert sorted(app.calls) == [b"a", b"b", b"c"]
    assert await tab.evaluate("shieldRenew()") is True


@pytest.mark.parametrize("home", ["127.0.0.1", "localhost"], ids=["same site", "another site"])
async def test_a_page_whose_api_is_on_another_host_renews_there(
    browser: Any, serve: Any, start: Any, page: Any, home: str
) -> None:
    """Its calls have a preflight and credentials; nobody has ever opened the API's own host."""
    api = App(page)
    shield = await start(api, 600)
    app = App(page, "data-fetch", script=shield + SCRIPT)
    elsewhere = (await serve(app)).replace("127.0.0.1", home)
    api.origin = elsewhere
    tab = await browser.tab()
    await tab.go(elsewhere)
    await tab.until("document.title === 'App' && globalThis.shieldRenew")
    call = f"""fetch({shield!r} + "/api", {{method: "PUT", credentials: "include",
        headers: {{"Content-Type": "application/json"}}, body: "{{}}"}}).then((reply) => reply.status)"""
    assert await tab.evaluate(call) == 200
    assert api.calls == [b"{}"]


async def test_two_tabs_buy_one_pass(browser: Any, start: Any, page: Any) -> None:
    shield = await start(App(page), 600)
    tabs = [await browser.tab() for _ in range(2)]
    for tab in tabs:
        await tab.go(shield)
        await tab.until("document.title === 'App' && globalThis.shieldRenew")
        await tab.call("Network.enable")
    await tabs[0].call("Network.clearBrowserCookies")
    for tab in tabs:
        await tab.call("Network.setUserAgentOverride", userAgent=STRANGE)
        await tab.evaluate("shieldRenew().then((good) => document.title = good ? 'good' : 'bad') && 0")
    for tab in tabs:
        await tab.until("document.title === 'good'")
    sent = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent" and event["params"]["request"]["method"] == "POST"
    ]
    assert sent == [f"{shield}/.well-known/shield/answer"]


WORKER = b"""addEventListener("install", (event) => event.waitUntil(skipWaiting()));
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => event.respondWith((async () => {
    const kept = await caches.open("app"), { request } = event;
    try {
        const reply = await fetch(request);
        if (reply.ok && request.method === "GET") await kept.put(request, reply.clone());
        return reply;
    } catch {
        return (await kept.match(request)) ?? Response.error();
    }
})()));"""


async def test_an_app_with_a_service_worker_gets_through(browser: Any, start: Any, page: Any) -> None:
    """All that it asks for goes through its worker: navigations, calls, and what the challenge page sends."""
    app = App(page, "data-fetch")

    async def answer(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        if target == "/worker.js":
            return b"HTTP/1.1 200 OK\r\nContent-Type: text/javascript\r\nContent-Length: %d\r\n\r\n%b" % (
                len(WORKER),
                WORKER,
            )
        return await app(method, target, fields, body)

    shield = await start(answer, 3600)
    tab = await browser.tab()
    await tab.go(shield)
    await tab.until("document.title === 'App' && globalThis.shieldRenew")
    await tab.evaluate("navigator.serviceWorker.register('/worker.js').then(() => navigator.serviceWorker.ready) && 0")
    await tab.until("navigator.serviceWorker.controller")
    call = "fetch('/api', {method: 'POST', body: 'x'}).then((reply) => reply.status)"
    assert await tab.evaluate(call) == 200
    await tab.call("Network.clearBrowserCookies")
    await tab.call("Network.setUserAgentOverride", userAgent=STRANGE)
    assert await tab.evaluate(call) == 200
    assert app.calls == [b"x"] * 2
    await tab.call("Network.clearBrowserCookies")
    await tab.call("Network.setUserAgentOverride", userAgent=STRANGE + " again")
    await tab.go(f"{shield}/elsewhere")
    await tab.until("location.pathname === '/elsewhere' && document.title === 'App'")
    assert await tab.evaluate(call) == 200


async def test_firefox_goes_on_too(start: Any, page: Any, tmp_path: Path) -> None:
    shield = await start(App(page), 8)
    async with firefox.launched(tmp_path / "profile") as tab:
        with contextlib.suppress(AssertionError):  # the page goes on by itself meanwhile
            await tab.go(shield)
        await tab.until("document.title === 'App' && globalThis.shieldRenew")
        assert list(await tab.call_with(20, CALLS)) == ["200"]
