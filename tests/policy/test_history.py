"""Who was here, and behaved, before the attack."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason, Tier
from shield.policy.entries import Record
from shield.policy.history import DAY, History, HistorySettings
from shield.policy.keys import Keys
from shield.policy.table import TableSettings

NOW = 40 * DAY
WALL_OFFSET = 1_700_000_000.0 - 7_654_321.123  # as in conftest.py


def record(key: int, units: float = 1.0, address: str = "192.0.2.1", last: float = NOW) -> Record:
    return Record(key.to_bytes(4, "big"), address, address.rpartition(".")[0] + ".0/24", last - 60, last, 2, units)


def test_good_responses_in_two_windows_make_a_history(world: Any) -> None:
    client = world.client()
    world.visit(client)
    world.pass_time(59)
    world.visit(client)
    assert client.entry.record is None
    world.pass_time(1)
    world.visit(client)
    assert client.entry.record.windows == 2
    assert world.ask(client).tier is Tier.T1


def test_two_windows_take_a_minute_wherever_the_clock_stands(world: Any) -> None:
    """Windows are the client's own: a flood that begins just before a full minute gains nothing."""
    client = world.client()
    for _ in range(119):
        world.visit(client)
        world.pass_time(0.5)
    assert client.entry.record is None


@pytest.mark.parametrize("status", [404, 500, 403])
@pytest.mark.untraced
def test_bad_responses_make_none(world: Any, status: int) -> None:
    client = world.client()
    for _ in range(10):
        world.visit(client, status=status)
        world.pass_time(61)
    assert client.entry.record is None


@pytest.mark.untraced
def test_time_above_the_limit_does_not_count(world: Any) -> None:
    client = world.client()
    for _ in range(300):
        for _ in range(60):
            world.visit(client, rtt=0.010)
        world.pass_time(0.5)
    assert client.entry.record is None


def test_a_history_grows_with_visits(world: Any) -> None:
    client = world.client()
    world.settle_down(client)
    before = client.entry.record.units
    world.visit(client)
    world.pass_time(61)
    world.visit(client)
    assert client.entry.record.windows == 3
    assert client.entry.record.units > before


def test_an_attack_makes_no_history(world: Any) -> None:
    known, late = world.client(), world.client("192.0.2.2")
    world.settle_down(known)
    world.visit(late)
    world.storm()
    before = known.entry.record.units
    world.lull()
    world.pass_time(61)
    world.visit(known)
    world.visit(late)
    assert world.engine.attack
    assert late.entry.record is None
    assert known.entry.record.units == before
    world.pass_time(700)
    assert not world.engine.attack
    world.visit(late)
    assert late.entry.record is not None


def test_a_flood_of_visitors_that_came_twice_does_not_push_out_who_uses_the_site() -> None:
    history = History(HistorySettings(), 100)
    regular = history.remember(record(1, 5.0))
    for i in range(2, 1000):
        history.remember(record(i, 0.4))
    assert len(history) == 100
    assert regular.live


def test_units_that_were_served_later_count_when_somebody_has_to_go() -> None:
    history = History(HistorySettings(), 16)
    records = [history.remember(record(i, 1.0 + i)) for i in range(16)]
    records[0].units = 100.0  # was the least served when it entered
    history.remember(record(99, 50.0))
    assert records[0].live
    assert not records[1].live


def test_a_key_that_comes_back_replaces_itself() -> None:
    history = History(HistorySettings(), 16)
    first = history.remember(record(1, 5.0))
    second = history.remember(record(1, 6.0))
    assert len(history) == 1
    assert not first.live
    assert history.clients_at("192.0.2.1") == 1
    for i in range(2, 30):
        history.remember(record(i, 7.0))
    assert not second.live
    assert len(history) == 16


