"""The challenge page in a real browser, in front of a stand-in for Shield that can be told to misbehave.

What the page must do when all is well is shown with Shield itself in test_shield.py.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shield.demo.solver import solve
from shield.http.browser import encode_form, parse_answer, parse_form
from shield.model import Reason, Verdict
from shield.policy.challenge.challenge import Challenger, CheckWork, Redeemed, Redemption, solved
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.keys import Keys
from shield.readers import PEOPLE, reader_of
from shield.replies.hashwx import module
from shield.replies.pages import ANSWER_TO, PREFIX
from shield.replies.rendering import Replies, Spoken
from tests.browser.conftest import WAIT

pytestmark = pytest.mark.browser

CHALLENGE = Verdict(Reason.CHALLENGE_ALWAYS, retry_after=1)
CLIENT = b"one client for all"
HASTE = "{const wait = setTimeout; globalThis.setTimeout = (call, ms) => wait(call, ms / 20);}"
"""Makes a page wait for a twentieth of the time."""


class StandIn:
    """Challenges whoever has no cookie, believes right answers, and serves a page behind. The knobs come first."""

    def __init__(self, behind: Callable[[str], bytes], check_hashwx: CheckWork | None = None) -> None:
        self.hashes = 2**12
        self.lifetime = 120.0
        self.results: list[Redeemed] = []  # what the next answers get, whatever they are worth
        self.gives_cookie = True
        self.turns = 0  # times that a ticket has to be shown before it is a pass
        self.wait = 2  # seconds, as the waiting room says
        self.zips = True  # and sends a page that brings all along
        self.refresh = 0  # seconds after which somebody without scripts may come again
        self.busy: list[Verdict] = []  # what the next requests are refused with
        # what was seen
        self.tickets: list[str] = []
        self.challenged: list[str] = []
        self.answered: list[Redeemed] = []
        self.posts: list[bytes] = []
        self.targets: list[str] = []
        self._behind = behind
        self._replies = Replies("shield_pass", "Shield-Pass", hashwx=module() if check_hashwx else b"")
        self._challenger = Challenger(
            ChallengeSettings(), Keys(b"k" * 32), os.urandom, 100, 0.0, solved, check_hashwx=check_hashwx
        )

    async def __call__(self, method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        path, _, query = target.partition("?")
        headers = {name.title(): value for name, value in fields.items()}
        if path == ANSWER_TO:
            return self._answer(body)
        file = self._replies.static(path, fields.get("if-none-match"), query)
        if file is not None:
            return file.message(False, False)
        self.targets.append(f"{method} {target}")
        if self.busy:
            language = fields.get("accept-language", "").encode()
            refusal = self._replies.refusal(self.busy.pop(0), reader_of(method, headers), language)
            return refusal.message(False, False, b"5f00c0de-1a")
        if "shield_pass=" in fields.get("cookie", ""):
            if method == "POST":
                self.posts.append(body)
            return self._behind(f"Behind {method}")
        reader = reader_of(method, headers)
        self.challenged.append("page" if reader in PEOPLE else "program")
        form = parse_form(body, fields.get("content-type", "")) if method == "POST" else None
        challenge = self._challenger.mint(CLIENT, b"", self.hashes, time.monotonic())
        spoken = Spoken(
            fields.get("accept-language", "").encode(),
            fields.get("accept-encoding", "") if self.zips else "",
            b"5f00c0de-1a",
            self.refresh,
        )
        return self._replies.challenge(CHALLENGE, challenge, reader, method, form, spoken).message(False, False)

    def _answer(self, body: bytes) -> bytes:
        answer = parse_answer(body)
        result = Redeemed.MALFORMED
        ticket = answer if isinstance(answer, str) else ""
        if self.results:
            result = self.results.pop(0)
        elif ticket:
            self.tickets.append(ticket)
            self.turns -= 1
            result = Redeemed.WAITING if self.turns > 0 else Redeemed.ACCEPTED
        elif answer is not None and not isinstance(answer, str):
            result, _ = self._challenger.verify(CLIENT, b"", *answer, self.hashes, time.monotonic())
            if result is Redeemed.ACCEPTED and self.turns:
                result = Redeemed.WAITING
        self.answered.append(result)
        redemption = Redemption(result, "a-pass", 120, "a-ticket", self.wait, 1)
        reply = self._replies.redeemed(redemption, False).message(False, False)
        if not self.gives_cookie:
            reply = b"\r\n".join(line for line in reply.split(b"\r\n") if not line.startswith(b"Set-Cookie"))
        return reply


@pytest.fixture
def shield(page: Callable[..., bytes]) -> StandIn:
    return StandIn(page)


@pytest.fixture
async def site(shield: StandIn, serve: Callable[[Any], Awaitable[str]]) -> str:
    return await serve(shield)


@pytest.fixture
async def tab(browser: Any) -> Any:
    return await browser.tab()


async def post(
    tab: Any, url: str, fields: list[tuple[str, str]], enctype: str = "application/x-www-form-urlencoded"
) -> None:
    """Fills a form in a page of the same site and sends it, as a visitor would."""
    await tab.call_with(
        [url, fields, enctype],
        """([url, fields, enctype]) => {
            const form = document.createElement("form");
            Object.assign(form, {method: "post", action: url, enctype, acceptCharset: "utf-8"});
            for (const [name, value] of fields) {
                const input = document.createElement("textarea");
                Object.assign(input, {name, value});
                form.append(input);
            }
            document.body.append(form);
            HTMLFormElement.prototype.submit.call(form);
        }""",
    )


async def test_the_way_back_does_not_lead_to_the_challenge(tab: Any, site: str, shield: StandIn) -> None:
    await tab.go("about:blank?start")
    await tab.go(f"{site}/a")
    await tab.until("document.title === 'Behind GET'")
    await tab.evaluate("setTimeout(() => history.back()) && 0")
    await tab.until("location.href === 'about:blank?start'")
    assert len(shield.challenged) == 1


async def test_progress_is_told_step_by_step_to_the_end(tab: Any, site: str, shield: StandIn) -> None:
    shield.hashes = 2**20
    await tab.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="""globalThis.steps = []; addEventListener("DOMContentLoaded", () => {
            const bar = document.getElementById("bar");
            if (bar) new MutationObserver(() => steps.push(Number(bar.ariaValueNow)))
                .observe(bar, {attributeFilter: ["aria-valuenow"]});
        })""",
    )
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    shield.challenged.clear()
    await tab.call("Network.clearBrowserCookies")
    await post(tab, f"{site}/upload", [("a", "b")], "multipart/form-data")  # a page that stays when it is done
    await tab.state("resend")
    steps = await tab.evaluate("steps")
    assert steps == sorted(steps)
    assert len(set(steps)) > 4
    assert steps[-1] == await tab.evaluate("Number(document.getElementById('bar').ariaValueMax)") == 16


FIELDS = [
    ("submit", "names that shadow the form's own methods"),
    ("action", "/elsewhere"),
    ("text", 'two\r\nlines & <b>"quotes\'"</b> 100% ~*-._'),
    ("repeated", "1"),
    ("repeated", "2"),
    ("empty", ""),
    ("größe", "日本語 🛡"),
    ("\u202eodd\u0001", "\t\u00a0 \u2028"),
]


async def test_a_posted_form_arrives_once_and_exactly_as_it_was_sent(tab: Any, site: str, shield: StandIn) -> None:
    await tab.go(f"{site}/form")
    await tab.until("document.title === 'Behind GET'")
    await tab.call("Network.clearBrowserCookies")
    await post(tab, "/order?id=7", FIELDS)
    await tab.until("document.title === 'Behind POST'")
    assert shield.posts == [encode_form(FIELDS)]
    assert await tab.evaluate("location.href") == f"{site}/order?id=7"
    assert shield.answered == [Redeemed.ACCEPTED] * 2
    assert tab.violations() == []


async def test_what_cannot_be_sent_on_is_asked_for_again(tab: Any, site: str, shield: StandIn) -> None:
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    await tab.call("Network.clearBrowserCookies")
    await post(tab, "/upload", [("a", "b")], "multipart/form-data")
    await tab.state("resend")
    assert "Go back and send it again" in await tab.text()
    assert shield.posts == []
    await post(tab, "/upload", [("a", "b")])
    await tab.until("document.title === 'Behind POST'")
    assert shield.posts == [b"a=b"]


@pytest.mark.parametrize("refusal", [Redeemed.EXPIRED, Redeemed.SPENT, Redeemed.FORGED, Redeemed.FOREIGN])
async def test_a_challenge_that_has_lapsed_is_asked_for_anew(
    tab: Any, site: str, shield: StandIn, refusal: Redeemed
) -> None:
    shield.results = [refusal]
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [refusal, Redeemed.ACCEPTED]


async def test_a_lapsed_challenge_does_not_lose_the_form(tab: Any, site: str, shield: StandIn) -> None:
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    await tab.call("Network.clearBrowserCookies")
    shield.results = [Redeemed.EXPIRED]
    await post(tab, "/order", FIELDS)
    await tab.until("document.title === 'Behind POST'")
    assert shield.posts == [encode_form(FIELDS)]
    assert shield.challenged == ["page", "page", "program"]


async def test_a_busy_site_gets_the_same_answer_again(tab: Any, site: str, shield: StandIn) -> None:
    shield.results = [Redeemed.BUSY]
    await tab.go(site)
    await tab.state("waiting")
    assert "very busy" in await tab.text()
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.BUSY, Redeemed.ACCEPTED]
    assert len(shield.challenged) == 1


async def test_while_the_waiting_room_is_full_the_page_goes_on_trying(tab: Any, site: str, shield: StandIn) -> None:
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=HASTE)
    shield.results = [Redeemed.BUSY] * 8
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.BUSY] * 8 + [Redeemed.ACCEPTED]
    assert len(shield.challenged) == 1


async def test_in_the_waiting_room_the_page_says_how_long_and_goes_on_by_itself(
    tab: Any, site: str, shield: StandIn
) -> None:
    shield.turns, shield.wait = 2, 7
    await tab.go(site)
    await tab.state("queue")
    await tab.until("document.getElementById('left').textContent === 'About 7 s left'")
    assert "one after another" in await tab.text()
    shield.wait = 1
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.WAITING, Redeemed.WAITING, Redeemed.ACCEPTED]
    assert shield.tickets == ["a-ticket"] * 2
    assert len(shield.challenged) == 1


async def test_who_waits_does_not_lose_the_form(tab: Any, site: str, shield: StandIn) -> None:
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    await tab.call("Network.clearBrowserCookies")
    shield.turns, shield.wait = 1, 1
    await post(tab, "/order", FIELDS)
    await tab.until("document.title === 'Behind POST'")
    assert shield.posts == [encode_form(FIELDS)]


async def test_a_place_that_was_lost_leads_to_a_new_challenge(tab: Any, site: str, shield: StandIn) -> None:
    shield.wait = 1
    shield.results = [Redeemed.WAITING, Redeemed.EXPIRED]
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.WAITING, Redeemed.EXPIRED, Redeemed.ACCEPTED]
    assert len(shield.challenged) == 2


@pytest.mark.parametrize(
    "worker",
    [
        "Worker = undefined",
        "Worker = class { constructor() { throw new Error('forbidden'); } }",
        "Worker = class { constructor() { setTimeout(() => this.onerror({ preventDefault() {} })); } terminate() {} }",
        "Worker = class { postMessage() {} terminate() {} }",  # never a word
        "delete globalThis.SharedArrayBuffer; WebAssembly.Module = () => { throw new EvalError('blocked'); }",
        "delete globalThis.WebAssembly; navigator.__defineGetter__('hardwareConcurrency', () => undefined)",
    ],
    ids=["none", "forbidden", "broken", "silent", "no shared memory", "plain JavaScript"],
)
async def test_without_workers_the_page_does_the_work(tab: Any, site: str, shield: StandIn, worker: str) -> None:
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=HASTE + worker)
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.ACCEPTED]


HIDDEN = """Object.defineProperty(document, "hidden", {get: () => globalThis.unseen ?? true, configurable: true});"""


async def test_a_tab_that_nobody_looks_at_rests_until_somebody_does(tab: Any, site: str, shield: StandIn) -> None:
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=HIDDEN)
    await tab.go(site)
    await tab.state("working")
    await asyncio.sleep(0.3)
    assert shield.answered == []
    await tab.evaluate("globalThis.unseen = false; document.dispatchEvent(new Event('visibilitychange'))")
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.ACCEPTED]


async def test_a_tab_that_is_never_looked_at_goes_on_after_a_rest(tab: Any, site: str, shield: StandIn) -> None:
    """As in a WebView that says that it is hidden for all its life."""
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=HIDDEN + HASTE.replace("20", "200"))
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.ACCEPTED]


@pytest.mark.parametrize(
    ("says", "workers"),
    [("1", 1), ("4", 3), ("128", 8), ("undefined", 1), ("'many'", 1)],
)
async def test_one_core_is_left_to_whoever_uses_it(
    tab: Any, site: str, shield: StandIn, says: str, workers: int
) -> None:
    """Browsers that hide how many cores there are say 1, 2 or 128."""
    counted = """globalThis.made = 0; Worker = class extends Worker { constructor(url) { super(url); made++; } };"""
    spoofed = f"navigator.__defineGetter__('hardwareConcurrency', () => {says});"
    await tab.call("Page.addScriptToEvaluateOnNewDocument", source=counted + spoofed)
    shield.hashes = 2**40
    await tab.go(site)
    await tab.state("working")
    assert await tab.evaluate("made") == workers


async def test_an_answer_that_is_not_accepted_ends_in_a_message(tab: Any, site: str, shield: StandIn) -> None:
    shield.results = [Redeemed.WRONG]
    await tab.go(site)
    await tab.state("failed")
    assert "did not work" in await tab.text()
    await tab.evaluate("document.getElementById('again').click()")
    await tab.until("document.title === 'Behind GET'")


async def test_a_cookie_that_is_lost_on_the_way_ends_in_a_message(tab: Any, site: str, shield: StandIn) -> None:
    shield.gives_cookie = False
    await tab.go(site)
    await tab.state("loop")
    assert "The site keeps asking" in await tab.text()
    assert shield.answered == [Redeemed.ACCEPTED] * 2
    shield.gives_cookie = True
    await tab.evaluate("document.getElementById('again').click()")
    await tab.until("document.title === 'Behind GET'")


async def test_without_gzip_the_page_fetches_its_parts(tab: Any, site: str, shield: StandIn) -> None:
    shield.zips = False
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.ACCEPTED]
    assert tab.violations() == []


async def test_a_lost_network_is_waited_for(tab: Any, site: str, shield: StandIn) -> None:
    """A page loaded again without one would be lost."""
    await tab.call("Network.enable")
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    shield.hashes = 2**19
    shield.results = [Redeemed.EXPIRED]
    await tab.go(site)
    await tab.state("working")
    await tab.call("Network.emulateNetworkConditions", **offline)
    await tab.state("offline")
    assert "There is no connection." in await tab.text()
    await tab.call("Network.emulateNetworkConditions", **offline | {"offline": False})
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.EXPIRED, Redeemed.ACCEPTED]


async def test_a_tab_that_slept_asks_for_a_new_challenge(tab: Any, site: str, shield: StandIn) -> None:
    """The challenge ran out meanwhile: by the page's clock, before any answer is sent."""
    await tab.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="""if (!sessionStorage.getItem("slept")) {
            const time = Date.now;
            sessionStorage.setItem("slept", "yes");
            addEventListener("DOMContentLoaded", () => setTimeout(() => { Date.now = () => time() + 200000; }));
        }""",
    )
    shield.hashes = 2**18
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.ACCEPTED]
    assert len(shield.challenged) == 2


