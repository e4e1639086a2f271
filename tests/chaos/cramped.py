"""A producer whose files may not grow any more, now and then."""

from __future__ import annotations

import resource
import sqlite3
from pathlib import Path

from glassq.errors import EnqueueError, StorageError
from tests.chaos.notes import note
from tests.chaos.program import Caller, app

_ROOM = 200_000
"""Bytes its files may still grow by when the limit is set."""


def main(arguments: list[str]) -> int:
    """Call until refused, raise the limit, and again, for so many rounds."""
    _, rounds = arguments
    caller = Caller("cramped", 3)
    caller.call()
    files = [Path(app.address.removeprefix("sqlite:///") + suffix) for suffix in ("", "-wal")]
    for _ in range(int(rounds)):
        reader = _hold_back(files[0])
        size = max(file.stat().st_size for file in files)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + _ROOM, resource.RLIM_INFINITY))
        refused = 0
        while refused < 5:
            try:
                caller.call()
            except EnqueueError:  # the queue is full: the worker will make room
                continue
            except StorageError as error:
                note("refused", error=type(error).__name__)
                refused += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        reader.close()
        caller.call()
        note("raised")
    return 0


def _hold_back(database: Path) -> sqlite3.Connection:
    """A reader for whom the write-ahead log is kept: it grows into the limit, instead of beginning anew."""
    reader = sqlite3.connect(database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return reader
