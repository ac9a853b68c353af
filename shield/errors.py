"""The errors that end a command, and what errors of others mean."""

from __future__ import annotations

import errno


class StartError(Exception):
    """Shield cannot start. The text is one line for the operator: what was tried, and what stands in the way."""


class MistakesError(Exception):
    """What the operator wrote has mistakes. The text names every one, a line each."""


def out_of_files(error: BaseException) -> bool:
    """Whether this process or machine has no descriptor left: that says nothing about who was to be connected to."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)