@pytest.mark.parametrize("days", [-366, 366])
async def test_a_clock_that_is_wrong_by_a_year_does_not_matter(tab: Any, site: str, shield: StandIn, days: int) -> None:
    await tab.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source=f"{{const time = Date.now; Date.now = () => time() + {days} * 86400000;}}",
    )
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.ACCEPTED]
    assert len(shield.challenged) == 1


async def test_the_page_speaks_the_visitors_language(tab: Any, site: str, shield: StandIn) -> None:
    await tab.call("Network.setUserAgentOverride", userAgent="Mozilla/5.0", acceptLanguage="ar-EG,ar;q=0.9")
    shield.gives_cookie = False
    await tab.go(site)
    await tab.state("loop")
    assert "الموقع يكرر السؤال" in await tab.text()
    assert await tab.evaluate("getComputedStyle(document.body).direction") == "rtl"
    assert await tab.evaluate("document.title") == "الموقع يكرر السؤال"
    assert "5f00c0de-1a" in await tab.text()


async def test_the_solver_finds_what_programs_find(tab: Any, site: str, shield: StandIn) -> None:
    """In WebAssembly, that is; plain JavaScript is put to the test where the page does the work."""
    token, k, target = "AQEQ" * 13, 5, 2**64 // 3000
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    every = 2**64 - 1
    jobs = [{"token": token, "index": i, "nonce": 0, "count": 65536, "target": f"{target:016x}"} for i in range(k)]
    jobs.append({"token": token, "index": 0, "nonce": 2**45 + 2**32 - 8, "count": 8, "target": f"{every:016x}"})
    jobs.append({"token": token, "index": 0, "nonce": 0, "count": 4096, "target": f"{0:016x}"})
    found = await tab.call_with(
        jobs,
        """(jobs) => new Promise((resolve) => {
            const worker = new Worker("/.well-known/shield/worker.js"), nonces = [];
            worker.onmessage = ({data}) => {
                nonces.push(data);
                if (nonces.length === jobs.length) resolve(nonces);
            };
            for (const job of jobs) worker.postMessage(job);
        })""",
    )
    assert found == [*solve(token, k, target), 2**45 + 2**32 - 8, -1]


