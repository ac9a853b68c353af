"""Shield against h11: the same bytes, two readings. They must agree on what is a request and where it ends.

    python -m tests.fuzz.differential [--seconds 600] [--seed N]

Requests are built of segments (method, target, version, field names, colons, values, line ends, chunk sizes, data), and
then changed where the grammar is: a segment for another of its kind, a line doubled, taken out or put in, a byte
anywhere. Shield gets them in random pieces, by memory.py, with a real origin behind it; h11 gets them whole, as a
server. Every way in which the two differ has a name in DIFFERENCES, with an example and the reason (in full in
docs/parsers.md); any other is a failure.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import h11

from tests.fuzz.memory import Memory
from tests.fuzz.run import shown

# building requests

Segment = tuple[str, bytes]  # kind, text

ALTERNATIVES: Final[dict[str, tuple[bytes, ...]]] = {
    "method": (
        b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"PROPFIND", b"get", b"BREW", b"TRACE",
        b"CONNECT", b"PRI", b"G\tET", b"M-SEARCH", b"", b"GET/", b"G@T", b"LIST", b"RPC_IN_DATA", b"!", b"B" * 65,
    ),
    "target": (
        b"/", b"/a?b=c", b"//x/../y", b"*", b"http://a.example/", b"http://a.example", b"https://A.example/x?y",
        b"http://b.example/", b"a.example:80", b"ftp://a.example/", b"/#f", b"/\x80", b"/ x", b"/\x00",
        b"/<>\"{}|\\^`", b"", b"/" + b"x" * 600, b"http://a.example?x", b"http://u@a.example/", b"\\", b"?x",
        b"/\x7f",
    ),
    "version": (
        b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ",
        b"HTTP/11", b"HTTP/1", b"ICE/1.0", b"",
    ),
    "space": (
        b" ", b" ", b"  ", b"\t", b"", b"\x0b",
    ),
    "eol": (
        b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"", b"\r\n\r\n", b" \r\n",
    ),
    "name": (
        b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"X", b"Expect", b"Upgrade", b"host",
        b"Transfer_Encoding", b"Content-Length ", b" X", b"X\x00", b"X\x80", b"", b"X Y", b"Trailer", b"TE",
    ),
    "colon": (
        b": ", b":", b":\t", b" :", b" : ", b"", b":  \t ", b":\x0b",
    ),
    "value": (
        b"a.example", b"0", b"5", b"5, 5", b"05", b"+5", b"-1", b"0x5", b"5 ", b"chunked", b"Chunked",
        b"gzip, chunked", b"chunked, chunked", b"identity", b"", b"close", b"keep-alive", b"x\ty", b"\xff", b"a\x00b",
        b"a\x01b", b"a\rb", b"a\nb", b"a\r\n b", b"\x7f", b"a.example, b.example", b"u@a.example", b"a.example/",
        b"[::1]:80", b"100-continue", b"h2c", b"websocket", b"99999999999999999999", b"25000", b"y" * 5000,
    ),
    "size": (
        b"5", b"3", b"0", b"05", b"00000005", b"0x5", b"+5", b"-5", b"5 ", b" 5", b"5;x", b"5;x=y", b"5 ;x",
        b"5;\x00", b"5;\x80", b"5;x=\"\r\n\"", b"5;\n", b"fffffffffffffffff", b"7fffffffffffffff", b"A", b"g", b"",
        b"5;" + b"x" * 300, b"5;", b"5;=x", b"5;x y", b"5;x;", b'5;x="', b'5;x="a;\\"b"', b"5; x = y ;z", b"5;(x)",
    ),
    "data": (
        b"hello", b"hell", b"hello!", b"", b"\r\n", b"0\r\n\r\n",
        b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ),
}  # fmt: skip

FIELDS: Final = (
    (b"Host", b"a.example"), (b"Content-Length", b"5"), (b"Content-Length", b"0"), (b"Transfer-Encoding", b"chunked"),
    (b"Connection", b"close"), (b"Connection", b"keep-alive"), (b"X", b"y"), (b"Expect", b"100-continue"),
    (b"Upgrade", b"h2c"), (b"User-Agent", b"x"), (b"Content-Type", b"text/plain"), (b"Accept", b"*/*"),
    (b"Cookie", b"a=b"), (b"Max-Forwards", b"1"),
)  # fmt: skip


def field(name: bytes, value: bytes) -> list[Segment]:
    return [("name", name), ("colon", b": "), ("value", value), ("eol", b"\r\n")]


def request(dice: random.Random) -> list[Segment]:
    """A request that everybody takes."""
    form = dice.choice(("none", "none", "length", "chunked"))
    method = b"GET" if form == "none" else dice.choice((b"POST", b"PUT", b"PATCH"))
    target = b"/%x" % dice.randrange(1 << 16)
    segments: list[Segment] = [("method", method), ("space", b" "), ("target", target), ("space", b" ")]
    segments += [("version", b"HTTP/1.1"), ("eol", b"\r\n"), *field(b"Host", b"a.example")]
    for name, value in dice.sample(((b"User-Agent", b"x"), (b"Accept", b"*/*"), (b"X", b"y z")), dice.randrange(3)):
        segments += field(name, value)
    if form == "none":
        return [*segments, ("eol", b"\r\n")]
    if form == "length":
        data = dice.choice((b"hello", b"0\r\n\r\n", b"x" * 40))
        return [*segments, *field(b"Content-Length", b"%d" % len(data)), ("eol", b"\r\n"), ("data", data)]
    segments += [*field(b"Transfer-Encoding", b"chunked"), ("eol", b"\r\n")]
    for _ in range(dice.randrange(3)):
        data = dice.choice((b"hello", b"abc", b"\r\n" * 8))
        segments += [("size", b"%x" % len(data)), ("eol", b"\r\n"), ("data", data), ("eol", b"\r\n")]
    segments += [("size", b"0"), ("eol", b"\r\n")]
    if dice.randrange(3) == 0:
        segments += field(dice.choice((b"X", b"Trailer", b"Content-Length", b"Host")), b"5")
    return [*segments, ("eol", b"\r\n")]


def changed(segments: list[Segment], dice: random.Random) -> None:
    """One change, in place."""
    if not segments:
        return
    at = dice.randrange(len(segments))
    kind, text = segments[at]
    match dice.randrange(10):
        case 0 | 1 | 2 | 3 | 4:
            segments[at] = (kind, dice.choice(ALTERNATIVES[kind]))
        case 5:
            lines = [n for n, (each, _) in enumerate(segments) if each == "name"]
            if lines:
                at = dice.choice(lines)
                segments[at:at] = field(*dice.choice(FIELDS))
        case 6:
            end = at + dice.randrange(1, 5)
            segments[at:at] = segments[at:end]
        case 7:
            del segments[at : at + dice.randrange(1, 5)]
        case 8:
            where = dice.randrange(len(text) + 1)
            segments[at] = (kind, text[:where] + dice.randbytes(1) + text[where:])
        case _:
            segments[at:at] = [("eol", dice.choice((b"\r\n", b"\n", b"\r\n\r\n", b" ", b"\0")))]


def stream(dice: random.Random) -> bytes:
    """One to three requests with none to four changes in all."""
    segments = [segment for _ in range(dice.randrange(1, 4)) for segment in request(dice)]
    for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        changed(segments, dice)
    return b"".join(text for _, text in segments)


# two readings


@dataclass(frozen=True, slots=True)
class Read:
    """One request; `raw` are the bytes from where it began."""

    method: bytes
    target: bytes
    body: bytes
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Reading:
    """The whole requests of a stream, and what came of the rest: "more" is awaited, "refused", "closed" as asked."""

    requests: tuple[Read, ...]
    end: str
    rest: bytes = b""
    status: int = 0


def by_h11(data: bytes) -> Reading:
    found: list[Read] = []
    while data:
        judge = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        judge.receive_data(data)
        head: h11.Request | None = None
        body = b""
        try:
            while not isinstance(event := judge.next_event(), h11.EndOfMessage):
                if isinstance(event, type(h11.NEED_DATA)):
                    return Reading(tuple(found), "more", data)
                if isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
        except h11.RemoteProtocolError:
            return Reading(tuple(found), "refused", data)
        assert head is not None
        found.append(Read(bytes(head.method), bytes(head.target), body, data))
        data = judge.trailing_data[0]
        if not judge._cstate.keep_alive:  # `their_state` says so, too, but not where an upgrade is proposed
            return Reading(tuple(found), "closed", data)
    return Reading(tuple(found), "more", b"")


def by_shield(pieces: Sequence[bytes]) -> Reading:
    memory = Memory()
    client = memory.client()
    client.send(*pieces)
    heard, closing = client.heard, client.closing
    client.leave()
    memory.close()
    refusal = re.search(rb"HTTP/1\.1 ([45]\d\d) [^\r\n]*\r\nDate: ", heard)  # the origin here says neither
    end = "refused" if refusal is not None else "closed" if closing else "more"
    seen = tuple(Read(method, target, body) for method, target, body in memory.seen)
    return Reading(seen, end, b"", int(refusal[1]) if refusal is not None else 0)


def cut(data: bytes, dice: random.Random) -> list[bytes]:
    """In one piece, in some, or byte by byte."""
    match dice.randrange(6):
        case 0 | 1:
            return [data]
        case 2 if len(data) < 500:
            return [data[at : at + 1] for at in range(len(data))]
        case _:
            cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(1, 6)))
            return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# how they differ


@dataclass(frozen=True, slots=True)
class Difference:
    """A way in which the two may differ. `laxer`: Shield takes what h11 does not; else it is the other way round, and
    Shield's answer has one of `statuses`. `holds` is told the bytes from the beginning of the request in question."""

    name: str
    statuses: frozenset[int]
    holds: Callable[[bytes], object]
    example: bytes
    laxer: bool = False


