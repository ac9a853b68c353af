"""What Shield says itself: complete, exact in length, the same words for people and programs, and nothing reflected."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

import orjson
import pytest

from shield.model import Action, Fault, Reason, Verdict
from shield.policy.challenge.challenge import Challenge, Redeemed, Redemption
from shield.readers import NOBODY, PEOPLE, PERSON, PREFLIGHT, PROGRAM, SCRIPT, SENDER, Reader
from shield.replies.faults import FAULTS
from shield.replies.languages import Languages
from shield.replies.pages import ANSWER_TO, PREFIX
from shield.replies.rendering import MOST_READY, Replies, Spoken
from shield.replies.reply import Reply
from shield.replies.wording import CHALLENGES, REFUSALS

NOON = 1_800_014_400.0
DATE = "Fri, 15 Jan 2027 12:00:00 GMT"
FORMS = [(reader, head, close) for reader in Reader for head in (False, True) for close in (False, True)]
MEDIA = {
    PROGRAM: "application/problem+json",
    PERSON: "text/html; charset=utf-8",
    SCRIPT: "application/problem+json",
    NOBODY: "text/plain; charset=utf-8",
    PREFLIGHT: "text/plain; charset=utf-8",
    SENDER: "text/html; charset=utf-8",
}
FORWARDED = {reason for reason in Reason if reason.action in (Action.FORWARD, Action.QUEUE)}


@dataclass
class Read:
    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, object]:
        document: dict[str, object] = orjson.loads(self.body)
        return document


def read(reply: Reply | None, head: bool = False, close: bool = False) -> Read:
    """Takes a reply's HTTP/1.1 message apart, and checks what all replies have in common."""
    assert reply is not None
    top, _, body = reply.message(head, close).partition(b"\r\n\r\n")
    line, *lines = top.decode("ascii").split("\r\n")
    status = int(line[9:12])
    assert line == f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    assert all(re.fullmatch(r"[A-Za-z-]+: [\x20-\x7e]+", each) for each in lines)
    names = [each.partition(":")[0] for each in lines]
    assert len(names) == len(set(names))
    fields = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    assert fields["date"] == DATE
    if status != 304:
        length = int(fields["content-length"])
        assert length > 0
        assert len(body) == (0 if head else length)
        assert fields["x-content-type-options"] == "nosniff"
    assert (status, body) == (reply.status, b"" if head else reply.body)
    return Read(status, fields, body)


@pytest.fixture(scope="module")
def replies() -> Replies:
    replies = Replies("shield_pass", "Shield-Pass")
    replies.set_date(NOON)
    return replies


def refusals() -> Iterator[tuple[Verdict, int]]:
    for reason, said in REFUSALS.items():
        if said.kind == "limit":
            yield Verdict(reason, 3, (10.0, 200.0), 1.9), said.status
        elif said.kind == "shed":
            yield Verdict(reason, 3), said.status
        else:
            yield Verdict(reason, 60), said.status


def test_every_reason_to_refuse_has_its_words() -> None:
    assert set(REFUSALS) | set(CHALLENGES) == set(Reason) - FORWARDED
    assert set(FAULTS) == set(Fault)


@pytest.mark.parametrize(("reader", "head", "close"), FORMS)
@pytest.mark.parametrize(("verdict", "status"), list(refusals()), ids=lambda value: getattr(value, "reason", value))
def test_refusals(replies: Replies, verdict: Verdict, status: int, reader: Reader, head: bool, close: bool) -> None:
    reply = read(replies.refusal(verdict, reader), head, close)
    assert reply.status == status
    assert reply.fields["cache-control"] == "no-store"
    assert reply.fields["vary"] == "Accept, Accept-Encoding, Accept-Language, Origin, Sec-Fetch-Mode, Sec-Fetch-Dest"
    assert reply.fields.get("connection") == ("close" if close else None)
    assert reply.fields.get("retry-after") == (None if verdict.action is Action.BAN else "3")
    assert reply.fields["content-type"] == MEDIA[reader]
    if head:
        assert reply.body == b""
    elif reader in (NOBODY, PREFLIGHT):
        assert reply.body.decode() == f"{REFUSALS[verdict.reason].title} ({verdict.reason.value}).\n"
    elif reader in (PERSON, SENDER):
        assert f"<code>{verdict.reason.value}</code>".encode() in reply.body
    else:
        kind = verdict.action.value
        assert set(reply.document) == {"type", "title", "status", "detail", "reason"}
        assert reply.document["type"] == f"/.well-known/shield/problems/{kind}"
        assert reply.document["status"] == status
        assert reply.document["reason"] == verdict.reason.value


