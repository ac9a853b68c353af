"""What is fuzzed: one function per parser of ours. Each takes any bytes, and raises when something does not hold.

Besides "nothing is raised", each says what must be true of whatever comes out: what is accepted is genuine, what is
written can be read back as the same, and how the bytes were cut into reads makes no difference.
"""

from __future__ import annotations

import atexit
import contextlib
import ipaddress
import os
import random
import re
import shutil
import tempfile
import zlib
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import h11
import orjson
from hpack import Decoder
from hyperframe.frame import Frame, HeadersFrame

from shield.client.connection import CONTINUE
from shield.client.h2.connection import PREFACE
from shield.config.load import ConfigError, as_json, parse
from shield.errors import StartError
from shield.http.browser import (
    MAX_NONCE,
    MAX_NONCES,
    MAX_TOKEN_CHARS,
    cross_site,
    encode_form,
    parse_answer,
    parse_form,
    same_origin,
)
from shield.http.cookies import take_cookie
from shield.http.fields import Fields
from shield.http.forwarded import Forwarding, parse_forwarded, parse_node
from shield.http.framing import ChunkedBody
from shield.http.head import Examiner, Head
from shield.http.plain_head import PlainHeads
from shield.http.rules import Broken
from shield.http.settings import HttpSettings
from shield.policy.bucket import Rate
from shield.policy.challenge.challenge import Challenger, Redeemed, solved
from shield.policy.challenge.settings import ChallengeSettings
from shield.policy.entries import PassKind
from shield.policy.history import History, HistorySettings
from shield.policy.keys import Keys
from shield.policy.notes import Notes
from shield.policy.pass_tokens import PassTokens
from shield.policy.passes import Passes
from shield.policy.pricing.settings import PricingSettings
from shield.policy.pricing.waiting_room import Room, Waiter
from shield.process.state import HISTORY, StateSettings, load, load_keys
from shield.readers import reader_of
from shield.replies.catalogue import Catalogue
from shield.wire import client_hello as hello
from shield.wire import proxy_protocol as prefix
from tests.client.h2 import peer
from tests.fuzz.memory import REFUSING, Link, Memory, echo, replies

SEEDS: Final = Path(__file__).parent / "seeds"
KEYS: Final = Keys(b"\x01" * 32, b"\x02" * 32)
NOW: Final = 1000.0
WALL: Final = 1_800_000_000.0
CLIENT: Final = b"c" * 16


def seeds(name: str) -> list[bytes]:
    """The kept inputs of a target: a file of lines, in which \\r, \\n, \\t, \\x.. and \\\\ stand for bytes; # begins a
    comment."""
    lines = (SEEDS / f"{name}.txt").read_text("utf-8").splitlines()
    return [line.encode("latin-1").decode("unicode_escape").encode("latin-1") for line in lines if line[:2] != "# "]


def pieces(data: bytes, most: int = 8) -> list[bytes]:
    """`data` cut at places that depend on nothing but itself."""
    dice = random.Random(zlib.crc32(data))
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(most)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if end > start]


# tokens


@cache
def _history() -> History:
    return History(HistorySettings(), 100)


@cache
def _passes() -> tuple[Passes, set[bytes]]:
    """Passes, and all that were ever signed."""
    passes = Passes(
        ChallengeSettings(pass_lifetime=1e6),
        Rate(20.0, 300.0),
        100,
        PassTokens(KEYS, random.Random(1).randbytes, WALL - NOW),
        _history(),
        lambda network, count: None,
        Notes(),
    )
    tokens = [passes.earn(NOW) for _ in range(4)]
    for _ in range(4):
        sold = passes.buy(20, "192.0.2.0/24", NOW)
        assert sold is not None
        tokens.append(sold[0])
    return passes, {urlsafe_b64decode(token + "==") for token in tokens}


def pass_token(data: bytes) -> None:
    """Only what was signed is a pass. Seeds hold genuine ones."""
    passes, genuine = _passes()
    text = data.decode("latin-1")
    found = passes.present(text, NOW + 1)
    if found is None:
        assert not (len(text) == 42 and text.isascii() and _decoded(text + "==") in genuine)
        return
    raw = _decoded(text + "==")
    assert raw in genuine
    assert found.key == raw[2:10]
    assert found.kind in (PassKind.EARNED, PassKind.BOUGHT)


