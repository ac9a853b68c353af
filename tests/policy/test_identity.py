"""Who is told apart from whom."""

from __future__ import annotations

from typing import Any

import pytest

from shield.model import Action, Reason, Signal, Tier
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.identity import CrawlerSettings, IdentitySettings
from shield.policy.limits.settings import LimitsSettings
from shield.policy.table import TableSettings


def test_one_program_is_one_client_on_all_its_connections(world: Any) -> None:
    assert world.client().key == world.client().key
    assert world.client().entry is world.client().entry


def test_two_programs_behind_one_address_are_two_clients_with_one_address(world: Any) -> None:
    one, other = world.client(agent="One"), world.client(agent="Other")
    assert one.entry is not other.entry
    assert one.source is other.source
    assert world.client(language="de").entry is not world.client(language="en").entry


def test_ipv4_in_ipv6_is_ipv4(world: Any) -> None:
    assert world.client("::ffff:192.0.2.1").key == world.client("192.0.2.1").key


def test_a_subscriber_of_ipv6_is_one_address(world: Any) -> None:
    one, other = world.client("2001:db8:1:2::1"), world.client("2001:db8:1:2:ffff::2")
    assert one.entry is other.entry
    assert one.address != other.address
    neighbour = world.client("2001:db8:1:3::1")
    assert neighbour.source is not one.source
    assert neighbour.source.site is one.source.site
    assert neighbour.network == one.network


def test_names_of_clients_cannot_be_computed_without_the_key(make: Any) -> None:
    from shield.policy.keys import Keys

    assert make().client().key != make(keys=Keys(b"\x09" * 32)).client().key


def test_odd_bytes_in_a_user_agent_do_no_harm(world: Any) -> None:
    assert world.client(agent="\udcff\ud800\0").key != world.client(agent="").key


def test_what_is_beyond_256_characters_of_a_user_agent_does_not_count(world: Any) -> None:
    assert world.client(agent="x" * 256 + "1").key == world.client(agent="x" * 8000).key


def test_rotating_the_user_agent_buys_sixty_four_entries_and_no_more(world: Any) -> None:
    entries = {id(world.client(agent=f"Agent/{i}").entry) for i in range(1000)}
    assert len(entries) == 32 + 32  # told apart, and shared
    assert world.client(agent="Agent/900").entry is world.client(agent="Agent/900").entry
    assert world.client("192.0.2.2", agent="Agent/900").entry is not world.client(agent="Agent/900").entry


def crowd_of(world: Any, size: int = 200) -> list[Any]:
    """Clients behind one address; those from the 33rd on share entries."""
    crowd = [world.client(agent=f"Agent/{i}") for i in range(size)]
    assert [client.entry.overflow for client in crowd] == [False] * 32 + [True] * (size - 32)
    return crowd


def test_of_many_behind_one_address_a_greedy_one_takes_from_few(make: Any) -> None:
    """Two hundred people behind an address: from the 17th on all were one client, whose bucket was empty."""
    world = make(limits=LimitsSettings(costs={"/": 1.0}))
    *others, greedy = crowd_of(world)
    for _ in range(1000):
        world.visit(greedy)
    harmed = [client for client in others if world.visit(client).verdict.action is not Action.FORWARD]
    assert all(client.entry is greedy.entry for client in harmed)
    assert 0 < len(harmed) < 20


def test_one_of_many_behind_an_address_gives_the_others_no_score_and_no_ban(make: Any, says: Any) -> None:
    world = make(limits=LimitsSettings(honeypots=("/trap",)))
    *others, bad = crowd_of(world)
    twin = next(client for client in others if client.entry is bad.entry)
    for _ in range(20):
        assert says(world.ask(bad, "/trap")) == (Action.BAN, Reason.HONEYPOT)
        world.engine.report(bad, Signal.MALFORMED, world.now)
        world.visit(bad, status=404)
    assert bad.entry.score == 0.0
    assert bad.source.hard == pytest.approx(4.0)
    assert says(world.ask(twin)) == (Action.FORWARD, Reason.OK)
    for client in others[32:64]:
        world.engine.report(client, Signal.MALFORMED, world.now)
    assert says(world.ask(twin)) == (Action.CHALLENGE, Reason.BAD_NEIGHBOUR)  # that many are no accident


