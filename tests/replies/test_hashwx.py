"""HashWX: the module and what it computes, against values from another WebAssembly engine."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

from shield.config.load import ConfigError, load
from shield.errors import StartError
from shield.replies import hashwx
from shield.replies.hashwx import NONCES, HashWX

TARGET = 1 << 61  # one in eight
TOKEN = "AQIEABAAAAAAAABrSgq4AAECAwQFBgcQERITFBUWFxgZGhscHR4f"


@pytest.fixture(scope="module")
def machine() -> HashWX:
    return HashWX()


def test_values_are_those_of_compiled_functions_in_v8(machine: HashWX) -> None:
    expected = [0xD02019D7176FF22F, 0x17B2D4762BD57D3E, 0xBF9C780C7B599A69, 0xB1C655A57B2C0C8D]
    assert [machine.value(bytes([7]) * 32, nonce) for nonce in range(4)] == expected


def search(machine: HashWX, index: int, first: int) -> int:
    """The first nonce from `first` on that solves a sub-puzzle, as docs/protocol.md says it."""
    seed = hashlib.sha256(TOKEN.encode()).digest()
    for nonce in range(first, first + 100):
        function = hashlib.sha256(seed + index.to_bytes(4, "big") + (nonce // NONCES).to_bytes(8, "big")).digest()
        if machine.value(function, nonce) < TARGET:
            return nonce
    raise AssertionError


def test_an_answer_is_right_up_to_the_first_nonce_that_is_not(machine: HashWX) -> None:
    nonces = [search(machine, 0, 0), search(machine, 1, NONCES - 1), search(machine, 2, 2**52)]
    assert machine.check(TOKEN, TARGET, nonces) == 3
    wrong = next(n for n in range(NONCES) if machine.check(TOKEN, TARGET, [nonces[0], n]) == 1)
    assert machine.check(TOKEN, TARGET, [nonces[0], wrong, nonces[2]]) == 1
    assert machine.check(TOKEN, 0, nonces) == 0


def test_a_config_that_cannot_have_it_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[challenge]\nalgorithm = "hashwx"\n')
    assert load(str(config)).challenge.algorithm == "hashwx"
    monkeypatch.setattr(hashwx, "missing", lambda: "needs something")
    with pytest.raises(ConfigError, match=r'challenge\.algorithm.*"sha256", since "hashwx" needs something'):
        load(str(config))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wasmtime" else find(name))
    assert hashwx.missing() == "needs wasmtime, which is not installed: pip install 'shield-proxy[hashwx]'"
    with pytest.raises(StartError, match=r"^challenge\.algorithm: needs wasmtime"):
        HashWX()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "capwx" else find(name))
    assert hashwx.missing() == "needs capwx, which is not installed: pip install 'shield-proxy[hashwx]'"
    spec = importlib.machinery.ModuleSpec("capwx", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "capwx" else find(name))
    assert "hashwx.wasm: No such file or directory" in hashwx.missing()
    (tmp_path / "_vendor/hashwx").mkdir(parents=True)
    (tmp_path / "_vendor/hashwx/hashwx.wasm").write_bytes(b"\0asm\1\0\0\0")
    assert "is not the module that this Shield knows" in hashwx.missing()
