"""How an attempt ends in the tables. Every write here is behind the fence: token and owner.

The job that a held lane's owner runs is its head, which is nearly always the first in the tables: so a job
that is settled in its order leaves the lane's row as it is, and costs a row that goes and a count.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, lt
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from glassq.errors import StorageError
from glassq.model.jobs import StoredJob
from glassq.model.leases import Lease, Leaving, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.model.watermarks import Counts, Watermark
from glassq.stores.sqlite import legs
from glassq.stores.sqlite.arriving import rows_in
from glassq.stores.sqlite.changes import Change
from glassq.stores.sqlite.ending import Ends
from glassq.stores.sqlite.jumps import is_usual, note, pass_time, time_of
from glassq.stores.sqlite.known import HeldLane, Known
from glassq.stores.sqlite.legs import Stepped
from glassq.stores.sqlite.notes import write_down
from glassq.stores.sqlite.rows import (
    FRESH,
    MICRO,
    OUTCOMES,
    READY,
    Place,
    head,
    micros,
    next_front,
    next_tail,
    others_ready,
    place_at,
    place_of,
)


class _Call(msgspec.Struct, frozen=True):
    """One settlement at work."""

    cx: Connection
    known: Known
    what: Settlement
    lane: HeldLane
    found: Watermark
    now: int


def settle(change: Change, known: Known, queue: int, owner: str, what: Settlement) -> Settled:
    """End the attempt of the lane's head and move the lane on. Notes the time in the queue's row, too."""
    cx = change.cx
    ran_ahead = known.leg_of(queue, what.lease.lane) is not None
    legs.end_known(cx, known)
    lane = known.held(cx, queue, owner, what.lease)
    stood = known.queue(cx, queue)
    found = stood.watermark
    now = pass_time(cx, queue, stood.seen, change.clock)
    if lane is None:
        note(cx, queue, now)
        known.forget()
        return Settled(status=SettleStatus.FENCED, now=now / MICRO, found=found)
    call = _Call(cx, known, what, lane, found, now)
    if not lane.runs:  # kept: this is a repetition, even if the job was replayed
        return _repeated(call, None)
    job = _head(cx, lane)
    if job is None or job.id != what.job_id:
        return _not_the_head(call, job)
    if what.keep > 0:
        _write_down(call)
    if what.action is Action.RETRY or what.action is Action.HALT:
        return _stop(call, job)
    if what.action is Action.BURY:
        _bury(call, job)
    _take_out(cx, queue, lane.lane, job)
    lane.without(job)
    ordinal = stood.settled + 1
    if stood.tied:
        ends = Ends(cx, known, queue, now)
        final = what.action is not Action.BURY
        if ends.note(job.id, OUTCOMES[what.action], final=final, result=what.result):
            return _let_others_know(change, call, ends, ordinal)
    _count(cx, queue, OUTCOMES[what.action], now)
    stood.settled = ordinal
    stood.seen = now
    settled = _move_on(call, None, SettleStatus.DONE, ordinal)
    if ran_ahead and settled.held and lane.is_plain and known.knows(queue, lane.lane):
        legs.begin(cx, known, lane, stood, anew=False)  # it is likely to run ahead with the new window, too
    return settled


def _let_others_know(change: Change, call: _Call, ends: Ends, ordinal: int) -> Settled:
    """Let go who waits for the job, before its lane moves on: a child in it may be what comes next."""
    what, was_empty = call.what, call.lane.whole and not call.lane.places
    ends.own.settle(OUTCOMES[what.action])
    if ends.carry_out():
        change.ring = True
    # Read again if jobs came before others in it.
    lane = call.known.held(call.cx, call.lane.queue, call.lane.owner, what.lease)
    assert lane is not None  # noqa: S101 - it was held in this transaction
    if was_empty and lane is call.lane:
        lane.consists_of(rows_in(ends.placed, lane.queue, lane.lane))
    if lane is not call.lane:
        call = msgspec.structs.replace(call, lane=lane)
    settled = _move_on(call, None, SettleStatus.DONE, ordinal)
    return msgspec.structs.replace(
        settled,
        released=len(ends.placed) + ends.cancelled,
        ended=ends.ended_flows(),
        relay=ends.relay,
    )


def _head(cx: Connection, lane: HeldLane) -> Place | None:
    """The job that must be settled next: the one that has begun."""
    first, begun = lane.first(cx), lane.begun
    if begun is None or (first is not None and (first.rank, first.seq) == begun):
        return first
    return place_at(cx, lane.queue, lane.lane, *begun)


def _not_the_head(call: _Call, current: Place | None) -> Settled:
    lane, job_id = call.lane, call.what.job_id
    if place_of(call.cx, lane.queue, lane.lane, job_id) is not None:
        # order: settling it would let it pass the jobs before it.
        raise StorageError(f"{job_id} is not the head of its lane; only the head can be settled")
    return _repeated(call, current)


def _repeated(call: _Call, current: Place | None) -> Settled:
    """The job was settled before; the lane may still have to move on from its current one, if it has one."""
    note(call.cx, call.lane.queue, call.now)
    call.known.forget()
    return _move_on(call, current, SettleStatus.ALREADY)


def remove(cx: Connection, queue: int, lane: str, job: StoredJob, outcome: str, now: int) -> None:
    """Take a job out and count it as settled."""
    place = place_at(cx, queue, lane, -job.level, job.seq)
    assert place is not None  # noqa: S101 - it was read in this transaction
    _take_out(cx, queue, lane, place)
    _count(cx, queue, outcome, now)


def _take_out(cx: Connection, queue: int, lane: str, job: Place) -> None:
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


def _count(cx: Connection, queue: int, outcome: str, now: int) -> None:
    cx.execute(
        f"UPDATE queues SET settled = settled + 1, {outcome} = {outcome} + 1, settled_at = :now, seen = :now"
        " WHERE id = :queue",
        {"now": now, "queue": queue},
    )


def _bury(call: _Call, place: Place) -> None:
    """Keep the job as a dead letter."""
    lane, what = call.lane, call.what
    job = head(call.cx, lane.queue, lane.lane, (place.rank, place.seq))
    assert job is not None  # noqa: S101 - its place was read in this transaction
    call.cx.execute(
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
            call.now,
        ),
    )


def _write_down(call: _Call) -> None:
    """Keep this settlement, which is done for the first time, for as long as it says."""
    what = call.what
    again = micros(what.wait) if what.action is Action.RETRY else 0
    write_down(
        call.cx,
        call.lane.queue,
        what.job_id,
        what.action,
        call.now,
        until=call.now + again + micros(what.keep),
        reason=what.reason,
        said=what.note,
        result=what.result,
        error=b"" if what.result is not None else what.error,
    )


def _stop(call: _Call, job: Place) -> Settled:
    """RETRY and HALT: the head stays in its place, the lane waits without an owner."""
    cx, lane, what, now = call.cx, call.lane, call.what, call.now
    halt = what.action is Action.HALT
    note(cx, lane.queue, now)
    cx.execute(
        "UPDATE lanes SET state = ?, place = ?, owner = NULL, runs = 0, begun_rank = ?, begun_seq = ?,"
        " attempts = attempts + ?, failures = failures + 1, blocked_at = coalesce(blocked_at, ?),"
        " reason = ?, error = ?, since = ? WHERE queue = ? AND lane = ?",
        (
            "halted" if halt else "waiting",
            now if halt else now + micros(what.wait),
            job.rank,
            job.seq,
            what.ran,
            now,
            what.reason,
            what.error,
            now,
            lane.queue,
            lane.lane,
        ),
    )
    call.known.forget()
    return Settled(
        status=SettleStatus.DONE,
        now=now / MICRO,
        others=others_ready(cx, lane.queue),
        change=lane.change,
        found=call.found,
    )


def _move_on(call: _Call, current: Place | None, status: SettleStatus, ordinal: int = 0) -> Settled:
    """The head is gone: the lane vanishes, goes back to the ready lanes, or goes on with the first of the
    jobs that are left. `current`: what it goes on with already."""
    cx, known, lane, what = call.cx, call.known, call.lane, call.what
    kept = what.leaving is Leaving.KEEP
    paused = bool(known.queue(cx, lane.queue).paused)
    stays = kept or (what.leaving is Leaving.STAY and not (lane.paused or paused))
    jobs: tuple[StoredJob, ...] = ()
    if stays and not kept and what.next_id is None:
        jobs = lane.window(cx, max(1, what.window))
    follower = lane.first(cx)  # order: whatever the worker named
    if kept:
        _hold(call)  # for the callback; what comes next has not begun
    elif follower is None:
        cx.execute("DELETE FROM lanes WHERE queue = ? AND lane = ?", (lane.queue, lane.lane))
        known.left(lane)
    elif stays:
        if not jobs and (follower.id != what.next_id or what.change != lane.change):
            jobs = lane.window(cx, max(1, what.window))
        if follower != current:  # else named by a call that is repeated: what happened since is not forgotten
            _start(call)
    else:
        place = next_tail(cx, lane.queue) if what.leaving is Leaving.YIELD else next_front(cx, lane.queue)
        open_again(cx, lane.queue, lane.lane, place, call.now)
        known.forget()
    return Settled(
        status=status,
        now=call.now / MICRO,
        ordinal=ordinal,
        held=stays and (follower is not None or kept),
        others=known.others(cx, lane.queue),
        paused=paused,
        change=lane.change,
        jobs=jobs,
        found=call.found,
    )


def _start(call: _Call) -> None:
    """The lane goes on with its first job. Written down only where the lane's row does not say so already."""
    lane = call.lane
    if lane.runs and lane.fresh and lane.begun is None:
        return
    call.cx.execute(
        f"UPDATE lanes SET runs = 1, begun_rank = NULL, begun_seq = NULL, {FRESH}"
        " WHERE queue = ? AND lane = ?",
        (lane.queue, lane.lane),
    )
    call.known.forget()


