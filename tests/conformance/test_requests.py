"""Raw requests, whole and byte by byte: the client's answers, what the origin saw, and what the next client gets."""

from __future__ import annotations

import asyncio
import sys

import h11
import pytest

from tests.conformance.cases import CASES, Case
from tests.harness import Client, Closed, Origin, Response, Shield, get, reply, shielded, soon

REFUSALS = (400, 413, 414, 431)


def test_the_parsers_are_as_strict_as_in_production() -> None:
    """aiohttp's parser changes its strictness with -X dev, so nothing here would mean anything."""
    assert not sys.flags.dev_mode
    from aiohttp.http import HttpRequestParser

    assert HttpRequestParser.__module__ == "aiohttp._http_parser", "the C extension"


def test_each_case_is_there_once() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 400
    assert len({case.data for case in CASES}) == len(CASES)


async def _feed(client: Client, data: bytes, whole: bool) -> None:
    """Byte by byte, if not whole; of what is long, so that something is without end, thousands."""
    if whole:
        await client.feed(data)
    elif len(data) < 4000:
        await client.send_slowly(data)
    else:
        for at in range(0, len(data), 1000):
            await client.feed(data[at : at + 1000])
            await asyncio.sleep(0)


async def _answers(client: Client, count: int) -> list[Response]:
    return [await client.response() for _ in range(count)]


def _complete_and_last(refusal: Response) -> None:
    """An answer of our own has a length, no cookie, and says that it is the last."""
    assert refusal.get("Connection") == "close"
    assert int(refusal.get("Content-Length") or "") == len(refusal.body)
    assert refusal.get("Set-Cookie") is None


def _one_reading(raw: bytes, targets: tuple[str, ...]) -> None:
    """A second judge: h11 reads the same requests out of the same bytes."""
    seen = []
    while raw:
        server = h11.Connection(h11.SERVER)
        server.receive_data(raw)
        while not isinstance(event := server.next_event(), h11.EndOfMessage):
            assert not isinstance(event, type(h11.NEED_DATA)), raw
            if isinstance(event, h11.Request):
                seen.append(event.target.decode())
        raw = server.trailing_data[0]
    assert tuple(seen) == targets


async def check(case: Case, shield: Shield, origin: Origin, whole: bool) -> None:
    """Run one case, with a victim's connection warmed up before, and asked again after."""
    async with await shield.client() as victim, await shield.client() as client:
        assert (await victim.ask(get("/before"))).body == b"GET /before"
        feeding = asyncio.create_task(_feed(client, case.data, whole))
        answers = await _answers(client, len(case.answers))
        assert [answer.status for answer in answers] == list(case.answers)
        if case.answers[-1] in REFUSALS:
            _complete_and_last(answers[-1])
        await feeding
        if case.stays:
            assert (await client.ask(get("/still"))).body == b"GET /still"
        else:
            assert await client.gone()
        assert (await victim.ask(get("/after"))).body == b"GET /after"
    expected = ("/before", *case.origin, *(("/still",) if case.stays else ()), "/after")
    assert tuple(r.target for r in origin.requests) == expected
    if case.body is not None:
        assert origin.requests[1].body == case.body
    assert not origin.mistakes
    for link in origin.links:
        if link.raw:
            _one_reading(bytes(link.raw), tuple(r.target for r in origin.requests if r.raw_head in link.raw))
    if case.upstream_stays:
        assert len(origin.links) == 1
    else:
        await soon(origin.links[0].lost.is_set)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "bytes"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_request(case: Case, whole: bool) -> None:
    async with shielded() as (shield, origin):
        await check(case, shield, origin, whole)


async def test_a_head_cut_anywhere_is_never_served() -> None:
    data = get("/1", "X: y", "Content-Length: 0")
    async with shielded() as (shield, origin):
        for cut in range(1, len(data)):
            async with await shield.client() as client:
                await client.send(data[:cut])
                client.half_close()
                assert b"200" not in await client.rest()
        assert not origin.requests


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89])
async def test_pipelines_may_be_cut_anywhere(cut: int) -> None:
    data = b"".join(
        case.data
        for case in CASES
        if case.stays and case.upstream_stays and "CONNECT" not in case.name and len(case.data) < 500
    )
    targets = [t for case in CASES if case.stays and case.upstream_stays and len(case.data) < 500 for t in case.origin]
    async with shielded() as (shield, origin), await shield.client() as client:

        async def feed() -> None:
            for at in range(0, len(data), cut):
                await client.send(data[at : at + cut])
                await asyncio.sleep(0)

        feeding = asyncio.create_task(feed())
        assert [answer.status for answer in await _answers(client, len(targets))] == [200] * len(targets)
        await feeding
        assert [r.target for r in origin.requests] == targets


async def test_the_origin_is_told_to_close_after_a_doubtful_request() -> None:
    """An origin that ignores a GET's body would read it as the next request, on a connection that others use."""
    async with shielded() as (shield, origin), await shield.client() as client:
        await client.ask(get("/1", "Content-Length: 3") + b"abc")
        assert origin.requests[0].get("Connection") == "close"


async def test_an_answer_to_one_client_cannot_be_had_by_another() -> None:
    """Two clients in turn over one upstream connection, the first of them hostile in every way we know."""
    async with shielded({"/secret": reply(b"secret", "Set-Cookie: session=1")}) as (shield, _):
        for case in CASES:
            async with await shield.client() as victim, await shield.client() as attacker:
                sending = asyncio.create_task(_feed(attacker, case.data, whole=True))
                assert (await victim.ask(get("/secret"))).body == b"secret"
                seen = b""
                try:
                    for _ in case.answers:
                        seen += repr(await attacker.response()).encode()
                except (Closed, ConnectionResetError):
                    pytest.fail(case.id)
                await sending
                assert b"session" not in seen
                assert (await victim.ask(get("/own"))).body == b"GET /own"