_IN_HEAD: Final = rb"(?:(?!\r?\n\r?\n).)*"  # of lines that end in any way that h11 takes
_FIRST: Final = rb"\A[^ ]+ "
_LENGTH: Final = rb"\n(?i:content-length):"
_CODING: Final = rb"\n(?i:transfer-encoding):"
_CHUNKED: Final = rb"\A" + _IN_HEAD + _CODING + rb"[^\n]*(?i:chunked)"
_CONTROL: Final = rb"[^\r\n]*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
_PORT: Final = (
    rb"(?::(?:[0-9]{0,4}|[0-5][0-9]{4}|6(?:[0-4][0-9]{3}|5(?:[0-4][0-9]{2}|5(?:[0-2][0-9]|3[0-5])))))?[ \t]*\r"
)
_HOST: Final = rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])" + _PORT
_FORMS: Final = rb"[*] |/[^#\x80-\xff ]* |https?://[A-Za-z0-9.:]+[/? ][^#\x80-\xff ]* "
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_EXTENSION: Final = rb";[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_ODD_CHUNK: Final = re.compile(
    rb"(?:\A|\n)[0-9A-Fa-f]+(?:;[^\r\n]*)?[ \t]+\r?\n"  # whitespace behind the size
    rb"|(?:\A|\n)[0-9A-Fa-f]{16}|;[^\n]{250}"  # long
    rb"|(?:\A|\n)[0-9A-Fa-f]+(?=;)(?!" + _EXTENSION + rb"(?:[ \t]*" + _EXTENSION + rb")*\r\n)"  # no extensions
    rb"|(?:\A|\n)[0-9A-Fa-f]+;" + _CONTROL + rb"|(?<!\r)\n"  # a bare LF
    rb"|(?:\A|\n)0+(?:;[^\r\n]*)?\r\n(?:.*\r\n)?(?:[ \t]|[^:\r\n]+:" + _CONTROL + rb")",  # in a trailer
    re.DOTALL,
)


