"""Who may ask the admin listener what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shield.errors import StartError
from shield.operator.access import MOST_TOKENS, Access, DeniedError, is_near

READ, WRITE = "r" * 32, "w" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path, f"# who may\nwrite {WRITE} alice  # on call\n\nread {READ}\n")


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


def ask(access: Access, peer: str, token: str = "", role: str = "write", forwarded: bool = False) -> str:
    """The name of who asks, or the status of the refusal."""
    try:
        return access.check(peer, forwarded, f"Bearer {token}" if token else "", role).name  # type: ignore[arg-type]
    except DeniedError as error:
        return str(error.status)


@pytest.mark.parametrize("peer", ["", "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_who_is_on_the_machine_needs_no_token(file: Path, peer: str) -> None:
    assert is_near(peer)
    assert ask(Access(str(file)), peer) == ask(Access(), peer) == ""


@pytest.mark.parametrize("peer", ["192.0.2.1", "10.0.0.1", "fe80::1%eth0", "2001:db8::1", "nonsense"])
def test_who_is_not_needs_one(file: Path, peer: str) -> None:
    access = Access(str(file))
    assert not is_near(peer)
    assert ask(access, peer) == ask(access, peer, "x" * 32) == ask(access, peer, role="read") == "401"
    assert ask(access, peer, WRITE) == ask(access, peer, WRITE, "read") == "alice"
    assert ask(access, peer, READ, "read") == ""
    assert ask(access, peer, READ) == "403"


def test_without_a_file_who_is_elsewhere_may_read_as_ever() -> None:
    assert ask(Access(), "192.0.2.1", role="read") == ""
    assert ask(Access(), "192.0.2.1") == "403"


def test_what_a_proxy_passes_on_is_not_from_this_machine(file: Path) -> None:
    assert ask(Access(str(file)), "127.0.0.1", forwarded=True) == "401"
    assert ask(Access(), "127.0.0.1", forwarded=True) == "403"
    assert ask(Access(str(file)), "127.0.0.1", WRITE, forwarded=True) == "alice"


@pytest.mark.parametrize("said", ["", "Basic dTpw", f"Bearer{WRITE}", "Bearer ", f"Bearer {WRITE[:-1]}", "bearer \xff"])
def test_what_is_no_token_of_ours(file: Path, said: str) -> None:
    with pytest.raises(DeniedError):
        Access(str(file)).check("192.0.2.1", False, said, "read")
    assert Access(str(file)).check("192.0.2.1", False, f"BEARER  {WRITE} ", "read").name == "alice"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has 0 tokens"),
        ("write short bob", "line 1: a line is a role"),
        (f"admin {WRITE}", "openssl rand -hex 32"),
        (f"write {WRITE} two names", "line 1"),
        (f"write {WRITE}\nread", "line 2"),
        (f"write {WRITE} {'n' * 65}", "line 1"),
        (f"read {READ}\n" * (MOST_TOKENS + 1), "allowed: 1 to 100"),
        ("\0", "is no file of tokens"),
        ("#" * 70_000, "is no file of tokens"),
    ],
)
def test_a_file_with_a_mistake_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(StartError) as refused:
        Access(str(write(tmp_path, text)))
    assert told in str(refused.value)
    assert WRITE not in str(refused.value)


def test_a_file_that_others_can_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    for mode in (0o644, 0o620, 0o604):
        with pytest.raises(StartError, match="run: chmod 600"):
            Access(str(write(tmp_path, f"read {READ}", mode)))
    Access(str(write(tmp_path, f"read {READ}", 0o640)))  # a group may be given it
    with pytest.raises(StartError, match="No such file"):
        Access(str(tmp_path / "none"))
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(StartError, match="is no file of tokens"):
        Access(str(tmp_path / "pipe"))
