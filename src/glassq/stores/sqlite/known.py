"""What the writing connection knows of the tables, for as long as nobody else writes into them.

A job that is appended or settled in its order changes little, and all of it is known to whoever wrote the one
before: reading it again would cost as much as the writing does. So it is remembered from one transaction to
the next. Whether it is still true SQLite says itself: `PRAGMA data_version` changes when any other connection
has committed, of this process, of another one, or of somebody's hand.

Only appends and settlements in their order keep this up to date. Whatever else a transaction does, and any
that is not known to have been committed, leaves nothing that is trusted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any

import msgspec

from glassq.model.jobs import JobState, StoredJob
from glassq.model.leases import Lease
from glassq.stores.sqlite.legnotes import LegNotes
from glassq.stores.sqlite.rows import (
    OTHERS_READY,
    QUEUE_COLUMNS,
    Place,
    QueueRow,
    first_places,
    others_ready,
    places_in,
    queue_row,
    stored_job,
    window_rows,
)
from glassq.stores.sqlite.ties import Tie

_FURTHEST = 64
"""Places of a lane that are read at once. Two at first, then twice as many each time they are used up: where
another process writes between any two settlements more than two would be read in vain."""
_SEVERAL = 8

_MOST_TIES = 1_000
_NO_TIE = (0, None)


class HeldLane(msgspec.Struct):
    """A lane with an owner, and the first of its jobs."""

    queue: int
    lane: str
    token: int
    owner: str
    runs: bool
    begun_rank: int | None
    begun_seq: int | None
    attempts: int
    fresh: bool
    """Nothing is known of its head: no attempt that failed, no wish to cancel it."""
    change: int
    paused: bool
    places: deque[Place] = msgspec.field(default_factory=deque)
    whole: bool = False
    """Whether these are all of its jobs."""
    _reach: int = 1
    _all: tuple[StoredJob, ...] | None = None
    """All of its jobs, when they all came in one transaction and none was settled since."""

    @property
    def begun(self) -> tuple[int, int] | None:
        """The place of a head that others could come before."""
        if self.begun_rank is None or self.begun_seq is None:
            return None
        return self.begun_rank, self.begun_seq

    def belongs(self, owner: str, lease: Lease) -> bool:
        """Whether `owner` holds it under this very token."""
        # fence: both the number and the owner; a lane that vanished with its last job is nobody's.
        return self.token == lease.token and self.owner == owner

    @property
    def is_plain(self) -> bool:
        """Whether its owner runs the job that comes first, of which nothing is known, and may go on."""
        return self.runs and self.fresh and self.begun_rank is None and not self.paused

    def first(self, cx: Connection) -> Place | None:
        """The job that comes first, were none to have begun."""
        if not self.places and not self.whole:
            self._read(cx)
        return self.places[0] if self.places else None

    def second(self, cx: Connection) -> Place | None:
        """The job behind that one."""
        if len(self.places) <= 1 and not self.whole:
            self._read(cx)
        return self.places[1] if len(self.places) > 1 else None

    def look_ahead(self, cx: Connection) -> None:
        """Know several of its jobs: nobody else writes at the time, so that they are not read in vain."""
        if len(self.places) < _SEVERAL and not self.whole:
            self._reach = max(self._reach, _SEVERAL)
            self._read(cx)

    def _read(self, cx: Connection) -> None:
        self._reach = min(_FURTHEST, self._reach * 2)
        self.places = deque(first_places(cx, self.queue, self.lane, self._reach))
        self.whole = len(self.places) < self._reach

    def window(self, cx: Connection, size: int) -> tuple[StoredJob, ...]:
        """The next jobs, none of which has begun; their places are known then, too."""
        if self._all is not None:
            return self._all[:size]
        rows = window_rows(cx, self.queue, self.lane, size)
        self.places = deque(places_in(rows))
        self.whole = len(rows) < size
        return tuple(map(stored_job, rows))

    def consists_of(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """It was empty, and these came into it: as `window_rows` would read them."""
        self.places = deque(places_in(rows))
        self.whole = True
        self._all = tuple(map(stored_job, rows))

    def with_more(self) -> None:
        """Jobs came into it behind those that are known."""
        self.whole = False
        self._all = None

    def without_first(self, count: int) -> None:
        """So many of its first jobs, which are known, are gone."""
        self._all = None
        for _ in range(count):
            self.places.popleft()

    def without(self, job: Place) -> None:
        """That job is gone."""
        self._all = None
        if self.places and self.places[0] == job:
            self.places.popleft()
        else:
            self.places.clear()
            self.whole = False


class Leg(msgspec.Struct, gc=False):
    """Jobs of a held lane that have ended, or may, and are in the tables still (see `legs`), and the one
    behind them. `stood` are counters of its queue; so many of the jobs have ended, the last of them at that
    time. They are among the lane's places as long as it is under way."""

    number: int
    lane: HeldLane
    jobs: Sequence[Place]
    notes: LegNotes
    stood: QueueRow
    ended: int = 0
    at: int = 0


