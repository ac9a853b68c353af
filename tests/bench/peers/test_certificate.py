"""A certificate for the run, by trustme as by openssl."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from bench.peers import certificate
from tests.bench.serving import server_context


class TestCertificate:
    @pytest.mark.parametrize("tool", ["trustme", "openssl"])
    def test_both_ways_make_one_for_the_address(
        self, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if tool == "openssl":
            monkeypatch.setattr(certificate, "trustme", None)
        if why := certificate.missing():
            pytest.skip(why)
        made = certificate.make(tmp_path)
        server_context(made)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.both)
        cryptography = pytest.importorskip("cryptography.x509")
        found = cryptography.load_pem_x509_certificate(made.chain.read_bytes())
        assert found.public_key().curve.name == "secp256r1"
        names = found.extensions.get_extension_for_class(cryptography.SubjectAlternativeName).value
        assert [str(name) for name in names.get_values_for_type(cryptography.IPAddress)] == ["127.0.0.1"]
        assert made.key.stat().st_mode & 0o77 == made.both.stat().st_mode & 0o77 == 0

    def test_without_either_it_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(certificate, "trustme", None)
        monkeypatch.setattr(certificate.shutil, "which", lambda _: None)
        assert certificate.missing()
        with pytest.raises(RuntimeError, match="openssl"):
            certificate.make(tmp_path)
