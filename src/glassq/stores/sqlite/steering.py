"""What people do to queues, lanes and jobs besides the normal course. Each is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

from glassq.model.jobs import Cancellation, JobState, StoredJob
from glassq.model.verdicts import Action
from glassq.storage import Replayed
from glassq.stores.sqlite.arriving import overtake, place, take_seqs, window_is_stale
from glassq.stores.sqlite.deferring import take_out
from glassq.stores.sqlite.ending import Ends
from glassq.stores.sqlite.flowrecords import forget_flows
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.notes import forget_notes, write_down
from glassq.stores.sqlite.rows import (
    JOB_COLUMNS,
    READY,
    Placed,
    a_body,
    begun_of,
    head,
    next_front,
    next_tail,
    queue_row,
    stored_job,
)
from glassq.stores.sqlite.settling import open_again, remove
from glassq.stores.sqlite.views import workers
from glassq.stores.sqlite.waits import bring_up, note_standstills

_RUNNING = "SELECT id FROM running WHERE queue = ? AND lane = ?"


def restart(cx: Connection, queue: int, lane: str, now: int) -> bool:
    """Let a halted lane run its head again, with all its retries; False when it is not halted."""
    bring_up(cx, queue, lane, now)
    changed = cx.execute(
        f"UPDATE lanes SET state = {READY}, place = ?, failures = 0, crashes = 0, reason = ''"
        " WHERE queue = ? AND lane = ? AND state = 'halted'",
        (next_front(cx, queue), queue, lane),
    )
    return changed.rowcount == 1


class Keep(NamedTuple):
    """For how long (µs, 0 not at all) it is kept that a job was taken out, and what is said of that."""

    time: int
    said: bytes

    def note(self, cx: Connection, queue: int, job: str, now: int, reason: str) -> None:
        """Write it down, if it is to be kept."""
        if self.time > 0:
            until = now + self.time
            write_down(cx, queue, job, Action.CANCEL, now, until=until, reason=reason, said=self.said)


def skip(
    cx: Connection, queue: int, lane: str, now: int, expected: str | None, keep: Keep
) -> StoredJob | None:
    """End a halted lane's head as cancelled; None when the lane is not halted, or at another job than the
    one that is `expected`."""
    row = cx.execute(
        "SELECT begun_rank, begun_seq FROM lanes WHERE queue = ? AND lane = ? AND state = 'halted'",
        (queue, lane),
    ).fetchone()
    if row is None:
        return None
    job = head(cx, queue, lane, begun_of(*row))
    assert job is not None  # noqa: S101 - a lane's row goes with its last job
    if expected is not None and job.id != expected:
        return None
    remove(cx, queue, lane, job, "cancelled", now)
    keep.note(cx, queue, job.id, now, "skipped")
    _let_others_know(cx, queue, [job.id], JobState.CANCELLED, now)
    _go_on(cx, queue, lane, now)
    return job


def _let_others_know(
    cx: Connection, queue: int, jobs: Sequence[str], outcome: JobState | None, now: int, *, final: bool = True
) -> None:
    """These jobs have ended, or are unsettled again: whoever waits for them hears of it."""
    if not queue_row(cx, queue).tied:
        return
    ends = Ends(cx, Known(), queue, now)
    for job in jobs:
        ends.note(job, outcome, final=final)
    ends.carry_out()


def cancel(cx: Connection, queue: int, job_id: str, now: int, keep: Keep) -> Cancellation | None:
    """Take an unsettled job out, or ask the worker that runs it; None when there is none."""
    if _unschedule(cx, queue, job_id) or take_out(cx, queue, job_id):
        _count_cancelled(cx, queue, 1, now)
        keep.note(cx, queue, job_id, now, "cancelled")
        _let_others_know(cx, queue, [job_id], JobState.CANCELLED, now)
        return Cancellation.REMOVED
    row = cx.execute(
        f"SELECT lane, {JOB_COLUMNS} FROM jobs WHERE queue = ? AND id = ?", (queue, job_id)
    ).fetchone()
    if row is None:
        return None
    lane, job = row[0], stored_job(row[1:])
    begun_seq, state = cx.execute(
        "SELECT begun_seq, state FROM lanes WHERE queue = ? AND lane = ?", (queue, lane)
    ).fetchone()
    if cx.execute(_RUNNING, (queue, lane)).fetchone() == (job_id,):
        cx.execute("UPDATE lanes SET cancel = ? WHERE queue = ? AND lane = ?", (job_id, queue, lane))
        return Cancellation.ASKED
    remove(cx, queue, lane, job, "cancelled", now)
    keep.note(cx, queue, job_id, now, "cancelled")
    _let_others_know(cx, queue, [job_id], JobState.CANCELLED, now)
    if state == "held":
        window_is_stale(cx, queue, lane)
    elif begun_seq == job.seq or head(cx, queue, lane, None) is None:
        _go_on(cx, queue, lane, now)
    return Cancellation.REMOVED


def _unschedule(cx: Connection, queue: int, job_id: str) -> bool:
    row = cx.execute(
        "DELETE FROM scheduled WHERE queue = ? AND id = ? RETURNING dedup", (queue, job_id)
    ).fetchone()
    if row is None:
        return False
    cx.execute("DELETE FROM dedup WHERE queue = ? AND id = ? AND until IS NULL", (queue, row[0]))
    return True


def _count_cancelled(cx: Connection, queue: int, count: int, now: int) -> None:
    if count == 0:
        return
    cx.execute(
        "UPDATE queues SET settled = settled + :n, cancelled = cancelled + :n, settled_at = :now"
        " WHERE id = :queue",
        {"n": count, "now": now, "queue": queue},
    )


def _go_on(cx: Connection, queue: int, lane: str, now: int) -> None:
    """The head of a lane that nobody holds is gone: its next job comes, or the lane vanishes."""
    if head(cx, queue, lane, None) is None:
        cx.execute("DELETE FROM lanes WHERE queue = ? AND lane = ?", (queue, lane))
    else:
        bring_up(cx, queue, lane, now)
        open_again(cx, queue, lane, next_front(cx, queue), now)


# -- pausing -------------------------------------------------------------------------------------------


def pause(cx: Connection, queue: int, lane: str | None, now: int) -> bool:
    """Let nothing further begin, in the queue or in one lane; True when it was paused already."""
    if lane is None:
        if is_paused(cx, queue):
            return True
        note_standstills(cx, queue, now)
        cx.execute("UPDATE queues SET paused = 1, paused_at = ? WHERE id = ?", (now, queue))
        cx.execute("UPDATE lanes SET change = change + 1 WHERE queue = ? AND state = 'held'", (queue,))
        return False
    bring_up(cx, queue, lane, now)
    added = cx.execute("INSERT INTO paused (queue, lane) VALUES (?, ?) ON CONFLICT DO NOTHING", (queue, lane))
    if added.rowcount == 0:
        return True
    cx.execute(
        "UPDATE lanes SET paused = 1, change = change + 1,"
        " state = CASE state WHEN 'ready' THEN 'paused' ELSE state END WHERE queue = ? AND lane = ?",
        (queue, lane),
    )
    return False


def resume(cx: Connection, queue: int, lane: str | None, now: int) -> bool:
    """Undo a pause of the same scope; False when there was none."""
    if lane is None:
        if not is_paused(cx, queue):
            return False
        note_standstills(cx, queue, now)
        cx.execute("UPDATE queues SET paused = 0 WHERE id = ?", (queue,))
        return True
    bring_up(cx, queue, lane, now)
    if cx.execute("DELETE FROM paused WHERE queue = ? AND lane = ?", (queue, lane)).rowcount == 0:
        return False
    cx.execute(
        "UPDATE lanes SET paused = 0, place = CASE state WHEN 'paused' THEN ? ELSE place END,"
        " state = CASE state WHEN 'paused' THEN 'ready' ELSE state END WHERE queue = ? AND lane = ?",
        (next_tail(cx, queue), queue, lane),
    )
    return True


def is_paused(cx: Connection, queue: int) -> bool:
    """Whether the whole queue is."""
    return bool(cx.execute("SELECT paused FROM queues WHERE id = ?", (queue,)).fetchone()[0])


# -- dead letters, purging -------------------------------------------------------------------------------


def replay(cx: Connection, queue: int, ids: Sequence[str], now: int, *, front: bool) -> list[Replayed]:
    """Bring dead letters back in ascending sequence."""
    marks = ", ".join("?" * len(ids))
    rows = cx.execute(
        f"SELECT seq, id, lane, rank, body FROM dead WHERE queue = ? AND id IN ({marks}) ORDER BY seq",
        (queue, *ids),
    ).fetchall()
    # order: at the front a job keeps its sequence, which is lower than that of every job still waiting.
    seqs: Sequence[int] = [row[0] for row in rows] if front else take_seqs(cx, queue, len(rows))
    placed = [
        Placed(
            queue=queue,
            lane=lane,
            rank=rank,
            seq=seq,
            id=job,
            eligible_at=now,
            expires_at=None,
            replayed=1,
            dedup=None,
            body=a_body(body),
        )
        for seq, (_, job, lane, rank, body) in zip(seqs, rows, strict=True)
    ]
    for lane in {job.lane for job in placed}:
        overtake(cx, queue, lane)
    place(cx, queue, placed)
    cx.executemany("DELETE FROM dead WHERE queue = ? AND seq = ?", [(queue, row[0]) for row in rows])
    # How it ended is not how it ends.
    cx.executemany("DELETE FROM notes WHERE queue = ? AND job = ?", [(queue, job.id) for job in placed])
    cx.execute("UPDATE queues SET replayed = replayed + ? WHERE id = ?", (len(rows), queue))
    _let_others_know(cx, queue, [job.id for job in placed], None, now, final=False)
    return [Replayed(job.id, job.lane, row[0], job.seq) for job, row in zip(placed, rows, strict=True)]


def purge_dead(cx: Connection, queue: int, lane: str | None, now: int) -> int:
    """Drop all dead letters, of the queue or of one lane."""
    only = "" if lane is None else " AND lane = :lane"
    values = {"queue": queue, "lane": lane}
    tied = _tied(cx, f"SELECT id FROM dead WHERE queue = :queue{only}", values)
    forget_notes(cx, f"SELECT id FROM dead WHERE queue = :queue{only}", values)
    count = cx.execute(f"DELETE FROM dead WHERE queue = :queue{only}", values).rowcount
    _let_others_know(cx, queue, tied, JobState.BURIED, now)
    return count


def _tied(cx: Connection, jobs: str, values: Mapping[str, object]) -> list[str]:
    """Those of a selection of jobs whose end concerns others."""
    rows = cx.execute(f"SELECT job FROM ties WHERE queue = :queue AND job IN ({jobs})", values)
    return [job for (job,) in rows]


def purge_waiting(cx: Connection, queue: int, lane: str | None, now: int) -> int:
    """End every scheduled, deferred and waiting job, of the queue or of one lane, as cancelled; what runs is
    left alone."""
    only = "" if lane is None else " AND lane = :lane"
    waits = f"queue = :queue{only} AND id NOT IN (SELECT id FROM running WHERE queue = :queue{only})"
    values = {"queue": queue, "lane": lane}
    cx.execute(
        f"UPDATE lanes SET change = change + 1 WHERE queue = :queue{only} AND state = 'held'"
        f" AND lane IN (SELECT lane FROM jobs WHERE {waits})",
        values,
    )
    beside = f"queue = :queue{only}"
    deferred = f"{beside} AND outcome IS NULL AND body IS NOT NULL"
    ended = (
        f"SELECT id FROM jobs WHERE {waits} UNION ALL SELECT id FROM scheduled WHERE {beside}"
        f" UNION ALL SELECT job FROM ties WHERE {deferred}"
    )
    tied = _tied(cx, ended, values)
    cx.execute(
        f"DELETE FROM dedup WHERE queue = :queue AND until IS NULL AND job IN ({ended})",
        values,
    )
    forget_notes(cx, ended, values)
    count = cx.execute(f"DELETE FROM jobs WHERE {waits}", values).rowcount
    count += cx.execute(f"DELETE FROM scheduled WHERE {beside}", values).rowcount
    deferred_count = cx.execute(f"UPDATE ties SET body = NULL WHERE {deferred}", values).rowcount
    count += deferred_count
    cx.execute("UPDATE queues SET deferred = deferred - ? WHERE id = ?", (deferred_count, queue))
    cx.execute(f"DELETE FROM lanes WHERE queue = :queue{only} AND state <> 'held'", values)
    _count_cancelled(cx, queue, count, now)
    _let_others_know(cx, queue, tied, JobState.CANCELLED, now)
    return count


def forget(cx: Connection, queue: int, name: str) -> bool:
    """Delete a queue that holds nothing and that nobody serves; False for any other."""
    if holds(cx, queue, name):
        return False
    for table in ("lanes", "owners", "dedup", "paused", "notes", "kept"):
        cx.execute(f"DELETE FROM {table} WHERE queue = ?", (queue,))
    forget_flows(cx, name)
    cx.execute("DELETE FROM queues WHERE id = ?", (queue,))
    return True


_HOLDINGS = (
    ("jobs WHERE", "jobs"),
    ("scheduled WHERE", "scheduled jobs"),
    ("ties WHERE body IS NOT NULL AND", "deferred jobs, or some that a replay would bring back"),
    ("dead WHERE", "dead letters"),
    ("ties WHERE (untold OR NOT final) AND", "ends of jobs that others are to be told of"),
)


def holds(cx: Connection, queue: int, name: str) -> str:
    """What keeps a queue from being taken away, in words; nothing when nothing does."""
    for those, what in _HOLDINGS:
        if cx.execute(f"SELECT 1 FROM {those} queue = ? LIMIT 1", (queue,)).fetchone():
            return f"holds {what}"
    return "is served by a worker" if workers(cx, name) else ""
