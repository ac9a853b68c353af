"""The waiting room: who is next, who loses the place, and what a ticket is worth."""

from __future__ import annotations

import random
import tracemalloc
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.policy.challenge.challenge import Redeemed
from shield.policy.keys import Keys
from shield.policy.pricing.settings import PricingSettings
from shield.policy.pricing.waiting_room import TICKET_CHARS, WAITER_BYTES, Room, Waiter
from shield.policy.status import TableStatus

NOW = 5_000.0
KEYS = Keys(b"\x01" * 32)


def room(size: int = 1000, seed: int = 1, keys: Keys = KEYS) -> Room:
    return Room(PricingSettings(), size, keys, random.Random(seed).randbytes)


def everybody(crowd: Room) -> list[Waiter]:
    """Who waits."""
    return [waiter for half in crowd._halves for waiter in half]


def winners(crowd: Room, passes: int, now: float = NOW) -> list[str]:
    """The networks of those who win the next passes, in order."""
    before = set(crowd._won)
    for _ in range(passes):
        crowd.issue(now)
    return [waiter.line.name for waiter in crowd._won if waiter not in before]


def test_known_networks_go_first_then_those_with_the_fewest_live_passes() -> None:
    crowd = room()
    crowd.hold("two", 2)
    crowd.hold("one", 1)
    for name in ("two", "one", "none", "known"):
        crowd.enter(name, name == "known", 20, NOW)
    assert winners(crowd, 4) == ["known", "none", "one", "two"]


def test_a_thousand_solvers_behind_one_network_come_after_one_behind_another() -> None:
    crowd = room(2000)
    for _ in range(1000):
        crowd.enter("crowded", False, 20, NOW)
    crowd.enter("quiet", False, 20, NOW + 1)
    assert "quiet" in winners(crowd, 2, NOW + 1)


def test_without_regard_to_networks_it_goes_by_who_came_first() -> None:
    crowd = Room(PricingSettings(by_network=False), 4, KEYS, random.Random(1).randbytes)
    crowd.hold("one", 1)
    first, *_ = [crowd.enter(name, name == "known", 20, NOW) for name in ("one", "two", "none", "known")]
    assert crowd.fresh("one")
    assert crowd.full(True)
    assert crowd.full(False)
    assert crowd.worse("known", True) is None
    crowd.issue(NOW)
    assert first.won


def test_equals_are_drawn_by_lot() -> None:
    firsts: Counter[str] = Counter()
    for seed in range(400):
        crowd = room(seed=seed)
        for name in "abcd":
            crowd.enter(name, False, 20, NOW)
        firsts.update(winners(crowd, 1))
    assert all(70 < firsts[name] < 130 for name in "abcd"), firsts


def test_within_a_network_the_one_who_has_waited_longest_goes_first() -> None:
    crowd = room()
    waiters = [crowd.enter("here", False, 20, NOW + i) for i in range(3)]
    assert crowd.turns(waiters[0]) == 3
    crowd.issue(NOW + 3)
    assert [waiter.won for waiter in waiters] == [True, False, False]


def test_turns_count_those_that_are_better_or_equal() -> None:
    crowd = room()
    crowd.hold("served", 1)
    crowd.enter("known", True, 20, NOW)
    fresh = [crowd.enter(name, False, 20, NOW) for name in "ab"]
    last = crowd.enter("served", False, 20, NOW)
    assert [crowd.turns(waiter) for waiter in (*fresh, last)] == [3, 3, 4]


def test_a_network_becomes_known_while_it_waits() -> None:
    crowd = room()
    crowd.enter("a", False, 20, NOW)
    for name in "bc":
        crowd.enter(name, False, 20, NOW)
    crowd.enter("a", True, 20, NOW)
    crowd.hold("a", 1)
    crowd.hold("a", -1)
    assert winners(crowd, 2) == ["a", "a"]


def test_nobody_waits_for_more_than_a_minute() -> None:
    crowd = room()
    early = crowd.enter("a", False, 20, NOW)
    crowd.enter("b", False, 20, NOW + 30)
    crowd.expire(NOW + 60)
    assert crowd.find(crowd.ticket(early)) is Redeemed.EXPIRED
    assert crowd.waiting == 1
    assert crowd.fresh("a")
    crowd.expire(NOW + 90)
    assert crowd.waiting == 0


