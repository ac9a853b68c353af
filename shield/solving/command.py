"""`shield solve URL`: asks one address, solves what it is asked to, and says what it got. A client, with the standard
library alone; it follows no redirect, and repeats nothing but the request that was challenged.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from shield.solving.challenge import (
    MOST_BODY,
    Budget,
    Challenge,
    SolvingError,
    TooExpensiveError,
    document,
    origin_of,
    read,
)
from shield.solving.conversation import Reply, like, retry_after, worth_reading
from shield.solving.drive import Settings, Turns, Wire, carry
from shield.solving.passes import Pass, Passes
from shield.solving.search import Progress

TIMEOUT: Final = 30.0
"""Seconds until a site that says nothing is given up."""
CHUNK: Final = 65_536
DRAWN_SECONDS: Final = 0.2
BAR: Final = 30
MOST_SHOWN: Final = 200
"""Characters of what a site says that are shown on a terminal."""


class WrongUsage(Exception):
    """What was given cannot be asked."""


class NotReachedError(Exception):
    """Nobody answers there, or not over HTTP."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is wanted: `fields` are (name, value); `show` is "pass", "cookie" or "response"."""

    url: str
    budget: Budget
    fields: Sequence[tuple[str, str]] = ()
    show: str = "pass"
    json: bool = False
    ca: str | None = None


@dataclass
class Found:
    """What came of it."""

    url: str
    status: int = 0
    challenged: bool = False
    bits: float = 0.0
    seconds: float = 0.0
    bought: Pass | None = None
    error: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        """Whether there is a pass, or none was needed."""
        return not self.error and (self.bought is not None or self.status < 400)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        bought = self.bought
        return {
            "url": self.url,
            "ok": self.fine,
            "error": self.error,
            "status": self.status,
            "challenged": self.challenged,
            "bits": round(self.bits, 2),
            "seconds": round(self.seconds, 3),
            "pass": bought and bought.token,
            "header": bought and bought.header,
            "cookie": bought and bought.cookie,
            "lifetime": bought and bought.lifetime,
        }


def field_of(text: str) -> tuple[str, str]:
    """A field out of "Name: value". WrongUsage."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not name.strip().isascii() or any(each in text for each in "\r\n\0"):
        raise WrongUsage(f"{text[:60]!r} is no field: write 'Name: value'")
    return name.strip(), value.strip()


def solve(asked: Asked, version: str) -> Found:
    """Ask, and print what was wanted to stdout; the rest is said on stderr. WrongUsage, NotReachedError."""
    url = _url(asked.url)
    fields = {"User-Agent": f"shield-solve/{version}", "Accept": "*/*"}
    for name, value in asked.fields:
        for known in [each for each in fields if each.lower() == name.lower()]:
            del fields[known]
        fields[name] = value
    screen, found = _Screen(asked.json), Found(url)
    settings = Settings(asked.budget, Passes(), screen.tell)
    wire = _Wire(url, fields, asked, found, screen)
    try:
        carry(settings, Turns(_NoLock), wire, url)
        found.bought = settings.passes.get(origin_of(url))
        screen.end()
        _say(found, screen)
        if asked.show == "response":
            wire.pour()
    except SolvingError as error:
        found.error = _short(str(error))
        screen.end()
        if not asked.json:
            screen.line(f"no pass: {found.error}{_instead(error, asked.budget)}")
    except (OSError, http.client.HTTPException) as error:
        screen.end()
        raise NotReachedError(f"{wire.where}: {_short(str(error) or type(error).__name__)}") from None
    finally:
        wire.close()
    _print(asked, found)
    return found


def _url(text: str) -> str:
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        origin_of(url)
        url.encode("ascii")
    except ValueError:
        raise WrongUsage(f"{text[:60]!r} is no address: write https://site.example/path") from None
    if parts.username is not None:
        raise WrongUsage("a name and password go into a field: --header 'Authorization: Basic ...'")
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        raise WrongUsage("an address has no spaces: write them as %20")
    return url


class _NoLock:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class _Wire(Wire):
    def __init__(self, url: str, fields: dict[str, str], asked: Asked, found: Found, screen: _Screen) -> None:
        parts = urlsplit(url)
        self._url, self._fields, self._found, self._screen = url, fields, found, screen
        self._host, self._port, self._tls = parts.hostname or "", parts.port, parts.scheme == "https"
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._ca = asked.ca
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._body = b""
        self.where = origin_of(url)

    def forward(self, shown: Pass | None) -> Reply:
        fields = dict(self._fields)
        if shown is not None and shown.header.lower() not in {name.lower() for name in fields}:
            fields[shown.header] = shown.token
        self._response = response = self._send("GET", self._target, fields, None)
        self._found.status, self._body = response.status, b""
        kind, length = response.headers.get("Content-Type"), response.headers.get("Content-Length")
        problem = None
        if worth_reading(response.status, kind, length):
            self._body = response.read(MOST_BODY)
            problem = document(self._body)
        challenge = read(problem, self._url) if response.status == 503 else None
        if challenge is not None and shown is None:
            self._meet(challenge)
        elif challenge is not None:
            self._found.error = "the site asks again in spite of the pass"
        return Reply(response.status, retry_after(response.headers.get("Retry-After")), problem)

    def send(self, url: str, body: bytes) -> Reply:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._found.seconds = self._screen.seconds
        response = self._send("POST", target, like(self._fields), body)
        wait = retry_after(response.headers.get("Retry-After"))
        if response.status != 200 and wait is not None:
            self._screen.line(f"the site asks to wait: {wait:g} s")
        return Reply(response.status, wait, document(response.read(MOST_BODY)))

    def pour(self) -> None:
        """The response's body to stdout, as it comes."""
        if self._response is None:
            return
        sys.stdout.flush()
        data = self._body
        while data or (data := self._response.read(CHUNK)):
            sys.stdout.buffer.write(data)
            data = b""
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()

    def _meet(self, challenge: Challenge) -> None:
        self._found.challenged, self._found.bits = True, challenge.bits
        self._screen.line(
            f"{self.where} asks for 2^{challenge.bits:.1f} hashes, and gets them at {challenge.answer_to}"
        )

    def _send(self, method: str, target: str, fields: dict[str, str], body: bytes | None) -> http.client.HTTPResponse:
        self.close()  # the site may have closed it while it was solved
        if self._tls:
            context = ssl.create_default_context(cafile=self._ca)
            self._connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=context)
        else:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)
        self._connection.connect()
        self._screen.first(f"asking {self.where}, which is {_peer(self._connection.sock)}")
        self._connection.request(method, target, body, fields)
        return self._connection.getresponse()


