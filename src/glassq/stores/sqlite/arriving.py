"""How jobs come into their lanes: appended, due at last, or brought back from the dead letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from sqlite3 import Connection

import msgspec

from glassq.errors import QueueFull
from glassq.model.jobs import Appended, Dedup, Disposition, NewJob
from glassq.stores.sqlite.rows import a_body, micros, next_tail

_PROMOTED_AT_ONCE = 100
_FORGOTTEN_AT_ONCE = 10

_INSERT = (
    "INSERT INTO jobs (queue, lane, rank, seq, id, eligible_at, expires_at, replayed, dedup, body)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A job that takes its place in a lane now. Times are microseconds."""

    lane: str
    rank: int
    seq: int
    id: str
    eligible_at: int
    expires_at: int | None
    body: bytes
    replayed: bool = False
    dedup: str | None = None


def append(
    cx: Connection,
    queue: int,
    jobs: Sequence[NewJob],
    identify: Callable[[], str],
    *,
    max_length: int | None,
    now: int,
) -> tuple[list[Appended], bool]:
    """Store new jobs, all or none; and whether anybody should be woken. `identify` gives each its id."""
    known = _known(cx, queue, jobs, now)
    fresh = [index for index in range(len(jobs)) if index not in known]
    if max_length is not None and fresh:
        _refuse_overflow(cx, queue, len(fresh), max_length)
    answers: dict[int, Appended] = {}
    placed: list[Placed] = []
    due_at = {index: _due_at(jobs[index], now) for index in fresh}
    seqs = iter(take_seqs(cx, queue, sum(due <= now for due in due_at.values())))
    for index in fresh:
        job, due = jobs[index], due_at[index]
        seq = next(seqs) if due <= now else None
        answers[index] = Appended(identify(), seq)
        if seq is None:
            _schedule(cx, queue, job, answers[index].id, due)
        else:
            placed.append(_placed(job, answers[index].id, seq, now))
        if job.dedup is not None:
            _remember(cx, queue, job.dedup, answers[index], now)
    cx.execute("UPDATE queues SET enqueued = enqueued + ? WHERE id = ?", (len(fresh), queue))
    woken = place(cx, queue, placed)
    for index, twin in known.items():
        answers[index] = twin if isinstance(twin, Appended) else _duplicate(answers[twin])
    return [answers[index] for index in range(len(jobs))], woken or len(placed) < len(fresh)


def place(cx: Connection, queue: int, jobs: Sequence[Placed]) -> bool:
    """Put jobs into their lanes; whether a lane that was idle became ready."""
    if not jobs:
        return False
    best: dict[str, int] = {}
    for job in jobs:
        best[job.lane] = min(job.rank, best.get(job.lane, job.rank))
    # Before they are in: a window is stale when a job it may show is overtaken, not when new ones are.
    woken = _make_ready(cx, queue, best.items())
    cx.executemany(
        _INSERT,
        [
            (
                queue,
                job.lane,
                job.rank,
                job.seq,
                job.id,
                job.eligible_at,
                job.expires_at,
                job.replayed,
                job.dedup,
                job.body,
            )
            for job in jobs
        ],
    )
    return woken


def take_seqs(cx: Connection, queue: int, count: int) -> range:
    """The next sequences of a queue."""
    # order: given under the file's write lock, in the transaction that stores the jobs.
    (last,) = cx.execute(
        "UPDATE queues SET seq = seq + ? WHERE id = ? RETURNING seq", (count, queue)
    ).fetchone()
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
            lane=lane,
            rank=rank,
            seq=seq,
            id=job,
            eligible_at=due,
            expires_at=None if ttl is None else due + ttl,
            dedup=dedup,
            body=a_body(body),
        )
        for seq, (_, lane, rank, job, due, ttl, dedup, body) in zip(seqs, rows, strict=True)
    ]
    place(cx, queue, placed)
    cx.executemany("DELETE FROM scheduled WHERE number = ?", [(row[0],) for row in rows])


def _make_ready(cx: Connection, queue: int, lanes: Iterable[tuple[str, int]]) -> bool:
    """Put idle lanes behind the ready ones; tell owners of held ones that a higher level came in."""
    added = False
    for lane, rank in lanes:
        known = cx.execute("SELECT 1 FROM lanes WHERE queue = ? AND lane = ?", (queue, lane)).fetchone()
        if known is None:
            cx.execute(
                "INSERT INTO lanes (queue, lane, paused, state, place) SELECT :queue, :lane, p,"
                " CASE WHEN p THEN 'paused' ELSE 'ready' END, :place"
                " FROM (SELECT EXISTS (SELECT 1 FROM paused WHERE queue = :queue AND lane = :lane) AS p)",
                {"queue": queue, "lane": lane, "place": next_tail(cx, queue)},
            )
            added = True
        else:
            cx.execute(
                "UPDATE lanes SET change = change + 1"
                " WHERE queue = :queue AND lane = :lane AND state = 'held'"
                " AND EXISTS (SELECT 1 FROM jobs WHERE queue = :queue AND lane = :lane AND rank > :rank)",
                {"queue": queue, "lane": lane, "rank": rank},
            )
    return added


def _due_at(job: NewJob, now: int) -> int:
    if job.due is None:
        return now
    return micros(job.due) if job.due_is_time else now + micros(job.due)


def _placed(job: NewJob, job_id: str, seq: int, now: int) -> Placed:
    return Placed(
        lane=job.lane,
        rank=-job.level,
        seq=seq,
        id=job_id,
        eligible_at=now,
        expires_at=None if job.ttl is None else now + micros(job.ttl),
        dedup=_until_settled(job.dedup),
        body=job.body,
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


def _refuse_overflow(cx: Connection, queue: int, count: int, max_length: int) -> None:
    (left,) = cx.execute("SELECT enqueued + replayed - settled FROM queues WHERE id = ?", (queue,)).fetchone()
    if left + count > max_length:
        raise QueueFull(left, max_length)


# -- duplicates ----------------------------------------------------------------------------------------


def _known(cx: Connection, queue: int, jobs: Sequence[NewJob], now: int) -> dict[int, Appended | int]:
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
            found[index] = _duplicate(Appended(*row))
    return found


def _duplicate(of: Appended) -> Appended:
    return Appended(of.id, of.seq, Disposition.DUPLICATE)


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
