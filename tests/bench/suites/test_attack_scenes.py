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

    @pytest.mark.parametrize("name", [name for name, scene in SCENES.items() if scene.cheap])
    def test_where_an_attack_is_cheap_people_do_in_calm_weather_what_they_do_under_attack(self, name: str) -> None:
        scene = SCENES[name]
        size = Size(seconds=16.0, calm=16.0, users=20, rate=2000.0, window=2.0)
        times = timeline(scene, size, 0.0)
        crowd = people(scene, size, times)
        for group in ("returning", "newcomer"):
            clicks = sorted(click for person in crowd if person.group == group for click in person.clicks)
            calm = [click - times.calm for click in clicks if times.calm <= click < times.attack]
            attack = [click - times.attack for click in clicks if click >= times.attack]
            assert len(calm) > 10
            assert attack == pytest.approx(calm)
        newcomers = [person for person in crowd if person.group == "newcomer"]
        assert len({person.address for person in newcomers}) == len(newcomers)
        assert all((min(person.clicks) >= times.attack) == (max(person.clicks) >= times.attack) for person in newcomers)
        assert {person.file for person in newcomers} == {scene.file}

    def test_an_attack_longer_than_the_calm_goes_round(self) -> None:
        scene = SCENES["uploads"]
        size = Size(seconds=30.0, calm=10.0, users=2, rate=0.0, window=2.0)
        times = timeline(scene, size, 0.0)
        first = people(scene, size, times)[0]
        calm = [click - times.calm for click in first.clicks if times.calm <= click < times.attack]
        attack = [click - times.attack for click in first.clicks if click >= times.attack]
        assert attack == pytest.approx([10.0 * number + click for number in range(3) for click in calm])

    def test_pictures_are_looked_at_from_the_addresses_of_honest_people(self) -> None:
        scene = SCENES["wrong-protocol"]
        times = timeline(scene, SIZE, 0.0)
        (wave,) = scene.waves(SIZE)
        assert set(wave.hosts()) == {
            person.address for person in people(scene, SIZE, times) if max(person.clicks) >= times.attack
        }

    def test_an_address_is_banned_before_it_sends_its_cookies(self) -> None:
        plain, broken, banned = SCENES["cookies"].waves(SIZE)
        assert broken.hosts() == banned.hosts()
        assert broken.starts + broken.seconds <= banned.starts
        assert not set(plain.hosts()) & set(banned.hosts())
        assert plain.cookie == banned.cookie == 15_000

    def test_those_behind_one_address_have_an_abuser_among_them(self) -> None:
        times = timeline(SCENES["shared"], SIZE, 0.0)
        crowd = [person for person in people(SCENES["shared"], SIZE, times) if person.group == "shared"]
        assert len(crowd) == 200
        assert {person.address for person in crowd} == {SHARED_ADDRESS}
        assert len({(person.agent, person.language) for person in crowd}) > Config().identity.clients_per_address
        assert SHARED_ADDRESS in {wave.address for wave in SCENES["shared"].waves(SIZE)}
