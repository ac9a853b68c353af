"""One question to the admin listener: where that is, and what is no answer of its."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shield.console import client
from shield.console.client import DEFAULT, Admin, UnreachableError, find
from shield.operator.server import AdminSettings


@contextmanager
def answering(answer: bytes, path: Path | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that says this to whoever comes first; its address, and what it was asked."""
    asked: list[bytes] = []
    server = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
    server.bind(("127.0.0.1", 0) if path is None else str(path))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            data = connection.recv(65_536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: ([0-9]+)", head)
            while length is not None and len(body) < int(length[1]):
                body += connection.recv(65_536)
            asked.append(head + b"\r\n")
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}" if path is None else f"unix:{path}", asked
    thread.join(10)
    server.close()


def http(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


@pytest.mark.parametrize("unix", [False, True])
def test_a_question_and_its_answer(unix: bool, tmp_path: Path) -> None:
    with answering(http('{"a": 1}', "422 No"), tmp_path / "socket" if unix else None) as (address, asked):
        assert Admin(address, "t" * 20).ask("POST", "/api/rules", {"kind": "ban"}) == (422, {"a": 1})
    (head,) = asked
    assert head.startswith(b"POST /api/rules HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in head
    assert b"Authorization: Bearer " + b"t" * 20 in head


@pytest.mark.parametrize("answer", [http("<html>"), http("[]"), b"SSH-2.0-x\r\n", b"", http("{}")[:20]])
def test_somebody_else_answers(answer: bytes) -> None:
    with answering(answer) as (address, _), pytest.raises(UnreachableError) as error:
        Admin(address).ask("GET", "/api/rules")
    assert address in str(error.value)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "unix:/nowhere/socket", "unix:/" + "x" * 200])
def test_nobody_answers(address: str) -> None:
    with pytest.raises(UnreachableError, match="Is Shield running"):
        Admin(address).ask("GET", "/api/rules")


def test_what_is_no_address() -> None:
    with pytest.raises(UnreachableError, match="is no address"):
        Admin("nowhere").ask("GET", "/")


def test_which_listener_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert AdminSettings().address == DEFAULT
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(client, "CONFIGS", ("config.toml", str(tmp_path / "etc.toml")))
    for name in ("SHIELD_ADMIN", "SHIELD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert find(None, None, None).address == DEFAULT
    Path("etc.toml").write_text('[admin]\naddress = "unix:/run/etc.sock"\n')
    assert find(None, None, None).address == "unix:/run/etc.sock"
    Path("config.toml").write_text("dry_run = true\n")
    assert find(None, None, None).address == DEFAULT
    assert find(None, "etc.toml", None).address == "unix:/run/etc.sock"
    monkeypatch.setenv("SHIELD_ADMIN", "10.0.0.1:1")
    assert find(None, "etc.toml", None).address == "10.0.0.1:1"
    assert find("10.0.0.2:1", "etc.toml", None).address == "10.0.0.2:1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[admin", "does not say where"),
        ('admin = "x"', "does not say where"),
        ('[admin]\naddress = ""', "no admin.add"),
    ],
)
def test_a_config_that_names_none(text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHIELD_ADMIN", raising=False)
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UnreachableError, match=told):
        find(None, str(path), None)


def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIELD_TOKEN", "from-the-environment")
    path = tmp_path / "token"
    assert find("a:1", None, None)._token == "from-the-environment"
    for text in ("mine\n", "write mine alice\n", "read mine"):
        path.write_text(text)
        assert find("a:1", None, str(path))._token == "mine"
    path.write_text("")
    with pytest.raises(UnreachableError, match="holds no token"):
        find("a:1", None, str(path))
    with pytest.raises(UnreachableError, match="cannot be read"):
        find("a:1", None, str(tmp_path / "none"))


def test_an_address_that_stands_for_all_is_asked_here() -> None:
    for address in (":1", "0.0.0.0:1", "[::]:1"):
        assert client.Admin(address).connection().host == "localhost"
    assert client.Admin("[::1]:1").connection().host == "::1"
