"""Makes docs/protocol-vectors.json, which every solver and the verifier are held to: python -m tests.solving.vectors

It uses hashlib alone and nothing of Shield, so that a mistake of Shield's cannot get into it.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from typing import Any, Final

SITE: Final = "https://site.example/data?x=1"
TOKENS: Final = (
    "AQEQABAAAAAAAABrSgq4AAECAwQFBgcQERITFBUWFxgZGhscHR4f",
    "AQEEABAAAAAAAABrSgq4AAECAwQFBgcQERITFBUWFxgZGhscHR4f",
    "A",
    "-_" * 27 + "x",  # 55 characters are the most that fit into one block of SHA-256
    "-_" * 28,  # 56 take two
    "z" * 64,
    "Zz09-_" * 21 + "90",  # 128: the longest
)
FIRST: Final = TOKENS[1]


def digest(token: str, index: int, nonce: int) -> bytes:
    """The hash of a nonce."""
    return sha256(sha256(token.encode()).digest() + index.to_bytes(4, "big") + nonce.to_bytes(8, "big")).digest()


def value(token: str, index: int, nonce: int) -> int:
    """What is compared with the target."""
    return int.from_bytes(digest(token, index, nonce)[:8], "big")


def smallest(token: str, index: int, target: int, nonce: int = 0) -> int:
    """The smallest nonce, from this one on, that meets a target."""
    while value(token, index, nonce) >= target:
        nonce += 1
    return nonce


def hashes() -> list[dict[str, Any]]:
    """Nonces at the edges of 32 and 53 bits, indices at the edges of a byte, tokens of all lengths."""
    places = [(index, nonce) for index in (0, 1, 15, 254) for nonce in (0, 2**32 - 1, 2**32, 35188667056120, 2**53 - 1)]
    found = [(FIRST, index, nonce) for index, nonce in places] + [(token, 1, 258) for token in TOKENS]
    return [
        {"token": token, "index": index, "nonce": nonce, "sha256": digest(token, index, nonce).hex()}
        for token, index, nonce in found
    ]


def solutions() -> list[dict[str, Any]]:
    """Whole challenges with the smallest nonces."""
    return [
        {
            "token": token,
            "k": k,
            "target": f"{target:016x}",
            "nonces": [smallest(token, index, target) for index in range(k)],
        }
        for token, k, target in (
            (FIRST, 4, 2**52),
            (TOKENS[0], 16, 2**54),
            (TOKENS[3], 1, 2**52 + 12345),
            (TOKENS[4], 3, 2**53 - 1),
            (TOKENS[6], 2, 2**64 - 1),
            (TOKENS[2], 255, 2**60),
        )
    ]


def answers() -> list[dict[str, Any]]:
    """Answers, and how many sub-puzzles from the first on they solve: `k` is right, less is wrong."""
    target = 2**52
    right = [smallest(FIRST, index, target) for index in range(4)]
    edge = value(FIRST, 0, right[0])
    wide = smallest(FIRST, 0, target, 2**45 + 2**20 + 1)
    return [
        {"what": what, "token": FIRST, "target": f"{at:016x}", "nonces": nonces, "solved": count}
        for what, at, nonces, count in (
            ("all right", target, right, 4),
            ("the last is wrong", target, [*right[:3], right[3] + 1], 3),
            ("two are exchanged", target, [right[0], right[2], right[1], right[3]], 1),
            ("the hash is the target itself: not below it", edge, right[:1], 0),
            ("the hash is one below the target", edge + 1, right[:1], 1),
            ("a nonce above 2^32", target, [wide], 1),
            ("its lower half alone", target, [wide % 2**32], 0),
            ("its halves exchanged", target, [(wide % 2**32) * 2**21 + wide // 2**32], 0),
        )
    ]


def documents() -> list[dict[str, Any]]:
    """Problem documents from SITE, and what a client makes of each: a challenge, none, or what it must refuse."""
    good = {
        "token": TOKENS[0],
        "algorithm": "sha256",
        "k": 16,
        "target": "0010000000000000",
        "expected_hashes": 65536,
        "expires_in": 120,
        "wait": 12,
        "answer_to": "/.well-known/shield/answer",
    }

    def asked(**changed: Any) -> dict[str, Any]:
        kept = {name: each for name, each in (good | changed).items() if each != "left out"}
        return {"type": "/.well-known/shield/problems/challenge", "status": 503, "challenge": kept}

    to = "https://site.example/.well-known/shield/answer"
    fine: list[tuple[str, Any, Any]] = [
        ("as Shield sends it", asked(), {"hashes": 65536, "answer_to": to}),
        ("a member more", asked(more=1), {"hashes": 65536, "answer_to": to}),
        ("expected_hashes is for people", asked(expected_hashes=1), {"hashes": 65536, "answer_to": to}),
        ("the highest target", asked(k=1, target="f" * 16), {"hashes": 1, "answer_to": to}),
        ("the whole address", asked(answer_to=to), {"hashes": 65536, "answer_to": to}),
        ("a relative path", asked(answer_to="answer"), {"hashes": 65536, "answer_to": "https://site.example/answer"}),
    ]
    none: list[tuple[str, Any, Any]] = [
        ("a limit", {"type": "/.well-known/shield/problems/limit", "status": 429}, None),
        ("no object", [1, 2], None),
        ("a challenge that is null", {"challenge": None}, None),
    ]
    refused: list[tuple[str, Any, Any]] = [
        ("no object", {"challenge": "sha256"}, "refused"),
        ("another algorithm", asked(algorithm="sha512"), "refused"),
        ("no algorithm", asked(algorithm="left out"), "refused"),
        ("no sub-puzzle", asked(k=0), "refused"),
        ("too many sub-puzzles", asked(k=256), "refused"),
        ("a part of a sub-puzzle", asked(k=1.5), "refused"),
        ("true is no number", asked(k=True), "refused"),
        ("a target of nothing", asked(target="0" * 16), "refused"),
        ("a short target", asked(target="10"), "refused"),
        ("a long target", asked(target="0" * 17), "refused"),
        ("a target with a sign", asked(target="-010000000000000"), "refused"),
        ("a target that is a number", asked(target=4503599627370496), "refused"),
        ("an empty token", asked(token=""), "refused"),
        ("a long token", asked(token="A" * 129), "refused"),
        ("a token with another letter", asked(token="A=="), "refused"),
        ("a token with a line feed", asked(token="AA\n"), "refused"),
        ("an answer to another host", asked(answer_to="https://elsewhere.example/answer"), "refused"),
        ("an answer to another host, short", asked(answer_to="//elsewhere.example/answer"), "refused"),
        ("an answer over another scheme", asked(answer_to="http://site.example/answer"), "refused"),
        ("an answer to another port", asked(answer_to="https://site.example:8443/answer"), "refused"),
        ("no address", asked(answer_to="left out"), "refused"),
    ]
    return [
        {"what": what, "document": document, "challenge": challenge}
        for what, document, challenge in (*fine, *none, *refused)
    ]


def text() -> str:
    """The file."""
    whole = {
        "about": "Test vectors for docs/protocol.md, made by python -m tests.solving.vectors",
        "site": SITE,
        "seeds": [{"token": token, "seed": sha256(token.encode()).hexdigest()} for token in TOKENS],
        "hashes": hashes(),
        "solutions": solutions(),
        "answers": answers(),
        "documents": documents(),
    }
    lines = []
    for name, section in whole.items():
        if isinstance(section, list):
            rows = ",\n    ".join(json.dumps(row) for row in section)
            lines.append(f"  {json.dumps(name)}: [\n    {rows}\n  ]")
        else:
            lines.append(f"  {json.dumps(name)}: {json.dumps(section)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(text())
