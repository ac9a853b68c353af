"""What clients may send, byte for byte, and what has to come of it.

Each case names its rule: a section of an RFC, docs/parsers.md, or the public bug that made it famous.
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
    _refused("parsers.md", "a bare GET /", b"GET /\r\n\r\n"),
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
    _refused("parsers.md", "a fragment in the target", _head(first=b"GET /1#f HTTP/1.1")),
    _refused("parsers.md", "HTTP/0.9", _head(first=b"GET /1 HTTP/0.9"), 505),
    _refused("parsers.md", "HTTP/2.0", _head(first=b"GET /1 HTTP/2.0"), 505),
    _refused("RFC 9112 2.3", "HTTP/1.2", _head(first=b"GET /1 HTTP/1.2"), 505),
    _refused("RFC 9112 2.3", "HTTP/3.0", _head(first=b"GET /1 HTTP/3.0"), 505),
    _refused("RFC 9112 2.3", "HTTP/1.10", _head(first=b"GET /1 HTTP/1.10")),
    _refused("RFC 9112 2.3", "HTTP/01.1", _head(first=b"GET /1 HTTP/01.1")),
    _refused("RFC 9112 2.3", "http/1.1", _head(first=b"GET /1 http/1.1")),
    _refused("RFC 9112 2.3", "HTTP/1,1", _head(first=b"GET /1 HTTP/1,1")),
    _refused("RFC 7826", "RTSP/1.0", _head(first=b"OPTIONS /1 RTSP/1.0")),
    _refused("RFC 7826", "GET over RTSP", _head(first=b"GET /1 RTSP/1.0")),
    _refused("Icecast", "ICE/1.0", _head(first=b"SOURCE /1 ICE/1.0")),
    _refused("RFC 9113 3.4", "the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    _refused("parsers.md", "TRACE", _head(first=b"TRACE /1 HTTP/1.1"), 405),
    _refused("parsers.md", "CONNECT", _head(first=b"CONNECT a:443 HTTP/1.1"), 405),
    _refused(
        "parsers.md", "CONNECT with a body", _head(b"Content-Length: 3", first=b"CONNECT a:443 HTTP/1.1") + b"abc", 405
    ),
    *(
        Case(
            "RFC 9110 9.1",
            f"{name} as a method",
            _head(first=name.encode() + b" /1 HTTP/1.1"),
            (200,),
            ("/1",),
            stays=True,
        )
        for name in ("BREW", "LIST", "BAN", "RPC_IN_DATA", "get", "VERSION-CONTROL", "!#$%&'*+-.^_`|~09azAZ", "A" * 64)
    ),
    Case(
        "RFC 9110 9.3.1",
        "a body with a method that nobody knows",
        _head(b"Content-Length: 3", first=b"BREW /1 HTTP/1.1") + b"abc",
        (200,),
        ("/1",),
        stays=True,
        upstream_stays=False,
        body=b"abc",
    ),
    _refused("RFC 9110 9.1", "parentheses in a method", _head(first=b"G(E)T /1 HTTP/1.1")),
    _refused("RFC 9110 9.1", "a slash in a method", _head(first=b"GE/T /1 HTTP/1.1")),
    _refused("RFC 9110 9.1", "a method with a colon", _head(first=b"GE:T /1 HTTP/1.1")),
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
    _refused("RFC 9112 3.2", "two Hosts", _head(b"Host: b")),
    _refused("parsers.md", "two equal Hosts", _head(b"Host: a")),
    _refused("RFC 9112 3.2", "an empty Host", _head(host=b"Host:")),
    _refused("RFC 9112 3.2", "an empty Host after a space", _head(host=b"Host: ")),
    _refused("RFC 9112 3.2", "Hosts joined by a comma", _head(host=b"Host: a, b")),
    _refused("RFC 9112 3.2", "Hosts joined by a comma without a space", _head(host=b"Host: a,b")),
    _refused("RFC 9112 3.2", "Host with userinfo", _head(host=b"Host: user@a")),
    _refused("RFC 9112 3.2", "Host with a path", _head(host=b"Host: a/b")),
    _refused("RFC 9110 7.2", "Host with a query", _head(host=b"Host: a?b")),
    _refused("RFC 9110 7.2", "Host with a scheme", _head(host=b"Host: http://a")),
    _refused("RFC 9110 7.2", "Host with a space", _head(host=b"Host: a b")),
    _refused("RFC 9110 7.2", "Host with a bad port", _head(host=b"Host: a:x")),
    _refused("RFC 9110 7.2", "Host with two ports", _head(host=b"Host: a:1:2")),
    _refused("RFC 9110 4.2.1", "a port that is none: 65536", _head(host=b"Host: a:65536")),
    _refused("RFC 9110 4.2.1", "a port that is none: 99999", _head(host=b"Host: a:99999")),
    _refused("RFC 9110 4.2.1", "a port that wraps to 80: 65616", _head(host=b"Host: a:65616")),
    _refused("RFC 9110 4.2.1", "a port of six digits", _head(host=b"Host: a:000080")),
    _refused("RFC 9110 4.2.1", "an IPv6 address with a port that is none", _head(host=b"Host: [::1]:70000")),
    _refused(
        "RFC 9110 4.2.1",
        "a port that is none in absolute form",
        _head(first=b"GET http://a:65536/1 HTTP/1.1", host=b"Host: a:65536"),
    ),
    Case("RFC 9110 4.2.1", "the last port", _head(host=b"Host: a:65535"), (200,), ("/1",), stays=True),
    Case("RFC 3986 3.2.3", "a port with zeros before it", _head(host=b"Host: a:00080"), (200,), ("/1",), stays=True),
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
    *(
        _refused("RFC 9112 6.1", coding, _post(b"Transfer-Encoding: " + coding.encode(), body=b"0\r\n\r\n"), 501)
        for coding in ("gzip, chunked", "deflate,Chunked", "x-gzip , x-compress, chunked")
    ),
    _refused("RFC 9112 6.1", "a coding that there is not", _post(b"Transfer-Encoding: br, chunked", body=b"0\r\n\r\n")),
    _refused("RFC 9112 6.3", "chunked, then gzip", _post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n")),
    _refused("RFC 9112 6.3", "gzip twice chunked", _post(b"Transfer-Encoding: gzip, chunked, chunked", body=SMUGGLED)),
    _refused("RFC 9112 6.1", "chunked, chunked", _post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n")),
    _refused("RFC 9112 6.1", "chunked, identity", _post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n")),
    _refused("RFC 9112 6.1", "identity", _post(b"Transfer-Encoding: identity", body=SMUGGLED)),
    _refused("RFC 9112 6.1", "an unknown coding", _post(b"Transfer-Encoding: cow", body=SMUGGLED)),
    _refused("CVE-2021-32715 and kin", "xchunked", _post(b"Transfer-Encoding: xchunked", body=SMUGGLED)),
    _refused("RFC 9112 6.1", "an empty Transfer-Encoding", _post(b"Transfer-Encoding:", body=SMUGGLED)),
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
        "parsers.md",
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
        "parsers.md",
        "trailers are dropped that mean something in front",
        _chunks(b"0\r\nX-Forwarded-For: 1.2.3.4\r\nSet-Cookie: a\r\n\r\n") + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
        body=b"",
    ),
    Case(
        "parsers.md",
        "other trailers are passed on, and no request behind them",
        _chunks(b"0\r\nX-T: 1\r\nSet-Cookie: a\r\n\r\n") + _head(first=b"GET /2 HTTP/1.1"),
        (200, 200),
        ("/1", "/2"),
        stays=True,
        upstream_stays=False,
        body=b"",
    ),
    Case(
        "parsers.md",
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
        "parsers.md",
        "a good request before a bad one",
        _head() + b"GET /2 HTTP/1.1\r\nHost: a b\r\n\r\n" + SMUGGLED,
        (200, 400),
        ("/1",),
    ),
    Case("parsers.md", "a good request before garbage", _head() + b"\x00\x01\x02\x03", (200, 400), ("/1",)),
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


def _served(rule: str, name: str, data: bytes, target: str = "/1", body: bytes | None = None) -> Case:
    return Case(rule, name, data, (200,), (target,), stays=True, body=body)


def _aimed(target: bytes) -> bytes:
    return _head(first=b"GET " + target + b" HTTP/1.1")


def _coded(value: bytes) -> bytes:
    """A request whose coding is not quite the one, and a request hidden in its body."""
    return _post(b"Transfer-Encoding:" + value, body=b"0\r\n\r\n" + SMUGGLED)


def _long(value: bytes) -> bytes:
    """A request whose length is not quite a number, and a request hidden in its body."""
    return _post(b"Content-Length:" + value, body=b"abc" + SMUGGLED)


CHUNKED_BODY = b"3\r\nabc\r\n0\r\n\r\n"
SECOND = _head(first=b"GET /2 HTTP/1.1")

TARGETS = [
    # Passed through unchanged: an upstream that is shown another path than was judged is how rules are evaded.
    *(
        _served("RFC 3986 6.2.2", f"{name} stays as it is", _aimed(target.encode()), target)
        for name, target in (
            ("an encoded slash", "/a%2f..%2Fb"),
            ("an encoded dot segment", "/a/%2e%2e/b"),
            ("a dot segment", "/a/./b/../c"),
            ("a path that climbs", "/../../etc/passwd"),
            ("an encoded CRLF", "/a%0d%0aX:%20b"),
            ("an encoded NUL", "/a%00.png"),
            ("an encoded space", "/a%20HTTP/1.1"),
            ("twice encoded", "/%252e%252e/"),
            ("half an escape", "/a%2"),
            ("an escape that is none", "/a%zz"),
            ("an overlong escape of a slash", "/..%c0%af.."),
            ("an encoded fragment", "/a%23b"),
            ("a semicolon", "/a;v=1/../b"),
            ("a backslash", "/a\\..\\b"),
            ("an empty query", "/1?"),
            ("question marks", "/1??a?b"),
            ("slashes only", "////"),
            ("an at sign", "/@b"),
            ("a colon", "/a:80/"),
            ("another URL as path", "/http://b/1"),
        )
    ),
    _refused("RFC 9112 3.2.1", "a path that begins with a backslash", _aimed(b"\\1")),
    _refused("RFC 9112 3.2.1", "an at sign for a slash", _aimed(b"@b/1")),
    _refused("RFC 9112 3.2.1", "a query without a path", _aimed(b"?a=b")),
    _refused("RFC 9112 3.2.1", "an encoded slash first", _aimed(b"%2f1")),
    _refused("RFC 9112 3.2.1", "a dot first", _aimed(b"./1")),
    _refused("RFC 9112 3.2", "a line feed in the target", b"GET /1\nX: HTTP/1.1\r\nHost: a\r\n\r\n"),
    _refused("RFC 9112 3.2", "a vertical tab in the target", _aimed(b"/1\x0b")),
    _refused("RFC 9112 3.2", "a no-break space in the target", _aimed(b"/1\xa0")),
    _refused("RFC 9112 3.2", "a version within the target", _aimed(b"/1 HTTP/1.1 X")),
    _refused("RFC 9112 3.2.2", "absolute form with two slashes missing", _aimed(b"http:/a/1")),
    _refused("RFC 9112 3.2.2", "absolute form without a host", _aimed(b"http:///1")),
    _refused("RFC 9112 3.2.2", "absolute form with a fragment", _aimed(b"http://a/1#f")),
    _refused("RFC 9112 3.2.2", "absolute form with another port", _aimed(b"http://a:81/1")),
    _refused("RFC 9112 3.2.2", "absolute form with a backslash", _aimed(b"http://a\\b/1")),
    _refused("RFC 9112 3.2.2", "absolute form with a comma", _aimed(b"http://a,b/1")),
    _refused("RFC 9112 3.2.2", "absolute form of a file", _aimed(b"file:///etc/passwd")),
    _refused("RFC 9112 3.2.2", "absolute form of gopher", _aimed(b"gopher://a/1")),
    _refused("RFC 9112 3.2.2", "absolute form of a script", _aimed(b"javascript://a/1")),
    _served("RFC 9112 3.2.2", "absolute form in capitals", _aimed(b"HTTP://A/1")),
    _served("RFC 9112 3.2.2", "absolute form of https", _aimed(b"https://a/1")),
    *(
        _served(
            "RFC 9110 4.2.3",
            f"{target} for {host}",
            _head(first=f"GET {target} HTTP/1.1".encode(), host=f"Host: {host}".encode()),
        )
        for target, host in (
            ("http://site/1", "site:80"),
            ("http://site:80/1", "site"),
            ("http://SITE:/1", "site:080"),
            ("https://site/1", "site:443"),
            ("https://[::1]:443/1", "[::1]"),
            ("http://[::1]/1", "[::1]:80"),
        )
    ),
    *(
        _refused(
            "RFC 9112 3.2.2",
            f"{target} for {host}",
            _head(first=f"GET {target} HTTP/1.1".encode(), host=f"Host: {host}".encode()),
        )
        for target, host in (
            ("http://site/1", "site:443"),
            ("https://site/1", "site:80"),
            ("http://site/1", "site:8080"),
            ("http://site/1", "site."),
            ("http://[::1]/1", "[::2]:80"),
            ("http://[::80]/1", "[::"),
        )
    ),
    _refused("RFC 9112 3.2.4", "OPTIONS of an asterisk and more", _head(first=b"OPTIONS *x HTTP/1.1")),
    _refused("RFC 9112 3.2.4", "OPTIONS of nothing", _head(first=b"OPTIONS  HTTP/1.1")),
    _refused("RFC 9112 3.2.3", "CONNECT of a path", _head(first=b"CONNECT /1 HTTP/1.1"), 405),
    _refused("RFC 9110 9.3.8", "TRACE of an asterisk", _head(first=b"TRACE * HTTP/1.1"), 405),
    _refused("RFC 9110 9.1", "a method that is too long", _head(first=b"A" * 65 + b" /1 HTTP/1.1"), 501),
    _refused("RFC 9110 9.1", "NUL in a method", _head(first=b"GE\0T /1 HTTP/1.1")),
    _refused("RFC 9110 9.1", "a method in parts", _head(first=b"GET POST /1 HTTP/1.1")),
    Case("RFC 9110 9.1", "a method like another", _head(first=b"GETX /1 HTTP/1.1"), (200,), ("/1",), stays=True),
    _refused("RFC 9112 2.3", "HTTP/1.1 and more", _head(first=b"GET /1 HTTP/1.1x")),
    _refused("RFC 9112 2.3", "HTTP/1.", _head(first=b"GET /1 HTTP/1.")),
    _refused("RFC 9112 2.3", "HTTP/1", _head(first=b"GET /1 HTTP/1")),
    _refused("RFC 9112 2.3", "HTTP/-1.1", _head(first=b"GET /1 HTTP/-1.1")),
    _refused("RFC 9112 2.3", "HTTP 1.1", _head(first=b"GET /1 HTTP 1.1")),
    _refused("RFC 9112 2.3", "HTTPS/1.1", _head(first=b"GET /1 HTTPS/1.1")),
    _refused("RFC 9112 2.3", "another protocol", _head(first=b"GET /1 SIP/2.0")),
]

CODINGS = [
    *(
        _refused("TE.TE, PortSwigger 2019", name, _coded(value))
        for name, value in (
            ("a comma first", b" ,chunked"),
            ("a tab and a letter", b"\tx chunked"),
            ("two codings of which one is empty", b" chunked, , chunked"),
            ("CHUNKED with a semicolon", b" CHUNKED;"),
            ("chunked and a word", b" chunked x"),
            ("chunked in single quotes", b" 'chunked'"),
            ("chunked with a NUL", b" chunked\0"),
            ("chunked with DEL", b" chunked\x7f"),
            ("chunked with a backslash", b" chunk\\ed"),
            ("a long s", b" chunked".replace(b"k", b"\xe2\x84\xaa")),
            ("a byte order mark", b" \xef\xbb\xbfchunked"),
            ("chunked encoded", b" chunke%64"),
            ("deflate", b" deflate"),
            ("gzip", b" gzip"),
            ("identity, chunked", b" identity, chunked"),
            ("chunked of a list", b" [chunked]"),
            ("chunked behind a colon", b": chunked"),
            ("chunked behind an equals sign", b"=chunked"),
            ("trailers", b" trailers"),
            ("half of it", b" chun"),
        )
    ),
    _refused(
        "TE.0, 2024", "OPTIONS with an unknown coding", _head(b"Transfer-Encoding: x", first=b"OPTIONS /1 HTTP/1.1")
    ),
    _refused("TE.CL", "the coding under two names", _post(b"Transfer-Encoding: chunked", b"transfer-encoding: x")),
    _refused("TE.CL", "a name with a NUL", _post(b"Transfer-Encoding\0: chunked", body=b"0\r\n\r\n" + SMUGGLED)),
    _refused("TE.CL", "a name with a slash", _post(b"Transfer/Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED)),
    _refused("TE.CL", "a name behind a space", _post(b" Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED)),
    _refused("TE.CL", "a name behind a colon", _post(b":Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED)),
    _refused("TE.CL", "a name without hyphen", _post(b"TransferEncoding: chunked", body=b"0\r\n\r\n" + SMUGGLED)),
    _refused("TE.CL", "a name with a dot", _post(b"Transfer.Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED)),
    _refused("TE.CL", "a name with a tick", _post(b"Transfer-Encoding`: chunked", body=b"0\r\n\r\n" + SMUGGLED)),
    _refused("TE.CL", "a bare CR before it", _post(b"X: 1\rTransfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED)),
    _refused("CL.TE", "a length of 0 and a coding", _post(b"Content-Length: 0", b"Transfer-Encoding: chunked")),
    _refused("CL.TE", "GET with both", _head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    _served("RFC 9110 10.1.4", "TE is dropped", _head(b"TE: trailers, chunked", b"Connection: TE")),
]

LENGTHS = [
    *(
        _refused("RFC 9110 8.6", f"the length {name}", _long(value))
        for name, value in (
            ("5, 6", b" 5, 6"),
            ("3,3", b" 3,3"),
            ("3;", b" 3;"),
            ("3 and a comma", b" 3,"),
            ("0x5", b" 0x5"),
            ("0o3", b" 0o3"),
            ("3e0", b" 3e0"),
            ("three", b" three"),
            ("-0", b" -0"),
            ("--3", b" --3"),
            ("+ 3", b" + 3"),
            ("behind a vertical tab", b" \x0b3"),
            ("before a form feed", b" 3\x0c"),
            ("before NUL", b" 3\0"),
            ("behind a no-break space", b" \xa03"),
            ("of full-width digits", b" \xef\xbc\x93"),
            ("of a superscript", b" \xb3"),
            ("of 19 digits", b" 1000000000000000003"),
            ("of 300 digits", b" " + b"0" * 299 + b"3"),
            ("2 ** 63", b" 9223372036854775811"),
            ("in parentheses", b" (3)"),
            ("of a comma", b" ,"),
        )
    ),
    _refused("0.CL, PortSwigger 2025", "a name with a space", _head(b"Content-Length : 35") + SMUGGLED),
    _refused("0.CL, PortSwigger 2025", "a name behind a tab", _head(b"\tContent-Length: 35") + SMUGGLED),
    _refused("0.CL, PortSwigger 2025", "a folded length", _head(b"Content-Length:", b" 35") + SMUGGLED),
    _refused("0.CL, PortSwigger 2025", "a name with a NUL", _head(b"Content-Length\0: 35") + SMUGGLED),
    _refused("0.CL, PortSwigger 2025", "a name without hyphen", _head(b"ContentLength: 35") + SMUGGLED),
    _refused("0.CL, PortSwigger 2025", "an obscured name beside it", _post(b"Content-Length: 3", b"Content_Length: 4")),
    _refused("RFC 9110 8.6", "two lengths of nothing", _post(b"Content-Length: 0", b"Content-Length: 0")),
    _refused("RFC 9110 8.6", "a length and an empty one", _post(b"Content-Length: 3", b"Content-Length:", body=b"abc")),
    _served("RFC 9112 5.1", "whitespace around a length", _post(b"Content-Length: \t 3 \t", body=b"abc"), body=b"abc"),
    Case(
        "CL.0, PortSwigger 2022",
        "OPTIONS with a request for a body",
        _head(b"Content-Length: 35", first=b"OPTIONS /1 HTTP/1.1") + SMUGGLED,
        (200,),
        ("/1",),
        stays=True,
        upstream_stays=False,
        body=SMUGGLED,
    ),
    _served(
        "CL.0, PortSwigger 2022",
        "POST with a request for a body",
        _post(b"Content-Length: 35", body=SMUGGLED),
        body=SMUGGLED,
    ),
    Case("0.CL", "GET with a length of 0", _head(b"Content-Length: 0") + SECOND, (200, 200), ("/1", "/2"), stays=True),
]

MORE_CHUNKS = [
    *(
        _refused("RFC 9112 7.1", f"{name}", _chunks(rest))
        for name, rest in (
            ("a size in quotes", b'"3"\r\nabc\r\n0\r\n\r\n'),
            ("a size with a comma", b"3,\r\nabc\r\n0\r\n\r\n"),
            ("a size with an h", b"3h\r\nabc\r\n0\r\n\r\n"),
            ("a size with a tab", b"3\t\r\nabc\r\n0\r\n\r\n"),
            ("a size with NUL", b"3\0\r\nabc\r\n0\r\n\r\n"),
            ("a size of other digits", b"\xd9\xa3\r\nabc\r\n0\r\n\r\n"),
            ("a size with a dot", b"3.0\r\nabc\r\n0\r\n\r\n"),
            ("a size of 18 digits", b"100000000000000003\r\nabc"),
            ("a size that wraps at 64 bits", b"f0000000000000003\r\nabc\r\n0\r\n\r\n"),
            ("a size of 16 zeros and a 3", b"0" * 16 + b"3\r\nabc\r\n0\r\n\r\n"),
            ("two CRs behind a size", b"3\r\r\nabc\r\n0\r\n\r\n"),
            ("LF CR behind a size", b"3\n\rabc\r\n0\r\n\r\n"),
            ("a bare CR behind the data", b"3\r\nabc\r0\r\n\r\n"),
            ("two bytes for the CRLF behind the data", b"3\r\nabcXX0\r\n\r\n" + SMUGGLED),
            ("an empty line between chunks", b"3\r\nabc\r\n\r\n0\r\n\r\n"),
            ("data shorter than its size", b"5\r\nabc\r\n0\r\n\r\n" + SMUGGLED),
            ("a last chunk of -0", b"-0\r\n\r\n" + SMUGGLED),
            ("a last chunk with a bare CR", b"0\r\r\n\r\n" + SMUGGLED),
            ("a last chunk behind a space", b" 0\r\n\r\n" + SMUGGLED),
        )
    ),
    _refused("EXT.TERM, 2025", "a bare LF ends an extension", _chunks(b"3;a\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    _refused("TERM.EXT, 2025", "a size hides behind a bare LF", _chunks(b"2;\nxx\r\n3\r\nabc\r\n0\r\n\r\n" + SMUGGLED)),
    _refused("EXT.TERM, 2025", "a bare CR ends an extension", _chunks(b"3;a\rabc\r\n0\r\n\r\n" + SMUGGLED)),
    _refused("TERM.SPILL, 2025", "a bare LF ends the data", _chunks(b"3\r\nabc\n0\r\n\r\n" + SMUGGLED)),
    _refused("SPILL.TERM, 2025", "a bare LF ends the last chunk", _chunks(b"0\n\r\n" + SMUGGLED)),
    _refused("SPILL.TERM, 2025", "a bare LF ends the message", _chunks(b"0\r\n\n" + SMUGGLED)),
    _refused("RFC 9112 7.1.1", "NUL in an extension", _chunks(b"3;a=\0\r\nabc\r\n0\r\n\r\n")),
    _refused(
        "CVE-2023-39326",
        "extensions and hardly any data",
        _chunks(b"1;" + b"x" * 250 + b"\r\na\r\n" + b"3;" + b"x" * 300),
    ),
    *(
        _refused("RFC 9112 7.1.1", f"an extension with {name}", _chunks(b"3;" + text + b"\r\nabc\r\n0\r\n\r\n"))
        for name, text in (
            ("no name", b""),
            ("no name and a value", b"=a"),
            ("no name before another", b";a"),
            ("nothing behind another", b"a;"),
            ("no value", b"a="),
            ("two values", b"a=b=c"),
            ("a space in its name", b"a b"),
            ("a space behind it", b"a "),
            ("a slash in its name", b"a/b"),
            ("a quoted name", b'"a"'),
            ("obs-text for a value", b"a=\xe4"),
            ("a quote without end", b'a="b'),
            ("a quote and more", b'a="b"c'),
            ("an escaped end", b'a="b\\"'),
            ("brackets", b"a=[b]"),
        )
    ),
    _refused("RFC 9112 7.1.1", "a last chunk with an empty extension", _chunks(b"3\r\nabc\r\n0;\r\n\r\n")),
    *(
        _served("RFC 9112 7.1.1", f"an extension with {name}", _chunks(b"3;" + text + CHUNKED_BODY[1:]), body=b"abc")
        for name, text in (
            ("whitespace before it", b" \ta"),
            ("whitespace within", b"a \t= \tb ; c"),
            ("obs-text in quotes", b'a="\xe4"'),
            ("quoted pairs", b'a="\\"\\\\;\r\n"'.replace(b"\r\n", b"")),
            ("a signature, as object stores want it", b"chunk-signature=" + b"0f" * 32),
            ("many of them", b";".join([b"a=b"] * 50)),
        )
    ),
    _served("RFC 9112 7.1.1", "a last chunk with an extension", _chunks(b"3\r\nabc\r\n0;a=b\r\n\r\n"), body=b"abc"),
    *(
        Case(
            "RFC 9110 6.5.1",
            f"{name} in the trailers reaches nobody",
            _chunks(b"3\r\nabc\r\n0\r\n" + line + b"\r\n\r\n") + SECOND,
            (200, 200),
            ("/1", "/2"),
            stays=True,
            body=b"abc",
        )
        for name, line in (
            ("Content-Length", b"Content-Length: 35"),
            ("Transfer-Encoding", b"Transfer-Encoding: chunked"),
            ("Connection", b"Connection: close"),
            ("Authorization", b"Authorization: Basic eA=="),
            ("X-Forwarded-For", b"X-Forwarded-For: 127.0.0.1"),
            ("Cookie", b"Cookie: session=1"),
        )
    ),
    _refused("RFC 9112 5.1", "a space before the colon of a trailer", _chunks(b"0\r\nX : 1\r\n\r\n")),
    _refused("RFC 9110 5.5", "NUL in a trailer", _chunks(b"0\r\nX: \0\r\n\r\n")),
    _refused("RFC 9110 5.6.2", "a trailer without a name", _chunks(b"0\r\n: 1\r\n\r\n")),
    _refused("RFC 9112 7.1.2", "a request for trailers", _chunks(b"0\r\n" + SMUGGLED)),
    _refused("RFC 9112 7.1.2", "a trailer without end", _chunks(b"0\r\nX: " + b"y" * 9000)),
]

MORE_FIELDS = [
    *(
        _refused("RFC 9110 5.6.2", f"{name} in a name", _head(b"X" + byte + b"Y: 1"))
        for name, byte in (
            ("a slash", b"/"),
            ("a comma", b","),
            ("a semicolon", b";"),
            ("an equals sign", b"="),
            ("a quotation mark", b'"'),
            ("a bracket", b"["),
            ("a brace", b"{"),
            ("an angle", b"<"),
            ("an at sign", b"@"),
            ("a backslash", b"\\"),
            ("a question mark", b"?"),
            ("a tab", b"\t"),
            ("DEL", b"\x7f"),
            ("an escape", b"\x1b"),
        )
    ),
    *(
        _refused("RFC 9110 5.5", f"{name} in a value", _head(b"X: a" + byte + b"b"))
        for name, byte in (
            ("DEL", b"\x7f"),
            ("a vertical tab", b"\x0b"),
            ("a form feed", b"\x0c"),
            ("an escape", b"\x1b"),
        )
    ),
    _refused("RFC 9112 2.2", "a bare CR before the colon", _head(b"X\r: 1")),
    _refused("RFC 9112 5", "a field of spaces", _head(b"   ")),
    _refused("RFC 9112 5.2", "a fold of a tab", _head(b"X: 1", b"\t2")),
    _refused("RFC 9112 5.2", "a fold of Host", b"GET /1 HTTP/1.1\r\nHost:\r\n a\r\n\r\n"),
    _refused("RFC 6585 5", "a name beyond the limit", _head(b"X" * 40_000 + b": 1"), 431),
    _served("RFC 9110 5.1", "a long name", _head(b"X" * 2000 + b": 1")),
    _served("CVE-2011-3192", "a flood of ranges", _head(b"Range: bytes=" + b",".join(b"%d-" % n for n in range(1000)))),
    _served("RFC 9110 5.3", "two User-Agents", _head(b"User-Agent: a", b"User-Agent: b")),
    _served(
        "RFC 9110 5.3",
        "fields that have one value, twice",
        _post(*[b"%b: %b" % (name, value) for name in (b"Content-Type", b"ETag", b"Server") for value in (b"a", b"b")]),
    ),
    _served(
        "RFC 9110 5.3",
        "two User-Agents with chunks",
        _post(b"User-Agent: a", b"User-Agent: b", b"Transfer-Encoding: chunked", body=CHUNKED_BODY),
        body=b"abc",
    ),
    _served("RFC 9110 14.2", "a range that is none", _head(b"Range: bytes=-1--1")),
    _served("RFC 9110 7.6.1", "Connection names Cookie", _head(b"Connection: cookie", b"Cookie: a=b")),
    _served(
        "Nathan Davison 2019",
        "Connection names X-Forwarded-For",
        _head(b"Connection: X-Forwarded-For", b"X-Forwarded-For: 1.2.3.4"),
    ),
    _served("Nathan Davison 2019", "Connection names X-Request-Id", _head(b"Connection: X-Request-Id")),
    _served("Nathan Davison 2019", "Connection names Connection", _head(b"Connection: connection, keep-alive")),
    _served("RFC 9110 7.6.1", "Connection of commas", _head(b"Connection: ,,,")),
    _served(
        "RFC 9110 7.6.1", "Keep-Alive and Proxy-Connection", _head(b"Keep-Alive: timeout=9", b"Proxy-Connection: close")
    ),
    _served("RFC 9110 11.7.1", "Proxy-Authorization is dropped", _head(b"Proxy-Authorization: Basic eA==")),
    _served("httpoxy 2016", "Proxy", _head(b"Proxy: http://b/")),
    _served("nginx, CGI", "X_Forwarded_For is dropped", _head(b"X_Forwarded_For: 1.2.3.4")),
    _refused("RFC 9110 10.1.1", "two expectations", _head(b"Expect: 100-continue, x"), 417),
    _refused("PortSwigger 2025", "an expectation with a parameter", _head(b"Expect: 100-continue;x"), 417),
    _refused("PortSwigger 2025", "an obscured expectation", _head(b"Expect: y 100-continue"), 417),
    _refused("PortSwigger 2025", "an expectation folded", _head(b"Expect:", b" 100-continue")),
    _served(
        "RFC 9110 10.1.1",
        "Expect in another case",
        _post(b"Expect: 100-Continue", b"Content-Length: 3", body=b"abc"),
        body=b"abc",
    ),
    _served(
        "RFC 9110 10.1.1",
        "Expect with chunks",
        _post(b"Expect: 100-continue", b"Transfer-Encoding: chunked", body=CHUNKED_BODY),
        body=b"abc",
    ),
    _served(
        "RFC 6455 4.1",
        "a WebSocket with two keys",
        _head(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Key: y"),
    ),
    _served(
        "RFC 9110 7.8",
        "an upgrade to several",
        _head(b"Connection: Upgrade", b"Upgrade: h2c, websocket", b"Sec-WebSocket-Key: x"),
    ),
    _served("RFC 9110 7.8", "an upgrade to TLS", _head(b"Connection: Upgrade", b"Upgrade: TLS/1.0")),
    Case(
        "Bishop Fox 2020",
        "h2c by POST",
        _post(
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: A",
            b"Content-Length: 3",
            body=b"abc",
        )
        + SECOND,
        (200, 200),
        ("/1", "/2"),
        stays=True,
        body=b"abc",
    ),
]

MORE_HOSTS = [
    *(
        _refused("RFC 9110 7.2", f"Host with {name}", _head(host=b"Host: " + value))
        for name, value in (
            ("a fragment", b"a#b"),
            ("a semicolon and a space", b"a; b"),
            ("a tab", b"a\tb"),
            ("NUL", b"a\0b"),
            ("a port below 0", b"a:-1"),
            ("a port of six digits", b"a:100000"),
            ("a port alone", b":80"),
            ("an at sign behind a port", b"a:80@b"),
            ("braces", b"{a}"),
            ("a caret", b"a^b"),
            ("a pipe", b"a|b"),
            ("a byte order mark", b"\xef\xbb\xbfa"),
            ("an IPv6 address and more", b"[::1]b"),
            ("a bracket alone", b"["),
            ("empty brackets", b"[]"),
            ("a zone", b"[fe80::1%25eth0]"),
            ("a slash first", b"/a"),
            ("two slashes first", b"//a"),
        )
    ),
    _refused("RFC 9112 3.2", "Host in another case twice", _head(b"HOST: a")),
    _refused("RFC 9112 3.2", "Host behind the other fields twice", _head(b"X: 1", b"host: b")),
    _refused("RFC 9112 5.2", "a folded second Host", _head(b"X: 1", b" Host: b")),
    _refused("RFC 9112 3.2.2", "two Hosts for absolute form", _head(b"Host: a", first=b"GET http://a/1 HTTP/1.1")),
    _refused(
        "RFC 9112 3.2.2", "an empty Host for absolute form", _head(first=b"GET http://a/1 HTTP/1.1", host=b"Host:")
    ),
    _served("RFC 9110 7.2", "a dot behind", _head(host=b"Host: a.")),
    _served("RFC 9110 7.2", "a port of nothing", _head(host=b"Host: a:")),
    _served("RFC 9110 7.2", "capitals", _head(host=b"hOsT: A.EXAMPLE")),
]

MORE_PIPELINES = [
    *(
        Case("RFC 9112 9.3.2", f"a good request before {name}", _head() + bad, (200, status), ("/1",))
        for name, status, bad in (
            ("one with two lengths", 400, _post(b"Content-Length: 3", b"Content-Length: 4", body=b"abc")),
            ("one with both framings", 400, _post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"abc")),
            ("one without Host", 400, b"GET /2 HTTP/1.1\r\n\r\n" + SMUGGLED),
            ("a method without end", 501, _head(first=b"B" * 65 + b" /2 HTTP/1.1") + SMUGGLED),
            ("another coding", 501, _post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n") + SMUGGLED),
            ("HTTP/2.0", 505, _head(first=b"GET /2 HTTP/2.0") + SMUGGLED),
            ("TRACE", 405, _head(first=b"TRACE /2 HTTP/1.1") + SMUGGLED),
            ("a bare LF", 400, b"\n" + SMUGGLED),
            ("a folded field", 400, _head(b"X: 1", b" 2") + SMUGGLED),
            ("an expectation", 417, _head(b"Expect: x") + SMUGGLED),
            ("a target without end", 414, b"GET /" + b"x" * 40_000),
            ("fields without end", 431, b"GET /2 HTTP/1.1\r\nX: " + b"x" * 40_000),
        )
    ),
    Case(
        "RFC 9112 7.1",
        "a chunked request before garbage",
        _chunks(CHUNKED_BODY) + b"0\r\n\r\n",
        (200, 400),
        ("/1",),
        body=b"abc",
    ),
    Case(
        "RFC 9112 6.3",
        "more body than its length",
        _post(b"Content-Length: 3", body=b"abc{}") + SMUGGLED,
        (200, 400),
        ("/1",),
        body=b"abc",
    ),
    Case("RFC 9112 2.2", "two empty lines between requests", _head() + b"\r\n\r\n" + SMUGGLED, (200, 400), ("/1",)),
    Case(
        "RFC 9112 9.6",
        "close with a body",
        _post(b"Connection: close", b"Content-Length: 3", body=b"abc") + SMUGGLED,
        (200,),
        ("/1",),
        body=b"abc",
    ),
    Case(
        "RFC 9112 9.3",
        "HTTP/1.0 with a body",
        _head(b"Content-Length: 3", first=b"POST /1 HTTP/1.0") + b"abc" + SMUGGLED,
        (200,),
        ("/1",),
        body=b"abc",
    ),
]

CASES = [
    *REQUEST_LINE,
    *HOST,
    *FIELDS,
    *FRAMING,
    *CHUNKS,
    *PIPELINES,
    *TARGETS,
    *CODINGS,
    *LENGTHS,
    *MORE_CHUNKS,
    *MORE_FIELDS,
    *MORE_HOSTS,
    *MORE_PIPELINES,
]
