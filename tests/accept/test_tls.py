"""Certificates: which one is shown, when it is read anew, with what settings; HTTP over TLS through the data path."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import re
import shutil
import socket
import ssl
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from shield.accept import certificates as module
from shield.accept import contexts
from shield.accept.certificate_files import CertificateSettings
from shield.accept.certificates import CHECK_SECONDS, TICKET_KEY_SECONDS, Certificates
from shield.accept.contexts import Credentials
from shield.accept.tls import TlsSettings, hsts_field
from shield.client.watch import TimeoutSettings
from shield.errors import StartError
from shield.http.forwarded import Forwarding
from shield.http.settings import HttpSettings
from shield.wire.certificate import key_kind, names
from shield.wire.client_hello import SECP256R1, SECP384R1, X25519, X25519MLKEM768, Hello
from tests.harness import (
    CHALLENGED,
    LIMITED,
    QUEUED,
    SHED,
    Link,
    Received,
    Shield,
    get,
    post,
    reply,
    shielded,
    soon,
)

DAY = 86_400.0
HELLO = Hello(0x0304, (0x1301,), (0,), (), (), "", (X25519,), (X25519,))


class Authority:
    """Issues certificates into files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)
        self.context = ssl.create_default_context(cafile=str(self.file))

    def issue(self, file: str, *names: str, kind: trustme.KeyType = trustme.KeyType.ECDSA) -> CertificateSettings:
        issued = self._authority.issue_cert(*names, key_type=kind)
        chain, key = self._folder / f"{file}.pem", self._folder / f"{file}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        return CertificateSettings(str(chain), str(key))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Events(list[tuple[str, dict[str, Any]]]):
    def __call__(self, event: str, **fields: Any) -> None:
        self.append((event, fields))


def shown(certificates: Certificates, name: str) -> str:
    """The names in the certificate for a client that asks for `name`."""
    server = certificates.choose(HELLO._replace(server_name=name))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    from_client, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, from_client, server_hostname=name or None)
    theirs = server.wrap_bio(from_client, to_client, server_side=True)
    for side in (ours, theirs):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    ours.do_handshake()
    der = ours.getpeercert(binary_form=True)
    assert der is not None
    return " ".join(names(der))


# choosing


def test_the_certificate_for_the_name(authority: Authority) -> None:
    certificates = Certificates(
        (
            authority.issue("a", "a.example", "192.0.2.1"),
            authority.issue("b", "b.example", "*.b.example"),
            authority.issue("exact", "c.b.example", "a.example"),
        ),
        Events(),
    )
    first, wild, exact = "a.example 192.0.2.1", "b.example *.b.example", "c.b.example a.example"
    assert shown(certificates, "a.example") == first, "of two for one name the first"
    assert shown(certificates, "b.example") == wild
    assert shown(certificates, "x.b.example") == wild
    assert shown(certificates, "c.b.example") == exact, "rather than the wildcard"
    for stranger in ("", "x.y.b.example", "example", "other.example", "localhost"):
        assert shown(certificates, stranger) == first, "the first for all others"
    for name, covered in (
        ("a.example", True),
        ("192.0.2.1", True),
        ("x.b.example", True),
        ("x.y.b.example", False),
        ("evil.example", False),
        ("", False),
    ):
        assert certificates.covers(name) is covered


@pytest.mark.parametrize(
    ("shares", "groups", "expected"),
    [
        ((X25519,), (X25519, SECP256R1), X25519),
        ((SECP256R1,), (X25519, SECP256R1), SECP256R1),  # its key has come already
        ((SECP384R1, SECP256R1), (SECP384R1, SECP256R1), SECP256R1),
        ((), (SECP384R1, 0x0019), SECP384R1),
        ((), (), SECP256R1),  # RFC 8422 section 4
        ((0x0104,), (0x0104, X25519), X25519),  # ffdhe8192: asked for another key
        ((0x0019, 0x001E), (0x0019, 0x001E, SECP256R1), SECP256R1),
    ],
)
def test_the_group_of_the_key_exchange(
    authority: Authority, shares: tuple[int, ...], groups: tuple[int, ...], expected: int
) -> None:
    one = authority.issue("group", "a.example")
    shown = Credentials([one])
    assert shown.context(HELLO._replace(shares=shares, groups=groups)) is shown.contexts[expected]


