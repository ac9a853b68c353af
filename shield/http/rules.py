"""Every rule of HTTP that a request or a response can break, by name, and what breaking it costs.

The names stand in the log and in the metrics. docs/framing-differences.md has a row for each rule: what it protects
from, what other proxies do, who breaks it in good faith, and why it is decided as it is.

A request that breaks a rule is answered with the rule's fault. Only a rule that is `charged` is held against its client
(the hard signal `malformed`): one about where a message ends, about control characters, or about what passes for
something else. No slip of an honest program breaks one of these. A response that breaks a rule is `upstream_garbage`,
whichever it is.
"""

from __future__ import annotations

import enum
from typing import Final, Self

from shield.model import Fault

_CHARGED: Final = True


class Rule(enum.Enum):
    """A rule: the value is its name. `fault` is the answer to a request that breaks it."""

    _value_: str
    fault: Fault
    charged: bool

    __hash__ = object.__hash__

    def __new__(cls, word: str, fault: Fault, charged: bool = False) -> Self:
        member = object.__new__(cls)
        member._value_ = word
        member.fault = fault
        member.charged = charged
        return member

    # The first line.
    NOT_HTTP = "not_http", Fault.MALFORMED_HEAD, _CHARGED  # not even the first byte could begin a message
    EMPTY_LINE = "empty_line", Fault.MALFORMED_HEAD  # one may precede a request, a second may not
    REQUEST_LINE = "request_line", Fault.MALFORMED_HEAD
    STATUS_LINE = "status_line", Fault.UPSTREAM_GARBAGE
    VERSION = "version", Fault.VERSION_UNSUPPORTED
    METHOD = "method", Fault.METHOD_NOT_ALLOWED  # CONNECT and TRACE
    METHOD_SIZE = "method_size", Fault.METHOD_UNKNOWN
    TARGET = "target", Fault.BAD_TARGET  # characters that none has
    TARGET_FORM = "target_form", Fault.BAD_TARGET
    TARGET_SIZE = "target_size", Fault.TARGET_TOO_LONG
    # Lines of fields.
    BARE_LF = "bare_lf", Fault.MALFORMED_HEAD, _CHARGED
    CONTROL_CHARACTER = "control_character", Fault.MALFORMED_HEAD, _CHARGED
    FOLDED_LINE = "folded_line", Fault.MALFORMED_HEAD, _CHARGED
    SPACE_BEFORE_COLON = "space_before_colon", Fault.MALFORMED_HEAD, _CHARGED
    FIELD_NAME = "field_name", Fault.MALFORMED_HEAD
    FIELD_COUNT = "field_count", Fault.HEAD_TOO_LARGE
    HEAD_SIZE = "head_size", Fault.HEAD_TOO_LARGE
    # What fields say.
    HOST_MISSING = "host_missing", Fault.BAD_HOST
    HOST_REPEATED = "host_repeated", Fault.BAD_HOST, _CHARGED  # somebody on the way asks the other one
    HOST_SYNTAX = "host_syntax", Fault.BAD_HOST
    HOST_DIFFERS = "host_differs", Fault.BAD_HOST  # the target names another one
    LOOP = "loop", Fault.LOOP_DETECTED
    EXPECTATION = "expectation", Fault.EXPECTATION_FAILED
    # Framing, in the head.
    DISGUISED_FRAMING = "disguised_framing", Fault.BAD_FRAMING, _CHARGED
    LENGTH_SYNTAX = "length_syntax", Fault.BAD_FRAMING, _CHARGED
    LENGTH_REPEATED = "length_repeated", Fault.BAD_FRAMING, _CHARGED
    LENGTH_AND_CODING = "length_and_coding", Fault.BAD_FRAMING, _CHARGED
    CODING_SYNTAX = "coding_syntax", Fault.BAD_FRAMING, _CHARGED
    CODING_REPEATED = "coding_repeated", Fault.BAD_FRAMING, _CHARGED
    CODING_UNKNOWN = "coding_unknown", Fault.CODING_UNKNOWN
    CODING_IN_1_0 = "coding_in_1_0", Fault.BAD_FRAMING, _CHARGED
    BODY_SIZE = "body_size", Fault.BODY_TOO_LARGE
    # Framing, in a chunked body.
    CHUNK_SIZE = "chunk_size", Fault.BAD_FRAMING, _CHARGED
    CHUNK_EXTENSION = "chunk_extension", Fault.BAD_FRAMING
    CHUNK_DATA = "chunk_data", Fault.BAD_FRAMING, _CHARGED  # more or less of it than its size says
    CHUNK_BARE_LF = "chunk_bare_lf", Fault.BAD_FRAMING, _CHARGED
    CHUNK_OVERHEAD = "chunk_overhead", Fault.BAD_FRAMING, _CHARGED
    TRAILER = "trailer", Fault.BAD_FRAMING, _CHARGED
    # HTTP/2 only (http2_head.py).
    PSEUDO_FIELD = "pseudo_field", Fault.MALFORMED_HEAD, _CHARGED  # missing, unknown, twice, or late
    SCHEME = "scheme", Fault.BAD_TARGET  # another one than that of the connection
    CONNECTION_FIELD = "connection_field", Fault.MALFORMED_HEAD, _CHARGED  # it belongs to HTTP/1
    STREAM_ERROR = "stream_error", Fault.BAD_FRAMING, _CHARGED  # what the library resets a stream for
    # Responses only.
    INTERIM_COUNT = "interim_count", Fault.UPSTREAM_GARBAGE
    SWITCH_UNASKED = "switch_unasked", Fault.UPSTREAM_GARBAGE
    SWITCH_UNPROVED = "switch_unproved", Fault.UPSTREAM_GARBAGE
    # Servers of HTTP/2 only: what ends a connection, and with it every response on it.
    CONNECTION_ERROR = "connection_error", Fault.UPSTREAM_GARBAGE
    FRAME_FLOOD = "frame_flood", Fault.UPSTREAM_GARBAGE  # frames that answer nothing


class Broken(Exception):
    """A message breaks `rule`. Reading ends with it: where the next message would begin is not certain."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(rule.value)
        self.rule = rule
