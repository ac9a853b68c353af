"""What Shield speaks by TLS: versions, cipher suites, groups, and which clients it has nothing in common with.

The settings are Mozilla's intermediate ones (Server Side TLS 5.7). Where the ssl module does not let us say them:

    groups       Before Python 3.15 only one can be named, and OpenSSL's own list has finite fields of 8,192 bits, with
                 which any client could make us compute (the "D(HE)at" attack). So there is a context for each group of
                 Mozilla's, and the ClientHello says which to take. From OpenSSL 3.5 on there is one more, with
                 OpenSSL's list as it is, for clients that offer a post-quantum key.
    DHE suites   They need parameters from a file and are slow on our side, so they are not offered.
    order        The server's counts, but ChaCha20 goes first for clients that have it first, as those without AES in
                 hardware do. Mozilla leaves the order to the client, as all suites are strong; scanners object to that.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Final

from shield.accept.certificate_files import CertificateSettings, put_into
from shield.wire.client_hello import SECP256R1, SECP384R1, X25519, X25519MLKEM768, Hello

PROTOCOLS: Final = (b"http/1.1", b"http/1.0")
"""Protocols by ALPN (RFC 7301 section 6), best first. `curl --http1.0` offers the second one alone."""
HTTP_2: Final = b"h2"
"""The one that goes before them where `http.h2` says so (RFC 9113 section 3.1)."""

CIPHERS: Final = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
"""Cipher suites of TLS 1.2. Those of TLS 1.3 are OpenSSL's, which are Mozilla's."""

_SUITES: Final = frozenset(
    (*range(0x1301, 0x1304), 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8)
)  # the same by number (IANA, TLS Cipher Suites)
_FALLBACK: Final = 0x5600  # TLS_FALLBACK_SCSV
_PRIORITIZE_CHACHA: Final = 1 << 21  # SSL_OP_PRIORITIZE_CHACHA, which the ssl module does not name

_CURVES: Final = {X25519: "X25519", SECP256R1: "prime256v1", SECP384R1: "secp384r1"}
_POST_QUANTUM: Final = ssl.OPENSSL_VERSION_INFO >= (3, 5)
_PREFERRED: Final = (X25519MLKEM768, *_CURVES) if _POST_QUANTUM else tuple(_CURVES)


def _context(curve: str, protocols: Iterable[bytes]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols([name.decode("ascii") for name in protocols])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA
    if curve:
        context.set_ecdh_curve(curve)
    return context


class Credentials:
    """What is shown for a name: a certificate of each kind of key, in a context for each group of a key exchange."""

    __slots__ = ("contexts", "expires", "kinds")

    def __init__(
        self,
        certificates: Iterable[CertificateSettings],
        kinds: tuple[str, ...] = (),
        protocols: tuple[bytes, ...] = PROTOCOLS,
    ) -> None:
        """`kinds` are those of the certificates' keys, each once; `protocols` are spoken, the best first. Raises
        OSError."""
        self.kinds = kinds
        self.expires = 0.0  # when the keys of its tickets have lived long enough; 0: not known yet
        self.contexts = {group: _context(curve, protocols) for group, curve in _CURVES.items()}
        if _POST_QUANTUM:
            self.contexts[X25519MLKEM768] = _context("", protocols)
        for one in certificates:
            self.put(one)

    def put(self, one: CertificateSettings) -> None:
        """Show this certificate from now on, in place of the one of its kind. Tickets stay good. Raises OSError."""
        for context in self.contexts.values():
            put_into(context, one)

    def sessions(self) -> int:
        """TLS sessions that are remembered here, and not by the client in a ticket."""
        return sum(context.session_stats()["number"] for context in self.contexts.values())

    def context(self, hello: Hello) -> ssl.SSLContext:
        """The context for the best group that the client has sent a key share of, or else can use. A client that names
        no group knows P-256 (RFC 8422 section 4)."""
        for offered in (hello.shares, hello.groups or (SECP256R1,)):
            for group in _PREFERRED:
                if group in offered:
                    return self.contexts[group]
        raise LookupError("no group in common")  # see objection()


HANDSHAKE_FAILURE, PROTOCOL_VERSION, INAPPROPRIATE_FALLBACK, NO_APPLICATION_PROTOCOL = 40, 70, 86, 120
"""Alerts (RFC 8446 section 6)."""


def objection(hello: Hello, protocols: Iterable[bytes] = PROTOCOLS) -> int:
    """The alert for a client with which there can be no connection, or 0. `protocols` are those that are spoken.

    OpenSSL would find out, too, but that would cost more. Whether the client can verify a signature by our key is left
    to OpenSSL.
    """
    if hello.version < 0x0303:
        return PROTOCOL_VERSION
    if hello.version == 0x0303 and _FALLBACK in hello.ciphers:  # it could do better, and was kept from it (RFC 7507)
        return INAPPROPRIATE_FALLBACK
    if _SUITES.isdisjoint(hello.ciphers) or (hello.groups and not any(group in hello.groups for group in _PREFERRED)):
        return HANDSHAKE_FAILURE
    if hello.protocols and not any(name in hello.protocols for name in protocols):
        return NO_APPLICATION_PROTOCOL
    return 0
