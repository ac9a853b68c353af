"""The names in a certificate, which the ssl module tells of a peer's certificate only, and never of one's own.

Just as much DER (X.690) as it takes to reach the subjectAltName extension (RFC 5280 section 4.2.1.6). The bytes are the
operator's own; what has another form is a ValueError.
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


def names_in_chain(pem: str) -> tuple[str, ...]:
    """The names and IP addresses that the first certificate in `pem` is for, in lower case; "*.a.example" as it is.

    A name in the subject does not count: no browser has taken it since 2017 (RFC 9525 section 2). Raises ValueError.
    """
    match = _PEM.search(pem)
    if match is None:
        raise ValueError("no certificate in it")
    return names(ssl.PEM_cert_to_DER_cert(match[0]))


def names(der: bytes) -> tuple[str, ...]:
    """The same of one certificate."""
    (certificate,) = _within(der, _SEQUENCE)
    to_be_signed = next(_elements(certificate))[1]
    for tag, content in _elements(to_be_signed):
        if tag == _EXTENSIONS:
            (extensions,) = _within(content, _SEQUENCE)
            for _, extension in _elements(extensions):
                parts = dict(_elements(extension))  # OID, perhaps BOOLEAN, OCTET STRING
                if parts.get(_OID) == _SUBJECT_ALT_NAME:
                    (general_names,) = _within(parts[_OCTETS], _SEQUENCE)
                    return tuple(_texts(general_names))
    return ()


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