def _hold(call: _Call) -> None:
    """The lane stays with its owner, who runs none of its jobs."""
    lane = call.lane
    call.cx.execute(
        f"UPDATE lanes SET runs = 0, begun_rank = NULL, begun_seq = NULL, {FRESH}"
        " WHERE queue = ? AND lane = ?",
        (lane.queue, lane.lane),
    )
    call.known.forget()


_ORDINAL = attrgetter("ordinal")


class Run(NamedTuple):
    """What does not change while a lane is run ahead and nothing happens: whose it is, its change counter,
    and whether others wait for the queue."""

    owner: str
    lease: Lease
    change: int
    others: bool

    def in_full(self, stepped: Stepped) -> Settled:
        """The whole answer."""
        counts = Counts(stepped.seq, stepped.enqueued, stepped.ordinal - 1)
        return Settled(
            status=SettleStatus.DONE,
            now=stepped.now / MICRO,
            ordinal=stepped.ordinal,
            held=True,
            others=self.others,
            change=self.change,
            found=Watermark(stepped.incarnation, counts),
        )

    def all_in_full(self, heard: Sequence[Stepped]) -> list[Settled]:
        """The whole answers of several. Where the queue stood is said by the first and the last alone, as
        counters only grow; unless ordinals did not: then something is wrong, and by each."""
        if len(heard) <= 1 or not all(map(lt, map(_ORDINAL, heard), map(_ORDINAL, heard[1:]))):
            return [self.in_full(stepped) for stepped in heard]
        others, change, done = self.others, self.change, SettleStatus.DONE
        between = [
            Settled(
                status=done,
                now=stepped.now / MICRO,
                ordinal=stepped.ordinal,
                held=True,
                others=others,
                change=change,
            )
            for stepped in heard[1:-1]
        ]
        return [self.in_full(heard[0]), *between, self.in_full(heard[-1])]


