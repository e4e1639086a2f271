"""What the tables say to people and gauges. Reads only."""

from __future__ import annotations

from sqlite3 import Connection
from typing import Any

import msgspec

from glassq.model.jobs import JobRecord, JobState
from glassq.model.stats import LaneState, QueueStats
from glassq.storage import DeadRecord, HaltedRecord, WaitingRecord
from glassq.stores.sqlite.rows import JOB_COLUMNS, MICRO, a_body, begun_of, head, stored_job

_LANE_STATES = {
    "ready": LaneState.READY,
    "held": LaneState.LEASED,
    "waiting": LaneState.WAITING_RETRY,
    "halted": LaneState.HALTED,
    "paused": LaneState.PAUSED,
}


def shown_state(state: str, *, paused: bool) -> LaneState:
    """A lane's state as people see it: one that would be served or tried again but for a pause is paused."""
    shown = _LANE_STATES[state]
    return LaneState.PAUSED if paused and shown in (LaneState.READY, LaneState.WAITING_RETRY) else shown


def waiting(cx: Connection, queue: int, limit: int) -> list[WaitingRecord]:
    """The first unsettled jobs by sequence."""
    rows = cx.execute(
        f"SELECT lane, {JOB_COLUMNS} FROM jobs WHERE queue = ? ORDER BY seq LIMIT ?",
        (queue, limit),
    )
    return [WaitingRecord(lane=row[0], job=stored_job(row[1:])) for row in rows]


def dead(cx: Connection, queue: int, limit: int) -> list[DeadRecord]:
    """Dead letters by sequence."""
    rows = cx.execute(
        "SELECT lane, reason, attempts, error, buried_at, id, seq, rank, body, eligible_at, NULL, replayed"
        " FROM dead WHERE queue = ? ORDER BY seq LIMIT ?",
        (queue, limit),
    )
    return [
        DeadRecord(
            lane=row[0],
            reason=row[1],
            attempts=row[2],
            error=row[3],
            buried_at=row[4] / MICRO,
            job=stored_job(row[5:]),
        )
        for row in rows
    ]


def halted(cx: Connection, queue: int, limit: int) -> list[HaltedRecord]:
    """Halted lanes, longest halted first."""
    rows = cx.execute(
        "SELECT lane, begun_rank, begun_seq, reason, attempts, error, place,"
        " (SELECT count(*) FROM jobs WHERE jobs.queue = lanes.queue AND jobs.lane = lanes.lane)"
        " FROM lanes WHERE queue = ? AND state = 'halted' ORDER BY place, lane LIMIT ?",
        (queue, limit),
    ).fetchall()
    return [_halted(cx, queue, row) for row in rows]


def _halted(cx: Connection, queue: int, row: tuple[Any, ...]) -> HaltedRecord:
    lane, rank, seq, reason, attempts, error, since, count = row
    first = head(cx, queue, lane, begun_of(rank, seq))
    assert first is not None  # noqa: S101 - a lane's row goes with its last job
    return HaltedRecord(
        lane=lane,
        head=first,
        reason=reason,
        attempts=attempts,
        error=error,
        since=since / MICRO,
        waiting=count,
    )


def find(cx: Connection, queue: int, job_id: str) -> JobRecord | None:
    """A job by its id, wherever it is. Reads the whole queue in the worst case."""
    return (
        _find_scheduled(cx, queue, job_id)
        or _find_deferred(cx, queue, job_id)
        or _find_unsettled(cx, queue, job_id)
        or _find_dead(cx, queue, job_id)
    )


def _find_scheduled(cx: Connection, queue: int, job_id: str) -> JobRecord | None:
    row = cx.execute(
        "SELECT lane, rank, body, due_at, ttl FROM scheduled WHERE queue = ? AND id = ?", (queue, job_id)
    ).fetchone()
    if row is None:
        return None
    lane, rank, body, due, ttl = row
    return JobRecord(
        id=job_id,
        lane=lane,
        state=JobState.SCHEDULED,
        level=-rank,
        body=a_body(body),
        seq=None,
        due_at=due / MICRO,
        expires_at=None if ttl is None else (due + ttl) / MICRO,
    )


