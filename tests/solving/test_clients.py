"""The transports for httpx and the middleware for aiohttp, against a site that does as it is told."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from typing import Any

import httpx
import pytest
from aiohttp import FormData, web

from shield.solving import conversation, search
from shield.solving.challenge import (
    Budget,
    NotReplayableError,
    NotUnderstoodError,
    SolvingError,
    TooExpensiveError,
    TurnedDownError,
)
from shield.solving.passes import Pass, Passes
from tests.solving.conftest import AGENT, PROBLEMS, ByAiohttp, ByAsyncHttpx, ByHttpx, Make, Serve, Site


async def test_a_challenged_request_gets_through_and_the_next_one_at_once(make: Make, site: Site) -> None:
    client = make()
    assert await client.ask("POST", f"{site.url}/data?x=1", b"body") == (200, b"in")
    assert await client.ask("GET", f"{site.url}/more") == (200, b"in")
    assert site.asked == [
        ("POST", "/data?x=1", "", b"body"),
        ("POST", "/data?x=1", "P1", b"body"),
        ("GET", "/more", "P1", b""),
    ]
    ((fields, said),) = site.answered
    assert fields["User-Agent"] == AGENT, "the answer comes from the same program"
    assert "Accept-Language" not in fields
    assert "Shield-Pass" not in fields
    assert said.keys() == {"token", "nonces"}


async def test_a_site_that_asks_for_nothing_is_left_alone(make: Make, site: Site) -> None:
    site.refusals = [(503, {"title": "down"}, {"Retry-After": "1"}), (404, {}, {}), (429, {"type": "about:blank"}, {})]
    client = make()
    assert await client.ask("GET", site.url) == (503, b'{"title": "down"}')
    assert await client.ask("GET", site.url) == (404, b"{}")
    assert await client.ask("GET", site.url) == (429, b'{"type": "about:blank"}')
    assert len(site.asked) == 3


async def test_many_at_once_buy_one_pass(make: Make, site: Site) -> None:
    client = make()
    found = await asyncio.gather(*(client.ask("GET", f"{site.url}/{number}") for number in range(8)))
    assert found == [(200, b"in")] * 8
    assert len(site.answered) == 1


async def test_a_pass_that_counts_no_more_is_replaced(make: Make, site: Site) -> None:
    client = make()
    await client.ask("GET", site.url)
    site.good.clear()
    assert await client.ask("GET", site.url) == (200, b"in")
    assert [shown for _, _, shown, _ in site.asked] == ["", "P1", "P1", "P2"]


async def test_a_pass_is_not_shown_after_its_life(make: Make, site: Site) -> None:
    now = [0.0]
    client = make(passes=Passes(lambda: now[0]))
    await client.ask("GET", site.url)
    now[0] = 3601.0
    await client.ask("GET", site.url)
    assert [shown for _, _, shown, _ in site.asked] == ["", "P1", "", "P2"]


async def test_who_is_challenged_with_a_new_pass_stops(make: Make, site: Site) -> None:
    """The site takes the answer, and challenges again: that reply is the caller's."""

    class Nothing(set[str]):
        def add(self, _: str) -> None:
            pass

    site.good = Nothing()
    status, body = await make().ask("GET", site.url)
    assert status == 503
    assert b"challenge" in body
    assert len(site.answered) == 1


async def test_an_answer_that_came_too_late_is_followed_by_one_more(make: Make, site: Site) -> None:
    site.answers = [(400, {"reason": "expired"}, {})]
    assert await make().ask("GET", site.url) == (200, b"in")
    assert [said["token"] for _, said in site.answered] == ["T1", "T2"]


async def test_and_not_by_a_third(make: Make, site: Site) -> None:
    site.answers = [(400, {"reason": "spent"}, {})] * 5
    status, _ = await make().ask("GET", site.url)
    assert status == 503
    assert len(site.answered) == 2


async def test_the_waiting_room_is_waited_in(make: Make, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "LEAST_WAIT", 0.0)
    site.answers = [
        (202, {"ticket": "AXc", "wait": 20}, {"Retry-After": "0"}),
        (503, {"reason": "busy"}, {"Retry-After": "0"}),
        (429, {"reason": "client_rate"}, {"Retry-After": "0"}),
    ]
    assert await make().ask("GET", site.url) == (200, b"in")
    assert [said.get("ticket") for _, said in site.answered] == [None, "AXc", "AXc", "AXc"]


async def test_waiting_ends_with_the_budget(make: Make, site: Site) -> None:
    site.answers = [(202, {"ticket": "AXc", "wait": 20}, {"Retry-After": "20"})]
    with pytest.raises(TooExpensiveError, match=r"asks to wait 20 s, and 5 s of budget left"):
        await make(budget=Budget(wait=5)).ask("GET", site.url)


@pytest.mark.parametrize("kind", ["limit", "shed"])
async def test_a_refusal_is_waited_out_once(make: Make, site: Site, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "LEAST_WAIT", 0.0)
    client = make()
    await client.ask("GET", site.url)
    refusal = (429 if kind == "limit" else 503, {"type": f"{PROBLEMS}{kind}"}, {"Retry-After": "0"})
    site.refusals = [refusal]
    assert await client.ask("PUT", site.url, b"x") == (200, b"in")
    site.refusals = [refusal, refusal]
    assert (await client.ask("GET", site.url))[0] == refusal[0]
    assert site.refusals == []