def step(
    cx: Connection, known: Known, queue: int, run: Run, job_id: str, next_id: str, clock: int
) -> Stepped | None:
    """What `settle` does with a job that succeeded and whose lane goes on, where there is nothing to do but
    that, and nothing to say that is not known: the head is the first in its lane, the one that is named comes
    next, the lane is as it was, and others wait for the queue as before. None, and nothing is done, where
    there is more to it."""
    lane = known.held(cx, queue, run.owner, run.lease)
    if lane is None or not lane.is_plain or lane.change != run.change:
        return None
    job, follower = lane.first(cx), lane.second(cx)
    if job is None or job.id != job_id or follower is None or follower.id != next_id:
        return None  # order: what was named is not what comes
    stood = known.queue(cx, queue)
    now = time_of(stood.seen, clock)
    if stood.tied or stood.paused or known.others(cx, queue) != run.others or not is_usual(stood.seen, now):
        return None
    _take_out(cx, queue, lane.lane, job)
    _count(cx, queue, OUTCOMES[Action.ACK], now)
    lane.without(job)
    stood.settled += 1
    stood.seen = now
    return Stepped(now, stood.settled, stood.incarnation, stood.seq, stood.enqueued)


def open_again(cx: Connection, queue: int, lane: str, place: int, now: int) -> None:
    """Nobody's lane with a head that is new to it: served again, from `place` on, unless paused. What
    it waited for until now is noted."""
    cx.execute(
        f"UPDATE lanes SET state = {READY}, place = ?, owner = NULL, cause = 'ready', runs = 0,"
        f" begun_rank = NULL, begun_seq = NULL, since = ?, {FRESH} WHERE queue = ? AND lane = ?",
        (place, now, queue, lane),
    )


