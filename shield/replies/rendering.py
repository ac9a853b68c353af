"""All replies of Shield, rendered: refusals, challenges, faults, redirects, answers about passes, its own files.

Each reply exists in three forms, and who reads it (shield/readers.py) decides between them: a page for people,
`application/problem+json` (RFC 9457) for programs, and a plain line for what can neither show nor parse the others.
Replies that a flood asks for are rendered at start-up and only filled in with a date and a few numbers.
Nothing of a request is repeated in a reply but the fields of a form, HTML-escaped, on the page that sends it on, and
the host and target in the Location of a redirect.

No I/O after construction and no clock: `set_date` is called once a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import orjson

from shield.http.cookies import HOST_ONLY
from shield.model import Action
from shield.readers import NOBODY, PEOPLE, PERSON, PREFLIGHT, SENDER, Reader
from shield.replies.faults import FAULTS
from shield.replies.pages import ANSWER_TO, CHALLENGE_FIELDS, HTML, NO_STORE, PROBLEMS, VARY, Files, Pages
from shield.replies.reply import NO_MEMBER, OPEN, Reply, Template, head_fields
from shield.replies.wording import (
    ANSWER_KIND,
    ANSWER_TITLE,
    ANSWERS,
    BAN,
    CHALLENGE,
    CHALLENGES,
    LIMIT,
    TURNED_AWAY,
    Wording,
)

if TYPE_CHECKING:
    from shield.model import Fault, Reason, Verdict
    from shield.policy.challenge.challenge import Challenge, Redemption

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"
PROBLEM_FIELDS: Final = NO_STORE + VARY

PLAIN: Final = b"text/plain; charset=utf-8"

_ROUNDING: Final = 1e-6
"""s."""
MOST_READY: Final = 256
"""Replies kept ready within a second, of some 2 KiB each; with all four of their messages made, of 10 KiB."""

Templates = tuple[Template, ...]
"""One reply for each reader."""


class Replies:
    """All replies for one configuration. `cookie` and `header` name what carries a pass."""

    __slots__ = (
        "_challenge_documents",
        "_challenge_fields",
        "_challenge_pages",
        "_cookie",
        "_date",
        "_faults",
        "_files",
        "_header",
        "_limits",
        "_pages",
        "_ready",
        "_refusals",
        "version",
    )

    def __init__(self, cookie: str, header: str) -> None:
        self._cookie = cookie.encode("ascii")
        self._header = header
        self._date = b""
        self._ready: dict[tuple[Verdict | Fault, Reader], Reply] = {}  # refusals and faults of this second
        self.set_date(0.0)
        self._files = Files()
        self.version = self._files.version
        self._pages = pages = Pages(self.version)
        self._files.describe_problems(pages)

        # Templates, by the value of the reason or the fault.
        self._refusals: dict[str, Templates] = {}
        self._limits: dict[str, Templates] = {}  # those that tell the state of a bucket, too
        for reason, said in TURNED_AWAY.items():
            word = reason.value
            document = problem(said.kind, said.status, said.title, said.detail, reason=word)
            wait = b"" if said is BAN else b"Retry-After: %d\r\n"
            self._refusals[word] = self._for_all(said, word, wait, document, said is not BAN)
            if said is LIMIT:
                # draft-ietf-httpapi-ratelimit-headers, since -08: structured fields; q, w, r and t are integers.
                name = word.encode("ascii")
                wait += b'RateLimit-Policy: "%b";q=%%d;w=%%d\r\nRateLimit: "%b";r=%%d;t=%%d\r\n' % (name, name)
                self._limits[word] = self._for_all(said, word, wait, document, True)
        self._faults = {
            fault.value: self._for_all(
                Wording(fault.value, fault.status, told.title, told.detail),
                fault.value,
                told.fields + (b"Retry-After: %d\r\n" % told.wait if told.wait else b""),
                problem(fault.value, fault.status, told.title, told.detail, reason=fault.value),
                told.wait > 0,
                told.closes,
            )
            for fault, told in FAULTS.items()
        }

        wait = b"Retry-After: %d\r\n"
        self._challenge_fields = (
            head_fields(OPEN, PROBLEM, b"%d", PROBLEM_FIELDS + wait),
            head_fields(OPEN, HTML, b"%d", CHALLENGE_FIELDS + wait),
        )
        self._challenge_documents = {reason.value: _challenge_document(reason) for reason in CHALLENGES}
        self._challenge_pages = {then: _open(pages.challenge(_MARKS, then, ())) for then in ("reload", "resend")}

    def _for_all(
        self, said: Wording, word: str, more: bytes, document: bytes, waits: bool, closes: bool = False
    ) -> Templates:
        """One reply for each reader, with the field lines `more`. `waits`: it makes sense to try again."""

        def template(media: bytes, body: bytes, fields: bytes) -> Template:
            return Template(said.status, head_fields(OPEN, media, b"%d" % len(body), fields + more), body, closes)

        def page(again: str) -> Template:
            body = self._pages.error(said.title, said.detail, said.hint, word, again if waits else "")
            return template(HTML, body, self._pages.error_fields)

        of_document = template(PROBLEM, document, PROBLEM_FIELDS)
        of_line = template(PLAIN, f"{said.title} ({word}).\n".encode(), PROBLEM_FIELDS)
        found = {PERSON: page("itself"), SENDER: page("visitor"), NOBODY: of_line, PREFLIGHT: of_line}
        return tuple(found.get(reader, of_document) for reader in Reader)

    def set_date(self, wall: float) -> None:
        """`wall`: seconds since the epoch. Every reply carries this date until the next call."""
        self._date = formatdate(wall, usegmt=True).encode("ascii")
        self._ready.clear()

    def refusal(self, verdict: Verdict, reader: Reader) -> Reply:
        """The reply to LIMIT (429), SHED (503) or BAN (403); to CHALLENGE (503) for who cannot answer one.

        A flood meets this: equal refusals are one verdict, and its reply is made once a second.
        """
        reply = self._ready.get((verdict, reader))
        if reply is None:
            reply = self._keep(verdict, reader, self._refusal(verdict, reader))
        return reply

    def _keep(self, what: Verdict | Fault, reader: Reader, reply: Reply) -> Reply:
        """Keep `reply` ready until the second is over."""
        if len(self._ready) >= MOST_READY:
            self._ready.clear()
        self._ready[what, reader] = reply
        return reply

    def _refusal(self, verdict: Verdict, reader: Reader) -> Reply:
        word = verdict.reason._value_  # not `.value`, which is a descriptor written in Python
        wait = verdict.retry_after
        if verdict.limit is not None and word in self._limits:
            rate, burst = verdict.limit
            # In units: a request costs one for each 10 ms of upstream time; for a route in requests. The window is the
            # time to fill the bucket, up to the rounding of a rate of five a minute.
            window = max(ceil(burst / rate - _ROUNDING), 1)
            return self._limits[word][reader].fill(
                self._date, wait, burst, window, max(verdict.remaining, 0), wait, wait=wait
            )
        template = self._refusals[word][reader]
        if verdict.action is Action.BAN:
            return template.fill(self._date)
        return template.fill(self._date, wait, wait=wait)

    def challenge(
        self,
        verdict: Verdict,
        challenge: Challenge,
        reader: Reader,
        method: str,
        form: Sequence[tuple[str, str]] | None,
    ) -> Reply:
        """The reply to CHALLENGE: 503 with the page that solves it, or with the challenge as a problem document. Who
        reads neither gets a refusal instead, and no challenge.

        `form` is what a POST of this same origin carried (`parse_form`); the page sends it on. Other requests with a
        body cannot be sent on, and the page says so.
        """
        values = {
            b"token": challenge.token.encode("ascii"),
            b"k": b"%d" % challenge.k,
            b"target": b"%016x" % challenge.target,
            b"expected_hashes": b"%d" % challenge.expected_hashes,
            b"expires_in": b"%d" % challenge.expires_in,
        }
        page = reader in PEOPLE
        if not page:
            body = self._challenge_documents[verdict.reason._value_] % values
        elif method == "GET" or method == "HEAD":
            body = self._challenge_pages["reload"] % values
        elif form is None or method != "POST":
            body = self._challenge_pages["resend"] % values
        else:
            texts = {name.decode(): value.decode() for name, value in values.items()}
            body = self._pages.challenge(texts, "submit", form)
        wait = verdict.retry_after if verdict.retry_after > 0 else 1
        return Reply(CHALLENGE.status, self._challenge_fields[page] % (self._date, len(body), wait), body)

    def fault(self, fault: Fault, reader: Reader) -> Reply:
        """The reply to a fault (faults.py)."""
        reply = self._ready.get((fault, reader))
        if reply is None:
            template = self._faults[fault._value_][reader]
            reply = self._keep(fault, reader, template.fill(self._date, wait=FAULTS[fault].wait))
        return reply

    def static(self, path: str, if_none_match: str | None, query: str = "", accept_encoding: str = "") -> Reply | None:
        """A file of the challenge page or the page about a kind of problem; None when there is none at `path`.

        `if_none_match` and `accept_encoding` are the fields of these names, `query` the part of the target after "?".
        """
        return self._files.reply(path, self._date, if_none_match, query, accept_encoding)

    def redirect(self, location: bytes) -> Reply:
        """308 to `location`. It is not to be stored: what keeps browsers from asking again is tls.hsts."""
        fields = b"Date: %b\r\nLocation: %b\r\nContent-Length: 0\r\n%b" % (self._date, location, NO_STORE)
        return Reply(308, fields, b"")

    def redeemed(self, redemption: Redemption, secure: bool) -> Reply:
        """The reply to an answer: 200 with the pass in the body and in a cookie, 202 with a ticket, or the problem.
        `secure`: over TLS."""
        word = redemption.result.value
        status, detail = ANSWERS[word]
        if word == "accepted":
            media = JSON
            cookie = self.set_cookie(redemption.pass_token, redemption.lifetime, secure)
            fields = NO_STORE + b"Set-Cookie: " + cookie + b"\r\n"
            body = orjson.dumps(
                {
                    "pass": redemption.pass_token,
                    "header": self._header,
                    "cookie": self._cookie_name(secure).decode("ascii"),
                    "lifetime": redemption.lifetime,
                }
            )
        elif word == "waiting":
            media = JSON
            fields = NO_STORE + b"Retry-After: %d\r\n" % redemption.retry_after
            body = orjson.dumps({"ticket": redemption.ticket, "wait": redemption.wait, "answer_to": ANSWER_TO})
        else:
            media = PROBLEM
            # The share of a core that is spent on verifying is limited: `busy` says when there is time again.
            fields = NO_STORE + (b"Retry-After: %d\r\n" % redemption.retry_after if word == "busy" else b"")
            body = problem(ANSWER_KIND, status, ANSWER_TITLE, detail, reason=word)
        return Reply(status, head_fields(self._date, media, b"%d" % len(body), fields), body)

    def set_cookie(self, token: str, lifetime: int, secure: bool) -> bytes:
        """The value of a Set-Cookie field that gives the pass `token` for `lifetime` seconds. `secure`: over TLS, where
        the name says that no other host of the domain has set it."""
        return b"%b=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%b" % (
            self._cookie_name(secure),
            token.encode("ascii"),
            lifetime,
            b"; Secure" if secure else b"",
        )

    def _cookie_name(self, secure: bool) -> bytes:
        return HOST_ONLY + self._cookie if secure else self._cookie


def problem(kind: str, status: int, title: str, detail: str, **members: Any) -> bytes:
    """A problem document (RFC 9457), with room for the id of its request. `kind` names its page below PROBLEMS."""
    said = {"type": PROBLEMS + kind, "title": title, "status": status, "detail": detail} | members
    return orjson.dumps(said)[:-1] + NO_MEMBER + b"}"


_MARKS: Final = {name: f"@{name}@" for name in ("token", "k", "target", "expected_hashes", "expires_in")}
"""What stands for the values of a challenge while a template is rendered. Neither JSON nor HTML escapes it."""


def _open(rendered: bytes) -> bytes:
    """The template for `bytes % mapping` that `rendered`, which holds the marks, makes."""
    template = rendered.replace(b"%", b"%%")
    for name, mark in _MARKS.items():
        template = template.replace(mark.encode(), b"%%(%b)b" % name.encode())
    return template


def _challenge_document(reason: Reason) -> bytes:
    """The problem document of a challenge as a template. Numbers lose the quotes that their marks had."""
    members = _MARKS | {"algorithm": "sha256", "answer_to": ANSWER_TO}
    said = CHALLENGE
    document = _open(problem(said.kind, said.status, said.title, said.detail, reason=reason.value, challenge=members))
    for name in (b"k", b"expected_hashes", b"expires_in"):
        document = document.replace(b'"%%(%b)b"' % name, b"%%(%b)b" % name)
    return document
