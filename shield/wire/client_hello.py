"""The ClientHello, read before the handshake: the name that the client asks for, what it offers, and its software.

Bytes in, a `Hello` out. The bytes are those of the first TLS records (RFC 8446 section 5.1), as they lie in the socket:
they are looked at, not taken, and OpenSSL reads them again. What breaks the form of RFC 8446 section 4.1.2 is a
BadHello, and costs no cryptography.

JA4 (FoxIO, BSD-3-Clause) names the software behind a hello in three parts:

    t13d1516h2 _ 8daaf6152771 _ e5627efa2ab1
    |             |              sorted extensions and the signature algorithms, hashed
    |             sorted cipher suites, hashed
    transport, version, name or not, how many suites, how many extensions, first and last character of the ALPN

`habit()` is the same without what one program changes from connection to connection, for use in a client's identity.
The log has the whole JA4, which is what others publish.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

MOST_BYTES: Final = 16 * 1024
"""bytes. Of a hello. Browsers send 500 to 2,000, with a post-quantum key share and a ticket; curl 500."""
MOST_RECORDS: Final = 16
"""Records that a hello may be cut into. Some programs cut it into two or three to get past filters. Each record costs
two looks at the socket."""
MOST_LISTED: Final = 512
"""Entries of each list in a hello: suites, extensions, groups, keys, signature algorithms, ALPN names. IANA has some
350 suites, and fewer of everything else. To read and name a hello full of suites (7,900) cost more than a handshake."""

TLS_ON_PLAIN_PORT: Final = "tls_on_plain_port"
"""The fault of a connection that begins with a ClientHello where plain HTTP is spoken. Any page can have a browser do
so, by an image from https://site:80/, so nobody is blamed for it."""
UNEXPECTED_MESSAGE: Final = 10
"""The alert for it (RFC 8446 section 6.2). Browsers show it as a protocol error, and none tries an older version after
it, as some do after protocol_version or handshake_failure."""

X25519: Final = 0x001D
SECP256R1: Final = 0x0017
SECP384R1: Final = 0x0018
X25519MLKEM768: Final = 0x11EC

_RECORD: Final = 5  # bytes: type, version, length (RFC 8446 section 5.1)
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_MOST_FRAGMENT: Final = 1 << 14

# Extensions (IANA, TLS ExtensionType Values).
SERVER_NAME: Final = 0
SUPPORTED_GROUPS: Final = 10
SIGNATURE_ALGORITHMS: Final = 13
ALPN: Final = 16
SUPPORTED_VERSIONS: Final = 43
KEY_SHARE: Final = 51

VARYING: Final = frozenset({21, 41, 42, 44, 17513, 17613})
"""Extensions that come and go between two connections of one program: padding, which fills up to a length;
pre_shared_key and early_data, with a ticket in hand; cookie, after a HelloRetryRequest; application_settings (two
numbers), only beside ALPN h2, which a browser does not offer for a WebSocket."""

PROGRAMS: Final = 256
"""Programs whose names are remembered, at some 2 KB each; a hello is 16 KB at most. To work out both takes 19 µs."""

_VERSIONS: Final = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}
_NONE: Final = "000000000000"


class BadHello(Exception):
    """The bytes are no ClientHello; str() says why."""


class Hello(NamedTuple):
    """One ClientHello. GREASE values (RFC 8701) are left out everywhere."""

    version: int  # the highest that is offered
    ciphers: tuple[int, ...]  # in the client's order, as all that follow
    extensions: tuple[int, ...]
    signature_algorithms: tuple[int, ...]
    protocols: tuple[bytes, ...]  # of ALPN
    server_name: str  # in lower case, or ""
    groups: tuple[int, ...]
    shares: tuple[int, ...]  # the groups for which it sends a key already


class Program(NamedTuple):
    """The program at the other end, and the host that it asks for (`server_name`, in lower case), as far as its hello
    tells. All are empty where there was none."""

    ja4: str = ""
    habit: str = ""
    server_name: str = ""


NO_PROGRAM: Final = Program()


