"""HashWX: hashes that a graphics card does hardly faster than a processor, checked in WebAssembly.

HashWX (tevador, github.com/tevador/hashwx) makes a new function of integer operations and branches from each seed. Of
SHA-256 a graphics card does 150 times as many as all cores of a processor, of HashWX twice as many (tevador's
measurement, RTX 5060 Ti and Ryzen 3700X, as the documentation of Cap quotes it). A browser compiles each function; here
one nonce of each is run, by an interpreter inside the same module, so nothing is compiled for an answer.

The module comes with `capwx`, and wasmtime runs it; both are an extra, and loaded only where `challenge.algorithm` asks
for them. Nothing else of `capwx` is imported. The module must have the digest below: another one would find other
functions.

A nonce n solves sub-puzzle i of a token when the function of

    SHA-256( SHA-256(token) | i as 4 bytes | n div NONCES as 8 bytes )            (big-endian)

gives a value for n that is below the target.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from shield.errors import StartError

NONCES: Final = 4096
"""To one function. With more a browser takes less time for each, and so does a graphics card, whose threads then run
the same branches. On one core V8 did 93,000 a second with 463, 160,000 with 4,096, 283,000 with 65,536."""
DIGEST: Final = "b1a0dbb3ef444d3c7069e0a5e0a0273ffa4cf8fef62cbbe43761c02f7cd6aff5"
"""SHA-256 of the module: github.com/tevador/hashwx at 74b567a31276, as capwx 0.3.0 has it."""
INSTALL: Final = "pip install 'shield-proxy[hashwx]'"
_INTERPRETED: Final = 0
_SIGN: Final = 1 << 63


def missing() -> str:
    """Why HashWX cannot be asked for; "" when it can."""
    if importlib.util.find_spec("wasmtime") is None:
        return f"needs wasmtime, which is not installed: {INSTALL}"
    try:
        module()
    except StartError as error:
        return str(error)
    return ""


def module() -> bytes:
    """The WebAssembly module, as it was checked and as browsers get it. StartError where there is none, or another."""
    found = importlib.util.find_spec("capwx")  # which is not imported by that
    if found is None or not found.submodule_search_locations:
        raise StartError(f"needs capwx, which is not installed: {INSTALL}")
    path = Path(found.submodule_search_locations[0]) / "_vendor" / "hashwx" / "hashwx.wasm"
    try:
        code = path.read_bytes()
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}: {INSTALL}") from None
    if hashlib.sha256(code).hexdigest() != DIGEST:
        raise StartError(f"{path} is not the module that this Shield knows: {INSTALL}")
    return code


class HashWX:
    """The module with its memory, for one thread. StartError when it cannot be had."""

    __slots__ = ("_context", "_exec", "_make", "_memory", "_seed", "_store")

    def __init__(self) -> None:
        if why := missing():
            raise StartError(f"challenge.algorithm: {why}")
        import wasmtime  # noqa: PLC0415 - an extra

        settings = wasmtime.Config()
        settings.parallel_compilation = False  # no threads, for the sake of a fork
        engine = wasmtime.Engine(settings)
        store = self._store = wasmtime.Store(engine)
        exports: Any = wasmtime.Instance(store, wasmtime.Module(engine, module()), []).exports(store)
        exports["_initialize"](store)
        self._context: int = exports["hashwx_alloc"](store, _INTERPRETED)
        self._seed: int = exports["hashwx_seed"](store, self._context)
        self._make: Any = exports["hashwx_make"]
        self._exec: Any = exports["hashwx_exec"]
        self._memory: Any = exports["memory"]

    def value(self, seed: bytes, nonce: int) -> int:
        """What the function of a `seed` of 32 bytes gives for a nonce below 2^53: a number of 64 bits."""
        store, context, at = self._store, self._context, self._seed
        self._memory.write(store, seed, at)
        self._make(store, context, at)
        found: int = self._exec(store, context, nonce)
        return found + 2 * _SIGN if found < 0 else found

    def check(self, token: str, target: int, nonces: Sequence[int]) -> int:
        """How many sub-puzzles in a row, from the first, the nonces solve: the policy's CheckWork."""
        seed = hashlib.sha256(token.encode("ascii")).digest()
        for i, nonce in enumerate(nonces):
            block = seed + i.to_bytes(4, "big") + (nonce // NONCES).to_bytes(8, "big")
            if self.value(hashlib.sha256(block).digest(), nonce) >= target:
                return i
        return len(nonces)
