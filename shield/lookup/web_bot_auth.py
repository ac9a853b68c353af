"""Web Bot Auth: who has signed a request (RFC 9421, draft-meunier-web-bot-auth-architecture).

A signature counts when it is made for this purpose (`tag="web-bot-auth"`), by a key that the operator has, over the
host that is asked at least (`@authority`), and for now: `created` and `expires` are there, and no more than a day
apart. A `nonce` is taken once. What else it may cover is the method, the path, and fields; not what the policy does
not know (`@target-uri`, `@query`, `@scheme`).

Whatever does not count is nothing: neither an error nor a signal, as whoever signs may be new here, or its key may.
What an attacker can make us do is bounded: what is longer than MOST_CHARS is not read; a key's id, and the times, are
looked for before anything is parsed; and the library and the mathematics get VERIFY_SHARE of a core together. Beyond,
signatures are not looked at. Half of that is kept for addresses from which a signature of the same bot has held: so
whoever sends junk in a bot's name does not shut out the bot. A signature without a nonce is remembered with what it
covers, for as long as it holds.

The library is an extra, and imported when it is needed.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import Any, Final

from shield.lookup.bot_keys import BotKey, BotKeys
from shield.policy.bucket import Bucket, Rate
from shield.policy.request import Request

LIBRARY: Final = "http_message_signatures"
INSTALL: Final = "pip install 'shield-proxy[web-bot-auth]'"
TAG: Final = "web-bot-auth"
MOST_CHARS: Final = 4096
"""Of Signature-Input, Signature and Signature-Agent together. Those of one signature have 600."""
SKEW: Final = 60.0
"""s. By which a bot's clock may be ahead of ours."""
LONGEST: Final = 86_400.0
"""s. That a signature may hold. The draft recommends no more than 24 hours."""
MOST_NONCES: Final = 65_536
"""Of all bots. When they are so many, a bot may still add to its own until it has an equal part of them."""
NONCE_BYTES: Final = 16
"""Of the digest by which a nonce is remembered. A bot may write 4 KB into each."""
SWEEP_SECONDS: Final = 1.0
"""Between two searches for nonces that have ended, where there is no room. One takes 10 ms."""
MOST_PROVEN: Final = 4096
"""Addresses from which a signature has held. The one that was longest without is forgotten first."""
MOST_KEPT: Final = 1024
"""Signatures without a nonce."""
VERIFY_SHARE: Final = 0.1
"""Of a core, for verifying signatures: half of it for each of the two budgets."""
VERIFY_SECONDS: Final = 0.0005
"""That one takes, for that bound: 0.35 ms were measured at best, and 0.7 on a busy machine."""
VERIFY_BURST: Final = 200.0

_MAY_COVER: Final = frozenset({"@authority", "@method", "@path"})
_KEY_ID: Final = re.compile(r';\s*keyid="([^"\\]{1,128})"')
_EXPIRES: Final = re.compile(r";\s*expires=([0-9]{1,15})(?![0-9.])")
_COVERED: Final = re.compile(r'"(@?[a-z0-9*_-]{1,64})"')


def missing() -> str:
    """Why signatures cannot be verified; empty when they can."""
    return "" if importlib.util.find_spec(LIBRARY) else f"needs http-message-signatures: {INSTALL}"


@dataclass(slots=True)
class Verified:
    """What has become of the signatures of one bot."""

    claims: int = 0
    confirmed: int = 0
    refuted: int = 0
    put_off: int = 0


class _Message:
    """A request as the library wants it."""

    __slots__ = ("headers", "method", "url")

    def __init__(self, request: Request) -> None:
        self.method = request.method
        self.url = f"https://{request.headers.get('Host', '')}{request.path}"
        self.headers = _Lines(request.headers)


