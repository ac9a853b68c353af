"""Who a trusted proxy says the client is, and who is not believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shield.http.forwarded import MAX_HOPS, Forwarding, parse_forwarded, parse_node
from tests.harness import get, shielded


@pytest.mark.parametrize(
    ("node", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("192.0.2.256", None),
        ("192.0.2.1, 192.0.2.2", None),
        ("192.0.2.01", None),
        ("fe80::1%eth0", None),
        ("localhost", None),
    ],
)
def test_a_hop(node: str, address: str | None) -> None:
    assert parse_node(node) == address


@given(st.text(max_size=60))
def test_no_hop_and_no_field_raises(text: str) -> None:
    parse_node(text)
    assert len(parse_forwarded(text)) <= MAX_HOPS


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        ("for=192.0.2.1", [{"for": "192.0.2.1"}]),
        (
            'For="[2001:db8::1]:47";proto=https;Host="a, b"',
            [{"for": "[2001:db8::1]:47", "proto": "https", "host": "a, b"}],
        ),
        ("for=a, for=b", [{"for": "a"}, {"for": "b"}]),
        ('for="a\\"b"', [{"for": 'a"b'}]),
        ("for=a;for=b", [{}]),
        ("for", [{}]),
        ("for=a b", [{}]),
    ],
)
def test_the_forwarded_field(value: str, elements: list[dict[str, str]]) -> None:
    assert parse_forwarded(value) == elements


def test_trust() -> None:
    trust = Forwarding(("10.0.0.0/8", "2001:db8::/32", "192.0.2.1"), "x-forwarded-for")
    assert trust.trusts("10.255.0.1")
    assert trust.trusts("2001:db8::5")
    assert trust.trusts("192.0.2.1")
    assert not trust.trusts("11.0.0.1")
    assert not trust.trusts("")
    assert not trust.trusts("nonsense")
    assert not Forwarding((), "x-forwarded-for").trusts("127.0.0.1")


XFF = Forwarding(("127.0.0.0/8", "10.0.0.0/8"), "x-forwarded-for")
FORWARDED = Forwarding(("127.0.0.0/8", "10.0.0.0/8"), "forwarded")
NONE = Forwarding(("127.0.0.0/8",), "none")


@pytest.mark.parametrize(
    ("forwarding", "fields", "address"),
    [
        (XFF, ["X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        (XFF, ["X-Forwarded-For: 6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        (XFF, ["X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.1.1"], "192.0.2.7"),
        (XFF, ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        (XFF, ["X-Forwarded-For: 10.9.9.9, 10.1.1.1"], "10.9.9.9"),
        (XFF, ["X-Forwarded-For: 6.6.6.6, unknown, 10.1.1.1"], "10.1.1.1"),
        (XFF, ["X-Forwarded-For: 6.6.6.6, unknown"], "127.0.0.1"),
        (XFF, ["X-Forwarded-For: "], "127.0.0.1"),
        (XFF, ["X-Forwarded-For: [2001:db8::7]:443"], "2001:db8::7"),
        (XFF, ["X-Forwarded-For: ::ffff:192.0.2.7"], "192.0.2.7"),
        (XFF, ["X-Forwarded-For: " + "6.6.6.6, " * 500 + "192.0.2.7"], "192.0.2.7"),
        (XFF, ["X-Forwarded-For: 6.6.6.6" + ", 10.0.0.1" * 100], "10.0.0.1"),
        (XFF, ["Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6"], "127.0.0.1"),
        (FORWARDED, ["Forwarded: for=192.0.2.7"], "192.0.2.7"),
        (FORWARDED, ["Forwarded: for=6.6.6.6, for=192.0.2.7;proto=https"], "192.0.2.7"),
        (FORWARDED, ['Forwarded: for="[2001:db8::7]:80"'], "2001:db8::7"),
        (FORWARDED, ["Forwarded: for=6.6.6.6", "Forwarded: for=192.0.2.7"], "192.0.2.7"),
        (FORWARDED, ["Forwarded: for=6.6.6.6, for=_secret"], "127.0.0.1"),
        (FORWARDED, ['Forwarded: for="6.6.6.6, for=192.0.2.7'], "192.0.2.7"),
        # A client that leaves a quote open does not hide what the proxy writes behind it.
        (FORWARDED, ['Forwarded: for=6.6.6.6;x="a, for="[2001:db8::7]"'], "2001:db8::7"),
        (FORWARDED, ['Forwarded: for=6.6.6.6;x="a\\, for="[2001:db8::7]";proto=https'], "2001:db8::7"),
        (FORWARDED, ['Forwarded: "', 'Forwarded: for="192.0.2.7:80"'], "192.0.2.7"),
        (FORWARDED, ["Forwarded: " + "for=6.6.6.6, " * 500 + 'for="192.0.2.7"'], "192.0.2.7"),
        (FORWARDED, ["Forwarded: for=192.0.2.7" + ";x=y" * 20], "127.0.0.1"),
        (FORWARDED, ["X-Forwarded-For: 6.6.6.6"], "127.0.0.1"),
        (NONE, ["X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6"], "127.0.0.1"),
    ],
)
async def test_the_client_behind_a_trusted_proxy(forwarding: Forwarding, fields: list[str], address: str) -> None:
    async with shielded(forwarding=forwarding) as (shield, _), await shield.client() as client:
        await client.ask(get("/", *fields))
        assert shield.engine.identified[-1][0] == address


async def test_an_untrusted_peer_is_never_believed() -> None:
    async with shielded(forwarding=Forwarding(("10.0.0.0/8",), "x-forwarded-for")) as (shield, origin):
        async with await shield.client() as client:
            await client.ask(get("/", "X-Forwarded-For: 6.6.6.6"))
        assert shield.engine.identified == [("127.0.0.1", "", "")]
        assert origin.requests[0].get("X-Forwarded-For") == "127.0.0.1"


async def test_each_request_of_a_trusted_connection_has_its_own_client() -> None:
    async with shielded(forwarding=XFF) as (shield, origin), await shield.client() as client:
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
            await client.ask(get("/", f"X-Forwarded-For: {address}"))
        assert [r.client.address for r in shield.engine.decided] == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]
        assert [r.get("X-Forwarded-For") for r in origin.requests] == [
            "192.0.2.1, 127.0.0.1",
            "192.0.2.2, 127.0.0.1",
            "192.0.2.1, 127.0.0.1",
        ]


async def test_scheme_host_and_request_id_of_a_trusted_proxy_are_passed_on() -> None:
    async with shielded(forwarding=XFF) as (shield, origin), await shield.client() as client:
        await client.ask(
            get(
                "/",
                "X-Forwarded-For: 192.0.2.1",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Host: shop.example",
                "X-Request-Id: from-the-edge",
            )
        )
        request = origin.requests[0]
        assert request.get("X-Forwarded-Proto") == "https"
        assert request.get("X-Forwarded-Host") == "shop.example"
        assert request.get("X-Request-Id") == "from-the-edge"
        told = "proto=https;host=shop.example"
        assert request.get("Forwarded") == f"for=192.0.2.1;{told}, for=127.0.0.1;{told}"


async def test_a_field_repeated_behind_the_clients_own_is_the_proxys() -> None:
    """A proxy that adds a line of its own leaves the client's in front."""
    async with shielded(forwarding=XFF) as (shield, origin), await shield.client() as client:
        await client.ask(
            get(
                "/",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: evil",
                "X-Forwarded-Host: good",
            )
        )
        assert origin.requests[0].get("X-Forwarded-Proto") == "http"
        assert origin.requests[0].get("X-Forwarded-Host") == "good"


