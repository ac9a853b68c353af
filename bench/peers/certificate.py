"""A certificate for the TLS runs: made when they begin, gone with their folder, and checked by no client here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.peers.plan import Certificate

try:
    import trustme  # the test extra
except ImportError:
    trustme = None  # type: ignore[assignment]


def missing() -> str | None:
    """Why none can be made here, or None."""
    return None if trustme or shutil.which("openssl") else "neither trustme (the test extra) nor openssl on PATH"


def make(folder: Path) -> Certificate:
    """An ECDSA P-256 key and a certificate for 127.0.0.1, in PEM files under `folder`.

    Raises RuntimeError when `missing`, and subprocess.SubprocessError when openssl fails.
    """
    made = Certificate(folder / "chain.pem", folder / "key.pem", folder / "both.pem")
    if trustme is not None:
        issued = trustme.CA().issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.ECDSA)
        made.chain.write_bytes(issued.cert_chain_pems[0].bytes())
        made.key.write_bytes(issued.private_key_pem.bytes())
    elif shutil.which("openssl"):
        argv = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ]
        argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        argv += ["-keyout", str(made.key), "-out", str(made.chain)]
        subprocess.run(argv, capture_output=True, timeout=20, check=True)
    else:
        raise RuntimeError(f"no certificate: {missing()}")
    made.both.write_bytes(made.chain.read_bytes() + made.key.read_bytes())
    for path in (made.key, made.both):
        path.chmod(0o600)
    return made
