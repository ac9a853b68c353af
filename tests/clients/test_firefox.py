"""Firefox and the challenge: the visits of tests/browser/test_shield.py, and who reads the answers to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shield.policy.challenge.challenge import Algorithm, Redeemed
from shield.readers import NOBODY, PERSON
from tests.browser import conftest as browsers
from tests.browser import test_readers
from tests.browser.test_hashwx import Asking
from tests.browser.test_shield import FORM, PARTS, SEND, SENT, Site
from tests.clients import firefox

pytestmark = pytest.mark.clients

serve, page, run_shield = browsers.serve, browsers.page, browsers.run_shield

OTHERS = {"/object": NOBODY, "/embed": NOBODY, "/download": PERSON}
"""What Firefox says otherwise than Chromium."""
NOT_ASKED = {"/manifest.json", "/speculation", "/ahead"}
"""What it does not ask for on a desktop, or only once it has nothing else to do."""


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[firefox.Firefox]:
    async with firefox.launched(tmp_path / "profile") as tab:
        yield tab


@pytest.fixture
def site(page: Callable[..., bytes]) -> Site:
    return Site(page)


@pytest.fixture
async def shield(site: Site, serve: Callable[[Any], Awaitable[str]], run_shield: Callable[..., Awaitable[str]]) -> str:
    return await run_shield(await serve(site))


async def nothing() -> None:
    """Nobody wants to know of a manifest."""


async def test_each_kind_of_request_is_read_by_whom_the_table_says(tab: Any, serve: Any, page: Any) -> None:
    found = await test_readers.asked_of(tab, serve, page, nothing)
    wanted = test_readers.WANTED | OTHERS
    assert {each: found.get(each) for each in wanted if each not in NOT_ASKED} == {
        each: reader for each, reader in wanted.items() if each not in NOT_ASKED
    }


async def test_a_visitor_reaches_the_page_that_was_asked_for(tab: Any, shield: str, site: Site) -> None:
    await tab.go(f"{shield}/inbox?folder=a%20b&x=1#third")
    await tab.until("document.title === 'Home'")
    assert await tab.evaluate("location.href") == f"{shield}/inbox?folder=a%20b&x=1#third"
    assert site.seen == ["GET /inbox?folder=a%20b&x=1"]
    await tab.go(f"{shield}/album")
    loaded = "[...document.images].filter((image) => image.complete && image.naturalWidth).length"
    await tab.until(f"document.title === 'Album' && {loaded} === {PARTS}")
    assert len(site.seen) == 2 + PARTS


async def test_a_form_that_met_the_challenge_arrives_once_as_it_was_sent(tab: Any, shield: str, site: Site) -> None:
    await tab.go(f"{shield}/form")
    await tab.until("document.title === 'Form'")
    await tab.call("storage.deleteCookies")
    await tab.evaluate(SEND)
    await tab.until("document.title === 'Thank you'")
    assert await tab.evaluate("location.href") == f"{shield}/order?id=7"
    assert site.posts == [("application/x-www-form-urlencoded", SENT)]


async def test_another_sites_form_is_not_sent_on(tab: Any, shield: str, site: Site, serve: Any, page: Any) -> None:
    async def foreign(*_: object) -> bytes:
        return bytes(page("Foreign", FORM.replace('action="', f'action="{shield}')))

    await tab.go(await serve(foreign))
    await tab.evaluate(SEND)
    await tab.until("document.body.innerText.includes('Go back and send it again')")
    assert await tab.evaluate("document.forms.length") == 0
    assert site.seen == []


async def test_a_page_in_a_frame_of_the_site_is_reached(tab: Any, shield: str, site: Site) -> None:
    await tab.go(f"{shield}/form")
    await tab.until("document.title === 'Form'")
    await tab.call("storage.deleteCookies")
    await tab.evaluate("document.body.append(Object.assign(document.createElement('iframe'), {src: '/framed'})) ?? 0")
    await tab.until("frames[0]?.document.title === 'Home'")
    assert site.seen == ["GET /form", "GET /framed"]


@pytest.mark.parametrize("parts", [False, True], ids=["in one response", "in parts"])
async def test_a_challenge_in_hashwx_is_solved_in_it(tab: Any, serve: Any, page: Any, parts: bool) -> None:
    asking = Asking(page)
    asking.zips = not parts
    await tab.go(await serve(asking))
    await tab.until("document.title === 'Behind GET'")
    assert asking.answered == [Redeemed.ACCEPTED]
    assert asking.algorithms == [Algorithm.HASHWX]


async def test_who_has_a_pass_in_hashwx_gets_the_site(tab: Any, site: Site, serve: Any, run_shield: Any) -> None:
    await tab.go(await run_shield(await serve(site), 'algorithm = "hashwx"'))
    await tab.until("document.title === 'Home'")
    assert site.seen == ["GET /"]