def _decoded(text: str) -> bytes:
    with contextlib.suppress(ValueError):
        return urlsafe_b64decode(text)
    return b""


@cache
def _challenger() -> tuple[Challenger, str]:
    challenger = Challenger(
        ChallengeSettings(sub_puzzles=2), KEYS, random.Random(2).randbytes, 1000, WALL - NOW, solved
    )
    return challenger, challenger.mint(CLIENT, b"", 64, NOW).token


def answer(data: bytes) -> None:
    """JSON from anybody. What is accepted has the right form, and solves a puzzle that was set here."""
    said = parse_answer(data)
    if said is None:
        return
    if isinstance(said, str):
        assert len(said) <= MAX_TOKEN_CHARS
        _find(said)
        return
    token, nonces = said
    assert 0 < len(token) <= MAX_TOKEN_CHARS
    assert 0 < len(nonces) <= MAX_NONCES
    assert all(type(nonce) is int and 0 <= nonce <= MAX_NONCE for nonce in nonces)
    assert parse_answer(orjson.dumps({"token": token, "nonces": nonces})) == said
    challenger, genuine = _challenger()
    result, _ = challenger.verify(CLIENT, b"", token, nonces, 64, NOW)
    if result is Redeemed.FOREIGN:  # its mark is ours; its MAC may be anything
        assert urlsafe_b64decode(token)[:-16] == urlsafe_b64decode(genuine)[:-16]
    elif result not in (Redeemed.MALFORMED, Redeemed.FORGED, Redeemed.BUSY):  # from whatever address
        assert urlsafe_b64decode(token)[:-4] == urlsafe_b64decode(genuine)[:-4]
    if result is Redeemed.ACCEPTED:
        target = int.from_bytes(urlsafe_b64decode(token)[3:11], "big")
        assert solved(token, target, nonces) == len(nonces) == 2


@cache
def _room() -> tuple[Room, str]:
    room = Room(PricingSettings(), 10, KEYS, random.Random(3).randbytes)
    return room, room.ticket(room.enter("192.0.2.0/24", False, 20, NOW))


def _find(text: str) -> None:
    room, genuine = _room()
    found = room.find(text)
    if isinstance(found, Waiter):
        assert urlsafe_b64decode(text) == urlsafe_b64decode(genuine)
    else:
        assert found in (Redeemed.MALFORMED, Redeemed.FORGED, Redeemed.EXPIRED)


def ticket(data: bytes) -> None:
    """A place in the waiting room: genuine, or nobody's."""
    _find(data.decode("latin-1"))


# fields


@cache
def _forwarding(source: str) -> Forwarding:
    return Forwarding(("10.0.0.0/8", "fd00::/8", "192.0.2.1"), source)


def forwarded(data: bytes) -> None:
    """X-Forwarded-For, Forwarded, X-Forwarded-Host, -Proto and more, as a trusted proxy may pass them: a line each."""
    chain, elements, host, proto, *more = [_text(line) for line in (*data.split(b"\n", 9), b"", b"", b"", b"")]
    for source in ("x-forwarded-for", "forwarded", "none"):
        head = Head()
        head.host = b"site.example"
        head.chain, head.forwarded = chain, elements
        head.told = (b"X-Forwarded-Host: %s\r\n" % host, b"x-forwarded-proto: %s\r\n" % proto)
        head.told += tuple(name + b": " + value + b"\r\n" for name, value in zip(_TOLD, more, strict=False))
        forwarding = _forwarding(source)
        story = forwarding.resolve("10.1.2.3", "http", head)
        for address in story.hops:
            assert str(ipaddress.ip_address(address)) == address
            assert "%" not in address
        assert story.scheme in ("http", "https")
        written = forwarding.fields(head, story)
        lines = written.split(b"\r\n")
        assert lines.pop() == b""
        assert [line.partition(b":")[0] for line in lines][:6] == [
            b"X-Forwarded-For",
            b"X-Forwarded-Proto",
            b"Forwarded",
            b"X-Real-IP",
            b"X-Forwarded-Host",
            b"X-Forwarded-Port",
        ]
        assert not re.search(rb"[\r\n\0]", b"".join(lines))
        # Each element says the same, and they are the chain.
        told = parse_forwarded(lines[2].partition(b": ")[2].decode("latin-1"))
        assert [parse_node(element["for"]) for element in told] == list(story.hops)[-len(told) :]
        assert lines[0] == b"X-Forwarded-For: " + ", ".join(story.hops).encode("ascii")
        assert {(element["proto"], element["host"]) for element in told} == {
            (story.scheme, story.host or "site.example")
        }


