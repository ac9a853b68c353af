"""Raw responses, whole and byte by byte: what the client gets, and what the next client gets."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.responses import CASES, CUT, Case
from tests.harness import Closed, Link, Received, get, reply, shielded, soon


def test_each_case_is_there_once() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 150
    assert len({(case.data, case.method, case.version, case.ends) for case in CASES}) == len(CASES)


def _pieces(data: bytes, whole: bool) -> list[bytes]:
    """Bytes; of what is long, so that something is without end, thousands."""
    size = len(data) if whole else 1 if len(data) < 4000 else 1000
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytes"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_response(case: Case, whole: bool) -> None:
    sent = asyncio.Event()

    async def handle(link: Link, request: Received) -> None:
        if request.target != "/case":
            await link.send(reply(request.target.encode()))
            return
        for piece in _pieces(case.data, whole):
            if link.writer.is_closing():  # it has heard enough
                break
            await link.send(piece)
            await asyncio.sleep(0)
        if case.ends:
            link.close()
        sent.set()

    async with shielded(None, handle) as (shield, origin):
        async with await shield.client() as victim, await shield.client() as client:
            assert (await victim.ask(get("/before"))).body == b"/before"
            await client.send(get("/case", method=case.method, version=case.version))
            if case.status == CUT:
                with pytest.raises((Closed, ConnectionResetError)):
                    await client.response(case.method)
            else:
                response = await client.response(case.method)
                assert response.status == case.status
                assert (response.body == case.body) or case.status == 502
                for name in ("X-Evil", "Set-Cookie", "Transfer_Encoding", "Content--Length"):
                    assert response.all(name) == []
            await asyncio.wait_for(sent.wait(), 5)
            if not case.reused:
                await soon(origin.links[0].lost.is_set, "the doubtful connection ends")
            after = await victim.ask(get("/after"))
            assert (after.status, after.body, after.all("X-Evil")) == (200, b"/after", [])
            if case.status != CUT and case.client_stays:
                assert (await client.ask(get("/still"))).body == b"/still"
                assert not client.buffer
            assert not victim.buffer
        expected = ["/before", "/case", "/after", *(["/still"] if case.status != CUT and case.client_stays else [])]
        assert [r.target for r in origin.requests] == expected, "nothing is asked twice"
        assert len(origin.links) == (1 if case.reused else 2)


@pytest.mark.parametrize("at", ["between", "at once"])
async def test_what_comes_while_a_connection_lies_idle_reaches_nobody(at: str) -> None:
    """Response queue poisoning (PortSwigger 2021): a second answer waits for whoever is next."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: 1\r\n\r\nevil"

    async def handle(link: Link, request: Received) -> None:
        await link.send(
            reply(request.target.encode()) + (evil if request.target == "/case" and at == "at once" else b"")
        )
        if request.target == "/case" and at == "between":
            await soon(lambda: len(link.origin.requests) == 1)
            await link.send(evil)

    async with shielded(None, handle) as (shield, origin), await shield.client() as client:
        assert (await client.ask(get("/case"))).body == b"/case"
        await soon(origin.links[0].lost.is_set)
        async with await shield.client() as victim:
            after = await victim.ask(get("/after"))
            assert (after.body, after.all("X-Evil"), len(origin.links)) == (b"/after", [], 2)