async def test_a_refusal_that_lasts_longer_than_the_budget_is_the_callers(make: Make, site: Site) -> None:
    site.refusals = [(429, {"type": f"{PROBLEMS}limit"}, {"Retry-After": "61"})]
    assert (await make().ask("GET", site.url))[0] == 429
    assert len(site.asked) == 1


async def test_a_challenge_above_the_budget_is_refused_before_work(make: Make, site: Site) -> None:
    site.bits = 40
    with pytest.raises(TooExpensiveError, match=r"2\^40\.0 hashes, and the budget is 2\^30"):
        await make(budget=Budget(bits=30)).ask("GET", site.url)
    assert site.answered == []


async def test_an_answer_that_is_turned_down_is_told_with_its_reason(make: Make, site: Site) -> None:
    site.answers = [(400, {"reason": "wrong"}, {})]
    with pytest.raises(TurnedDownError, match="wrong"):
        await make().ask("GET", site.url)
    site.answers = [(502, {}, {})]
    with pytest.raises(TurnedDownError, match="status 502"):
        await make().ask("GET", site.url)


async def test_an_answer_without_a_pass_is_an_error(make: Make, site: Site) -> None:
    site.answers = [(200, {"pass": "a\r\nb"}, {})]
    with pytest.raises(NotUnderstoodError, match="no pass"):
        await make().ask("GET", site.url)


@pytest.mark.parametrize(
    "changed", [{"algorithm": "scrypt"}, {"answer_to": "http://127.0.0.2/answer"}, {"target": "0" * 16}]
)
async def test_a_challenge_that_cannot_be_is_an_error(make: Make, site: Site, changed: dict[str, Any]) -> None:
    site.challenge = changed
    with pytest.raises(NotUnderstoodError):
        await make().ask("GET", site.url)
    assert site.answered == []


async def test_a_body_that_is_gone_is_told_and_the_pass_is_kept(make: Make, site: Site) -> None:
    client = make()
    with pytest.raises(NotReplayableError, match="send it again"):
        await client.ask("POST", site.url, b"once", stream=True)
    assert await client.ask("POST", site.url, b"once", stream=True) == (200, b"in")
    assert len(site.answered) == 1


async def test_what_the_caller_sets_is_the_callers(site: Site) -> None:
    """A pass of the caller's own is not replaced by one of ours; another program's is not either."""
    client = ByAsyncHttpx(passes=Passes())
    client.passes.keep(site.url, Pass("ours", "Shield-Pass", "", 60.0))
    site.good.add("theirs")
    response = await client.client.get(site.url, headers={"Shield-Pass": "theirs"})
    assert response.status_code == 200
    assert site.asked[0][2] == "theirs"
    await client.close()


async def test_files_and_forms_are_sent_again(site: Site) -> None:
    by_httpx, by_aiohttp = ByAsyncHttpx(), ByAiohttp()
    assert (await by_httpx.client.post(site.url, files={"a": ("a", b"file")})).status_code == 200
    site.good.clear()
    form = FormData()
    form.add_field("a", b"file", filename="a")
    async with by_aiohttp.session.post(site.url, data=form) as response:
        assert response.status == 200
    bodies = [body for *_, body in site.asked]
    assert bodies[0] == bodies[1]
    assert bodies[2] == bodies[3]
    assert all(b"file" in body for body in bodies)
    await by_httpx.close()
    await by_aiohttp.close()


async def test_passes_are_shared_between_clients_that_share_them(site: Site) -> None:
    passes = Passes()
    first, second = ByAsyncHttpx(passes=passes), ByAiohttp(passes=passes)
    await first.ask("GET", site.url)
    assert await second.ask("GET", site.url) == (200, b"in")
    assert len(site.answered) == 1
    await first.close()
    await second.close()


@pytest.mark.parametrize("kind", [ByAsyncHttpx, ByAiohttp])
async def test_the_loop_turns_while_it_is_searched_and_a_cancelled_search_ends(
    kind: type[ByAsyncHttpx | ByAiohttp], site: Site
) -> None:
    site.bits, begun, turns = 45, threading.Event(), 0
    client = kind(budget=Budget(seconds=1e9), progress=lambda _: begun.set())
    asking = asyncio.create_task(client.ask("GET", site.url))
    while not begun.is_set():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 5
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    end = time.monotonic() + 10
    while any(thread.name.startswith(("AnyIO", "asyncio_")) and busy(thread) for thread in threading.enumerate()):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    await client.close()


def busy(thread: threading.Thread) -> bool:
    import sys

    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_filename == search.__file__:
            return True
        frame = frame.f_back
    return False


async def test_a_redirect_to_another_origin_does_not_carry_the_pass(make: Make, site: Site, serve: Serve) -> None:
    seen: list[str | None] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Shield-Pass"))
        return web.Response(text="elsewhere")

    other = await serve(elsewhere)
    client = make()
    await client.ask("GET", site.url)
    site.refusals = [(302, {}, {"Location": other})]
    assert await client.ask("GET", site.url) == (200, b"elsewhere")
    assert site.asked[-1][2] == "P1"
    assert seen == [None]


async def test_a_file_that_cannot_be_read_again_is_not_sent_half(site: Site) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

    client = ByHttpx()
    with pytest.raises((NotReplayableError, httpx.HTTPError)):
        await asyncio.to_thread(client.client.post, site.url, files={"a": Pipe(b"file")})
    assert [body for *_, body in site.asked if b"filename" in body and b"file\r\n" not in body] == []
    await client.close()


def test_all_errors_are_of_one_kind() -> None:
    assert {TooExpensiveError, NotUnderstoodError, NotReplayableError, TurnedDownError} <= set(
        SolvingError.__subclasses__()
    )
