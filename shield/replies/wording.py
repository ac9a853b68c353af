"""Every byte Shield says itself: refusals, challenges, faults, answers about passes, the challenge page's files.

Each reply exists for two readers: a page for people, and `application/problem+json` (RFC 9457) for programs; the caller
says which (`page`). Replies are complete HTTP/1.1 messages. Those that a flood asks for are rendered at the start and
only filled in with a date and a few numbers (`bytes % values`). Nothing of a request is repeated in a reply but
the fields of a form, HTML-escaped, on the page that sends it on.

No I/O after construction and no clock: `set_date` is called once a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import orjson

from shield.http.head import HOST_ONLY
from shield.model import Action, Fault, Reason
from shield.replies.faults import FAULTS
from shield.replies.rendering import (
    ANSWER_TO,
    CHALLENGE_FIELDS,
    HTML,
    JSON,
    NO_STORE,
    PREFIX,
    PROBLEM,
    PROBLEM_FIELDS,
    PROBLEMS,
    File,
    Pages,
    files,
    message,
    problem,
    tag,
    variant,
    variants,
)

if TYPE_CHECKING:
    from shield.model import Verdict
    from shield.policy.challenge import Challenge, Redemption

__all__ = ["ANSWERS", "ANSWER_TO", "CHALLENGES", "PREFIX", "REFUSALS", "Replies"]

"""Retry-After of an answer that there was no time to verify: the share of a core spent on it is limited."""

# What is said about a refusal: kind of problem, status, title, detail, and a hint for people.
_LIMIT: Final = (
    "limit",
    429,
    "Too many requests",
    "More requests came from here than this site allows at the moment.",
    "Please wait a little, then reload the page.",
)
_SHED: Final = (
    "shed",
    503,
    "The site is very busy",
    "More is asked of the site than it can do at the moment.",
    "Please reload the page in a few seconds.",
)
_BAN: Final = (
    "ban",
    403,
    "Access refused",
    "Requests from here are not accepted at the moment.",
    "If this seems wrong to you, please tell the people who run this site.",
)
REFUSALS: Final[Mapping[Reason, tuple[str, int, str, str, str]]] = {
    Reason.PASS_RATE: _LIMIT,
    Reason.CLIENT_RATE: _LIMIT,
    Reason.ADDRESS_RATE: _LIMIT,
    Reason.NETWORK_RATE: _LIMIT,
    Reason.FINGERPRINT_RATE: _LIMIT,
    Reason.QUEUE_FULL: _SHED,
    Reason.OUTRANKED: _SHED,
    Reason.QUEUE_TIMEOUT: _SHED,
    Reason.DENYLISTED: _BAN,
    Reason.CLIENT_BANNED: _BAN,
    Reason.ADDRESS_BANNED: _BAN,
    Reason.HONEYPOT: _BAN,
}

CHALLENGES: Final = (Reason.CHALLENGE_ALWAYS, Reason.NEWCOMER, Reason.BAD_REPUTATION, Reason.OVERSUBSCRIBED)
_CHALLENGE: Final = (
    "challenge",
    503,
    "Proof of work required",
    "Solve the challenge, send the answer, and repeat the request with the pass.",
)

# The status of the reply to an answer, by the value of `Redeemed`, and why it was not accepted.
ANSWERS: Final[Mapping[str, tuple[int, str]]] = {
    "accepted": (200, ""),
    "waiting": (202, ""),
    "malformed": (400, "This is not an answer, or has not as many nonces as the challenge asks for."),
    "forged": (400, "The token, or the ticket, was not issued by this site."),
    "foreign": (400, "The token was issued to another client, or your address has changed. Ask for a new one."),
    "expired": (400, "The challenge has expired, or the place in the waiting room is lost. Ask for a new challenge."),
    "spent": (400, "The challenge has been answered before. Ask for a new one."),
    "wrong": (400, "At least one nonce does not meet the target."),
    "busy": (503, "Too many answers are being verified. Send the same answer again."),
}


MOST_SAID: Final = 256
"""Refusals kept ready. A reply has some 1,300 bytes."""


class Replies:
    """All replies, rendered for one configuration. `cookie` and `header` name what carries a pass."""

    __slots__ = (
        "_challenge_documents",
        "_challenge_heads",
        "_challenge_pages",
        "_cookie",
        "_date",
        "_faults",
        "_files",
        "_header",
        "_limited",
        "_pages",
        "_refusals",
        "_said",
        "version",
    )

    def __init__(self, cookie: str, header: str) -> None:
        self._cookie = cookie.encode("ascii")
        self._header = header
        self._date = b""
        self._said: dict[tuple[Verdict, bool, bool, bool], bytes] = {}  # refusals of this second
        self.set_date(0.0)
        self._files = files()
        self.version = hashlib.sha256(b"".join(file.body for file in self._files.values())).hexdigest()[:16]
        """Hash over the files of the challenge page. It is part of their addresses, so they are cached for ever."""
        self._pages = pages = Pages(self.version)

        self._refusals: dict[str, tuple[bytes, ...]] = {}
        self._limited: dict[str, tuple[bytes, ...]] = {}
        for reason, (kind, status, title, detail, hint) in REFUSALS.items():
            word = reason.value
            page = pages.error(title, detail, hint, word)
            document = problem(kind, status, title, detail, reason=word)
            wait = b"" if kind == "ban" else b"Retry-After: %d\r\n"
            self._refusals[word] = variants(status, pages.error_fields + wait, page, PROBLEM_FIELDS + wait, document)
            if kind == "limit":
                # draft-ietf-httpapi-ratelimit-headers, since -08: structured fields; q, w, r and t are integers.
                name = word.encode("ascii")
                wait += b'RateLimit-Policy: "%b";q=%%d;w=%%d\r\nRateLimit: "%b";r=%%d;t=%%d\r\n' % (name, name)
                self._limited[word] = variants(status, pages.error_fields + wait, page, PROBLEM_FIELDS + wait, document)

        self._faults = {
            fault.value: variants(
                told.status,
                pages.error_fields + told.fields,
                pages.error(told.title, told.detail, "", fault.value),
                PROBLEM_FIELDS + told.fields,
                problem(fault.value, told.status, told.title, told.detail, reason=fault.value),
            )
            for fault, told in FAULTS.items()
        }

        self._challenge_heads = tuple(
            message(503, fields + b"Retry-After: %d\r\n", media, b"%d", close)
            for close in (False, True)
            for fields, media in ((PROBLEM_FIELDS, PROBLEM), (CHALLENGE_FIELDS, HTML))
        )
        self._challenge_documents = {reason.value: _challenge_document(reason) for reason in CHALLENGES}
        self._challenge_pages = {then: _open(pages.challenge(_MARKS, then, ())) for then in ("reload", "resend")}

        for kind, title, detail in _problem_kinds():
            body = pages.error(title, detail)
            self._files[PROBLEMS + kind] = File(HTML, body, pages.policy_fields, tag(body))

    def set_date(self, wall: float) -> None:
        """`wall`: seconds since the epoch. Every reply carries this date until the next call."""
        self._date = formatdate(wall, usegmt=True).encode("ascii")
        self._said.clear()

    def refusal(self, verdict: Verdict, page: bool, head: bool, close: bool) -> bytes:
        """The reply to LIMIT (429), SHED (503) or BAN (403). KeyError for the reason of another action.

        This is what a flood meets: equal refusals are one verdict, and its reply is made once a second.
        """
        key = (verdict, page, head, close)
        said = self._said.get(key)
        if said is None:
            if len(self._said) >= MOST_SAID:
                self._said.clear()
            said = self._said[key] = self._refusal(verdict, page, head, close)
        return said

    def _refusal(self, verdict: Verdict, page: bool, head: bool, close: bool) -> bytes:
        word = verdict.reason._value_  # not `.value`, which is a descriptor written in Python
        index = page | head << 1 | close << 2
        if verdict.limit is not None and word in self._limited:
            rate, burst = verdict.limit
            wait = verdict.retry_after
            remaining = verdict.remaining
            # In units: a request costs one for each 10 ms of upstream time. The window is the time to fill the bucket.
            window = -(-burst // rate)
            return self._limited[word][index] % (
                self._date,
                wait,
                burst,
                max(window, 1),
                max(remaining, 0),
                wait,
            )
        template = self._refusals[word][index]
        if verdict.action is Action.BAN:
            return template % self._date
        return template % (self._date, verdict.retry_after)

    def challenge(
        self,
        verdict: Verdict,
        challenge: Challenge,
        page: bool,
        head: bool,
        close: bool,
        method: str,
        form: Sequence[tuple[str, str]] | None,
    ) -> bytes:
        """The reply to CHALLENGE: 503 with the page that solves it, or with the challenge as a problem document.

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
        reply = self._challenge_heads[page | close << 1] % (self._date, len(body), wait)
        return reply if head else reply + body

    def fault(self, fault: Fault, page: bool, head: bool, close: bool) -> bytes:
        """The reply to a fault. Closes when the caller or the fault says so."""
        return self._faults[fault.value][variant(page, head, close or FAULTS[fault].closes)] % self._date

    def static(self, path: str, head: bool, close: bool, if_none_match: str | None, query: str = "") -> bytes | None:
        """A file of the challenge page or the page about a kind of problem; None when there is none at `path`.

        `query` is the part of the target after "?": only with the current version in it may the file be kept for ever.
        """
        file = self._files.get(path)
        if file is None:
            return None
        return file.reply(head, close, if_none_match, query == "v=" + self.version) % self._date

    def redirect(self, location: bytes, close: bool) -> bytes:
        """308 to `location`. Not to be stored: what keeps browsers from asking again is tls.hsts."""
        return b"HTTP/1.1 308 Permanent Redirect\r\nDate: %b\r\nLocation: %b\r\nContent-Length: 0\r\n%b%b\r\n" % (
            self._date,
            location,
            NO_STORE,
            b"Connection: close\r\n" if close else b"",
        )

    def redeemed(self, redemption: Redemption, secure: bool, head: bool, close: bool) -> bytes:
        """The reply to an answer: 200 with the pass in the body and in a cookie, 202 with a ticket, or the problem."""
        word = redemption.result.value
        status, detail = ANSWERS[word]
        if word == "accepted":
            media = JSON
            name = self._cookie_name(secure)
            cookie = self.set_cookie(redemption.pass_token, redemption.lifetime, secure)
            fields = NO_STORE + b"Set-Cookie: " + cookie + b"\r\n"
            body = orjson.dumps(
                {
                    "pass": redemption.pass_token,
                    "header": self._header,
                    "cookie": name.decode("ascii"),
                    "lifetime": redemption.lifetime,
                }
            )
        elif word == "waiting":
            media = JSON
            fields = NO_STORE + b"Retry-After: %d\r\n" % redemption.retry_after
            body = orjson.dumps({"ticket": redemption.ticket, "wait": redemption.wait, "answer_to": ANSWER_TO})
        else:
            media = PROBLEM
            fields = NO_STORE + (b"Retry-After: %d\r\n" % redemption.retry_after if word == "busy" else b"")
            body = problem("answer", status, "Answer not accepted", detail, reason=word)
        reply = message(status, fields, media, b"%d" % len(body), close) % self._date
        return reply if head else reply + body

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


