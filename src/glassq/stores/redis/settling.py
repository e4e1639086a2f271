"""Settlements that nobody waits for, and when somebody should."""

from __future__ import annotations

import time
from typing import Final

from glassq.model.leases import Settled
from glassq.stores.redis import replies
from glassq.stores.redis.server import Sent


class GoingOn:
    """`glassq.storage.Settling` of a settlement that was sent to the server."""

    def __init__(self, queue: str, sent: Sent) -> None:
        self._queue = queue
        self._sent = sent
        self.arrived = sent.arrived
        """See `Settling.arrived`."""

    def answer(self) -> Settled:
        """See `Settling.answer`."""
        (told,) = replies.settled(self._queue, self._sent.answer())
        return told


_FRESH: Final = 1.0
"""Seconds for which lanes of quick jobs may not have heard of what this process did to their queue."""


class Steering:
    """Remembers for a moment which queues this process paused or changed otherwise. Thread-safe."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def note(self, queue: str) -> None:
        """It is about to change something of this queue."""
        self._until[queue] = time.monotonic() + _FRESH

    def is_fresh(self, queue: str) -> bool:
        """Whether it did so a moment ago."""
        return time.monotonic() < self._until.get(queue, 0.0)
