"""The names in a certificate, the algorithm of its key, and when it holds. The ssl module tells these of a peer's
certificate only.

This reads as much DER (X.690) as it takes to reach the subjectAltName extension (RFC 5280 section 4.2.1.6), the
algorithm of the key (section 4.1.2.7) and the validity (section 4.1.2.5). The bytes are the operator's own; what has
another form is a ValueError.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterator
from typing import Final

_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")

_SEQUENCE: Final = 0x30
_OID: Final = 0x06
_OCTETS: Final = 0x04
_EXTENSIONS: Final = 0xA3  # [3] of TBSCertificate (RFC 5280 section 4.1)
_SUBJECT_ALT_NAME: Final = bytes((0x55, 0x1D, 0x11))  # 2.5.29.17
_DNS_NAME: Final = 0x82
_IP_ADDRESS: Final = 0x87
_TIMES: Final = {
    0x17: re.compile(rb"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z"),  # UTCTime
    0x18: re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z"),  # GeneralizedTime
}
_MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


_NOTHING: Final = (0, b"")
_KEYS: Final = {
    bytes.fromhex("2a864886f70d010101"): "RSA",  # RFC 8017 appendix C
    bytes.fromhex("2a864886f70d01010a"): "RSA-PSS",
    bytes.fromhex("2a8648ce3d0201"): "ECDSA",  # RFC 5480 section 2.1.1
    bytes.fromhex("2b6570"): "Ed25519",  # RFC 8410 section 3
    bytes.fromhex("2b6571"): "Ed448",
}


def first_in_chain(pem: str) -> bytes:
    """The first certificate in `pem`, which is the server's own, as DER. Raises ValueError."""
    match = _PEM.search(pem)
    if match is None:
        raise ValueError("no certificate in it")
    return ssl.PEM_cert_to_DER_cert(match[0])


def key_kind(der: bytes) -> str:
    """The algorithm of the certificate's key. OpenSSL has room for one certificate of each. Raises ValueError."""
    identifier = next(_elements(_parts(der)[4]), _NOTHING)[1]
    algorithm = next(_elements(identifier), _NOTHING)[1]
    return _KEYS.get(algorithm) or f"algorithm {algorithm.hex()}"


def validity(der: bytes) -> tuple[int, int]:
    """From when to when a certificate holds, in seconds since 1970. Raises ValueError."""
    begin, end = (_seconds(tag, content) for tag, content in _elements(_parts(der)[2]))
    return begin, end


def _seconds(tag: int, content: bytes) -> int:
    found = _TIMES[tag].fullmatch(content) if tag in _TIMES else None
    if found is None:
        raise ValueError("not a certificate")
    year, month, day, hour, minute, second = (int(each) for each in found.groups())
    if len(found[1]) == 2:
        year += 1900 if year >= 50 else 2000  # RFC 5280 section 4.1.2.5.1
    if not 1 <= month <= 12:
        raise ValueError("not a certificate")
    return ssl.cert_time_to_seconds(f"{_MONTHS[month - 1]} {day:2d} {hour:02d}:{minute:02d}:{second:02d} {year} GMT")


def _parts(der: bytes) -> list[bytes]:
    """Signature, issuer, validity, subject, subjectPublicKeyInfo. Raises ValueError."""
    sequences = _within(_to_be_signed(der), _SEQUENCE)
    if len(sequences) < 5:
        raise ValueError("not a certificate")
    return sequences


def names(der: bytes) -> tuple[str, ...]:
    """The names and IP addresses that a certificate is for, in lower case, wildcards as they are written.

    A name in the subject does not count: no browser has taken it since 2017 (RFC 9525 section 2). Raises ValueError.
    """
    for tag, content in _elements(_to_be_signed(der)):
        if tag == _EXTENSIONS:
            (extensions,) = _within(content, _SEQUENCE)
            for _, extension in _elements(extensions):
                parts = dict(_elements(extension))  # OID, perhaps BOOLEAN, OCTET STRING
                if parts.get(_OID) == _SUBJECT_ALT_NAME:
                    (general_names,) = _within(parts[_OCTETS], _SEQUENCE)
                    return tuple(_texts(general_names))
    return ()


def _to_be_signed(der: bytes) -> bytes:
    (certificate,) = _within(der, _SEQUENCE)
    return next(_elements(certificate), _NOTHING)[1]


def _texts(general_names: bytes) -> Iterator[str]:
    for tag, content in _elements(general_names):
        if tag == _DNS_NAME:
            yield content.decode("ascii").lower()
        elif tag == _IP_ADDRESS:
            yield str(ipaddress.ip_address(content))


def _within(data: bytes, wanted: int) -> list[bytes]:
    return [content for tag, content in _elements(data) if tag == wanted]


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element; tags of one byte, lengths of at most three."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1] if at + 1 < len(data) else 0xFF
        at += 2
        if size > 0x83 or size == 0x80:
            raise ValueError("not a certificate")
        if size > 0x7F:
            width = size - 0x80
            size = int.from_bytes(data[at : at + width], "big")
            at += width
        if at + size > len(data):
            raise ValueError("not a certificate")
        yield tag, data[at : at + size]
        at += size