def _peer(connection: socket.socket) -> str:
    return str(connection.getpeername()[0])


class _Screen:
    """What is said on stderr: lines, and on a terminal a bar. Nothing with JSON."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent
        self._bar = not silent and sys.stderr.isatty()
        self._drawn = 0.0
        self._first = True
        self.seconds = 0.0

    def first(self, text: str) -> None:
        if self._first:
            self._first = False
            self.line(text)

    def line(self, text: str) -> None:
        self.end()
        if not self._silent:
            sys.stderr.write(f"{text}\n")

    def tell(self, progress: Progress) -> None:
        self.seconds = progress.seconds
        now = time.monotonic()
        if not self._bar or now - self._drawn < DRAWN_SECONDS:
            return
        self._drawn = now
        filled = BAR * progress.solved // progress.k
        text = f"[{'#' * filled}{'.' * (BAR - filled)}] {progress.solved}/{progress.k}, some {progress.left:.0f} s left"
        sys.stderr.write(f"\r{text[: shutil.get_terminal_size().columns - 1]}\033[K")
        sys.stderr.flush()

    def end(self) -> None:
        if self._drawn:
            self._drawn = 0.0
            sys.stderr.write("\r\033[K")


def _say(found: Found, screen: _Screen) -> None:
    status = f"{found.status} {http.client.responses.get(found.status, '')}".strip()
    if found.error:
        screen.line(found.error)
    elif found.bought is not None:
        screen.line(f"solved in {found.seconds:.1f} s; with the pass the site answers {status}")
    elif found.challenged:
        found.error = "the site did not take the answer in time, twice"
        screen.line(f"no pass: {found.error}")
    else:
        screen.line(f"no challenge was asked: the site answers {status}")


def _instead(error: SolvingError, budget: Budget) -> str:
    if not isinstance(error, TooExpensiveError):
        return ""
    if "wait" in str(error):
        return f" (--wait {2 * budget.wait:g} would allow more)"
    if "2^" in str(error):
        return " (--bits sets the budget)"
    return f" (--budget {4 * budget.seconds:g} would allow more)"


def _print(asked: Asked, found: Found) -> None:
    bought = found.bought
    if asked.json:
        print(json.dumps(found.plain(), indent=2))
    elif bought is not None and asked.show == "pass":
        print(f"{bought.header}: {bought.token}")
    elif bought is not None and asked.show == "cookie":
        print(f"{bought.cookie}={bought.token}")


def _short(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MOST_SHOWN])
