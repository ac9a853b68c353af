"""The [tls] table of the config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.accept.certificate_files import CertificateSettings, load, reason
from shield.complaints import Complaint, KeyPath
from shield.files import unreadable
from shield.marks import Unit, Why
from shield.policy.bucket import Rate
from shield.wire.addresses import wrong_tcp_address

YEAR: Final = 31_536_000
"""Seconds. The least `hsts` that browsers' preload lists take (hstspreload.org)."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The [tls] table: certificates, and what a handshake may cost."""

    certificates: Annotated[
        tuple[CertificateSettings, ...],
        Doc(
            "Certificates; with at least one, clients speak TLS. Of several, the one for the name that a "
            "client asks for is shown, else the first. Of two for one name, one with an RSA key and one "
            "with ECDSA, a client gets the one that it can verify. Files that change are read again "
            "within seconds, and open connections are left alone."
        ),
    ] = ()
    handshake_timeout: Annotated[
        float,
        Gt(0),
        Le(300),
        Unit("s"),
        Doc("Time from the connection to the end of the handshake, PROXY protocol included."),
        Why("Chosen", "as `timeouts.header`; nginx allows 60 s"),
    ] = 10.0
    handshakes: Annotated[
        int,
        Ge(1),
        Le(100_000),
        Unit("handshakes"),
        Doc(
            "Handshakes at the same time. Beyond it, one of an address that has more of them gives way, "
            "or the oldest if it has had two seconds, or else the newcomer. Several workers share them "
            "equally, rounded up."
        ),
        Why("Measured", "one that was begun and is not ended takes 55 KiB, so 56 MiB at most"),
    ] = 1024
    handshake_rate: Annotated[
        Rate,
        Doc(
            "Handshakes of one address (IPv6: /64). Beyond it, a connection is closed before it costs any "
            "cryptography. Trusted proxies have no limit."
        ),
        Why(
            "Chosen",
            "as `limits.address`; a browser opens six connections at once, and an office of sixty comes "
            "back after lunch",
        ),
    ] = Rate(50.0, 400.0)
    redirect_from: Annotated[
        tuple[str, ...],
        Doc('Addresses for plain HTTP, like "0.0.0.0:80", where every request is sent on to https with 308.'),
    ] = ()
    redirect_port: Annotated[
        int, Ge(1), Le(65535), Unit("port"), Doc("Port of https that clients see."), Why("RFC", "9110 section 4.2.2")
    ] = 443
    acme: Annotated[
        bool,
        Doc(
            "Whether plain requests for /.well-known/acme-challenge/ are forwarded to the upstream, which "
            "has an ACME client (RFC 8555 section 8.3), instead of being redirected. They are never challenged."
        ),
    ] = False
    hsts: Annotated[
        int,
        Ge(0),
        Le(10 * 366 * 86400),
        Unit("s"),
        Doc(
            "Time for which browsers speak only https to this host (RFC 6797); 0 says nothing to them. Usual: 63072000."
        ),
        Why("Chosen", "hard to undo, so nobody gets it unasked"),
    ] = 0
    hsts_subdomains: Annotated[bool, Doc("Whether tls.hsts holds for all hosts below this one, too.")] = False
    hsts_preload: Annotated[bool, Doc("Whether browsers may list this host. Hard to undo: see hstspreload.org.")] = (
        False
    )

    def complaints(self) -> Iterator[Complaint]:
        yield from _useless(self.certificates)
        if not self.certificates:
            for name, value in (("redirect_from", self.redirect_from), ("hsts", self.hsts)):
                if value:
                    yield (name,), "of no use without tls.certificates"
        for number, address in enumerate(self.redirect_from):
            if wrong := wrong_tcp_address(address):
                yield ("redirect_from", number), wrong
            if address in self.redirect_from[:number] and not address.endswith(":0"):
                yield ("redirect_from", number), "this address is listed twice"
        if self.hsts_preload and not (self.hsts >= YEAR and self.hsts_subdomains):
            yield ("hsts_preload",), f"browsers' lists ask for tls.hsts of at least {YEAR} and tls.hsts_subdomains"


def hsts_field(settings: TlsSettings) -> bytes:
    """The Strict-Transport-Security line (RFC 6797 section 6.1) with its CRLF; empty when there is to be none."""
    if not settings.hsts:
        return b""
    more = "; includeSubDomains" * settings.hsts_subdomains + "; preload" * settings.hsts_preload
    return f"Strict-Transport-Security: max-age={settings.hsts}{more}\r\n".encode("ascii")


def _useless(certificates: Sequence[CertificateSettings]) -> Iterator[Complaint]:
    """Certificates that cannot be used, and those that would never be shown beside the ones before them."""
    seen: dict[tuple[str, str], str] = {}  # name and kind of key -> file
    for number, one in enumerate(certificates):
        at: KeyPath = ("certificates", number)
        missing = False
        for name, path in (("chain", one.chain), ("key", one.key)):
            if (path or name == "chain") and (wrong := unreadable(path)):
                missing = True
                yield (*at, name), wrong
        if missing:
            continue
        try:
            certificate = load(one)
        except (OSError, ValueError) as error:
            which = f"{one.chain} with {one.key}" if one.key else f"{one.chain}, which must hold its key too"
            more = "" if one.key else " as there is no other file,"
            yield (*at, "chain"), f"{which}{more} cannot be used: {reason(error)}"
            continue
        keys = [(name, certificate.kind) for name in certificate.names]
        if number and not keys:
            yield (*at, "chain"), f"{one.chain} names no host (no subjectAltName), so it would never be shown"
        elif number and all(key in seen for key in keys):
            kind, other = certificate.kind, seen[keys[0]]
            yield (
                (*at, "chain"),
                f"never shown: {other} is for the same names, and has a key of the same kind ({kind})",
            )
        for key in keys:
            seen.setdefault(key, one.chain)
