"""Bytes to a place that may stall or fail (log_outputs.py), without the event loop ever noticing.

The loop copies lines into a bounded buffer and hands it, a batch at a time, to a thread that does the blocking write.
While the thread is stuck (a full pipe, a slow disk) the buffer fills up to its bound; the rest is dropped and counted.

Copied, and not kept: orjson makes a line in a KiB and gives back what it did not need. While the lines of a batch are
kept, each new one needs another KiB, which costs 4.6 µs; to copy a line costs 0.07.
"""

from __future__ import annotations

import queue
import select
import threading
from typing import Final

from shield.operator.log_outputs import Output

BUFFER_BYTES: Final = 1 << 20
"""Lines waiting to be written, and as many again in the writer's hands; 1 MiB is about 4,000 lines."""

STALL_SECONDS: Final = 1.0
"""How long the writer waits for a full non-blocking descriptor before it drops what it holds."""


Batch = tuple[bytearray, int]
"""Lines, and how many."""


class LogWriter:
    """Writes lines to `output`. `put` and `flush` never block and never raise; `written` and `dropped` count lines."""

    __slots__ = (
        "_buffer", "_busy", "_closed", "_count", "_queue", "_thread", "_torn", "dropped", "output", "written"
    )  # fmt: skip

    def __init__(self, output: Output) -> None:
        self.output = output
        # The loop's side.
        self._buffer = bytearray()
        self._count = 0  # lines in it
        self._closed = False
        self._thread: threading.Thread | None = None
        # Between the two: the thread clears `_busy` after each batch; an empty batch ends it.
        self._queue: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        self._busy = False
        # The thread's side.
        self._torn = False  # the last write stopped inside a line
        self.written = 0
        self.dropped = 0

    def put(self, line: bytes) -> None:
        """Keep one line, newline included, for the next flush."""
        if self._closed or len(self._buffer) + len(line) > BUFFER_BYTES:
            self.dropped += 1
            return
        self._buffer += line
        self._count += 1

    def flush(self) -> bool:
        """Hand the lines to the writer. False: it is still busy with the last batch, so come again later."""
        if not self._count:
            return True
        if self._busy:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shield-log", daemon=True)
            self._thread.start()
        self._busy = True
        self._queue.put(self._take())
        return True

    def close(self, timeout: float = 1.0) -> None:
        """Write what is left, for at most `timeout` seconds. Lines put later are dropped."""
        if self._closed:
            return
        self._closed = True
        if self._thread is None:
            self._write_out(*self._take())
            return
        if self._count:
            self._queue.put(self._take())
        self._queue.put((bytearray(), 0))
        self._thread.join(timeout)

    def _take(self) -> Batch:
        batch = self._buffer, self._count
        self._buffer, self._count = bytearray(), 0
        return batch

    def _run(self) -> None:
        while True:
            lines, count = self._queue.get()
            if not count:
                return
            self._write_out(lines, count)
            self._busy = False

    def _write_out(self, lines: bytearray, count: int) -> None:
        parted = self._torn  # a newline goes before, which ends no line of these
        whole = data = memoryview(b"\n" + lines if parted else lines)
        while data:
            try:
                data = data[self.output.write(data) :]
            except BlockingIOError:
                if self._writable():
                    continue
                break
            except OSError:  # EPIPE, ENOSPC, EIO: there is no better place to say so
                break
        sent = len(whole) - len(data)
        if sent:
            self._torn = whole[sent - 1] != ord("\n")
        lost = bytes(data).count(b"\n") - (parted and not sent)
        self.dropped += lost
        self.written += count - lost

    def _writable(self) -> bool:
        poll = select.poll()
        poll.register(self.output.fileno(), select.POLLOUT)
        return bool(poll.poll(STALL_SECONDS * 1000))