BUSY = Verdict(Reason.QUEUE_TIMEOUT, retry_after=1)


async def test_a_busy_page_goes_on_by_itself_to_where_the_visitor_was_going(
    tab: Any, site: str, shield: StandIn
) -> None:
    """After a solved challenge a newcomer landed on "The site is very busy, please reload", which stayed."""
    shield.busy = [BUSY]
    await tab.go(f"{site}/inbox?x=1#third")
    await tab.until("document.title === 'The site is very busy'")
    assert re.search(r"tries again by itself\.\s+About \d s left", await tab.text())
    await tab.until("document.title === 'Behind GET'")
    assert await tab.evaluate("location.href") == f"{site}/inbox?x=1#third"
    assert tab.violations() == []


async def test_a_busy_page_goes_on_without_javascript(tab: Any, site: str, shield: StandIn) -> None:
    shield.busy = [BUSY]
    await tab.call("Emulation.setScriptExecutionDisabled", value=True)
    await tab.go(f"{site}/inbox?x=1")
    await tab.until("document.title === 'One moment, please'")
    assert shield.targets == ["GET /inbox?x=1"] * 2


async def test_what_was_posted_to_a_busy_site_is_left_to_the_visitor(tab: Any, site: str, shield: StandIn) -> None:
    await tab.go(site)
    await tab.until("document.title === 'Behind GET'")
    shield.busy = [BUSY]
    await post(tab, "/order", FIELDS)
    await tab.until("document.title === 'The site is very busy'")
    assert "send it again" in await tab.text()
    assert await tab.evaluate("document.scripts.length") == 0
    await tab.call("Page.reload")  # and the visitor lets the browser do so
    await tab.until("document.title === 'Behind POST'")
    assert shield.posts == [encode_form(FIELDS)]


