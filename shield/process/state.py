"""What survives a restart: the signing keys, the history of clients, what else the policy has learned, and the rules
that the operator has made.

Without a state directory both live in memory only. Files are replaced whole (write, fsync, rename), so a crash or a
full disk leaves the old one. These functions block: call them at start, or from a thread.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import orjson

from shield.config.state import StateSettings
from shield.errors import StartError

KEY_BYTES: Final = 32
HISTORY: Final = "history"
LEARNED: Final = "learned"
JOURNAL: Final = "journal"
RULES: Final = "rules"
KEYS: Final = "keys"
VERSION: Final = 1
MAX_BYTES: Final = 256 << 20
"""A larger file is not ours: the tables are bounded, and a row takes about 200 bytes."""
DIGEST_BYTES: Final = 16
CLOCK_SECONDS: Final = 300.0
"""What a clock may be put back by, as it is when it had gone wrong a little."""
LEFT_SECONDS: Final = 60.0
"""A file that is half-written for so long was left by a process that was killed."""
OF_OLD: Final = {"version", "rows"}
"""All that a history file had before there were checksums."""
_SEAL: Final = b',"checksum":"%b"}\n'

KEYS_MAX_BYTES: Final = 4096
"""Two lines of 64 digits and some white space."""

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""The disk's condition, not a mistake of the operator's: Shield goes on without it and says so."""


class EventLog(Protocol):
    def event(self, name: str, **fields: Any) -> None: ...


def load_keys(
    settings: StateSettings,
    log: EventLog,
    entropy: Callable[[int], bytes] = os.urandom,
    former: tuple[bytes, bytes | None] | None = None,
) -> tuple[bytes, bytes | None]:
    """The current signing key and the one before it, 32 bytes each. `former` are those so far, which stay where no file
    has others.

    The file is made when it is missing. Raises StartError for a file that cannot be read, is another user's, is
    readable by others or does not hold keys: signing with anything else would silently void every pass.
    """
    if settings.secret_file:
        path = Path(settings.secret_file)
    elif settings.directory:
        path = Path(settings.directory, KEYS)
    else:
        return former or (entropy(KEY_BYTES), None)
    try:
        return _read_keys(path)
    except FileNotFoundError:
        pass
    keys = former or (entropy(KEY_BYTES), None)
    try:
        _write_keys(path, keys)
    except FileExistsError:
        return _read_keys(path)  # another process was faster; its keys are the keys
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise StartError(f"state: cannot create {path}: {error.strerror}") from error
        tell_of_keys(path, str(error.strerror), log)
    return keys


def keep_keys(settings: StateSettings, keys: tuple[bytes, bytes | None]) -> str:
    """Write the keys down where `state.directory` does not have them, or not any more: a client is saved under a name
    that is made with them. What stands in the way, or nothing."""
    path = Path(settings.directory, KEYS)
    if settings.secret_file or os.path.lexists(path):
        return ""
    try:
        _write_keys(path, keys)
    except OSError as error:
        return "" if os.path.lexists(path) else str(error.strerror)
    return ""


def tell_of_keys(path: Path, error: str, log: EventLog) -> None:
    """Say that the keys are not kept."""
    log.event("keys_not_saved", path=str(path), error=error, effect="passes end with this process")


def _write_keys(path: Path, keys: tuple[bytes, bytes | None]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, [key.hex().encode() + b"\n" for key in keys if key is not None], new=True)


def _read_keys(path: Path) -> tuple[bytes, bytes | None]:
    try:
        with open_trusted(path) as file:
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


def open_trusted(path: Path, flags: int = 0) -> BinaryIO:
    """Open a file whose content is trusted. Raises OSError, also for what is no file, is another user's, or can be
    written by others. Symbolic links are followed (secrets are often mounted as such), unless `flags` say otherwise;
    what they lead to counts.
    """
    return os.fdopen(descriptor_of(path, os.O_RDONLY | flags), "rb")


def descriptor_of(path: Path, flags: int) -> int:
    """The descriptor of such a file, opened with these flags, and made with mode 0600 where they say so."""
    try:
        descriptor = os.open(path, os.O_CLOEXEC | os.O_NONBLOCK | flags, 0o600)  # a FIFO would keep us waiting
    except OSError as error:
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW:
            raise OSError(errno.ELOOP, "a symbolic link") from error
        raise
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
    return descriptor


@dataclass(frozen=True, slots=True)
class Saved:
    """What one process has saved: its number (None: it was alone), and when, by the wall clock."""

    worker: int | None
    time: float
    about: Mapping[str, Any]
    rows: list[Any]


def path_of(settings: StateSettings, kind: str, worker: int | None) -> Path:
    """The file of a kind that this process writes. Each of several workers has one of its own."""
    suffix = _suffix(kind)
    return Path(settings.directory, f"{kind}{suffix}" if worker is None else f"{kind}-{worker}{suffix}")


def _suffix(kind: str) -> str:
    return ".log" if kind == JOURNAL else ".json"


