"""How an attempt ends in the tables. Every write here is behind the fence: token and owner."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection

import msgspec

from glassq.errors import StorageError
from glassq.model.jobs import StoredJob
from glassq.model.leases import Lease, Leaving, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.model.watermarks import Counts, Watermark
from glassq.stores.sqlite.jumps import catch_up, note, time_of, touch
from glassq.stores.sqlite.rows import (
    FRESH,
    MICRO,
    READY,
    Place,
    begun_of,
    first_two,
    head,
    micros,
    next_front,
    next_tail,
    others_ready,
    place_at,
    place_of,
    queue_row,
    window,
)

_OUTCOMES = {
    Action.ACK: "succeeded",
    Action.BURY: "buried",
    Action.EXPIRE: "expired",
    Action.CANCEL: "cancelled",
}

_HELD = (
    "current, begun_rank, begun_seq, attempts, change, lanes.paused OR queues.paused,"
    " NOT queues.paused AND"
    " EXISTS (SELECT 1 FROM lanes AS other WHERE other.queue = queues.id AND other.state = 'ready'),"
    " incarnation, seq, enqueued, settled, seen"
    " FROM lanes JOIN queues ON queues.id = lanes.queue"
)


class _Held(msgspec.Struct, frozen=True):
    """A held lane's row and its queue's, read once per settlement."""

    queue: int
    lane: str
    current: str | None
    begun_rank: int | None
    begun_seq: int | None
    attempts: int
    change: int
    paused: bool
    others: bool
    """Whether other lanes of the queue are ready and may be served."""
    incarnation: str
    seq: int
    enqueued: int
    settled: int
    seen: int

    @property
    def begun(self) -> tuple[int, int] | None:
        """The place of the lane's current job."""
        return begun_of(self.begun_rank, self.begun_seq)

    @property
    def found(self) -> Watermark:
        """Where the queue stood."""
        return Watermark(self.incarnation, Counts(self.seq, self.enqueued, self.settled))


def holds(cx: Connection, queue: int, owner: str, lease: Lease) -> bool:
    """Whether `owner` holds the lane under this very token."""
    return _held(cx, queue, owner, lease) is not None


def _held(cx: Connection, queue: int, owner: str, lease: Lease) -> _Held | None:
    # fence: both the number and the owner; a lane that vanished with its last job is nobody's.
    row = cx.execute(
        f"SELECT {_HELD} WHERE lanes.queue = ? AND lane = ?"
        " AND state = 'held' AND lanes.token = ? AND owner = ?",
        (queue, lease.lane, lease.token, owner),
    ).fetchone()
    return _Held(queue, lease.lane, *row) if row else None


def settle(cx: Connection, queue: int, owner: str, what: Settlement, clock: int) -> Settled:
    """End the attempt of the lane's head and move the lane on. Notes the time in the queue's row, too."""
    lane = _held(cx, queue, owner, what.lease)
    if lane is None:
        found = queue_row(cx, queue).watermark
        return Settled(status=SettleStatus.FENCED, now=touch(cx, queue, clock) / MICRO, found=found)
    now = time_of(lane.seen, clock)
    catch_up(cx, queue, lane.seen, now)
    first = first_two(cx, queue, lane.lane)
    if lane.current is None:  # kept: nothing runs, so this is a repetition, even if the job was replayed
        return _repeated(cx, lane, what, first, now)
    job = _head(cx, lane, first)
    if job is None or job.id != what.job_id:
        return _not_the_head(cx, lane, what, first, now)
    if what.action is Action.RETRY or what.action is Action.HALT:
        return _stop(cx, lane, what, now)
    if what.action is Action.BURY:
        _bury(cx, lane, job, what, now)
    _take_out(cx, queue, lane.lane, job, _OUTCOMES[what.action], now)
    left = [place for place in first if place != job]
    return _move_on(cx, lane, what, left, now, status=SettleStatus.DONE, ordinal=lane.settled + 1)


def _head(cx: Connection, lane: _Held, first: list[Place]) -> Place | None:
    """The job that must be settled next: the one that has begun, which is nearly always the first."""
    begun = lane.begun
    if begun is None:
        return first[0] if first else None
    for place in first:
        if (place.rank, place.seq) == begun:
            return place
    return place_at(cx, lane.queue, lane.lane, *begun)