def test_winners_among_those_who_came_do_not_keep_the_others_places() -> None:
    crowd = room(10_000)
    for second in range(180):
        now = NOW + second
        for number in range(20):
            crowd.enter(f"{second}/{number}", False, 20, now)
        winners(crowd, 5, now)
        crowd.expire(now)
        assert all(waiter.until > now for waiter in everybody(crowd))
    assert crowd.waiting < 60 * 20


def test_a_place_that_was_won_is_kept_for_a_minute_and_then_given_up() -> None:
    crowd = room()
    claimed, left = crowd.enter("a", False, 20, NOW), crowd.enter("b", False, 20, NOW)
    assert sorted(winners(crowd, 2, NOW + 50)) == ["a", "b"]
    claimed.pass_token = "a pass"
    crowd.expire(NOW + 60)
    assert crowd.find(crowd.ticket(left)) is left
    assert not crowd.fresh("b")
    crowd.expire(NOW + 110)
    assert crowd.find(crowd.ticket(left)) is Redeemed.EXPIRED
    assert crowd.fresh("b"), "it is no live pass any more"
    assert not crowd.fresh("a"), "its pass is"
    crowd.hold("a", -1)
    assert crowd.fresh("a")


def test_a_full_room_is_shared_by_networks_and_not_by_who_came_first() -> None:
    crowd = room(128)
    for _ in range(64):
        crowd.enter("botnet", False, 20, NOW)
    assert crowd.full(False)
    for name in "abcdefgh":
        worse = crowd.worse(name, False)
        assert worse is not None
        assert worse.line.name == "botnet"
        assert crowd.enter(name, False, 20, NOW, worse).line.name == name
    assert crowd.waiting == 64
    assert crowd.worse("botnet", False) is None
    assert set(winners(crowd, 9)) == {*"abcdefgh", "botnet"}


def test_who_has_a_place_keeps_it_from_equals() -> None:
    crowd = room(32)
    waiters = [crowd.enter(f"network {i}", False, 20, NOW) for i in range(16)]
    assert crowd.full(False)
    assert all(crowd.worse(f"other {i}", False) is None for i in range(100))
    crowd.hold("network 0", 1)
    worse = {crowd.worse(f"other {i}", False) for i in range(100)}
    assert worse == {waiters[0], None}, "with a pass it is no equal, if it is found"


def test_known_networks_and_others_do_not_take_each_others_places() -> None:
    crowd = room(32)
    for i in range(16):
        crowd.enter(f"known {i}", True, 20, NOW)
    assert crowd.full(True)
    assert not crowd.full(False)
    for i in range(16):
        crowd.enter(f"stranger {i}", False, 20, NOW)
    crowd.hold("stranger 0", 5)
    crowd.hold("known 0", 5)
    assert crowd.full(False)
    assert {w.line.name for w in (crowd.worse("another", False) for _ in range(100)) if w} == {"stranger 0"}
    assert {w.line.name for w in (crowd.worse("another", True) for _ in range(100)) if w} == {"known 0"}


def test_a_twentieth_of_the_passes_is_for_strangers_while_known_networks_wait() -> None:
    crowd = room(2000)
    for i in range(1000):
        crowd.enter(f"known {i}", True, 20, NOW)
    winners(crowd, 100)
    for i in range(100):
        crowd.enter(f"stranger {i}", False, 20, NOW)
    won = winners(crowd, 400)
    assert sum(name.startswith("stranger") for name in won) == pytest.approx(20, abs=1)
    assert sum(name.startswith("stranger") for name in won[:20]) <= 2, "what nobody wanted is not saved up"


def test_turns_of_a_stranger_in_a_crowd_of_known_networks() -> None:
    crowd = room(2000)
    for i in range(900):
        crowd.enter(f"known {i}", True, 20, NOW)
    first = crowd.enter("stranger 1", False, 20, NOW)
    assert crowd.turns(first) == 20
    for i in range(2, 11):
        last = crowd.enter(f"stranger {i}", False, 20, NOW)
    assert crowd.turns(last) == 200
    for _ in range(900):
        crowd.issue(NOW)
    assert all(crowd.turns(waiter) < 80 for waiter in everybody(crowd))


def test_places_that_were_won_keep_nobody_out_and_are_no_more_than_those_that_wait() -> None:
    crowd = room(16)
    for i in range(40):
        crowd.enter(f"network {i}", False, 20, NOW)
        crowd.issue(NOW)
    assert not crowd.full(False)
    assert crowd.status().entries == 16
    assert crowd.fresh("network 0")
    assert not crowd.fresh("network 39")