def test_those_who_share_an_entry_come_to_passes_of_their_own(world: Any) -> None:
    crowd = crowd_of(world)
    mates = [client for client in crowd if client.entry is crowd[-1].entry]
    assert len(mates) > 2
    world.settle_down(mates[0])
    asked = [world.ask(client) for client in mates]
    assert all(request.grant for request in asked)
    assert all(world.engine.grant(request, world.now) for request in asked)
    assert not world.ask(mates[-1]).grant  # who does not keep it gets no other
    assert world.engine.grant(asked[-1], world.now) is None
    grants = 0
    while world.engine.grant(asked[grants % 2], world.now):
        grants += 1
    assert grants == 60 - len(mates)  # the network's in any case


def test_the_history_of_those_who_share_an_entry_outlives_it(world: Any) -> None:
    mate = crowd_of(world)[-1]
    world.settle_down(mate)
    world.pass_time(5 * 3600, step=60)
    assert not mate.entry.live
    again = crowd_of(world)[-1]
    assert again.entry is not mate.entry
    assert again.entry.record is mate.entry.record


def test_a_known_client_keeps_its_entry_when_a_neighbour_rotates(world: Any) -> None:
    known = world.client(agent="Known")
    world.settle_down(known)
    world.pass_time(3 * 3600, step=60)
    assert not known.live  # idle, and forgotten; its history is not
    for i in range(100):
        world.client(agent=f"Agent/{i}")
    again = world.client(agent="Known")
    assert again.entry.record is not None
    assert again.entry is not world.client(agent="Agent/99").entry


def test_a_forgotten_client_makes_room_for_another(make: Any) -> None:
    world = make(identity=IdentitySettings(clients_per_address=2, idle=60))
    first = [world.client(agent=f"Agent/{i}") for i in range(3)]
    assert first[0].source.clients == 2
    world.pass_time(30)
    world.visit(world.client("192.0.2.1", agent="Agent/0"))
    world.pass_time(45)
    assert first[0].entry.live
    assert not first[1].entry.live
    assert first[0].source.clients == 1
    again = world.client(agent="Agent/9")
    assert again.entry is not first[0].entry
    assert not again.entry.overflow


def test_a_handle_of_a_forgotten_client_is_renewed_when_it_is_used(make: Any) -> None:
    world = make(identity=IdentitySettings(idle=60))
    for address in ("192.0.2.1", "2001:db8::1"):
        client = world.client(address)
        world.pass_time(120)
        assert not client.live
        assert world.visit(client).verdict.action is Action.FORWARD
        assert client.live


def test_an_address_survives_its_network(make: Any) -> None:
    """Each table forgets by itself: a handle finds the new entry of a network, and of an IPv6 site."""
    world = make(tables=TableSettings(networks=16))
    four, six = world.client("192.0.2.1"), world.client("2001:db8::1")
    for i in range(40):
        world.client(f"10.0.{i}.1")
    assert four.source.live
    assert not four.source.network.live
    assert not four.live
    assert not six.live
    assert world.client("192.0.2.1").source.network.live
    assert world.client("2001:db8::1").live
    world.visit(four)
    assert four.live


def test_a_client_survives_its_address(make: Any) -> None:
    world = make(tables=TableSettings(addresses=16))
    client = world.client()
    for i in range(40):
        world.client(f"10.0.0.{i}")
    assert client.entry.live
    assert not client.source.live
    again = world.client()
    assert again.entry is client.entry
    assert again.source.clients == 1


def test_a_shared_entry_survives_its_address(make: Any) -> None:
    world = make(tables=TableSettings(addresses=16), identity=IdentitySettings(clients_per_address=1))
    client = [world.client(agent=f"Agent/{i}") for i in range(2)][1]
    for i in range(40):
        world.client(f"10.0.0.{i}")
    assert not client.source.live
    again = [world.client(agent=f"Agent/{i}") for i in (2, 1)][1]
    assert again.entry is client.entry
    assert again.entry.source is again.source


def test_full_tables_of_addresses_clients_and_networks_make_newcomers_share(make: Any) -> None:
    world = make(tables=TableSettings(addresses=16, clients=16, networks=16))
    identity = world.engine._identity
    for i in range(16):
        client = world.client(f"10.0.{i}.1")
        client.entry.banned_until = client.source.banned_until = world.now + 600
        client.source.network.grants = world.now + 600
    late = [world.client(f"10.1.{i}.1") for i in range(50)]
    assert {id(client.entry) for client in late} == {id(identity.clients.shared)}
    assert {id(client.source) for client in late} == {id(identity.addresses.shared)}
    assert [len(identity.addresses), len(identity.clients), len(identity.networks)] == [16, 16, 16]
    verdicts = [world.visit(client, rtt=0.050).verdict for client in late * 5]
    assert verdicts[0].action is Action.FORWARD
    assert verdicts[-1].reason is Reason.CLIENT_RATE  # one bucket for all of them
    world.pass_time(120)
    world.settle_down(late[0])
    assert late[0].entry.record is None  # nobody's entry makes no history
    tables = world.engine.status(world.now).tables
    assert tables.addresses.overflows >= 50


