"""Which certificate a client is shown, and when its files are read anew.

A name may have several certificates, one for each kind of key: they are in one context, and OpenSSL shows the one that
a client can verify, ECDSA first.

A client that resumes is recognised by a ticket (RFC 8446 section 4.6.1; RFC 5077 in TLS 1.2), good for two hours, under
keys that are the context's and cannot be read or set. So a certificate that is read anew is put into the context that
is there; a restart costs one full handshake, and so does another worker, which on Linux a network does not meet. Who
holds the keys can read what tickets were made for (TLS 1.2), so contexts are made anew after TICKET_KEY_SECONDS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from shield.accept.certificate_files import DAY, Certificate, CertificateSettings, load, reason, stamps_of
from shield.accept.contexts import HTTP_2, PROTOCOLS, Credentials
from shield.errors import StartError

if TYPE_CHECKING:
    import ssl

    from shield.wire.client_hello import Hello

CHECK_SECONDS: Final = 5.0
"""s. Between two looks at the files."""
TICKET_KEY_SECONDS: Final = 86400.0
"""s. RFC 9325 section 3.4 asks for a change at least once a week, and for keys that live twice as long as a ticket."""
MOST_SESSIONS: Final = 16_384
"""Sessions of TLS 1.2 clients that take no tickets. OpenSSL remembers them for two hours, at 1,050 bytes each, and up
to 20,480 for each context, which the ssl module cannot change. Beyond this many in all, the context that has most of
them is made anew."""

Members = tuple[int, ...]
"""Certificates that are shown for a name, by their numbers in the settings."""


def arrange(certificates: Sequence[Certificate]) -> dict[str, Members]:
    """Which certificates each name has: of each kind of key the first."""
    found: dict[str, dict[str, int]] = {}
    for number, certificate in enumerate(certificates):
        for name in certificate.names:
            found.setdefault(name, {}).setdefault(certificate.kind, number)
    return {name: tuple(kinds.values()) for name, kinds in found.items()}


class Certificates:
    """The certificates of the settings, by name. `notify(event, **fields)` is told of reloads, of files that cannot
    be used, and of certificates that end soon: at once, and each day. `wall` is the wall clock,
    `protocols` are those that are spoken, by ALPN."""

    def __init__(
        self,
        settings: tuple[CertificateSettings, ...],
        notify: Callable[..., None],
        wall: Callable[[], float] = time.time,
        http2: bool = False,
    ) -> None:
        """`settings` has at least one; `http2`: it is spoken, too. Raises StartError."""
        self._settings = settings
        self.protocols = (HTTP_2, *PROTOCOLS) if http2 else PROTOCOLS
        self._notify = notify
        self._wall = wall
        self._next = 0.0
        self._warned: dict[int, float] = {}  # when of which it was last said that it ends; seconds of the wall clock
        self._stamps = [stamps_of(one) for one in settings]
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
                credentials = Credentials([self._settings[number] for number in members], kinds, self.protocols)
            else:
                for number in changed.intersection(members):
                    credentials.put(self._settings[number])
            shown[members] = credentials
        self._loaded = loaded
        self._shown = shown
        self._by_name = {name: shown[members] for name, members in by_name.items()}
        self._first = shown[first]

    def _find(self, name: str) -> Credentials | None:
        """What is shown for exactly this name, or else for its wildcard, which stands for one label (RFC 9525 section
        6.3)."""
        found = self._by_name.get(name)
        return found if found is not None else self._by_name.get("*." + name.partition(".")[2])

    def covers(self, name: str) -> bool:
        """Whether there is a certificate for `name`, or for this IP address, in lower case."""
        return self._find(name) is not None

    def choose(self, hello: Hello) -> ssl.SSLContext:
        """The context for a client: with the certificates for the name that it asks for, else with the first one."""
        return (self._find(hello.server_name) or self._first).context(hello)

    def check(self, now: float) -> None:
        """Read files again that have changed; they are looked at every CHECK_SECONDS. Where a new one cannot be used,
        the old one stays in use: somebody may be writing the second of two files."""
        if now < self._next:
            return
        self._next = now + CHECK_SECONDS
        self._warn()
        loaded = list(self._loaded)
        changed = set()
        for number, one in enumerate(self._settings):
            stamp = stamps_of(one)
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
        self._next = now  # look at once when they end
        for number in sorted(changed):
            self._warned.pop(number, None)
            self._notify("certificate_loaded", chain=self._settings[number].chain, names=list(loaded[number].names))

    def ends(self) -> dict[str, tuple[float, float]]:
        """How long each certificate still holds, and for how long it was made, in seconds, by its file."""
        wall = self._wall()
        pairs = zip(self._settings, self._loaded, strict=True)
        return {one.chain: (found.ends - wall, found.ends - found.begins) for one, found in pairs}

    def _warn(self) -> None:
        wall = self._wall()
        for number, found in enumerate(self._loaded):
            if wall - self._warned.get(number, 0.0) >= DAY and (trouble := found.trouble(wall)):
                self._warned[number] = wall
                chain, names = self._settings[number].chain, list(found.names)
                self._notify("certificate_ends", chain=chain, names=names, trouble=trouble)

    def _keep(self, one: CertificateSettings, error: Exception) -> None:
        self._notify("certificate_not_loaded", chain=one.chain, error=reason(error), effect="the old one stays")

    def _refresh(self, now: float) -> None:
        """Make contexts anew whose keys are old, or that remember too much. Only those of one name at a time, as each
        costs some milliseconds."""
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
            certificates = [self._settings[number] for number in members]
            credentials.contexts = Credentials(certificates, (), self.protocols).contexts
        except OSError as error:
            self._keep(self._settings[members[0]], error)
