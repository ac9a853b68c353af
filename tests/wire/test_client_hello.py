"""ClientHellos: their JA4 against published ones, their form against RFC 8446, whole, in pieces and in fragments.

The published fingerprints are facts from FoxIO's technical_details/JA4.md and from what browsers and curl_cffi's
profiles have been seen to send (JA4_r and JA4_ro: the lists that are hashed).
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shield.wire import client_hello
from shield.wire.client_hello import MOST_BYTES, MOST_LISTED, MOST_RECORDS, BadHello, Hello, habit, ja4, read

GREASE = 0x2A2A
CHROME_CIPHERS = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
CHROME_SIGNATURES = "0403,0804,0401,0503,0805,0501,0806,0601"


def numbers(text: str) -> list[int]:
    return [int(item, 16) for item in text.split(",")] if text else []


def u16(items: Sequence[int]) -> bytes:
    return struct.pack(f">{len(items)}H", *items)


def sized(data: bytes, width: int = 2) -> bytes:
    return len(data).to_bytes(width, "big") + data


def extension(kind: int, data: bytes = b"") -> bytes:
    return struct.pack(">H", kind) + sized(data)


def contents(kind: int, signatures: Sequence[int], alpn: Sequence[bytes], versions: Sequence[int]) -> bytes:
    """What an extension carries, where it is read."""
    if kind == client_hello.SERVER_NAME:
        return sized(b"\0" + sized(b"A.example"))
    if kind == client_hello.ALPN:
        return sized(b"".join(sized(name, 1) for name in alpn))
    if kind == client_hello.SIGNATURE_ALGORITHMS:
        return sized(u16(signatures))
    if kind == client_hello.SUPPORTED_VERSIONS:
        return sized(u16(versions), 1)
    if kind == client_hello.SUPPORTED_GROUPS:
        return sized(u16([GREASE, 29, 23, 24]))
    if kind == client_hello.KEY_SHARE:
        return sized(u16([GREASE]) + sized(b"\0") + u16([29]) + sized(bytes(32)))
    return b""


def message(
    ciphers: Sequence[int],
    extensions: Sequence[int] | bytes | None,
    signatures: Sequence[int] = (),
    alpn: Sequence[bytes] = (b"h2", b"http/1.1"),
    versions: Sequence[int] = (GREASE, 0x0304, 0x0303),
    legacy: int = 0x0303,
    session: bytes = bytes(32),
    compression: bytes = b"\0",
) -> bytes:
    """A handshake message. `extensions` by number, or as bytes with their length, or None for none at all."""
    body = (
        struct.pack(">H", legacy) + bytes(range(32)) + sized(session, 1) + sized(u16(ciphers)) + sized(compression, 1)
    )
    if isinstance(extensions, bytes):
        body += extensions
    elif extensions is not None:
        body += sized(b"".join(extension(kind, contents(kind, signatures, alpn, versions)) for kind in extensions))
    return b"\1" + sized(body, 3)


def records(data: bytes, *sizes: int, version: int = 0x0301) -> bytes:
    """`data` in handshake records of these sizes; the rest in a last one."""
    out = b""
    for size in sizes:
        out += struct.pack(">BHH", 22, version, size) + data[:size]
        data = data[size:]
    return out + struct.pack(">BHH", 22, version, len(data)) + data


def hello(data: bytes) -> Hello:
    found = read(data)
    assert isinstance(found, Hello)
    return found


def chrome(
    extensions: str = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015",
) -> bytes:
    return message(
        [GREASE, *numbers(CHROME_CIPHERS)], [GREASE, *numbers(extensions), 0xFAFA], numbers(CHROME_SIGNATURES)
    )


# JA4

VECTORS = {
    "JA4.md: Chrome": (
        "t13d1516h2_8daaf6152771_e5627efa2ab1",
        CHROME_CIPHERS,
        "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015",
        CHROME_SIGNATURES,
    ),
    "Opera 129, Chrome 136, Chrome 143": (
        "t13d1516h2_8daaf6152771_d8a2da3f94cd",
        CHROME_CIPHERS,
        "fe0d,0033,ff01,0017,001b,000a,0000,0010,0005,002b,002d,0012,000b,44cd,000d,0023",
        CHROME_SIGNATURES,
    ),
}


@pytest.mark.parametrize(("expected", "ciphers", "extensions", "signatures"), VECTORS.values(), ids=VECTORS)
def test_published_fingerprints(expected: str, ciphers: str, extensions: str, signatures: str) -> None:
    data = message([0x1A1A, *numbers(ciphers)], [0x3A3A, *numbers(extensions), 0xCACA], numbers(signatures))
    assert ja4(hello(records(data))) == expected


def test_published_parts() -> None:
    plain = Hello(0x0304, (), (), (), (), "", (), ())
    exts = tuple(numbers("0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01"))
    assert ja4(plain._replace(extensions=exts)).endswith("_6d807ffa2a79"), "without signature algorithms no underscore"
    assert ja4(plain) == "t13i000000_000000000000_000000000000", "empty lists are not hashed"
    assert ja4(plain._replace(ciphers=tuple(range(120)), extensions=tuple(range(100, 220)))).startswith("t13i999900_")


@pytest.mark.parametrize(
    ("alpn", "expected"),
    [
        (b"", "00"),
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"0\xab", "3b"),
        (b"01\xab\xcd", "3d"),
        (b"0\xab\xcd1", "01"),
    ],
)
def test_first_and_last_character_of_alpn(alpn: bytes, expected: str) -> None:
    assert ja4(Hello(0x0303, (), (), (), (alpn,), "", (), ()))[8:10] == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [(0x0304, "13"), (0x0303, "12"), (0x0302, "11"), (0x0301, "10"), (0x0300, "s3"), (0x0002, "s2"), (0x7F1C, "00")],
)
def test_versions(version: int, expected: str) -> None:
    assert ja4(hello(records(message([0x1301], None, legacy=version))))[1:3] == expected
    offered = message([0x1301], [43], versions=[GREASE, version], legacy=0x0303)
    assert ja4(hello(records(offered)))[1:3] == expected


def test_order_and_grease_change_nothing() -> None:
    shuffled = chrome("0015,000a,000b,ff01,002b,0012,0023,0005,000d,002d,0017,4469,0010,0033,0000,001b")
    assert ja4(hello(records(shuffled))) == ja4(hello(records(chrome())))


# the habit


@pytest.mark.parametrize(
    "extensions",
    [
        "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a",  # no padding needed
        "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0029",  # resumed
        "001b,0000,0033,0010,4469,002a,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0029",  # with early data
        "001b,0000,0033,0010,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a",  # a WebSocket: no h2, no ALPS
        "001b,0000,0033,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a",  # no ALPN
    ],
)
def test_one_program_has_one_habit(extensions: str) -> None:
    other = hello(records(chrome(extensions)))
    assert ja4(other) != ja4(hello(records(chrome())))
    assert habit(other) == habit(hello(records(chrome())))


def test_other_programs_have_others() -> None:
    fewer = hello(records(chrome("001b,0000,0033,0010,4469,0017,002d,000d,0005,0012,002b,ff01,000b,000a,0015")))
    assert habit(fewer) != habit(hello(records(chrome())))


def test_a_client_that_resumes_its_session_keeps_its_habit(tls) -> None:  # type: ignore[no-untyped-def]
    """What OpenSSL sends, first and with a ticket."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tls.certificate, tls.key)
    client = ssl.create_default_context(cafile=str(tls.authority))
    session = None
    hellos = []
    for _ in range(2):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
        theirs = server.wrap_bio(to_server, to_client, server_side=True)
        with pytest.raises(ssl.SSLWantReadError):
            ours.do_handshake()
        data = to_server.read()
        hellos.append(hello(data))
        to_server.write(data)
        with pytest.raises(ssl.SSLWantReadError):
            theirs.do_handshake()
        ours.do_handshake()
        theirs.do_handshake()
        theirs.write(b"x")
        ours.read(1)  # and the tickets before it
        session = ours.session
    assert ours.session_reused
    first, second = hellos
    assert first.server_name == "localhost"
    assert ja4(first) != ja4(second)
    assert habit(first) == habit(second)


