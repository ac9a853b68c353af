"""The dashboard in a real Chromium: it shows the demo's flood, asks nobody else, and everybody can use it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shield.demo import flood
from tests.browser import conftest as browsers
from tests.clients import axe
from tests.clients.screenshots import dress
from tests.integration import conftest as processes

pytestmark = [pytest.mark.clients, pytest.mark.browser]

warm, launch, start = processes.warm, processes.launch, processes.start
Start = Callable[..., Awaitable[Any]]

SETTINGS: dict[str, Any] = {
    "upstream": {"servers": ["demo"], "max_concurrency": 8},
    "history": {"window": 2.0},
    "log": {"requests": False},
    "identity": {"crawlers": [{"agent": "Googlebot", "domains": ["googlebot.com"]}]},  # the list of files is shown
}
CALM = 6.0
"""Seconds before the flood in which only users come."""
SOON = 20.0
"""Seconds within which the page shows what Shield has found: 2 on a machine that does nothing else."""


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[browsers.Browser]:
    with browsers.launch(tmp_path / "profile") as address:
        async with browsers.connect(address) as browser:
            yield browser


async def open_page(browser: browsers.Browser, url: str) -> browsers.Tab:
    tab = await browser.tab()
    await tab.call("Network.enable")
    await tab.go(url)
    await tab.until("!document.getElementById('board').hidden && document.querySelector('#tiles dd')")
    return tab


@contextlib.asynccontextmanager
async def flooded(shield: Any) -> AsyncIterator[None]:
    """While the demo's flood comes. It has not come yet when this begins."""
    playing = asyncio.create_task(flood.play("demo", shield.url(), calm=CALM))
    try:
        yield
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
            await playing


def asked(browser: browsers.Browser) -> set[str]:
    """The hosts that pages have asked."""
    requests = (event for event in browser.events if event["method"] == "Network.requestWillBeSent")
    return {each["params"]["request"]["url"].split("/")[2] for each in requests}


def complaints(browser: browsers.Browser) -> list[str]:
    """What stands in the consoles of all tabs."""
    logged = [e["params"]["entry"]["text"] for e in browser.events if e["method"] == "Log.entryAdded"]
    thrown = [str(e["params"]) for e in browser.events if e["method"] == "Runtime.exceptionThrown"]
    said = [str(e["params"]["args"]) for e in browser.events if e["method"] == "Runtime.consoleAPICalled"]
    return logged + thrown + said


@pytest.mark.parametrize("workers", [1, 2])
async def test_it_shows_the_flood_at_once_and_asks_nobody_else(
    start: Start, browser: browsers.Browser, workers: int
) -> None:
    shield = await start(listen={"workers": workers}, **SETTINGS)
    tab = await open_page(browser, f"http://{shield.admin}/")
    await tab.until("document.body.dataset.mood === 'calm'")
    began = time.monotonic() + CALM
    async with flooded(shield):
        await shield.logged("attack_onset")
        found = time.monotonic()
        await tab.until("document.getElementById('headline').textContent.startsWith('Under attack')")
        took = time.monotonic() - found
        print(f"shown {took:.2f} s after it was logged, {time.monotonic() - began:.2f} s after the flood began")
        assert took < SOON
        await tab.until("document.querySelector('#events li.bad').textContent.includes('An attack begins')")
        await tab.until("document.querySelectorAll('#reasons .key').length")
        await tab.until("document.querySelectorAll('#refused button').length")
        await tab.until("document.querySelectorAll('#networks code').length")
    workers_shown = await tab.evaluate("document.querySelectorAll('#workers li').length")
    assert workers_shown == (workers if workers > 1 else 0)
    assert asked(browser) == {shield.admin}
    assert complaints(browser) == []


