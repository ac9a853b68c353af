"""The pages for people and the files that they need, made from static/, and the paths at which Shield serves its own.

Everything here is made once, at start-up, except a challenge page that carries a form.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from shield.http.lists import members
from shield.replies.catalogue import Catalogue
from shield.replies.looks import STATIC, Looks
from shield.replies.reply import UNNAMED, WAIT, Reply, head_fields
from shield.replies.wording import problem_kinds

PREFIX: Final = "/.well-known/shield/"
"""Paths below this one are Shield's own, and never sent to a server."""
ANSWER_TO: Final = PREFIX + "answer"
PASS: Final = PREFIX + "pass"
"""Where a page asks how long its pass is good for."""
PROBLEMS: Final = PREFIX + "problems/"
MODULE: Final = PREFIX + "hashwx.wasm"

HTML: Final = b"text/html; charset=utf-8"
NO_STORE: Final = b"Cache-Control: no-store\r\n"
VARY: Final = b"Vary: Accept, Accept-Encoding, Accept-Language, Origin, Sec-Fetch-Mode, Sec-Fetch-Dest\r\n"
_EMBEDDED: Final = b"Cross-Origin-Embedder-Policy: require-corp\r\n"
"""Without it, a browser shows no page in a frame of a page that says so, and starts no worker for it."""
_PAGE_FIELDS: Final = b"Referrer-Policy: same-origin\r\nX-Robots-Tag: noindex\r\n" + _EMBEDDED
"""`same-origin`, not `no-referrer`: a form sent on from the challenge page must still carry its Origin."""
_CHALLENGE_POLICY: Final = (
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
    b"connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'\r\n"
)
_WHOLE_POLICY: Final = (
    b"Content-Security-Policy: default-src 'none'; script-src 'sha256-%b' 'sha256-%b' 'wasm-unsafe-eval'; "
    b"worker-src blob:; style-src 'sha256-%b'; connect-src 'self'; img-src data:; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'self'\r\n"
)
"""The policy of a page that brings its style and scripts along. The worker that it makes of its own text is under the
same policy, and compiles WebAssembly."""
_ERROR_POLICY: Final = (
    b"Content-Security-Policy: default-src 'none'; style-src 'sha256-%b'; script-src 'sha256-%b'; img-src data:; "
    b"form-action 'none'; base-uri 'none'; frame-ancestors 'self'\r\n"
)
CHALLENGE_FIELDS: Final = NO_STORE + VARY + _PAGE_FIELDS + _CHALLENGE_POLICY
MOST_ZIPPED: Final = 20_000
"""bytes of a challenge page, compressed, with all that it needs."""

_ANYWHERE: Final = b"Cross-Origin-Resource-Policy: cross-origin\r\n"
"""In a sandbox the page's origin is nobody's, and it needs its files to say so. They are the same for all."""
_JAVASCRIPT: Final = b"text/javascript; charset=utf-8"
_WORKER_POLICY: Final = b"Content-Security-Policy: default-src 'none'; script-src 'wasm-unsafe-eval'\r\n"
"""A worker's policy is that of its own response: it compiles WebAssembly and does nothing else."""
_FILES: Final[Mapping[str, tuple[bytes, bytes]]] = {
    "worker.js": (_JAVASCRIPT, _EMBEDDED + _WORKER_POLICY),
    "solver.js": (_JAVASCRIPT, b""),
    "page.css": (b"text/css; charset=utf-8", b""),
    "renew.js": (_JAVASCRIPT, b""),
}
"""Media type and further fields of each file of the challenge page, and of the script for the site's own pages, by its
name in static/."""


