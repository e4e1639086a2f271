"""How lanes change hands: due retries and abandoned lanes become ready, ready lanes get an owner."""

from __future__ import annotations

from collections.abc import Callable, Collection
from sqlite3 import Connection

import msgspec

from glassq.model.leases import ClaimCause, Grant, Lease, Owner
from glassq.stores.sqlite.arriving import promote_scheduled
from glassq.stores.sqlite.rows import MICRO, READY, begun_of, head, next_front, next_tail, window

_PROMOTED_AT_ONCE = 100


def reclaim(cx: Connection, queue: int, lane: str, now: int, cause: ClaimCause) -> None:
    """Take a held lane from its owner: ready again at the front, the job that it ran blamed for the crash."""
    first = head(cx, queue, lane, None)
    if first is None:  # the owner died in the callback of the lane's last job
        cx.execute("DELETE FROM lanes WHERE queue = ? AND lane = ?", (queue, lane))
        return
    # Tried now or before: nothing overtakes it.
    tried = "runs OR blocked_at IS NOT NULL"
    cx.execute(
        f"UPDATE lanes SET state = {READY}, place = ?, owner = NULL, cause = ?,"
        " attempts = attempts + runs, crashes = crashes + runs,"
        " blocked_at = CASE WHEN runs THEN coalesce(blocked_at, ?) ELSE blocked_at END,"
        f" begun_rank = CASE WHEN {tried} THEN coalesce(begun_rank, ?) END,"
        f" begun_seq = CASE WHEN {tried} THEN coalesce(begun_seq, ?) END,"
        " runs = 0 WHERE queue = ? AND lane = ?",
        (next_front(cx, queue), cause, now, -first.level, first.seq, queue, lane),
    )


def bring_up_to_date(cx: Connection, queue: int, now: int) -> None:
    """Let time, which was seen to pass, have its effect: ended leases, due jobs and due retries made ready.

    In this order: a job that comes in when a lease has ended finds its lane with no owner any more.
    """
    _reclaim_expired(cx, queue, now)
    promote_scheduled(cx, queue, now)
    _promote_due(cx, queue, now)


def _reclaim_expired(cx: Connection, queue: int, now: int) -> None:
    """Lanes whose lease has ended, the one that ended first in front."""
    rows = cx.execute(
        "SELECT lane FROM lanes WHERE queue = ? AND state = 'held' AND place <= ?"
        " ORDER BY place, lane LIMIT ?",
        (queue, now, _PROMOTED_AT_ONCE),
    ).fetchall()
    for (lane,) in reversed(rows):
        reclaim(cx, queue, lane, now, ClaimCause.LEASE_EXPIRED)


def reclaim_from(
    cx: Connection,
    owners: Collection[str],
    time_of: Callable[[int], int],
    cause: ClaimCause,
    queues: Collection[int] | None = None,
) -> None:
    """All lanes of owners that are known to be gone, in these queues, None in every one; the lease that ends
    first in front."""
    if not owners:
        return
    marks = ", ".join("?" * len(owners))
    rows = cx.execute(
        f"SELECT queue, lane FROM lanes WHERE state = 'held' AND owner IN ({marks})"
        " ORDER BY place DESC, lane DESC",
        tuple(owners),
    ).fetchall()
    for queue, lane in rows:
        if queues is None or queue in queues:
            reclaim(cx, queue, lane, time_of(queue), cause)


def _promote_due(cx: Connection, queue: int, now: int) -> None:
    """Lanes whose retry is due join the tail of the ready lanes."""
    rows = cx.execute(
        "SELECT lane FROM lanes WHERE queue = ? AND state = 'waiting' AND place <= ?"
        " ORDER BY place, lane LIMIT ?",
        (queue, now, _PROMOTED_AT_ONCE),
    ).fetchall()
    for (lane,) in rows:
        cx.execute(
            f"UPDATE lanes SET state = {READY}, place = ? WHERE queue = ? AND lane = ?",
            (next_tail(cx, queue), queue, lane),
        )


def holders(cx: Connection, queue: int) -> set[str]:
    """The owners of a queue's held lanes."""
    rows = cx.execute("SELECT DISTINCT owner FROM lanes WHERE queue = ? AND state = 'held'", (queue,))
    return {owner for (owner,) in rows}


def grant(
    cx: Connection, queue: tuple[int, str], owner: Owner, *, lanes: int, size: int, lease: int, now: int
) -> tuple[list[Grant], bool]:
    """Give ready lanes to `owner`, longest waiting first; and whether further ones are left waiting."""
    picked = cx.execute(
        "SELECT lane, cause, begun_rank, begun_seq, cancel, attempts, failures, crashes, change FROM lanes"
        " WHERE queue = :queue AND state = 'ready' AND NOT (SELECT paused FROM queues WHERE id = :queue)"
        " ORDER BY place LIMIT :limit",
        {"queue": queue[0], "limit": lanes + 1},
    ).fetchall()
    others = len(picked) > lanes
    found = [_Ready(*row) for row in picked[:lanes]]
    taken = [_take(cx, queue, lane, owner, 1 if others else size, lease, now) for lane in found]
    return taken, others


class _Ready(msgspec.Struct, frozen=True):
    """A ready lane's row."""

    lane: str
    cause: str
    begun_rank: int | None
    begun_seq: int | None
    cancel: str | None
    attempts: int
    failures: int
    crashes: int
    change: int


def _take(
    cx: Connection, queue: tuple[int, str], row: _Ready, owner: Owner, size: int, lease: int, now: int
) -> Grant:
    key, name = queue
    begun = begun_of(row.begun_rank, row.begun_seq)
    first = head(cx, key, row.lane, begun)
    assert first is not None  # noqa: S101 - a lane's row goes with its last job
    # A head that was tried before comes alone: what follows it is decided after it.
    jobs = (first,) if begun is not None or size == 1 else window(cx, key, row.lane, size)
    # fence: the number grows with every claim, and past anything given out before a lost store.
    cx.execute("UPDATE queues SET token = max(token + 1, ?) WHERE id = ?", (now, key))
    (token,) = cx.execute("SELECT token FROM queues WHERE id = ?", (key,)).fetchone()
    cx.execute(
        "UPDATE lanes SET state = 'held', place = ?, token = ?, owner = ?, lease = ?, cause = 'ready',"
        " runs = 1 WHERE queue = ? AND lane = ?",
        (now + lease, token, str(owner), lease, key, row.lane),
    )
    return Grant(
        lease=Lease(name, row.lane, token),
        jobs=jobs,
        cause=ClaimCause(row.cause),
        attempts=row.attempts,
        failures=row.failures,
        crashes=row.crashes,
        cancelled=row.cancel == first.id,
        change=row.change,
    )


def next_due(cx: Connection, queue: int, owner: Owner, now: int) -> float | None:
    """Seconds until a job or a retry of the queue is due, or somebody else's lease ends."""
    (due,) = cx.execute(
        "SELECT min(at) FROM (SELECT min(place) AS at FROM lanes WHERE queue = :queue AND"
        " (state = 'waiting' OR (state = 'held' AND owner <> :owner))"
        " UNION ALL SELECT min(due_at) FROM scheduled WHERE queue = :queue)",
        {"queue": queue, "owner": str(owner)},
    ).fetchone()
    return None if due is None else max(0.0, (due - now) / MICRO)