def files_of(settings: StateSettings, kind: str) -> list[tuple[Path, int | None]]:
    """The files of a kind that are there, each with the number of the worker that it is from; None: from a process that
    was alone."""
    suffix, found = _suffix(kind), []
    for path in sorted(Path(settings.directory).glob(f"{kind}*{suffix}")):
        match = re.fullmatch(rf"{kind}(-([0-9]{{1,4}}))?{re.escape(suffix)}", path.name)
        if match is not None:
            found.append((path, None if match[2] is None else int(match[2])))
    return found


def forget_others(settings: StateSettings, kind: str, workers: int | None) -> None:
    """Remove what was saved of a kind by workers that there are no more of: there are so many now, or one process that
    is alone (None). To be called once all have read it, and have saved it in files of their own."""
    for path, worker in files_of(settings, kind):
        if (worker is None) is not (workers is None) or (workers is not None and (worker or 0) >= workers):
            with contextlib.suppress(OSError):
                path.unlink()


def save(
    settings: StateSettings, kind: str, slices: Sequence[bytes], about: Mapping[str, Any], worker: int | None = None
) -> str:
    """Replace the file of a kind (HISTORY, LEARNED or RULES). What stands in the way, or nothing.

    `slices` are JSON lists of rows, made piece by piece so that no request waits.
    """
    path = path_of(settings, kind, worker)
    digest = blake2b(digest_size=DIGEST_BYTES)
    pieces = [b'{"version":%d,"about":%b,"rows":[' % (VERSION, orjson.dumps(about))]
    pieces += [piece for each in slices if (rows := each[1:-1]) for piece in (b",", rows)]
    if len(pieces) > 1:
        del pieces[1]
    pieces.append(b"]")
    for piece in pieces:
        digest.update(piece)
    pieces.append(_SEAL % digest.hexdigest().encode())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, pieces)
    except OSError as error:
        return str(error.strerror)
    return ""


def load(settings: StateSettings, kind: str, log: EventLog, wall: float = math.inf) -> list[Saved]:
    """What was saved last of a kind, by a single process and by every worker, whichever of them this is.

    So a changed number of workers forgets nobody; a row may be there several times. A file that cannot be used is put
    aside and reported. So is one that was saved CLOCK_SECONDS or more after `wall`: the clock has gone back since.
    """
    if not settings.directory:
        return []
    sweep(settings, kind)
    found = []
    for path, worker in files_of(settings, kind):
        try:
            found.append(_read(path, worker, wall))
        except FileNotFoundError:
            continue
        except UnusableError as error:
            set_aside(path, kind, log, str(error))
        except OSError as error:
            set_aside(path, kind, log, str(error.strerror))
    return found


class UnusableError(Exception):
    """A file is not to be believed; says why."""


def _read(path: Path, worker: int | None, wall: float) -> Saved:
    with open_trusted(path, os.O_NOFOLLOW) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UnusableError(f"more than {MAX_BYTES} bytes")
    sealed = len(data) - len(_SEAL % (b"0" * 2 * DIGEST_BYTES))
    digest = blake2b(data[: max(sealed, 0)], digest_size=DIGEST_BYTES).hexdigest().encode()
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnusableError(str(error)) from error
    match document:
        case {"version": 1, "rows": list(rows)}:
            if data[max(sealed, 0) :] != _SEAL % digest and document.keys() != OF_OLD:
                raise UnusableError("the checksum is another one: the file was damaged")
            about = document.get("about", {})
        case {"version": int(version)} if version > VERSION:
            raise UnusableError(f"of version {version}: a newer Shield wrote it")
        case _:
            raise UnusableError(f"not of version {VERSION}")
    saved = about.get("time", 0.0)
    if not isinstance(saved, (int, float)):
        raise UnusableError("it does not say when it was saved")
    if saved > wall + CLOCK_SECONDS:
        raise UnusableError("it was saved later than now: the clock has gone back")
    return Saved(worker, saved, about, rows)


def sweep(settings: StateSettings, kind: str) -> None:
    """Remove what a process that was killed has left half-written of a kind."""
    for path in Path(settings.directory).glob(f".{kind}*{_suffix(kind)}.*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < time.time() - LEFT_SECONDS:
                path.unlink()


def name_aside(path: Path) -> Path:
    """The name under which an unusable file is kept. Nine are kept; a further one replaces the last."""
    names = [path.with_suffix(".unusable"), *(path.with_suffix(f".unusable{number}") for number in range(2, 10))]
    return next((name for name in names if not os.path.lexists(name)), names[-1])


def set_aside(path: Path, kind: str, log: EventLog, error: str) -> None:
    """Keep an unusable file under another name: the next save must not destroy what somebody may want to see."""
    aside = name_aside(path)
    try:
        path.replace(aside)
    except OSError as failure:
        error = f"{error}; it cannot be put aside: {failure.strerror}"
        aside = path
    log.event(
        "history_unusable"
        if kind == HISTORY
        else "rules_unusable"
        if kind == RULES
        else "journal_unusable"
        if kind == JOURNAL
        else "learned_unusable",
        path=str(path),
        error=error,
        kept_as=str(aside),
    )


def write_whole(path: Path, pieces: Sequence[bytes], new: bool = False, mode: int = 0o600) -> None:
    """Write `path` whole or not at all. `new`: raise FileExistsError if it is there. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.writelines(pieces)
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