_TOLD: Final = (
    b"X-Forwarded-Port",
    b"Client-IP",
    b"Front-End-Https",
    b"CF-Visitor",
    b"X-Original-Host",
    b"X-Forwarded-Q",
)


def _text(line: bytes) -> bytes:
    """What the heads' parsers let through in a value: no control characters but tabs."""
    return re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", line).strip(b" \t")


def cookie(data: bytes) -> None:
    """The pass comes out, whatever else was there, and none of that name goes on."""
    name = b"shield_pass"
    token, rest = take_cookie(data, name)
    assert token in data
    kept = [part.strip().partition(b"=") for part in rest.split(b";")]
    assert not [value for key, equals, value in kept if key in (name, b"__Host-" + name) and equals]
    assert take_cookie(rest, name) == (b"", rest)
    others = [part.strip() for part in data.split(b";")]
    assert name not in data or all(part.strip() in others for part in rest.split(b";") if part.strip())


def navigation(data: bytes) -> None:
    """What browsers say of themselves, and forms: the first line is a field, the rest a body."""
    line, _, body = data.partition(b"\n")
    fields = Fields(b"GET / HTTP/1.1\r\n" + b"\r\n".join(_text(each) for each in line.split(b"|")) + b"\r\n\r\n")
    reader_of("OPTIONS", fields)
    reader_of("GET", fields)
    if same_origin(fields, "https"):
        assert not cross_site(fields, False)
    form = parse_form(body, "application/x-www-form-urlencoded")
    if form is None:
        return
    assert encode_form(form) == body
    values = dict.fromkeys(("token", "k", "target", "expected_hashes", "expires_in", "wait", "id"), "1")
    page = replies()._pages.challenge(Catalogue("en", {}), values, "submit", form)
    assert page.count(b'<input type="hidden"') == len(form)
    assert page.count(b"<script") == 3
    assert page.count(b"<form") == page.count(b"</form>") == 1


# framing


def chunked(data: bytes) -> None:
    """A chunked body: the same payload however it is cut, and what was written anew is read as the same by h11."""
    ends = {_chunks(cut) for cut in ([data], pieces(data), [data[at : at + 1] for at in range(min(len(data), 3000))])}
    if len(data) <= 3000:
        assert len({(payload, end) if end != "wrong" else end for payload, end in ends}) == 1
    payload, end = _chunks([data])
    if not isinstance(end, int):
        return
    judge = h11.Connection(h11.SERVER)
    judge.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data[:end])
    read = b""
    with contextlib.suppress(_Trailer):
        while not isinstance(event := _next(judge, data), h11.EndOfMessage):
            assert not isinstance(event, type(h11.NEED_DATA)), "h11 waits for more"
            if isinstance(event, h11.Data):
                read += bytes(event.data)
    assert read == payload


class _Trailer(Exception):
    """h11 looks into the trailers, which are dropped here."""


def _next(judge: h11.Connection, data: bytes) -> Any:
    try:
        return judge.next_event()
    except h11.RemoteProtocolError as error:
        if re.search(rb"(?i)\r\n(content-length|transfer-encoding|host)[ \t]*:", data):
            raise _Trailer from error
        raise


def _chunks(cut: list[bytes]) -> tuple[bytes, int | str]:
    """Payload, and where the message ended; "more" or "wrong" when it did not."""
    body = ChunkedBody(5000)
    payload, used = b"", 0
    try:
        for piece in cut:
            found, stop = body.feed(piece, 0)
            payload += b"".join(found)
            used += stop
            if body.done:
                return payload, used
    except Broken:
        return b"", "wrong"
    return payload, "more"


# heads

HEADS: Final = HttpSettings(max_fields=12, max_target_bytes=64, max_body_bytes=1000)
COMPARED: Final = (
    "method", "target", "path", "host", "length", "old", "close", "doubtful", "expect", "upgrade", "agent",
    "language", "cookie", "token", "chain", "forwarded", "told", "request_id", "origin",
)  # fmt: skip


