"""The directory with the keys of bots."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shield.files import UnusableError
from shield.lookup.bot_keys import MOST_BYTES, MOST_KEYS, BotKeys, read_keys

X = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"  # of RFC 9421, appendix B.1.4
THUMBPRINT = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"
KEY = {"kty": "OKP", "crv": "Ed25519", "kid": "any", "x": X, "use": "sig", "nbf": 1712793600, "exp": 1715385600000}
RSA = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}


def write(path: Path, *keys: Any) -> str:
    path.write_text(json.dumps({"keys": keys, "purpose": "rag"}))
    return str(path)


def test_a_key_is_known_by_its_thumbprint_and_its_bot_by_the_file(tmp_path: Path) -> None:
    found = read_keys(write(tmp_path / "examplebot.json", RSA, KEY))
    assert list(found) == [THUMBPRINT]
    key = found[THUMBPRINT]
    assert (key.name, len(key.public)) == ("examplebot", 32)
    assert (key.since, key.until) == (1712793600.0, 1715385600.0), "seconds, also where the file has milliseconds"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no JSON"),
        ("[]", "is no JWK Set"),
        ('{"keys": {}}', "is no JWK Set"),
        (json.dumps({"keys": [KEY] * (MOST_KEYS + 1)}), "at most 64 keys"),
        (json.dumps({"keys": [RSA, 5]}), "has no Ed25519 key"),
        (json.dumps({"keys": [KEY | {"x": "AAAA"}]}), '"x" has 3 bytes, and not 32'),
        (json.dumps({"keys": [KEY | {"x": "A"}]}), '"x" is no base64url'),
        (json.dumps({"keys": [KEY | {"x": 5}]}), '"x" has 0 bytes'),
        (json.dumps({"keys": [KEY | {"d": "n4Ni"}]}), "only public ones"),
        (" " * (MOST_BYTES + 1), "more than 65536 bytes"),
    ],
)
def test_what_is_no_set_of_keys_is_named(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "bot.json"
    path.write_text(text)
    with pytest.raises(UnusableError, match=why):
        read_keys(str(path))


def test_a_changed_file_holds_and_a_damaged_one_keeps_what_it_had(tmp_path: Path) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    keys = BotKeys(str(tmp_path), lambda name, **fields: told.append((name, fields)))
    keys.load()
    assert not keys.keys
    write(tmp_path / "one.json", KEY)
    (tmp_path / "README").write_text("no keys")
    keys.load()
    assert {name: key.name for name, key in keys.keys.items()} == {THUMBPRINT: "one"}
    assert told == [("bot_keys_loaded", {"path": str(tmp_path / "one.json"), "keys": 1})]
    keys.load()
    assert len(told) == 1, "nothing has changed"
    (tmp_path / "one.json").write_text("{")
    os.utime(tmp_path / "one.json", (1, 1))
    keys.load()
    assert keys.names == ["one"]
    assert THUMBPRINT in keys.keys
    assert told[1][0] == "bot_keys_not_loaded"
    assert told[1][1]["error"].startswith("is no JSON")
    keys.load()
    assert len(told) == 2, "it is told once"
    (tmp_path / "one.json").unlink()
    keys.load()
    assert not keys.keys
    assert not keys.names
