"""Bounded memory: who goes when it is full, and who does not."""

from __future__ import annotations

import pytest

from shield.policy.status import ClockTableStatus
from shield.policy.table import EVICTION_LOOKS, Table

NOW = 55_555.5


class Thing:
    def __init__(self, tat: float = 0.0, until: float = 0.0) -> None:
        self.live = True
        self.queued = 0.0
        self.tat = tat
        self.until = until

    def restrains(self, now: float) -> bool:
        return self.tat > now or self.until > now


def table(size: int, idle: float = 100.0) -> Table[int, Thing]:
    return Table(size, idle, Thing)


def test_the_oldest_goes_first() -> None:
    things = table(16)
    for i in range(40):
        things.enter(i, Thing(), NOW + i)
    assert list(things) == list(range(24, 40))
    assert things.evictions == 24


def test_a_forgotten_entry_knows_it_and_its_owner_is_told() -> None:
    told: list[Thing] = []
    things: Table[int, Thing] = Table(16, 100.0, Thing, told.append)
    first = things.enter(0, Thing(), NOW)
    for i in range(1, 17):
        things.enter(i, Thing(), NOW)
    assert told == [first]
    assert not first.live


def test_an_entry_used_since_it_was_queued_has_a_second_chance() -> None:
    things = table(16)
    for i in range(16):
        things.enter(i, Thing(), NOW)
    things[0].tat = NOW + 1  # charged a little later, and full again by now
    things.enter(16, Thing(), NOW + 5)
    assert 0 in things
    assert 1 not in things


def test_a_table_that_fills_for_the_first_time_has_room_for_newcomers() -> None:
    """All that is in it was charged once, so all had a second chance: a ninth of the newcomers shared one bucket."""
    things = table(1000)
    for i in range(5000):
        things.enter(i, Thing(), NOW + i).tat = NOW + i + 0.02
    assert things.overflows == 0
    assert len(things) == 1000


def test_of_those_updated_the_least_recently_updated_goes() -> None:
    things = table(16)
    for i in range(16):
        things.enter(i, Thing(tat=NOW + (1 if i == EVICTION_LOOKS - 1 else 5)), NOW)
    things.enter(16, Thing(), NOW + 9)
    assert EVICTION_LOOKS - 1 not in things


def test_reading_does_not_refresh() -> None:
    things = table(16)
    for i in range(16):
        things.enter(i, Thing(), NOW)
    assert things.get(0) is things[0]
    things.enter(16, Thing(), NOW + 1)
    assert 0 not in things


def test_when_everybody_is_restrained_newcomers_share_one_entry() -> None:
    things = table(16)
    for i in range(16):
        things.enter(i, Thing(until=NOW + 60), NOW)
    shared = {id(things.enter(i, Thing(), NOW + 1)) for i in range(100, 200)}
    assert shared == {id(things.shared)}
    assert sorted(things) == list(range(16))
    assert things.overflows == 100


def test_one_insert_looks_at_a_bounded_number() -> None:
    class Counted(Thing):
        looks = 0

        def restrains(self, now: float) -> bool:
            Counted.looks += 1
            return True

    things: Table[int, Thing] = Table(1000, 100.0, Thing)
    for i in range(1000):
        things.enter(i, Counted(), NOW)
    things.enter(1000, Counted(), NOW)
    assert Counted.looks == EVICTION_LOOKS


def test_an_eviction_passes_over_the_restrained() -> None:
    things = table(16)
    for i in range(16):
        things.enter(i, Thing(until=NOW + 60 if i < 5 else 0.0), NOW)
    things.enter(16, Thing(), NOW + 1)
    assert 5 not in things
    assert all(i in things for i in range(5))


def test_an_empty_table_has_nothing_to_evict() -> None:
    with pytest.raises(KeyError):
        table(16).popitem()


def test_idle_entries_are_forgotten_a_few_at_a_time() -> None:
    things = table(100, idle=10.0)
    for i in range(100):
        things.enter(i, Thing(), NOW)
    things.expire(NOW + 9.9)
    assert len(things) == 100
    things.expire(NOW + 10, looks=30)
    assert len(things) == 70
    things.expire(NOW + 10)
    assert len(things) == 0
    things.expire(NOW + 11)


def test_expiry_keeps_who_was_used_and_who_is_restrained() -> None:
    things = table(16, idle=10.0)
    used, banned = things.enter(0, Thing(), NOW), things.enter(1, Thing(), NOW)
    used.tat = NOW + 8
    banned.until = NOW + 1000
    things.expire(NOW + 12)
    assert set(things) == {0, 1}
    things.expire(NOW + 30)
    assert set(things) == {1}
    things.expire(NOW + 2000)
    assert len(things) == 0


def test_those_who_shared_get_entries_of_their_own_when_there_is_room_again() -> None:
    things = table(16, idle=10.0)
    for i in range(16):
        things.enter(i, Thing(until=NOW + 5), NOW)
    shared = things.enter(99, Thing(), NOW)
    shared.tat = NOW + 7
    things.expire(NOW + 6)
    assert shared.live  # full still
    things.expire(NOW + 20)
    assert not shared.live
    assert things.shared is not shared
    fresh = things.shared
    things.expire(NOW + 21)
    assert things.shared is fresh  # nobody used it


def test_the_status_says_how_full_it_is() -> None:
    things = table(16)
    things.enter(0, Thing(), NOW)
    assert things.status(123) == ClockTableStatus(1, 16, 123, evictions=0, overflows=0)


def full(known: set[int]) -> Table[int, Thing]:
    """A table whose entries all restrain somebody; those with these keys have a history."""
    things: Table[int, Thing] = Table(16, 100.0, Thing, known=lambda thing: thing in familiar)
    familiar: list[Thing] = []
    for i in range(16):
        thing = things.enter(i, Thing(until=NOW + 60), NOW)
        if i in known:
            familiar.append(thing)
    return things


def test_who_insists_takes_the_place_of_the_oldest_that_nobody_knows() -> None:
    things = full({0, 1, 3})
    known = Thing()
    assert things.enter(100, known, NOW + 1, insist=True) is known
    assert set(things) == set(range(16)) - {2} | {100}
    assert things.enter(101, Thing(), NOW + 1) is things.shared
    assert (things.evictions, things.overflows) == (1, 1)
    things.expire(NOW + 500)
    assert len(things) == 0  # the order and the table are of one mind


def test_who_insists_among_the_known_takes_the_place_of_the_oldest() -> None:
    things = full(set(range(16)))
    known = Thing()
    assert things.enter(100, known, NOW + 1, insist=True) is known
    assert 0 not in things


def test_who_insists_takes_a_place_that_is_free_to_take_first() -> None:
    things = full(set())
    things[3].until = 0.0
    things.enter(100, Thing(), NOW + 1, insist=True)
    assert set(things) == set(range(16)) - {3} | {100}


def test_who_insists_needs_no_say_in_who_is_known() -> None:
    things = table(16)
    for i in range(16):
        things.enter(i, Thing(until=NOW + 60), NOW)
    assert things.enter(100, Thing(), NOW + 1, insist=True) is not things.shared
    assert 0 not in things
