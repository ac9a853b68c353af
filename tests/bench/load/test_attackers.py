"""Attackers keep to their plan, their range and their bounds."""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from dataclasses import replace
from typing import Any

import pytest

from bench.common import guard
from bench.load import attackers, drips
from bench.load.attackers import Attacker, Flood, Wave, address
from bench.origins import capacity_origin
from tests.bench.serving import capacity


class TestAttackers:
    def test_they_are_many_and_in_their_own_range(self) -> None:
        many = [address(number) for number in range(0, attackers.MOST_ATTACKERS, 7)]
        assert len(set(many)) == len(many)
        assert {capacity_origin.class_of(guard.loopback(host)) for host in many} == {"attacker"}
        assert len({address(number).rpartition(".")[0] for number in range(500)}) == 125

    @pytest.mark.parametrize(
        "change",
        [
            {"rate": 1e6},
            {"seconds": 86_400.0},
            {"attackers": 200_000},
            {"connections": 100_000},
            {"first": 100_000},
            {"cookie": 20_000},
            {"pace": 1e6},
            {"opens": 1e6},
            {"kind": "other"},
        ],
    )
    def test_a_wave_is_bounded(self, change: dict[str, Any]) -> None:
        wave = Wave("get", 0.0, 1.0, 1)
        assert wave.checked() is wave
        with pytest.raises(argparse.ArgumentTypeError):
            replace(wave, **change).checked()

    async def test_the_flood_is_an_open_loop_of_the_given_rate(self) -> None:
        async with capacity() as (site, service):
            flood = Flood(site, Wave("get", time.monotonic(), 0.25, 20, rate=400), most_open=100, seed=1)
            result = await flood.run()
        # Up to a last batch that was still on its way when the time was up.
        assert 60 <= result["meant"] <= 101
        answered = sum(result["statuses"].values())
        assert answered <= service.arrived["attacker"] <= result["sent"]  # the rest was cut off unread at the end
        assert result["sent"] == sum(result["statuses"].values()) + result["unanswered_at_the_end"]
        assert flood.open == 0

    @pytest.mark.parametrize("turns", range(8))
    async def test_a_flood_leaves_no_connection_behind_that_was_being_made(self, turns: int) -> None:
        """On a busy machine half of them were still on their way when it ended, and stayed open."""
        async with capacity() as (site, _):
            flood = Flood(site, Wave("get", 0.0, 1.0, 20), most_open=10, seed=1)
            for number in range(10):
                flood.fire(flood.attacker(number))
            for _ in range(turns):
                await asyncio.sleep(0)
            await flood.end()
        assert flood.open == 0

    async def test_a_flood_without_descriptors_holds_back_and_says_so(self) -> None:
        async with capacity() as (site, _):
            flood = Flood(site, Wave("get", time.monotonic(), 0.05, 1, rate=1000), most_open=1, seed=1)
            result = await flood.run()
        assert result["held_back"] > 0

    def test_answers_are_broken_forged_or_to_the_challenge_that_came(self) -> None:
        flood = Flood(guard.Target("127.0.0.1", 1), Wave("answers", 0.0, 1.0, 1), most_open=1, seed=1)
        attacker = Attacker("127.16.0.1", flood.site, 0)
        shot = attackers.Shot(flood, attacker)
        seen: set[bytes] = set()
        for _ in range(100):
            shot.on_body(b'{"challenge": {"token": "real-1_", "k": 16}}')
            request = flood.shape(attacker, keep=True)
            head, body = request.split(b"\r\n\r\n")
            assert head.startswith(b"POST /.well-known/shield/answer HTTP/1.1\r\n")
            assert re.search(rb"Content-Length: (\d+)", head)[1] == b"%d" % len(body)  # type: ignore[index]
            seen.add(body[:19])
        assert {b"{", b'{"token":"real-1_",'} < seen
        assert len(seen) > 10
        attacker.token = b""
        assert any(flood.shape(attacker, keep=True).startswith(b"GET ") for _ in range(50))

    async def test_a_cookie_has_as_many_parts_as_the_wave_says(self) -> None:
        wave = Wave("get", time.monotonic(), 0.1, 3, rate=100, cookie=15_000)
        async with capacity() as (site, service):
            flood = Flood(site, wave, most_open=10, seed=1)
            result = await flood.run()
        request = flood.attacker(0).request(keep=True)
        (cookie,) = re.findall(rb"Cookie: (.*)\r\n", request)
        assert cookie.split(b";") == [b"a"] * 15_000
        assert len(request) < 32_768
        assert 1 <= service.arrived["attacker"] <= result["sent"] <= 11

    def test_what_is_broken_comes_from_a_program_each(self) -> None:
        flood = Flood(guard.Target("127.0.0.1", 1), Wave("broken", 0.0, 1.0, 1), most_open=1, seed=1)
        sent = {flood.shape(flood.attacker(0), keep=False) for _ in range(9)}
        assert len(sent) == 9
        assert all(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" in each for each in sent)

    def test_a_wave_may_come_from_the_addresses_of_others(self) -> None:
        assert Wave("pictures", 0.0, 1.0, 2, addresses=["127.2.0.1", "127.3.0.1"]).hosts() == ["127.2.0.1", "127.3.0.1"]
        with pytest.raises(argparse.ArgumentTypeError):
            Wave("pictures", 0.0, 1.0, 1, addresses=["10.0.0.1"]).hosts()

    @pytest.mark.parametrize("kind", [kind for kind in attackers.KINDS if kind not in {"get", "answers", "broken"}])
    async def test_each_kind_is_played(self, kind: str) -> None:
        wave = Wave(kind, time.monotonic(), 0.1, 2, rate=160.0, connections=3, pace=600.0)
        async with capacity() as (site, _):
            (result,) = await attackers.run(site, [wave], connections=10)
        assert result["sent"] >= 1
        assert result["first_byte"] is not None

    async def test_slow_connections_hold_what_they_got(self) -> None:
        async with capacity() as (site, service):
            drip = drips.Drip(site, ["127.16.0.1", "127.16.0.2"], 6)
            task = asyncio.create_task(drip.run(time.monotonic(), 60.0))
            while service.taken < 4 or service.busy or service.served < 2:  # two bodies and two readers
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert drip.counts["sent"] == 6
        assert drip.first_byte is not None
