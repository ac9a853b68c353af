"""The pages for people and the files that they need, made from static/, and the paths at which Shield serves its own.

Everything here is made once, at start-up, except a challenge page that carries a form.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2

from shield.replies.reply import UNNAMED, WAIT, Reply, head_fields
from shield.replies.wording import problem_kinds

PREFIX: Final = "/.well-known/shield/"
"""Paths below this one are Shield's own, and never sent to a server."""
ANSWER_TO: Final = PREFIX + "answer"
PROBLEMS: Final = PREFIX + "problems/"
STATIC: Final = Path(__file__).parent / "static"

HTML: Final = b"text/html; charset=utf-8"
NO_STORE: Final = b"Cache-Control: no-store\r\n"
VARY: Final = b"Vary: Accept, Origin, Sec-Fetch-Mode, Sec-Fetch-Dest\r\n"
_EMBEDDED: Final = b"Cross-Origin-Embedder-Policy: require-corp\r\n"
"""Without it, a browser shows no page in a frame of a page that says so, and starts no worker for it."""
_PAGE_FIELDS: Final = b"Referrer-Policy: same-origin\r\nX-Robots-Tag: noindex\r\n" + _EMBEDDED
"""`same-origin`, not `no-referrer`: a form sent on from the challenge page must still carry its Origin."""
_CHALLENGE_POLICY: Final = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
    b"connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'\r\n"
)
_ERROR_POLICY: Final = (
    b"Content-Security-Policy: default-src 'none'; style-src 'sha256-%b'; script-src 'sha256-%b'; img-src data:; "
    b"form-action 'none'; base-uri 'none'; frame-ancestors 'self'\r\n"
)
CHALLENGE_FIELDS: Final = NO_STORE + VARY + _PAGE_FIELDS + _CHALLENGE_POLICY

_ANYWHERE: Final = b"Cross-Origin-Resource-Policy: cross-origin\r\n"
"""In a sandbox the page's origin is nobody's, and it needs its files to say so. They are the same for all."""
_JAVASCRIPT: Final = b"text/javascript; charset=utf-8"
_WORKER_POLICY: Final = b"Content-Security-Policy: default-src 'none'; script-src 'wasm-unsafe-eval'\r\n"
"""A worker's policy is that of its own response: it compiles WebAssembly and does nothing else."""
_FILES: Final[Mapping[str, tuple[bytes, bytes]]] = {
    "worker.js": (_JAVASCRIPT, _EMBEDDED + _WORKER_POLICY),
    "solver.js": (_JAVASCRIPT, b""),
    "page.css": (b"text/css; charset=utf-8", b""),
}
"""Media type and further fields of each file of the challenge page, by its name in static/."""


class Pages:
    """The pages for people. `version` is the one that their files have in their addresses."""

    __slots__ = ("_challenge", "_error", "_script", "_style", "error_fields", "policy_fields", "version")

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
        # Style and script are inside the page, so that a refused browser asks for nothing more; the policy names their
        # hashes.
        self._style = (STATIC / "error.css").read_text(encoding="utf-8").strip()
        self._script = _without_comments((STATIC / "busy.js").read_text(encoding="utf-8"))
        self.policy_fields = _PAGE_FIELDS + _ERROR_POLICY % (_digest(self._style), _digest(self._script))
        self.error_fields = NO_STORE + VARY + self.policy_fields

    def error(self, title: str, detail: str, hint: str = "", reason: str = "", again: str = "") -> bytes:
        """A short page without further files. `again` says who tries again after WAIT: the page "itself", or the
        "visitor", who has sent something; nobody otherwise."""
        page: str = self._error.render(
            style=self._style,
            script=self._script,
            title=title,
            detail=detail,
            hint=hint,
            reason=reason,
            again=again,
            wait=WAIT.decode(),
            unnamed=UNNAMED.decode(),
        )
        return page.encode()

    def challenge(self, challenge: Mapping[str, str], then: str, form: Sequence[tuple[str, str]]) -> bytes:
        """The page that solves `challenge`. `then` says how it goes on: "reload" the page, "submit" the form, or ask
        the visitor to "resend" it."""
        return self._challenge.render(
            challenge=challenge,
            then=then,
            form=form,
            answer_to=ANSWER_TO,
            prefix=PREFIX,
            version=self.version,
            unnamed=UNNAMED.decode(),
        ).encode()


