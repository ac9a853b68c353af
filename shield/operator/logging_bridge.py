"""What libraries say through `logging` (asyncio above all), in the same stream of lines."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from shield.operator.log import TRACEBACK_CHARACTERS, AccessLog


class LoggingBridge(logging.Handler):
    """A handler for the root logger that makes each record an event of the log."""

    def __init__(self, log: AccessLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def install(self) -> None:
        """Take over the root logger, until remove()."""
        logging.getLogger().addHandler(self)

    def use(self, log: AccessLog) -> None:
        """Bring everything into another log from now on."""
        self._log = log

    def remove(self) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))[-TRACEBACK_CHARACTERS:]
        self._log.event("library", "error" if record.levelno >= logging.ERROR else "warning", **fields)
