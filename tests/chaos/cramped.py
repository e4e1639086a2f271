"""A producer whose files may not grow any more, now and then."""

from __future__ import annotations

import resource
from pathlib import Path

from glassq.errors import EnqueueError, StorageError
from tests.chaos.program import Caller, app, note

_ROOM = 200_000
"""Bytes its files may still grow by when the limit is set."""


def main(arguments: list[str]) -> int:
    """Call until refused, raise the limit, and again, for so many rounds."""
    _, rounds = arguments
    caller = Caller("cramped", 3)
    caller.call()
    files = [Path(app.address.removeprefix("sqlite:///") + suffix) for suffix in ("", "-wal")]
    for _ in range(int(rounds)):
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
        caller.call()
        note("raised")
    return 0