@pytest.mark.parametrize(
    "path",
    [
        "//evil.test/x",  # what begins like another host
        "/a;b?x=%2e%2e&y=%#frag?ment",
        "/%ff%00/..%2f?" + "q" * 3000,
        "/.well-known/shieldx/answer",
        "/deep/er/and/deeper/index.html?<base href=//evil.test/>",
    ],
)
async def test_the_page_works_at_any_address(tab: Any, site: str, shield: StandIn, path: str) -> None:
    await tab.go(f"{site}/start")
    await tab.until("document.title === 'Behind GET'")
    await tab.call("Network.clearBrowserCookies")
    shield.results = [Redeemed.EXPIRED]  # so that it asks for a new challenge, too
    await post(tab, site + path, FIELDS)
    await tab.until("document.title === 'Behind POST'")
    assert shield.posts == [encode_form(FIELDS)]
    assert await tab.evaluate("location.href") == await tab.evaluate(f"new URL({site + path!r}).href")
    assert tab.violations() == []


async def test_the_page_works_at_an_address_with_a_name_and_a_password(tab: Any, site: str, shield: StandIn) -> None:
    """A browser refuses to fetch an address that carries them, and so does one that is relative to it."""
    shield.results = [Redeemed.EXPIRED]
    await tab.go(site.replace("http://", "http://name:word@") + "/private")
    await tab.until("document.title === 'Behind GET'")
    assert shield.answered == [Redeemed.EXPIRED, Redeemed.ACCEPTED]