_MARKS: Final = {name: f"@{name}@" for name in ("token", "k", "target", "expected_hashes", "expires_in")}
"""Stand in for the values of a challenge while a template is rendered; neither JSON nor HTML escapes them."""


def _open(rendered: bytes) -> bytes:
    """Turns `rendered`, which holds the marks, into a template for `bytes % mapping`."""
    template = rendered.replace(b"%", b"%%")
    for name, mark in _MARKS.items():
        template = template.replace(mark.encode(), b"%%(%b)b" % name.encode())
    return template


def _challenge_document(reason: Reason) -> bytes:
    """The problem document of a challenge as a template. Numbers lose the quotes that their marks had."""
    members = _MARKS | {"algorithm": "sha256", "answer_to": ANSWER_TO}
    document = _open(problem(*_CHALLENGE, reason=reason.value, challenge=members))
    for name in (b"k", b"expected_hashes", b"expires_in"):
        document = document.replace(b'"%%(%b)b"' % name, b"%%(%b)b" % name)
    return document


def _problem_kinds() -> list[tuple[str, str, str]]:
    """Each kind of problem, for the page its type leads to: kind, title, detail."""
    kinds = [(kind, title, detail) for kind, _, title, detail, _ in (_LIMIT, _SHED, _BAN)]
    kinds.append((_CHALLENGE[0], _CHALLENGE[2], _CHALLENGE[3]))
    kinds.append(("answer", "Answer not accepted", "The member `reason` of the document says why."))
    kinds += [(fault.value, told.title, told.detail) for fault, told in FAULTS.items()]
    return kinds
