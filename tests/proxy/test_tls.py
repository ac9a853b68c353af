"""Certificates: which one is shown, when it is read anew, with what settings; HTTP over TLS through the data path."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from shield.errors import StartError
from shield.proxy import tls as module
from shield.proxy.client_hello import SECP256R1, SECP384R1, X25519, X25519MLKEM768, Hello
from shield.proxy.edge import TimeoutSettings
from shield.proxy.forwarded import Forwarding
from shield.proxy.tls import CHECK_SECONDS, Certificates, CertificateSettings, TlsSettings, hsts_field
from tests.proxy.harness import (
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

HELLO = Hello(0x0304, (0x1301,), (0,), (), (), "", (X25519,), (X25519,))


class Authority:
    """Issues certificates into files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self.file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(self.file)

    def issue(self, file: str, *names: str) -> CertificateSettings:
        issued = self._authority.issue_cert(*names)
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
    return " ".join(module.names_in_chain(ssl.DER_cert_to_PEM_cert(der)))


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
    loaded = module.load(one.chain, one.key)
    assert loaded.context(HELLO._replace(shares=shares, groups=groups)) is loaded.contexts[expected]


@pytest.mark.parametrize(
    ("changes", "alert"),
    [
        ({}, 0),
        ({"version": 0x0303, "ciphers": (0xC02F,), "groups": (), "shares": ()}, 0),
        ({"version": 0x0302}, module.PROTOCOL_VERSION),
        ({"version": 0}, module.PROTOCOL_VERSION),
        ({"version": 0x0303, "ciphers": (0xC02F, 0x5600)}, module.INAPPROPRIATE_FALLBACK),  # RFC 7507
        ({"ciphers": (0x1301, 0x5600)}, 0),
        ({"ciphers": (0x002F, 0x009E)}, module.HANDSHAKE_FAILURE),
        ({"groups": (0x0100, 0x0104), "shares": (0x0104,)}, module.HANDSHAKE_FAILURE),  # ffdhe8192
        ({"protocols": (b"h2", b"http/1.1")}, 0),
        ({"protocols": (b"http/1.0",)}, 0),
        ({"protocols": (b"h2",)}, module.NO_APPLICATION_PROTOCOL),  # RFC 7301 section 3.2
    ],
)
def test_who_cannot_be_served_is_told_why(changes: dict[str, Any], alert: int) -> None:
    assert module.objection(HELLO._replace(**changes)) == alert


def test_a_post_quantum_key_is_taken_where_openssl_can(authority: Authority) -> None:
    one = authority.issue("quantum", "a.example")
    loaded = module.load(one.chain, one.key)
    hello = HELLO._replace(shares=(X25519MLKEM768, X25519), groups=(X25519MLKEM768, X25519))
    expected = X25519MLKEM768 if ssl.OPENSSL_VERSION_INFO >= (3, 5) else X25519
    assert loaded.context(hello) is loaded.contexts[expected]


# settings


def test_mozillas_intermediate_settings(authority: Authority) -> None:
    one = authority.issue("settings", "a.example")
    for context in module.load(one.chain, one.key).contexts.values():
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
    server = module.load(one.chain, one.key).context(HELLO)
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


# HTTP over it


def settings_for(tls: Any, **options: Any) -> TlsSettings:
    return TlsSettings((CertificateSettings(str(tls.certificate), str(tls.key)),), **options)


async def over_tls(
    shield: Shield, tls: Any, protocols: tuple[str, ...] = ("h2", "http/1.1")
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
        assert origin.requests[0].get("Forwarded") == 'for=127.0.0.1;proto=https;host="a.example"'
        assert shield.metrics.handshakes == {"completed": 1}
        await close(writer)


async def test_the_program_is_part_of_who_a_client_is(tls: Any) -> None:
    async with shielded(tls=settings_for(tls)) as (shield, _):
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
                shield.edge.resume([shield.engine.let_in(SHED)], shield.clock())
            await reader.readuntil(b"\r\n\r\n")
            await close(writer)
        names = shield.log.programs
        assert len(names) == 5
        (name,) = set(names)
        assert re.fullmatch(r"t13d\d{4}h2_[0-9a-f]{12}_[0-9a-f]{12}", name)
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
