"""The keys of bots that sign their requests: a directory of JWK Sets (RFC 7517), one file for each bot.

A file is what a bot publishes at /.well-known/http-message-signatures-directory; `examplebot.json` makes the bot
`examplebot`. Only Ed25519 keys are taken (RFC 8037). A key's id is its thumbprint (RFC 7638), which a signature names
as `keyid`. The directory is looked at every CHECK_SECONDS, in a thread; a file that cannot be read as it is now keeps
what it had before, and is told of.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from shield.files import Stamp, UnusableError, open_file, stamp_of, why_not
from shield.policy.signed_bots import MOST_BOTS

CHECK_SECONDS: Final = 5.0
MOST_BYTES: Final = 65_536
MOST_KEYS: Final = 64
KEY_BYTES: Final = 32

Tell = Callable[..., None]
"""Logs an event: its name, and its fields by name."""


class BotKey(NamedTuple):
    """A key, whose bot has the `name`. `until`: seconds since 1970 until which it holds, 0 for ever."""

    name: str
    public: bytes
    since: float = 0.0
    until: float = 0.0


class BotKeys:
    """All files of the directory. `keys` are by their ids."""

    __slots__ = ("_directory", "_files", "_notify", "_stamps", "keys", "rested")

    def __init__(self, directory: str, notify: Tell | None = None) -> None:
        self._directory = Path(directory)
        self._notify = notify
        self._stamps: dict[str, Stamp] = {}
        self._files: dict[str, Mapping[str, BotKey]] = {}
        self.keys: dict[str, BotKey] = {}
        self.rested = False

    @property
    def names(self) -> list[str]:
        """Of the bots."""
        return [Path(path).stem for path in self._files]

    def load(self) -> None:
        """Read what has changed. Takes as long as the disk does; raises nothing."""
        try:
            paths = sorted(map(str, self._directory.glob("*.json")))[:MOST_BOTS]
        except OSError as error:
            self._tell(str(self._directory), why_not(error))
            return
        stamps = {path: stamp_of(path) for path in paths}
        if stamps == self._stamps:
            return
        kept = {path: keys for path, keys in self._files.items() if path in stamps}
        for path, stamp in stamps.items():
            if stamp == self._stamps.get(path):
                continue
            try:
                kept[path] = read_keys(path)
            except (OSError, UnusableError) as error:
                self._tell(path, why_not(error))
            else:
                if self._notify is not None:
                    self._notify("bot_keys_loaded", path=path, keys=len(kept[path]))
        self._stamps, self._files = stamps, kept
        self.keys = {thumbprint: key for keys in kept.values() for thumbprint, key in keys.items()}

    async def run(self) -> None:
        """Go by what changes, for as long as it is not `rested`."""
        while not self.rested:
            await asyncio.sleep(CHECK_SECONDS)
            await asyncio.to_thread(self.load)

    def _tell(self, path: str, error: str) -> None:
        if self._notify is not None:
            effect = "the keys from before stay, if there are any"
            self._notify("bot_keys_not_loaded", path=path, error=error, effect=effect)


def read_keys(path: str) -> Mapping[str, BotKey]:
    """The keys in a file, by their ids. OSError, UnusableError."""
    with open_file(path, MOST_BYTES) as file:
        data = file.read(MOST_BYTES + 1)
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnusableError(f"is no JSON: {error}") from error
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        raise UnusableError(f'is no JWK Set: {{"keys": [...]}} with at most {MOST_KEYS} keys is expected')
    read = dict(key for each in keys if (key := _read_key(each, Path(path).stem)) is not None)
    if not read:
        raise UnusableError("has no Ed25519 key")
    return read


def _read_key(key: Any, name: str) -> tuple[str, BotKey] | None:
    """A key and its id; None where it is of another kind."""
    if not isinstance(key, dict) or key.get("kty") != "OKP" or key.get("crv") != "Ed25519":
        return None
    text = key.get("x")
    try:
        public = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if isinstance(text, str) else b""
    except (binascii.Error, ValueError) as error:
        raise UnusableError('has an Ed25519 key whose "x" is no base64url') from error
    if len(public) != KEY_BYTES:
        raise UnusableError(f'has an Ed25519 key whose "x" has {len(public)} bytes, and not {KEY_BYTES}')
    if "d" in key:
        raise UnusableError('has a private key ("d"): only public ones belong here')
    since, until = (_seconds(key.get(member)) for member in ("nbf", "exp"))
    return thumbprint(public), BotKey(name, public, since, until)


def _seconds(value: Any) -> float:
    """A time of a key. The draft has seconds; what is published has milliseconds, too."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return value / 1000.0 if value > 1e11 else float(value)


def thumbprint(public: bytes) -> str:
    """The id of an Ed25519 key (RFC 7638, RFC 8037 appendix A.3)."""
    x = base64.urlsafe_b64encode(public).rstrip(b"=")
    digest = hashlib.sha256(b'{"crv":"Ed25519","kty":"OKP","x":"%b"}' % x).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")
