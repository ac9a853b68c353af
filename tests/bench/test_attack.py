"""The attack suite: its origin, its users and attackers do what they say, and Shield is held to what is wanted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import itertools
import math
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.common import guard
from bench.load import attackers, drips, users
from bench.load.attackers import Attacker, Flood, Wave, address
from bench.origins import capacity_origin, small_origin
from bench.plots import attack_tables
from bench.suites import attack
from bench.suites.attack_scenes import SCENES, SHARED_ADDRESS, Size, people, timeline
from shield.config.settings import Config

SIZE = Size(seconds=20.0, calm=10.0, users=20, rate=2000.0, window=2.0)


class Clock:
    """call_later in simulated time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> None:
        heapq.heappush(self.due, (self.now + seconds, len(self.due) + id(arguments), callback, arguments))

    def run(self, until: float) -> None:
        while self.due and self.due[0][0] <= until:
            self.now, _, callback, arguments = heapq.heappop(self.due)
            callback(*arguments)
        self.now = until


class FakeExchange:
    def __init__(self, source: str, complete: bool = True, written: bool = True) -> None:
        self.source = source
        self.complete = complete
        self.written = written
        self.has_thread = False
        self.answered = 0

    def sender(self) -> str:
        return capacity_origin.class_of(self.source)

    def weight(self) -> float:
        return 1.0

    def answer(self) -> bool:
        self.answered += 1
        return self.written


class TestCapacityOrigin:
    def rate(self, concurrency: int) -> float:
        """Served per second when so many requests are always there."""
        clock = Clock()
        service = capacity_origin.Service(4, 0.020, 64, 0.02, clock.later)

        class Again(FakeExchange):
            def answer(self) -> bool:
                clock.later(0.0, service.arrive, self)
                return True

        for _ in range(concurrency):
            service.arrive(Again("127.2.0.1"))  # type: ignore[arg-type]
        clock.run(20.0)
        assert service.most_taken == min(concurrency, 64)
        return service.served / 20.0

    def test_it_serves_200_a_second_at_its_best_and_less_beyond(self) -> None:
        assert self.rate(1) == pytest.approx(50, rel=0.05)
        assert self.rate(4) == pytest.approx(200, rel=0.05)
        assert self.rate(20) == pytest.approx(200 / 1.32, rel=0.05)
        assert self.rate(64) == pytest.approx(200 / 2.2, rel=0.05)
        assert self.rate(500) == pytest.approx(200 / 2.2, rel=0.05)

    def test_slow_bodies_and_slow_readers_hold_threads_and_do_no_work(self) -> None:
        clock = Clock()
        service = capacity_origin.Service(4, 0.020, 2, 0.02, clock.later)
        sender, reader, other = (FakeExchange("x", complete=False), FakeExchange("x", written=False), FakeExchange("x"))
        for exchange in (sender, reader, other):
            service.arrive(exchange)  # type: ignore[arg-type]
        clock.run(1.0)
        assert (service.taken, service.busy, len(service.backlog), other.answered) == (2, 0, 1, 0)
        service.release(reader)  # type: ignore[arg-type]
        clock.run(2.0)
        assert (service.taken, len(service.backlog), other.answered) == (1, 0, 1)
        service.work(sender)  # type: ignore[arg-type]
        clock.run(3.0)
        assert (service.taken, service.busy, sender.answered) == (0, 0, 1)

    def test_requests_are_counted_by_who_sent_them(self) -> None:
        service = capacity_origin.Service(4, 0.020, 64, 0.02, Clock().later)
        for source in ("127.16.0.1", "127.99.9.9", "127.2.0.1", "127.3.0.1", "127.0.0.1", "::1"):
            service.arrive(FakeExchange(source))  # type: ignore[arg-type]
        counters = service.counters()
        assert counters["arrived"] == {"attacker": 2, "user": 1, "newcomer": 1, "other": 2}
        assert sum(sum(counts.values()) for _, counts in counters["timeline"]) == 6

    def test_the_last_forwarded_address_counts_and_the_abuser_by_its_path(self) -> None:
        connection = capacity_origin.Connection(None)  # type: ignore[arg-type]
        connection.peer = "127.2.0.9"
        assert connection.exchange.source() == "127.2.0.9"
        connection.exchange.fields[b"x-forwarded-for"] = b"127.16.0.5, 127.2.0.1"
        assert connection.exchange.sender() == "user"
        connection.exchange.url = b"/abuse"
        assert connection.exchange.sender() == "attacker"