def test_a_rate_limit_tells_the_state_of_its_bucket(replies: Replies) -> None:
    """Syntax: draft-ietf-httpapi-ratelimit-headers since -08. q, w, r and t are integers, w at least 1."""
    verdict = Verdict(Reason.ADDRESS_RATE, 7, (30.0, 100.0), 2.99)
    fields = read(replies.refusal(verdict, PROGRAM)).fields
    assert fields["ratelimit-policy"] == '"address_rate";q=100;w=4'
    assert fields["ratelimit"] == '"address_rate";r=2;t=7'
    small = Verdict(Reason.PASS_RATE, 1, (60.0, 20.5), -3.0)
    fields = read(replies.refusal(small, PERSON)).fields
    assert fields["ratelimit-policy"] == '"pass_rate";q=20;w=1'
    assert fields["ratelimit"] == '"pass_rate";r=0;t=1'
    unknown = Verdict(Reason.CLIENT_RATE, 2)
    assert "ratelimit" not in read(replies.refusal(unknown, PROGRAM)).fields


def test_the_date_is_that_of_the_last_call() -> None:
    replies = Replies("shield_pass", "Shield-Pass")
    verdict = Verdict(Reason.HONEYPOT)
    assert b"\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n" in replies.refusal(verdict, PERSON).message(False, False)
    replies.set_date(NOON)
    assert DATE.encode() in replies.refusal(verdict, PERSON).message(False, False)


def test_equal_refusals_are_one_reply_until_the_second_is_over() -> None:
    replies = Replies("shield_pass", "Shield-Pass")
    verdict = Verdict(Reason.HONEYPOT, 60)
    reply = replies.refusal(verdict, PERSON)
    assert replies.refusal(verdict, PERSON) is reply
    assert reply.message(False, True) is reply.message(False, True)
    assert replies.fault(Fault.BAD_HOST, PERSON) is replies.fault(Fault.BAD_HOST, PERSON)
    replies.set_date(NOON)
    assert replies.refusal(verdict, PERSON) is not reply


def test_no_more_replies_are_kept_ready_than_there_is_room_for() -> None:
    replies = Replies("shield_pass", "Shield-Pass")
    verdicts = [Verdict(Reason.HONEYPOT, 60) for _ in range(MOST_READY + 1)]
    first = replies.refusal(verdicts[0], PERSON)
    for verdict in verdicts[1:MOST_READY]:
        replies.refusal(verdict, PERSON)
    assert replies.refusal(verdicts[0], PERSON) is first
    replies.refusal(verdicts[MOST_READY], PERSON)
    assert replies.refusal(verdicts[0], PERSON) is not first


@pytest.mark.parametrize(("reader", "head", "close"), FORMS)
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.value)
def test_faults(replies: Replies, fault: Fault, reader: Reader, head: bool, close: bool) -> None:
    told = FAULTS[fault]
    said = replies.fault(fault, reader)
    assert said.closes == told.closes
    reply = read(said, head, close)
    assert reply.status == fault.status
    assert ("connection" in reply.fields) == close
    assert reply.fields["cache-control"] == "no-store"
    if reader in (PROGRAM, SCRIPT) and not head:
        assert reply.document["type"] == f"/.well-known/shield/problems/{fault.value}"
        assert reply.document["reason"] == fault.value
        assert reply.document["detail"] == told.detail
    if reader in (PERSON, SENDER) and not head:
        assert told.detail in html.unescape(reply.body.decode())


