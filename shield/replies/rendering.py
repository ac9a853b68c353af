"""How replies are put together: header block, page or problem document, files of the challenge page.

What is said is in replies.py and faults.py; here is only the form. Everything rendered here is made at start-up,
except a challenge page that carries a form.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import jinja2
import orjson

PREFIX: Final = "/.well-known/shield/"
ANSWER_TO: Final = PREFIX + "answer"
PROBLEMS: Final = PREFIX + "problems/"
STATIC: Final = Path(__file__).parent / "static"

HTML: Final = b"text/html; charset=utf-8"
JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"

NO_STORE: Final = b"Cache-Control: no-store\r\n"
VARY: Final = b"Vary: Accept, Sec-Fetch-Dest\r\n"
_PAGE_FIELDS: Final = b"Referrer-Policy: same-origin\r\nX-Robots-Tag: noindex\r\n"
"""`same-origin`, not `no-referrer`: a form sent on from the challenge page must still carry its Origin."""
_CHALLENGE_POLICY: Final = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
    b"connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'\r\n"
)
_ERROR_POLICY: Final = (
    b"Content-Security-Policy: default-src 'none'; style-src 'sha256-%b'; img-src data:; "
    b"form-action 'none'; base-uri 'none'; frame-ancestors 'self'\r\n"
)
CHALLENGE_FIELDS: Final = NO_STORE + VARY + _PAGE_FIELDS + _CHALLENGE_POLICY
PROBLEM_FIELDS: Final = NO_STORE + VARY

_JAVASCRIPT: Final = b"text/javascript; charset=utf-8"
_FILES: Final[Mapping[str, tuple[bytes, bytes]]] = {
    # A worker's policy is that of its own response: it compiles WebAssembly and does nothing else.
    "worker.js": (_JAVASCRIPT, b"Content-Security-Policy: default-src 'none'; script-src 'wasm-unsafe-eval'\r\n"),
    "solver.js": (_JAVASCRIPT, b""),
    "page.css": (b"text/css; charset=utf-8", b""),
}


def message(status: int, fields: bytes, media: bytes, length: bytes, close: bool) -> bytes:
    """Status line and header, with the end of the header, as a template: `Date: %b` is open, as is what `fields` and
    `length` leave open.
    """
    return b"HTTP/1.1 %d %b\r\nDate: %%b\r\nContent-Type: %b\r\nContent-Length: %b\r\n%b%b%b\r\n" % (
        status,
        HTTPStatus(status).phrase.encode("ascii"),
        media,
        length,
        b"X-Content-Type-Options: nosniff\r\n",
        fields,
        b"Connection: close\r\n" if close else b"",
    )


def variants(status: int, page_fields: bytes, page: bytes, fields: bytes, document: bytes) -> tuple[bytes, ...]:
    """The eight forms of one reply, as templates; `variant()` is the index."""
    return tuple(
        message(
            status, page_fields if index & 1 else fields, HTML if index & 1 else PROBLEM, b"%d" % len(body), index >= 4
        )
        + (b"" if index & 2 else body.replace(b"%", b"%%"))
        for index in range(8)
        for body in (page if index & 1 else document,)
    )


def variant(page: bool, head: bool, close: bool) -> int:
    """Which of the `variants`."""
    return page | head << 1 | close << 2


def problem(kind: str, status: int, title: str, detail: str, **members: Any) -> bytes:
    """A problem document (RFC 9457). `kind` names its page below /.well-known/shield/problems/."""
    return orjson.dumps({"type": PROBLEMS + kind, "title": title, "status": status, "detail": detail} | members)


class Pages:
    """The pages for people, from the templates in static/."""

    __slots__ = ("_challenge", "_error", "_style", "error_fields", "policy_fields", "version")

    def __init__(self, version: str) -> None:
        env = jinja2.Environment(
            loader=jinja2.FileSystemLoader(STATIC),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.version = version
        self._challenge = env.get_template("challenge.html")
        self._error = env.get_template("error.html")
        # Inside the page, so that a refused browser asks for nothing more; allowed by its hash.
        style = (STATIC / "error.css").read_text(encoding="utf-8").strip()
        self._style = style
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest())
        self.policy_fields = _PAGE_FIELDS + _ERROR_POLICY % digest
        self.error_fields = NO_STORE + VARY + self.policy_fields

    def error(self, title: str, detail: str, hint: str = "", reason: str = "") -> bytes:
        """A short page without script or further files."""
        return self._error.render(style=self._style, title=title, detail=detail, hint=hint, reason=reason).encode()

    def challenge(self, challenge: Mapping[str, str], then: str, form: Sequence[tuple[str, str]]) -> bytes:
        """The page that solves `challenge`. `then`: "reload" itself, "submit" the form, or ask to "resend" it."""
        return self._challenge.render(
            challenge=challenge, then=then, form=form, answer_to=ANSWER_TO, prefix=PREFIX, version=self.version
        ).encode()


@dataclass(frozen=True, slots=True)
class File:
    """A file that the pages need, with a strong entity tag over its bytes."""

    media: bytes
    body: bytes
    fields: bytes
    tag: str

    def reply(self, head: bool, close: bool, if_none_match: str | None, immutable: bool) -> bytes:
        """A template with the date left open: 200, or 304 when the client has it (RFC 9110 section 13.1.2)."""
        caching = b"public, max-age=31536000, immutable" if immutable else b"no-cache"
        fields = b"Cache-Control: %b\r\nETag: %b\r\n" % (caching, self.tag.encode("ascii"))
        if if_none_match is not None and _has_tag(if_none_match, self.tag):
            closing = b"Connection: close\r\n" if close else b""
            return b"HTTP/1.1 304 Not Modified\r\nDate: %%b\r\n%b%b\r\n" % (fields, closing)
        reply = message(200, fields + self.fields, self.media, b"%d" % len(self.body), close)
        return reply if head else reply + self.body.replace(b"%", b"%%")


def _has_tag(if_none_match: str, tag: str) -> bool:
    return if_none_match.strip() == "*" or any(
        each.strip().removeprefix("W/") == tag for each in if_none_match.split(",")
    )


def files() -> dict[str, File]:
    """The script, worker and style of the challenge page by their paths."""
    found = {}
    for name, (media, fields) in _FILES.items():
        body = (STATIC / name).read_bytes()
        found[PREFIX + name] = File(media, body, fields + b"Cross-Origin-Resource-Policy: same-origin\r\n", tag(body))
    return found


def tag(body: bytes) -> str:
    """A strong entity tag."""
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'
