"""Signatures of bots. The vectors are those of draft-meunier-web-bot-auth-architecture, made with RFC 9421's key."""

from __future__ import annotations

import base64
import datetime as dt
import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from shield.http.fields import Fields
from shield.lookup import web_bot_auth
from shield.lookup.bot_keys import BotKey, BotKeys, thumbprint
from shield.lookup.web_bot_auth import VERIFY_BURST, WebBotAuth
from shield.policy.request import Request

library = pytest.importorskip("http_message_signatures")
ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")

PRIVATE = ed25519.Ed25519PrivateKey.from_private_bytes(
    base64.urlsafe_b64decode("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU=")
)
PUBLIC = PRIVATE.public_key().public_bytes_raw()
ID = thumbprint(PUBLIC)
OTHER = ed25519.Ed25519PrivateKey.generate()
NOW, WALL = 1000.0, 1_800_000_000.0
KEYS = BotKeys("/nowhere")
KEYS.keys = {ID: BotKey("examplebot", PUBLIC)}

VECTORS = [  # label, components, nonce, signature, Signature-Agent
    (
        "sig1",
        '("@authority")',
        "zIW8+cdmA3vdYagbxojpONwa/l0EKJ/O3/wD486VvsQjO/RxPaSt6ZxvQaMcQzNnqKN/mQ6hpGiFro2L2qkz5A==",
        "QKN4fTdIYfh82fvoZCQiQA1weuozfCS/Led2zTMbewMMqH8PI2Wsy/5c4ao6B6D09nraNQdBNOADg8aM1MqfCg==",
        "",
    ),
    (
        "sig2",
        '("@authority" "signature-agent";key="agent2")',
        "n9p433xm+NJ3ph3upfBIGmsuwHw387YV7Q/F+6BSpGCVjYCqQw6rznNA8PVVLySrAWsv0hQtFioQb6E1YsauiA==",
        "RdNFx5Bj6au3YgAMQL/RzmUlZE8QZLIaXGRpw985hWnwPfMxT228NMk6ehRS1PSl4e8PhbNZACSanGdhEwYCCg==",
        'agent2="https://signature-agent.test"',
    ),
]


def request_of(
    fields: dict[str, str], path: str = "/path/to/resource", method: str = "GET", address: str = "192.0.2.1"
) -> Request:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    headers = Fields("\r\n".join(lines).encode("latin-1"))
    client: Any = SimpleNamespace(address=address)
    return Request(client, method, path, headers, None, False, None)


def bots(wall: float = WALL) -> WebBotAuth:
    return WebBotAuth(KEYS, wall - NOW)


NONCES = itertools.count()


def signed(
    *,
    host: str = "example.com",
    path: str = "/a",
    method: str = "GET",
    key: Any = PRIVATE,
    key_id: str = ID,
    tag: str = "web-bot-auth",
    covers: tuple[str, ...] = ("@authority",),
    created: float = WALL - 10,
    expires: float | None = WALL + 300,
    nonce: str | None = None,
    more: dict[str, str] | None = None,
) -> dict[str, str]:
    """The fields of a request that is signed for a host, by the library's other half."""
    message = SimpleNamespace(method=method, url=f"https://{host}{path}", headers={"Host": host, **(more or {})})
    signer = library.HTTPMessageSigner(
        signature_algorithm=library.algorithms.ED25519,
        key_resolver=library.MappingKeyResolver(public_keys={}, private_keys={key_id: key}),
    )

    def at(when: float) -> dt.datetime:
        return dt.datetime.fromtimestamp(when, dt.UTC)

    signer.sign(
        message,
        key_id=key_id,
        created=at(created),
        expires=None if expires is None else at(expires),
        nonce=nonce,
        tag=tag,
        covered_component_ids=covers,
    )
    return dict(message.headers)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector[0])
def test_the_vectors_of_the_draft_hold_for_their_host_only(vector: Any, monkeypatch: Any) -> None:
    label, covers, nonce, signature, agent = vector
    says = f'{label}={covers};created=1735689600;keyid="{ID}";alg="ed25519";expires=4889289600;nonce="{nonce}"'
    fields = {
        "Host": "example.com",
        "Signature-Input": f'{says};tag="web-bot-auth"',
        "Signature": f"{label}=:{signature}:",
    }
    if agent:
        fields["Signature-Agent"] = agent
    assert bots()(request_of(fields), NOW) == "", "it holds for a century: longer than any may"
    monkeypatch.setattr(web_bot_auth, "LONGEST", 1e10)
    verify = bots()
    assert verify(request_of(fields), NOW) == "examplebot"
    assert verify(request_of(fields), NOW) == "", "its nonce was used"
    assert bots()(request_of({**fields, "Host": "example.org"}), NOW) == ""
    if agent:
        assert bots()(request_of({**fields, "Signature-Agent": 'agent2="https://other.test"'}), NOW) == ""


