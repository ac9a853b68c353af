"""A certificate and its key on disk: reading them, and noticing when they change."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from typing_extensions import Doc

from shield.wire.certificate import first_in_chain, key_kind, names

MOST_BYTES: Final = 1 << 20
"""bytes. The most that is read of a certificate file; one with a long chain has 10 KiB."""


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """A certificate and its key."""

    chain: Annotated[str, Doc("Path of a PEM file: the certificate, then those that lead to an authority.")]
    key: Annotated[str, Doc("Path of its PEM key, without a passphrase. Empty: the key is in the same file.")] = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was read and found good: its names, and the kind of its key (wire/certificate.py)."""

    names: tuple[str, ...]
    kind: str


def load(one: CertificateSettings) -> Certificate:
    """Read the two files of `one`. Raises OSError (ssl.SSLError is one) or ValueError."""
    for path in filter(None, (one.chain, one.key)):
        if not Path(path).is_file() and Path(path).exists():  # to open a pipe would be to wait for who writes it
            raise ValueError("not a regular file")
    with Path(one.chain).open("rb") as file:
        pem = file.read(MOST_BYTES).decode("latin-1")
    put_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), one)
    der = first_in_chain(pem)
    return Certificate(names(der), key_kind(der))


def put_into(context: ssl.SSLContext, one: CertificateSettings) -> None:
    """Have `context` show this certificate, in place of one with the same kind of key. Raises OSError."""
    # The callback keeps OpenSSL from asking for a passphrase at a terminal.
    context.load_cert_chain(one.chain, one.key or None, password=lambda: "")


def reason(error: Exception) -> str:
    """What is wrong with a certificate, in words: OpenSSL's, or the system's."""
    said = getattr(error, "reason", None)
    return str(said).replace("_", " ").lower() if said else getattr(error, "strerror", None) or str(error)


Stamp = tuple[tuple[int, int, int], ...]


def stamp_of(settings: CertificateSettings) -> Stamp:
    """A value that changes with the files, however they are replaced. Of a file that is not there it is zeros."""
    stamps = []
    for path in filter(None, (settings.chain, settings.key)):
        try:
            stat = os.stat(path)  # noqa: PTH116 - of what a link leads to; certbot changes the link
        except OSError:
            stamps.append((0, 0, 0))
        else:
            stamps.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
    return tuple(stamps)