@pytest.mark.parametrize(
    ("attributes", "policy", "shown"),
    [
        ({}, b"", "Behind GET"),
        ({}, b"Cross-Origin-Embedder-Policy: require-corp\r\n", "Behind GET"),
        (
            {},
            b"Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; frame-src 'self'\r\n",
            "Behind",
        ),
        ({"sandbox": "allow-scripts allow-same-origin allow-forms"}, b"", "Behind GET"),
        ({"sandbox": "allow-scripts"}, b"", "a tab of its own"),
    ],
    ids=["plain", "COEP", "CSP", "sandbox with all", "sandbox with scripts"],
)
async def test_the_page_works_in_a_frame_of_the_site(
    browser: Any,
    tab: Any,
    serve: Any,
    shield: StandIn,
    page: Callable[..., bytes],
    attributes: dict[str, str],
    policy: bytes,
    shown: str,
) -> None:
    async def site(method: str, target: str, fields: dict[str, str], body: bytes) -> bytes:
        if target == "/outside":
            said: bytes = page("Outside")
            return said.replace(b"\r\n", b"\r\n" + policy, 1)
        answer: bytes = await shield(method, target, fields, body)
        ours = b"X-Robots-Tag" in answer or target.startswith(PREFIX)
        return answer if ours else answer.replace(b"\r\n", b"\r\n" + policy, 1)

    address = await serve(site)
    await tab.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
    await tab.go(f"{address}/outside")
    await tab.until("document.title === 'Outside'")
    await tab.call_with(
        attributes | {"src": "/inside"},
        """(attributes) => {
            const frame = document.createElement("iframe");
            for (const [name, value] of Object.entries(attributes)) frame.setAttribute(name, value);
            document.body.append(frame);
        }""",
    )
    await frame_says(browser, tab, shown)


async def frame_says(browser: Any, tab: Any, text: str) -> None:
    """Waits until the only frame of a tab's page shows a text. A sandbox may be a process of its own."""
    deadline = time.monotonic() + WAIT
    said = ""
    while time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        apart = [
            event["params"]["sessionId"]
            for event in browser.events
            if event["method"] == "Target.attachedToTarget" and event["params"]["targetInfo"]["type"] == "iframe"
        ]
        look = "frames[0].document.body.innerText" if not apart else "document.body.innerText"
        try:
            answer = await (
                browser.call("Runtime.evaluate", apart[-1], expression=look)
                if apart
                else tab.call("Runtime.evaluate", expression=look)
            )
        except RuntimeError:
            continue  # between two documents
        said = answer["result"].get("value", "")
        if text in said:
            return
    pytest.fail(f"the frame does not say {text!r} but {said!r}")