def _odd_chunk(raw: bytes) -> object:
    """A chunked body that Shield does not take."""
    return re.search(_CHUNKED, raw, re.DOTALL) and _ODD_CHUNK.search(raw.partition(b"\r\n\r\n")[2])


def _disguised(raw: bytes) -> object:
    """A field whose name is Content-Length or Transfer-Encoding but for what is no letter."""
    names = re.findall(rb"\n([^:\r\n]+):", raw.partition(b"\r\n\r\n")[0])
    plain = {b"content-length", b"transfer-encoding"}
    letters = {re.sub(rb"[^a-z]", b"", name.lower()) for name in names if name.lower() not in plain}
    return letters & {b"contentlength", b"transferencoding"}


def _stricter(name: str, statuses: set[int], example: bytes, *patterns: bytes) -> Difference:
    return Difference(name, frozenset(statuses), re.compile(b"|".join(patterns), re.DOTALL).search, example)


def _laxer(name: str, example: bytes, pattern: bytes) -> Difference:
    return Difference(name, frozenset(), re.compile(pattern, re.DOTALL).search, example, laxer=True)


def _head(*parts: bytes) -> bytes:
    """A pattern for a head that has these parts one after the other."""
    return rb"\A" + b"".join(_IN_HEAD + part for part in parts)


