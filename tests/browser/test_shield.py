"""Chromium, Shield and a small site behind it, with everybody challenged: what visitors live through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

PARTS = 24


class Site:
    """The site behind Shield. Remembers what reached it."""

    def __init__(self, page: Callable[..., bytes]) -> None:
        self.seen: list[str] = []
        self.posts: list[tuple[str, bytes]] = []
        self.cookies: list[str] = []
        self._page = page

    async def __call__(self, method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        self.seen.append(f"{method} {target}")
        self.cookies.append(fields.get("cookie", ""))
        if method == "POST":
            self.posts.append((fields["content-type"], body))
            return self._page("Thank you")
        if target == "/album":
            return self._page("Album", "".join(f"<img src='/part/{number}.svg'>" for number in range(PARTS)))
        if target.startswith("/part/"):
            image = b"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'/>"
            return b"HTTP/1.1 200 OK\r\nContent-Type: image/svg+xml\r\nContent-Length: %d\r\n\r\n%b" % (
                len(image),
                image,
            )
        if target.startswith("/form"):
            return self._page("Form", FORM)
        return self._page("Home")


FORM = """<form method="post" action="/order?id=7"><input name="name" value="größe &amp; &lt;b&gt;">
<textarea name="text">one\ntwo</textarea><input name="submit" value="yes"></form>"""
SENT = b"name=gr%C3%B6%C3%9Fe+%26+%3Cb%3E&text=one%0D%0Atwo&submit=yes"
SEND = "setTimeout(() => HTMLFormElement.prototype.submit.call(document.forms[0])) && 0"


@pytest.fixture
def site(page: Callable[..., bytes]) -> Site:
    return Site(page)


@pytest.fixture
async def shield(site: Site, serve: Callable[[Any], Awaitable[str]], run_shield: Callable[..., Awaitable[str]]) -> str:
    return await run_shield(await serve(site))


@pytest.fixture
async def tab(browser: Any) -> Any:
    return await browser.tab()


async def test_a_visitor_reaches_the_page_that_was_asked_for(tab: Any, shield: str, site: Site) -> None:
    await tab.go(f"{shield}/inbox?folder=a%20b&x=1#third")
    await tab.until("document.title === 'Home'")
    assert await tab.evaluate("location.href") == f"{shield}/inbox?folder=a%20b&x=1#third"
    assert site.seen == ["GET /inbox?folder=a%20b&x=1"]
    assert tab.violations() == []
    await tab.go(f"{shield}/next")
    await tab.until("location.pathname === '/next' && document.title === 'Home'")
    assert site.seen[1:] == ["GET /next"]
    assert site.cookies == ["", ""]  # the pass is Shield's business alone


async def test_the_cookie_is_out_of_reach_of_scripts(tab: Any, shield: str) -> None:
    await tab.go(shield)
    await tab.until("document.title === 'Home'")
    cookies = (await tab.call("Network.getCookies"))["cookies"]
    assert sorted(cookie["name"] for cookie in cookies) == ["shield_pass", "shield_pass_wait"]
    for cookie in cookies:
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Lax"
    assert await tab.evaluate("document.cookie") == ""


async def test_a_page_with_many_parts_is_whole(tab: Any, shield: str, site: Site) -> None:
    await tab.go(f"{shield}/album")
    await tab.until("document.title === 'Album' && document.readyState === 'complete'")
    loaded = "[...document.images].filter((image) => image.complete && image.naturalWidth).length"
    await tab.until(f"{loaded} === {PARTS}")
    assert sorted(site.seen) == sorted(["GET /album", *(f"GET /part/{number}.svg" for number in range(PARTS))])


async def test_a_form_that_met_the_challenge_arrives_once_as_it_was_sent(tab: Any, shield: str, site: Site) -> None:
    await tab.go(f"{shield}/form")
    await tab.until("document.title === 'Form'")
    await tab.call("Network.clearBrowserCookies")
    await tab.evaluate(SEND)
    await tab.until("document.title === 'Thank you'")
    assert await tab.evaluate("location.href") == f"{shield}/order?id=7"
    assert site.posts == [("application/x-www-form-urlencoded", SENT)]
    assert tab.violations() == []


async def test_another_sites_form_is_not_sent_on(
    tab: Any, shield: str, site: Site, page: Callable[..., bytes], serve: Callable[[Any], Awaitable[str]]
) -> None:
    """Sent on from Shield's page it would come from the site itself: with its cookies, past its CSRF checks."""

    async def foreign(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        return page("Foreign", FORM.replace('action="', f'action="{shield}'))

    address = await serve(foreign)
    await tab.go(address.replace("127.0.0.1", "localhost"))
    await tab.until("document.title === 'Foreign'")
    await tab.evaluate(SEND)
    await tab.state("resend")
    assert "Go back and send it again" in await tab.text()
    assert await tab.evaluate("document.forms.length") == 0
    assert site.seen == []


async def test_tabs_opened_together_all_arrive(browser: Any, shield: str, site: Site) -> None:
    tabs = [await browser.tab() for _ in range(3)]
    await asyncio.gather(*(tab.go(f"{shield}/{number}") for number, tab in enumerate(tabs)))
    for tab in tabs:
        await tab.until("document.title === 'Home'")
    assert sorted(site.seen) == ["GET /0", "GET /1", "GET /2"]


async def test_blocked_cookies_end_in_a_message(cookieless: Any, shield: str, site: Site) -> None:
    tab = await cookieless.tab()
    await tab.go(shield)
    await tab.state("cookies")
    assert "Allow cookies" in await tab.text()
    assert site.seen == []


async def test_a_browser_without_javascript_waits_and_is_let_in(
    tab: Any, site: Site, serve: Callable[[Any], Awaitable[str]], run_shield: Callable[..., Awaitable[str]]
) -> None:
    shield = await run_shield(await serve(site), "[market]\nwaited_least = 1\nwaited_most = 1\n")
    await tab.call("Emulation.setScriptExecutionDisabled", value=True)
    await tab.go(f"{shield}/inbox?x=1#third")
    await tab.until("document.title === 'One moment, please'")
    assert "Without JavaScript you wait instead." in await tab.text()
    assert "Calculating" not in await tab.text()
    await tab.until("document.title === 'Home'")
    # A refresh of an address with a fragment only scrolls in Chromium, so the page leads to the one without.
    assert await tab.evaluate("location.href") == f"{shield}/inbox?x=1"
    assert (site.seen, site.cookies) == (["GET /inbox?x=1"], [""])


async def test_without_javascript_and_the_waiting_room_a_browser_is_told(
    tab: Any, site: Site, serve: Callable[[Any], Awaitable[str]], run_shield: Callable[..., Awaitable[str]]
) -> None:
    shield = await run_shield(await serve(site), "[market]\nwaited_share = 0\n")
    await tab.call("Emulation.setScriptExecutionDisabled", value=True)
    await tab.go(shield)
    await tab.until("document.title === 'One moment, please'")
    assert "JavaScript is needed here." in await tab.text()


async def test_a_script_of_the_site_gets_the_problem_and_not_a_page(tab: Any, shield: str, site: Site) -> None:
    await tab.go(f"{shield}/form")
    await tab.until("document.title === 'Form'")
    await tab.call("Network.clearBrowserCookies")
    # As another client: this one has just bought a pass, which stands in for a lost cookie.
    await tab.call("Network.setUserAgentOverride", userAgent="Mozilla/5.0 (somebody else)")
    ask = "fetch('/api').then(async (reply) => [reply.status, reply.headers.get('content-type'), await reply.json()])"
    status, media, document = await tab.evaluate(ask)
    assert (status, media) == (503, "application/problem+json")
    assert document["reason"] == "challenge_always"


async def test_a_page_that_calls_an_api_on_another_host_is_told_what_is_wrong_and_then_served(
    browser: Any, page: Callable[..., bytes], serve: Callable[[Any], Awaitable[str]], run_shield: Any
) -> None:
    """Its preflight was challenged, which it cannot answer; and the script saw a broken line, not the refusal."""
    allowed: list[str] = []
    asked: list[str] = []

    async def app(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        return page("App")

    async def api(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        asked.append(f"{method} {target}")
        if target == "/":
            return page("Home")
        return (
            b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: %b\r\nAccess-Control-Allow-Methods: PUT\r\n"
            b"Content-Length: 2\r\n\r\n{}" % allowed[0].encode()
        )

    allowed.append((await serve(app)).replace("127.0.0.1", "localhost"))
    shield = await run_shield(await serve(api))
    call = f"""fetch({shield!r} + '/api', {{method: 'PUT'}}).then(
        async (reply) => [reply.status, Number(reply.headers.get('retry-after')) > 0, await reply.json()])"""
    tab = await browser.tab()
    await tab.go(allowed[0])
    await tab.until("document.title === 'App'")
    status, told_when, document = await tab.evaluate(call)
    assert (status, told_when, document["reason"]) == (503, True, "challenge_always")
    assert asked == ["OPTIONS /api"]

    other = await browser.tab()
    await other.go(shield)
    await other.until("document.title === 'Home'")
    assert await tab.evaluate(call) == [200, False, {}]