class _Lines:
    """The fields of a request, each with all of its values."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def items(self) -> list[tuple[str, str]]:
        lines = getattr(self._headers, "lines", None)
        if lines is None:
            return list(self._headers.items())
        pairs = (line.decode("utf-8", "surrogateescape").partition(":") for line in lines())
        return [(name.lower(), value.strip(" \t")) for name, _, value in pairs]


class WebBotAuth:
    """Verifies signatures made with the `keys`; `wall_offset` is wall clock minus monotonic clock."""

    __slots__ = (
        "_algorithm",
        "_budget",
        "_kept",
        "_library",
        "_nonces",
        "_proven",
        "_public",
        "_reserve",
        "_swept",
        "_verifier",
        "_wall_offset",
        "counts",
        "keys",
    )

    def __init__(self, keys: BotKeys, wall_offset: float) -> None:
        self.keys = keys
        self._wall_offset = wall_offset
        self._library: Any = importlib.import_module(LIBRARY)
        self._algorithm: Any = self._library.algorithms.ED25519
        # The times are looked at here, by the clock of everything else.
        no_times = {"validate_created_and_expires": lambda *_, **__: None}
        self._verifier: Any = type("Verifier", (self._library.HTTPMessageVerifier,), no_times)
        self._public: Any = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
        rate = Rate(VERIFY_SHARE / 2, VERIFY_BURST * VERIFY_SECONDS)
        self._budget = Bucket(rate)
        self._reserve = Bucket(rate)  # for those that are proven
        self._proven: dict[tuple[str, str], None] = {}  # bot and address, the last one that was confirmed last
        self._nonces: dict[str, dict[bytes, float]] = {}  # of each bot: until when a nonce must not come again
        self._swept = -inf
        self._kept: dict[tuple[str, ...], tuple[str, float]] = {}  # by all that was signed: the name, and until when
        self.counts: dict[str, Verified] = {}  # by the names of bots

    def __call__(self, request: Request, now: float) -> str:
        """The name of the bot that signed a request; empty where nobody is known to have."""
        headers = request.headers
        told = [headers.get(name) or "" for name in ("Signature-Input", "Signature", "Signature-Agent")]
        if not told[1] or sum(map(len, told)) > MOST_CHARS or TAG not in told[0]:
            return ""
        wall = now + self._wall_offset
        known = self.keys.keys
        key_id = next((each for each in _KEY_ID.findall(told[0]) if each in known), "")
        if not key_id or not any(float(each) > wall for each in _EXPIRES.findall(told[0])):
            return ""
        key = known[key_id]
        if key.since > wall or 0.0 < key.until <= wall:
            return ""
        counts = self.counts.setdefault(key.name, Verified())
        counts.claims += 1
        signed = (*told, request.method, headers.get("Host") or "", request.path)
        kept = self._kept.get(signed)
        if kept is not None and kept[1] > wall and kept[0] == key.name:
            counts.confirmed += 1
            return kept[0]
        sender = key.name, request.client.address
        reserved = sender in self._proven and self._reserve.take(VERIFY_SECONDS, now)
        if not (reserved or self._budget.take(VERIFY_SECONDS, now)):
            counts.put_off += 1
            return ""
        if not self._holds(request, key_id, key, wall, signed):
            counts.refuted += 1
            return ""
        counts.confirmed += 1
        self._prove(sender)
        return key.name

    def _prove(self, sender: tuple[str, str]) -> None:
        """A signature of this bot has held, which came from this address."""
        proven = self._proven
        if sender in proven:
            del proven[sender]
        elif len(proven) >= MOST_PROVEN:
            del proven[next(iter(proven))]
        proven[sender] = None

    def _holds(self, request: Request, key_id: str, key: BotKey, wall: float, signed: tuple[str, ...]) -> bool:
        """Whether a signature by a key that is known counts."""
        try:
            result = self._verify(request, key_id, key)
        except Exception:  # of a library that is given hostile input: whatever it is, the signature does not count
            return False
        covered = {_COVERED.match(each) for each in result.covered_components if each != '"@signature-params"'}
        names = {match[1] for match in covered if match is not None}
        if None in covered or any(name.startswith("@") and name not in _MAY_COVER for name in names):
            return False
        created, expires = result.parameters.get("created"), result.parameters.get("expires")
        if type(created) is not int or type(expires) is not int:
            return False
        if created > wall + SKEW or expires <= wall or expires - created > LONGEST:
            return False
        nonce = result.nonce
        if nonce is not None:
            return self._is_new(key, nonce, float(expires), wall)
        if names <= {*_MAY_COVER, "signature-agent"}:  # all that it covers is in `signed`
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[signed] = (key.name, float(expires))
        return True

    def _verify(self, request: Request, key_id: str, key: BotKey) -> Any:
        """What the one signature with the tag covers, when it holds. Raises what the library does."""
        public = self._public.Ed25519PublicKey.from_public_bytes(key.public)
        resolver = self._library.MappingKeyResolver(public_keys={key_id: public}, private_keys={})
        verifier = self._verifier(signature_algorithm=self._algorithm, key_resolver=resolver)
        found = verifier.verify(_Message(request), max_age=None, expect_tag=TAG, require_components=("@authority",))
        (result,) = found
        return result

    def _is_new(self, key: BotKey, nonce: str, expires: float, wall: float) -> bool:
        """Whether a nonce comes for the first time. Where there is no room to remember it, nobody can say so."""
        mine = self._nonces.setdefault(key.name, {})
        digest = sha256(key.public + nonce.encode("utf-8", "surrogatepass")).digest()[:NONCE_BYTES]
        if digest in mine:
            return False
        if not self._has_room(mine) and wall >= self._swept + SWEEP_SECONDS:
            self._swept = wall
            left = {
                name: {each: until for each, until in nonces.items() if until > wall}
                for name, nonces in self._nonces.items()
            }
            self._nonces = {name: nonces for name, nonces in left.items() if nonces or name == key.name}
            mine = self._nonces[key.name]
        if not self._has_room(mine):
            return False
        mine[digest] = expires
        return True

    def _has_room(self, mine: dict[bytes, float]) -> bool:
        everyone = self._nonces.values()
        return len(mine) < MOST_NONCES // len(everyone) or sum(map(len, everyone)) < MOST_NONCES