@pytest.mark.parametrize(
    ("changes", "alert"),
    [
        ({}, 0),
        ({"version": 0x0303, "ciphers": (0xC02F,), "groups": (), "shares": ()}, 0),
        ({"version": 0x0302}, contexts.PROTOCOL_VERSION),
        ({"version": 0}, contexts.PROTOCOL_VERSION),
        ({"version": 0x0303, "ciphers": (0xC02F, 0x5600)}, contexts.INAPPROPRIATE_FALLBACK),  # RFC 7507
        ({"ciphers": (0x1301, 0x5600)}, 0),
        ({"ciphers": (0x002F, 0x009E)}, contexts.HANDSHAKE_FAILURE),
        ({"groups": (0x0100, 0x0104), "shares": (0x0104,)}, contexts.HANDSHAKE_FAILURE),  # ffdhe8192
        ({"protocols": (b"h2", b"http/1.1")}, 0),
        ({"protocols": (b"http/1.0",)}, 0),
        ({"protocols": (b"h2",)}, contexts.NO_APPLICATION_PROTOCOL),  # RFC 7301 section 3.2
    ],
)
def test_who_cannot_be_served_is_told_why(changes: dict[str, Any], alert: int) -> None:
    assert contexts.objection(HELLO._replace(**changes)) == alert


def test_a_post_quantum_key_is_taken_where_openssl_can(authority: Authority) -> None:
    one = authority.issue("quantum", "a.example")
    shown = Credentials([one])
    hello = HELLO._replace(shares=(X25519MLKEM768, X25519), groups=(X25519MLKEM768, X25519))
    expected = X25519MLKEM768 if ssl.OPENSSL_VERSION_INFO >= (3, 5) else X25519
    assert shown.context(hello) is shown.contexts[expected]


# settings


def test_mozillas_intermediate_settings(authority: Authority) -> None:
    one = authority.issue("settings", "a.example")
    for context in Credentials([one]).contexts.values():
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.options & ssl.OP_NO_COMPRESSION
        assert not context.options & ssl.OP_NO_TICKET
        assert {cipher["name"] for cipher in context.get_ciphers()} == {
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-CHACHA20-POLY1305",
        }


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ("ECDHE+CHACHA20:ECDHE+AESGCM", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("ECDHE+AESGCM:ECDHE+CHACHA20", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ],
)
def test_the_order_is_ours_but_for_clients_without_aes_in_hardware(authority: Authority, wanted: str, got: str) -> None:
    one = authority.issue("order", "a.example")
    server = Credentials([one]).context(HELLO)
    client = ssl.create_default_context(cafile=str(authority.file))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(wanted)
    from_client, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, from_client, server_hostname="a.example")
    theirs = server.wrap_bio(from_client, to_client, server_side=True)
    for side in (ours, theirs, ours):
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
    theirs.do_handshake()
    cipher = theirs.cipher()
    assert cipher is not None
    assert cipher[0] == got


def test_hsts() -> None:
    line = b"Strict-Transport-Security: max-age=63072000"
    settings = TlsSettings(hsts=63072000)
    assert hsts_field(TlsSettings(hsts_preload=True)) == b""
    assert hsts_field(settings) == line + b"\r\n"
    assert hsts_field(replace(settings, hsts_subdomains=True)) == line + b"; includeSubDomains\r\n"
    both = replace(settings, hsts_subdomains=True, hsts_preload=True)
    assert hsts_field(both) == line + b"; includeSubDomains; preload\r\n"


# files


def test_a_certificate_that_is_missing_or_wrong_is_a_clear_error(tmp_path: Path, authority: Authority) -> None:
    good = authority.issue("good", "a.example")
    (tmp_path / "empty.pem").write_text("")

    def start(chain: str, key: str) -> None:
        Certificates((good, CertificateSettings(chain, key)), Events())

    with pytest.raises(StartError, match=r"cannot load the certificate .*none\.pem: No such file"):
        start(str(tmp_path / "none.pem"), "")
    with pytest.raises(StartError, match=r"cannot load the certificate .*empty\.pem"):
        start(str(tmp_path / "empty.pem"), "")
    with pytest.raises(StartError, match="cannot load the certificate"):
        start(good.chain, str(tmp_path / "none.pem"))
    with pytest.raises(StartError, match="key values mismatch"):
        start(good.chain, authority.issue("other", "a.example").key)