def test_faults_carry_the_fields_that_their_status_asks_for(replies: Replies) -> None:
    """RFC 9110 sections 10.2.3, 15.5.6 and 15.5.16: Retry-After with 503, Allow with 405, Accept-Post with 415."""
    asked = {405: b"Allow: ", 415: b"Accept-Post: "}
    for fault, told in FAULTS.items():
        assert told.fields.startswith(asked.get(fault.status, b""))
        assert (told.wait > 0) == (fault.status == 503)
        for reader in Reader:
            retry = read(replies.fault(fault, reader)).fields.get("retry-after")
            assert retry == (str(told.wait) if told.wait else None)
        # A request whose end is not known, or was not waited for, must not be followed by another.
        if fault.status in (400, 408, 413, 414, 417, 431, 501, 505) and fault is not Fault.GATE_QUESTION:
            assert told.closes


CHALLENGE = Challenge("AQEQ" * 13, 16, 2**48 + 5, 2**20, 120)
ALWAYS = Verdict(Reason.CHALLENGE_ALWAYS, 2)


@pytest.mark.parametrize("reason", CHALLENGES, ids=lambda reason: reason.value)
def test_programs_get_the_challenge_as_a_problem_document(replies: Replies, reason: Reason) -> None:
    verdict = Verdict(reason, 2)
    reply = read(replies.challenge(verdict, CHALLENGE, PROGRAM, "POST", [("a", "b")]))
    assert reply.status == 503
    assert reply.fields["retry-after"] == "2"
    assert reply.fields["cache-control"] == "no-store"
    assert reply.document == {
        "type": "/.well-known/shield/problems/challenge",
        "title": "Proof of work required",
        "status": 503,
        "detail": "Solve the challenge, send the answer, and repeat the request with the pass.",
        "reason": reason.value,
        "challenge": {
            "token": CHALLENGE.token,
            "algorithm": "sha256",
            "k": 16,
            "target": "0001000000000005",
            "expected_hashes": 1048576,
            "expires_in": 120,
            "wait": 0,
            "answer_to": "/.well-known/shield/answer",
        },
    }


@pytest.mark.parametrize("reader", [NOBODY, PREFLIGHT])
@pytest.mark.parametrize("reason", CHALLENGES, ids=lambda reason: reason.value)
def test_who_cannot_answer_a_challenge_is_turned_away_for_a_while(
    replies: Replies, reason: Reason, reader: Reader
) -> None:
    reply = read(replies.refusal(Verdict(reason, 3), reader))
    assert (reply.status, reply.fields["retry-after"]) == (503, "3")
    assert reply.body.decode() == f"The site is very busy ({reason.value}).\n"


@pytest.mark.parametrize(
    ("method", "form", "then"),
    [
        ("GET", None, "reload"),
        ("HEAD", None, "reload"),
        ("POST", None, "resend"),
        ("POST", [], "submit"),
        ("POST", [("name", "value")], "submit"),
        ("PUT", [("name", "value")], "resend"),
    ],
)
def test_browsers_get_a_page_that_knows_how_to_go_on(
    replies: Replies, method: str, form: list[tuple[str, str]] | None, then: str
) -> None:
    reply = read(replies.challenge(ALWAYS, CHALLENGE, PERSON, method, form))
    text = reply.body.decode()
    assert reply.fields["content-type"] == "text/html; charset=utf-8"
    attributes = dict(re.findall(r' data-([a-z]+)="([^"]*)"', text.partition('<div id="task"')[2].partition(">")[0]))
    assert attributes == {
        "token": CHALLENGE.token,
        "k": "16",
        "target": "0001000000000005",
        "expected": "1048576",
        "expires": "120",
        "then": then,
        "answer": ANSWER_TO,
    }
    assert f'src="{PREFIX}worker.js?v={replies.version}"' in text
    assert ("<form" in text) == (then == "submit")
    assert "<noscript>" in text


def test_a_head_request_learns_the_length_of_the_page(replies: Replies) -> None:
    whole = read(replies.challenge(ALWAYS, CHALLENGE, PERSON, "GET", None), close=True)
    head = read(replies.challenge(ALWAYS, CHALLENGE, PERSON, "HEAD", None), head=True, close=True)
    assert head.fields == whole.fields
    assert head.fields["connection"] == "close"


def test_form_fields_come_back_as_text_and_nothing_else(replies: Replies) -> None:
    fields = [('"><script>x</script>', "</form>'\"&amp;%(token)b %s @token@"), ("{{ 7*7 }}", "ä\r\nb")]
    reply = read(replies.challenge(ALWAYS, CHALLENGE, PERSON, "POST", fields))
    text = reply.body.decode()
    inputs = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', text)
    assert [(html.unescape(name), html.unescape(value)) for name, value in inputs] == fields
    assert text.count("<script") == 3


