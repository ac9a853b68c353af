"""One question to the admin listener of a Shield that runs, and its answer.

The address is that of --admin, of $SHIELD_ADMIN, or of the config: --config, config.toml here, or in /etc/shield. The
config is only looked at for `admin.address` and `admin.certificate`: to check all of it takes half a second, in which
an attack goes on.

An address that begins with https:// is asked over TLS, with a certificate that the system's authorities vouch for, or
those of $SHIELD_CA. Where the config names the listener's certificate, that one must be shown.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from shield.config import glance

DEFAULT: Final = "127.0.0.1:9901"
"""As AdminSettings has it."""
CONFIGS: Final = ("config.toml", "/etc/shield/config.toml")
SECONDS: Final = 30.0
"""For an answer: a config takes a second to be read again, and workers up to ten to be replaced."""
MOST_BYTES: Final = 64 << 20
TOKEN_BYTES: Final = 4096


class UnreachableError(Exception):
    """Nobody answers, or nobody who speaks as Shield does. The text is one line for the operator."""


class Admin:
    """The admin listener at an address: host:port, https://host:port, or unix:PATH. `certificate` is the file with the
    one that it shows, where that is known."""

    def __init__(self, address: str, token: str = "", certificate: str = "") -> None:
        self.address = address
        self._token = token
        self._certificate = certificate

    def headers(self, accept: str) -> dict[str, str]:
        """Those of every request."""
        headers = {"Host": "localhost", "Accept": accept, "Connection": "close"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def connection(self, seconds: float = SECONDS) -> http.client.HTTPConnection:
        """A connection that is not open yet; `seconds` without a byte are too many."""
        return _connection(self.address, self._certificate, seconds)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and answer. Raises UnreachableError."""
        headers, data = self.headers("application/json"), None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body), "application/json"
        connection = self.connection()
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            said = response.read(MOST_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnreachableError(
                f"nobody answers at {self.address}: {why}. Is Shield running, and is that its admin.address? "
                "Name another one with --admin"
            ) from None
        finally:
            connection.close()
        try:
            answer = json.loads(said)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise UnreachableError(f"{self.address} answers {response.status}, and not as Shield's admin listener does")
        return response.status, answer


class Stream:
    """What an admin listener sends as server-sent events. Iterate over it in a thread; `close` it from any."""

    def __init__(self, admin: Admin, path: str, silence: float) -> None:
        """`silence`: seconds without a byte, after which nobody is there any more."""
        self._connection = admin.connection(silence)
        self._headers = admin.headers("text/event-stream")
        self._path = path
        self._where = admin.address

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each event's name and data, until the listener ends the stream. Raises UnreachableError."""
        try:
            self._connection.request("GET", self._path, None, self._headers)
            response = self._connection.getresponse()
            if response.status != HTTPStatus.OK:
                raise UnreachableError(f"{self._where} answers {response.status}: {_detail(response.read(MOST_BYTES))}")
            name = ""
            while line := response.readline(MOST_BYTES):
                field, _, value = line.rstrip(b"\n").partition(b": ")
                if field == b"event":
                    name = value.decode("ascii", "replace")
                elif field == b"data" and isinstance(data := json.loads(value), dict):
                    yield name, data
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:  # the last: it was closed
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnreachableError(f"nobody answers at {self._where}: {why}") from None
        finally:
            self._connection.close()

    def close(self) -> None:
        """End it, also while somebody waits for the next event."""
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _detail(said: bytes) -> str:
    """What a problem document says."""
    try:
        return str(json.loads(said)["detail"])
    except (ValueError, KeyError, TypeError):
        return "that is not as Shield's admin listener does"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path
        self._seconds = seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        self.sock.connect(self._path)


def _connection(address: str, certificate: str, seconds: float) -> http.client.HTTPConnection:
    if address.startswith("unix:"):
        return _UnixConnection(address.removeprefix("unix:"), seconds)
    secure = address.startswith("https://") or bool(certificate)
    host, _, port = address.removeprefix("https://").removeprefix("http://").rstrip("/").rpartition(":")
    host = host.strip("[]")
    if host in ("", "0.0.0.0", "::"):
        host = "localhost"
    if not (port.isascii() and port.isdecimal()):
        raise UnreachableError(f"{address!r} is no address: write 127.0.0.1:9901 or unix:/run/shield/admin.sock")
    if secure:
        return http.client.HTTPSConnection(host, int(port), timeout=seconds, context=_trusting(certificate))
    return http.client.HTTPConnection(host, int(port), timeout=seconds)


def _trusting(certificate: str) -> ssl.SSLContext:
    """Whom to believe: the authorities, or this one certificate, whatever name it is for."""
    try:
        if not certificate:
            return ssl.create_default_context(cafile=os.environ.get("SHIELD_CA") or None)
        made = ssl.create_default_context(cafile=certificate)
    except OSError as error:
        name = certificate or "SHIELD_CA"
        raise UnreachableError(f"{name} cannot be read: {error.strerror or 'no certificate in it'}") from None
    made.check_hostname = False
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def find(address: str | None, config: str | None, token_file: str | None) -> Admin:
    """The listener that is meant. Raises UnreachableError."""
    address, certificate = address or os.environ.get("SHIELD_ADMIN", ""), ""
    if not address:
        address, certificate = _configured(config)
    if token_file is None:
        return Admin(address, os.environ.get("SHIELD_TOKEN", ""), certificate)
    try:
        with Path(token_file).open("rb") as file:
            words = file.read(TOKEN_BYTES).decode("ascii", "replace").split()
    except OSError as error:
        raise UnreachableError(f"{token_file} cannot be read: {error.strerror}") from None
    if not words:
        raise UnreachableError(f"{token_file} holds no token")
    token = words[1] if words[0] in ("read", "write") and len(words) > 1 else words[0]
    return Admin(address, token, certificate)


def _configured(config: str | None) -> tuple[str, str]:
    """The address that a config names, and the certificate that is shown there."""
    paths = [config] if config is not None else [path for path in CONFIGS if Path(path).exists()]
    if not paths:
        return DEFAULT, ""
    try:
        address, certificate = glance.admin(paths[0])
    except OSError as error:
        raise UnreachableError(f"{paths[0]} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UnreachableError(f"{paths[0]} does not say where the admin listener is: {error}") from None
    if address is None:
        return DEFAULT, certificate
    if not address:
        raise UnreachableError(f"{paths[0]} has no admin.address, so there is no admin listener to ask")
    return address, certificate
