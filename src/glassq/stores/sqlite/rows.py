"""The few rows that every verb reads and writes: a queue's counters, a lane's head, its window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import starmap
from operator import itemgetter
from sqlite3 import Connection
from typing import Any, NamedTuple

import msgspec

from glassq.model.jobs import JobState, StoredJob
from glassq.model.verdicts import Action
from glassq.model.watermarks import Counts, Watermark

MICRO = 1_000_000
READY = "CASE WHEN paused THEN 'paused' ELSE 'ready' END"
"""The state of a lane that nothing but a pause keeps from being served."""
FRESH = "cancel = NULL, attempts = 0, failures = 0, crashes = 0, blocked_at = NULL"
"""What a lane knows of a head that is new to it."""
OUTCOMES = {
    Action.ACK: JobState.SUCCEEDED,
    Action.BURY: JobState.BURIED,
    Action.EXPIRE: JobState.EXPIRED,
    Action.CANCEL: JobState.CANCELLED,
}
"""How a job ended that was settled so: the name of the column that counts it, too."""
PLACE_COLUMNS = "id, rank, seq, dedup"
JOB_COLUMNS = "id, seq, rank, body, eligible_at, expires_at, replayed"


def micros(seconds: float) -> int:
    """Seconds as the store keeps them."""
    return round(seconds * MICRO)


def a_body(value: object) -> bytes:
    """A body as one was written. SQLite gives back whatever a damaged row says it holds, NULL in a NOT NULL
    column, too; the `TypeError` becomes `CorruptRecord` where the transaction ends."""
    if isinstance(value, bytes):
        return value
    raise TypeError(f"a job's body is {type(value).__name__}, not bytes")


def stored_job(row: tuple[Any, ...]) -> StoredJob:
    """A job from `JOB_COLUMNS`."""
    job, seq, rank, body, eligible_at, expires_at, replayed = row[:7]
    return StoredJob(
        id=job,
        seq=seq,
        level=-rank,
        body=a_body(body),
        eligible_at=eligible_at / MICRO,
        expires_at=None if expires_at is None else expires_at / MICRO,
        replayed=bool(replayed),
    )


def window(cx: Connection, queue: int, lane: str, size: int) -> tuple[StoredJob, ...]:
    """The next jobs of a lane none of which has begun: highest level first, then by sequence."""
    return tuple(map(stored_job, window_rows(cx, queue, lane, size)))


def window_rows(cx: Connection, queue: int, lane: str, size: int) -> list[tuple[Any, ...]]:
    """The rows of a window: see `stored_job` and `places_in`."""
    return cx.execute(
        f"SELECT {JOB_COLUMNS}, dedup FROM jobs WHERE queue = ? AND lane = ? ORDER BY rank, seq LIMIT ?",
        (queue, lane, size),
    ).fetchall()


def head(cx: Connection, queue: int, lane: str, begun: tuple[int, int] | None) -> StoredJob | None:
    """The job that must be settled next. One that has begun is overtaken by nothing: not by a higher level,
    not by a replay to the front."""
    # order: this is the one place that says which job of a lane comes first.
    if begun is None:
        return next(iter(window(cx, queue, lane, 1)), None)
    row = cx.execute(
        f"SELECT {JOB_COLUMNS} FROM jobs WHERE queue = ? AND lane = ? AND rank = ? AND seq = ?",
        (queue, lane, *begun),
    ).fetchone()
    return stored_job(row) if row else None


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where an unsettled job is in its lane, and what it alone may hold until it is settled."""

    id: str
    rank: int
    seq: int
    dedup: str | None


def places_in(rows: Iterable[tuple[Any, ...]]) -> Iterator[Place]:
    """The places of jobs, of a window's rows."""
    return starmap(Place, map(_PLACE_COLUMNS, rows))


_PLACE_COLUMNS = itemgetter(0, 2, 1, 7)


class Placed(NamedTuple):
    """A job that takes its place in a lane now: its row. Times are microseconds."""

    queue: int
    lane: str
    rank: int
    seq: int
    id: str
    eligible_at: int
    expires_at: int | None
    replayed: int
    dedup: str | None
    body: bytes


def first_places(cx: Connection, queue: int, lane: str, count: int) -> list[Place]:
    """The places of a lane's first jobs, none of which need have begun: its head, and what comes after it."""
    rows = cx.execute(
        f"SELECT {PLACE_COLUMNS} FROM jobs WHERE queue = ? AND lane = ? ORDER BY rank, seq LIMIT ?",
        (queue, lane, count),
    )
    return list(starmap(Place, rows))


def place_at(cx: Connection, queue: int, lane: str, rank: int, seq: int) -> Place | None:
    """The job at this place of a lane."""
    row = cx.execute(
        f"SELECT {PLACE_COLUMNS} FROM jobs WHERE queue = ? AND lane = ? AND rank = ? AND seq = ?",
        (queue, lane, rank, seq),
    ).fetchone()
    return Place(*row) if row else None


def place_of(cx: Connection, queue: int, lane: str, job_id: str) -> Place | None:
    """An unsettled job of a lane by its id. Reads the lane: never in the path of a job in order."""
    row = cx.execute(
        f"SELECT {PLACE_COLUMNS} FROM jobs WHERE queue = ? AND lane = ? AND id = ?", (queue, lane, job_id)
    ).fetchone()
    return Place(*row) if row else None


# Counters are written and then read: RETURNING in a statement costs as much as five others.


def next_tail(cx: Connection, queue: int) -> int:
    """A place behind all ready lanes."""
    cx.execute("UPDATE queues SET tail = tail + 1 WHERE id = ?", (queue,))
    return int(cx.execute("SELECT tail FROM queues WHERE id = ?", (queue,)).fetchone()[0])


def next_front(cx: Connection, queue: int) -> int:
    """A place before all ready lanes."""
    cx.execute("UPDATE queues SET front = front - 1 WHERE id = ?", (queue,))
    return int(cx.execute("SELECT front FROM queues WHERE id = ?", (queue,)).fetchone()[0])


OTHERS_READY = (
    "NOT queues.paused AND"
    " EXISTS (SELECT 1 FROM lanes AS other WHERE other.queue = queues.id AND other.state = 'ready')"
)


def others_ready(cx: Connection, queue: int) -> bool:
    """Whether any lane of the queue waits for a worker and may be served."""
    return bool(cx.execute(f"SELECT {OTHERS_READY} FROM queues WHERE id = ?", (queue,)).fetchone()[0])


def begun_of(rank: int | None, seq: int | None) -> tuple[int, int] | None:
    """The place of a head that has begun, from a lane's columns."""
    return None if rank is None or seq is None else (rank, seq)


class QueueRow(msgspec.Struct):
    """A queue's counters as a call found them, or as it leaves them."""

    incarnation: str
    seq: int
    enqueued: int
    settled: int
    replayed: int
    token: int
    tail: int
    seen: int
    paused: int
    tied: int

    @property
    def left(self) -> int:
        """Unsettled jobs."""
        return self.enqueued + self.replayed - self.settled

    @property
    def watermark(self) -> Watermark:
        """Where the queue stands."""
        return Watermark(self.incarnation, Counts(self.seq, self.enqueued, self.settled))


QUEUE_COLUMNS = (
    "incarnation, seq, enqueued, settled, replayed, queues.token, queues.tail, queues.seen, queues.paused,"
    " queues.tied"
)


def queue_row(cx: Connection, queue: int) -> QueueRow:
    """The counters of a queue."""
    row = cx.execute(f"SELECT {QUEUE_COLUMNS} FROM queues WHERE id = ?", (queue,)).fetchone()
    return QueueRow(*row)