@contextlib.asynccontextmanager
async def listening(protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def capacity() -> AsyncIterator[tuple[guard.Target, capacity_origin.Service]]:
    later = asyncio.get_running_loop().call_later
    service = capacity_origin.Service(4, 0.001, 64, 0.02, later)
    async with listening(lambda: capacity_origin.Connection(service)) as port:
        yield guard.Target("127.0.0.1", port), service


class TestUsers:
    def test_users_share_networks_and_addresses_as_people_do(self) -> None:
        crowd = users.crowd(20)
        addresses = [address for address, _, _ in crowd]
        assert len(set(crowd)) == 20
        assert len(set(addresses)) == 18  # two pairs behind one address, with different programs
        networks = [address.rpartition(".")[0] for address in addresses]
        assert networks.count("127.2.0") == 10
        assert all(address.startswith("127.2.") for address in addresses)

    async def test_a_user_loads_pages_and_keeps_cookies(self) -> None:
        now = time.monotonic()
        person = users.Person("127.2.0.1", users.AGENTS[0], "en", [now, now + 0.05], parts=7)
        async with capacity() as (site, service):
            result = await users.run(site, [person])
        assert [row["good"] for row in result["samples"]] == [True] * 16
        assert service.arrived == {"user": 16}
        assert service.taken == 0
        assert result["cookies"] == [["session"]]
        assert all(0 < row["latency"] < 5 for row in result["samples"])
        assert attack.figures(result["samples"])["pages"] == 1.0

    async def test_a_refused_user_has_failed_and_a_challenge_is_seen(self) -> None:
        body = b'{"challenge":{"token":"x"}}'
        answer = small_origin.render(body, b"application/problem+json").replace(b"200 OK", b"503 No", 1)
        person = users.Person("127.2.0.1", users.AGENTS[0], "en", [time.monotonic()])
        async with listening(lambda: small_origin.Origin(answer)) as port:
            result = await users.run(guard.Target("127.0.0.1", port), [person])
        (row,) = result["samples"]  # without the page nobody asks for its parts
        assert (row["good"], row["status"], row["challenge"]) == (False, 503, True)


class TestAttackers:
    def test_they_are_many_and_in_their_own_range(self) -> None:
        many = [address(number) for number in range(0, attackers.MOST_ATTACKERS, 7)]
        assert len(set(many)) == len(many)
        assert {capacity_origin.class_of(guard.loopback(host)) for host in many} == {"attacker"}
        assert len({address(number).rpartition(".")[0] for number in range(500)}) == 125

    @pytest.mark.parametrize(
        "change",
        [{"rate": 1e6}, {"seconds": 86_400.0}, {"attackers": 200_000}, {"connections": 100_000}, {"first": 100_000}],
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


class TestScenes:
    @pytest.mark.parametrize("name", list(SCENES))
    def test_a_scene_stays_within_the_bounds_and_on_loopback(self, name: str) -> None:
        scene = SCENES[name]
        largest = Size(100.0, 300.0, 200, 3000.0, 60.0)
        for size in (SIZE, largest):
            times = timeline(scene, size, 1000.0)
            assert 1000.0 < times.visits + 2 <= times.calm < times.attack < times.end
            for wave in scene.waves(size):
                wave.checked()
                guard.loopback(wave.host(wave.attackers - 1))
                assert wave.starts + wave.seconds <= times.end - times.attack + 1e-9
            for person in people(scene, size, times):
                guard.loopback(person.address)
                assert all(times.visits <= click < times.end for click in person.clicks)

    def test_returning_users_come_in_windows_of_their_own_and_newcomers_with_the_attack(self) -> None:
        times = timeline(SCENES["overload"], SIZE, 0.0)
        for person in people(SCENES["overload"], SIZE, times):
            before = [click for click in person.clicks if click < times.calm]
            if person.group == "newcomer":
                assert min(person.clicks) >= times.attack
            else:
                assert len(before) == 3
                assert all(later - click > SIZE.window for click, later in itertools.pairwise(before))

    def test_those_behind_one_address_have_an_abuser_among_them(self) -> None:
        times = timeline(SCENES["shared"], SIZE, 0.0)
        crowd = [person for person in people(SCENES["shared"], SIZE, times) if person.group == "shared"]
        assert len(crowd) == 200
        assert {person.address for person in crowd} == {SHARED_ADDRESS}
        assert len({(person.agent, person.language) for person in crowd}) > Config().identity.clients_per_address
        assert SHARED_ADDRESS in {wave.address for wave in SCENES["shared"].waves(SIZE)}


class TestJudgement:
    def outcome(self, **changes: Any) -> dict[str, Any]:
        figures = {"success": 1.0, "p95": 0.1, "p50": 0.05, "pages": 1.0, "requests": 5}
        return {
            "title": "Shield",
            "says": "as shipped",
            "visits": figures,
            "calm": figures,
            "attack": figures,
            "later": figures,
            "recovery": {"seconds": 1.0, "later": 0.0},
            "challenges": 0,
            "groups": {},
            "cookies": 20,
            "calm_windows_above": 0.0,
            "attackers": {"statuses": {"503": 5}, "sent": 5, "first_byte": 0.0},
            "origin": {"during": {"user": 5}, "most_taken": 4},
            "cpu_seconds": 0.0,
        } | changes

    def test_shield_is_held_to_what_is_wanted(self) -> None:
        assert attack_tables.problems({"shield": self.outcome()}) == []
        assert attack_tables.problems({"nginx": self.outcome(challenges=5)}) == []
        for change in (
            {"attack": {"success": 0.98, "p95": 0.1}},
            {"attack": {"success": math.nan, "p95": 0.1}},
            {"attack": {"success": 1.0, "p95": 0.21}},
            {"recovery": {"seconds": None}},
            {"recovery": {"seconds": 5.5}},
            {"challenges": 1},
            {"visits": {"success": 0.99, "p95": 0.1}},
            {"groups": {"shared": {"attack": {"success": 0.94}}}},
        ):
            assert len(attack_tables.problems({"shield": self.outcome(**change)})) == 1, change

    @pytest.mark.parametrize(
        ("success", "p95", "is_better"),
        [
            (0.999, 0.05, True),  # as many, and faster
            (0.999, 0.09, False),
            (0.98, 0.05, False),
            (1.0, 0.05, True),
        ],
    )
    def test_a_peer_that_is_better_is_named(self, success: float, p95: float, is_better: bool) -> None:
        peer = self.outcome(title="peer", attack={"success": success, "p95": p95})
        found = attack_tables.problems({"shield": self.outcome(), "nginx": peer})
        assert found == (["peer is better"] if is_better else [])
        worse = self.outcome(attack={"success": 0.5, "p95": 10.0})
        assert attack_tables.better({"shield": worse, "nginx": peer}) == ["peer"]

    def test_the_tables_name_what_falls_short(self) -> None:
        groups = {"shared": {"people": 200, "attack": {"success": 0.5, "p95": 10.0}, "challenges": 1}}
        scene = {
            "title": "Something",
            "says": "it happens",
            "number": 13,
            "seconds": 20.0,
            "contenders": {"shield": self.outcome(groups=groups)},
            "problems": ["it did not work"],
        }
        results = {
            "machine": {"cpu": "A Processor", "cores": 4, "python": "3"},
            "cores": "nothing pinned",
            "origin": {"parallel": 4, "service": 0.02},
            "size": {"users": 20},
            "scenes": {"some": scene, "other": scene | {"contenders": {"direct": self.outcome(title="no proxy")}}},
            "missing": {},
        }
        text = re.sub(" +", " ", attack_tables.markdown(results))
        for part in (
            "serves 200/s (4 at a time, 20 ms each)",
            "| Something | 100.0 %, 100 ms | - |",
            "200 behind one address: success under attack",
            "**Not as wanted**: it did not work.",
            "Shield: as shipped. Attackers: 503: 5; sent: 5.",
        ):
            assert part in text

    def test_scenes_and_contenders_measured_one_by_one_make_one_table(self) -> None:
        def results(**scenes: dict[str, int]) -> dict[str, Any]:
            """Of each contender how many challenges its users saw."""
            same = {"origin": {}, "size": {"seconds": 9.0}, "patience": 10.0, "cores": "each its own"}
            found = {
                name: {
                    "title": name,
                    "waves": [],
                    "contenders": {peer: self.outcome(title=peer, challenges=seen) for peer, seen in seen_by.items()},
                }
                for name, seen_by in scenes.items()
            }
            return {**same, "scenes": found}

        before = results(shared={"shield": 3}, many={"nginx": 0, "shield": 2})
        both = attack.added(before, results(many={"shield": 0, "told": 0}, overload={"shield": 1}))
        assert {name: list(found["contenders"]) for name, found in both["scenes"].items()} == {
            "overload": ["shield"],
            "many": ["shield", "told", "nginx"],
            "shared": ["shield"],
        }
        says = "users with a history saw {} challenges"
        assert both["problems"] == [f"overload: {says.format(1)}", f"shared: {says.format(3)}"]
        with pytest.raises(ValueError, match="size is"):
            attack.added(results(many={}) | {"size": {"seconds": 5.0}}, results(many={}))

    def test_what_shield_is_told_does_not_count_against_it(self) -> None:
        told = self.outcome(title="Shield told", attack={"success": 1.0, "p95": 0.05})
        assert attack_tables.problems({"shield": self.outcome(), "told": told}) == []

    def test_waves_are_added_up(self) -> None:
        one = {"first_byte": 2.0, "statuses": {"200": 1}, "sent": 3}
        never = {"first_byte": None, "statuses": {}, "sent": 0}
        two = {"first_byte": 1.0, "statuses": {"200": 2, "503": 1}, "sent": 4, "cut": 1}
        assert attack.together([one, never, two]) == {
            "first_byte": 1.0, "statuses": {"200": 3, "503": 1}, "sent": 7, "cut": 1,
        }  # fmt: skip

    def test_an_attack_that_was_not_sent_in_full_is_none(self) -> None:
        waves = [{"rate": 100.0, "seconds": 10.0}, {"rate": 0.0, "seconds": 10.0}]
        assert attack.in_full(waves, {"sent": 900})
        assert attack.in_full(waves, {"sent": 100, "not_connected": 800})  # the proxy's doing
        assert not attack.in_full(waves, {"sent": 899, "held_back": 50})
        assert attack.in_full([{"rate": 0.0, "seconds": 10.0}], {"sent": 0})  # slow connections have no rate
