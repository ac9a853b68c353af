"""What clients may send, byte for byte, and what has to come of it.

Each case names its rule: a section of an RFC, section 9 or 10 of the design, or the public bug that made it famous.
`answers` are the statuses that the client reads, in order; `origin` the targets that reach the upstream, in order: what
is not in it must not be seen there in any form. `stays`: the client's connection serves another request afterwards.
`upstream_stays`: the upstream connection serves another client afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    rule: str
    name: str
    data: bytes
    answers: tuple[int, ...]
    origin: tuple[str, ...] = ()
    stays: bool = False
    upstream_stays: bool = True
    body: bytes | None = None  # of the first request at the origin

    @property
    def id(self) -> str:
        return f"{self.rule}: {self.name}"


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
END = b"\r\n\r\n"


def _refused(rule: str, name: str, data: bytes, status: int = 400) -> Case:
    return Case(rule, name, data, (status,))


def _head(*lines: bytes, first: bytes = b"GET /1 HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([first, host, *lines]) + END


def _post(*lines: bytes, body: bytes = b"") -> bytes:
    return _head(*lines, first=b"POST /1 HTTP/1.1") + body


REQUEST_LINE = [
    _refused("RFC 9112 3", "no version", b"GET /1\r\nHost: a\r\n\r\n"),
    _refused("design 10", "a bare GET /", b"GET /\r\n\r\n"),
    _refused("RFC 9112 3", "two spaces before the target", _head(first=b"GET  /1 HTTP/1.1")),
    _refused("RFC 9112 3", "two spaces before the version", _head(first=b"GET /1  HTTP/1.1")),
    _refused("RFC 9112 3", "a tab for a space", _head(first=b"GET\t/1 HTTP/1.1")),
    _refused("RFC 9112 3", "a tab before the version", _head(first=b"GET /1\tHTTP/1.1")),
    _refused("RFC 9112 3", "a space after the version", _head(first=b"GET /1 HTTP/1.1 ")),
    _refused("RFC 9112 3", "a space before the method", _head(first=b" GET /1 HTTP/1.1")),
    _refused("RFC 9112 3.2", "a space within the target", _head(first=b"GET /1 /2 HTTP/1.1")),
    _refused("RFC 9112 3.2", "no target", _head(first=b"GET  HTTP/1.1")),
    _refused("RFC 9112 3.2", "a target without a slash", _head(first=b"GET 1 HTTP/1.1")),
    _refused("RFC 9112 3.2", "a control character in the target", _head(first=b"GET /1\x01 HTTP/1.1")),
    _refused("RFC 9112 3.2", "NUL in the target", _head(first=b"GET /1\x00 HTTP/1.1")),
    _refused("RFC 9112 3.2", "DEL in the target", _head(first=b"GET /1\x7f HTTP/1.1")),
    _refused("RFC 3986 2", "bytes above 127 in the target", _head(first=b"GET /\xc3\xa9 HTTP/1.1")),
    _refused("RFC 3986 2", "a bare CR in the target", _head(first=b"GET /1\rX HTTP/1.1")),
    _refused("design 10", "a fragment in the target", _head(first=b"GET /1#f HTTP/1.1")),
    _refused("design 10", "HTTP/0.9", _head(first=b"GET /1 HTTP/0.9"), 505),
    _refused("design 10", "HTTP/2.0", _head(first=b"GET /1 HTTP/2.0"), 505),
    _refused("RFC 9112 2.3", "HTTP/1.2", _head(first=b"GET /1 HTTP/1.2"), 505),
    _refused("RFC 9112 2.3", "HTTP/3.0", _head(first=b"GET /1 HTTP/3.0"), 505),
    _refused("RFC 9112 2.3", "HTTP/1.10", _head(first=b"GET /1 HTTP/1.10")),
    _refused("RFC 9112 2.3", "HTTP/01.1", _head(first=b"GET /1 HTTP/01.1")),
    _refused("RFC 9112 2.3", "http/1.1", _head(first=b"GET /1 http/1.1")),
    _refused("RFC 9112 2.3", "HTTP/1,1", _head(first=b"GET /1 HTTP/1,1")),
    _refused("RFC 7826", "RTSP/1.0", _head(first=b"OPTIONS /1 RTSP/1.0")),
    _refused("RFC 7826", "GET over RTSP", _head(first=b"GET /1 RTSP/1.0")),
    _refused("Icecast", "ICE/1.0", _head(first=b"SOURCE /1 ICE/1.0")),
    _refused("RFC 9113 3.4", "the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    _refused("design 10", "TRACE", _head(first=b"TRACE /1 HTTP/1.1"), 405),
    _refused("design 10", "CONNECT", _head(first=b"CONNECT a:443 HTTP/1.1"), 405),
    _refused(
        "design 10", "CONNECT with a body", _head(b"Content-Length: 3", first=b"CONNECT a:443 HTTP/1.1") + b"abc", 405
    ),
    _refused("design 10", "an unknown method", _head(first=b"BREW /1 HTTP/1.1"), 501),
    _refused("RFC 9110 9.1", "a lower-case method", _head(first=b"get /1 HTTP/1.1")),
    _refused("RFC 9110 9.1", "a method with a colon", _head(first=b"GE:T /1 HTTP/1.1")),
    _refused("RFC 8446", "a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50),
    _refused("RFC 9112 2.2", "two empty lines first", b"\r\n\r\n" + _head()),
    _refused("RFC 9112 2.2", "a bare LF first", b"\n" + _head()),
    _refused("RFC 9112 2.2", "bare LFs throughout", b"GET /1 HTTP/1.1\nHost: a\n\n"),
    _refused("RFC 9112 2.2", "a bare LF after the request line", b"GET /1 HTTP/1.1\nHost: a\r\n\r\n"),
    _refused("RFC 9112 2.2", "a bare CR ends a line", b"GET /1 HTTP/1.1\rHost: a\r\n\r\n"),
    _refused("RFC 9112 2.2", "LF CR for CRLF", b"GET /1 HTTP/1.1\n\rHost: a\r\n\r\n"),
    Case("RFC 9112 2.2", "one empty line first", b"\r\n" + _head(), (200,), ("/1",), stays=True),
    Case("RFC 9112 3.2.2", "absolute form", _head(first=b"GET http://a/1?q HTTP/1.1"), (200,), ("/1?q",), stays=True),
    Case(
        "RFC 9112 3.2.2",
        "absolute form without a path",
        _head(first=b"GET http://a HTTP/1.1"),
        (200,),
        ("/",),
        stays=True,
    ),
    Case(
        "RFC 9112 3.2.2",
        "absolute form with a query and no path",
        _head(first=b"GET http://a?b/c HTTP/1.1"),
        (200,),
        ("/?b/c",),
        stays=True,
    ),
    _refused("RFC 9112 3.2.2", "absolute form for another host", _head(first=b"GET http://b/1 HTTP/1.1")),
    _refused("RFC 9112 3.2.2", "absolute form with userinfo", _head(first=b"GET http://x@a/1 HTTP/1.1")),
    _refused("RFC 9112 3.2.2", "absolute form of another scheme", _head(first=b"GET ftp://a/1 HTTP/1.1")),
    _refused("RFC 9112 3.2.2", "absolute form without Host", b"GET http://a/1 HTTP/1.1\r\n\r\n"),
    _refused("RFC 9112 3.2.3", "authority form for GET", _head(first=b"GET a:80 HTTP/1.1")),
    Case("RFC 9112 3.2.4", "OPTIONS *", _head(first=b"OPTIONS * HTTP/1.1"), (200,), ("*",), stays=True),
    _refused("RFC 9112 3.2.4", "GET *", _head(first=b"GET * HTTP/1.1")),
    Case("RFC 3986 3.3", "a path of two slashes", _head(first=b"GET //b/1 HTTP/1.1"), (200,), ("//b/1",), stays=True),
    Case(
        "WHATWG URL",
        "a query that browsers leave bare",
        _head(first=b'GET /1?a|b^`{}[]\\" HTTP/1.1'),
        (200,),
        ('/1?a|b^`{}[]\\"',),
        stays=True,
    ),
    _refused("RFC 9112 3", "a target beyond the limit", _head(first=b"GET /" + b"x" * 9000 + b" HTTP/1.1"), 414),
    _refused("RFC 9112 3", "a target without end", b"GET /" + b"x" * 40_000, 414),
]

HOST = [
    _refused("RFC 9112 3.2", "no Host", b"GET /1 HTTP/1.1\r\n\r\n"),
    _refused("design 10", "two Hosts", _head(b"Host: b")),
    _refused("design 10", "two equal Hosts", _head(b"Host: a")),
    _refused("design 9", "an empty Host", _head(host=b"Host:")),
    _refused("design 9", "an empty Host after a space", _head(host=b"Host: ")),
    _refused("design 9", "Hosts joined by a comma", _head(host=b"Host: a, b")),
    _refused("design 9", "Hosts joined by a comma without a space", _head(host=b"Host: a,b")),
    _refused("design 9", "Host with userinfo", _head(host=b"Host: user@a")),
    _refused("design 9", "Host with a path", _head(host=b"Host: a/b")),
    _refused("RFC 9110 7.2", "Host with a query", _head(host=b"Host: a?b")),
    _refused("RFC 9110 7.2", "Host with a scheme", _head(host=b"Host: http://a")),
    _refused("RFC 9110 7.2", "Host with a space", _head(host=b"Host: a b")),
    _refused("RFC 9110 7.2", "Host with a bad port", _head(host=b"Host: a:x")),
    _refused("RFC 9110 7.2", "Host with two ports", _head(host=b"Host: a:1:2")),
    _refused("RFC 9110 7.2", "Host with a backslash", _head(host=b"Host: a\\b")),
    _refused("RFC 9110 7.2", "Host with a quotation mark", _head(host=b'Host: a"b')),
    _refused("RFC 9110 7.2", "Host with markup", _head(host=b"Host: <script>")),
    _refused("RFC 9110 7.2", "Host with a byte above 127", _head(host=b"Host: \xe4")),
    _refused("RFC 3986 3.2.2", "half an IPv6 address", _head(host=b"Host: [::1")),
    _refused("RFC 3986 3.2.2", "an IPv6 address without brackets", _head(host=b"Host: ::1")),
    _refused("RFC 9112 5.1", "a space before the colon of Host", _head(host=b"Host : a")),
    Case("RFC 9110 7.2", "a port", _head(host=b"Host: a:8080"), (200,), ("/1",), stays=True),
    Case("RFC 9110 7.2", "an IPv6 address", _head(host=b"Host: [2001:db8::1]:8080"), (200,), ("/1",), stays=True),
    Case("RFC 9112 3.2", "HTTP/1.0 without Host", b"GET /1 HTTP/1.0\r\n\r\n", (200,), ("/1",)),
    _refused("RFC 9112 3.2", "HTTP/1.0 with a bad Host", b"GET /1 HTTP/1.0\r\nHost: a/b\r\n\r\n"),
]

FIELDS = [
    _refused("RFC 9112 5.1", "a space before a colon", _head(b"X : 1")),
    _refused("RFC 9112 5.1", "a tab before a colon", _head(b"X\t: 1")),
    _refused("RFC 9112 5.2", "obs-fold", _head(b"X: 1", b" 2")),
    _refused(
        "RFC 9112 5.2", "obs-fold of Transfer-Encoding", _post(b"Transfer-Encoding:", b" chunked", body=b"0\r\n\r\n")
    ),
    _refused("RFC 9112 2.2", "whitespace before the first field", b"GET /1 HTTP/1.1\r\n Host: a\r\n\r\n"),
    _refused("RFC 9110 5.5", "NUL in a value", _head(b"X: a\0b")),
    _refused("RFC 9110 5.5", "a bare CR in a value", _head(b"X: a\rb")),
    _refused("RFC 9110 5.5", "a bare LF in a value", _head(b"X: a\nY: b")),
    _refused("RFC 9110 5.5", "a control character in a value", _head(b"X: a\x01b")),
    _refused("RFC 9110 5.6.2", "no name", _head(b": 1")),
    _refused("RFC 9110 5.6.2", "no colon", _head(b"X")),
    _refused("RFC 9110 5.6.2", "a space in a name", _head(b"X Y: 1")),
    _refused("RFC 9110 5.6.2", "a byte above 127 in a name", _head(b"X\xe4: 1")),
    _refused("RFC 9110 5.6.2", "NUL in a name", _head(b"X\0: 1")),
    _refused("RFC 9110 5.6.2", "parentheses in a name", _head(b"X(): 1")),
    _refused("RFC 6585 5", "too many fields", _head(*[b"X: 1"] * 120), 431),
    _refused("RFC 6585 5", "fields beyond the limit", _head(b"X: " + b"y" * 40_000), 431),
    _refused("RFC 6585 5", "a field without end", b"GET /1 HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000, 431),
    _refused("RFC 9110 10.1.1", "another expectation", _head(b"Expect: 200-maybe"), 417),
    Case("RFC 9110 5.5", "obs-text in a value", _head(b"X: \xe4\xff"), (200,), ("/1",), stays=True),
    Case("RFC 9112 5.1", "no space after the colon", _head(b"X:1"), (200,), ("/1",), stays=True),
    Case("RFC 9112 5.1", "an empty value", _head(b"X:"), (200,), ("/1",), stays=True),
    Case(
        "RFC 9110 7.6.1",
        "Connection names Content-Length",
        _post(b"Content-Length: 3", b"Connection: Content-Length", body=b"abc"),
        (200,),
        ("/1",),
        stays=True,
        body=b"abc",
    ),
    Case(
        "RFC 9110 7.6.1",
        "Connection names Transfer-Encoding",
        _post(b"Transfer-Encoding: chunked", b"Connection: Transfer-Encoding", body=b"3\r\nabc\r\n0\r\n\r\n"),
        (200,),
        ("/1",),
        stays=True,
        body=b"abc",
    ),
    Case("RFC 9110 7.6.1", "Connection names Host", _head(b"Connection: Host"), (200,), ("/1",), stays=True),
    Case(
        "RFC 9110 7.8",
        "an upgrade to h2c",
        _head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: A"),
        (200,),
        ("/1",),
        stays=True,
    ),
    Case(
        "CVE-2020-8285 and kin",
        "h2c with a tail",
        _head(b"Connection: Upgrade", b"Upgrade: h2c") + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
    ),
    Case(
        "RFC 6455 4.1",
        "WebSocket over HTTP/1.0",
        _head(
            b"Connection: Upgrade, keep-alive", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", first=b"GET /1 HTTP/1.0"
        ),
        (200,),
        ("/1",),
        stays=True,
    ),
    Case(
        "RFC 6455 4.1",
        "WebSocket by POST",
        _post(
            b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"Content-Length: 3", body=b"abc"
        ),
        (200,),
        ("/1",),
        stays=True,
        body=b"abc",
    ),
    Case(
        "RFC 6455 4.1",
        "WebSocket without a key",
        _head(b"Connection: Upgrade", b"Upgrade: websocket") + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
    ),
    Case(
        "RFC 6455 4.1",
        "WebSocket with a body",
        _head(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"Content-Length: 35") + SMUGGLED,
        (200,),
        ("/1",),
        stays=True,
        upstream_stays=False,
        body=SMUGGLED,
    ),
]

FRAMING = [
    _refused(
        "CVE-2019-18860 and kin",
        "Content-Length and Transfer-Encoding",
        _post(b"Content-Length: 6", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    ),
    _refused(
        "RFC 9112 6.3",
        "Transfer-Encoding and Content-Length",
        _post(b"Transfer-Encoding: chunked", b"Content-Length: 6", body=b"0\r\n\r\n" + SMUGGLED),
    ),
    _refused(
        "RFC 9112 6.3",
        "two Content-Lengths",
        _post(b"Content-Length: 3", b"Content-Length: 40", body=b"abc" + SMUGGLED),
    ),
    _refused(
        "RFC 9112 6.3", "two equal Content-Lengths", _post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc")
    ),
    _refused("RFC 9112 6.3", "a list of equal lengths", _post(b"Content-Length: 3, 3", body=b"abc")),
    _refused("RFC 9110 8.6", "a negative length", _post(b"Content-Length: -1", body=SMUGGLED)),
    _refused("RFC 9110 8.6", "a length with a plus sign", _post(b"Content-Length: +3", body=b"abc")),
    _refused("RFC 9110 8.6", "a length in hexadecimal", _post(b"Content-Length: 0x3", body=b"abc")),
    _refused("RFC 9110 8.6", "a length with an underscore", _post(b"Content-Length: 1_0", body=b"0123456789")),
    _refused("RFC 9110 8.6", "a length with a fraction", _post(b"Content-Length: 3.0", body=b"abc")),
    _refused("RFC 9110 8.6", "a length with a space within", _post(b"Content-Length: 3 0", body=b"abc")),
    _refused("RFC 9110 8.6", "an empty length", _post(b"Content-Length:", body=b"abc")),
    _refused("RFC 9110 8.6", "a length of other digits", _post(b"Content-Length: \xd9\xa3", body=b"abc")),
    _refused("RFC 9110 8.6", "a length in quotes", _post(b'Content-Length: "3"', body=b"abc")),
    _refused("RFC 9110 8.6", "a length beyond 64 bits", _post(b"Content-Length: 18446744073709551619", body=b"abc")),
    _refused("RFC 9110 8.6", "a length beyond the limit", _post(b"Content-Length: 99999999999"), 413),
    _refused("RFC 9112 5.1", "a space before the colon of Content-Length", _post(b"Content-Length : 3", body=b"abc")),
    _refused(
        "RFC 9112 5.1",
        "a space before the colon of Transfer-Encoding",
        _post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n" + SMUGGLED),
    ),
    _refused(
        "RFC 9112 6.1",
        "two Transfer-Encodings",
        _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ),
    _refused(
        "RFC 9112 6.1",
        "chunked, then identity",
        _post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
    ),
    _refused("design 10", "gzip, chunked", _post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n")),
    _refused("RFC 9112 6.1", "chunked, chunked", _post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n")),
    _refused("RFC 9112 6.1", "chunked, identity", _post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n")),
    _refused("RFC 9112 6.1", "identity", _post(b"Transfer-Encoding: identity", body=SMUGGLED)),
    _refused("RFC 9112 6.1", "an unknown coding", _post(b"Transfer-Encoding: cow", body=SMUGGLED)),
    _refused("CVE-2021-32715 and kin", "xchunked", _post(b"Transfer-Encoding: xchunked", body=SMUGGLED)),
    _refused("design 9", "an empty Transfer-Encoding", _post(b"Transfer-Encoding:", body=SMUGGLED)),
    _refused("RFC 9112 6.1", "chunked with a parameter", _post(b"Transfer-Encoding: chunked;x=1", body=b"0\r\n\r\n")),
    _refused("RFC 9112 6.1", "chunked in quotes", _post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n")),
    _refused(
        "RFC 9112 6.1", "chunked after a vertical tab", _post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n")
    ),
    _refused("RFC 9112 6.1", "chunked after a form feed", _post(b"Transfer-Encoding: \x0cchunked", body=b"0\r\n\r\n")),
    _refused(
        "RFC 9112 6.1", "chunked after a no-break space", _post(b"Transfer-Encoding: \xa0chunked", body=b"0\r\n\r\n")
    ),
    _refused("RFC 9112 6.1", "chunked before a comma", _post(b"Transfer-Encoding: chunked,", body=b"0\r\n\r\n")),
    _refused(
        "design 10",
        "Transfer-Encoding on HTTP/1.0",
        _head(b"Transfer-Encoding: chunked", first=b"POST /1 HTTP/1.0") + b"0\r\n\r\n" + SMUGGLED,
    ),
    _refused(
        "PortSwigger 2019",
        "Transfer-Encoding behind a bare LF",
        _post(b"X: 1\nTransfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
    ),
    _refused(
        "nginx, CGI", "Transfer_Encoding", _post(b"Transfer_Encoding: chunked", b"Content-Length: 3", body=b"abc")
    ),
    _refused("nginx, CGI", "Content_Length", _post(b"Content_Length: 35", body=SMUGGLED)),
    _refused("desync guardian", "Transfer--Encoding", _post(b"Transfer--Encoding: chunked", body=SMUGGLED)),
    Case(
        "RFC 9110 8.6",
        "leading zeros",
        _post(b"Content-Length: 0003", body=b"abc"),
        (200,),
        ("/1",),
        stays=True,
        body=b"abc",
    ),
    Case(
        "RFC 9112 6.1",
        "Chunked in another case",
        _post(b"Transfer-Encoding: cHuNkEd", body=b"3\r\nabc\r\n0\r\n\r\n"),
        (200,),
        ("/1",),
        stays=True,
        body=b"abc",
    ),
    Case(
        "RFC 9110 9.3.1",
        "GET with a body",
        _head(b"Content-Length: 35") + SMUGGLED,
        (200,),
        ("/1",),
        stays=True,
        upstream_stays=False,
        body=SMUGGLED,
    ),
    Case(
        "RFC 9110 9.3.1",
        "GET with a chunked body",
        _head(b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
        (200,),
        ("/1",),
        stays=True,
        upstream_stays=False,
        body=b"abc",
    ),
    Case(
        "RFC 9110 9.3.5",
        "DELETE with a body",
        _head(b"Content-Length: 3", first=b"DELETE /1 HTTP/1.1") + b"abc",
        (200,),
        ("/1",),
        stays=True,
        upstream_stays=False,
        body=b"abc",
    ),
    Case(
        "RFC 9112 9.3.2",
        "a POST without a body",
        _post() + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
    ),
]


def _chunks(rest: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked", body=rest)


CHUNKS = [
    Case(
        "RFC 9112 7.1",
        "two chunks",
        _chunks(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (200,),
        ("/1",),
        stays=True,
        body=b"abcde",
    ),
    Case(
        "RFC 9112 7.1",
        "leading zeros",
        _chunks(b"0003\r\nabc\r\n000\r\n\r\n"),
        (200,),
        ("/1",),
        stays=True,
        body=b"abc",
    ),
    Case(
        "RFC 9112 7.1",
        "upper-case size",
        _chunks(b"A\r\n0123456789\r\n0\r\n\r\n"),
        (200,),
        ("/1",),
        stays=True,
        body=b"0123456789",
    ),
    Case(
        "RFC 9112 7.1.1",
        "extensions are dropped",
        _chunks(b'3;a=b;c="d;e"\r\nabc\r\n0;x\r\n\r\n'),
        (200,),
        ("/1",),
        stays=True,
        body=b"abc",
    ),
    Case(
        "design 10",
        "trailers are dropped",
        _chunks(b"0\r\nX-T: 1\r\nSet-Cookie: a\r\n\r\n") + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
        body=b"",
    ),
    Case(
        "design 10",
        "a trailer named Host reaches no later request",
        _chunks(b"0\r\nHost: evil\r\nContent-Length: 35\r\n\r\n") + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
    ),
    Case(
        "RFC 9112 7.1",
        "the next request follows at once",
        _chunks(b"3\r\nabc\r\n0\r\n\r\n") + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
        body=b"abc",
    ),
    _refused("RFC 9112 7.1", "a size that is no number", _chunks(b"x\r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a size with 0x", _chunks(b"0x3\r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a negative size", _chunks(b"-3\r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a size with a plus sign", _chunks(b"+3\r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a size with an underscore", _chunks(b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a size after a space", _chunks(b" 3\r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a size before a space", _chunks(b"3 \r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1.1", "a space before an extension", _chunks(b"3 ;a\r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "no size", _chunks(b"\r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a size of 17 digits", _chunks(b"10000000000000003\r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a size beyond the limit", _chunks(b"fffffffffff\r\nabc"), 413),
    _refused("CVE-2020-11080 and kin", "a bare LF after a size", _chunks(b"3\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a bare CR after a size", _chunks(b"3\rabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "a bare LF after the data", _chunks(b"3\r\nabc\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "data longer than its size", _chunks(b"3\r\nabcd\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1", "data without an end", _chunks(b"3\r\nabc0\r\n\r\n")),
    _refused("PortSwigger 2025", "a bare LF in an extension", _chunks(b"3;\nabc\r\n0\r\n\r\n")),
    _refused("PortSwigger 2025", "a bare CR in an extension", _chunks(b"3;a\rb\r\nabc\r\n0\r\n\r\n")),
    _refused("CVE-2023-39326", "an extension without end", _chunks(b"3;" + b"x" * 2000 + b"\r\nabc\r\n0\r\n\r\n")),
    _refused("RFC 9112 7.1.2", "a malformed trailer", _chunks(b"0\r\nnot a field\r\n\r\n")),
    _refused("RFC 9112 7.1.2", "a bare LF in the trailers", _chunks(b"0\r\nX: 1\nY: 2\r\n\r\n")),
    _refused("RFC 9112 7.1.2", "a folded trailer", _chunks(b"0\r\nX: 1\r\n 2\r\n\r\n")),
    _refused("RFC 9112 7.1.2", "trailers beyond the limit", _chunks(b"0\r\n" + b"X: 1\r\n" * 3000 + b"\r\n")),
    _refused("RFC 9112 7.1", "the last chunk ends with bare LFs", _chunks(b"0\n\n" + SMUGGLED)),
]

PIPELINES = [
    Case(
        "RFC 9112 9.3.2",
        "three requests",
        _head() + _head(first=b"GET /2 HTTP/1.1") + _head(first=b"GET /3 HTTP/1.1"),
        (200, 200, 200),
        ("/1", "/2", "/3"),
        stays=True,
    ),
    Case(
        "design 10",
        "a good request before a bad one",
        _head() + b"GET /2 HTTP/1.1\r\nHost: a b\r\n\r\n" + SMUGGLED,
        (200, 400),
        ("/1",),
    ),
    Case("design 10", "a good request before garbage", _head() + b"\x00\x01\x02\x03", (200, 400), ("/1",)),
    Case("RFC 9112 9.6", "Connection: close ends it", _head(b"Connection: close") + SMUGGLED, (200,), ("/1",)),
    Case(
        "RFC 9112 9.6",
        "close among others ends it",
        _head(b"Connection: keep-alive, close") + SMUGGLED,
        (200,),
        ("/1",),
    ),
    Case(
        "RFC 9112 9.6",
        "close in a second field ends it",
        _head(b"Connection: keep-alive", b"Connection: CLOSE") + SMUGGLED,
        (200,),
        ("/1",),
    ),
    Case("RFC 9112 9.3", "HTTP/1.0 ends it", _head(first=b"GET /1 HTTP/1.0") + SMUGGLED, (200,), ("/1",)),
    Case(
        "RFC 9112 9.3",
        "HTTP/1.0 with keep-alive goes on",
        _head(b"Connection: keep-alive", first=b"GET /1 HTTP/1.0") + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
    ),
    Case(
        "RFC 9112 9.3.2",
        "a body, then a request",
        _post(b"Content-Length: 3", body=b"abc") + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
        body=b"abc",
    ),
    Case(
        "RFC 9112 2.2",
        "an empty line between requests",
        _post(b"Content-Length: 3", body=b"abc") + b"\r\n" + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
        body=b"abc",
    ),
    Case(
        "RFC 9110 10.1.1",
        "Expect with the body at once",
        _post(b"Expect: 100-continue", b"Content-Length: 3", body=b"abc"),
        (200,),
        ("/1",),
        stays=True,
        body=b"abc",
    ),
    Case("RFC 9110 10.1.1", "Expect without a body", _head(b"Expect: 100-continue"), (200,), ("/1",), stays=True),
]

CASES = [*REQUEST_LINE, *HOST, *FIELDS, *FRAMING, *CHUNKS, *PIPELINES]
