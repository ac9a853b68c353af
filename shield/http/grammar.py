"""The grammar of HTTP/1 heads and of what frames a body, each rule once, with the section that it comes from.

Every pattern is for `fullmatch`, unless its comment says otherwise. Where a rule is narrower than the RFC, the comment
says by how much and why. Rules with a name in the RFC keep it. Patterns over `bytes` read what came from a connection;
those over `str` read what has been decoded already.

All of them take time in proportion to the input's length: where two repetitions could share characters, the first is
possessive (`*+`). 30,000 spaces with a control character behind them once took 7 seconds to refuse.
"""

from __future__ import annotations

import re
from typing import Final

# RFC 9110 section 5.6.2:  token = 1*tchar
#   tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA
_TCHAR_BUT_UNDERSCORE: Final = rb"-!#$%&'*+.^`|~0-9A-Za-z"
_TCHAR: Final = _TCHAR_BUT_UNDERSCORE + b"_"
TOKEN = re.compile(rb"[" + _TCHAR + rb"]+")
TCHARS: Final = frozenset(byte for byte in range(128) if re.match(b"[" + _TCHAR + b"]", bytes((byte,))))
"""The bytes that a token, such as a method, may begin with."""

TOKEN = re.compile(rb"[" + _TCHAR + rb"]+")

# RFC 9110 section 7.8:  protocol = protocol-name [ "/" protocol-version ],  both of them tokens
PROTOCOL = re.compile(rb"[" + _TCHAR + rb"]+(?:/[" + _TCHAR + rb"]+)?")

# RFC 9110 section 5.6.3:  OWS = *( SP / HTAB )
_OWS: Final = rb"[ \t]*"

# RFC 9110 section 5.5:  field-value = *( field-vchar [ 1*( SP / HTAB / field-vchar ) field-vchar ] )
#   field-vchar = VCHAR / obs-text,  VCHAR = %x21-7E (RFC 5234),  obs-text = %x80-FF
_FIELD_VCHAR: Final = rb"!-~\x80-\xff"
_FIELD_VALUE: Final = rb"(?:[" + _FIELD_VCHAR + rb"](?:[ \t" + _FIELD_VCHAR + rb"]*[" + _FIELD_VCHAR + rb"])?)?"

# RFC 9112 section 5:  field-line = field-name ":" OWS field-value OWS.  Groups: name, value.
_FIELD_LINE: Final = rb":" + _OWS + rb"+(" + _FIELD_VALUE + rb")" + _OWS
FIELD_LINE = re.compile(rb"([" + _TCHAR + rb"]+)" + _FIELD_LINE)
# The same with whitespace before the colon, which a response may have (section 5.1) and a request may not.
SPACED_FIELD_LINE = re.compile(rb"([" + _TCHAR + rb"]+)[ \t]++" + _FIELD_LINE)
# RFC 9112 section 5.2:  obs-fold = OWS CRLF RWS.  Without what is before it, which would be searched for again at each
# place. For `sub`.
FOLD = re.compile(rb"\r\n[ \t]++")
PLAIN_FIELD_LINE = re.compile(rb"([" + _TCHAR_BUT_UNDERSCORE + rb"]+)" + _FIELD_LINE)
"""The same without "_" in the name: CGI and WSGI map it and "-" to one letter, so such a name needs a closer look."""

# RFC 9112 section 7.1.2:  trailer-section = *( field-line CRLF ).  The value is not looked at more closely than for
# control characters (RFC 9110 section 5.5) until a trailer is sent on.
TRAILER_LINE = re.compile(rb"[" + _TCHAR + rb"]+:[\t\x20-\x7e\x80-\xff]*")

# RFC 9112 section 3:  request-line = method SP request-target SP HTTP-version.  Groups: method, target.
# Narrower: the methods of RFC 9110 section 9 and RFC 5789 but CONNECT and TRACE, and origin-form (section 3.2.1) only.
# The target has the characters of TARGET.
PLAIN_REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/[!-\"$-~]*) HTTP/1\.1")
# The characters of a URI (RFC 3986 section 2) without "#", which begins a fragment, and those that browsers leave bare
# in a query (WHATWG URL, section 1.3): | ^ ` { } [ ] \ "
TARGET = re.compile(r"[!-\"$-~]+")
# Any request-line. Groups: method, target, major and minor version. Method = token (RFC 9110 section 9.1). Wider: the
# target is any visible characters here, so that one that is none is told from a line that is none.
REQUEST_LINE = re.compile(rb"([" + _TCHAR + rb"]++) ([!-~\x80-\xff]++) HTTP/([0-9])\.([0-9])")
# One whose target has characters that none may have, but no control characters: older browsers and sloppy programs
# leave spaces and bytes beyond ASCII as they are.
SLOPPY_REQUEST_LINE = re.compile(rb"[" + _TCHAR + rb"]++ [^\x00-\x1f\x7f]+ HTTP/1\.[01]")
# RFC 9112 section 2.3:  HTTP-version = HTTP-name "/" DIGIT "." DIGIT.  Any but 1.0 and 1.1; for `search` in a line.
OTHER_VERSION = re.compile(rb" HTTP/(?!1\.[01]$)[0-9]\.[0-9]$")

# RFC 9110 section 5.5: control characters, HTAB aside, are part of nothing in a head. For `search`.
CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")  # LF has a rule of its own

