"""What a failure of SQLite, or of reading its rows, means: the one boundary at which it becomes glassq's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import msgspec

from glassq.errors import CorruptRecord, StorageUnavailable

_REASONS = {
    "SQLITE_BUSY": "timeout",
    "SQLITE_LOCKED": "timeout",
    "SQLITE_FULL": "enospc",
    "SQLITE_READONLY": "readonly",
    "SQLITE_IOERR": "io",
    "SQLITE_CANTOPEN": "io",
    "SQLITE_NOMEM": "oom",
}
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_SENSELESS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    msgspec.DecodeError,
)
"""What reading a row raises that has other columns, or other values in them, than were ever written."""
_READERS = {"glassq", "contextlib", "enum", "pathlib", "posixpath"}
"""Whose code reads rows here, and what that calls for it."""


UNTRANSLATED = (sqlite3.Error, *_SENSELESS)
"""What `raise_translated` takes."""


@contextmanager
def translated(path: Path | None) -> Iterator[None]:
    """What is raised in here comes out translated."""
    try:
        yield
    except UNTRANSLATED as error:
        raise_translated(error, path)


def raise_translated(error: Exception, path: Path | None) -> NoReturn:
    """Errors of SQLite, and those of reading what cannot have been written, leave this as glassq's own.

    All others pass. Any line may be where a signal handler of the program raises a `ValueError` of its own:
    that is the program's, and says nothing of the file.
    """
    if isinstance(error, sqlite3.Error):
        raise _of_sqlite(error, path) from error
    # Text that was read can be written again: what cannot be encoded was given by the caller.
    if path is None or isinstance(error, UnicodeEncodeError) or not _raised_by_readers(error):
        raise error
    # Most damage is none to SQLite: a flipped bit in a column is another value.
    raise CorruptRecord(
        f"{path} holds what glassq cannot have written ({type(error).__name__}: {error}): it is damaged, "
        f"or this is a mistake in glassq; {_recovery(path)}"
    ) from error


def _of_sqlite(error: sqlite3.Error, path: Path | None) -> CorruptRecord | StorageUnavailable:
    name = str(getattr(error, "sqlite_errorname", None) or "")
    if name.startswith(_DAMAGE):
        return CorruptRecord(f"{path} is damaged ({name}); {_recovery(path)}")
    reason = _REASONS.get("_".join(name.split("_")[:2]), "other")
    if isinstance(error, sqlite3.ProgrammingError):
        reason = "connection"
    return StorageUnavailable(f"{path or 'the store in memory'}: {error} ({name or 'no code'})", reason)


def _raised_by_readers(error: BaseException) -> bool:
    """Whether only their code was running: a signal handler's frame would stand between it and the error."""
    entry: TracebackType | None = error.__traceback__
    while entry is not None:
        module = str(entry.tb_frame.f_globals.get("__name__"))
        if module.partition(".")[0] not in _READERS:
            return False
        entry = entry.tb_next
    return True


def _recovery(path: Path | None) -> str:
    return (
        "stop all its users, keep a copy, and recover what is readable with: "
        f"sqlite3 {path} .recover | sqlite3 recovered.db"
    )