@cache
def _plain() -> PlainHeads:
    return PlainHeads(Examiner(HEADS, "Shield-Pass"))


def plain_head(data: bytes) -> None:
    """A head read the short way means what the examiner makes of it."""
    data = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    try:
        short = _plain().read(data, data.index(b"\r\n"))
    except Broken:
        return
    if short is None:
        return
    long = _plain().examiner.examine(data, data.index(b"\r\n"))
    for name in COMPARED:
        assert getattr(short, name) == getattr(long, name), name
    assert short.reader() is long.reader()
    assert b"".join(short.fields) == b"".join(long.fields)


TLS_ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x0a"
FIRST: Final = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
OWN: Final = b"GET /own HTTP/1.1\r\nHost: a\r\n\r\n"


def client_connection(data: bytes) -> None:
    """A client's connection: it may say what it wants, in whatever pieces. The next client is served as ever."""
    told = {_told(cut) for cut in ([data], pieces(data), *([_bytes(data)] if len(data) < 800 else []))}
    assert len(told) == 1, told


def _bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def _told(cut: list[bytes]) -> tuple[Any, ...]:
    memory = Memory()
    victim = memory.client()
    victim.send(FIRST)
    hostile = memory.client()
    hostile.send(*cut)
    closing = hostile.closing
    hostile.leave()
    del memory.seen[0]
    seen = tuple(memory.seen)
    before = len(victim.heard)
    victim.send(OWN)
    assert victim.heard[before:].endswith(b"\r\n\r\nGET /own 0")
    victim.leave()
    memory.close()
    statuses = _answers(hostile.heard)
    # What is wrong first depends on how much has come; that something is wrong does not.
    return tuple(400 if status in REFUSING else status for status in statuses), seen, closing


def _answers(heard: bytes) -> list[int]:
    """The statuses of the answers, each of which must be whole. To HEAD there is no body; no body here begins as an
    answer does."""
    statuses = []
    while heard:
        if heard == TLS_ALERT:  # to a client that speaks TLS here
            return [*statuses, 400]
        headless = heard[heard.index(b"\r\n\r\n") + 4 :]
        if heard.startswith(CONTINUE):
            heard = headless
            continue
        client = h11.Connection(h11.CLIENT)
        method = "HEAD" if not headless or headless.startswith(b"HTTP/1.1 ") else "GET"
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(heard)
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert not isinstance(event, type(h11.NEED_DATA)), "an answer cut short"
            if isinstance(event, h11.Response):
                statuses.append(event.status_code)
        heard = client.trailing_data[0]
    return statuses


def http2_connection(data: bytes) -> None:
    """A client's connection of HTTP/2, behind the preface: any frames, in whatever pieces. What it gets are frames that
    hpack and hyperframe can read, the service gets requests that h11 takes, and the next client is served as ever. How
    little comes at a time decides only what is cancelled before it is sent on, or said behind a farewell."""
    seen = []
    for cut in ([data], pieces(data), *([_bytes(data)] if len(data) < 800 else [])):
        memory = Memory()
        hostile = memory.client(http2=True)
        hostile.send(PREFACE, *cut)
        hostile.leave()
        seen.append(Counter(memory.seen))
        victim = memory.client()
        victim.send(OWN)
        assert victim.heard.endswith(b"\r\n\r\nGET /own 0")
        victim.leave()
        memory.close()
        _read_frames(hostile.heard)
    assert _says_farewell(data) or all(fewer <= seen[-1] for fewer in seen)


def _says_farewell(data: bytes) -> bool:
    while len(data) >= 9:
        if data[3] == peer.GOAWAY:
            return True
        data = data[9 + int.from_bytes(data[:3], "big") :]
    return False


def _read_frames(heard: bytes) -> dict[int, list[tuple[bytes, bytes]]]:
    """The fields that came on each stream. Everything must be whole, but for the end of the last frame."""
    decoder = Decoder()
    told: dict[int, list[tuple[bytes, bytes]]] = {}
    while heard:
        frame, length = Frame.parse_frame_header(memoryview(heard[:9]), strict=True)
        frame.parse_body(memoryview(heard[9 : 9 + length]))
        heard = heard[9 + length :]
        if isinstance(frame, HeadersFrame):
            assert "END_HEADERS" in frame.flags
            told.setdefault(frame.stream_id, []).extend(decoder.decode(frame.data, raw=True))
    return told