@pytest.mark.parametrize("forwarding", [XFF, FORWARDED, NONE], ids=["x-forwarded-for", "forwarded", "none"])
async def test_the_field_that_was_not_chosen_is_not_passed_on(forwarding: Forwarding) -> None:
    """The proxy in front may have let it through as the client wrote it, and the upstream would believe it of us."""
    async with shielded(forwarding=forwarding) as (shield, origin), await shield.client() as client:
        await client.ask(get("/", "X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.2"))
        request = origin.requests[0]
        chosen = {XFF: "192.0.2.1", FORWARDED: "192.0.2.2"}.get(forwarding)
        for name in ("X-Forwarded-For", "Forwarded"):
            for sent in ("192.0.2.1", "192.0.2.2"):
                assert (sent in request.get(name)) is (sent == chosen)


@pytest.mark.parametrize("bad", ["bad\x7fid", "x" * 129, "a b", '"q"', ""])
async def test_a_malformed_request_id_is_replaced(bad: str) -> None:
    async with shielded(forwarding=XFF) as (shield, origin), await shield.client() as client:
        response = await client.ask(get("/", f"X-Request-Id: {bad}"))
        if response.status == 200:
            assert origin.requests[0].get("X-Request-Id") == "id-1"
        else:
            assert response.status == 400


async def test_mistakes_of_a_trusted_proxys_client_are_not_charged_to_the_proxy() -> None:
    async with shielded(forwarding=XFF) as (shield, _), await shield.client() as client:
        assert (await client.ask(get("/", "X-Forwarded-For: 192.0.2.1", host="a b"))).status == 400
        assert shield.engine.signals == []


@pytest.mark.parametrize("pump", ['\\"', '"', ",", ";", '",', '";', 'for="', "for=a;", "\\", " ", "a", '"a" '])
def test_reading_takes_time_of_the_length_only(pump: str) -> None:
    """Found by looking for it: 30 KB of escaped quotes took 18 s. With these this would take an hour."""
    for begin in ("", '"', 'for="'):
        assert len(parse_forwarded(begin + pump * (200_000 // len(pump)))) <= MAX_HOPS