def _not_the_head(cx: Connection, lane: _Held, what: Settlement, first: list[Place], now: int) -> Settled:
    if place_of(cx, lane.queue, lane.lane, what.job_id) is not None:
        # order: settling it would let it pass the jobs before it.
        raise StorageError(f"{what.job_id} is not the head of its lane; only the head can be settled")
    return _repeated(cx, lane, what, first, now)


def _repeated(cx: Connection, lane: _Held, what: Settlement, first: list[Place], now: int) -> Settled:
    """The job was settled before; the lane may still have to move on."""
    note(cx, lane.queue, now)
    return _move_on(cx, lane, what, first, now, status=SettleStatus.ALREADY, ordinal=0)


def remove(cx: Connection, queue: int, lane: str, job: StoredJob, outcome: str, now: int) -> None:
    """Take a job out and count it as settled."""
    place = place_at(cx, queue, lane, -job.level, job.seq)
    assert place is not None  # noqa: S101 - it was read in this transaction
    _take_out(cx, queue, lane, place, outcome, now)


def _take_out(cx: Connection, queue: int, lane: str, job: Place, outcome: str, now: int) -> None:
    if job.dedup is not None:
        cx.execute(
            "DELETE FROM dedup WHERE queue = ? AND id = ? AND job = ? AND until IS NULL",
            (queue, job.dedup, job.id),
        )
    gone = cx.execute(
        "DELETE FROM jobs WHERE queue = ? AND lane = ? AND rank = ? AND seq = ?",
        (queue, lane, job.rank, job.seq),
    )
    if gone.rowcount != 1:
        # A damaged tree lists it and does not find it by its key: it would run for ever.
        raise LookupError(f"{job.id} is in its lane, and not at its place in it")
    cx.execute(
        f"UPDATE queues SET settled = settled + 1, {outcome} = {outcome} + 1, settled_at = ?1, seen = ?1"
        " WHERE id = ?2",
        (now, queue),
    )


def _bury(cx: Connection, lane: _Held, place: Place, what: Settlement, now: int) -> None:
    """Keep the job as a dead letter."""
    job = head(cx, lane.queue, lane.lane, (place.rank, place.seq))
    assert job is not None  # noqa: S101 - its place was read in this transaction
    cx.execute(
        "INSERT INTO dead (queue, seq, id, lane, rank, eligible_at, replayed, body, reason, attempts, error,"
        " buried_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            lane.queue,
            job.seq,
            job.id,
            lane.lane,
            -job.level,
            micros(job.eligible_at),
            job.replayed,
            job.body,
            what.reason,
            lane.attempts + what.ran,
            what.error,
            now,
        ),
    )


def _stop(cx: Connection, lane: _Held, what: Settlement, now: int) -> Settled:
    """RETRY and HALT: the head stays in its place, the lane waits without an owner."""
    halt = what.action is Action.HALT
    note(cx, lane.queue, now)
    cx.execute(
        "UPDATE lanes SET state = ?, place = ?, owner = NULL, current = NULL,"
        " attempts = attempts + ?, failures = failures + 1, blocked_at = coalesce(blocked_at, ?),"
        " reason = ?, error = ? WHERE queue = ? AND lane = ?",
        (
            "halted" if halt else "waiting",
            now if halt else now + micros(what.wait),
            what.ran,
            now,
            what.reason,
            what.error,
            lane.queue,
            lane.lane,
        ),
    )
    return Settled(
        status=SettleStatus.DONE,
        now=now / MICRO,
        others=others_ready(cx, lane.queue),
        change=lane.change,
        found=lane.found,
    )


def _move_on(
    cx: Connection,
    lane: _Held,
    what: Settlement,
    left: list[Place],
    now: int,
    *,
    status: SettleStatus,
    ordinal: int,
) -> Settled:
    """The head is gone: the lane vanishes, goes back to the ready lanes, or goes on with the first of the
    jobs that are left, or the one that the worker named."""
    follower = _follower(cx, lane, what, left[0] if left else None)
    kept = what.leaving is Leaving.KEEP
    stays = kept or (what.leaving is Leaving.STAY and not lane.paused)
    others = lane.others
    jobs: tuple[StoredJob, ...] = ()
    if follower is None and not kept:
        cx.execute("DELETE FROM lanes WHERE queue = ? AND lane = ?", (lane.queue, lane.lane))
    elif kept:
        _start(cx, lane, None)  # held for the callback; what comes next has not begun
    elif stays:
        if follower is None or follower.id != what.next_id or what.change != lane.change:
            jobs = window(cx, lane.queue, lane.lane, max(1, what.window))
        _start(cx, lane, follower)
    else:
        _vacate(cx, lane, at_front=what.leaving is not Leaving.YIELD)
        others = others_ready(cx, lane.queue)
    return Settled(
        status=status,
        now=now / MICRO,
        ordinal=ordinal,
        held=stays and (follower is not None or kept),
        others=bool(others),
        change=lane.change,
        jobs=jobs,
        found=lane.found,
    )