def read(data: bytes) -> Hello | int:
    """The hello at the beginning of `data`, or, when it is not whole, how many bytes it takes to read on.

    That number is greater than len(data), and at most MOST_BYTES and the header of a record. Raises BadHello.
    """
    body = b""
    at = 0
    wanted = 4  # bytes of handshake message: its header, then all of it
    for _ in range(MOST_RECORDS):
        if len(data) < at + _RECORD:
            _begins_well(data, at)
            return at + _RECORD
        kind, major, _, length = struct.unpack_from(">BBBH", data, at)
        if kind != _HANDSHAKE or major != 3:
            raise BadHello("not a TLS handshake record")
        if not 0 < length <= _MOST_FRAGMENT:
            raise BadHello("a record of an impossible length")
        if at + length > MOST_BYTES:
            raise BadHello("too long")
        end: int = at + _RECORD + length
        if len(data) < end:
            if len(data) > at + _RECORD and not body and data[at + _RECORD] != _CLIENT_HELLO:
                raise BadHello("not a ClientHello")
            return end
        body += data[at + _RECORD : end]
        at = end
        if body[0] != _CLIENT_HELLO:
            raise BadHello("not a ClientHello")
        if len(body) >= 4:
            wanted = 4 + int.from_bytes(body[1:4], "big")
            if wanted > MOST_BYTES:
                raise BadHello("too long")
            if len(body) > wanted:
                raise BadHello("more than a ClientHello before the server's answer")
            if len(body) == wanted:
                return _parse(body)
    raise BadHello("too many records")


def _begins_well(data: bytes, at: int) -> None:
    """Raise BadHello if the first bytes of a record show that this is no TLS, rather than wait for more of it."""
    if (len(data) > at and data[at] != _HANDSHAKE) or (len(data) > at + 1 and data[at + 1] != 3):
        raise BadHello("not a TLS handshake record")


def _parse(body: bytes) -> Hello:
    """The ClientHello in a whole handshake message. Raises BadHello."""
    try:
        version = int.from_bytes(body[4:6], "big")
        at = 38  # header, version, random
        at += 1 + _most(body[at], 32)  # legacy_session_id
        size = int.from_bytes(body[at : at + 2], "big")
        ciphers = _numbers(body[at + 2 : at + 2 + size], size)
        at += 2 + size
        methods = body[at]  # legacy_compression_methods
        at += 1 + methods
        if not methods or at > len(body):
            raise BadHello("no compression methods")
        found = _extensions(body, at) if at < len(body) else {}
    except IndexError:
        raise BadHello("cut short") from None
    versions = found.get(SUPPORTED_VERSIONS)
    if versions is not None:
        offered = _numbers(versions[1:], versions[0] if versions else 0)
        version = max(offered, default=0)
    return Hello(
        version,
        ciphers,
        tuple([kind for kind in found if not _grease(kind)]),
        _vector(found.get(SIGNATURE_ALGORITHMS)),
        _protocols(found.get(ALPN)),
        _host_name(found.get(SERVER_NAME)),
        _vector(found.get(SUPPORTED_GROUPS)),
        _shares(found.get(KEY_SHARE)),
    )


def _most(value: int, most: int) -> int:
    if value > most:
        raise BadHello("a session id of more than 32 bytes")
    return value


def _extensions(body: bytes, at: int) -> dict[int, bytes]:
    """The extensions in body[at:], which must be all there is, each once (RFC 8446 section 4.2)."""
    end = len(body)
    if at + 2 > end or at + 2 + int.from_bytes(body[at : at + 2], "big") != end:
        raise BadHello("extensions of another length than they say")
    at += 2
    found: dict[int, bytes] = {}
    while at < end:
        if at + 4 > end:
            raise BadHello("an extension that is cut short")
        kind, size = struct.unpack_from(">HH", body, at)
        at += 4
        if at + size > end:
            raise BadHello("an extension that is cut short")
        if kind in found:
            raise BadHello("an extension that comes twice")
        if len(found) == MOST_LISTED:
            raise BadHello("more extensions than there are")
        found[kind] = body[at : at + size]
        at += size
    return found


def _grease(value: int) -> bool:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def _numbers(data: bytes, size: int) -> tuple[int, ...]:
    """The 16-bit numbers in `data`, a list of `size` bytes with at least one entry; without GREASE."""
    if size % 2 or not size or size != len(data):
        raise BadHello("a list of another length than it says")
    if size > 2 * MOST_LISTED:
        raise BadHello("a list of more than there are")
    return tuple([n for n in struct.unpack(f">{size // 2}H", data) if n & 0x0F0F != 0x0A0A or not _grease(n)])


def _vector(data: bytes | None) -> tuple[int, ...]:
    return () if data is None else _numbers(data[2:], int.from_bytes(data[:2], "big"))


def _list(data: bytes) -> bytes:
    """The list behind a two-byte length, which must be all of `data`."""
    if len(data) < 2 or len(data) != 2 + int.from_bytes(data[:2], "big"):
        raise BadHello("a list of another length than it says")
    return data[2:]


