"""TLS: which certificate a client is shown, with which settings, and when it is read anew.

Mozilla's intermediate settings (Server Side TLS 5.7), by the ssl module. What it does not let us say, and what stands
in its place:

    groups       before Python 3.15 only one can be named, and OpenSSL's own list has finite fields of 8,192 bits, of
                 which any client could make us compute one (the "D(HE)at" attack). So there is a context for each
                 group of Mozilla's, and the ClientHello says which to take. From OpenSSL 3.5 on one more, for clients
                 that offer a post-quantum key, with OpenSSL's list as it is.
    DHE suites   need parameters from a file, and are slow on our side: not offered.
    order        ours, but ChaCha20 for clients that have it first, as those without AES in hardware do. Mozilla leaves
                 it to the client, as all suites are strong; scanners do not.

A name may have several certificates, one for each kind of key: they are in one context, and OpenSSL shows the one that
a client can verify, ECDSA first.

A client that resumes is recognised by a ticket (RFC 8446 section 4.6.1; RFC 5077 in TLS 1.2), good for two hours, under
keys that are the context's and cannot be read or set. So a certificate that is read anew is put into the context that
is there; a restart costs one full handshake, and so does another worker, which on Linux a network does not meet. Who
holds the keys can read what tickets were made for (TLS 1.2), so contexts are made anew after TICKET_KEY_SECONDS.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from annotated_types import Ge, Gt, Le
from typing_extensions import Doc

from shield.complaints import Complaint, Place, unreadable
from shield.errors import StartError
from shield.marks import Unit, Why
from shield.policy.bucket import Rate
from shield.wire.addresses import wrong_tcp_address
from shield.wire.certificate import first_in_chain, key_kind, names
from shield.wire.client_hello import SECP256R1, SECP384R1, X25519, X25519MLKEM768, Hello

CHECK_SECONDS: Final = 5.0
"""Between two looks at the files."""
TICKET_KEY_SECONDS: Final = 86400.0
"""RFC 9325 section 3.4 asks for a change at least once a week, and for keys that live twice as long as a ticket."""
MOST_SESSIONS: Final = 16_384
"""Of TLS 1.2 clients that take no tickets, which OpenSSL remembers for two hours at 1,050 bytes each: 20,480 for each
context, which the ssl module cannot change. Beyond this many in all, the context that has most is made anew."""
PROTOCOLS: Final = (b"http/1.1", b"http/1.0")
"""By ALPN (RFC 7301 section 6), best first. `curl --http1.0` offers the second one alone."""

CIPHERS: Final = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
"""Of TLS 1.2. Those of TLS 1.3 are OpenSSL's, which are Mozilla's."""

_SUITES: Final = frozenset(
    (*range(0x1301, 0x1304), 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8)
)  # the same by number (IANA, TLS Cipher Suites)
_FALLBACK: Final = 0x5600
_PRIORITIZE_CHACHA: Final = 1 << 21  # SSL_OP_PRIORITIZE_CHACHA, which the ssl module does not name

_CURVES: Final = {X25519: "X25519", SECP256R1: "prime256v1", SECP384R1: "secp384r1"}
_POST_QUANTUM: Final = ssl.OPENSSL_VERSION_INFO >= (3, 5)
_PREFERRED: Final = (X25519MLKEM768, *_CURVES) if _POST_QUANTUM else tuple(_CURVES)

MOST_BYTES: Final = 1 << 20
"""Of a certificate file; one with a long chain has 10 KiB."""


YEAR: Final = 31_536_000
"""Seconds. The least `hsts` that browsers' preload lists take (hstspreload.org)."""


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """A certificate and its key."""

    chain: Annotated[str, Doc("Path of a PEM file: the certificate, then those that lead to an authority.")]
    key: Annotated[str, Doc("Path of its PEM key, without a passphrase. Empty: the key is in the same file.")] = ""


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
            "has an ACME client (RFC 8555 section 8.3), instead of being redirected."
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