async def test_an_operator_bans_lifts_and_undoes(start: Start, browser: browsers.Browser) -> None:
    shield = await start(**SETTINGS)
    tab = await open_page(browser, f"http://{shield.admin}/")

    async def press(what: str) -> None:
        await tab.evaluate(f"document.querySelector({what!r}).click()")

    await press("#ban-open")
    await tab.evaluate("document.getElementById('ban-subject').value = '203.0.113.0/33'")
    await press("#ban button[type=submit]")
    await tab.until("document.getElementById('ban-said').textContent.includes('203.0.113.0/33')")
    await tab.evaluate("document.getElementById('ban-subject').value = '203.0.113.0/24'")
    await press("#ban button[type=submit]")
    await tab.until("!document.getElementById('ban').open")
    await tab.until("document.querySelector('#rules code')?.textContent === '203.0.113.0/24'")
    await shield.logged("rule_added", subject="203.0.113.0/24")
    await press("#undo")
    await tab.until("!document.querySelector('#rules code')")
    await tab.until("document.getElementById('events').textContent.includes('Rule undone')")
    await press("#why-open")
    await tab.evaluate("document.getElementById('why-subject').value = '203.0.113.7'")
    await press("#why button[type=submit]")
    await tab.until("document.querySelectorAll('#why-said li').length > 3")
    wish = "{kind: 'key', subject: 'billing', value: '20/400'}"
    headers = "{'Content-Type': 'application/json'}"
    post = f"{{method: 'POST', headers: {headers}, body: JSON.stringify({wish})}}"
    await tab.evaluate(f"fetch('api/rules', {post}).then((reply) => reply.status)")
    await tab.until("document.querySelector('#rules code')?.textContent === 'billing 20/400'")


async def test_it_asks_for_a_token_and_keeps_it_in_this_tab(
    start: Start, browser: browsers.Browser, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"read {'r' * 32} ann\n")
    tokens.chmod(0o600)
    shield = await start(admin={"token_file": str(tokens)}, **SETTINGS)
    tab = await browser.tab()
    await tab.call("Network.enable")
    await tab.call("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": "192.0.2.1"})  # as through a proxy
    await tab.go(f"http://{shield.admin}/")
    await tab.until("!document.getElementById('door').hidden")
    for text, said in (("wrong" * 8, "A token of admin.token_file is needed"), ("r" * 32, "")):
        await tab.evaluate(f"document.getElementById('token').value = '{text}'")
        await tab.evaluate("document.querySelector('#door button').click()")
        if said:
            await tab.until(f"document.getElementById('door-said').textContent.includes('{said}')")
    await tab.until("!document.getElementById('board').hidden")
    assert await tab.evaluate("sessionStorage.getItem('shield-token')") == "r" * 32
    assert await tab.evaluate("localStorage.length + document.cookie.length") == 0
    await tab.evaluate("document.getElementById('undo').click()")
    await tab.until("document.getElementById('said').textContent.length")  # it may read only
    assert shield.seen("rule_undone") == []


async def test_it_says_that_shield_is_gone_and_comes_again(start: Start, browser: browsers.Browser) -> None:
    shield = await start(**SETTINGS)
    tab = await open_page(browser, f"http://{shield.admin}/")
    await shield.end()
    await tab.until("document.body.dataset.mood === 'lost'")
    again = await start(**{**SETTINGS, "admin": {"address": shield.admin}})
    assert again.admin == shield.admin
    await tab.until("document.body.dataset.mood === 'calm'")


@pytest.mark.parametrize("colours", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 1440])
async def test_everybody_can_use_it(start: Start, browser: browsers.Browser, width: int, colours: str) -> None:
    text = await axe.script()
    shield = await start(**SETTINGS)
    tab = await browser.tab()
    await dress(tab, width, 800, colours)
    await tab.go(f"http://{shield.admin}/")
    await tab.until("!document.getElementById('board').hidden && document.querySelector('#tiles dd')")
    async with flooded(shield):
        await tab.until("document.body.dataset.mood === 'bad' && document.querySelector('#refused button')")
        await tab.until("document.querySelector('#networks button')")
        assert await axe.findings(tab, text) == []
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await tab.evaluate("document.querySelector('#refused button').click()")
        await tab.until("document.querySelectorAll('#why-said li').length")
        assert await axe.findings(tab, text) == []
        await tab.evaluate("document.querySelector('#why [data-close]').click()")
        await tab.evaluate("document.getElementById('ban-open').click()")
        assert await axe.findings(tab, text) == []


@pytest.mark.parametrize("width", [360, 1440])
async def test_several_sites_have_a_list(start: Start, browser: browsers.Browser, width: int) -> None:
    text = await axe.script()
    shop, blog = (
        {"hosts": [f"{name}.example"], "upstream": {"servers": ["http://127.0.0.1:1"]}} for name in ("shop", "blog")
    )
    shield = await start(site=[shop, blog], history={"window": 2.0}, log={"requests": False})
    tab = await browser.tab()
    await dress(tab, width, 800, "dark")
    await tab.go(f"http://{shield.admin}/")
    await tab.until("document.querySelectorAll('#sites > li').length === 2")
    assert "pressure 0 %" in await tab.evaluate("document.getElementById('sites').innerText")
    assert await axe.findings(tab, text) == []
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