def test_who_does_not_come_back_is_forgotten_in_the_end() -> None:
    history = History(HistorySettings(keep=DAY), 1000)
    for i in range(200):
        history.remember(record(i, 1.0, f"10.0.0.{i}"))
    stay = history.remember(record(999, 1.0, last=NOW + DAY))
    for _ in range(3):
        history.forget_old(NOW + DAY, looks=50)
    assert len(history) == 51
    for _ in range(9):
        history.forget_old(NOW + DAY, looks=50)
    assert list(history.values()) == [stay]
    assert history.addresses_in("10.0.0.0/24") == 0
    assert len(history._ranking) < 100
    history.forget_old(NOW + 3 * DAY)
    history.forget_old(NOW + 3 * DAY)
    assert len(history) == 0


def test_records_replaced_by_the_same_key_do_not_pile_up() -> None:
    history = History(HistorySettings(), 1000)
    for i in range(500):
        history.remember(record(1, float(i)))
    for _ in range(10):
        history.forget_old(NOW)
    assert len(history._order) == 1
    assert len(history._ranking) < 70


def test_a_network_is_known_while_it_holds_clients_seen_lately() -> None:
    history = History(HistorySettings(known=7 * DAY), 100)
    assert history.known_since("192.0.2.0/24", NOW) is None
    history.remember(record(1))
    history.remember(record(2))
    history.remember(record(3, address="192.0.2.9"))
    assert history.known_since("192.0.2.0/24", NOW) == NOW - 60
    assert history.addresses_in("192.0.2.0/24") == 2
    assert history.clients_at("192.0.2.1") == 2
    assert history.clients_at("192.0.2.200") == 0
    assert history.known_since("192.0.2.0/24", NOW + 8 * DAY) is None


def test_a_visit_keeps_a_network_known(world: Any) -> None:
    client = world.client()
    world.settle_down(client)
    since = world.now
    world.now += 6 * DAY
    world.visit(client)
    assert world.engine._history.known_since("192.0.2.0/24", since + 12 * DAY) is not None


def test_users_known_before_a_restart_stay_known(make: Any) -> None:
    before, after = make(), make()
    before.settle_down(before.client(), before.client("2001:db8::1"))
    rows = list(before.engine.export_history(before.now))
    assert len(rows) == 2
    after.now += 1000.0
    assert after.engine.import_history([*rows, ["zz", 1], [], ["00", "a", "b", "x", 1, 2, 3]], after.now) == 2
    assert after.ask(after.client()).tier is Tier.T1
    assert after.ask(after.client("2001:db8::1")).tier is Tier.T1
    old = list(rows[0])
    old[4] -= 100 * DAY
    assert make().engine.import_history([old], after.now) == 0


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, ""), (0, "zz"), (0, "00" * 33), (0, 7), (1, None), (1, "1" * 65), (2, ["192.0.2.0/24"]), (2, "1" * 65),
        (3, "nan"), (3, "-inf"), (3, 3e9), (4, "nan"), (4, None), (5, float("inf")), (5, -1), (5, "x"), (5, 1e40),
        (6, "inf"), (6, -0.5), (6, "nan"), (6, {}),
    ],
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_skipped(make: Any, place: int, value: Any) -> None:
    """A file may have been damaged, or written by somebody else: what is in it must not break the table."""
    before, after = make(), make()
    before.settle_down(before.client())
    (row,) = before.engine.export_history(before.now)
    bad = list(row)
    bad[place] = value
    assert after.engine.import_history([bad, "abcdefg", None, 3], after.now) == 0
    assert after.engine.import_history([row], before.now) == 1


def test_an_address_in_two_networks_at_once(make: Any) -> None:
    """Found by fuzzing: the counts of both networks went wrong, and forgetting the records raised KeyError."""
    world = make()
    wall = WALL_OFFSET + world.now
    rows = [
        ["aa", "192.0.2.1", "192.0.2.0/24", wall, wall, 2, 1.0],
        ["bb", "192.0.2.1", "198.51.100.0/24", wall, wall, 2, 2.0],
        ["cc", "198.51.100.1", "198.51.100.0/24", wall, wall, 2, 3.0],
    ]
    history = world.engine._history
    assert world.engine.import_history(rows, world.now) == 2
    assert world.engine.import_history(rows[1:2], world.now) == 0
    assert history.addresses_in("198.51.100.0/24") == 1
    for _ in range(2):
        history.popitem()
    assert not history.addresses_in("198.51.100.0/24")
    homes: dict[str, str] = {}
    parts = make()
    assert [parts.engine.import_history([row], parts.now, homes) for row in rows] == [1, 0, 1]