def _protocols(data: bytes | None) -> tuple[bytes, ...]:
    """The ALPN list (RFC 7301 section 3.1), whose names have 1 to 255 bytes."""
    if data is None:
        return ()
    listed = _list(data)
    names: list[bytes] = []
    at = 0
    while at < len(listed):
        end = at + 1 + listed[at]
        if end == at + 1 or end > len(listed):
            raise BadHello("an ALPN name that is empty or cut short")
        if len(names) == MOST_LISTED:
            raise BadHello("a list of more than there are")
        names.append(listed[at + 1 : end])
        at = end
    if not names:
        raise BadHello("an ALPN list without a name")
    return tuple(names)


def _host_name(data: bytes | None) -> str:
    """The one name of the server_name extension (RFC 6066 section 3)."""
    if data is None:
        return ""
    names = _list(data)
    if len(names) < 4 or names[0] != 0 or len(names) != 3 + int.from_bytes(names[1:3], "big") or len(names) > 258:
        raise BadHello("a server name of another form than one host name of at most 255 bytes")
    try:
        return names[3:].decode("ascii").lower()
    except UnicodeDecodeError:
        raise BadHello("a server name that is not ASCII") from None


def _shares(data: bytes | None) -> tuple[int, ...]:
    """The groups of key_share (RFC 8446 section 4.2.8)."""
    if data is None:
        return ()
    shares = _list(data)
    groups: list[int] = []
    at = 0
    while at < len(shares):
        if at + 4 >= len(shares):
            raise BadHello("a key share that is cut short")
        group, size = struct.unpack_from(">HH", shares, at)
        at += 4 + size
        if not size or at > len(shares):
            raise BadHello("a key share that is cut short")
        if len(groups) == MOST_LISTED:
            raise BadHello("a list of more than there are")
        if not _grease(group):
            groups.append(group)
    return tuple(groups)


def ja4(hello: Hello) -> str:
    """The JA4 of a hello that came over TCP."""
    extensions = hello.extensions
    count = min(len(hello.ciphers), 99), min(len(extensions), 99)
    first = (
        f"t{_VERSIONS.get(hello.version, '00')}{'d' if SERVER_NAME in extensions else 'i'}"
        f"{count[0]:02}{count[1]:02}{_ends(hello.protocols[0] if hello.protocols else b'')}"
    )
    listed = _hex(sorted([kind for kind in extensions if kind != SERVER_NAME and kind != ALPN]))
    if listed and hello.signature_algorithms:
        listed += "_" + _hex(hello.signature_algorithms)
    return f"{first}_{_hash(_hex(sorted(hello.ciphers)))}_{_hash(listed)}"


def begins(data: bytes | bytearray) -> bool:
    """Whether bytes that are no HTTP are the beginning of a ClientHello: a handshake record of TLS (RFC 8446 section
    5.1), or of SSL 3, as far as there are bytes."""
    return data[:2] == b"\x16\x03" or data == b"\x16"


def alert(description: int) -> bytes:
    """A fatal alert (RFC 8446 section 6), as a record of its own."""
    return bytes((21, 3, 3, 0, 2, 2, description))


def habit(hello: Hello) -> str:
    """The JA4 of a hello without ALPN and VARYING. A program has the same one whether it resumes a session or opens a
    WebSocket."""
    kept = tuple([kind for kind in hello.extensions if kind != ALPN and kind not in VARYING])
    return ja4(hello._replace(extensions=kept, protocols=()))


def program(hello: Hello) -> Program:
    """Both names of the program behind a hello."""
    kinds = tuple(sorted(hello.extensions))  # some browsers shuffle them, and their order makes no difference here
    found = _program(hello.version, hello.ciphers, kinds, hello.signature_algorithms, hello.protocols)
    return found._replace(server_name=hello.server_name)


@lru_cache(PROGRAMS)
def _program(
    version: int,
    ciphers: tuple[int, ...],
    extensions: tuple[int, ...],
    signature_algorithms: tuple[int, ...],
    protocols: tuple[bytes, ...],
) -> Program:
    hello = Hello(version, ciphers, extensions, signature_algorithms, protocols, "", (), ())
    return Program(ja4(hello), habit(hello))


def _hex(numbers: Sequence[int]) -> str:
    """Each number as four hexadecimal digits, such as 002f,0035."""
    return struct.pack(f">{len(numbers)}H", *numbers).hex(",", 2) if numbers else ""


def _hash(text: str) -> str:
    return sha256(text.encode("ascii")).hexdigest()[:12] if text else _NONE


def _ends(alpn: bytes) -> str:
    if not alpn:
        return "00"
    first, last = alpn[:1], alpn[-1:]
    if first.isalnum() and last.isalnum():
        return (first + last).decode("ascii")
    digits = alpn.hex()
    return digits[0] + digits[-1]