def _ask(*lines: bytes, first: bytes = b"GET / HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join((first, b"Host: a", *lines, b"", body))


def _chunks(body: bytes) -> bytes:
    return _ask(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1", body=body)


DIFFERENCES: Final = (
    _stricter("bare-lf", {400, 501, 505}, b"GET / HTTP/1.1\nHost: a\n\n", rb"\A(?:(?!\r\n\r\n).)*(?<!\r)\n"),
    _stricter("obs-fold", {400}, _ask(b"X: y", b" z"), _head(rb"\n[ \t]")),
    _stricter("method", {405, 501}, _ask(first=b"TRACE / HTTP/1.1"), rb"\A(?:TRACE|CONNECT|[^ ]{65,}) "),
    _stricter("version", {400, 505}, _ask(first=b"GET / HTTP/1.2"), _FIRST + rb"[^ ]+ HTTP/(?!1\.[01]\r)"),
    _stricter("target", {400}, _ask(first=b"GET a:80 HTTP/1.1"), _FIRST + rb"(?!" + _FORMS + rb")"),
    _stricter("asterisk", {400}, _ask(first=b"GET * HTTP/1.1"), rb"\A(?!OPTIONS)[^ ]+ \* "),
    _stricter("absolute-target", {400}, _ask(first=b"GET http://b/ HTTP/1.1"), _FIRST + rb"https?://"),
    _stricter(
        "long",
        {413, 414, 431},
        _ask(first=b"GET /" + b"x" * 600 + b" HTTP/1.1"),
        rb"\A.{500}",
        _head(_LENGTH + rb"[^\n]*[0-9]{5}"),
    ),
    _stricter("host", {400}, _ask().replace(b": a", b": u@a"), _head(rb"\n(?i:host):[ \t]*+(?!" + _HOST + rb")")),
    _stricter(
        "length-and-coding",
        {400},
        _ask(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        _head(_LENGTH, _CODING),
        _head(_CODING, _LENGTH),
    ),
    _stricter(
        "lengths",
        {400},
        _ask(b"Content-Length: 5, 5", body=b"hello"),
        _head(_LENGTH, _LENGTH),
        _head(_LENGTH + rb"[^\n]*,"),
    ),
    _stricter(
        "length-digits",
        {400, 413},
        _ask(b"Content-Length: 00000000000000000005", body=b"hello"),
        _head(_LENGTH + rb"[ \t]*[0-9]{19}"),
    ),
    _stricter(
        "coding-1.0",
        {400},
        _ask(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0", body=b"0\r\n\r\n"),
        rb"\A[^\n]* HTTP/1\.0\r" + _IN_HEAD + _CODING,
    ),
    _stricter("control", {400}, _ask(b"X: \x01"), _head(rb"\n[^:\r\n]+:" + _CONTROL)),
    Difference("disguise", frozenset({400}), _disguised, _ask(b"Transfer_Encoding: chunked")),
    _stricter("expectation", {417}, _ask(b"Expect: x"), _head(rb"\n(?i:expect):[ \t]*+(?!(?i:100-continue)[ \t]*\r)")),
    Difference("chunk-line", frozenset({400, 413}), _odd_chunk, _chunks(b"5 \r\nhello\r\n0\r\n\r\n")),
    _laxer("empty-line", b"\r\n" + _ask(), rb"\A\r\n[^\r\n]"),
    _laxer(
        "keep-alive-1.0",
        _ask(b"Connection: keep-alive", first=b"GET / HTTP/1.0"),
        rb"\A[^\n]* HTTP/1\.0\r" + _IN_HEAD + rb"\n(?i:connection):[^\n]*(?i:keep-alive)",
    ),
    _laxer(
        "framing-in-trailers",
        _chunks(b"0\r\nContent-Length: x\r\n\r\n"),
        _CHUNKED + rb".*\r\n(?i:content-length|transfer-encoding|host|expect):",
    ),
)


def compared(data: bytes, pieces: Sequence[bytes]) -> tuple[str, str]:
    """The name of the difference in what the two make of `data` ("" when there is none), and what is wrong when it has
    none."""
    theirs, ours = by_h11(data), by_shield(pieces)
    for one, other in zip(theirs.requests, ours.requests, strict=False):
        if (one.method, _origin_form(one.target), one.body) != (other.method, other.target, other.body):
            return "", f"read differently: {one} by h11, {other} by Shield"
    count = len(ours.requests)
    if count < len(theirs.requests):
        raw = theirs.requests[count].raw
        if ours.end == "closed":
            return "", "Shield closed before the end"
        for known in DIFFERENCES:
            if not known.laxer and ours.status in known.statuses and known.holds(raw):
                return known.name, ""
        return "", f"only h11 takes it; Shield says {ours.status}: {shown(raw)}"
    went_on = theirs.end == "closed" and (ours.end != "closed" or count > len(theirs.requests))
    if went_on or count > len(theirs.requests):
        raw = theirs.requests[-1].raw if went_on else theirs.rest
        for known in DIFFERENCES:
            if known.laxer and known.holds(raw):
                return known.name, ""
        return "", f"Shield went on: {ours.requests[-1:]}, {ours.end} {ours.status}, {shown(raw)}"
    if ours.end == "closed" and theirs.end != "closed":
        return "", f"Shield closed: {shown(data)}"
    return "", ""


def _origin_form(target: bytes) -> bytes:
    """As Shield sends an absolute target on (RFC 9112 section 3.2.2)."""
    match = re.fullmatch(rb"(?i:https?)://[^/?]*(.*)", target, re.DOTALL)
    if match is None:
        return target
    return match[1] if match[1].startswith(b"/") else b"/" + match[1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.differential")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)
    found: Counter[str] = Counter()
    began = told = time.monotonic()
    runs = failures = 0
    while (now := time.monotonic()) - began < chosen.seconds and failures < 10:
        data = stream(dice)
        pieces = cut(data, dice)
        name, wrong = compared(data, pieces)
        runs += 1
        found[name] += 1
        if wrong:
            failures += 1
            print(f"{shown(data)}\n    in pieces of {[len(piece) for piece in pieces]}: {wrong}", flush=True)
        if now - told > 15:
            told = now
            print(f"#{runs} streams, {runs / (now - began):.0f}/s", flush=True)
    known = ", ".join(f"{name} {count}" for name, count in found.most_common() if name)
    print(f"#{runs} streams, {found['']} read alike, {failures} differences unknown; seed {chosen.seed}; {known}")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