def http2_head(data: bytes) -> None:
    """A head as HTTP/2 has it, a field in each line. What the service sees is that: the same method, target and host,
    and no field that is not among them but for those that Shield writes."""
    pairs = []
    for line in data.split(b"\n"):
        name, _, value = line[1:].partition(b":")
        if line:
            pairs.append((line[:1] + name, value))
    memory = Memory()
    client = memory.client(http2=True)
    client.send(PREFACE, peer.settings(), peer.headers(pairs))
    client.leave()
    told = _read_frames(client.heard)
    memory.close()
    assert len(memory.heads) <= 1
    for head in memory.heads:
        asked = dict(pairs[:5])
        assert (head.method, head.target) == (asked[b":method"], asked[b":path"])
        host = asked.get(b":authority") or dict(pairs)[b"host"]
        sent = {(name, value.strip(b" \t")) for name, value in pairs}
        for name, value in head.headers:
            assert (name, value) in sent or name in _WRITTEN or (name, value) == (b"host", host), (name, value)
        assert told[1][0][0] == b":status"


_WRITTEN: Final = frozenset(
    b"x-forwarded-for x-forwarded-proto x-forwarded-host x-forwarded-port forwarded x-real-ip x-request-id cookie "
    b"content-length cdn-loop connection".split()
)


def upstream(data: bytes) -> None:
    """A server that says anything to the first request, and to the second what it should: the first client gets whole
    messages or a cut connection, the second its own answer. The method of the first is in the first byte."""
    if not data:
        return
    first = (b"GET", b"HEAD", b"POST", b"OPTIONS")[data[0] % 4]
    told = [_through(first, cut) for cut in ([data[1:]], pieces(data[1:]), _bytes(data[1:])[:800])]
    if len(data) <= 800:
        assert told[0] == told[1] == told[2], told