# the form


def test_what_is_read() -> None:
    found = hello(records(chrome()))
    assert found.version == 0x0304
    assert found.server_name == "a.example", "in lower case"
    assert found.protocols == (b"h2", b"http/1.1")
    assert found.groups == (29, 23, 24)
    assert found.shares == (29,)
    assert found.ciphers == tuple(numbers(CHROME_CIPHERS))
    assert GREASE not in found.extensions


def test_a_hello_without_extensions() -> None:
    found = hello(records(message([0x002F], None, session=b"")))
    assert found == Hello(0x0303, (0x002F,), (), (), (), "", (), ())


def test_byte_by_byte() -> None:
    data = records(chrome(), 3, 40)
    for size in range(len(data)):
        needed = read(data[:size])
        assert isinstance(needed, int)
        assert size < needed <= len(data), "never waits for what may not come"
    assert isinstance(read(data), Hello)
    assert isinstance(read(data + b"\x14\x03\x03\x00\x01\x01"), Hello), "what follows is OpenSSL's"


@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1, 1, 1), (4,), (60, 70, 80), (1,) * (MOST_RECORDS - 1)])
def test_fragments(sizes: tuple[int, ...]) -> None:
    assert hello(records(chrome(), *sizes)) == hello(records(chrome()))


def many(kind: str, count: int) -> bytes:
    """A hello with so many entries in one of its lists."""
    listed = range(0x2000, 0x2000 + count)
    extensions = {
        "suites": b"",
        "extensions": b"".join(extension(0x2000 + n) for n in range(count)),
        "signatures": extension(client_hello.SIGNATURE_ALGORITHMS, sized(u16(listed))),
        "groups": extension(client_hello.SUPPORTED_GROUPS, sized(u16(listed))),
        "keys": extension(client_hello.KEY_SHARE, sized(b"".join(u16([n]) + sized(b"k") for n in listed))),
        "protocols": extension(client_hello.ALPN, sized(b"".join(sized(b"h", 1) for _ in listed))),
    }[kind]
    return records(message(listed if kind == "suites" else [0x1301], sized(extensions)))