def crowd_out(world: Any) -> None:
    """Fill the tables of addresses and clients with strangers that are banned."""
    for i in range(200):
        stranger = world.client(f"10.0.0.{i}")
        for entry in (stranger.entry, stranger.source):
            if not entry.overflow:
                entry.banned_until = world.now + 6000


def test_a_full_table_costs_nobody_who_is_known_the_history(make: Any, says: Any) -> None:
    """Known clients came to share the entry of those for whom there was no room: no history, and a common ban."""
    world = make(tables=TableSettings(addresses=64, clients=64), identity=IdentitySettings(idle=600))
    users = [world.client(f"192.0.2.{i}") for i in range(20)]
    world.settle_down(*users)
    for _ in range(3):
        world.pass_time(700, step=10)
    assert not any(user.live for user in users)
    crowd_out(world)
    identity = world.engine._identity
    for i in range(20):
        user = world.client(f"192.0.2.{i}")
        assert user.entry is not identity.clients.shared
        assert user.source is not identity.addresses.shared
        assert user.source.name == f"192.0.2.{i}"
    world.storm(0.9)
    for user in users:  # on connections that were kept meanwhile
        request = world.visit(user)
        assert (request.tier, says(request)) == (Tier.T1, (Action.FORWARD, Reason.OK))
        assert user.entry.record is not None
    assert len(identity.clients) == len(identity.addresses) == 64


def test_strangers_for_whom_there_is_no_room_share_a_limit_and_no_ban(make: Any, says: Any) -> None:
    world = make(
        tables=TableSettings(addresses=16, clients=16, networks=16),
        limits=LimitsSettings(costs={"/": 1.0}, honeypots=("/trap",)),
    )
    for i in range(16):
        world.client(f"10.7.{i}.1").source.network.grants = world.now + 600
    crowd_out(world)
    bad, good = world.client("198.51.100.1"), world.client("203.0.113.1")
    assert bad.entry is good.entry
    assert bad.source is good.source
    for _ in range(20):
        world.engine.report(bad, Signal.MALFORMED, world.now)
        world.engine.report("198.51.100.1", Signal.SLOW_ABORT, world.now)
        world.visit(bad, status=404)
    assert says(world.ask(bad, "/trap")) == (Action.BAN, Reason.HONEYPOT)
    world.engine._reputation.soft(bad.source, bad.entry, 1.0, world.now)
    assert (bad.entry.score, bad.source.score, bad.source.network.score) == (0.0, 0.0, 0.0)
    assert says(world.visit(good)) == (Action.FORWARD, Reason.OK)
    assert [world.ask(bad).verdict.reason for _ in range(250)][-1] is Reason.CLIENT_RATE
    assert world.ask(good).verdict.reason is Reason.CLIENT_RATE
    assert world.engine.events() == []


def test_an_address_without_room_for_its_client_is_charged_itself(make: Any) -> None:
    world = make(tables=TableSettings(clients=16))
    crowd_out(world)
    stranger = world.client("198.51.100.1")
    assert stranger.entry.overflow
    assert not stranger.source.overflow
    world.engine.report(stranger, Signal.MALFORMED, world.now)
    assert stranger.source.hard == 3.0


def test_a_client_at_an_address_without_room_keeps_its_score_to_itself(make: Any) -> None:
    world = make(tables=TableSettings(addresses=16))
    for i in range(16):
        world.client(f"10.0.0.{i}").source.banned_until = world.now + 600
    client = world.client("198.51.100.1")
    assert client.source.overflow
    world.engine.report(client, Signal.MALFORMED, world.now)
    assert (client.entry.score, client.source.score) == (3.0, 0.0)


