"""The verbs that change nothing: what there is to see, each in one snapshot, for which no writer waits.

Jobs that were noted to have ended are taken out before (see `legs`), those that came in counted (see
`inflows`): that changes nothing that anybody sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from sqlite3 import Connection
from typing import TypeVar

from glassq.model.clock import Clock
from glassq.model.jobs import JobRecord
from glassq.model.lanes import LaneOrder, LanesSeen, WorkerStats
from glassq.model.layouts import Layout
from glassq.model.names import queue_of
from glassq.model.stats import QueueStats
from glassq.storage import DeadRecord, HaltedRecord, WaitingRecord
from glassq.stores.sqlite import inflows, legs, looking, views
from glassq.stores.sqlite.changes import Changes
from glassq.stores.sqlite.connection import Connections
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.naming import Names, all_names, layouts
from glassq.stores.sqlite.rows import micros

R = TypeVar("R")
U = TypeVar("U")


class ReadingVerbs:
    """See `glassq.storage.Storage`. A part of the store."""

    _changes: Changes
    _clock: Clock
    _connections: Connections
    _known: Known
    _names: Names

    def get(self, job_id: str) -> JobRecord | None:
        """See `Storage.get`."""
        return self._read(queue_of(job_id), None, lambda cx, key: views.find(cx, key, job_id))

    def waiting(self, queue: str, limit: int) -> list[WaitingRecord]:
        """See `Storage.waiting`."""
        return self._read(queue, [], lambda cx, key: views.waiting(cx, key, limit))

    def dead(self, queue: str, limit: int) -> list[DeadRecord]:
        """See `Storage.dead`."""
        return self._read(queue, [], lambda cx, key: views.dead(cx, key, limit))

    def halted(self, queue: str, limit: int) -> list[HaltedRecord]:
        """See `Storage.halted`."""
        return self._read(queue, [], lambda cx, key: views.halted(cx, key, limit))

    def lanes(self, queue: str, *, by: LaneOrder, limit: int, look: int) -> LanesSeen:
        """See `Storage.lanes`. One snapshot, for which no writer waits."""
        clock = self._clock
        return self._read(queue, LanesSeen(), lambda cx, key: looking.lanes(cx, key, clock, by, limit, look))

    def workers(self, queue: str) -> list[WorkerStats]:
        """See `Storage.workers`. One snapshot."""
        with self._connections.reading() as cx:
            return looking.workers(cx, self._names.find(cx, queue), queue, micros(self._clock.wall()))

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        """See `Storage.stats`. All queues in one snapshot."""
        with self._reading() as cx:
            now = micros(self._clock.wall())
            return [views.stats(cx, self._names.find(cx, name), name, now) for name in queues]

    def queues(self) -> list[str]:
        """See `Storage.queues`."""
        with self._connections.reading() as cx:
            return all_names(cx)

    def layouts(self) -> dict[str, Layout]:
        """See `Storage.layouts`."""
        with self._connections.reading() as cx:
            return layouts(cx)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A snapshot in which no job is that has ended, and all others are counted. Where that may not be so,
        it comes after one transaction, which ends all legs and inflows."""
        with ExitStack() as snapshot:
            cx = snapshot.enter_context(self._connections.reading())
            while legs.are_noted(cx, self._known) or inflows.are_there(cx):
                snapshot.close()
                with self._connections.turn():  # here nobody goes on in between; another process hardly can
                    self._changes.insist(lambda _: None)
                    cx = snapshot.enter_context(self._connections.reading())
            yield cx

    def _read(self, queue: str, unknown: U, look: Callable[[Connection, int], R]) -> R | U:
        """What there is to see of a queue; `unknown` answers for no such queue."""
        with self._reading() as cx:
            key = self._names.find(cx, queue)
            return unknown if key is None else look(cx, key)