@pytest.mark.parametrize("kind", ["suites", "extensions", "signatures", "groups", "keys", "protocols"])
def test_a_hello_that_is_dearer_to_read_than_a_handshake_is_refused(kind: str) -> None:
    """7,900 suites in 16 KiB took 2 ms to read, sort and hash, before any limit of handshakes."""
    assert isinstance(read(many(kind, MOST_LISTED)), Hello)
    with pytest.raises(BadHello, match=r"more (extensions )?than there are"):
        read(many(kind, MOST_LISTED + 1))


def test_a_large_hello() -> None:
    room = MOST_BYTES - len(message([0x1301], [43])) - 4 - 5
    extensions = sized(extension(43, sized(u16([0x0304]), 1)) + extension(21, bytes(room)))
    data = message([0x1301], extensions, versions=[0x0304])
    assert isinstance(read(records(data)), Hello)


E43 = extension(43, sized(u16([0x0304]), 1))
INVALID = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "one letter": b"G",
    "an alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "SSLv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    "RFC 8446 5.1: another version of the record layer": b"\x16\x04",
    "RFC 8446 5.1: an empty fragment": b"\x16\x03\x01\x00\x00",
    "RFC 8446 5.1: a fragment of more than 2^14 bytes": b"\x16\x03\x01\x40\x01",
    "RFC 8446 4: another message": b"\x16\x03\x01\x00\x64\x02",
    "RFC 8446 4: another message, whole": records(b"\2" + chrome()[1:]),
    "too long, said at once": b"\x16\x03\x01\x02\x00\x01\x00\x40\x00" + bytes(0x200 - 4),
    "too long, in fragments": records(b"\1" + sized(bytes(16_000), 3), 8000, 8000, 3),
    "too many records": records(chrome(), *[1] * MOST_RECORDS),
    "a second message in the record": records(chrome() + b"\x0b"),
    "a body of nothing": records(b"\1\0\0\0"),
    "cut short in the random": records(b"\1" + sized(bytes(20), 3)),
    "4.1.2: a session id of 33 bytes": records(message([0x1301], [43], session=bytes(33))),
    "4.1.2: no suites": records(message([], [43])),
    "4.1.2: an odd list of suites": records(
        b"\1" + sized(b"\3\3" + bytes(32) + b"\0" + b"\0\3\x13\x01\x13" + b"\1\0" + sized(E43), 3)
    ),
    "4.1.2: suites beyond the end": records(b"\1" + sized(b"\3\3" + bytes(32) + b"\0" + b"\x10\0\x13\x01", 3)),
    "4.1.2: no compression methods": records(message([0x1301], [43], compression=b"")),
    "4.1.2: compression methods beyond the end": records(
        b"\1" + sized(b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\x01" + b"\x09\0", 3)
    ),
    "4.2: half a length": records(message([0x1301], b"\0")),
    "4.2: fewer extensions than said": records(message([0x1301], b"\0\x40" + E43)),
    "4.2: more extensions than said": records(message([0x1301], sized(E43) + b"\0")),
    "4.2: half an extension": records(message([0x1301], sized(E43 + b"\0\x0d"))),
    "4.2: an extension beyond the end": records(message([0x1301], sized(E43 + b"\0\x0d\0\x09\0"))),
    "4.2: an extension twice": records(message([0x1301], sized(E43 + E43))),
    "4.2.1: no version": records(message([0x1301], sized(extension(43, b"\0")))),
    "4.2.1: nothing": records(message([0x1301], sized(extension(43)))),
    "4.2.1: an odd list": records(message([0x1301], sized(extension(43, b"\1\3")))),
    "4.2.3: an odd list": records(message([0x1301], sized(extension(13, b"\0\1\4")))),
    "4.2.3: a longer list than said": records(message([0x1301], sized(extension(13, b"\0\2\4\3\4\3")))),
    "4.2.7: nothing": records(message([0x1301], sized(extension(10)))),
    "4.2.8: a share without a key": records(message([0x1301], sized(extension(51, sized(u16([29]) + b"\0\0"))))),
    "4.2.8: half a share": records(message([0x1301], sized(extension(51, sized(u16([29]) + b"\0\x20" + bytes(9)))))),
    "4.2.8: half a group": records(message([0x1301], sized(extension(51, sized(b"\0"))))),
    "RFC 6066 3: an empty list": records(message([0x1301], sized(extension(0, sized(b""))))),
    "RFC 6066 3: nothing": records(message([0x1301], sized(extension(0)))),
    "RFC 6066 3: an empty name": records(message([0x1301], sized(extension(0, sized(b"\0\0\0"))))),
    "RFC 6066 3: another kind of name": records(message([0x1301], sized(extension(0, sized(b"\1" + sized(b"a")))))),
    "RFC 6066 3: two names": records(
        message([0x1301], sized(extension(0, sized(b"\0" + sized(b"a") + b"\0" + sized(b"b")))))
    ),
    "RFC 6066 3: not ASCII": records(message([0x1301], sized(extension(0, sized(b"\0" + sized(b"\xc3\xa4")))))),
    "RFC 6066 3: too long": records(message([0x1301], sized(extension(0, sized(b"\0" + sized(b"a" * 256)))))),
    "RFC 7301 3.1: no name": records(message([0x1301], sized(extension(16, sized(b""))))),
    "RFC 7301 3.1: an empty name": records(message([0x1301], sized(extension(16, sized(b"\0"))))),
    "RFC 7301 3.1: an empty name behind another": records(message([0x1301], sized(extension(16, sized(b"\2h2\0"))))),
    "RFC 7301 3.1: a name beyond the end": records(message([0x1301], sized(extension(16, sized(b"\x09h2"))))),
}


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
def test_what_is_no_hello_is_refused(data: bytes) -> None:
    with pytest.raises(BadHello):
        read(data)


@given(st.binary(max_size=400) | st.binary(max_size=400).map(lambda body: records(b"\1" + sized(body, 3))))
def test_any_bytes_are_a_hello_or_too_few_or_refused(data: bytes) -> None:
    try:
        found = read(data)
    except BadHello:
        return
    if isinstance(found, int):
        assert len(data) < found <= MOST_BYTES + 5
    else:
        habit(found)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_hello_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(records(chrome(), 100))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read(bytes(whole))
    except BadHello:
        return
    if isinstance(found, Hello):
        assert len(ja4(found)) == 36
