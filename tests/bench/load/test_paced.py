"""A download takes as long as its line needs, and is known to be whole or not."""

from __future__ import annotations

import time

import pytest

from bench.common import guard
from bench.load import users
from bench.load.paced import download
from bench.origins import small_origin
from tests.bench.serving import Answering, capacity, listening

ASK = b"GET /article HTTP/1.1\r\nHost: x\r\n\r\n"
SIZE = 136 * 1024


async def test_it_is_read_no_faster_than_the_line_is() -> None:
    async with capacity() as (site, _):
        began = time.monotonic()
        found = await download(site, "127.3.0.1", ASK, pace=2e6)
    assert (found.status, found.complete, found.length) == (200, True, SIZE)
    assert time.monotonic() - began >= (SIZE - 16_384) / 2e6


async def test_one_that_is_cut_is_not_complete() -> None:
    cut = small_origin.render(bytes(1000))[:-10]
    async with listening(lambda: Answering(cut)) as port:
        found = await download(guard.Target("127.0.0.1", port), "127.3.0.1", ASK, pace=1e6)
    assert (found.status, found.complete, found.length) == (200, False, 990)


async def test_what_is_no_http_is_an_error() -> None:
    async with listening(lambda: Answering(b"\x15\x03\x01")) as port:
        with pytest.raises(OSError, match="no HTTP"):
            await download(guard.Target("127.0.0.1", port), "127.3.0.1", ASK, pace=1e6)


async def test_a_newcomer_downloads_a_file_with_each_click() -> None:
    person = users.Person(
        "127.3.0.1", users.AGENTS[0], "en", [time.monotonic()], group="newcomer", file="/article", pace=2e6
    )
    async with capacity() as (site, service):
        (row,) = (await users.run(site, [person]))["samples"]
    assert (row["good"], row["status"], row["challenge"]) == (True, 200, False)
    assert row["latency"] >= 0.05
    assert service.arrived == {"newcomer": 1}