def _follower(cx: Connection, lane: _Held, what: Settlement, first: Place | None) -> Place | None:
    """The lane's next job: the one the worker named while its window is fresh, else the lane's true head."""
    if first is None or what.next_id is None or first.id == what.next_id or what.change != lane.change:
        return first
    return place_of(cx, lane.queue, lane.lane, what.next_id) or first


def _start(cx: Connection, lane: _Held, job: Place | None) -> None:
    """Name the lane's current job, if it has one; the counters are of the head, so they start again."""
    if job is not None and job.id == lane.current:
        return  # named already, by a call that is repeated: what happened to it since is not forgotten
    cx.execute(
        f"UPDATE lanes SET current = ?, begun_rank = ?, begun_seq = ?, {FRESH} WHERE queue = ? AND lane = ?",
        (job and job.id, job and job.rank, job and job.seq, lane.queue, lane.lane),
    )


def _vacate(cx: Connection, lane: _Held, *, at_front: bool) -> None:
    place = next_front(cx, lane.queue) if at_front else next_tail(cx, lane.queue)
    open_again(cx, lane.queue, lane.lane, place)


def open_again(cx: Connection, queue: int, lane: str, place: int) -> None:
    """Nobody's lane with a head that is new to it: served again, from `place` on, unless paused."""
    cx.execute(
        f"UPDATE lanes SET state = {READY}, place = ?, owner = NULL, cause = 'ready', current = NULL,"
        f" begun_rank = NULL, begun_seq = NULL, {FRESH} WHERE queue = ? AND lane = ?",
        (place, queue, lane),
    )


def release(cx: Connection, queue: int, owner: str, lease: Lease, *, front: bool) -> bool:
    """Give a lane up with its head unsettled and untouched; whether that made it ready for others."""
    if not holds(cx, queue, owner, lease):
        return False
    if head(cx, queue, lease.lane, None) is None:
        cx.execute("DELETE FROM lanes WHERE queue = ? AND lane = ?", (queue, lease.lane))
        return False
    cx.execute(
        f"UPDATE lanes SET state = {READY}, place = ?, owner = NULL, current = NULL,"
        " begun_rank = CASE WHEN blocked_at IS NULL AND cancel IS NULL THEN NULL ELSE begun_rank END,"
        " begun_seq = CASE WHEN blocked_at IS NULL AND cancel IS NULL THEN NULL ELSE begun_seq END"
        " WHERE queue = ? AND lane = ?",
        (next_front(cx, queue) if front else next_tail(cx, queue), queue, lease.lane),
    )
    return True


def renew(cx: Connection, queue: int, owner: str, lease: Lease, length: int, now: int) -> str | None:
    """Extend a lease by its length from now; None when it was lost, else the id of its current job when that
    is asked to be cancelled, or an empty text.

    A renewal shows that the owner lives, so after it the clock may jump once more without costing the lane.
    """
    if not holds(cx, queue, owner, lease):
        return None
    (asked,) = cx.execute(
        "UPDATE lanes SET place = ?, lease = ?, graced = 0 WHERE queue = ? AND lane = ?"
        " RETURNING CASE WHEN cancel = current THEN cancel ELSE '' END",
        (now + length, length, queue, lease.lane),
    ).fetchone()
    return str(asked or "")


def found_alike(settlements: Sequence[Settlement], answers: Sequence[Settled]) -> list[Settled]:
    """Settlements of one queue say alike where the call found it, not where the one before left it."""
    found: dict[str, Watermark | None] = {}
    return [
        msgspec.structs.replace(answer, found=found.setdefault(settlement.lease.queue, answer.found))
        for settlement, answer in zip(settlements, answers, strict=True)
    ]