def test_a_signature_without_a_nonce_is_verified_once_for_all_that_it_covers(monkeypatch: Any) -> None:
    verify = bots()
    fields = signed()
    assert verify(request_of(fields, "/a"), NOW) == "examplebot"
    monkeypatch.setattr(WebBotAuth, "_verify", None)
    assert verify(request_of(fields, "/a"), NOW + 1) == "examplebot"
    assert verify(request_of(fields, "/a"), NOW + 301) == ""
    assert verify(request_of({**fields, "Host": "other.example"}, "/a"), NOW) == "", "not from memory"
    assert (verify.counts["examplebot"].claims, verify.counts["examplebot"].confirmed) == (3, 2)


@pytest.mark.parametrize(
    ("fields", "path", "method"),
    [
        (signed(covers=("@authority", "@method", "@path")), "/a", "GET"),
        (signed(covers=("@authority", "signature-agent"), more={"Signature-Agent": '"https://a.test"'}), "/any", "GET"),
        (signed(covers=("@authority", "user-agent"), more={"User-Agent": "Examplebot/1.0"}), "/any", "POST"),
        (signed(host="example.com:8443"), "/a", "GET"),
        (signed(created=WALL + 50), "/a", "GET"),
    ],
)
def test_what_else_may_be_covered(fields: dict[str, str], path: str, method: str) -> None:
    assert bots()(request_of(fields, path, method), NOW) == "examplebot"


GOOD = signed()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param(signed(expires=WALL - 1), "/a", id="expired"),
        pytest.param(signed(expires=None), "/a", id="without an end"),
        pytest.param(signed(expires=WALL + 90_000), "/a", id="holds too long"),
        pytest.param(signed(created=WALL + 120), "/a", id="of the future"),
        pytest.param(signed(key=OTHER), "/a", id="another key under this id"),
        pytest.param(
            signed(key=OTHER, key_id=thumbprint(OTHER.public_key().public_bytes_raw())), "/a", id="unknown key"
        ),
        pytest.param(signed(tag="other"), "/a", id="for another purpose"),
        pytest.param({**signed(), "Host": "evil.example"}, "/a", id="another authority"),
        pytest.param(signed(covers=("@authority", "@path")), "/b", id="another path"),
        pytest.param(signed(covers=("@path",)), "/a", id="without the authority"),
        pytest.param(signed(covers=("@authority", "@target-uri")), "/a", id="covers what is not known"),
        pytest.param(signed(covers=("@authority", "@query")), "/a", id="covers the query"),
        pytest.param({**GOOD, "Signature": "pyhms=:AAAA:"}, "/a", id="no signature"),
        pytest.param({**GOOD, "Signature": "nobody=" + GOOD["Signature"].partition("=")[2]}, "/a", id="another label"),
        pytest.param({**GOOD, "Signature-Input": GOOD["Signature-Input"] + ", x"}, "/a", id="another member"),
        pytest.param({**GOOD, "Signature-Input": "web-bot-auth" + "(" * 3000}, "/a", id="no structured field"),
        pytest.param({**GOOD, "Signature-Agent": "x" * 4000}, "/a", id="too long"),
        pytest.param({name: value for name, value in GOOD.items() if name != "Signature"}, "/a", id="half of it"),
        pytest.param({name: value for name, value in GOOD.items() if name != "Host"}, "/a", id="no host"),
        pytest.param({**GOOD, "Host": "a b\x7f"}, "/a", id="a host that is none"),
    ],
)
def test_what_does_not_count_is_nothing(fields: dict[str, str], path: str) -> None:
    verify = bots()
    assert verify(request_of(fields, path), NOW) == ""
    assert not verify._kept
    assert not verify._nonces


def test_a_repeated_field_counts_with_all_of_its_values() -> None:
    """A second Signature-Input, of a client that adds one to what it has seen, does not hold."""
    text = "GET /a HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in GOOD.items())
    twice = Fields((text + f"Signature-Input: {GOOD['Signature-Input']}\r\n\r\n").encode())
    client: Any = SimpleNamespace(address="192.0.2.1")
    assert bots()(Request(client, "GET", "/a", twice, None, False, None), NOW) == ""


def test_a_key_holds_from_its_time_until_its_time(monkeypatch: Any) -> None:
    for since, until, name in ((WALL + 1, 0.0, ""), (WALL - 1, WALL - 0.5, ""), (WALL - 1, WALL + 1, "examplebot")):
        monkeypatch.setattr(KEYS, "keys", {ID: BotKey("examplebot", PUBLIC, since, until)})
        assert bots()(request_of(signed()), NOW) == name


def test_a_nonce_is_taken_once_and_forgotten_with_its_signature(monkeypatch: Any) -> None:
    monkeypatch.setattr(web_bot_auth, "MOST_NONCES", 2)
    verify = bots()
    fields = [signed(nonce=f"n{number}", expires=WALL + 10 * (number + 1)) for number in range(4)]
    assert [verify(request_of(each), NOW) for each in fields[:2]] == ["examplebot"] * 2
    assert [verify(request_of(each), NOW) for each in fields[:2]] == [""] * 2, "replayed"
    assert verify(request_of(fields[2]), NOW) == "", "there is no room to remember it"
    assert verify(request_of(fields[2]), NOW + 11) == "examplebot", "by now there is"