def test_pages_allow_only_what_they_need(replies: Replies) -> None:
    policy = read(replies.challenge(ALWAYS, CHALLENGE, PERSON, "GET", None)).fields["content-security-policy"]
    assert policy == (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )
    error = read(replies.fault(Fault.INTERNAL, PERSON))
    style = error.body.partition(b"<style>")[2].partition(b"</style>")[0]
    assert len(style) > 100
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in error.fields["content-security-policy"]
    assert b"<script" not in error.body
    busy = read(replies.fault(Fault.STREAMS_FULL, PERSON))
    script = busy.body.partition(b"<script>")[2].partition(b"</script>")[0]
    assert b"reload" in script
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in busy.fields["content-security-policy"]


BUSY = [Verdict(Reason.QUEUE_TIMEOUT, 12), Verdict(Reason.CLIENT_RATE, 12, (10.0, 200.0), 1.9)]


@pytest.mark.parametrize("verdict", BUSY, ids=lambda verdict: verdict.reason.value)
def test_a_busy_page_says_how_long_and_tries_again_by_itself(replies: Replies, verdict: Verdict) -> None:
    """It said "please reload", and stayed."""
    text = read(replies.refusal(verdict, PERSON)).body.decode()
    assert re.search(r'<noscript><meta http-equiv="refresh" content=" *12"></noscript>', text)
    assert "tries again by itself" in text
    assert re.search(r'id="left" aria-hidden="true" data-wait=" *12" data-text="[^"]+">About +12 s left</p>', text)
    assert "@wait@" not in text
    longest = read(replies.refusal(Verdict(verdict.reason, 999_999, verdict.limit, 1.9), PERSON))
    assert "About 999999 s" in longest.body.decode()
    # What was posted is not there any more after a reload that nobody asked for.
    posted = read(replies.refusal(verdict, SENDER)).body.decode()
    assert "send it again" in posted
    assert re.search(r"Please wait +12 s", posted)
    assert "<script" not in posted
    assert "refresh" not in posted


def test_nobody_is_asked_to_try_again_for_nothing(replies: Replies) -> None:
    for reply in (replies.refusal(Verdict(Reason.DENYLISTED, 60), PERSON), replies.fault(Fault.BAD_TARGET, PERSON)):
        text = read(reply).body.decode()
        assert "again" not in text
        assert "<script" not in text


@pytest.mark.parametrize("reader", [PERSON, SENDER, PROGRAM, SCRIPT])
def test_pages_and_documents_can_name_their_request(replies: Replies, reader: Reader) -> None:
    said = [replies.refusal(Verdict(Reason.QUEUE_TIMEOUT, 3), reader), replies.fault(Fault.INTERNAL, reader)]
    if reader not in PEOPLE:
        said.append(replies.challenge(ALWAYS, CHALLENGE, reader, "GET", None))
    for reply in said:
        plain = reply.message(False, False)
        for request_id in (b"5f00c0de-1a", b"x" * 64, b"y" * 128):
            named = reply.message(False, False, request_id)
            assert len(named) == len(plain)
            if reader in (PERSON, SENDER):
                assert b"Number of this request: <code>%b</code>" % request_id[:64] in named
            else:
                document, bare = (orjson.loads(each.partition(b"\r\n\r\n")[2]) for each in (named, plain))
                assert document.pop("request_id") == request_id[:64].decode()
                assert document == bare
        assert reply.message(True, False, b"5f00c0de-1a") == reply.message(True, False)


@pytest.mark.parametrize("reader", [PERSON, SENDER])
def test_a_challenge_page_can_name_its_request(replies: Replies, reader: Reader) -> None:
    for spoken in (Spoken(request_id=b"5f00c0de-1a"), Spoken(b"", "gzip", b"5f00c0de-1a")):
        for form in (None, [("a", "b")]):
            reply = replies.challenge(ALWAYS, CHALLENGE, reader, "POST", form, spoken)
            body = gzip.decompress(reply.body) if b"gzip" in reply.fields else reply.body
            assert b"Number of this request: <code>5f00c0de-1a</code>" in body
    odd = replies.challenge(ALWAYS, CHALLENGE, reader, "GET", None, Spoken(request_id=b"<b>\xff" + b"x" * 64))
    assert b"<code>&lt;b&gt;?%b</code>" % (b"x" * 60) in odd.body