# RFC 9112 section 4:  status-line = HTTP-version SP status-code SP [ reason-phrase ].  Groups: minor version, status.
# Wider: servers leave out the second SP where no reason follows. A higher minor version is read as 1.1, as RFC 9110
# section 2.5 says.
STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: [\t -~\x80-\xff]*)?")
STATUS_LINE_START: Final = b"HTTP/1."

# RFC 9112 section 2.2: a line ends with CRLF. A recipient may take a LF alone for one; a proxy and a server that do not
# agree on it read two different messages. For `search`.
BARE_LF = re.compile(rb"(?<!\r)\n")

# RFC 9110 section 7.2:  Host = uri-host [ ":" port ].  uri-host (RFC 3986 section 3.2.2) is a reg-name, an IPv4 address
# or an IP literal. A port may be empty and is at most 65535 (RFC 9110 section 4.2.1, RFC 9293 section 3.1): what others
# make of a larger one is their guess.
_PORT: Final = rb"[0-9]{0,4}|[0-5][0-9]{4}|6(?:[0-4][0-9]{3}|5(?:[0-4][0-9]{2}|5(?:[0-2][0-9]|3[0-5])))"
HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::(?:" + _PORT + rb"))?")

HOST_PORT = re.compile(rb":([0-9]+)\Z")
"""The port of a HOST, for `search`. Group: the port."""

# RFC 9110 section 8.6:  Content-Length = 1*DIGIT.  Narrower: 18 digits stay below 2**63, beyond which some overflow.
CONTENT_LENGTH = re.compile(rb"[0-9]{1,18}")
# RFC 9112 section 6.3, rule 5: a list of equal values is that value. Group: the value.
EQUAL_LENGTHS = re.compile(rb"([0-9]{1,18})(?:[ \t]*,[ \t]*\1)+")

# RFC 9112 section 6.1:  Transfer-Encoding = #transfer-coding.  Those of section 7.2 that a client may apply before the
# chunked one, which is the last and comes once. Nothing else that is no "chunked" alone is a coding here.
TRANSFER_CODINGS = re.compile(rb"(?i:(?:(?:x-)?(?:gzip|compress)|deflate)[ \t]*,[ \t]*)+(?i:chunked)")

# X-Request-Id is of no RFC: what may stand in a log, in at most 128 characters.
REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/=+-]{1,128}")

# RFC 9110 section 5.6.4:  quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE
_QUOTED_STRING: Final = rb'"(?:[\t !\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t -~\x80-\xff])*+"'
# RFC 9112 section 7.1.1:  chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
#   chunk-ext-name = token,  chunk-ext-val = token / quoted-string,  BWS = OWS (RFC 9110 section 5.6.3)
_BWS: Final = _OWS + b"+"
_TOKEN: Final = rb"[" + _TCHAR + rb"]++"
_EXTENSION: Final = (
    b";" + _BWS + _TOKEN + rb"(?:" + _BWS + b"=" + _BWS + rb"(?:" + _TOKEN + b"|" + _QUOTED_STRING + rb"))?+"
)
_EXTENSIONS: Final = _EXTENSION + rb"(?:" + _BWS + _EXTENSION + rb")*+"
# RFC 9112 section 7.1:  chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF,  chunk-size = 1*HEXDIG
# Narrower: 15 digits stay far below 2**63. No whitespace before the first ";": section 7.1.1 allows it as a relic, but
# llhttp and h11 refuse it, and two readings of one size are how smuggling begins. Group: size.
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:" + _EXTENSIONS + rb")?")
# A size that is clear, with whitespace behind it or what may be meant for an extension, without control characters.
SLOPPY_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}[\t ]*+(?:;[\t\x20-\x7e\x80-\xff]*)?")
# A whole line, its extensions no longer than MAX_CHUNK_LINE allows behind the longest size; for `match`. Group: size.
CHUNK_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:(?=[^\r\n]{0,241}+\r\n)" + _EXTENSIONS + rb")?\r\n")
# The same, not 0, in a form that nobody reads otherwise, so that it may be sent on as it came; for `match`.
COMMON_CHUNK_SIZE = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n")

# RFC 9110 section 14.1.1:  int-range = first-pos "-" [ last-pos ],  suffix-range = "-" suffix-length.  Groups: first,
# last. Positions of at most 18 digits, as above.
RANGE_SPEC = re.compile(rb"[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*")

# RFC 7239 section 4:  forwarded-pair = token "=" ( token / quoted-string ).  Groups: name, quoted value, bare value.
# Wider: some proxies write an IPv6 address, which is no token, without quotes.
FORWARDED_PAIR = re.compile(r"\s*([A-Za-z]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\";,]*))\s*")
# What separates elements and pairs, and the quotes within which nothing does; for `finditer`.
FORWARDED_MARK = re.compile(r"[\",;]")
# RFC 9110 section 5.6.4:  quoted-pair = "\" ( HTAB / SP / VCHAR / obs-text ).  For `sub`. Group: the character.
QUOTED_PAIR = re.compile(r"\\(.)")
# A host that a trusted proxy names: as HOST, without the sub-delimiters that no host name in use has.
FORWARDED_HOST = re.compile(r"[A-Za-z0-9._~:\[\]-]{1,255}")
# A port that a trusted proxy names.
FORWARDED_PORT = re.compile(r"[1-9][0-9]{0,4}")


def without_port(host: bytes) -> bytes:
    """The host of a Host field that is valid."""
    name, colon, port = host.rpartition(b":")
    return name if colon and b"]" not in port else host