def test_of_what_several_workers_saved_the_latest_counts(make: Any) -> None:
    world = make()
    world.settle_down(world.client())
    (old,) = world.engine.export_history(world.now)
    new = [*old[:4], old[4] + 10, old[5] + 1, old[6] + 5]
    for rows in ([old, new], [new, old], [new, old, new]):
        after = make()
        after.now = world.now + 100
        after.engine.import_history(rows, after.now)
        ((*_, windows, units),) = after.engine.export_history(after.now)
        assert (windows, units) == tuple(new[5:])


def test_an_export_in_slices_leaves_out_who_was_forgotten_meanwhile(make: Any) -> None:
    world = make(tables=TableSettings(history=16))
    clients = [world.client(f"192.0.2.{i}") for i in range(16)]
    world.settle_down(*clients)
    export = world.engine.export_history(world.now)
    next(export)
    late = [world.client(f"198.51.100.{i}") for i in range(4)]
    world.settle_down(*late)
    assert len(list(export)) == 12  # four gave way, the one already written among them
    assert world.engine.status(world.now).tables.history.entries == 16


def test_a_change_of_keys_makes_nobody_a_stranger(make: Any, says: Any) -> None:
    old, new, newer = (bytes([n]) * 32 for n in (1, 2, 3))
    world = make(keys=Keys(old))
    clients = [world.client(f"192.0.2.{i}") for i in range(3)]
    world.settle_down(*clients)
    rows = list(world.engine.export_history(world.now))

    after = make(keys=Keys(new, old))
    assert after.engine.import_history(rows, after.now) == 3
    after.storm(0.9)
    users = [after.client(f"192.0.2.{i}") for i in range(2)]
    for user in users:
        assert says(after.visit(user)) == (Action.FORWARD, Reason.OK)
        assert user.entry.record.key == user.key
    assert says(after.ask(after.client("192.0.2.9")))[0] is Action.CHALLENGE
    assert after.engine.status(after.now).tables.history.entries == 3

    later = make(keys=Keys(newer, new))  # the third was not seen in between: it has only the name of two keys ago
    later.engine.import_history(list(after.engine.export_history(after.now)), later.now)
    later.storm(0.9)
    verdicts = [says(later.ask(later.client(f"192.0.2.{i}")))[0] for i in range(3)]
    assert verdicts == [Action.FORWARD, Action.FORWARD, Action.CHALLENGE]


def test_a_record_that_was_given_another_name_is_forgotten_like_any_other(make: Any) -> None:
    world = make(keys=Keys(b"\x02" * 32, b"\x01" * 32), tables=TableSettings(history=16))
    before = make(keys=Keys(b"\x01" * 32), tables=TableSettings(history=16))
    clients = [before.client(f"192.0.2.{i}") for i in range(16)]
    before.settle_down(*clients)
    world.engine.import_history(list(before.engine.export_history(before.now)), world.now)
    for i in range(16):
        assert world.client(f"192.0.2.{i}").entry.record is not None
    world.settle_down(*[world.client(f"198.51.100.{i}") for i in range(40)])
    assert len(world.engine._history) == 16


def test_how_many_windows_make_a_history_is_a_setting(make: Any) -> None:
    world = make(history=HistorySettings(windows=4))
    client = world.client()
    for made in (False, False, False, True, True):
        world.visit(client)
        assert (client.entry.record is not None) is made
        world.pass_time(60)
    assert client.entry.record.windows == 5
