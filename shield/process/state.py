"""What survives a restart: the signing keys, and the history of clients.

Without a state directory both live in memory only. Files are replaced whole (write, fsync, rename), so a crash or a
full disk leaves the old one. These functions block: call them at start, or from a thread.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import orjson

from shield.config.state import StateSettings
from shield.errors import StartError

KEY_BYTES: Final = 32
HISTORY_VERSION: Final = 1
HISTORY_MAX_BYTES: Final = 256 << 20
"""A larger file is not ours: the history table is bounded, and a row takes about 200 bytes."""

KEYS_MAX_BYTES: Final = 4096
"""Two lines of 64 digits and some white space."""

_WORKER: Final = re.compile(r"history-[0-9]+\.json")

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""The disk's condition, not a mistake of the operator's: Shield goes on without it and says so."""


class EventLog(Protocol):
    def event(self, name: str, **fields: Any) -> None: ...


def load_keys(
    settings: StateSettings, log: EventLog, entropy: Callable[[int], bytes] = os.urandom
) -> tuple[bytes, bytes | None]:
    """The current signing key and the one before it, 32 bytes each.

    Created when the file is missing. Raises StartError for a file that cannot be read, is another user's, is readable
    by others or does not hold keys: signing with anything else would silently void every pass.
    """
    if settings.secret_file:
        path = Path(settings.secret_file)
    elif settings.directory:
        path = Path(settings.directory, "keys")
    else:
        return entropy(KEY_BYTES), None
    try:
        return _read_keys(path)
    except FileNotFoundError:
        pass
    current = entropy(KEY_BYTES)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_whole(path, current.hex().encode() + b"\n", new=True)
    except FileExistsError:
        return _read_keys(path)  # another process was faster; its keys are the keys
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise StartError(f"state: cannot create {path}: {error.strerror}") from error
        log.event("keys_not_saved", path=str(path), error=error.strerror, effect="passes end with this process")
    return current, None


def _read_keys(path: Path) -> tuple[bytes, bytes | None]:
    try:
        with _open(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(KEYS_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StartError(f"state: cannot read {path}: {error.strerror}") from error
    if len(data) > KEYS_MAX_BYTES:
        data = b""  # not keys
    if mode & 0o077:
        raise StartError(f"state: {path} has mode {mode:04o}, so others can read the keys; run: chmod 600 {path}")
    try:
        keys = [bytes.fromhex(line.decode("ascii")) for line in data.split()]
    except ValueError:
        keys = []
    if not 1 <= len(keys) <= 2 or any(len(key) != KEY_BYTES for key in keys):
        raise StartError(f"state: {path} must hold one or two lines of {2 * KEY_BYTES} hex digits")
    return keys[0], keys[1] if len(keys) == 2 else None


def _open(path: Path) -> BinaryIO:
    """Open a file whose content is trusted. Raises OSError, also for what is no file, is another user's, or can be
    written by others. Symbolic links are followed (secrets are often mounted as such); what they lead to counts.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO would keep us waiting
    found = os.fstat(descriptor)
    reason = ""
    if not stat.S_ISREG(found.st_mode):
        reason = "not a regular file"
    elif found.st_uid not in (0, os.geteuid()):
        reason = f"belongs to user {found.st_uid}, who could change it"
    elif found.st_mode & 0o022:
        reason = f"has mode {stat.S_IMODE(found.st_mode):04o}, so others can change it; run: chmod 600 {path}"
    if reason:
        os.close(descriptor)
        raise OSError(errno.EPERM, reason)
    return os.fdopen(descriptor, "rb")


def save_history(settings: StateSettings, rows: Sequence[Any], log: EventLog, worker: int | None = None) -> bool:
    """Replace the history file by `rows` (plain JSON values). False, and an event, when the disk will not take it.

    Each of several workers has a file of its own, history-<worker>.json.
    """
    if not settings.directory:
        return False
    path = Path(settings.directory, "history.json" if worker is None else f"history-{worker}.json")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_whole(path, orjson.dumps({"version": HISTORY_VERSION, "rows": rows}))
    except OSError as error:
        log.event("history_not_saved", path=str(path), error=error.strerror, rows=len(rows))
        return False
    return True


def load_history(settings: StateSettings, log: EventLog) -> list[Any]:
    """The rows saved last, by a single process and by every worker, whichever of them this is.

    So a changed number of workers forgets nobody; a client or pass may have several rows. A file that cannot be used
    gives no rows: it is put aside and reported.
    """
    if not settings.directory:
        return []
    directory = Path(settings.directory)
    workers = sorted(path for path in directory.glob("history-*.json") if _WORKER.fullmatch(path.name))
    return [row for path in (directory / "history.json", *workers) for row in _read_history(path, log)]


def _read_history(path: Path, log: EventLog) -> list[Any]:
    try:
        with _open(path) as file:
            data = file.read(HISTORY_MAX_BYTES + 1)
        if len(data) > HISTORY_MAX_BYTES:
            return _set_aside(path, log, f"more than {HISTORY_MAX_BYTES} bytes")
        document = orjson.loads(data)
    except FileNotFoundError:
        return []
    except OSError as error:
        return _set_aside(path, log, str(error.strerror))
    except orjson.JSONDecodeError as error:
        return _set_aside(path, log, str(error))
    match document:
        case {"version": 1, "rows": list(rows)}:
            return rows
        case _:
            return _set_aside(path, log, f"not a history of version {HISTORY_VERSION}")


def _set_aside(path: Path, log: EventLog, error: str) -> list[Any]:
    """Keep an unusable file under another name: the next save must not destroy what somebody may want to see.

    Nine are kept; a further one replaces the last.
    """
    names = [path.with_suffix(".unusable"), *(path.with_suffix(f".unusable{number}") for number in range(2, 10))]
    aside = next((name for name in names if not os.path.lexists(name)), names[-1])
    try:
        path.replace(aside)
    except OSError as failure:
        error = f"{error}; it cannot be put aside: {failure.strerror}"
        aside = path
    log.event("history_unusable", path=str(path), error=error, kept_as=str(aside))
    return []


def _write_whole(path: Path, data: bytes, new: bool = False) -> None:
    """Write `path` whole or not at all, with mode 0600 (mkstemp's). `new`: raise FileExistsError if it is there."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            path.hardlink_to(temporary)
        else:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)  # the rename itself
    finally:
        os.close(directory)