def _context(curve: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols([name.decode("ascii") for name in PROTOCOLS])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | _PRIORITIZE_CHACHA
    if curve:
        context.set_ecdh_curve(curve)
    return context


def _put(context: ssl.SSLContext, one: CertificateSettings) -> None:
    """Add a certificate and its key, in place of those of the same kind of key. Raises OSError."""
    # The callback keeps OpenSSL from asking for a passphrase at a terminal.
    context.load_cert_chain(one.chain, one.key or None, password=lambda: "")


@dataclass(frozen=True, slots=True)
class Certificate:
    """One that has been read, and was found good: its names, and the kind of its key (certificate.py)."""

    names: tuple[str, ...]
    kind: str


def load(one: CertificateSettings) -> Certificate:
    """Read both files. Raises OSError (ssl.SSLError is one) or ValueError."""
    for path in filter(None, (one.chain, one.key)):
        if not Path(path).is_file() and Path(path).exists():  # to open a pipe would be to wait for who writes it
            raise ValueError("not a regular file")
    with Path(one.chain).open("rb") as file:
        pem = file.read(MOST_BYTES).decode("latin-1")
    _put(_context(""), one)
    der = first_in_chain(pem)
    return Certificate(names(der), key_kind(der))


class Credentials:
    """What is shown for a name: a certificate of each kind of key, in a context for each group of a key exchange."""

    __slots__ = ("contexts", "expires", "kinds")

    def __init__(self, certificates: Iterable[CertificateSettings], kinds: tuple[str, ...] = ()) -> None:
        """Of the given `kinds`, each once. Raises OSError."""
        self.kinds = kinds
        self.expires = 0.0  # when the keys of its tickets have lived long enough; 0: not known yet
        self.contexts = {group: _context(curve) for group, curve in _CURVES.items()}
        if _POST_QUANTUM:
            self.contexts[X25519MLKEM768] = _context("")
        for one in certificates:
            self.put(one)

    def put(self, one: CertificateSettings) -> None:
        """Show this certificate from now on, in place of the one of its kind. Tickets stay good. Raises OSError."""
        for context in self.contexts.values():
            _put(context, one)

    def sessions(self) -> int:
        """How many are remembered here, and not by the client in a ticket."""
        return sum(context.session_stats()["number"] for context in self.contexts.values())

    def context(self, hello: Hello) -> ssl.SSLContext:
        """For a group that the client has sent a key of, or else can use; a client that names none knows P-256 (RFC
        8422 section 4)."""
        for offered in (hello.shares, hello.groups or (SECP256R1,)):
            for group in _PREFERRED:
                if group in offered:
                    return self.contexts[group]
        raise LookupError("no group in common")  # see objection()


Members = tuple[int, ...]
"""Certificates that are shown for a name, by their numbers in the settings."""


def arrange(certificates: Sequence[Certificate]) -> dict[str, Members]:
    """Which certificates each name has: of each kind of key the first."""
    found: dict[str, dict[str, int]] = {}
    for number, certificate in enumerate(certificates):
        for name in certificate.names:
            found.setdefault(name, {}).setdefault(certificate.kind, number)
    return {name: tuple(kinds.values()) for name, kinds in found.items()}


def _useless(certificates: Sequence[CertificateSettings]) -> Iterator[Complaint]:
    """Certificates that cannot be used, and those that would never be shown beside the ones before them."""
    seen: dict[tuple[str, str], str] = {}  # name and kind of key -> file
    for number, one in enumerate(certificates):
        place: Place = ("certificates", number)
        missing = False
        for name, path in (("chain", one.chain), ("key", one.key)):
            if (path or name == "chain") and (wrong := unreadable(path)):
                missing = True
                yield (*place, name), wrong
        if missing:
            continue
        try:
            certificate = load(one)
        except (OSError, ValueError) as error:
            which = f"{one.chain} with {one.key}" if one.key else f"{one.chain}, which must hold its key too"
            more = "" if one.key else " as there is no other file,"
            yield (*place, "chain"), f"{which}{more} cannot be used: {reason(error)}"
            continue
        keys = [(name, certificate.kind) for name in certificate.names]
        if number and not keys:
            yield (*place, "chain"), f"{one.chain} names no host (no subjectAltName), so it would never be shown"
        elif number and all(key in seen for key in keys):
            kind, other = certificate.kind, seen[keys[0]]
            yield (
                (*place, "chain"),
                f"never shown: {other} is for the same names, and has a key of the same kind ({kind})",
            )
        for key in keys:
            seen.setdefault(key, one.chain)


def reason(error: Exception) -> str:
    """What is wrong with a certificate, in words: OpenSSL's, or the system's."""
    said = getattr(error, "reason", None)
    return str(said).replace("_", " ").lower() if said else getattr(error, "strerror", None) or str(error)


HANDSHAKE_FAILURE, PROTOCOL_VERSION, INAPPROPRIATE_FALLBACK, NO_APPLICATION_PROTOCOL = 40, 70, 86, 120
"""Alerts (RFC 8446 section 6)."""


def objection(hello: Hello) -> int:
    """The alert for a client with which there can be no connection, or 0.

    OpenSSL would find out, too; but it costs less here, and uvloop closes without sending OpenSSL's alert, so that the
    client would never know. Whether it can verify a signature by our key is left to OpenSSL.
    """
    if hello.version < 0x0303:
        return PROTOCOL_VERSION
    if hello.version == 0x0303 and _FALLBACK in hello.ciphers:  # it could do better, and was kept from it (RFC 7507)
        return INAPPROPRIATE_FALLBACK
    if _SUITES.isdisjoint(hello.ciphers) or (hello.groups and not any(group in hello.groups for group in _PREFERRED)):
        return HANDSHAKE_FAILURE
    if hello.protocols and not any(name in hello.protocols for name in PROTOCOLS):
        return NO_APPLICATION_PROTOCOL
    return 0


Stamp = tuple[tuple[int, int, int], ...]


def _stamp(settings: CertificateSettings) -> Stamp:
    """What changes with the files, however they are replaced. A file that is not there is one state more."""
    stamps = []
    for path in filter(None, (settings.chain, settings.key)):
        try:
            stat = os.stat(path)  # noqa: PTH116 - of what a link leads to; certbot changes the link
        except OSError:
            stamps.append((0, 0, 0))
        else:
            stamps.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
    return tuple(stamps)


class Certificates:
    """Those of the settings, by name. `notify(event, **fields)` is told of reloads and of files that cannot be used."""

    def __init__(self, settings: tuple[CertificateSettings, ...], notify: Callable[..., None]) -> None:
        """`settings` has at least one. Raises StartError."""
        self._settings = settings
        self._notify = notify
        self._next = 0.0
        self._stamps = [_stamp(one) for one in settings]
        self._shown: dict[Members, Credentials] = {}
        loaded = []
        for one in settings:
            try:
                loaded.append(load(one))
            except (OSError, ValueError) as error:
                raise StartError(f"cannot load the certificate {one.chain}: {reason(error)}") from error
        try:
            self._show(loaded, frozenset())
        except OSError as error:  # the files have changed since
            raise StartError(f"cannot load the certificates: {reason(error)}") from error

    def _show(self, loaded: list[Certificate], changed: frozenset[int]) -> None:
        """Show `loaded` from now on, of which the `changed` ones are not the same as before. Raises OSError."""
        by_name = arrange(loaded)
        names = loaded[0].names
        first = by_name[names[0]] if names else (0,)
        shown: dict[Members, Credentials] = {}
        for members in (first, *by_name.values()):
            if members in shown:
                continue
            kinds = tuple(loaded[number].kind for number in members)
            credentials = self._shown.get(members)
            if credentials is None or credentials.kinds != kinds:
                credentials = Credentials([self._settings[number] for number in members], kinds)
            else:
                for number in changed.intersection(members):
                    credentials.put(self._settings[number])
            shown[members] = credentials
        self._loaded = loaded
        self._shown = shown
        self._by_name = {name: shown[members] for name, members in by_name.items()}
        self._first = shown[first]

    def _find(self, name: str) -> Credentials | None:
        """For exactly this name, or else for all beside it: a wildcard stands for one label (RFC 9525 section 6.3)."""
        found = self._by_name.get(name)
        return found if found is not None else self._by_name.get("*." + name.partition(".")[2])

    def covers(self, name: str) -> bool:
        """Whether there is a certificate for `name`, or for this IP address, in lower case."""
        return self._find(name) is not None

    def choose(self, hello: Hello) -> ssl.SSLContext:
        """The settings for a client, with the certificates for the name it wants, else the first one."""
        return (self._find(hello.server_name) or self._first).context(hello)

    def check(self, now: float) -> None:
        """Read again what has changed, looked at every CHECK_SECONDS. What cannot be used leaves the old one in use:
        somebody may be writing the second of two files."""
        if now < self._next:
            return
        self._next = now + CHECK_SECONDS
        loaded = list(self._loaded)
        changed = set()
        for number, one in enumerate(self._settings):
            stamp = _stamp(one)
            if stamp == self._stamps[number]:
                continue
            self._stamps[number] = stamp
            try:
                loaded[number] = load(one)
            except (OSError, ValueError) as error:
                self._keep(one, error)
            else:
                changed.add(number)
        if not changed:
            self._refresh(now)
            return
        try:
            self._show(loaded, frozenset(changed))
        except OSError as error:  # a file has changed since it was read, or another one of the name before
            for number in changed:
                self._stamps[number] = ()  # try again
                self._keep(self._settings[number], error)
            return
        for number in sorted(changed):
            self._notify("certificate_loaded", chain=self._settings[number].chain, names=list(loaded[number].names))

    def _keep(self, one: CertificateSettings, error: Exception) -> None:
        self._notify("certificate_not_loaded", chain=one.chain, error=reason(error), effect="the old one stays")

    def _refresh(self, now: float) -> None:
        """Make contexts anew whose keys are old, or that remember too much: those of one name, as each costs some
        milliseconds."""
        for members, credentials in self._shown.items():
            if not credentials.expires:
                credentials.expires = now + TICKET_KEY_SECONDS
            elif now >= credentials.expires:
                self._make_anew(members, now)
                return
        sessions = {members: credentials.sessions() for members, credentials in self._shown.items()}
        if sum(sessions.values()) > MOST_SESSIONS:
            self._make_anew(max(sessions, key=lambda members: sessions[members]), now)

    def _make_anew(self, members: Members, now: float) -> None:
        credentials = self._shown[members]
        credentials.expires = now + TICKET_KEY_SECONDS
        try:
            credentials.contexts = Credentials([self._settings[number] for number in members]).contexts
        except OSError as error:
            self._keep(self._settings[members[0]], error)