def test_a_page_fits_what_a_new_socket_takes_at_once(replies: Replies) -> None:
    """4 KiB (shield/accept/first_read.py): a refusal is sent in one call, and the connection closed."""
    for language in Languages().tags:
        for reader in Reader:
            for verdict, _ in refusals():
                assert len(replies.refusal(verdict, reader, language.encode()).message(False, True)) < 4096


def test_a_challenge_page_is_one_small_response(replies: Replies) -> None:
    """Style, script and worker are in it, and it asks for nothing besides."""
    for language in Languages().tags:
        for method, wait in (("GET", 12), ("GET", 0), ("POST", 0)):
            spoken = Spoken(language.encode(), "gzip, br", b"5f00c0de-1a", wait)
            reply = read(replies.challenge(ALWAYS, CHALLENGE, PERSON, method, None, spoken))
            assert reply.fields["content-encoding"] == "gzip"
            assert len(reply.body) < 12_000
            text = gzip.decompress(reply.body).decode()
            assert f'<html lang="{language}"' in text
            assert re.findall(r'(?:src|href)="(?!data:)([^"]*)"', text) == ([""] * 2 if wait else [""])
            assert ('content="12"' in text) == (wait > 0)
            policy = reply.fields["content-security-policy"]
            for part in (r"<style>(.*?)</style>", r'<script id="work">(.*?)</script>', r'"module">(.*?)</script>'):
                found = re.search(part, text, re.DOTALL)
                assert found is not None
                assert base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode() in policy
    plain = read(replies.challenge(ALWAYS, CHALLENGE, PERSON, "GET", None, Spoken(b"de", "br, gzip;q=0")))
    assert "content-encoding" not in plain.fields
    assert len(plain.body) < 6000


def test_pages_are_in_the_language_of_the_visitor(replies: Replies) -> None:
    busy = read(replies.refusal(BUSY[0], PERSON, b"ar-EG,ar;q=0.9")).body.decode()
    assert '<html lang="ar" dir="rtl">' in busy
    assert "الموقع مشغول جدًا" in busy
    down = read(replies.fault(Fault.UPSTREAM_TIMEOUT, PERSON, b"de")).body.decode()
    assert "Die Website antwortet nicht" in down
    odd = read(replies.fault(Fault.BAD_TARGET, PERSON, b"ur")).body.decode()
    assert '<p lang="en" dir="ltr">The request target is not valid.</p>' in odd
    # Programs read English, in whichever language somebody has them ask.
    assert replies.refusal(BUSY[0], PROGRAM, b"de") is replies.refusal(BUSY[0], PROGRAM)


@pytest.mark.parametrize("name", ["solver.js", "worker.js", "renew.js", "page.css"])
def test_files_of_the_page(replies: Replies, name: str) -> None:
    path, query = PREFIX + name, f"v={replies.version}"
    whole = read(replies.static(path, None, query))
    assert whole.status == 200
    assert whole.fields["cache-control"] == "public, max-age=31536000, immutable"
    assert whole.fields["content-type"].startswith("text/css" if name == "page.css" else "text/javascript")
    assert read(replies.static(path, None, query), head=True).fields == whole.fields
    # Another version's address must not be filled with this version for a year.
    assert read(replies.static(path, None, "v=other")).fields["cache-control"] == "no-cache"

    tag = whole.fields["etag"]
    assert re.fullmatch('"[0-9a-f]+"', tag)
    for condition in (tag, f'"x", W/{tag}', "*"):
        reply = read(replies.static(path, condition, query))
        assert (reply.status, reply.body, reply.fields["etag"]) == (304, b"", tag)
    assert read(replies.static(path, '"x"', query)).status == 200