def test_a_bot_of_many_requests_leaves_room_for_the_nonces_of_another(monkeypatch: Any) -> None:
    """When there are as many as may be, all were refused, and each signature had all nonces looked through: 9 ms."""
    monkeypatch.setattr(web_bot_auth, "MOST_NONCES", 4)
    keys = BotKeys("/nowhere")
    other = OTHER.public_key().public_bytes_raw()
    keys.keys = {ID: BotKey("examplebot", PUBLIC), thumbprint(other): BotKey("otherbot", other)}
    verify = WebBotAuth(keys, WALL - NOW)
    many = [verify(request_of(signed(nonce=f"many{number}")), NOW) for number in range(6)]
    assert many == ["examplebot"] * 4 + [""] * 2
    few = [signed(key=OTHER, key_id=thumbprint(other), nonce=f"few{number}") for number in range(4)]
    assert [verify(request_of(each), NOW) for each in few] == ["otherbot"] * 2 + [""] * 2
    assert verify(request_of(few[0]), NOW) == "", "replayed"


def test_nonces_that_have_ended_are_looked_for_once_a_second(monkeypatch: Any) -> None:
    monkeypatch.setattr(web_bot_auth, "MOST_NONCES", 2)
    verify = bots()
    fields = [signed(nonce=f"s{number}", expires=WALL + 11 * (number + 1)) for number in range(4)]
    assert [verify(request_of(each), NOW) for each in fields[:2]] == ["examplebot"] * 2
    assert verify(request_of(fields[2]), NOW + 10.5) == "", "both still hold"
    assert verify(request_of(fields[2]), NOW + 11.2) == "", "one has ended, but nobody has looked"
    assert verify(request_of(fields[2]), NOW + 11.6) == "examplebot"


def test_junk_in_the_name_of_a_bot_does_not_shut_out_the_bot() -> None:
    """A key's id is public. The junk comes from as many addresses as you like, but the bot's has been proven."""
    verify = bots()
    assert verify(request_of(signed(nonce="p"), address="203.0.113.9"), NOW) == "examplebot"
    for number in range(300):
        junk = {**GOOD, "Signature": f"pyhms=:{base64.b64encode(number.to_bytes(64, 'big')).decode()}:"}
        assert verify(request_of(junk, address=f"198.51.100.{number % 250}"), NOW) == ""
    assert verify.counts["examplebot"].put_off > 0
    assert verify(request_of(signed(nonce="a"), address="203.0.113.9"), NOW) == "examplebot"
    assert verify(request_of(signed(nonce="b"), address="203.0.113.10"), NOW) == "", "nobody knows this one yet"


def test_addresses_that_are_proven_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(web_bot_auth, "MOST_PROVEN", 2)
    verify = bots()
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3"):
        assert verify(request_of(signed(nonce=f"{next(NONCES)}"), address=address), NOW) == "examplebot"
    assert [address for _, address in verify._proven] == ["192.0.2.1", "192.0.2.3"]


def test_the_library_gets_all_fields_in_one_look_at_them() -> None:
    """To look for each name in all lines took 1.6 ms for 100 fields, of which the budget knew nothing."""
    looks = 0

    class Counted(Fields):
        def lines(self) -> list[bytes]:
            nonlocal looks
            looks += 1
            return super().lines()

    fields = Counted(b"GET / HTTP/1.1\r\nHost: a\r\nX:  1 \r\nY: a:b\r\nx: 2\r\n\r\n")
    assert web_bot_auth._Lines(fields).items() == [("host", "a"), ("x", "1"), ("y", "a:b"), ("x", "2")]
    assert looks == 1


def test_junk_takes_no_more_than_its_share_of_a_core(monkeypatch: Any) -> None:
    """False signatures in the name of a key that is known, each another one: the library is asked so often and no more.
    After that nobody's are looked at for a moment, and they count as none."""
    verify, asked = bots(), 0

    def count(*_: Any) -> Any:
        nonlocal asked
        asked += 1
        raise ValueError

    monkeypatch.setattr(WebBotAuth, "_verify", count)
    for number in range(1000):
        junk = {**GOOD, "Signature": f"pyhms=:{base64.b64encode(number.to_bytes(64, 'big')).decode()}:"}
        assert verify(request_of(junk), NOW) == ""
    assert VERIFY_BURST - 1 <= asked <= VERIFY_BURST + 1
    counts = verify.counts["examplebot"]
    assert counts.refuted == asked
    assert counts.put_off == 1000 - asked
    assert verify(request_of({**GOOD, "Signature": "pyhms=:AAAA:"}), NOW + 1) == ""
    assert asked == counts.refuted > VERIFY_BURST
