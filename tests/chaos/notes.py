"""The program's own notes, beside its history: what a history has no line for and a test wants to know.

`CHAOS_NOTES` names their folder; each process has a file of its own there, one write a line.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import redis

import glassq.app
from glassq.model.leases import Claimed, Owner
from glassq.storage import Storage


def note(event: str, **entry: Any) -> None:
    """One line: `{"e": event, "m": monotonic time, ...}`."""
    line = json.dumps({"e": event, "m": time.monotonic(), **entry}) + "\n"
    path = Path(os.environ["CHAOS_NOTES"]) / f"{os.getpid()}-notes.jsonl"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def take_notes() -> None:
    """Note every claim and every connection of this process, which has not opened its store yet."""
    open_storage = vars(glassq.app)["open_storage"]
    mock.patch(
        "glassq.app.open_storage", lambda *about, **options: Noted(open_storage(*about, **options))
    ).start()
    connect = redis.Connection._connect  # one try to connect, whether it is answered or not

    def knock(self: redis.Connection) -> Any:
        note("knock")
        return connect(self)  # type: ignore[no-untyped-call]

    mock.patch.object(redis.Connection, "_connect", knock).start()


class Noted:
    """A store that notes when it is about to claim, what it was granted, and that the answer was noted.

    Who dies between the first and the last may own lanes that nobody has read of.
    """

    def __init__(self, inner: Storage) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def claim(self, owner: Owner, queues: Sequence[str], **how: Any) -> Claimed:
        """See `Storage.claim`."""
        note("claiming")
        try:
            claimed = self._inner.claim(owner, queues, **how)
            for grant in claimed.grants:
                lease = grant.lease
                note("claimed", queue=lease.queue, lane=lease.lane, token=lease.token, cause=grant.cause)
        finally:
            note("claim_noted")
        return claimed
