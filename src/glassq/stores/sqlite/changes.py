"""What every changing verb goes through: a transaction at one time."""

from __future__ import annotations

from sqlite3 import Connection

from glassq.stores.sqlite import claiming


class Change:
    """A transaction under way: its connection, the time it happens at, and whether it made a lane ready."""

    __slots__ = ("_clock", "cx", "now", "ring")

    def __init__(self, cx: Connection, now: int) -> None:
        self.cx = cx
        self.now = self._clock = now
        self.ring = False

    def touch(self, queue: int | None) -> int:
        """Let a queue, if there is one, see what time it is; from here on `now` is its time."""
        self.now = self._clock if queue is None else claiming.touch(self.cx, queue, self._clock)
        return self.now
