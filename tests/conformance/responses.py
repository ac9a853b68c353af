"""What an upstream server may send, byte for byte, and what has to come of it.

Each case names its rule: a section of an RFC, or the public bug that made it famous. `status` and `body` are what the
client gets; CUT: an answer that it cannot take for a whole one. `reused`: the upstream connection serves another client
afterwards, which it may only when nothing about the response was doubtful.
"""

from __future__ import annotations

from dataclasses import dataclass

CUT = 0


@dataclass(frozen=True, slots=True)
class Case:
    rule: str
    name: str
    data: bytes
    status: int = 502
    body: bytes = b""
    reused: bool = False
    method: str = "GET"
    ends: bool = False  # the server closes behind it
    version: str = "1.1"  # of the request
    client_stays: bool = True  # the client's connection serves another request

    @property
    def id(self) -> str:
        return f"{self.rule}: {self.name}"


OK = b"HTTP/1.1 200 OK"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: 1\r\n\r\nevil"
CODED = b"Transfer-Encoding: chunked"
SAME = b"HTTP/1.1 304 Not Modified"
NOTHING = b"HTTP/1.1 204 No Content"
REASON = bytes((9, *range(32, 127), *range(128, 256)))


def _head(*lines: bytes, first: bytes = OK) -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


def _good(rule: str, name: str, data: bytes, body: bytes = b"", status: int = 200) -> Case:
    return Case(rule, name, data, status, body, reused=True)


def _once(rule: str, name: str, data: bytes, body: bytes = b"", status: int = 200) -> Case:
    """A whole answer on a connection that is not used again."""
    return Case(rule, name, data, status, body)


def _bad(rule: str, name: str, data: bytes) -> Case:
    return Case(rule, name, data)


def _cut(rule: str, name: str, data: bytes, ends: bool = False) -> Case:
    return Case(rule, name, data, CUT, ends=ends)


def _sized(*lines: bytes, first: bytes = OK) -> bytes:
    return _head(*lines, b"Content-Length: 5", first=first) + b"hello"


def _chunks(rest: bytes) -> bytes:
    return _head(CODED) + rest


