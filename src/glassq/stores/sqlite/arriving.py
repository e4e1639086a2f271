"""How jobs come into their lanes: appended, due at last, or brought back from the dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from operator import itemgetter
from sqlite3 import Connection
from typing import Any

from glassq.errors import QueueFull
from glassq.model.jobs import Appended, Dedup, Disposition, NewJob
from glassq.stores.sqlite import inflows, legs
from glassq.stores.sqlite.jumps import catch_up, is_usual, time_of
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.rows import Placed, QueueRow, a_body, micros, next_tail

_PROMOTED_AT_ONCE = 100
_FORGOTTEN_AT_ONCE = 10

_INSERT = (
    "INSERT INTO jobs (queue, lane, rank, seq, id, eligible_at, expires_at, replayed, dedup, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_LANE_BEFORE = (
    "SELECT state = 'held'"
    " AND EXISTS (SELECT 1 FROM jobs WHERE queue = :queue AND lane = :lane AND rank > :rank)"
    " FROM lanes WHERE queue = :queue AND lane = :lane"
)
"""Whether jobs of a rank overtake what the owner of their lane may have in its window; no row: it is idle."""


def append(
    cx: Connection,
    known: Known,
    queue: int,
    jobs: Sequence[NewJob],
    identify: Callable[[], str],
    *,
    max_length: int | None,
    clock: int,
) -> tuple[list[Appended], bool]:
    """Store new jobs, all or none; and whether anybody should be woken. `identify` gives each its id.

    Writes the queue's row once, `seen` too. `QueueFull` comes before anything is written.
    """
    stood = known.queue(cx, queue)
    now = time_of(stood.seen, clock)
    twins = _twins(cx, queue, jobs, now)
    fresh = len(jobs) - len(twins)
    if max_length is not None and fresh:
        _refuse_overflow(stood, fresh, max_length)
    if not is_usual(stood.seen, now):
        legs.end_known(cx, known)
        catch_up(cx, queue, stood.seen, now)
    found = stood.watermark
    answers: list[Appended] = []
    placed: list[Placed] = []
    later = False
    # order: sequences are given under the file's write lock, in the transaction that stores the jobs.
    seq = stood.seq
    for index, job in enumerate(jobs):
        if index in twins:
            twin = twins[index]
            first = twin if isinstance(twin, Appended) else answers[twin]
            answers.append(Appended(first.id, first.seq, Disposition.DUPLICATE, found))
            continue
        due = now if job.due is None else _due_at(job.due, now, is_time=job.due_is_time)
        if job.after:  # stored with what it waits for: see `deferring`
            answer = Appended(identify(), None, Disposition.CREATED, found)
        elif due <= now:
            seq += 1
            answer = Appended(identify(), seq, Disposition.CREATED, found)
            placed.append(_placed(queue, job, answer.id, seq, now))
        else:
            answer = Appended(identify(), None, Disposition.CREATED, found)
            _schedule(cx, queue, job, answer.id, due)
            later = True
        answers.append(answer)
        if job.dedup is not None:
            _remember(cx, queue, job.dedup, answer, now)
    if len(jobs) == len(placed) == 1 and known.joins(queue, placed[0].lane, placed[0].rank, placed[0].rank):
        inflows.begin(cx, known, queue, placed[0].lane, placed[0].rank)  # it is likely to go on
    opened = join(cx, known, queue, placed, stood.tail)
    cx.execute(
        "UPDATE queues SET seq = ?, enqueued = enqueued + ?, tail = ?, seen = ? WHERE id = ?",
        (seq, fresh, stood.tail + opened, now, queue),
    )
    stood.seq, stood.seen = seq, now
    stood.enqueued += fresh
    stood.tail += opened
    return answers, opened > 0 or later


def join(cx: Connection, known: Known, queue: int, jobs: Sequence[Placed], tail: int) -> int:
    """Put jobs into their lanes, which nearly always are there, and the jobs behind all others. Returns how
    many lanes that were idle became ready, in places behind `tail`."""
    opened = 0
    for lane, (first, last) in _spans(jobs).items():
        if known.joins(queue, lane, first, last):
            continue
        legs.end_known(cx, known)
        way = _make_way(cx, queue, lane, first, tail + opened + 1)
        if way is _Way.CHANGED:
            known.forget()
            continue
        known.joined(queue, lane, last, opened=way is _Way.OPENED)
        opened += way is _Way.OPENED
    cx.executemany(_INSERT, map(tuple, jobs))  # by their names SQLite's module reads them slower
    return opened


def rows_in(jobs: Sequence[Placed], queue: int, lane: str) -> list[tuple[Any, ...]]:
    """Those of these jobs that are in a lane, as `window_rows` reads them."""
    rows = [
        (job.id, job.seq, job.rank, job.body, job.eligible_at, job.expires_at, job.replayed, job.dedup)
        for job in jobs
        if job.queue == queue and job.lane == lane
    ]
    rows.sort(key=itemgetter(2, 1))
    return rows


def place(cx: Connection, queue: int, jobs: Sequence[Placed]) -> bool:
    """Put jobs into their lanes; whether any of these was idle."""
    ways = [_make_way(cx, queue, lane, first, None) for lane, (first, _) in _spans(jobs).items()]
    cx.executemany(_INSERT, map(tuple, jobs))
    return _Way.OPENED in ways


def _spans(jobs: Sequence[Placed]) -> dict[str, tuple[int, int]]:
    """The lanes of jobs, and the ranks of the first and of the last in each."""
    spans: dict[str, tuple[int, int]] = {}
    for job in jobs:
        lane, rank = job.lane, job.rank
        first, last = spans.get(lane, (rank, rank))
        spans[lane] = (min(first, rank), max(last, rank))
    return spans


def take_seqs(cx: Connection, queue: int, count: int) -> range:
    """The next sequences of a queue."""
    # order: given under the file's write lock, in the transaction that stores the jobs.
    cx.execute("UPDATE queues SET seq = seq + ? WHERE id = ?", (count, queue))
    (last,) = cx.execute("SELECT seq FROM queues WHERE id = ?", (queue,)).fetchone()
    return range(last - count + 1, last + 1)


def promote_scheduled(cx: Connection, queue: int, now: int) -> None:
    """Jobs that are due join the tail of their lanes, in the order of their times, then of their calls."""
    rows = cx.execute(
        "SELECT number, lane, rank, id, due_at, ttl, dedup, body FROM scheduled"
        " WHERE queue = ? AND due_at <= ? ORDER BY due_at, number LIMIT ?",
        (queue, now, _PROMOTED_AT_ONCE),
    ).fetchall()
    if not rows:
        return
    seqs = take_seqs(cx, queue, len(rows))
    placed = [
        Placed(
            queue=queue,
            lane=lane,
            rank=rank,
            seq=seq,
            id=job,
            eligible_at=due,
            expires_at=None if ttl is None else due + ttl,
            replayed=0,
            dedup=dedup,
            body=a_body(body),
        )
        for seq, (_, lane, rank, job, due, ttl, dedup, body) in zip(seqs, rows, strict=True)
    ]
    place(cx, queue, placed)
    cx.executemany("DELETE FROM scheduled WHERE number = ?", [(row[0],) for row in rows])


class _Way(Enum):
    """How a lane is before jobs come into it."""

    THERE = auto()
    OPENED = auto()
    CHANGED = auto()


def _make_way(cx: Connection, queue: int, lane: str, rank: int, tail: int | None) -> _Way:
    """Put an idle lane behind the ready ones, in place `tail` (None: the next one); let jobs of this rank
    come before others in a held one.

    Before they are in: a window is stale when a job it may show is overtaken, not when new ones are.
    """
    found = cx.execute(_LANE_BEFORE, {"queue": queue, "lane": lane, "rank": rank}).fetchone()
    if found is None:
        cx.execute(
            "INSERT INTO lanes (queue, lane, paused, state, place) SELECT :queue, :lane, p,"
            " CASE WHEN p THEN 'paused' ELSE 'ready' END, :place"
            " FROM (SELECT EXISTS (SELECT 1 FROM paused WHERE queue = :queue AND lane = :lane) AS p)",
            {"queue": queue, "lane": lane, "place": next_tail(cx, queue) if tail is None else tail},
        )
        return _Way.OPENED
    if not found[0]:
        return _Way.THERE
    overtake(cx, queue, lane)
    return _Way.CHANGED


def overtake(cx: Connection, queue: int, lane: str) -> None:
    """Jobs are about to come before others of a lane. What its owner read is stale; and the job that runs,
    which was simply the first so far, stays the head."""
    # order: nothing overtakes a head that has begun.
    cx.execute(
        "UPDATE lanes SET (begun_rank, begun_seq) = (SELECT rank, seq FROM jobs"
        " WHERE jobs.queue = lanes.queue AND jobs.lane = lanes.lane ORDER BY rank, seq LIMIT 1)"
        " WHERE queue = ? AND lane = ? AND runs AND begun_rank IS NULL",
        (queue, lane),
    )
    window_is_stale(cx, queue, lane)


def window_is_stale(cx: Connection, queue: int, lane: str) -> None:
    """What the lane's owner, if it has one, read ahead is not what comes next."""
    cx.execute("UPDATE lanes SET change = change + 1 WHERE queue = ? AND lane = ?", (queue, lane))


