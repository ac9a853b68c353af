"""axe-core, in a real Chromium, on the pages that visitors get and on the report: on a phone and on a desk, in the
light and in the dark. The dashboard is in test_dashboard.py."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from shield.model import Fault, Reason, Verdict
from shield.policy.challenge.challenge import Challenger, solved
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.keys import Keys
from shield.readers import Reader
from shield.replies.pages import PROBLEMS
from shield.replies.rendering import Replies
from shield.replies.reply import Reply
from shield.replies.wording import REFUSALS, problem_kinds
from shield.report import page
from tests.browser import conftest as browsers
from tests.browser import test_report
from tests.clients import axe
from tests.clients.screenshots import dress

pytestmark = [pytest.mark.clients, pytest.mark.browser]

serve = browsers.serve
SIZES: Final = ((360, "light"), (360, "dark"), (1440, "light"), (1440, "dark"))
"""Width in pixels, and colours."""
HARD: Final = 2**40
"""Hashes: the page is still working when it is judged."""
STAY: Final = """for (const name of ["setTimeout", "setInterval"]) {
  const begin = globalThis[name];
  globalThis[name] = (call, ms, ...more) => ms >= 200 ? 0 : begin(call, ms, ...more);
}"""
"""Has a page that tries again after some seconds stay: on a busy machine it would be gone while it is judged."""
FORM: Final = [("name", "value")]


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[browsers.Tab]:
    with browsers.launch(tmp_path / "profile") as address:
        async with browsers.connect(address) as browser:
            tab = await browser.tab()
            await tab.call("Page.addScriptToEvaluateOnNewDocument", source=STAY)
            yield tab


class Served:
    """The pages of Shield by their path, and the files that they need."""

    def __init__(self) -> None:
        self._replies = replies = Replies("shield_pass", "Shield-Pass")
        self._challenger = Challenger(ChallengeSettings(), Keys(b"k" * 32), os.urandom, 100, 0.0, solved)
        self.challenges: dict[str, Callable[[], Reply]] = {
            "/challenge": lambda: self._challenge("GET", None),
            "/challenge/form": lambda: self._challenge("POST", FORM),
            "/challenge/upload": lambda: self._challenge("POST", None),
        }
        wordings = {said: reason for reason, said in REFUSALS.items()}  # one of each page
        self.pages: dict[str, Callable[[], Reply]] = {
            f"/{reader.name}/{what.value}": partial(make, reader=reader)
            for reader in (Reader.PERSON, Reader.SENDER)
            for what, make in (
                *((each, partial(replies.refusal, Verdict(each, retry_after=3))) for each in wordings.values()),
                *((fault, partial(replies.fault, fault)) for fault in Fault),
            )
        }

    async def __call__(self, method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        path, _, query = target.partition("?")
        reply = self._replies.static(path, None, query)
        if reply is None:
            made = (self.challenges | self.pages).get(path)
            reply = made() if made is not None else self._replies.fault(Fault.NOT_FOUND, Reader.PERSON)
        return reply.message(False, False)

    def _challenge(self, method: str, form: list[tuple[str, str]] | None) -> Reply:
        minted = self._challenger.mint(b"one client", b"", HARD, time.monotonic())
        verdict = Verdict(Reason.CHALLENGE_ALWAYS, retry_after=1)
        return self._replies.challenge(verdict, minted, Reader.PERSON, method, form)


async def judge(tab: browsers.Tab, text: str, what: str) -> list[str]:
    """The findings in what the tab shows, in all sizes."""
    found = []
    for width, colours in SIZES:
        await dress(tab, width, 800, colours)
        found += [f"{what} {width} {colours}: {each}" for each in await axe.findings(tab, text)]
        if not await tab.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            found.append(f"{what} {width} {colours}: wider than the window")
    return found


async def test_the_challenge_in_each_of_its_states(tab: browsers.Tab, serve: Callable[..., Awaitable[str]]) -> None:
    text, served = await axe.script(), Served()
    url = await serve(served)
    found: list[str] = []
    for path in served.challenges:
        await tab.go(url + path)
        await tab.state("working")
        found += await judge(tab, text, path)
        await tab.evaluate("document.querySelector('details').open = true")
        for state in await tab.evaluate("[...document.querySelectorAll('[data-state]')].map(e => e.dataset.state)"):
            await tab.call_with(
                state,
                """(state) => {
                    for (const each of document.querySelectorAll("[data-state]"))
                        each.hidden = each.dataset.state !== state;
                    const busy = document.querySelector(`[data-state=${state}]`).closest("#progress");
                    document.getElementById("busy").hidden = document.getElementById("progress").hidden = !busy;
                    document.getElementById("again").hidden = Boolean(busy);
                }""",
            )
            found += await judge(tab, text, f"{path} {state}")
    assert found == []


async def test_each_page_of_a_refusal_and_of_a_fault(tab: browsers.Tab, serve: Callable[..., Awaitable[str]]) -> None:
    text, served = await axe.script(), Served()
    url = await serve(served)
    found: list[str] = []
    for path in (*served.pages, *(PROBLEMS + kind for kind, *_ in problem_kinds())):
        await tab.go(url + path)
        await tab.until("document.readyState === 'complete' && document.querySelector('h1')")
        found += await judge(tab, text, path)
    assert found == []


async def test_the_report(tab: browsers.Tab, tmp_path: Path) -> None:
    text = await axe.script()
    (tmp_path / "report.html").write_text(page.html(test_report.account()), encoding="utf-8", errors="backslashreplace")
    await tab.go((tmp_path / "report.html").as_uri())
    await tab.until("document.readyState === 'complete' && document.title !== ''")
    assert await judge(tab, text, "report") == []
    await tab.evaluate("document.documentElement.removeAttribute('lang')")
    assert [each.partition(":")[0] for each in await axe.findings(tab, text)] == ["html-has-lang"]