class Known:
    """Queues, held lanes, and lanes that jobs can join without anybody being told, as they stand.

    `version` is the file's at the last commit that left this true, None after any other transaction.
    """

    __slots__ = (
        "_flows",
        "_held",
        "_others",
        "_queues",
        "_quiet",
        "_ties",
        "inflows",
        "legs",
        "notes",
        "uncounted",
        "version",
    )

    def __init__(self, notes: LegNotes | None = None) -> None:
        self._queues: dict[int, QueueRow] = {}
        self._others: dict[int, bool] = {}
        self._held: dict[tuple[int, str], HeldLane] = {}
        self._quiet: dict[tuple[int, str], int] = {}
        self._ties: dict[str, tuple[int, str | None]] = {}
        self._flows: dict[str, tuple[int, int]] = {}
        self.version: int | None = None
        self.legs: dict[int, Leg] = {}
        """The legs that are under way, by their numbers: all there are in the file, begun by this process."""
        self.inflows: dict[tuple[int, str, int], int] = {}
        """The numbers of the inflows there are in the file, all of this process, by queue, lane and rank."""
        self.uncounted: set[int] = set()
        """Queues with jobs that came in by them and are not counted: `queue` counts them."""
        self.notes = notes
        """Where the ends of their jobs are noted; None where there are no legs."""

    def forget(self) -> None:
        """Read everything anew. No leg is under way, nor an inflow, or none is to be."""
        self.legs.clear()
        self.inflows.clear()
        self.uncounted.clear()
        self._queues.clear()
        self._others.clear()
        self._held.clear()
        self._quiet.clear()
        self._ties.clear()
        self._flows.clear()

    def queue(self, cx: Connection, queue: int) -> QueueRow:
        """A queue's counters. Whoever writes others changes these, too."""
        row = self._queues.get(queue)
        if row is None:
            row = self._queues[queue] = queue_row(cx, queue)
        return row

    def is_tied(self, queue: int | None) -> bool:
        """Whether jobs of the queue were last seen to concern others. Outside of a transaction a hint."""
        row = None if queue is None else self._queues.get(queue)
        return row is not None and row.tied > 0

    def others(self, cx: Connection, queue: int) -> bool:
        """Whether a lane of the queue waits for a worker and may be served."""
        known = self._others.get(queue)
        if known is None:
            known = self._others[queue] = others_ready(cx, queue)
        return known

    def held(self, cx: Connection, queue: int, owner: str, lease: Lease) -> HeldLane | None:
        """The lane of a lease, if `owner` holds it under this very token."""
        lane = self._held.get((queue, lease.lane))
        if lane is None:
            row = cx.execute(_HELD, (queue, lease.lane)).fetchone()
            if row is None:
                return None
            lane = self._held[queue, lease.lane] = HeldLane(queue, lease.lane, *row[:9])
            self._others[queue] = bool(row[9])
            self._queues.setdefault(queue, QueueRow(*row[10:]))
        return lane if lane.belongs(owner, lease) else None

    def knows(self, queue: int, lane: str) -> bool:
        """Whether this held lane was read in an earlier transaction, and nobody else has written since."""
        return (queue, lane) in self._held

    def leg_of(self, queue: int, lane: str) -> Leg | None:
        """The leg a lane is on, if it is."""
        for leg in self.legs.values():
            if leg.lane.lane == lane and leg.lane.queue == queue:
                return leg
        return None

    def left(self, lane: HeldLane) -> None:
        """There is no such lane any more."""
        self._held.pop((lane.queue, lane.lane), None)
        self._quiet.pop((lane.queue, lane.lane), None)

    # -- tied jobs -----------------------------------------------------------------------------------------

    def released(self, job: str, queue: int, flow: str | None) -> None:
        """A job that waited for nobody but its only parent has its place now; others may wait for it."""
        if len(self._ties) < _MOST_TIES:
            self._ties[job] = (queue, flow)

    def tie(self, job: str) -> Tie | None:
        """The row of such a job, which ends now."""
        queue, flow = self._ties.pop(job, _NO_TIE)
        if flow is None:
            return Tie(queue) if queue else None
        counted = self._flows.get(flow)
        return None if counted is None else Tie(queue, flow, record=counted[0], left=counted[1])

    def note_in_flow(self, before: Tie, outcome: JobState | None) -> None:
        """A job of a workflow, of which that was known, has ended so. As long as others have not, it is known
        how many."""
        if before.flow is None:
            return
        if (
            before.record is not None
            and before.left is not None
            and outcome is not None
            and before.has_company
        ):
            self._flows[before.flow] = (before.record, before.left - 1)
        else:
            self._flows.pop(before.flow, None)

    # -- joining a lane ------------------------------------------------------------------------------------

    def joins(self, queue: int, lane: str, first: int, last: int) -> bool:
        """Whether jobs of ranks from `first` to `last` come into a lane that there is, and behind whatever
        its owner, if it has one, may have read. They are taken to be in it from now on."""
        held = self._held.get((queue, lane))
        if held is not None:
            held.with_more()
        lowest = self._quiet.get((queue, lane))
        if lowest is None or first < lowest:
            return False
        if last > lowest:
            self._quiet[queue, lane] = last
        return True

    def joined(self, queue: int, lane: str, last: int, *, opened: bool) -> None:
        """Jobs came into a lane of which none, or none that anybody has read, is behind the rank `last`."""
        self._quiet[queue, lane] = last
        if opened:
            self._others.pop(queue, None)


_HELD = (
    "SELECT lanes.token, owner, runs, begun_rank, begun_seq, attempts,"
    " attempts = 0 AND failures = 0 AND crashes = 0 AND blocked_at IS NULL AND cancel IS NULL, change,"
    f" lanes.paused, ({OTHERS_READY}), {QUEUE_COLUMNS}"
    " FROM lanes JOIN queues ON queues.id = lanes.queue WHERE lanes.queue = ? AND lane = ? AND state = 'held'"
)