def test_what_one_stranger_without_room_buys_or_proves_is_not_everybody_s(make: Any) -> None:
    crawlers = (CrawlerSettings("Goodbot", ("good.example",)),)
    world = make(
        tables=TableSettings(addresses=16, clients=16),
        identity=IdentitySettings(crawlers=crawlers),
        challenge=ChallengeSettings(least_hashes=64, most_hashes=256, mode="always"),
    )
    crowd_out(world)
    buyer, other = world.client("198.51.100.1"), world.client("203.0.113.1")
    _, token = world.buy(buyer)
    assert world.ask(buyer, shown=token).verdict.action is Action.FORWARD
    assert world.ask(other).verdict.action is Action.CHALLENGE
    world.engine.vouch("198.51.100.1", True, world.now)
    assert world.client("203.0.113.1", agent="Goodbot/1").unverified


def test_what_one_of_many_without_an_address_of_their_own_buys_is_not_everybody_s(make: Any) -> None:
    """Beyond the clients told apart at the overflow address, one bought pass served all, and was revoked."""
    world = make(
        tables=TableSettings(addresses=16),
        challenge=ChallengeSettings(least_hashes=64, most_hashes=256, mode="always"),
    )
    for i in range(16):
        world.client(f"10.0.0.{i}").source.banned_until = world.now + 600
    *_, buyer, other = [world.client(f"198.51.{i}.1") for i in range(40)]
    assert buyer.source.overflow
    assert buyer.entry is other.entry
    world.buy(buyer)
    assert world.ask(other).verdict.action is Action.CHALLENGE
    for _ in range(4):
        world.engine.report(buyer, Signal.MALFORMED, world.now)
    assert other.entry.score == 0.0


def test_full_networks_are_shared_by_newcomers(make: Any) -> None:
    world = make(tables=TableSettings(networks=16))
    for i in range(16):
        world.client(f"10.0.{i}.1").source.network.grants = world.now + 600
    assert world.client("10.1.1.1").source.network is world.client("10.2.2.2").source.network
    assert world.client("10.1.1.1").network != world.client("10.2.2.2").network


def test_the_allowed_are_never_limited_or_scored_and_the_denied_never_let_in(make: Any, says: Any) -> None:
    world = make(identity=IdentitySettings(allow=("192.0.2.0/24",), deny=("198.51.100.0/24",)))
    friend, enemy = world.client("192.0.2.5"), world.client("198.51.100.5")
    for _ in range(1000):
        assert says(world.visit(friend, status=404)) == (Action.FORWARD, Reason.ALLOWLISTED)
    assert friend.entry.score == 0.0
    assert says(world.ask(enemy)) == (Action.BAN, Reason.DENYLISTED)
    assert world.ask(friend).tier is Tier.T0
    assert says(world.visit(world.client("203.0.113.1"))) == (Action.FORWARD, Reason.OK)


def test_a_crawler_is_believed_once_dns_has_confirmed_its_address(make: Any, says: Any) -> None:
    crawlers = (CrawlerSettings("Otherbot", ("other.example",)), CrawlerSettings("Goodbot", ("good.example",)))
    world = make(identity=IdentitySettings(crawlers=crawlers))
    true = world.client("192.0.2.1", agent="Mozilla/5.0 (compatible; Goodbot/2.1)")
    false = world.client("198.51.100.1", agent="Goodbot/2.1")
    assert true.crawler is crawlers[1]
    assert true.unverified
    assert not world.client().unverified
    world.storm(0.9)
    assert says(world.ask(true))[0] is Action.CHALLENGE
    world.engine.vouch("192.0.2.1", True, world.now)
    world.engine.vouch("198.51.100.1", False, world.now)
    assert not true.unverified
    assert says(world.ask(true)) == (Action.FORWARD, Reason.CRAWLER)
    assert says(world.ask(false))[0] is Action.CHALLENGE
    assert says(world.ask(world.client("192.0.2.1", agent="Browser")))[0] is Action.CHALLENGE


def test_a_handle_tells_who_it_is(world: Any) -> None:
    client = world.client()
    assert repr(client) == f"<Client {client.key.hex()[:12]} 192.0.2.1 in 192.0.2.0/24>"


def test_the_operator_s_networks_are_known_by_any_form_of_an_address(make: Any) -> None:
    world = make(identity=IdentitySettings(allow=("203.0.113.0/24", "2001:db8::/32")))
    assert world.engine.allows("203.0.113.9")
    assert world.engine.allows("::ffff:203.0.113.9")
    assert world.engine.allows("2001:db8:1::9")
    assert not world.engine.allows("198.51.100.7")
    assert not make().engine.allows("203.0.113.9")
