"""python grpc_service.py: a service of gRPC over HTTP/2 without TLS, by grpcio. It prints its port."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc


def once(message: bytes, context: Any) -> bytes:
    if message == b"fail":
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no good")
    context.set_trailing_metadata((("x-tail", "t"),))
    return b"%d" % len(message)


def many(message: bytes, _: Any) -> Iterator[bytes]:
    yield from (b"%d" % number for number in range(int(message)))


def gathered(messages: Iterator[bytes], _: Any) -> bytes:
    return b"%d" % sum(map(len, messages))


def answered(messages: Iterator[bytes], _: Any) -> Iterator[bytes]:
    for message in messages:
        yield b"<%b>" % message


HANDLERS = {
    "/t/once": grpc.unary_unary_rpc_method_handler(once),
    "/t/many": grpc.unary_stream_rpc_method_handler(many),
    "/t/gathered": grpc.stream_unary_rpc_method_handler(gathered),
    "/t/answered": grpc.stream_stream_rpc_method_handler(answered),
}


class Service(grpc.GenericRpcHandler):
    def service(self, call: Any) -> Any:
        return HANDLERS.get(call.method)


server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((Service(),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
