"""Who may ask the admin listener what.

    over the unix socket, from loopback     everything: whoever is on the machine, or may open the socket
    from elsewhere, or through a proxy      by a token of `admin.token_file`, as far as its role goes. Without that file
                                            they may read, as ever, and change nothing

A line of the file is a role, a token and perhaps a name, which the audit list gets: `write 7f3a... alice`. A token that
may write may read. Roles: read, write. Comments begin with "#". Tokens are compared by their digests, all of them and
in constant time (hmac.compare_digest), so that no answer says by its time how near a guess was.
"""

from __future__ import annotations

import hmac
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal

from shield.errors import StartError
from shield.operator.desk import Asker

Role = Literal["read", "write"]

MAX_BYTES: Final = 65_536
MOST_TOKENS: Final = 100
LEAST_CHARS: Final = 20
MOST_CHARS: Final = 200
NAME_CHARS: Final = 64
_TOKEN: Final = re.compile(rf"[!-~]{{{LEAST_CHARS},{MOST_CHARS}}}")
_BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the file: what it allows, the digest of the token, and whose it is."""

    role: Role
    digest: bytes
    name: str


class DeniedError(Exception):
    """The asker may not. `status` is 401 where a token would help, else 403."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Access:
    """The tokens, and who needs one. `file` is `admin.token_file`; raises StartError when that cannot be used."""

    __slots__ = ("_file", "_tokens")

    def __init__(self, file: str = "") -> None:
        self._file = file
        self._tokens: Sequence[Token] = read_tokens(Path(file)) if file else ()

    def check(self, peer: str, forwarded: bool, authorization: str, role: Role) -> Asker:
        """Who asks, or DeniedError. `peer` is a textual address, "" over a unix socket; `forwarded`: a proxy passes it
        on."""
        if not forwarded and is_near(peer):
            return Asker("", peer)
        if not self._file:
            if role == "read":
                return Asker("", peer)
            raise DeniedError(
                403,
                "Without admin.token_file nothing can be changed from another machine. Ask from this one, or set it.",
            )
        found = self._find(authorization)
        if found is None:
            raise DeniedError(401, "A token of admin.token_file is needed: Authorization: Bearer TOKEN")
        if role == "write" and found.role != "write":
            raise DeniedError(403, "This token may read, and not change anything.")
        return Asker(found.name, peer)

    def _find(self, authorization: str) -> Token | None:
        if authorization[: len(_BEARER)].lower() != _BEARER:
            return None
        digest = sha256(authorization[len(_BEARER) :].strip().encode("utf-8", "surrogateescape")).digest()
        found = None
        for token in self._tokens:  # all of them, whichever it is
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found


def is_near(peer: str) -> bool:
    """Whether somebody is on this machine: at its unix socket, or at loopback."""
    if not peer:
        return True
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a file. StartError for one that cannot be read, that others can, or with a line that is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would keep us waiting
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            data = file.read(MAX_BYTES + 1) if stat.S_ISREG(found.st_mode) else b"\0"
    except OSError as error:
        raise StartError(f"admin.token_file: cannot read {path}: {error.strerror}") from error
    if stat.S_IMODE(found.st_mode) & 0o027:
        mode = stat.S_IMODE(found.st_mode)
        raise StartError(f"admin.token_file: {path} has mode {mode:04o}, so others can use it; run: chmod 600 {path}")
    if len(data) > MAX_BYTES or b"\0" in data:
        raise StartError(f"admin.token_file: {path} is no file of tokens")
    tokens = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        role, token, name = (*words, "", "")[:3]
        if role not in ("read", "write") or not _TOKEN.fullmatch(token) or len(words) > 3 or len(name) > NAME_CHARS:
            raise StartError(
                f"admin.token_file: {path}, line {number}: a line is a role (read or write), a token of {LEAST_CHARS} "
                f"to {MOST_CHARS} characters, and perhaps a name. A good token: openssl rand -hex 32"
            )
        tokens.append(Token("write" if role == "write" else "read", sha256(token.encode()).digest(), name))
    if not 1 <= len(tokens) <= MOST_TOKENS:
        raise StartError(f"admin.token_file: {path} has {len(tokens)} tokens; allowed: 1 to {MOST_TOKENS}")
    return tokens
