"""A banned address is refused without its heads being read, unless they may show a pass."""

from __future__ import annotations

from typing import Any

import pytest

from shield.client.shut_out import ShutOut
from shield.http.forwarded import Forwarding
from shield.http.head_reader import HeadReader
from shield.http.plain_head import PlainHeads
from shield.model import Reason, Verdict
from tests.harness import get, post, shielded, soon

OUT = Verdict(Reason.ADDRESS_BANNED, 60)
CLOSE = "Connection: close"
FULL = get("/", *[f"X-{n}: {'a;' * 150}" for n in range(90)])
"""A head that is dear to read."""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the readers of heads were given."""
    seen: list[bytes] = []
    for reader in (HeadReader, PlainHeads):
        inner = reader.read

        def noted(self: Any, data: bytes, *rest: Any, inner: Any = inner) -> Any:
            seen.append(data)
            return inner(self, data, *rest)

        monkeypatch.setattr(reader, "read", noted)
    return seen


@pytest.mark.parametrize("head", [get("/"), get("/", CLOSE), FULL, FULL[:-2] + b"Bad Line\r\n\r\n"])
async def test_a_banned_address_gets_its_answer_without_being_read(read: list[bytes], head: bytes) -> None:
    async with shielded() as (shield, origin):
        shield.engine.shut = OUT
        async with await shield.client() as client:
            await client.send(head)
            answer = await client.response()
            assert (answer.status, answer.get("Connection")) == (403, "close")
            assert await client.gone()
        assert not read
        assert not shield.engine.decided
        assert not shield.engine.identified
        assert not origin.requests
        assert shield.engine.unread == 1
        assert shield.metrics.verdicts["ban"]["address_banned"] == 1
        assert shield.metrics.own_responses[4] == 1
        assert shield.metrics.connections_total == 1
        assert shield.metrics.bytes_in == len(head)
        assert shield.log.refusals == [("address_banned", 403, "")]


async def test_a_head_that_comes_in_pieces_is_searched_when_it_is_whole(read: list[bytes]) -> None:
    async with shielded() as (shield, origin):
        shield.engine.shut = OUT
        async with await shield.client() as client:
            for at in range(0, 4000, 400):
                await client.send(FULL[at : at + 400])
            await client.send(FULL[4000:])
            assert (await client.response()).status == 403
            assert await client.gone()
        async with await shield.client() as client:
            await client.send(get("/", "Cookie: shield_pass=good")[:60])
            await client.send(get("/", "Cookie: shield_pass=good")[60:])
            assert (await client.response()).status == 200
        assert len(origin.requests) == 1
    assert FULL not in read


@pytest.mark.parametrize(
    "field",
    [
        "Cookie: a=b; shield_pass=good",
        "Cookie: " + "a=b; " * 2000 + "shield_pass=good",
        "Cookie: __Host-shield_pass=good",
        "Shield-Pass: good",
        "shield-pass: good",
        "SHIELD-PASS: good",
        "Cookie: " + "s" * 28_990 + "shield_pass=good",
    ],
)
async def test_what_may_show_a_pass_is_read_wherever_it_stands(field: str) -> None:
    async with shielded() as (shield, origin):
        shield.engine.shut = OUT
        async with await shield.client() as client:
            for _ in range(2):
                assert (await client.ask(get("/", field))).status == 200
        assert len(origin.requests) == 2
        assert shield.engine.unread == 0


def test_the_name_of_an_api_keys_header_has_the_head_read() -> None:
    for headers, spared in ((["Shield-Pass"], False), (["Shield-Pass", "X-Api-Key"], True)):
        nothing: Any = None
        shut_out = ShutOut(nothing, lambda _: False, "shield_pass", headers, 100, nothing, nothing, nothing, nothing)
        assert shut_out.may_be_spared(get("/", "x-api-key: k")) is spared


async def test_an_upload_of_a_banned_address_sees_its_answer(read: list[bytes]) -> None:
    async with shielded() as (shield, origin):
        shield.engine.shut = OUT
        async with await shield.client() as client:
            await client.send(post("/", b"x" * 100_000))
            assert (await client.response()).status == 403
        assert not read
        assert not origin.requests


async def test_an_answer_to_head_has_no_body_and_a_browser_gets_a_page() -> None:
    async with shielded() as (shield, _):
        shield.engine.shut = OUT
        async with await shield.client() as client:
            await client.send(get("/", method="HEAD"))
            raw = await client.rest()
        assert raw.startswith(b"HTTP/1.1 403")
        assert raw.endswith(b"\r\n\r\n")
        async with await shield.client() as client:
            answer = await client.ask(get("/", "Accept: text/html"))
        assert (answer.get("Content-Type") or "").startswith("text/html")
        (_, _, unnamed), (_, _, request_id) = shield.log.refusals
        assert not unnamed
        assert request_id
        assert f"request: <code>{request_id}</code>".encode() in answer.body


async def test_a_connection_that_was_there_before_the_ban_is_read_no_more_after_it(read: list[bytes]) -> None:
    async with shielded() as (shield, _):
        async with await shield.client() as client:
            assert (await client.ask(get("/1"))).status == 200
            shield.engine.shut = OUT
            shield.engine.verdicts = {"/2": OUT}
            assert (await client.ask(get("/2"))).status == 403
            del read[:]
            assert (await client.ask(get("/3", "X: y"))).status == 403
            assert await client.gone()
        assert not read


async def test_a_ban_that_has_ended_meanwhile_refuses_nothing() -> None:
    async with shielded() as (shield, _):
        shield.engine.shut = OUT
        async with await shield.client() as client:
            await client.send(get("/")[:20])
            await soon(lambda: shield.accepted)
            shield.engine.shut = None
            await client.send(get("/")[20:])
            assert (await client.response()).status == 200


async def test_a_trusted_proxy_is_always_read() -> None:
    async with shielded(forwarding=Forwarding(("127.0.0.1",), "x-forwarded-for")) as (shield, _):
        shield.engine.shut = OUT
        async with await shield.client() as client:
            assert (await client.ask(get("/", "X-Forwarded-For: 192.0.2.1"))).status == 200


@pytest.mark.parametrize(
    "field", ["X-Note: shield_pass=good", "Cookie: " + "a;" * 15_000, "Connection: Shield-Pass", "X: y\n" * 200]
)
def test_what_shows_no_pass_is_not_read(field: str) -> None:
    nothing: Any = None
    headers = ["Shield-Pass"]
    shut_out = ShutOut(nothing, lambda _: False, "shield_pass", headers, 100, nothing, nothing, nothing, nothing)
    assert not shut_out.may_be_spared(get("/", field))