@pytest.mark.parametrize("name", ["solver.js", "worker.js", "renew.js", "page.css", "problems/limit"])
def test_files_are_sent_zipped_to_who_takes_that(replies: Replies, name: str) -> None:
    path, query = PREFIX + name, f"v={replies.version}"
    plain = read(replies.static(path, None, query))
    for taken in ("gzip", "br, GZIP;q=0.5", "deflate, gzip, br, zstd", "gzip; q=1.0"):
        zipped = read(replies.static(path, None, query, taken))
        assert zipped.fields["content-encoding"] == "gzip"
        assert gzip.decompress(zipped.body) == plain.body
        assert zipped.fields["vary"] == plain.fields["vary"] == "Accept-Encoding"
        tag = zipped.fields["etag"]
        assert tag != plain.fields["etag"]
        assert read(replies.static(path, tag, query, taken)).status == 304
        assert read(replies.static(path, tag, query)).status == 200
    for refused in ("", "br", "identity", "gzip;q=0", "gzip; q=0.000", "xgzip", "*"):
        assert "content-encoding" not in read(replies.static(path, None, query, refused)).fields


def test_the_challenge_page_and_its_files_are_small(replies: Replies) -> None:
    page = replies.challenge(ALWAYS, CHALLENGE, PERSON, "GET", None).body
    files = [replies.static(PREFIX + name, None, "", "gzip") for name in ("solver.js", "worker.js", "page.css")]
    assert len(page) + sum(len(file.body) for file in files if file is not None) < 16_000


@pytest.mark.parametrize(
    "path",
    ["", "challenge.html", "error.css", "answer", "../replies.py", "worker.js/", "problems/", "problems/nothing"],
)
def test_nothing_else_is_served(replies: Replies, path: str) -> None:
    assert replies.static(PREFIX + path, None) is None


def test_every_type_of_problem_leads_to_a_page(replies: Replies) -> None:
    documents = [read(replies.refusal(verdict, PROGRAM)).document for verdict, _ in refusals()]
    documents += [read(replies.fault(fault, PROGRAM)).document for fault in Fault]
    documents.append(read(replies.challenge(ALWAYS, CHALLENGE, PROGRAM, "GET", None)).document)
    documents.append(read(replies.redeemed(Redemption(Redeemed.WRONG), False)).document)
    for document in documents:
        reply = read(replies.static(str(document["type"]), None))
        assert f"<title>{document['title']}</title>".encode() in reply.body
        assert "content-security-policy" in reply.fields


@pytest.mark.parametrize("secure", [False, True])
def test_a_right_answer_gives_the_pass_in_the_body_and_in_a_cookie(replies: Replies, secure: bool) -> None:
    reply = read(replies.redeemed(Redemption(Redeemed.ACCEPTED, "token-_", 300), secure))
    assert reply.status == 200
    assert reply.fields["content-type"] == "application/json"
    name = "__Host-shield_pass" if secure else "shield_pass"
    assert reply.document == {"pass": "token-_", "header": "Shield-Pass", "cookie": name, "lifetime": 300}
    cookie = f"{name}=token-_; Path=/; Max-Age=300; HttpOnly; SameSite=Lax"
    assert reply.fields["set-cookie"] == cookie + ("; Secure" if secure else "")


def test_who_has_to_wait_gets_a_ticket_and_is_told_when_to_ask(replies: Replies) -> None:
    redemption = Redemption(Redeemed.WAITING, ticket="ticket-_", wait=20, retry_after=5)
    reply = read(replies.redeemed(redemption, True))
    assert reply.status == 202
    assert reply.fields["content-type"] == "application/json"
    assert reply.fields["cache-control"] == "no-store"
    assert reply.fields["retry-after"] == "5"
    assert "set-cookie" not in reply.fields
    assert reply.document == {"ticket": "ticket-_", "wait": 20, "answer_to": "/.well-known/shield/answer"}


@pytest.mark.parametrize(
    "result", [each for each in Redeemed if each not in (Redeemed.ACCEPTED, Redeemed.WAITING)], ids=lambda r: r.value
)
def test_other_answers_get_the_reason(replies: Replies, result: Redeemed) -> None:
    reply = read(replies.redeemed(Redemption(result), True))
    assert reply.status == (503 if result is Redeemed.BUSY else 400)
    assert reply.fields.get("retry-after") == ("2" if result is Redeemed.BUSY else None)
    assert "set-cookie" not in reply.fields
    assert reply.document["reason"] == result.value
