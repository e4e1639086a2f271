"""What every changing verb goes through: a transaction at one time, and the rings that follow its commit."""

from __future__ import annotations

from collections.abc import Callable
from sqlite3 import Connection
from typing import Any, TypeVar

from glassq.errors import StorageUnavailable
from glassq.model.clock import Clock
from glassq.stores.sqlite import jumps
from glassq.stores.sqlite.connection import Connections
from glassq.stores.sqlite.disk import Disk
from glassq.stores.sqlite.liveness import Liveness
from glassq.stores.sqlite.rows import micros

R = TypeVar("R")


class Change:
    """A call at work in a transaction: its connection, the time it happens at, and whether it made a lane
    ready."""

    __slots__ = ("_clock", "_liveness", "_work", "clock", "cx", "now", "ring")

    cx: Connection
    clock: int
    now: int

    def __init__(self, work: Callable[[Change], Any], clock: Clock, liveness: Liveness) -> None:
        self._work = work
        self._clock = clock
        self._liveness = liveness
        self.ring = False

    def be_made(self, cx: Connection) -> Any:
        """Do the work, for the first time or again after that was undone."""
        self.cx = cx
        self.now = self.clock = micros(self._clock.wall())
        self.ring = False
        answer = self._work(self)
        if self.ring:
            self._liveness.learn(cx)
        return answer

    def touch(self, queue: int | None) -> int:
        """Let a queue, if there is one, see what time it is; from here on `now` is its time."""
        self.now = self.clock if queue is None else jumps.touch(self.cx, queue, self.clock)
        return self.now


class Changes:
    """Carries out changes. `shared`: one transaction may hold calls of several threads.

    What a lane's order rests on is not shared: a claim begins when all that came before it is committed. And
    two settlements of one lane are never in one transaction, for the second job's begins after the first one
    was answered.
    """

    def __init__(self, connections: Connections, liveness: Liveness, disk: Disk | None, clock: Clock) -> None:
        self._connections = connections
        self._liveness = liveness
        self._disk = disk
        self._clock = clock

    def make(self, work: Callable[[Change], R], *, shared: bool = False) -> R:
        """Do a work; when it made a lane ready, every worker is woken after its commit."""
        change = Change(work, self._clock, self._liveness)
        answer: R = self._connections.write(change.be_made, shared=shared)
        if change.ring:
            self._liveness.ring_all()
        return answer

    def insist(self, work: Callable[[Change], R], *, shared: bool = False) -> R:
        """Do what must not fail on a full disk: everything that leads to a settlement. Appends may fail."""
        try:
            return self.make(work, shared=shared)
        except StorageUnavailable as error:
            if error.reason != "enospc" or self._disk is None:
                raise
            # Another thread may have given the ballast up since: tried again either way.
            self._disk.drop_ballast()
            return self.make(work, shared=shared)