def _due_at(due: float, now: int, *, is_time: bool) -> int:
    return micros(due) if is_time else now + micros(due)


def _placed(queue: int, job: NewJob, job_id: str, seq: int, now: int) -> Placed:
    expires_at = None if job.ttl is None else now + micros(job.ttl)
    return Placed(
        queue, job.lane, -job.level, seq, job_id, now, expires_at, 0, _until_settled(job.dedup), job.body
    )


def _schedule(cx: Connection, queue: int, job: NewJob, job_id: str, due_at: int) -> None:
    cx.execute(
        "INSERT INTO scheduled (queue, due_at, lane, rank, id, ttl, dedup, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            queue,
            due_at,
            job.lane,
            -job.level,
            job_id,
            None if job.ttl is None else micros(job.ttl),
            _until_settled(job.dedup),
            job.body,
        ),
    )


def _refuse_overflow(stood: QueueRow, count: int, max_length: int) -> None:
    if stood.left + count > max_length:
        raise QueueFull(stood.left, max_length)


# -- duplicates ----------------------------------------------------------------------------------------


def _twins(cx: Connection, queue: int, jobs: Sequence[NewJob], now: int) -> dict[int, Appended | int]:
    """Which jobs are duplicates: of a stored one (its answer) or of one before it here (its index)."""
    found: dict[int, Appended | int] = {}
    first: dict[str, int] = {}
    for index, job in enumerate(jobs):
        if job.dedup is None:
            continue
        if job.dedup.id in first:
            found[index] = found.get(first[job.dedup.id], first[job.dedup.id])
            continue
        first[job.dedup.id] = index
        row = cx.execute(
            "SELECT job, seq FROM dedup WHERE queue = ? AND id = ? AND (until IS NULL OR until > ?)",
            (queue, job.dedup.id, now),
        ).fetchone()
        if row is not None:
            found[index] = Appended(*row)
    return found


def _remember(cx: Connection, queue: int, dedup: Dedup, answer: Appended, now: int) -> None:
    until = None if dedup.window is None else now + micros(dedup.window)
    cx.execute(
        "INSERT OR REPLACE INTO dedup (queue, id, job, seq, until) VALUES (?, ?, ?, ?, ?)",
        (queue, dedup.id, answer.id, answer.seq, until),
    )
    cx.execute(
        "DELETE FROM dedup WHERE (queue, id) IN"
        " (SELECT queue, id FROM dedup WHERE queue = ? AND until <= ? LIMIT ?)",
        (queue, now, _FORGOTTEN_AT_ONCE),
    )


def _until_settled(dedup: Dedup | None) -> str | None:
    return dedup.id if dedup is not None and dedup.window is None else None