def _through(method: bytes, cut: list[bytes]) -> tuple[bytes, bool]:
    asked = 0

    def say(link: Link, said: bytes, target: bytes, body: bytes) -> list[bytes]:
        nonlocal asked
        asked += 1
        return cut if target == b"/first" else list(echo(link, said, target, body))

    memory = Memory(say)
    first = memory.client()
    first.send(method + b" /first HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    complete = not (memory.server.outstanding or first.transport.aborted)
    second = memory.client()
    second.send(OWN)
    assert second.heard.endswith(b"\r\n\r\nGET /own 0"), second.heard
    assert second.heard.startswith(b"HTTP/1.1 200 "), second.heard
    second.leave()
    for link in memory.links:
        link.end()
    memory.loop.settle()
    if complete:
        _read_answer(method, first.heard)
    heard = first.heard
    cut_off = first.transport.aborted
    first.leave()
    memory.close()
    if cut_off:  # how much of it got through does depend on the reads
        return b"", False
    if b"HTTP/1.1 502 " in heard:
        return b"HTTP/1.1 502", complete
    return _unframed(heard), complete


def _unframed(heard: bytes) -> bytes:
    """Without what the cutting into reads shows in: the sizes of chunks."""
    head, _, rest = heard.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 1"):
        return head + _unframed(rest)
    if b"Transfer-Encoding: chunked" not in head:
        return heard
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        count = int(size, 16)
        body += rest[:count]
        rest = rest[count + 2 :]
    return head + body


def _read_answer(method: bytes, heard: bytes) -> None:
    """One final answer, and nothing behind it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/first", headers=[("Host", "a"), ("Content-Length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(heard)
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert not isinstance(event, type(h11.NEED_DATA)), heard
        assert not isinstance(event, type(h11.PAUSED)), heard
    assert client.trailing_data[0] == b"", heard


# before HTTP


def _begins(data: bytes, read: Callable[[bytes], Any], wrong: type[Exception], most: int) -> Any:
    """What `read` makes of the beginning of `data`: None when it is wrong or not whole. However little has come, more
    is asked for, and never more than `most` bytes; what is wrong once stays wrong."""
    known: Any = None
    for size in sorted({*range(min(len(data), 120)), *(n % (len(data) + 1) for n in (200, 500, 777)), len(data)}):
        try:
            found = read(data[:size])
        except wrong:
            assert known is None or known is wrong, "what was whole is wrong"
            known = wrong
            continue
        assert known is not wrong, "what was wrong is right"
        if isinstance(found, int):
            assert known is None, "what was whole is not"
            assert size < found <= most
        else:
            assert known in (None, found)
            known = found
    return None if known is wrong else known


def proxy_header(data: bytes) -> None:
    """A PROXY protocol header. What was read can be written, and is read as the same."""
    header = _begins(data, prefix.read, prefix.BadHeader, prefix.MOST_V2)
    if header is None:
        return
    assert 0 < header.length <= len(data)
    assert prefix.read(data[: header.length]) == header
    if header.ends is not None:
        for address in (header.ends.source, header.ends.destination):
            ipaddress.ip_address(address)
        assert prefix.read(prefix.write("v1", header.ends)).ends == header.ends  # type: ignore[union-attr]
        assert prefix.read(prefix.write("v2", header.ends)).ends == header.ends  # type: ignore[union-attr]


def client_hello(data: bytes) -> None:
    """A ClientHello. It has a JA4 of the usual form, whatever is in it."""
    found = _begins(data, hello.read, hello.BadHello, hello.MOST_BYTES + 5)
    if found is not None:
        for name in (hello.ja4(found), hello.habit(found)):
            assert re.fullmatch(r"t(1[0-3]|s[23]|00)[di][0-9]{4}[0-9a-zA-Z]{2}_[0-9a-f]{12}_[0-9a-f]{12}", name)
        assert found.server_name.isascii()
        assert len(found.server_name) <= 255


# files


def config_file(data: bytes) -> None:
    """A config: settings, or mistakes that can be shown."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    wrong = None
    try:
        parse(text)
    except ConfigError as error:
        wrong = error
    if wrong is not None:
        assert str(wrong).count("config.toml: ") >= len(wrong.mistakes) > 0
        assert as_json(wrong.mistakes)


class _Log:
    def event(self, name: str, level: Any = "info", **fields: Any) -> None:
        orjson.dumps([name, fields])


@cache
def _room_on_disk() -> Path:
    shm = "/dev/shm"  # noqa: S108 - a place in memory, where there is one
    name = tempfile.mkdtemp(dir=shm if os.access(shm, os.W_OK) else None)
    atexit.register(shutil.rmtree, name)
    return Path(name)


def state_files(data: bytes) -> None:
    """The history and the keys: taken, or put aside. A history that was taken can be used and saved."""
    directory = _room_on_disk()
    settings = StateSettings(directory=str(directory))
    for file in directory.iterdir():
        file.unlink()
    (directory / "history.json").write_bytes(data)
    rows = [row for saved in load(settings, HISTORY, _Log()) for row in saved.rows]
    assert (directory / "history.json").exists() or [*directory.glob("*.unusable*")], "lost"
    history = History(HistorySettings(), 5)
    taken = history.load(rows, NOW, WALL)
    assert len(history) <= min(taken, 5)
    for row in orjson.loads(orjson.dumps([*history.rows(NOW, WALL)])):
        again = History(HistorySettings(), 5)
        assert again.load([row], NOW, WALL) in (0, 1)
    for record in list(history.values()):
        assert history.clients_at(record.address) >= 1
        assert history.addresses_in(record.network) >= 1
        history.known_since(record.network, NOW)
    history.forget_old(NOW + 1e9)
    while history:
        history.popitem()
    assert not history._addresses
    assert not history._networks
    file = directory / "keys"
    file.touch(mode=0o600)
    file.write_bytes(data)
    with contextlib.suppress(StartError):
        current, previous = load_keys(settings, _Log())
        assert len(current) == 32
        assert previous is None or len(previous) == 32


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    function.__name__: function
    for function in (
        answer,
        chunked,
        client_hello,
        config_file,
        cookie,
        forwarded,
        client_connection,
        http2_connection,
        http2_head,
        navigation,
        pass_token,
        plain_head,
        proxy_header,
        state_files,
        ticket,
        upstream,
    )
}
