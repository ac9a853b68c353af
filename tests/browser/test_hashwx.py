"""The challenge page in HashWX: Chromium compiles the functions; who cannot answers in SHA-256."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shield.http.browser import parse_answer
from shield.policy.challenge.challenge import Algorithm, Redeemed
from shield.replies.hashwx import HashWX
from tests.browser.test_page import StandIn, post

pytestmark = pytest.mark.browser


class Asking(StandIn):
    """Asks for HashWX, and remembers in which algorithm it was answered."""

    def __init__(self, behind: Callable[[str], bytes]) -> None:
        super().__init__(behind, HashWX().check)
        self.hashes = 2**16
        self.algorithms: list[int] = []

    def _answer(self, body: bytes) -> bytes:
        answer = parse_answer(body)
        assert isinstance(answer, tuple)
        self.algorithms.append(urlsafe_b64decode(answer[0])[1])
        return super()._answer(body)


@pytest.fixture
def shield(page: Callable[..., bytes]) -> Asking:
    return Asking(page)


@pytest.fixture
async def site(shield: Asking, serve: Callable[[Any], Awaitable[str]]) -> str:
    return await serve(shield)


@pytest.fixture
async def tab(browser: Any) -> Any:
    return await browser.tab()


NO_WORKERS = "Worker = undefined;"
NO_MODULE = (
    "{const get = fetch; globalThis.fetch = (url, ...more) => get(`${url}`.replace('.wasm', '.gone'), ...more);}"
)
BROKEN = "WebAssembly.Instance = class { constructor() { throw new Error('not here'); } };"


@pytest.mark.parametrize(
    ("before", "zips", "algorithm"),
    [
        ("", True, Algorithm.HASHWX),
        pytest.param("", False, Algorithm.HASHWX, marks=pytest.mark.clients),
        (NO_WORKERS, True, Algorithm.HASHWX),
        ("delete globalThis.WebAssembly;", True, Algorithm.SHA_256),
        pytest.param(NO_MODULE, True, Algorithm.SHA_256, marks=pytest.mark.clients),
        (NO_WORKERS + BROKEN, True, Algorithm.SHA_256),
    ],
    ids=["workers", "a page in parts", "no workers", "no WebAssembly", "no module", "none that works"],
)
async def test_a_browser_answers_in_what_it_can(
    tab: Any, site: str, shield: Asking, before: str, zips: bool, algorithm: Algorithm
) -> None:
    shield.zips = zips
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=before)
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.ACCEPTED]
    assert shield.algorithms == [algorithm]
    assert tab.violations() == []


async def test_a_form_goes_on_and_a_challenge_that_lapsed_is_asked_for_anew(
    tab: Any, site: str, shield: Asking
) -> None:
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    await tab.call("Network.clearBrowserCookies")
    shield.results = [Redeemed.EXPIRED]
    await post(tab, site + "/order", [("name", "a & b")])
    await tab.until("document.title === 'Behind POST'")
    assert shield.posts == [b"name=a+%26+b"]
    assert shield.answered == [Redeemed.ACCEPTED, Redeemed.EXPIRED, Redeemed.ACCEPTED]
    assert shield.algorithms == [Algorithm.HASHWX] * 3
