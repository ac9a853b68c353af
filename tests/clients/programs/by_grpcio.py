"""python by_grpcio.py HOST:PORT: calls of each kind, to grpc_service.py. Prints what came of them as JSON."""

from __future__ import annotations

import json
import queue
import sys
import time
from collections.abc import Iterator

import grpc

channel = grpc.insecure_channel(sys.argv[1])
once, many = channel.unary_unary("/t/once"), channel.unary_stream("/t/many")
gathered, answered = channel.stream_unary("/t/gathered"), channel.stream_stream("/t/answered")


def failure(method: str, message: bytes) -> list[str]:
    try:
        channel.unary_unary(method)(message, timeout=60)
    except grpc.RpcError as error:
        why = dict(error.trailing_metadata() or ()).get("x-why", "")
        return [error.code().name, error.details(), why]
    return []


def slowly() -> Iterator[bytes]:
    for _ in range(3):
        time.sleep(0.1)
        yield b"abc"


said: queue.Queue[bytes | None] = queue.Queue()
talk = answered(iter(said.get, None), timeout=60)
heard = []
for number in range(3):
    said.put(b"%d" % number)
    heard.append(next(talk).decode())
said.put(None)
heard += [message.decode() for message in talk]
large, call = once.with_call(bytes(3 << 20), timeout=60)
found = {
    "once": large.decode(),
    "tail": dict(call.trailing_metadata())["x-tail"],
    "many": [message.decode() for message in many(b"3", timeout=60)],
    "gathered": gathered(slowly(), timeout=60).decode(),
    "answered": heard,
    "failed": failure("/t/once", b"fail"),
    "unknown": failure("/t/none", b"")[0],
}
print(json.dumps(found))
