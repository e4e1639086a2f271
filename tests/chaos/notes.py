"""The program's own notes, beside its history: what a history has no line for and a test wants to know.

`CHAOS_NOTES` names their folder; each process has a file of its own there, one write a line.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import redis

import glassq.app
from glassq.model.events import AttemptStarted
from glassq.model.leases import Claimed, Owner
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.holdings import HeldLane

_A_WHILE = 0.02
"""Seconds: less than any stop in a test lasts."""


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


def note_slow_beginnings(bus: Bus) -> None:
    """Note each job that begins a while after this worker has looked whether the lane is still its own, and
    when it looked: this thread, or the whole process, stood still between the two."""
    looks = threading.local()
    ours = HeldLane.ours

    def look(self: HeldLane) -> bool:
        looks.at = time.monotonic()
        return ours(self)

    def started(event: AttemptStarted) -> None:
        if time.monotonic() - looks.at > _A_WHILE:
            lease = event.lease
            note("begun_late", queue=lease.queue, lane=lease.lane, token=lease.token, looked=looks.at)

    mock.patch.object(HeldLane, "ours", look).start()
    bus.subscribe(started, AttemptStarted)


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