def _find_deferred(cx: Connection, queue: int, job_id: str) -> JobRecord | None:
    row = cx.execute(
        "SELECT lane, rank, body FROM ties WHERE queue = ? AND job = ? AND outcome IS NULL"
        " AND body IS NOT NULL",
        (queue, job_id),
    ).fetchone()
    if row is None:
        return None
    lane, rank, body = row
    return JobRecord(id=job_id, lane=lane, state=JobState.DEFERRED, level=-rank, body=a_body(body), seq=None)


def _find_unsettled(cx: Connection, queue: int, job_id: str) -> JobRecord | None:
    row = cx.execute(
        f"SELECT runs AND jobs.id IS (SELECT running.id FROM running WHERE running.queue = jobs.queue"
        f" AND running.lane = jobs.lane), begun_seq, attempts, state, reason, lane, {JOB_COLUMNS}"
        " FROM jobs JOIN lanes USING (queue, lane) WHERE queue = ? AND id = ?",
        (queue, job_id),
    ).fetchone()
    if row is None:
        return None
    running, begun_seq, attempts, state, reason, lane = row[:6]
    job = stored_job(row[6:])
    tried = running or begun_seq == job.seq
    return JobRecord(
        id=job_id,
        lane=lane,
        state=JobState.LEASED if running else JobState.READY,
        level=job.level,
        body=job.body,
        seq=job.seq,
        attempts=attempts + running if tried else 0,
        eligible_at=job.eligible_at,
        expires_at=job.expires_at,
        reason=reason if tried and state == "halted" else "",
        replayed=job.replayed,
    )


def _find_dead(cx: Connection, queue: int, job_id: str) -> JobRecord | None:
    row = cx.execute(
        "SELECT lane, rank, body, seq, attempts, eligible_at, reason, replayed FROM dead"
        " WHERE queue = ? AND id = ?",
        (queue, job_id),
    ).fetchone()
    if row is None:
        return None
    lane, rank, body, seq, attempts, eligible, reason, replayed = row
    return JobRecord(
        id=job_id,
        lane=lane,
        state=JobState.BURIED,
        level=-rank,
        body=a_body(body),
        seq=seq,
        attempts=attempts,
        eligible_at=eligible / MICRO,
        reason=reason,
        replayed=bool(replayed),
    )


class _Totals(msgspec.Struct, frozen=True):
    """A queue's counters."""

    enqueued: int
    replayed: int
    settled: int
    succeeded: int
    buried: int
    cancelled: int
    expired: int
    settled_at: int
    paused: bool
    granted: int
    deferred: int


def stats(cx: Connection, queue: int | None, name: str, now: int) -> QueueStats:
    """One queue's figures; costs a read per lane, not per job (halted and paused lanes excepted)."""
    if queue is None:
        return QueueStats(queue=name, workers=workers(cx, name))
    totals = _Totals(
        *cx.execute(
            "SELECT enqueued, replayed, settled, succeeded, buried, cancelled, expired, settled_at, paused,"
            " granted, deferred FROM queues WHERE id = ?",
            (queue,),
        ).fetchone()
    )
    return QueueStats(
        queue=name,
        **_depth(cx, queue, totals),
        lanes=_lanes(cx, queue, whole=bool(totals.paused)),
        enqueued=totals.enqueued,
        replayed=totals.replayed,
        settled={
            "succeeded": totals.succeeded,
            "buried": totals.buried,
            "cancelled": totals.cancelled,
            "expired": totals.expired,
        },
        paused_whole=bool(totals.paused),
        paused_keys=_count(cx, "paused WHERE queue = ?", queue),
        last_settled_at=totals.settled_at / MICRO,
        **_ages(cx, queue, now),
        **_dead(cx, queue, now),
        workers=workers(cx, name),
        lease_tokens=totals.granted,
        schedule_lag=_age(_first_due(cx, queue), now),
    )


def _first_due(cx: Connection, queue: int) -> int | None:
    row = cx.execute("SELECT min(due_at) FROM scheduled WHERE queue = ?", (queue,)).fetchone()
    return None if row is None else row[0]