def test_an_empty_room_has_nobody_worse() -> None:
    assert room(0).worse("another", True) is None


def test_a_flood_of_solvers_does_not_make_it_grow() -> None:
    crowd = room(16)
    for i in range(5000):
        known = i % 2 == 0
        if not crowd.full(known):
            crowd.enter(f"network {i}", known, 20, NOW)
        if i % 100 == 0:
            crowd.issue(NOW)
            crowd.expire(NOW + i / 10)
    assert crowd.status().entries <= 32
    assert len(crowd._order) <= 33
    assert len(crowd._lines) <= 80
    assert sum(map(len, crowd._ranks.values())) == len({waiter.line.name for waiter in everybody(crowd)})


@pytest.mark.untraced
def test_a_waiter_takes_no_more_than_said() -> None:
    crowd = room(40_000)
    tracemalloc.start()
    for i in range(16_000):
        crowd.enter(f"203.{i >> 8}.{i & 255}.0/24", False, 20, NOW + i)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / 16_000 == pytest.approx(WAITER_BYTES, rel=0.15)
    assert crowd.status() == TableStatus(16_000, 80_000, WAITER_BYTES)


def test_a_ticket_of_the_previous_key_is_good_and_a_made_up_one_is_not() -> None:
    old, new = Keys(b"\x01" * 32), Keys(b"\x02" * 32, b"\x01" * 32)
    ticket = room(keys=old).ticket(room(keys=old).enter("a", False, 20, NOW))
    assert len(ticket) == TICKET_CHARS
    assert room(keys=new).find(ticket) is Redeemed.EXPIRED  # another process: the place is lost
    assert room(keys=Keys(b"\x03" * 32)).find(ticket) is Redeemed.FORGED


def test_no_byte_of_a_ticket_can_be_changed() -> None:
    crowd = room()
    raw = urlsafe_b64decode(crowd.ticket(crowd.enter("a", False, 20, NOW)))
    for i in range(len(raw)):
        changed = urlsafe_b64encode(raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :]).decode()
        assert crowd.find(changed) is Redeemed.FORGED


def test_what_is_no_base64_is_no_ticket() -> None:
    assert room().find("é" * TICKET_CHARS) is Redeemed.MALFORMED


@given(st.text(max_size=40) | st.text(min_size=TICKET_CHARS, max_size=TICKET_CHARS))
@pytest.mark.untraced
def test_no_text_is_a_ticket(text: str) -> None:
    assert room().find(text) in (Redeemed.MALFORMED, Redeemed.FORGED)


@pytest.mark.untraced
@given(st.data())
def test_the_lines_are_what_the_waiters_make_them(data: st.DataObject) -> None:
    """Whatever happens, each line with waiters stands once among its equals, and no empty one is kept."""
    crowd = room(16)
    now = NOW
    held: Counter[str] = Counter()
    for _ in range(data.draw(st.integers(1, 60))):
        name = data.draw(st.sampled_from("abcdef"))
        match data.draw(st.sampled_from(("enter", "issue", "buy", "lapse", "time"))):
            case "enter":
                known = data.draw(st.booleans())
                worse = crowd.worse(name, known) if crowd.full(known) else None
                if worse is not None or not crowd.full(known):
                    crowd.enter(name, known, 20, now, worse)
            case "issue" if crowd.waiting:
                crowd.issue(now)
            case "buy":
                held[name] += 1
                crowd.hold(name, 1)
            case "lapse" if held[name]:
                held[name] -= 1
                crowd.hold(name, -1)
            case "time":
                now += data.draw(st.floats(0, 50))
                crowd.expire(now)
        standing = [line for lines in crowd._ranks.values() for line in lines]
        assert sorted(line.name for line in standing) == sorted({waiter.line.name for waiter in everybody(crowd)})
        assert all(crowd._ranks[line.rank][line.index] is line for line in standing)
        assert all(waiter.among[waiter.index] is waiter for waiter in everybody(crowd))
        assert all(len(half) <= 8 for half in crowd._halves)
        assert all(line.live or line.waiters for line in crowd._lines.values())
        won = Counter(waiter.line.name for waiter in crowd._won)
        assert {name: line.live for name, line in crowd._lines.items() if line.live} == dict(+(won + held))