class Pages:
    """The pages for people, as they look. `version` is the one that their files have in their addresses; `hashwx`:
    their challenges are in HashWX, too."""

    __slots__ = (
        "_challenge",
        "_error",
        "_hashwx",
        "_looks",
        "_parts",
        "_script",
        "_style",
        "error_fields",
        "policy_fields",
        "version",
        "whole_fields",
    )

    def __init__(self, version: str, looks: Looks, hashwx: bool = False) -> None:
        self._hashwx = hashwx
        env = SandboxedEnvironment(
            loader=jinja2.FunctionLoader(lambda name: (looks.file(name), name, lambda: True)),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._looks = looks
        self.version = version
        self._challenge = env.get_template("challenge.html")
        self._error = env.get_template("error.html")
        # Style and script are inside the page, so that a refused browser asks for nothing more; the policy names their
        # hashes.
        self._style = looks.file("error.css").strip()
        self._script = _plain("busy.js")
        self._parts = {
            "style": _without_comments(looks.file("page.css")),
            "worker": _plain("worker.js"),
            "solver": _plain("solver.js"),
        }
        self.policy_fields = _PAGE_FIELDS + _ERROR_POLICY % (_digest(self._style), _digest(self._script))
        self.error_fields = NO_STORE + VARY + self.policy_fields
        parts = (_digest(self._parts[each]) for each in ("worker", "solver", "style"))
        self.whole_fields = NO_STORE + VARY + _PAGE_FIELDS + _WHOLE_POLICY % tuple(parts)

    def error(
        self, words: Catalogue, title: str, detail: str, hint: str = "", reason: str = "", again: str = ""
    ) -> bytes:
        """A short page without further files. `again` says who tries again after WAIT: the page "itself", or the
        "visitor", who has sent something; nobody otherwise."""
        page: str = self._error.render(
            self._shared(words),
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

    def challenge(
        self,
        words: Catalogue,
        challenge: Mapping[str, str],
        then: str,
        form: Sequence[tuple[str, str]],
        whole: bool = False,
        waits: bool = False,
    ) -> bytes:
        """The page that solves `challenge`. `then` says how it goes on: "reload" the page, "submit" the form, or ask
        the visitor to "resend" it. `whole`: with style and scripts in it; `waits`: who has no script may wait."""
        return self._challenge.render(
            self._shared(words) | self._parts,
            challenge=challenge,
            hashwx=self._hashwx,
            then=then,
            form=form,
            inline=whole,
            waits=waits,
            answer_to=ANSWER_TO,
            prefix=PREFIX,
            version=self.version,
        ).encode()

    def _shared(self, words: Catalogue) -> dict[str, Any]:
        looks = self._looks

        def english(text: str) -> str:
            other = words.tag != "en" and text not in words.texts
            return ' lang="en" dir="ltr"' if other else ""

        return {
            "t": words.text,
            "english": english,
            "lang": words.tag,
            "dir": words.direction,
            "name": looks.name,
            "logo": looks.logo,
            "contact": looks.contact,
        }


def _plain(name: str) -> str:
    """A script of ours, as it stands within a page."""
    return _without_comments((STATIC / name).read_text(encoding="utf-8"))


class Split:
    """A page that differs from one time to the next behind a place only. What stands before it is compressed once.

    RFC 1952 and 1951: the compressed beginning ends at a whole byte (a full flush), the rest follows as a stored block,
    and the checksum goes on from that of the beginning. So a page costs the checksum of its last kilobyte.
    """

    __slots__ = ("_before", "_begins", "_checksum", "rest")

    def __init__(self, page: bytes) -> None:
        """`page`: a format for `bytes % mapping`; the rest begins with its first value."""
        at = page.index(b"%(")
        self._before = begins = page[:at].replace(b"%%", b"%")
        self.rest = page[at:]
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
        self._begins = _GZIP_HEAD + packer.compress(begins) + packer.flush(zlib.Z_FULL_FLUSH)
        self._checksum = zlib.crc32(begins)

    def plain(self, values: Mapping[bytes, bytes]) -> bytes:
        """The page with these values, as it is."""
        return self._before + self.rest % values

    def zipped(self, values: Mapping[bytes, bytes]) -> bytes:
        """The page with these values, in gzip."""
        rest = self.rest % values
        size = len(rest)
        ends = _STORED.pack(1, size, size ^ 0xFFFF)
        return b"".join(
            (self._begins, ends, rest, _GZIP_TAIL.pack(zlib.crc32(rest, self._checksum), len(self._before) + size))
        )


_GZIP_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
_STORED: Final = struct.Struct("<BHH")
_GZIP_TAIL: Final = struct.Struct("<II")


def _digest(text: str) -> bytes:
    return base64.b64encode(hashlib.sha256(text.encode()).digest())


def _without_comments(text: str) -> str:
    """A script or style with neither indentation nor lines that are comments: it is sent with each page."""
    lines = (_COMMENT.sub("", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


_COMMENT: Final = re.compile(r"^\s*/\*.*\*/\s*$|(?<=[;{,])\s+//\s[^\"'`]*$")
"""A line that is a comment of CSS, or what is said at the end of a line of a script."""


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
    return if_none_match.strip() == "*" or any(each.removeprefix("W/") == tag for each in members(if_none_match))


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client takes a body in gzip, by its Accept-Encoding (RFC 9110 section 12.5.3)."""
    for each in members(accept_encoding.lower()):
        coding, _, weight = each.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0") not in ("q=", "q=0.")
    return False


def _entity_tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


class Files:
    """All that Shield serves below PREFIX: the files of the challenge page, the module of `hashwx` where that is asked
    for, and a page about each kind of problem."""

    __slots__ = ("_by_path", "version")

    def __init__(self, looks: Looks, hashwx: bytes = b"") -> None:
        self._by_path: dict[str, File] = {}
        for name, (media, fields) in _FILES.items():
            self._add(PREFIX + name, media, looks.file(name).encode(), _ANYWHERE + fields)
        if hashwx:
            self._add(MODULE, b"application/wasm", hashwx, _ANYWHERE)
        self.version = hashlib.sha256(b"".join(file.body for file in self._by_path.values())).hexdigest()[:16]
        """Hash over the files of the challenge page. It is part of their addresses, so they are cached for ever."""

    def _add(self, path: str, media: bytes, body: bytes, fields: bytes) -> None:
        zipped = gzip.compress(body, 9, mtime=0)
        self._by_path[path] = File(media, body, zipped, fields, _entity_tag(body))

    def describe_problems(self, pages: Pages, words: Catalogue) -> None:
        """Add the page that the `type` of each problem document leads to."""
        for kind, title, detail in problem_kinds():
            self._add(PROBLEMS + kind, HTML, pages.error(words, title, detail), pages.policy_fields)

    def reply(
        self, path: str, date: bytes, if_none_match: str | None, query: str, accept_encoding: str
    ) -> Reply | None:
        """The file at `path`, or None. Only an address with the current version in its `query` may be kept for ever."""
        file = self._by_path.get(path)
        if file is None:
            return None
        return file.reply(date, if_none_match, query == "v=" + self.version, takes_gzip(accept_encoding))
