"""The names in certificates."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest
import trustme

from shield.wire.certificate import first_in_chain, key_kind, names, validity


def der(*identities: str, common_name: str | None = None) -> bytes:
    issued = trustme.CA().issue_cert(*identities, common_name=common_name)
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def test_names_and_addresses() -> None:
    assert names(der("A.example", "*.b.example", "192.0.2.1", "2001:db8::1")) == (
        "a.example",
        "*.b.example",
        "192.0.2.1",
        "2001:db8::1",
    )


def test_many_names() -> None:
    many = tuple(f"host-{n}.example" for n in range(2000))
    assert names(der(*many)) == many, "lengths of three bytes"


def test_a_common_name_is_no_name() -> None:
    assert names(der("a.example", common_name="b.example")) == ("a.example",)


def test_other_kinds_of_names_are_left_out() -> None:
    assert names(der("a.example", "me@a.example")) == ("a.example",)


def test_the_first_of_a_chain(tls) -> None:  # type: ignore[no-untyped-def]
    chain = tls.key.read_text() + tls.certificate.read_text() + tls.authority.read_text()
    assert names(first_in_chain(chain)) == ("localhost", "127.0.0.1", "::1")
    assert names(first_in_chain(tls.authority.read_text())) == (), "an authority's is for no host"


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN CERTIFICATE-----"])
def test_no_certificate(text: str) -> None:
    with pytest.raises(ValueError, match="no certificate"):
        first_in_chain(text)


def test_kinds_of_keys() -> None:
    authority = trustme.CA()
    for kind in (trustme.KeyType.RSA, trustme.KeyType.ECDSA):
        issued = authority.issue_cert("a.example", key_type=kind)
        assert key_kind(first_in_chain(issued.cert_chain_pems[0].bytes().decode())) == kind.name


def test_a_kind_of_key_that_has_no_name_here_is_one_of_its_own() -> None:
    whole = der("a.example")
    ec = bytes.fromhex("06072a8648ce3d0201")
    assert whole.count(ec) == 1
    assert key_kind(whole.replace(ec, ec[:-1] + b"\x7f")) == "algorithm 2a8648ce3d027f"


@pytest.mark.parametrize("year", [1950, 1999, 2049, 2050, 2199])  # from 2050 on as GeneralizedTime
def test_when_it_holds(year: int) -> None:
    begin = dt.datetime(year, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    end = begin + dt.timedelta(days=90)
    issued = trustme.CA().issue_cert("a.example", not_before=begin, not_after=end)
    found = validity(ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()))
    assert found == (begin.timestamp(), end.timestamp())


@pytest.mark.parametrize("wrong", [b"500101000000+", b"501301000000Z", b"50010100000xZ"])
def test_times_that_are_none(wrong: bytes) -> None:
    begin = dt.datetime(1950, 1, 1, tzinfo=dt.UTC)
    issued = trustme.CA().issue_cert("a.example", not_before=begin)
    whole = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    assert whole.count(b"500101000000Z") == 1
    with pytest.raises(ValueError, match="not a certificate"):
        validity(whole.replace(b"500101000000Z", wrong))


def test_what_is_cut_short_is_an_error_and_not_a_crash(tls) -> None:  # type: ignore[no-untyped-def]
    whole = der("a.example")
    for size in range(len(whole)):
        with pytest.raises(ValueError):  # noqa: PT011 - any
            names(whole[:size])
        with pytest.raises(ValueError):  # noqa: PT011
            key_kind(whole[:size])
        with pytest.raises(ValueError):  # noqa: PT011
            validity(whole[:size])


def test_lengths_that_no_certificate_has() -> None:
    for data in (b"\x30\x84\0\0\0\0", b"\x30\x80\0\0", b"\x30"):
        with pytest.raises(ValueError, match=r"not a certificate|not enough values"):
            names(data)