def release(
    cx: Connection, known: Known, queue: int, owner: str, lease: Lease, now: int, *, front: bool
) -> bool:
    """Give a lane up with its head unsettled and untouched; whether that made it ready for others."""
    if known.held(cx, queue, owner, lease) is None:
        return False
    known.forget()
    first = head(cx, queue, lease.lane, None)
    if first is None:
        cx.execute("DELETE FROM lanes WHERE queue = ? AND lane = ?", (queue, lease.lane))
        return False
    # Tried before, or asked to be cancelled: nothing overtakes it even now.
    tried = "blocked_at IS NOT NULL OR cancel IS NOT NULL"
    cx.execute(
        f"UPDATE lanes SET state = {READY}, place = ?, owner = NULL, runs = 0, since = ?,"
        f" begun_rank = CASE WHEN {tried} THEN coalesce(begun_rank, ?) END,"
        f" begun_seq = CASE WHEN {tried} THEN coalesce(begun_seq, ?) END"
        " WHERE queue = ? AND lane = ?",
        (
            next_front(cx, queue) if front else next_tail(cx, queue),
            now,
            -first.level,
            first.seq,
            queue,
            lease.lane,
        ),
    )
    return True


def renew(
    cx: Connection, known: Known, queue: int, owner: str, lease: Lease, length: int, now: int
) -> str | None:
    """Extend a lease by its length from now; None when it was lost, else the id of its current job when that
    is asked to be cancelled, or an empty text.

    A renewal shows that the owner lives, so after it the clock may jump once more without costing the lane.
    """
    if known.held(cx, queue, owner, lease) is None:
        return None
    (asked,) = cx.execute(
        "UPDATE lanes SET place = ?, lease = ?, graced = 0 WHERE queue = ? AND lane = ?"
        " RETURNING CASE WHEN runs THEN cancel END",
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