def _digest(text: str) -> bytes:
    return base64.b64encode(hashlib.sha256(text.encode()).digest())


def _without_comments(script: str) -> str:
    """A script with neither indentation nor lines that are comments: it is sent with each page."""
    lines = (line.strip() for line in script.splitlines())
    return "\n".join(line for line in lines if not line.startswith("//"))


@dataclass(frozen=True, slots=True)
class File:
    """A file that Shield serves, as it is and `zipped`, with its further `fields` and a strong entity `tag`."""

    media: bytes
    body: bytes
    zipped: bytes
    fields: bytes
    tag: str

    def reply(self, date: bytes, if_none_match: str | None, immutable: bool, zipped: bool) -> Reply:
        """200 with the file, or 304 when the client has it already (RFC 9110 section 13.1.2)."""
        if zipped:  # another representation, with a tag of its own (RFC 9110 section 8.8.3.3)
            tag = self.tag[:-1] + '-gzip"'
            coding = b"Content-Encoding: gzip\r\n"
            other = File(self.media, self.zipped, b"", self.fields + coding, tag)
            return other.reply(date, if_none_match, immutable, False)
        caching = b"public, max-age=31536000, immutable" if immutable else b"no-cache"
        fields = b"Cache-Control: %b\r\nVary: Accept-Encoding\r\nETag: %b\r\n" % (caching, self.tag.encode("ascii"))
        if if_none_match is not None and _has_tag(if_none_match, self.tag):
            return Reply(304, b"Date: %b\r\n%b" % (date, fields), b"")
        fields = head_fields(date, self.media, b"%d" % len(self.body), fields + self.fields)
        return Reply(200, fields, self.body)


def _has_tag(if_none_match: str, tag: str) -> bool:
    return if_none_match.strip() == "*" or any(
        each.strip().removeprefix("W/") == tag for each in if_none_match.split(",")
    )


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether a client takes a body in gzip, by its Accept-Encoding (RFC 9110 section 12.5.3)."""
    for each in accept_encoding.lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0") not in ("q=", "q=0.")
    return False


def _entity_tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


class Files:
    """All that Shield serves below PREFIX: the files of the challenge page, and a page about each kind of problem."""

    __slots__ = ("_by_path", "version")

    def __init__(self) -> None:
        self._by_path: dict[str, File] = {}
        for name, (media, fields) in _FILES.items():
            self._add(PREFIX + name, media, (STATIC / name).read_bytes(), _ANYWHERE + fields)
        self.version = hashlib.sha256(b"".join(file.body for file in self._by_path.values())).hexdigest()[:16]
        """Hash over the files of the challenge page. It is part of their addresses, so they are cached for ever."""

    def _add(self, path: str, media: bytes, body: bytes, fields: bytes) -> None:
        zipped = gzip.compress(body, 9, mtime=0)
        self._by_path[path] = File(media, body, zipped, fields, _entity_tag(body))

    def describe_problems(self, pages: Pages) -> None:
        """Add the page that the `type` of each problem document leads to."""
        for kind, title, detail in problem_kinds():
            self._add(PROBLEMS + kind, HTML, pages.error(title, detail), pages.policy_fields)

    def reply(
        self, path: str, date: bytes, if_none_match: str | None, query: str, accept_encoding: str
    ) -> Reply | None:
        """The file at `path`, or None. Only an address with the current version in its `query` may be kept for ever."""
        file = self._by_path.get(path)
        if file is None:
            return None
        return file.reply(date, if_none_match, query == "v=" + self.version, _takes_gzip(accept_encoding))