def test_files_that_change_are_read_again(tmp_path: Path, authority: Authority) -> None:
    old, new = authority.issue("old", "old.example"), authority.issue("new", "new.example")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    shutil.copy(old.chain, chain)
    shutil.copy(old.key, key)
    events = Events()
    certificates = Certificates((CertificateSettings(str(chain), str(key)),), events)
    assert shown(certificates, "new.example") == "old.example"
    certificates.check(0.0)
    assert events == [], "nothing has changed"

    shutil.copy(new.chain, tmp_path / "staged")
    os.replace(tmp_path / "staged", chain)  # noqa: PTH105 - as those who replace files in one step
    certificates.check(1.0)
    assert events == [], "too early to look"
    certificates.check(CHECK_SECONDS)
    assert shown(certificates, "new.example") == "old.example", "the key is still that of the old one"
    ((event, fields),) = events
    assert event == "certificate_not_loaded"
    assert fields["error"] == "key values mismatch"
    certificates.check(2 * CHECK_SECONDS)
    assert len(events) == 1, "said once"

    shutil.copy(new.key, key)
    certificates.check(3 * CHECK_SECONDS)
    assert shown(certificates, "old.example") == "new.example"
    assert events[1] == ("certificate_loaded", {"chain": str(chain), "names": ["new.example"]})
    assert certificates.covers("new.example")
    assert not certificates.covers("old.example")

    key.unlink()
    certificates.check(4 * CHECK_SECONDS)
    assert events[2][0] == "certificate_not_loaded"
    assert shown(certificates, "") == "new.example"


def test_it_is_said_at_once_and_each_day_that_a_certificate_ends(tmp_path: Path) -> None:
    begin = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    folder = Authority(tmp_path)
    chain = tmp_path / "site.pem"
    issued = folder._authority.issue_cert("a.example", not_before=begin, not_after=begin + dt.timedelta(days=90))
    issued.private_key_and_cert_chain_pem.write_to_path(chain)
    wall = begin.timestamp() + 77 * DAY
    events = Events()
    certificates = Certificates((CertificateSettings(str(chain)),), events, lambda: wall)
    for turn in range(3):
        certificates.check(turn * CHECK_SECONDS)
    trouble = {"chain": str(chain), "names": ["a.example"], "trouble": "ends in 13 days (2030-04-01): renew it"}
    assert events == [("certificate_ends", trouble)]
    assert certificates.ends() == {str(chain): (13 * DAY, 90 * DAY)}
    wall += DAY
    certificates.check(3 * CHECK_SECONDS)
    assert len(events) == 2
    issued = folder._authority.issue_cert("a.example", not_before=begin, not_after=begin + dt.timedelta(days=180))
    issued.private_key_and_cert_chain_pem.write_to_path(chain)
    certificates.check(4 * CHECK_SECONDS)
    wall += DAY
    certificates.check(5 * CHECK_SECONDS)
    assert [event for event, _ in events[2:]] == ["certificate_loaded"]


def test_links_are_followed(tmp_path: Path, authority: Authority) -> None:
    """certbot's files are links, and so are those that Kubernetes mounts."""
    both = {}
    for name in ("one", "two"):
        issued = authority.issue(name, f"{name}.example")
        both[name] = tmp_path / f"{name}-both.pem"
        both[name].write_bytes(Path(issued.chain).read_bytes() + Path(issued.key).read_bytes())
    link = tmp_path / "live.pem"
    link.symlink_to(both["one"])
    events = Events()
    certificates = Certificates((CertificateSettings(str(link)),), events)
    link.unlink()
    link.symlink_to(both["two"])
    certificates.check(0.0)
    assert [event for event, _ in events] == ["certificate_loaded"]
    assert shown(certificates, "") == "two.example"


