"""A certificate and its key on disk: reading them, and noticing when they change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from typing_extensions import Doc

from shield.files import Stamp, stamp_of
from shield.wire.certificate import first_in_chain, key_kind, names, validity

MOST_BYTES: Final = 1 << 20
"""bytes. The most that is read of a certificate file; one with a long chain has 10 KiB."""


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """A certificate and its key."""

    chain: Annotated[str, Doc("Path of a PEM file: the certificate, then those that lead to an authority.")]
    key: Annotated[str, Doc("Path of its PEM key, without a passphrase. Empty: the key is in the same file.")] = ""


DAY: Final = 86_400.0
MOST_NOTICE: Final = 14 * DAY
"""s. An end is near from then on, or in the last fifth of a certificate that holds for a shorter time: programs that
renew certificates do so with a third of their time left."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was read and found good: its names, the kind of its key (wire/certificate.py), and from when
    to when it holds, in seconds since 1970."""

    names: tuple[str, ...]
    kind: str
    begins: float
    ends: float

    def trouble(self, wall: float) -> str:
        """Why browsers refuse it, or soon will; "" when they do not. `wall` is the time, in seconds since 1970."""
        left, until = self.ends - wall, f"{datetime.fromtimestamp(self.ends, UTC):%Y-%m-%d}"
        if left <= 0:
            return f"has ended ({until}): browsers refuse it"
        if self.begins > wall:
            return "does not hold yet: browsers refuse it; is the clock right?"
        if left > min(MOST_NOTICE, (self.ends - self.begins) / 5):
            return ""
        return (
            f"ends in {int(left / DAY)} days ({until}): renew it" if left >= 2 * DAY else f"ends on {until}: renew it"
        )


def load(one: CertificateSettings) -> Certificate:
    """Read the two files of `one`. Raises OSError (ssl.SSLError is one) or ValueError."""
    for path in filter(None, (one.chain, one.key)):
        if not Path(path).is_file() and Path(path).exists():  # to open a pipe would be to wait for who writes it
            raise ValueError("not a regular file")
    with Path(one.chain).open("rb") as file:
        pem = file.read(MOST_BYTES).decode("latin-1")
    put_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), one)
    der = first_in_chain(pem)
    return Certificate(names(der), key_kind(der), *validity(der))


def put_into(context: ssl.SSLContext, one: CertificateSettings) -> None:
    """Have `context` show this certificate, in place of one with the same kind of key. Raises OSError."""
    # The callback keeps OpenSSL from asking for a passphrase at a terminal.
    context.load_cert_chain(one.chain, one.key or None, password=lambda: "")


def reason(error: Exception) -> str:
    """What is wrong with a certificate, in words: OpenSSL's, or the system's."""
    said = getattr(error, "reason", None)
    return str(said).replace("_", " ").lower() if said else getattr(error, "strerror", None) or str(error)


def stamps_of(settings: CertificateSettings) -> tuple[Stamp, ...]:
    """A value that changes with the files, however they are replaced."""
    return tuple(stamp_of(path) for path in (settings.chain, settings.key) if path)