def _depth(cx: Connection, queue: int, totals: _Totals) -> dict[str, int]:
    """Unsettled jobs by state. What runs is leased even in a paused lane; halted comes before paused."""
    scheduled = _count(cx, "scheduled WHERE queue = ?", queue)
    deferred = totals.deferred
    left = totals.enqueued + totals.replayed - totals.settled - scheduled - deferred
    leased = _count(cx, "lanes WHERE queue = ? AND state = 'held' AND runs", queue)
    halted_jobs = _count(cx, f"{_JOBS_OF} state = 'halted'", queue)
    if totals.paused:
        return {
            "scheduled": scheduled,
            "deferred": deferred,
            "leased": leased,
            "halted": halted_jobs,
            "paused": left - leased - halted_jobs,
        }
    retrying = _count(cx, "lanes WHERE queue = ? AND state = 'waiting' AND NOT paused", queue)
    paused = _count(cx, f"{_JOBS_OF} paused AND state <> 'halted'", queue)
    paused -= _count(cx, "lanes WHERE queue = ? AND paused AND state = 'held' AND runs", queue)
    return {
        "scheduled": scheduled,
        "deferred": deferred,
        "leased": leased,
        "halted": halted_jobs,
        "paused": paused,
        "waiting_retry": retrying,
        "ready": left - leased - halted_jobs - paused - retrying,
    }


_JOBS_OF = "lanes CROSS JOIN jobs USING (queue, lane) WHERE queue = ? AND"


def _count(cx: Connection, rest: str, queue: int) -> int:
    (count,) = cx.execute(f"SELECT count(*) FROM {rest}", (queue,)).fetchone()
    return int(count)


def _lanes(cx: Connection, queue: int, *, whole: bool) -> dict[str, int]:
    """Lanes by state."""
    found = dict.fromkeys(map(str, LaneState), 0)
    rows = cx.execute(
        "SELECT state, paused, count(*) FROM lanes WHERE queue = ? GROUP BY state, paused", (queue,)
    )
    for state, paused, count in rows:
        found[shown_state(state, paused=whole or bool(paused))] += count
    return found


def _ages(cx: Connection, queue: int, now: int) -> dict[str, Any]:
    """The oldest job is the first by seq, and the worst head is the longest blocked one."""
    # Six reads per lane: the lowest seq of each level. `min` makes the other column come from the same row.
    _, oldest = cx.execute(
        "SELECT min(jobs.seq), eligible_at FROM lanes CROSS JOIN (VALUES (-6), (-5), (-4), (-3), (-2), (-1))"
        " AS levels CROSS JOIN jobs ON jobs.queue = lanes.queue AND jobs.lane = lanes.lane"
        " AND jobs.rank = levels.column1 AND jobs.seq = (SELECT min(seq) FROM jobs AS each WHERE"
        " each.queue = lanes.queue AND each.lane = lanes.lane AND each.rank = levels.column1)"
        " WHERE lanes.queue = ?",
        (queue,),
    ).fetchone()
    blocked, attempts = cx.execute(
        "SELECT min(blocked_at), max(attempts) FROM lanes WHERE queue = ?", (queue,)
    ).fetchone()
    return {
        "oldest_job_age": _age(oldest, now),
        "head_blocked": _age(blocked, now),
        "head_attempts": attempts or 0,
    }


def _dead(cx: Connection, queue: int, now: int) -> dict[str, Any]:
    count, oldest = cx.execute(
        "SELECT count(*), min(buried_at) FROM dead WHERE queue = ?", (queue,)
    ).fetchone()
    return {"dead_letters": count, "dead_letter_oldest_age": _age(oldest, now)}


def workers(cx: Connection, name: str) -> int:
    """How many workers serve a queue, also one that nothing was ever put into."""
    served = (msgspec.json.decode(row[0]) for row in cx.execute("SELECT queues FROM workers"))
    return sum(name in queues for queues in served)


def _age(since: int | None, now: int) -> float:
    return 0.0 if since is None else max(0.0, (now - since) / MICRO)