# several kinds of keys

RSA, ECDSA = trustme.KeyType.RSA, trustme.KeyType.ECDSA

CLIENT = """
import socket, ssl, sys
port, authority, name, version = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
with context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), 10), server_hostname=name) as sock:
    print(sock.getpeercert(binary_form=True).hex())
"""
"""The ssl module cannot say which signatures a client takes; OpenSSL's own config can, for a whole process."""


async def kind_shown(port: int, authority: Authority, tmp_path: Path, name: str, version: str, signatures: str) -> str:
    """Of the certificate for a client that takes no other signatures."""
    config = tmp_path / "openssl.cnf"
    config.write_text(
        "openssl_conf = one\n[one]\nssl_conf = two\n[two]\nsystem_default = three\n"
        f"[three]\nSignatureAlgorithms = {signatures}\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, str(port), str(authority.file), name, version,
        env={**os.environ, "OPENSSL_CONF": str(config)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complaint = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, complaint.decode()
    return key_kind(bytes.fromhex(said.decode()))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_each_client_is_shown_a_certificate_that_it_can_verify(
    authority: Authority, tmp_path: Path, version: str
) -> None:
    """One name with two certificates, as many sites have for old clients: real handshakes."""
    settings = TlsSettings(
        (
            authority.issue("two-rsa", "a.example", "www.a.example", kind=RSA),
            authority.issue("two-ecdsa", "a.example", kind=ECDSA),
        )
    )
    async with shielded(tls=settings) as (shield, _):
        for name, signatures, kind in (
            ("a.example", "RSA-PSS+SHA256:RSA+SHA256", "RSA"),
            ("a.example", "ECDSA+SHA256", "ECDSA"),
            ("a.example", "RSA-PSS+SHA256:ECDSA+SHA256", "ECDSA"),  # the cheaper one, whoever lists it last
            ("www.a.example", "RSA-PSS+SHA256:ECDSA+SHA256", "RSA"),
        ):
            assert await kind_shown(shield.port, authority, tmp_path, name, version, signatures) == kind
        assert shield.metrics.handshakes == {"completed": 4}


def kinds(certificates: Certificates, name: str) -> tuple[str, ...]:
    return (certificates._find(name) or certificates._first).kinds


def test_of_each_kind_of_key_the_first_is_shown(authority: Authority) -> None:
    certificates = Certificates(
        (
            authority.issue("k0", "a.example", "b.example", kind=RSA),
            authority.issue("k1", "*.c.example", kind=ECDSA),
            authority.issue("k2", "b.example", "c.example", kind=ECDSA),
            authority.issue("k3", "b.example", "d.example", kind=ECDSA),
        ),
        Events(),
    )
    assert kinds(certificates, "a.example") == ("RSA",)
    assert kinds(certificates, "b.example") == ("RSA", "ECDSA")
    assert shown(certificates, "b.example") == "b.example c.example"
    assert shown(certificates, "d.example") == "b.example d.example"
    assert kinds(certificates, "x.c.example") == ("ECDSA",)
    assert kinds(certificates, "other.example") == ("RSA",), "those of the first certificate's first name"


def test_a_certificate_that_changes_its_kind_of_key_leaves_nothing_of_the_old_one(authority: Authority) -> None:
    """ECDSA was put beside the RSA certificate that it was to replace, which was shown on."""
    settings = (authority.issue("m0", "a.example", kind=RSA), authority.issue("m1", "a.example", kind=ECDSA))
    events = Events()
    certificates = Certificates(settings, events)
    authority.issue("m0", "a.example", "new.example", kind=ECDSA)
    certificates.check(0.0)
    assert [event for event, _ in events] == ["certificate_loaded"]
    assert kinds(certificates, "a.example") == ("ECDSA",)
    assert shown(certificates, "a.example") == "a.example new.example"
    authority.issue("m0", "new.example", kind=RSA)
    certificates.check(CHECK_SECONDS)
    assert (kinds(certificates, "new.example"), kinds(certificates, "a.example")) == (("RSA",), ("ECDSA",))
    assert shown(certificates, "a.example") == "a.example"


def test_one_of_two_that_cannot_be_read_keeps_nobody_from_the_other(authority: Authority) -> None:
    settings = (authority.issue("n0", "a.example", kind=RSA), authority.issue("n1", "a.example", kind=ECDSA))
    events = Events()
    certificates = Certificates(settings, events)
    Path(settings[0].chain).write_text("half of it")
    certificates.check(0.0)
    authority.issue("n1", "a.example", "new.example", kind=ECDSA)
    certificates.check(CHECK_SECONDS)
    # The new name has the new certificate alone; for the old one it is put beside the RSA certificate that was read.
    assert [event for event, _ in events] == ["certificate_not_loaded", "certificate_loaded"]
    assert kinds(certificates, "a.example") == ("RSA", "ECDSA")
    assert shown(certificates, "a.example") == shown(certificates, "new.example") == "a.example new.example"


@pytest.mark.parametrize("which", ["chain", "key"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(authority: Authority, which: str) -> None:
    settings = (authority.issue(f"pipe-{which}", "a.example"),)
    events = Events()
    certificates = Certificates(settings, events)
    path = Path(getattr(settings[0], which))
    path.unlink()
    os.mkfifo(path)
    certificates.check(0.0)
    assert [(event, fields["error"]) for event, fields in events] == [("certificate_not_loaded", "not a regular file")]
    assert shown(certificates, "") == "a.example"


def test_what_cannot_be_shown_yet_is_tried_again(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was replaced between two looks at it."""
    settings = (authority.issue("o0", "a.example"),)
    events = Events()
    certificates = Certificates(settings, events)
    authority.issue("o0", "new.example")

    def fail(self: Credentials, one: CertificateSettings) -> None:
        raise ssl.SSLError("half of it")

    monkeypatch.setattr(contexts.Credentials, "put", fail)
    certificates.check(0.0)
    assert [event for event, _ in events] == ["certificate_not_loaded"]
    assert shown(certificates, "") == "a.example"
    monkeypatch.undo()
    certificates.check(CHECK_SECONDS)
    assert [event for event, _ in events] == ["certificate_not_loaded", "certificate_loaded"]
    assert shown(certificates, "") == "new.example"


# tickets


async def visit(shield: Shield, authority: Authority, version: str, session: Any = None) -> tuple[bool, Any]:
    """One request: whether the session was resumed, and the session that the next one may resume."""

    def ask() -> tuple[bool, Any]:
        context = authority.context
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", shield.port), 10), server_hostname="a.example", session=session
        ) as sock:
            sock.sendall(get())
            sock.recv(65536)  # and the tickets before it
            return sock.session_reused, sock.session

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_sessions_outlive_a_reload_and_not_the_keys_of_a_day(tmp_path: Path, version: str) -> None:
    authority = Authority(tmp_path)
    settings = TlsSettings(
        (authority.issue("t0", "a.example", kind=RSA), authority.issue("t1", "a.example", kind=ECDSA))
    )
    async with shielded(tls=settings) as (shield, _):
        certificates = shield.certificates
        certificates.check(0.0)
        _, session = await visit(shield, authority, version)
        authority.issue("t1", "a.example", "new.example", kind=ECDSA)
        certificates.check(CHECK_SECONDS)
        assert shown(certificates, "a.example") == "a.example new.example"
        resumed, session = await visit(shield, authority, version, session)
        assert resumed
        certificates.check(2 * CHECK_SECONDS)
        resumed, session = await visit(shield, authority, version, session)
        assert resumed, "nothing has changed"
        certificates.check(TICKET_KEY_SECONDS)
        resumed, session = await visit(shield, authority, version, session)
        assert not resumed
        assert shown(certificates, "a.example") == "a.example new.example"
        resumed, session = await visit(shield, authority, version, session)
        assert resumed, "with the new keys"


def test_ticket_keys_are_changed_one_context_after_the_other(authority: Authority) -> None:
    settings = (authority.issue("u0", "a.example"), authority.issue("u1", "b.example"))
    events = Events()
    certificates = Certificates(settings, events)
    before = [certificates._find(name).contexts for name in ("a.example", "b.example")]  # type: ignore[union-attr]

    def fresh() -> list[bool]:
        names = ("a.example", "b.example")
        return [certificates._find(name).contexts is not old for name, old in zip(names, before, strict=True)]  # type: ignore[union-attr]

    certificates.check(0.0)
    certificates.check(TICKET_KEY_SECONDS - 1)
    assert fresh() == [False, False]
    certificates.check(TICKET_KEY_SECONDS + CHECK_SECONDS)
    assert fresh() == [True, False]
    certificates.check(TICKET_KEY_SECONDS + 2 * CHECK_SECONDS)
    assert fresh() == [True, True]
    assert events == []
    Path(settings[0].chain).unlink()
    certificates.check(TICKET_KEY_SECONDS + 3 * CHECK_SECONDS)
    old = certificates._first.contexts
    certificates.check(3 * TICKET_KEY_SECONDS)
    assert certificates._first.contexts is old, "better old keys than none"
    assert [fields["chain"] for _, fields in events] == [settings[0].chain] * 2


def test_sessions_of_clients_that_take_no_tickets_are_bounded_in_all(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL kept 20,480 for each context, 21 MB: 65 MB for each certificate."""
    monkeypatch.setattr(module, "MOST_SESSIONS", 3)
    certificates = Certificates((authority.issue("s0", "a.example"), authority.issue("s1", "b.example")), Events())
    client = ssl.create_default_context(cafile=str(authority.file))
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.options |= ssl.OP_NO_TICKET

    def connect(name: str) -> None:
        from_client, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = client.wrap_bio(to_client, from_client, server_hostname=name)
        theirs = certificates.choose(HELLO._replace(server_name=name)).wrap_bio(
            from_client, to_client, server_side=True
        )
        for side in (ours, theirs, ours, theirs, ours):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
        for side in (ours, theirs, ours):  # one that is cut is forgotten at once
            with contextlib.suppress(ssl.SSLError):
                side.unwrap()

    def remembered() -> list[int]:
        return [certificates._find(name).sessions() for name in ("a.example", "b.example")]  # type: ignore[union-attr]

    for name in ("a.example", "b.example", "b.example"):
        connect(name)
    certificates.check(0.0)
    assert remembered() == [1, 2]
    connect("b.example")
    certificates.check(CHECK_SECONDS)
    assert remembered() == [1, 0]


# HTTP over it


def settings_for(tls: Any, **options: Any) -> TlsSettings:
    return TlsSettings((CertificateSettings(str(tls.certificate), str(tls.key)),), **options)


async def over_tls(
    shield: Shield, tls: Any, protocols: tuple[str, ...] = ("http/1.1",)
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cafile=str(tls.authority))
    if protocols:
        context.set_alpn_protocols(protocols)
    return await asyncio.open_connection("127.0.0.1", shield.port, ssl=context, server_hostname="localhost")


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


async def test_clients_over_tls(tls: Any) -> None:
    big = b"x" * 2_000_000
    async with shielded({"/big": reply(big)}, tls=settings_for(tls)) as (shield, origin):
        reader, writer = await over_tls(shield, tls)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.write(get("/1") + post("/2", b"y" * 200_000) + get("/big"))
        for body in (b"GET /1", b"POST /2", big):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert b"Strict-Transport-Security" not in head
            assert await reader.readexactly(len(body)) == body
        assert [r.get("X-Forwarded-Proto") for r in origin.requests] == ["https"] * 3
        assert origin.requests[0].get("Forwarded") == "for=127.0.0.1;proto=https;host=a.example"
        assert shield.metrics.handshakes == {"completed": 1}
        await close(writer)


async def test_the_program_is_part_of_who_a_client_is(tls: Any) -> None:
    async with shielded(tls=settings_for(tls), http=HttpSettings(h2=False)) as (shield, _):
        for protocols in (("h2", "http/1.1"), ("http/1.1",), ()):
            reader, writer = await over_tls(shield, tls, protocols)
            writer.write(get("/"))
            await reader.readuntil(b"\r\n\r\n")
            await close(writer)
        (program,) = set(shield.engine.programs)
        assert program.startswith("t13d")
        assert len(program) == 36


async def test_the_log_names_the_program_as_others_do(tls: Any) -> None:
    """JA4 as it is published, with ALPN, for requests, refusals and faults; and none without TLS."""
    async with shielded(tls=settings_for(tls)) as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED, "/prove": CHALLENGED, "/late": QUEUED}
        for path in ("/", "/no", "/prove", "/late", "bad"):
            reader, writer = await over_tls(shield, tls)
            writer.write(get(path))
            if path == "/late":
                await soon(lambda: shield.engine.queued)
                shield.forwarder.resume([shield.engine.let_in(SHED)], shield.clock())
            await reader.readuntil(b"\r\n\r\n")
            await close(writer)
        names = shield.log.programs
        assert len(names) == 5
        (name,) = set(names)
        assert re.fullmatch(r"t13d\d{4}h1_[0-9a-f]{12}_[0-9a-f]{12}", name)
        (habit,) = set(shield.engine.programs)
        assert habit[:6] == name[:6]
        assert habit.split("_")[1] == name.split("_")[1], "the suites are the same, less ALPN and what comes and goes"
    async with shielded() as (shield, _), await shield.client() as client:
        shield.engine.verdicts = {"/no": LIMITED}
        await client.ask(get("/"))
        await client.ask(get("/no"))
        assert set(shield.log.programs) == {""}


async def test_a_trusted_proxys_program_is_nobodys(tls: Any) -> None:
    trusting = Forwarding(("127.0.0.1",), "x-forwarded-for")
    async with shielded(tls=settings_for(tls), forwarding=trusting) as (shield, _):
        reader, writer = await over_tls(shield, tls)
        writer.write(get("/", "X-Forwarded-For: 192.0.2.1"))
        await reader.readuntil(b"\r\n\r\n")
        await close(writer)
        assert shield.log.programs == [""]
        assert shield.engine.programs == [""]


async def test_an_early_error_over_tls_is_read_by_a_client_that_goes_on_sending(tls: Any) -> None:
    async with shielded(tls=settings_for(tls), timeouts=TimeoutSettings()) as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        reader, writer = await over_tls(shield, tls)
        writer.write(post("/no", b"x" * 900_000))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429")
        await writer.drain()
        shield.advance(3)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await reader.read()
        await close(writer)


async def test_a_response_that_breaks_off_is_cut_over_tls_too(tls: Any) -> None:
    async def handle(link: Link, request: Received) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\n\r\npart of it")
        link.reset()

    async with shielded(None, handle, tls=settings_for(tls)) as (shield, _):
        reader, writer = await over_tls(shield, tls)
        writer.write(get(version="1.0"))
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await reader.read()
        assert shield.metrics.faults["upstream_closed"] == 1
        await close(writer)
        await soon(lambda: shield.metrics.connections_open == 0)


HSTS = b"Strict-Transport-Security: max-age=3600; includeSubDomains\r\n"


async def test_hsts_is_said_with_every_answer_over_tls(tls: Any) -> None:
    theirs = reply(b"ok", "Strict-Transport-Security: max-age=1", "X-Other: 2")
    settings = settings_for(tls, hsts=3600, hsts_subdomains=True)
    async with shielded({"/theirs": theirs}, tls=settings) as (shield, _):
        shield.engine.verdicts = {"/no": LIMITED}
        for request, status in (
            (get("/"), b"200"),
            (get("/theirs"), b"200"),
            (get("/no"), b"429"),
            (get("/.well-known/shield/none"), b"404"),
            (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        ):
            reader, writer = await over_tls(shield, tls)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 " + status)
            assert head.count(b"Strict-Transport-Security") == 1, "one, or browsers may take the wrong one"
            assert HSTS in head
            await close(writer)


async def test_hsts_is_never_said_over_plain_http(tls: Any) -> None:
    """RFC 6797 section 7.2. The service's own field passes: it may know of a proxy in front."""
    async with shielded(tls=TlsSettings(hsts=3600)) as (shield, _), await shield.client() as client:
        shield.engine.verdicts = {"/no": LIMITED}
        assert (await client.ask(get("/"))).get("Strict-Transport-Security") is None
        assert (await client.ask(get("/no"))).get("Strict-Transport-Security") is None
