"""Jobs that are in their lane and not counted yet: put there one by one, counted together.

To put a job into a lane that is there, and to count it, changes two pages in a transaction of five
statements. To put it there is one statement, which is a transaction by itself and changes one page. So a
process that goes on putting jobs into a lane has an inflow into it: a row that lets it do so.

Nobody sees the difference. Every transaction of another process counts what has come in before it does
anything, and takes the row away; so does whoever reads figures. One of the same process counts it.

order: so while the row of an inflow is there nobody else has given a sequence of the queue to anything, and
the next one is that behind the last this process has given. Where the row is gone nothing is put in, and the
job is appended like any other. The row's number is random, so that no other one is ever taken for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from sqlite3 import Connection

from glassq.model.jobs import Appended, Disposition, NewJob
from glassq.stores.sqlite.jumps import is_usual, time_of
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.rows import micros

_MOST = 64
"""Inflows at once: to count what came in costs others, who wait for that, 2 µs for each."""

_PUT_IN = (
    "INSERT INTO jobs (queue, lane, rank, seq, id, eligible_at, expires_at, body)"
    " SELECT ?, ?, ?, ?, ?, ?, ?, ? FROM inflows WHERE number = ?"
)
_LAST = (
    "SELECT queue, (SELECT max(seq) FROM jobs WHERE jobs.queue = inflows.queue AND jobs.lane = inflows.lane"
    " AND jobs.rank = inflows.rank), lane, rank FROM inflows"
)
_COUNT = (
    "UPDATE queues SET enqueued = enqueued + :seq - seq, seq = :seq, seen = max(seen, (SELECT eligible_at"
    " FROM jobs WHERE queue = :queue AND lane = :lane AND rank = :rank AND jobs.seq = :seq))"
    " WHERE id = :queue AND seq < :seq"
)


def is_plain(job: NewJob) -> bool:
    """Whether all there is to an append of this job is its place in its lane."""
    return job.dedup is None and job.due is None and not job.after and job.flow is None


def begin(cx: Connection, known: Known, queue: int, lane: str, rank: int) -> None:
    """Let this process go on putting jobs into a lane that is there."""
    if len(known.inflows) < _MOST and (queue, lane, rank) not in known.inflows:
        number = secrets.randbits(62)
        cx.execute(
            "INSERT INTO inflows (number, queue, lane, rank) VALUES (?, ?, ?, ?)", (number, queue, lane, rank)
        )
        known.inflows[queue, lane, rank] = number


def put_in(
    cx: Connection,
    known: Known,
    queue: int,
    job: NewJob,
    identify: Callable[[], str],
    *,
    max_length: int | None,
    clock: int,
) -> Appended | None:
    """Put a plain job into its lane, where there is an inflow into that. One statement, outside of any
    transaction. None, and nothing is done, where there is more to it."""
    lane, rank = job.lane, -job.level
    number = known.inflows.get((queue, lane, rank))
    if number is None or not known.joins(queue, lane, rank, rank):
        return None
    stood = known.queue(cx, queue)
    now = time_of(stood.seen, clock)
    if not is_usual(stood.seen, now) or (max_length is not None and stood.left >= max_length):
        return None
    # order: nobody else has given a sequence since, or the row would not be there.
    seq, job_id = stood.seq + 1, identify()
    expires_at = None if job.ttl is None else now + micros(job.ttl)
    row = (queue, lane, rank, seq, job_id, now, expires_at, job.body, number)
    if cx.execute(_PUT_IN, row).rowcount != 1:
        return None
    found = stood.watermark
    stood.seq, stood.seen = seq, now
    stood.enqueued += 1
    known.uncounted.add(queue)
    return Appended(job_id, seq, Disposition.CREATED, found)


def count(cx: Connection, known: Known) -> None:
    """Count what has come in, in a transaction that found nobody else to have written. What is known stays
    true, and inflows go on."""
    for queue in known.uncounted:
        stood = known.queue(cx, queue)
        cx.execute(
            "UPDATE queues SET seq = ?, enqueued = ?, seen = ? WHERE id = ?",
            (stood.seq, stood.enqueued, stood.seen, queue),
        )
    known.uncounted.clear()


def end_known(cx: Connection, known: Known) -> None:
    """End them, all of which are known and counted."""
    if known.inflows:
        known.inflows.clear()
        cx.execute("DELETE FROM inflows")


def end_all(cx: Connection) -> None:
    """Count what has come in by the inflows of every process, and end them."""
    for queue, last, lane, rank in cx.execute(_LAST).fetchall():
        if last is not None:
            cx.execute(_COUNT, {"seq": last, "queue": queue, "lane": lane, "rank": rank})
    cx.execute("DELETE FROM inflows")


def are_there(cx: Connection) -> bool:
    """Whether there may be jobs that are not counted yet."""
    return bool(cx.execute("SELECT EXISTS (SELECT 1 FROM inflows)").fetchone()[0])
