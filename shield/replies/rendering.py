"""All replies of Shield, rendered: refusals, challenges, faults, redirects, answers about passes, its own files.

Each reply exists in three forms, and who reads it (shield/readers.py) decides between them: a page for people,
`application/problem+json` (RFC 9457) for programs, and a plain line for what can neither show nor parse the others.
Replies that a flood asks for are rendered once, those for people once in each language that somebody asks for
(languages.py), and only filled in with a date and a few numbers.
Nothing of a request is repeated in a reply but the fields of a form, HTML-escaped, on the page that sends it on, the
host and target in the Location of a redirect, and the target, HTML-escaped, on a page that loads itself again.

No I/O after construction but for the first page in a language, and no clock: `set_date` is called once a second.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from email.utils import formatdate
from html import escape
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from shield.http.cookies import HOST_ONLY, WAITS
from shield.model import Action
from shield.readers import NOBODY, PEOPLE, PERSON, PREFLIGHT, SENDER, Reader
from shield.replies.faults import FAULTS
from shield.replies.hashwx import NONCES
from shield.replies.languages import ENGLISH, Languages
from shield.replies.looks import Looks, LooksError
from shield.replies.pages import (
    ANSWER_TO,
    CHALLENGE_FIELDS,
    HTML,
    MODULE,
    MOST_ZIPPED,
    NO_STORE,
    PROBLEMS,
    VARY,
    Files,
    Pages,
    Split,
    takes_gzip,
)
from shield.replies.reply import NAME_CHARS, NO_MEMBER, OPEN, Reply, Template, head_fields
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
    from shield.policy.upkeep import Upkeep

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"
PROBLEM_FIELDS: Final = NO_STORE + VARY

PLAIN: Final = b"text/plain; charset=utf-8"

_ROUNDING: Final = 1e-6
"""s."""
MOST_PLACE: Final = 1024
"""bytes of a path with its query that stand in a page."""
MOST_READY: Final = 512
"""Replies kept ready within a second, of some 2 KiB each; with all four of their messages made, of 10 KiB."""
_GZIP: Final = b"Content-Encoding: gzip\r\n"
_BY_CLIENT: Final = b"Vary: Origin, Cookie\r\n"
_PERMITS: Final = (
    b"Access-Control-Allow-Methods: %b\r\nAccess-Control-Allow-Headers: content-type\r\nAccess-Control-Max-Age: 600\r\n"
)


class Family(NamedTuple):
    """One reply in all its forms: those that are the same in all languages, by reader, and what its pages say."""

    said: Wording
    word: str
    more: bytes  # field lines
    waits: bool
    closes: bool
    others: tuple[Template | None, ...]


class Spoken(NamedTuple):
    """How a client reads, and what a challenge tells it besides.

    `languages` and `codings` are Accept-Language and Accept-Encoding. `wait`: seconds after which it gets in without
    solving; 0: it does not. `fields`: further field lines. `place`: where it asks again, a path with its query, if that
    is to stand in the page.
    """

    languages: bytes = b""
    codings: str = ""
    request_id: bytes = b""
    wait: int = 0
    fields: bytes = b""
    place: bytes = b""


NOTHING_SPOKEN: Final = Spoken()


class Replies:
    """All replies for one configuration. `cookie` and `header` name what carries a pass, `looks` is that of the pages,
    `hashwx` the module of HashWX where that is asked for (hashwx.py).

    It has more than 15 attributes because each kind of reply is made and kept in its own way.
    """

    __slots__ = (
        "_challenge_documents",
        "_challenge_fields",
        "_cookie",
        "_date",
        "_faults",
        "_files",
        "_header",
        "_known",
        "_languages",
        "_limits",
        "_of_people",
        "_pages",
        "_ready",
        "_refusals",
        "_splits",
        "_zips",
        "version",
    )

    def __init__(
        self,
        cookie: str,
        header: str,
        looks: Looks = Looks(),  # noqa: B008 - it is frozen
        hashwx: bytes = b"",
    ) -> None:
        self._cookie = cookie.encode("ascii")
        self._header = header
        self._date = b""
        self._ready: dict[tuple[Verdict | Fault, Reader, str], Reply] = {}  # refusals and faults of this second
        self.set_date(0.0)
        self._languages = Languages(looks.texts)
        self._known = self._languages.known
        self._files = Files(looks, hashwx)
        self.version = self._files.version
        self._pages = pages = Pages(self.version, looks, bool(hashwx))
        self._files.describe_problems(pages, self._languages.catalogue(ENGLISH))
        self._zips: dict[str, bool] = {}  # Accept-Encoding -> whether gzip is taken

        # What people are told, in each language that somebody has asked for.
        self._of_people: dict[tuple[int, str, Reader, str], Template] = {}
        self._splits: dict[tuple[str, str, bool, bool], Split] = {}

        # Replies, by the value of the reason or the fault.
        self._refusals: dict[str, Family] = {}
        self._limits: dict[str, Family] = {}  # those that tell the state of a bucket, too
        for reason, said in TURNED_AWAY.items():
            word = reason.value
            document = problem(said.kind, said.status, said.title, said.detail, reason=word)
            wait = b"" if said is BAN else b"Retry-After: %d\r\n"
            self._refusals[word] = self._for_all(said, word, wait, document, said is not BAN)
            if said is LIMIT:
                # draft-ietf-httpapi-ratelimit-headers-10, as since -08: structured fields; q, w, r and t are integers.
                name = word.encode("ascii")
                wait += b'RateLimit-Policy: "%b";q=%%d;w=%%d\r\nRateLimit: "%b";r=%%d;t=%%d\r\n' % (name, name)
                self._limits[word] = self._for_all(said, word, wait, document, True)
        self._faults = {
            fault.value: self._for_all(
                Wording(fault.value, fault.status, told.title, told.detail, told.hint),
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
            head_fields(OPEN, HTML, b"%d", pages.whole_fields + _GZIP + wait),
        )
        self._challenge_documents = {reason.value: _challenge_document(reason, bool(hashwx)) for reason in CHALLENGES}

    def _for_all(
        self, said: Wording, word: str, more: bytes, document: bytes, waits: bool, closes: bool = False
    ) -> Family:
        """One reply for each reader, with the field lines `more`. `waits`: it makes sense to try again."""

        def template(media: bytes, body: bytes) -> Template:
            fields = head_fields(OPEN, media, b"%d" % len(body), PROBLEM_FIELDS + more)
            return Template(said.status, fields, body, closes)

        of_document = template(PROBLEM, document)
        of_line = template(PLAIN, f"{said.title} ({word}).\n".encode())
        found = {PERSON: None, SENDER: None, NOBODY: of_line, PREFLIGHT: of_line}
        others = tuple(found.get(reader, of_document) for reader in Reader)
        return Family(said, word, more, waits, closes, others)

    def _template(self, family: Family, reader: Reader, language: str) -> Template:
        """One reply for a reader, and in a language where it is a person."""
        template = family.others[reader]
        if template is not None:
            return template
        name = (len(family.more), family.word, reader, language)
        template = self._of_people.get(name)
        if template is None:
            said, again = family.said, "itself" if reader is PERSON else "visitor"
            words, word = self._languages.catalogue(language), family.word
            body = self._pages.error(words, said.title, said.detail, said.hint, word, again if family.waits else "")
            fields = head_fields(OPEN, HTML, b"%d" % len(body), self._pages.error_fields + family.more)
            template = self._of_people[name] = Template(said.status, fields, body, family.closes)
        return template

    def _split(self, then: str, language: str, whole: bool, waits: bool) -> Split:
        """The challenge page for one way to go on, in a language."""
        name = (then, language, whole, waits)
        split = self._splits.get(name)
        if split is None:
            words = self._languages.catalogue(language)
            page = self._pages.challenge(words, _MARKS, then, (), whole, waits)
            split = self._splits[name] = Split(_open(page))
        return split

    def try_all(self) -> None:
        """Make each page once, as they are made when somebody asks, in English and in a language of each direction.
        LooksError where an operator's template makes none that can be used; the mistakes of jinja2."""
        marks = {name.encode(): b"1" * 52 for name in _MARKS}
        for language in (ENGLISH, "ar", *self._languages.own):
            for family in (*self._refusals.values(), *self._faults.values()):
                for reader in PEOPLE:
                    self._template(family, reader, language)
            for then, whole, waits in ((a, b, c) for a in ("reload", "resend") for b in _BOTH for c in _BOTH):
                try:
                    size = len(self._split(then, language, whole, waits).zipped(marks))
                except (ValueError, struct.error):
                    what = "challenge.html: the values of the challenge are needed, behind all else"
                    raise LooksError("directory", what) from None
                if size > MOST_ZIPPED:
                    raise LooksError("directory", f"challenge.html: {size} bytes compressed; at most {MOST_ZIPPED}")
            self._pages.challenge(self._languages.catalogue(language), _MARKS, "submit", (("name", "value"),))

    def set_date(self, wall: float) -> None:
        """`wall`: seconds since the epoch. Every reply carries this date until the next call."""
        self._date = formatdate(wall, usegmt=True).encode("ascii")
        self._ready.clear()

    def refusal(self, verdict: Verdict, reader: Reader, accepted: bytes = b"") -> Reply:
        """The reply to LIMIT (429), SHED (503) or BAN (403); to CHALLENGE (503) for who cannot answer one. `accepted`:
        the Accept-Language of the request.

        A flood meets this: equal refusals are one verdict, and its reply is made once a second.
        """
        language = ENGLISH
        if reader in PEOPLE:
            language = self._known.get(accepted) or self._languages.of(accepted)
        reply = self._ready.get((verdict, reader, language))
        if reply is None:
            reply = self._keep((verdict, reader, language), self._refusal(verdict, reader, language))
        return reply

    def _keep(self, what: tuple[Verdict | Fault, Reader, str], reply: Reply) -> Reply:
        """Keep `reply` ready until the second is over."""
        if len(self._ready) >= MOST_READY:
            self._ready.clear()
        self._ready[what] = reply
        return reply

    def _refusal(self, verdict: Verdict, reader: Reader, language: str) -> Reply:
        word = verdict.reason._value_  # not `.value`, which is a descriptor written in Python
        wait = verdict.retry_after
        if verdict.limit is not None and word in self._limits:
            rate, burst = verdict.limit
            # In units: a request costs one for each 10 ms of upstream time; for a route in requests. The window is the
            # time to fill the bucket, up to the rounding of a rate of five a minute.
            window = max(ceil(burst / rate - _ROUNDING), 1)
            return self._template(self._limits[word], reader, language).fill(
                self._date, wait, burst, window, max(verdict.remaining, 0), wait, wait=wait
            )
        template = self._template(self._refusals[word], reader, language)
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
        spoken: Spoken = NOTHING_SPOKEN,
    ) -> Reply:
        """The reply to CHALLENGE: 503 with the page that solves it, or with the challenge as a problem document. Who
        reads neither gets a refusal instead, and no challenge.

        `form` is what a POST of this same origin carried (`parse_form`); the page sends it on. Other requests with a
        body cannot be sent on, and the page says so. `spoken` is how the client reads, and what it may quote.
        """
        wait = spoken.wait
        values = {
            b"token": challenge.token.encode("ascii"),
            b"k": b"%d" % challenge.k,
            b"target": b"%016x" % challenge.target,
            b"expected_hashes": b"%d" % challenge.expected_hashes,
            b"expires_in": b"%d" % challenge.expires_in,
            b"wait": b"%d" % wait,
            b"hashwx": b"" if challenge.hashwx is None else orjson.dumps(self._in_hashwx(challenge.hashwx)),
        }
        form_of_reply = 1
        if reader not in PEOPLE:
            body = self._challenge_documents[verdict.reason._value_] % values
            form_of_reply = 0
        else:
            values[b"id"] = _quotable(spoken.request_id)
            values[b"place"] = _refresh_to(spoken.place)
            language = self._languages.of(spoken.languages)
            if form is not None and method == "POST":
                texts = {name.decode(): value.decode() for name, value in values.items()}
                body = self._pages.challenge(self._languages.catalogue(language), texts, "submit", form)
            else:
                values[b"hashwx"] = values[b"hashwx"].replace(b'"', b"&quot;")
                then = "reload" if method == "GET" or method == "HEAD" else "resend"
                whole = self._takes_gzip(spoken.codings)
                split = self._split(then, language, whole, wait > 0 and then == "reload")
                if whole:
                    form_of_reply = 2
                    body = split.zipped(values)
                else:
                    body = split.plain(values)
        after = max(wait, verdict.retry_after, 1)
        fields = self._challenge_fields[form_of_reply] % (self._date, len(body), after)
        return Reply(CHALLENGE.status, fields + spoken.fields, body)

    def _in_hashwx(self, challenge: Challenge) -> dict[str, Any]:
        """The same challenge in HashWX, as pages and programs read it."""
        return {
            "token": challenge.token,
            "k": challenge.k,
            "target": f"{challenge.target:016x}",
            "expected_hashes": challenge.expected_hashes,
            "nonces_per_function": NONCES,
            "module": f"{MODULE}?v={self.version}",
        }

    def _takes_gzip(self, codings: str) -> bool:
        """Whether a client takes gzip, by its Accept-Encoding. A flood has few of these."""
        found = self._zips.get(codings)
        if found is None:
            found = takes_gzip(codings)
            if len(codings) <= _CODING_CHARS:
                if len(self._zips) >= _MOST_CODINGS:
                    self._zips.clear()
                self._zips[codings] = found
        return found

    def fault(self, fault: Fault, reader: Reader, accepted: bytes = b"") -> Reply:
        """The reply to a fault (faults.py). `accepted`: the Accept-Language of the request."""
        language = self._languages.of(accepted) if reader in PEOPLE else ENGLISH
        reply = self._ready.get((fault, reader, language))
        if reply is None:
            template = self._template(self._faults[fault._value_], reader, language)
            reply = self._keep((fault, reader, language), template.fill(self._date, wait=FAULTS[fault].wait))
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

    def upkeep(self, told: Upkeep, challenge: Challenge | None) -> Reply:
        """What a page that stays open learns of its pass, with a `challenge` where the next one is due."""
        members: dict[str, Any] = {"pass": told.has_pass, "ends_in": told.ends_in, "again_in": told.again_in}
        if challenge is not None:
            members["challenge"] = {
                "token": challenge.token,
                "algorithm": "sha256",
                "k": challenge.k,
                "target": f"{challenge.target:016x}",
                "expected_hashes": challenge.expected_hashes,
                "expires_in": challenge.expires_in,
                "wait": 0,
                "answer_to": ANSWER_TO,
            }
            if challenge.hashwx is not None:
                members["challenge"]["hashwx"] = self._in_hashwx(challenge.hashwx)
        body = orjson.dumps(members)
        return Reply(200, head_fields(self._date, JSON, b"%d" % len(body), NO_STORE + _BY_CLIENT), body)

    def permission(self, method: bytes, readable: bytes) -> Reply:
        """The reply to a preflight of a page of another origin that may use `method`; `readable` says which."""
        fields = b"Date: %b\r\nContent-Length: 0\r\nVary: Origin\r\n%b" % (self._date, readable)
        return Reply(204, fields + _PERMITS % method, b"")

    def set_cookie(self, token: str, lifetime: int, secure: bool) -> bytes:
        """The value of a Set-Cookie field that gives the pass `token` for `lifetime` seconds. `secure`: over TLS, where
        the name says that no other host of the domain has set it."""
        return b"%b=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%b" % (
            self._cookie_name(secure),
            token.encode("ascii"),
            lifetime,
            b"; Secure" if secure else b"",
        )

    @property
    def ticket_cookie(self) -> bytes:
        """The name of the cookie in which somebody who waits keeps the ticket."""
        return self._cookie + WAITS

    def set_ticket(self, token: str, lifetime: int, secure: bool) -> bytes:
        """The field line that gives the ticket of somebody who waits; with a lifetime of 0 seconds, that takes it."""
        return b"Set-Cookie: %b%b=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%b\r\n" % (
            self._cookie_name(secure),
            WAITS,
            token.encode("ascii"),
            lifetime,
            b"; Secure" if secure else b"",
        )

    def let_in(self, location: bytes, redemption: Redemption, secure: bool) -> Reply:
        """307 to `location`, which asks for the same again, with the pass of somebody who has waited."""
        cookie = self.set_cookie(redemption.pass_token, redemption.lifetime, secure)
        fields = b"Date: %b\r\nLocation: %b\r\nContent-Length: 0\r\n%bSet-Cookie: %b\r\n%b" % (
            self._date,
            location,
            NO_STORE,
            cookie,
            self.set_ticket("", 0, secure),
        )
        return Reply(307, fields, b"")

    def _cookie_name(self, secure: bool) -> bytes:
        return HOST_ONLY + self._cookie if secure else self._cookie


