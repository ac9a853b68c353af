"""Real stores as operators run them: with users of few rights, TLS, Sentinels, and as a Valkey or Redis Cluster."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from shield.cluster.settings import ClusterSettings
from shield.cluster.store import MISSING, LostError
from shield.cluster.store import Store as Client
from shield.errors import StartError
from tests.cluster.conftest import SERVER, Machines, Store, banned, free_port, misbehave, rounds

ROOT = Path(__file__).parents[2]


def rights() -> list[str]:
    """Those that the page says are needed."""
    page = (ROOT / "docs" / "cluster.md").read_text("utf-8")
    found = re.search(r"ACL SETUSER shield on >PASSWORD ([^`]*)```", page)
    assert found is not None
    return found[1].split()


async def test_the_rights_that_the_page_names_are_enough(machines: Machines, store: Store, tmp_path: Path) -> None:
    assert store.do("ACL", "SETUSER", "shield", "on", ">secret", *rights()).startswith(b"+OK")
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    url = f"valkey://shield@127.0.0.1:{store.port}"
    a, b = machines("a", url, password_file=str(password)), machines("b", url, password_file=str(password))
    await rounds(a, b)
    misbehave(a)
    for _ in range(150):
        a.ask("192.0.2.8")
    await rounds(a, b)
    assert banned(b)
    await b.node.leave(True)
    await rounds(a, times=1)
    assert a.node.members.names == ("a",)
    store.do("ACL", "DELUSER", "shield")


async def test_another_name_than_the_user_may_use_is_refused(machines: Machines, store: Store, tmp_path: Path) -> None:
    store.do("ACL", "SETUSER", "shield", "on", ">secret", *rights())
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o600)
    other = machines("a", f"valkey://shield@127.0.0.1:{store.port}", name="other", password_file=str(password))
    with pytest.raises(LostError, match=r"(?i)permission"):
        await other.node.round()
    store.do("ACL", "DELUSER", "shield")


async def test_a_password_that_others_can_read_is_refused(store: Store, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o644)
    with pytest.raises(StartError, match="chmod 600"):
        Client(ClusterSettings(store=store.url, password_file=str(password)))
    with pytest.raises(StartError, match="cannot read"):
        Client(ClusterSettings(store=store.url, password_file=str(tmp_path / "none")))


async def test_over_tls_the_certificate_is_checked(machines: Machines, store: Store, tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    port = free_port()
    options = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "ca.pem"]
    plain = free_port()
    server = Store(tmp_path, plain, "--tls-port", str(port), "--tls-auth-clients", "no", *options)
    try:
        url = f"valkeys://127.0.0.1:{port}"
        one = machines("a", url, ca_file=str(tmp_path / "ca.pem"))
        await rounds(one)
        assert one.node.members.names == ("a",)
        wrong = machines("b", url, ca_file=str(tmp_path / "other.pem"))
        with pytest.raises(LostError, match=r"(?i)certificate"):
            await wrong.node.round()
    finally:
        server.close()


@pytest.fixture
def sentinel(store: Store, tmp_path: Path) -> Iterator[int]:
    """The port of a sentinel that watches the store."""
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {store.port} 1\n")
    process = subprocess.Popen(
        [str(SERVER), str(config), "--sentinel"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(0.1)
    yield port
    process.kill()
    process.wait()


async def test_sentinels_say_where_the_store_is(machines: Machines, sentinel: int) -> None:
    a = machines("a", f"valkey+sentinel://127.0.0.1:{sentinel}/main")
    b = machines("b")
    for _ in range(50):
        try:
            await a.node.round()
            break
        except LostError:
            await asyncio.sleep(0.05)
    await rounds(b, a)
    assert a.node.members.names == ("a", "b")


@pytest.mark.scene
async def test_a_cluster_of_the_store_has_all_of_it_at_one_node(machines: Machines, tmp_path: Path) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", str(free_port()))
    server = Store(tmp_path, free_port(), *options)
    try:
        assert server.do("CLUSTER", "ADDSLOTSRANGE", "0", "16383").startswith(b"+OK")
        async with asyncio.timeout(10.0):
            while b"cluster_state:ok" not in server.do("CLUSTER", "INFO"):
                await asyncio.sleep(0.05)
        url = f"valkey+cluster://127.0.0.1:{server.port}"
        a, b = machines("a", url), machines("b", url)
        for _ in range(150):
            a.ask("192.0.2.8")
        misbehave(a)
        await rounds(a, b)
        assert a.node.members.names == ("a", "b")
        assert banned(b)
        assert server.do("KEYS", "{shield}:b:*").startswith(b"*2\r\n")
        for one in (a, b):
            await one.close()
    finally:
        server.close()


def test_nothing_of_it_is_imported_where_there_is_no_cluster() -> None:
    code = (
        "import sys, shield.process.service\n"
        "found = [name for name in sys.modules if name.split('.')[0] in ('redis', 'hiredis')]\n"
        "found += [name for name in sys.modules if name.startswith('shield.cluster.')]\n"
        "assert found == ['shield.cluster.settings'], found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_who_has_no_client_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(StartError, match=r"pip install") as told:
        Client(ClusterSettings(store="valkey://127.0.0.1"))
    assert str(told.value) == MISSING