STATUS_LINE = [
    _good("RFC 9112 4", "no reason", _sized(first=b"HTTP/1.1 200 "), b"hello"),
    _good("RFC 9112 4", "no reason and no space, as some servers send", _sized(first=b"HTTP/1.1 200"), b"hello"),
    _good("RFC 9112 4", "a reason of other letters", _sized(first=b"HTTP/1.1 200 \xc3\xa9\tx"), b"hello"),
    _good("RFC 9110 15", "an unknown status", _sized(first=b"HTTP/1.1 299 x"), b"hello", 299),
    _good("RFC 9110 15", "an unknown status of the last class", _sized(first=b"HTTP/1.1 599 x"), b"hello", 599),
    _bad("RFC 9112 4", "two digits", _sized(first=b"HTTP/1.1 20 OK")),
    _bad("RFC 9112 4", "four digits", _sized(first=b"HTTP/1.1 2000 OK")),
    _bad("RFC 9110 15", "a status below 100", _sized(first=b"HTTP/1.1 099 OK")),
    _good("RFC 9110 15", "a status of no class", _sized(first=b"HTTP/1.1 999 x"), b"hello", 999),
    _good("RFC 9112 4", "a reason of every byte that may be in one", _sized(first=b"HTTP/1.1 200 " + REASON), b"hello"),
    _bad("RFC 9112 4", "a status of letters", _sized(first=b"HTTP/1.1 abc OK")),
    _bad("RFC 9112 4", "a status with a sign", _sized(first=b"HTTP/1.1 +20 OK")),
    _bad("RFC 9112 4", "two spaces before the status", _sized(first=b"HTTP/1.1  200 OK")),
    _bad("RFC 9112 4", "a tab before the status", _sized(first=b"HTTP/1.1\t200 OK")),
    _bad("RFC 9112 4", "no space before the reason", _sized(first=b"HTTP/1.1 200OK")),
    _bad("RFC 9112 4", "NUL in the reason", _sized(first=b"HTTP/1.1 200 O\0K")),
    _bad("RFC 9112 4", "a bare CR in the reason", _sized(first=b"HTTP/1.1 200 O\rK")),
    _bad("RFC 9112 4", "an empty line first", b"\r\n" + _sized()),
    _bad("RFC 9112 4", "a space first", b" " + _sized()),
    _bad("RFC 9112 2.3", "HTTP/2.0", _sized(first=b"HTTP/2.0 200 OK")),
    _good("RFC 9110 2.5", "HTTP/1.2", _sized(first=b"HTTP/1.2 200 OK"), b"hello"),
    _bad("RFC 9112 2.3", "HTTP/1.10", _sized(first=b"HTTP/1.10 200 OK")),
    _bad("RFC 9112 2.3", "HTTP/0.9 in words", _sized(first=b"HTTP/0.9 200 OK")),
    _bad("RFC 9112 2.3", "lower case", _sized(first=b"http/1.1 200 OK")),
    _bad("RFC 9112 2.3", "a version of two digits", _sized(first=b"HTTP/01.1 200 OK")),
    _bad("RFC 7826", "RTSP", _sized(first=b"RTSP/1.0 200 OK")),
    _bad("SHOUTcast", "ICY", _sized(first=b"ICY 200 OK")),
    _bad("RFC 1945 3.1", "an answer of HTTP/0.9", b"<html>hello</html>\r\n"),
    _bad("RFC 4253", "another protocol's greeting", b"SSH-2.0-OpenSSH_9.6\r\n"),
    _bad("RFC 9112 4", "a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    _bad("RFC 8446", "a TLS alert", b"\x15\x03\x03\x00\x02\x02\x28"),
]

FIELDS = [
    _good("RFC 9112 5.1", "no space behind a colon", _head(b"Content-Length:5", b"X:1") + b"hello", b"hello"),
    _good("RFC 9112 5.1", "whitespace around a value", _head(b"Content-Length: \t5 \t") + b"hello", b"hello"),
    _good("RFC 9112 5.1", "an empty value", _sized(b"X:"), b"hello"),
    _good("RFC 9110 5.5", "obs-text in a value", _sized(b"X: \xe4\xff"), b"hello"),
    _good("RFC 9110 5.1", "an underscore in a name", _sized(b"X_Y: 1"), b"hello"),
    _good("RFC 9110 5.6.2", "every letter of a token", _sized(b"!#$%&'*+-.^_`|~09azAZ: 1"), b"hello"),
    _good("nginx, CGI", "Transfer_Encoding is dropped", _sized(b"Transfer_Encoding: chunked"), b"hello"),
    _good("desync guardian", "Content--Length is dropped", _sized(b"Content--Length: 50"), b"hello"),
    _good("RFC 9112 5.1", "whitespace before a colon is taken out", _sized(b"X : 1", b"Y\t \t: 2"), b"hello"),
    _bad("RFC 9112 5.1", "a space before the colon of Connection", _sized(b"Connection : close")),
    _bad("RFC 9112 5.1", "a space before the colon of Transfer_Encoding", _sized(b"Transfer_Encoding : chunked")),
    _bad("RFC 9112 5.1", "a space before the colon of Content-Length", _head(b"Content-Length : 5") + b"hello"),
    _bad("RFC 9112 5.1", "a tab before the colon of Transfer-Encoding", _head(b"Transfer-Encoding\t: chunked")),
    _once("RFC 9112 5.2", "obs-fold", _sized(b"X: 1", b" 2", b"Y:", b"\t3", b" 4"), b"hello"),
    _bad("RFC 9112 5.2", "obs-fold of Connection", _sized(b"Connection:", b" close")),
    _bad("RFC 9112 5.2", "obs-fold of Content--Length", _sized(b"Content--Length:", b" 50")),
    _bad("RFC 9112 5.2", "obs-fold with a control character", _sized(b"X: 1", b" \x01")),
    _bad("RFC 9112 5.2", "obs-fold of Content-Length", _head(b"Content-Length:", b" 5") + b"hello"),
    _bad("RFC 9112 5.2", "a fold behind the status line", _sized(b" X: 1")),
    _bad("RFC 9110 5.5", "NUL in a value", _sized(b"X: a\0b")),
    _bad("RFC 9110 5.5", "a bare CR in a value", _sized(b"X: a\rX-Evil: 1")),
    _bad("CVE-2023-25690 and kin", "a bare LF in a value", _sized(b"X: a\nX-Evil: 1")),
    _bad("RFC 9112 2.2", "two CRs before the LF", _sized(b"X: a\r")),
    _bad("RFC 9110 5.5", "a control character in a value", _sized(b"X: a\x08b")),
    _bad("RFC 9110 5.5", "DEL in a value", _sized(b"X: a\x7fb")),
    _bad("RFC 9110 5.6.2", "no name", _sized(b": 1")),
    _bad("RFC 9110 5.6.2", "no colon", _sized(b"X")),
    _bad("RFC 9110 5.6.2", "a space in a name", _sized(b"X Y: 1")),
    _bad("RFC 9110 5.6.2", "a byte above 127 in a name", _sized(b"X\xe4: 1")),
    _bad("RFC 9110 5.6.2", "NUL in a name", _sized(b"X\0: 1")),
    _once("RFC 9112 2.2", "bare LFs throughout", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello"),
    _once(
        "RFC 9112 2.2", "bare LFs, CRLFs in the body", b"HTTP/1.1 200 OK\nContent-Length: 4\n\n\r\n\r\n", b"\r\n" * 2
    ),
    _bad("RFC 9112 2.2", "bare LFs, then CRLFs", b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello"),
    _bad("RFC 9112 2.2", "a bare LF behind the status line", b"HTTP/1.1 200 OK\r\nX: 1\nContent-Length: 5\n\nhello"),
    _bad("RFC 9112 2.2", "bare LFs behind the fields", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello"),
    _bad("RFC 9112 2.2", "bare CRs throughout", b"HTTP/1.1 200 OK\rContent-Length: 5\r\r\n\r\nhello"),
    _bad("RFC 6585 5", "a head without end", _head(b"X: 1")[:-2] + b"Y: " + b"z" * 140_000),
    _bad("RFC 6585 5", "fields without end", OK + b"\r\n" + b"X: 1\r\n" * 25_000),
    _bad("RFC 6585 5", "a whole head that is too large", _head(b"X: " + b"y" * 140_000, b"Content-Length: 0")),
    _bad("RFC 9112 4", "a status line without end", OK + b" " * 140_000),
]

FRAMING = [
    _good("RFC 9112 6.3", "a length", _sized(), b"hello"),
    _good("RFC 9112 6.3", "no body", _head(b"Content-Length: 0")),
    _good("RFC 9110 8.6", "leading zeros", _head(b"Content-Length: 0005") + b"hello", b"hello"),
    _good("RFC 9110 8.6", "any number of them", _head(b"Content-Length: " + b"0" * 40 + b"5") + b"hello", b"hello"),
    _bad("RFC 9112 6.3", "two lengths", _head(b"Content-Length: 5", b"Content-Length: 40") + b"hello" + EVIL),
    _once("RFC 9112 6.3", "two equal lengths", _head(b"Content-Length: 5", b"Content-Length: 5") + b"hello", b"hello"),
    _bad("RFC 9112 6.3", "two spellings of a length", _head(b"Content-Length: 5, 05") + b"hello"),
    _bad("RFC 9112 6.3", "a list of lengths", _head(b"Content-Length: 5, 6") + b"hello!"),
    _once("RFC 9112 6.3", "a list of equal lengths", _head(b"Content-Length: 5, 5") + b"hello", b"hello"),
    _bad("RFC 9110 8.6", "a length with a plus sign", _head(b"Content-Length: +5") + b"hello"),
    _bad("RFC 9110 8.6", "a negative length", _head(b"Content-Length: -5") + b"hello"),
    _bad("RFC 9110 8.6", "a length in hexadecimal", _head(b"Content-Length: 0x5") + b"hello"),
    _bad("RFC 9110 8.6", "a length with an underscore", _head(b"Content-Length: 1_0") + b"hellohello"),
    _bad("RFC 9110 8.6", "an empty length", _head(b"Content-Length:") + b"hello"),
    _bad("RFC 9110 8.6", "a length of other digits", _head(b"Content-Length: \xd9\xa5") + b"hello"),
    _bad("RFC 9110 8.6", "a length beyond 64 bits", _head(b"Content-Length: 18446744073709551621") + b"hello"),
    _bad("RFC 9112 6.3", "both framings", _head(b"Content-Length: 5", CODED) + b"0\r\n\r\n"),
    _bad("RFC 9112 6.3", "both framings, the other way round", _head(CODED, b"Content-Length: 5") + b"0\r\n\r\n"),
    _bad("RFC 9112 6.1", "two codings", _head(CODED, CODED) + b"0\r\n\r\n"),
    _bad("RFC 9112 6.3", "chunked is not the last coding", _head(b"Transfer-Encoding: chunked, gzip") + b"x"),
    _bad("RFC 9112 6.3", "another coding before", _head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    _bad("RFC 9112 6.1", "identity", _head(b"Transfer-Encoding: identity") + b"hello"),
    _bad("RFC 9112 6.1", "an empty coding", _head(b"Transfer-Encoding:") + b"hello"),
    _bad("RFC 9112 6.1", "xchunked", _head(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n"),
    _bad("RFC 9112 6.1", "chunked with a parameter", _head(b"Transfer-Encoding: chunked;q=1") + b"0\r\n\r\n"),
    _bad("RFC 9112 6.1", "chunked behind a vertical tab", _head(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n"),
    _bad("RFC 9112 6.1", "chunked in HTTP/1.0", _head(CODED, first=b"HTTP/1.0 200 OK") + b"0\r\n\r\n"),
    _once("RFC 9112 9.3", "HTTP/1.0", _sized(first=b"HTTP/1.0 200 OK"), b"hello"),
    _once("RFC 9112 9.3", "HTTP/1.0, kept", _sized(b"Connection: keep-alive", first=b"HTTP/1.0 200 OK"), b"hello"),
    _once("RFC 9112 9.6", "Connection: close", _sized(b"Connection: close"), b"hello"),
    _once("RFC 9112 9.6", "close among others", _sized(b"Connection: keep-alive, CLOSE"), b"hello"),
    _once("RFC 9110 7.6.1", "Connection names Content-Length", _sized(b"Connection: Content-Length"), b"hello"),
    _once(
        "RFC 9110 7.6.1",
        "Connection names Transfer-Encoding",
        _head(CODED, b"Connection: transfer-encoding") + b"5\r\nhello\r\n0\r\n\r\n",
        b"hello",
    ),
    Case("RFC 9112 6.3", "until the end", _head(b"X: 1") + b"hello", 200, b"hello", ends=True),
    Case("RFC 9112 6.3", "until the end of HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello", ends=True),
    Case(
        "RFC 9112 6.3",
        "until the end, to HTTP/1.0",
        _head() + b"hello",
        200,
        b"hello",
        ends=True,
        version="1.0",
        client_stays=False,
    ),
    _cut("RFC 9112 8", "a body shorter than its length", _head(b"Content-Length: 6") + b"hello", ends=True),
    _cut("RFC 9112 8", "a body that does not begin", _head(b"Content-Length: 6"), ends=True),
    Case("RFC 9112 8", "a head that breaks off", OK + b"\r\nContent-Length: 5\r\nX: ", ends=True),
    Case("RFC 9112 8", "a status line that breaks off", b"HTTP/1.1 2", ends=True),
]

CHUNKS = [
    _good("RFC 9112 7.1", "two chunks", _chunks(b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), b"hello"),
    _good("RFC 9112 7.1", "an upper-case size", _chunks(b"A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"),
    _good("RFC 9112 7.1", "leading zeros", _chunks(b"0005\r\nhello\r\n000\r\n\r\n"), b"hello"),
    _good("RFC 9112 7.1.1", "extensions are dropped", _chunks(b'5;a="b"\r\nhello\r\n0;c\r\n\r\n'), b"hello"),
    _cut("RFC 9112 7.1.1", "an empty extension", _chunks(b"5;\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1.1", "an extension that is no token", _chunks(b"5;a(b)\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1.1", "a value without its name", _chunks(b"5;=a\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1.1", "a quote without end", _chunks(b'5;a="b\r\nhello\r\n0\r\n\r\n')),
    _good(
        "RFC 9110 6.5",
        "unwanted trailers are dropped",
        _chunks(b"5\r\nhello\r\n0\r\nSet-Cookie: a=b\r\n\r\n"),
        b"hello",
    ),
    _good("RFC 9110 6.5.1", "framing in the trailers", _chunks(b"0\r\nContent-Length: 39\r\nX: 1\r\n\r\n")),
    _good("RFC 9110 5.6.1", "empty elements", _head(b"Transfer-Encoding: , chunked ,") + b"0\r\n\r\n"),
    _bad("RFC 9112 6.1", "nothing but empty elements", _head(b"Transfer-Encoding: , ,") + b"0\r\n\r\n"),
    _good("RFC 9112 6.1", "Chunked in another case", _head(b"Transfer-Encoding: CHUNKED") + b"0\r\n\r\n"),
    _cut("RFC 9112 7.1", "a size that is no number", _chunks(b"x\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a size with 0x", _chunks(b"0x5\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a negative size", _chunks(b"-5\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a size with a plus sign", _chunks(b"+5\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a size with an underscore", _chunks(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n")),
    _good("RFC 9112 7.1", "padded sizes, as some servers send", _chunks(b"5  \r\nhello\r\n0 \t\r\n\r\n"), b"hello"),
    _good(
        "RFC 9112 7.1.1", "whitespace around an extension", _chunks(b"5 ; a = b ;c\r\nhello\r\n0\t;d\r\n\r\n"), b"hello"
    ),
    _cut("RFC 9112 7.1.1", "whitespace before no extension", _chunks(b"5 ;\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a space in a size", _chunks(b"0 5\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a size behind a space", _chunks(b" 5\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "no size", _chunks(b"\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a size of 17 digits", _chunks(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a size of 40 zeros", _chunks(b"0" * 40 + b"5\r\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "the largest size, and an end", _chunks(b"fffffffffffffff\r\nhello"), ends=True),
    _cut("RFC 9112 7.1", "a bare LF behind a size", _chunks(b"5\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a bare CR behind a size", _chunks(b"5\rhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "a bare LF behind the data", _chunks(b"5\r\nhello\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "data longer than its size", _chunks(b"5\r\nhello!\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1", "data without an end", _chunks(b"5\r\nhello0\r\n\r\n")),
    _cut("PortSwigger 2025", "a bare LF in an extension", _chunks(b"5;\nhello\r\n0\r\n\r\n")),
    _cut("RFC 9112 7.1.1", "a bare CR in an extension", _chunks(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    _cut("CVE-2023-39326", "an extension without end", _chunks(b"5;" + b"x" * 70_000)),
    _cut("CVE-2023-39326", "extensions and hardly any data", _chunks((b"1;" + b"x" * 300 + b"\r\nh\r\n") * 3)),
    _cut("RFC 9112 7.1.2", "trailers without end", _chunks(b"0\r\n" + b"X: 1\r\n" * 12_000)),
    _cut("RFC 9112 7.1.2", "a trailer without end", _chunks(b"0\r\nX: " + b"y" * 70_000)),
    _cut("RFC 9112 7.1.2", "a malformed trailer", _chunks(b"0\r\nnot a field\r\n\r\n")),
    _cut("RFC 9112 7.1.2", "a folded trailer", _chunks(b"0\r\nX: 1\r\n 2\r\n\r\n")),
    _cut("RFC 9112 7.1", "the last chunk ends with bare LFs", _chunks(b"5\r\nhello\r\n0\n\n")),
    _cut("RFC 9112 8", "an end between chunks", _chunks(b"5\r\nhello\r\n"), ends=True),
    _cut("RFC 9112 8", "an end within a chunk", _chunks(b"5\r\nhel"), ends=True),
    _cut("RFC 9112 8", "an end before the last empty line", _chunks(b"5\r\nhello\r\n0\r\n"), ends=True),
]

BEHIND = [
    _once("RFC 9112 6.3", "another response behind a length", _sized() + EVIL, b"hello"),
    _once("RFC 9112 6.3", "another response behind chunks", _chunks(b"5\r\nhello\r\n0\r\n\r\n") + EVIL, b"hello"),
    _once("RFC 9112 6.3", "a byte behind a length", _sized() + b"!", b"hello"),
    _once("RFC 9112 6.3", "an empty line behind a length", _sized() + b"\r\n", b"hello"),
    _once("RFC 9112 6.3", "an empty line behind chunks", _chunks(b"0\r\n\r\n\r\n")),
    _once("RFC 9112 6.3", "a line feed behind chunks", _chunks(b"0\r\n\r\n\n")),
    _once(
        "RFC 9110 15.3.5", "a body with 204", _head(b"Content-Length: 5", first=b"HTTP/1.1 204 x") + b"hello", b"", 204
    ),
    _once("RFC 9110 15.3.5", "a response behind 204", _head(first=b"HTTP/1.1 204 x") + EVIL, b"", 204),
    _once("RFC 9110 8.6", "a length with 204", _head(b"Content-Length: 5", first=b"HTTP/1.1 204 x"), b"", 204),
    _once("RFC 9112 6.1", "chunks with 204", _head(CODED, first=b"HTTP/1.1 204 x") + b"0\r\n\r\n", b"", 204),
    _once(
        "RFC 9110 15.4.5", "a body with 304", _head(b"Content-Length: 5", first=b"HTTP/1.1 304 x") + b"hello", b"", 304
    ),
    _once("RFC 9112 6.1", "chunks with 304", _head(CODED, first=b"HTTP/1.1 304 x") + b"0\r\n\r\n", b"", 304),
    _good("RFC 9110 15.3.5", "204", _head(first=b"HTTP/1.1 204 x"), b"", 204),
    _good(
        "RFC 9110 15.3.5",
        "204 with no length to speak of",
        _head(b"Content-Length: 0", first=b"HTTP/1.1 204 x"),
        b"",
        204,
    ),
    _good(
        "RFC 9110 15.4.5",
        "304 with the length of what it stands for",
        _head(b"Content-Length: 5", first=b"HTTP/1.1 304 x"),
        b"",
        304,
    ),
    _good("RFC 9110 15.3.6", "205", _head(b"Content-Length: 0", first=b"HTTP/1.1 205 x"), b"", 205),
    _once(
        "RFC 9110 15.3.6", "a body with 205", _head(b"Content-Length: 5", first=b"HTTP/1.1 205 x") + b"hello", b"", 205
    ),
    _once("RFC 9110 15.3.6", "chunks with 205", _head(CODED, first=b"HTTP/1.1 205 x") + b"0\r\n\r\n", b"", 205),
    _once("RFC 9110 15.3.6", "205 until the end", _head(first=b"HTTP/1.1 205 x"), b"", 205),
    Case("RFC 9110 9.3.2", "HEAD of something", _head(b"Content-Length: 5"), 200, method="HEAD"),
    Case("RFC 9110 9.3.2", "HEAD of nothing", _head(b"Content-Length: 0"), 200, method="HEAD", reused=True),
    Case("RFC 9110 9.3.2", "HEAD with the body", _head(b"Content-Length: 39") + EVIL[:39], 200, method="HEAD"),
    Case("RFC 9110 9.3.2", "HEAD with chunks", _head(CODED) + b"5\r\nhello\r\n0\r\n\r\n", 200, method="HEAD"),
    Case("RFC 9110 9.3.2", "HEAD until the end", _head() + b"hello", 200, method="HEAD", ends=True),
    Case(
        "RFC 9110 9.3.2", "HEAD with two lengths", _head(b"Content-Length: 1", b"Content-Length: 2"), 200, method="HEAD"
    ),
    Case("RFC 9112 6.3", "HEAD with both framings", _head(b"Content-Length: 1", CODED), 200, method="HEAD"),
    Case("RFC 9112 6.3", "HEAD with an empty length", _head(b"Content-Length:"), 200, method="HEAD"),
    Case("RFC 9112 6.3", "HEAD with another coding", _head(b"Transfer-Encoding: identity"), 200, method="HEAD"),
    _once("RFC 9112 6.3", "304 with both framings", _head(b"Content-Length: 5", CODED, first=SAME), b"", 304),
    _once(
        "RFC 9112 6.3", "304 with two lengths", _head(b"Content-Length: 5", b"Content-Length: 6", first=SAME), b"", 304
    ),
    _once("RFC 9112 6.3", "304 with an empty length", _head(b"Content-Length:", first=SAME), b"", 304),
    _once("RFC 9112 6.3", "204 with both framings", _head(b"Content-Length: 0", CODED, first=NOTHING), b"", 204),
    _once("RFC 9112 6.3", "204 with another coding", _head(b"Transfer-Encoding: gzip", first=NOTHING), b"", 204),
    _good("RFC 9110 15.3.5", "204 that says what it is", _head(b"Content-Type: text/html", first=NOTHING), b"", 204),
    _bad("RFC 9112 6.3", "205 with both framings", _head(b"Content-Length: 0", CODED, first=b"HTTP/1.1 205 x")),
    _good("RFC 9112 9.3", "Keep-Alive", _sized(b"Connection: Keep-Alive", b"Keep-Alive: timeout=5, max=100"), b"hello"),
    _good("RFC 9112 9.3", "keep-alive twice", _sized(b"Connection: keep-alive, Keep-Alive"), b"hello"),
    _good("RFC 9112 9.3", "two fields Connection", _sized(b"Connection: keep-alive", b"Connection: x"), b"hello"),
    _good("RFC 9110 5.6.1", "empty options", _sized(b"Connection: , ,keep-alive,"), b"hello"),
    _good("RFC 9110 7.6.1", "an empty Connection", _sized(b"Connection:"), b"hello"),
    _good("RFC 9110 7.6.1", "Connection that is no list", _sized(b'Connection: "a b"; timeout=5'), b"hello"),
    _good("RFC 9110 7.6.1", "Connection names itself", _sized(b"Connection: connection"), b"hello"),
    _good("RFC 9110 7.8", "an upgrade that is offered", _sized(b"Upgrade: h2,h2c", b"Connection: Upgrade"), b"hello"),
    _once(
        "RFC 9112 9.6",
        "Proxy-Connection, and close",
        _sized(b"Proxy-Connection: keep-alive", b"Connection: close"),
        b"hello",
    ),
]

INTERIM = [
    _good("RFC 9110 15.2", "100 unasked", b"HTTP/1.1 100 Continue\r\n\r\n" + _sized(), b"hello"),
    _good("RFC 8297", "103", _head(b"Link: </a>", first=b"HTTP/1.1 103 Early Hints") + _sized(), b"hello"),
    _good("RFC 9110 15.2", "a hundred, for half an hour's work", b"HTTP/1.1 102 x\r\n\r\n" * 100 + _sized(), b"hello"),
    _good(
        "RFC 9110 15.2",
        "in any order",
        b"".join(b"HTTP/1.1 %d x\r\n\r\n" % n for n in (103, 100, 102, 103, 100, 199)) + _sized(),
        b"hello",
    ),
    _bad("RFC 9110 15.2", "without end", b"HTTP/1.1 100 x\r\n\r\n" * 4000),
    _once("RFC 9110 15.2", "in HTTP/1.0", b"HTTP/1.0 100 Continue\r\n\r\n" + _sized(), b"hello"),
    _once("RFC 9112 6.3", "with a length", _head(b"Content-Length: 44", first=b"HTTP/1.1 100 x") + _sized(), b"hello"),
    _good(
        "RFC 9112 6.3", "with a length of 0", _head(b"Content-Length: 0", first=b"HTTP/1.1 103 x") + _sized(), b"hello"
    ),
    _once("RFC 9112 6.3", "that says chunked", _head(CODED, first=b"HTTP/1.1 103 x") + _sized(), b"hello"),
    _bad("RFC 9112 6.3", "with a body", _head(b"Content-Length: 5", first=b"HTTP/1.1 103 x") + b"hello" + _sized()),
    _bad("RFC 9112 6.3", "with a body in chunks", _head(CODED, first=b"HTTP/1.1 103 x") + b"0\r\n\r\n" + _sized()),
    _once("RFC 9112 5.2", "folded", _head(b"Link: </a>", b" x", first=b"HTTP/1.1 103 x") + _sized(), b"hello"),
    _bad(
        "RFC 9110 15.2.2", "101 unasked", _head(b"Connection: Upgrade", b"Upgrade: websocket", first=b"HTTP/1.1 101 x")
    ),
    _bad(
        "RFC 9110 15.2.2", "101 to h2c unasked", _head(b"Connection: Upgrade", b"Upgrade: h2c", first=b"HTTP/1.1 101 x")
    ),
    _bad("RFC 9110 15.2.2", "101 and nothing else", b"HTTP/1.1 101 x\r\n\r\n" + EVIL),
    Case("RFC 9112 8", "and then an end", b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\n", ends=True),
    _bad("RFC 9112 4", "and then garbage", b"HTTP/1.1 103 x\r\nLink: </a>\r\n\r\ngarbage\r\n"),
]

CASES = [*STATUS_LINE, *FIELDS, *FRAMING, *CHUNKS, *BEHIND, *INTERIM]