def _quotable(request_id: bytes) -> bytes:
    """The id of a request as a page shows it: at most NAME_CHARS of it."""
    return escape(request_id[:NAME_CHARS].decode("latin-1")).encode("ascii", "replace") if request_id else b"-"


def _refresh_to(place: bytes) -> bytes:
    """What leads a refresh to a path with its query. Without it Chromium only scrolls where the address has a fragment.
    Nothing for what no browser sends."""
    if not 0 < len(place) <= MOST_PLACE or not place.isascii():
        return b""
    return b"; url=" + escape(place.decode("ascii")).encode("ascii")


def problem(kind: str, status: int, title: str, detail: str, **members: Any) -> bytes:
    """A problem document (RFC 9457), with room for the id of its request. `kind` names its page below PROBLEMS."""
    said = {"type": PROBLEMS + kind, "title": title, "status": status, "detail": detail} | members
    return orjson.dumps(said)[:-1] + NO_MEMBER + b"}"


_BOTH: Final = (False, True)
_CODING_CHARS: Final = 100
_MOST_CODINGS: Final = 256
_VALUES: Final = ("token", "k", "target", "expected_hashes", "expires_in", "wait", "id", "place", "hashwx")
_NO_TEXT: Final = (b"k", b"expected_hashes", b"expires_in", b"wait", b"hashwx")
_MARKS: Final = {name: f"@{name}@" for name in _VALUES}
"""What stands for the values of a challenge while a template is rendered. Neither JSON nor HTML escapes it."""


def _open(rendered: bytes) -> bytes:
    """The template for `bytes % mapping` that `rendered`, which holds the marks, makes."""
    template = rendered.replace(b"%", b"%%")
    for name, mark in _MARKS.items():
        template = template.replace(mark.encode(), b"%%(%b)b" % name.encode())
    return template


def _challenge_document(reason: Reason, hashwx: bool) -> bytes:
    """The problem document of a challenge as a template. Numbers lose the quotes that their marks had."""
    left_out = {"id", "place"} if hashwx else {"id", "place", "hashwx"}
    members = {name: mark for name, mark in _MARKS.items() if name not in left_out}
    members |= {"algorithm": "sha256", "answer_to": ANSWER_TO}
    said = CHALLENGE
    document = _open(problem(said.kind, said.status, said.title, said.detail, reason=reason.value, challenge=members))
    for name in _NO_TEXT:
        document = document.replace(b'"%%(%b)b"' % name, b"%%(%b)b" % name)
    return document
