"""The scenes stay within their bounds."""

from __future__ import annotations

import itertools

import pytest

from bench.common import guard
from bench.suites.attack_scenes import SCENES, SHARED_ADDRESS, Size, people, timeline
from shield.config.settings import Config

SIZE = Size(seconds=20.0, calm=10.0, users=20, rate=2000.0, window=2.0)


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
