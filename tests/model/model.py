"""What the storage protocol means: one queue in plain Python, without I/O, slow wherever that is plainer.

Both stores must answer as it does, call for call. Times are whole microseconds; jobs are named by their
bodies. Free, and so not said here: the ids of jobs; by how much a change counter grows (only if it does);
what else a `fenced` answer tells; whether a repeated settlement whose lease has ended is `fenced` or
`already`; and how much that is due a single claim may leave for the next one, if it is over a hundred. What
lanes have waited for has an oracle of its own (`waiting.py`).
Where settlements are sent and not waited for, stores differ in what they can: a model that `runs_ahead` means
what Redis does, any other one what a store means that answers at once.
Not modelled: `OWNER_DIED`, since only a store that sees the processes of its host can know of it (nobody
who holds a lane here listens, so that no store takes one for dead); and copies on replicas.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from glassq.errors import StorageError
from glassq.model.jobs import Cancellation, StoredJob
from glassq.model.leases import (
    ClaimCause,
    Claimed,
    Grant,
    Lease,
    Leaving,
    Owner,
    Renewed,
    Settled,
    Settlement,
    SettleStatus,
)
from glassq.model.verdicts import Action
from glassq.storage import DeadRecord, Replayed
from tests.model.lanes import HALTED, HELD, OUTCOMES, SECOND, WAITING, Lane, micros
from tests.model.queues import Queue


class Model(Queue):
    """One queue. Every verb takes the time at which it happens."""

    # -- owning lanes --------------------------------------------------------------------------------------

    def claim(self, now: int, owner: Owner, lanes: int, window: int, lease: int) -> Claimed:
        """What time has brought about comes first: lanes taken back to the front, jobs and retries that are
        due to the tail. Then the lanes that have waited longest are given out. Whoever was given some while
        more are ready comes again when it has room, and need not know when leases end."""
        now = self.touch(now)
        for lane in reversed(self.in_state(HELD)):
            holder = lane.owner
            if holder and holder.node == owner.node and holder.incarnation != owner.incarnation:
                self.take_back(now, lane, ClaimCause.HANDOVER)
        for lane in reversed(self.in_state(HELD)):
            if lane.until <= now:
                self.take_back(now, lane, ClaimCause.LEASE_EXPIRED)
        due = sorted((each for each in self.scheduled if each.due <= now), key=lambda e: (e.due, e.number))
        self.scheduled = [each for each in self.scheduled if each.due > now]
        self.arrive(due)
        for lane in self.in_state(WAITING):
            if lane.until <= now:
                self.give_up(lane, at_front=False)
        open_lanes = [self.lanes[name] for name in self.ready if not self.stopped(name)]
        crowded = len(open_lanes) > lanes
        grants = [
            self.grant(now, each, owner, 1 if crowded else window, lease) for each in open_lanes[:lanes]
        ]
        ends = [each.due for each in self.scheduled] + [lane.until for lane in self.in_state(WAITING)]
        if not (grants and crowded):
            ends += [lane.until for lane in self.in_state(HELD) if lane.owner != owner]
        return Claimed(
            grants=tuple(grants),
            now=now / SECOND,
            others={self.queue: 1} if crowded else {},
            next_due=max(0, min(ends) - now) / SECOND if ends else None,
        )

    def grant(self, now: int, lane: Lane, owner: Owner, window: int, lease: int) -> Grant:
        """The token grows over all lanes of the queue. The head keeps what it has been through."""
        self.ready.remove(lane.name)
        lane.token = self.token = max(self.token + 1, now)
        self.tokens += 1
        lane.state, lane.owner, lane.lease, lane.until = HELD, owner, lease, now + lease
        jobs, cause, head = lane.window(window), lane.cause, lane.head
        lane.cause, lane.current, lane.begun = ClaimCause.READY, jobs[0].id, jobs[0].id
        return Grant(
            lease=Lease(self.queue, lane.name, lane.token),
            jobs=jobs,
            cause=cause,
            attempts=head.attempts,
            failures=head.failures,
            crashes=head.crashes,
            cancelled=head.unwanted,
            change=lane.change,
        )

    def take_back(self, now: int, lane: Lane, cause: ClaimCause) -> None:
        """From an owner that is gone: the job it ran is blamed, and has begun."""
        self.grant_wishes(now, lane)
        if lane.current:
            lane.head.attempts += 1
            lane.head.crashes += 1
            lane.head.blocked_at = now if lane.head.blocked_at is None else lane.head.blocked_at
        self.give_up(lane, at_front=True)
        lane.cause = cause

    def held(self, owner: Owner, lease: Lease) -> Lane | None:
        """O5, the fence: the lane, if it is held by this owner under this very token."""
        lane = self.lanes.get(lease.lane)
        if lane and lane.state is HELD and (lane.owner, lane.token) == (owner, lease.token):
            return lane
        return None

    def renew(self, now: int, owner: Owner, leases: Sequence[Lease], length: int) -> Renewed:
        """Who renews lives, and has its grace again."""
        now = self.touch(now)
        lost, cancelled = set(), set()
        for lease in leases:
            lane = self.held(owner, lease)
            if lane is None:
                lost.add(lease)
                continue
            lane.until, lane.lease, lane.graced = now + length, length, 0
            if lane.current and lane.head.unwanted:
                cancelled.add(lane.current)
        return Renewed(frozenset(lost), frozenset(cancelled))

    def release(self, now: int, owner: Owner, leases: Sequence[Lease], *, front: bool) -> None:
        """A head that nothing has happened to has not begun, and may be overtaken."""
        now = self.touch(now)
        for lane in filter(None, (self.held(owner, lease) for lease in leases)):
            self.grant_wishes(now, lane)
            untouched = lane.head.blocked_at is None and not lane.head.unwanted
            (self.vacate if untouched else self.give_up)(lane, at_front=front)

    # -- settling ------------------------------------------------------------------------------------------

    def settle(self, now: int, owner: Owner, whats: Sequence[Settlement]) -> list[Settled]:
        """O2: refused whole when one of the jobs is unsettled and not the head of its lane."""
        if any(self.refuses(owner, what) for what in whats):
            raise StorageError("not the head")
        now = self.touch(now)
        return [self.settle_one(now, owner, what) for what in whats]

    def refuses(self, owner: Owner, what: Settlement) -> bool:
        """Whether this would let a job pass those before it."""
        lane = self.held(owner, what.lease)
        running = lane is not None and lane.current is not None and lane.find(what.job_id) is not None
        return running and lane is not None and lane.window(1)[0].id != what.job_id

    def settle_one(self, now: int, owner: Owner, what: Settlement) -> Settled:
        """End the attempt; a job that is gone was settled before."""
        lane = self.held(owner, what.lease)
        if lane is None:
            return Settled(status=SettleStatus.FENCED, now=now / SECOND)
        job = lane.find(what.job_id) if lane.current else None  # a kept lane has nothing to settle
        if job is None:
            return self.move_on(now, lane, what, SettleStatus.ALREADY, 0)
        if what.action in (Action.RETRY, Action.HALT):
            return self.stop(now, lane, what)
        if what.action is Action.BURY:
            self.dead[job.id] = DeadRecord(
                job=msgspec.structs.replace(job, expires_at=None),
                lane=lane.name,
                reason=what.reason,
                attempts=lane.head.attempts + what.ran,
                error=what.error,
                buried_at=now / SECOND,
            )
        self.remove(now, lane, job, OUTCOMES[what.action])
        return self.move_on(now, lane, what, SettleStatus.DONE, self.settled.total())

    def stop(self, now: int, lane: Lane, what: Settlement) -> Settled:
        """O3: the head stays in its place, the lane waits for its time or for a human."""
        head, halt = lane.head, what.action is Action.HALT
        head.attempts += what.ran
        head.failures += 1
        head.blocked_at = now if head.blocked_at is None else head.blocked_at
        head.reason, head.error = what.reason, what.error
        self.grant_wishes(now, lane)
        lane.owner, lane.current, lane.ahead = None, None, 0
        lane.state, lane.until = (HALTED, now) if halt else (WAITING, now + micros(what.wait))
        return Settled(status=SettleStatus.DONE, now=now / SECOND, others=self.others(), change=lane.change)

    def move_on(self, now: int, lane: Lane, what: Settlement, status: SettleStatus, ordinal: int) -> Settled:
        """The head is gone. The next is the one the worker named, if its window is fresh; else it is named
        here, and told. Repeated, because the answer was lost, this is decided anew: nothing has begun."""
        held, jobs = False, tuple[StoredJob, ...]()
        if what.begun and self.runs_ahead:
            return self.go_on(now, lane, what, status, ordinal)
        self.grant_wishes(now, lane)
        lane.unbegin()
        lane.ahead = 0
        if what.leaving is Leaving.KEEP:
            held = True
            lane.start(None)
        elif what.leaving is Leaving.STAY and lane.jobs and not self.stopped(lane.name):
            held, follower = True, lane.window(1)[0]
            if what.change != lane.change or follower.id != what.next_id:
                jobs = lane.window(max(1, what.window))
            lane.start(follower)
            lane.ahead = what.ahead if self.runs_ahead else 0
        else:
            self.vacate(lane, at_front=what.leaving is not Leaving.YIELD)
        return Settled(
            status=status,
            now=now / SECOND,
            ordinal=ordinal,
            held=held,
            others=self.others(),
            change=lane.change,
            jobs=jobs,
        )

    def go_on(self, now: int, lane: Lane, what: Settlement, status: SettleStatus, ordinal: int) -> Settled:
        """The named job has begun already, whatever has changed; a wish to cancel it becomes its own. Nothing
        follows from a repetition."""
        if status is SettleStatus.DONE:
            follower = lane.find(what.next_id)
            assert follower is not None, "what a worker goes on with is left to it"
            lane.start(follower)
            lane.head.unwanted = follower.id in lane.wishes
        return Settled(
            status=status,
            now=now / SECOND,
            ordinal=ordinal,
            held=True,
            others=self.others(),
            change=lane.change,
        )

    # -- people --------------------------------------------------------------------------------------------

    def retry_lane(self, now: int, name: str) -> bool:
        """The halted head again, next, with fresh retries; its attempts are history and stay."""
        now = self.touch(now)
        lane = self.lanes.get(name)
        if lane is None or lane.state is not HALTED:
            return False
        lane.head.failures = lane.head.crashes = 0
        self.give_up(lane, at_front=True)
        return True

    def skip_lane(self, now: int, name: str) -> StoredJob | None:
        """The halted head ends, the lane goes on, next."""
        now = self.touch(now)
        lane = self.lanes.get(name)
        if lane is None or lane.state is not HALTED:
            return None
        head = lane.window(1)[0]
        self.remove(now, lane, head, "cancelled")
        self.vacate(lane, at_front=True)
        return head

    def cancel(self, now: int, job_id: str) -> Cancellation | None:
        """What runs, or may, is asked; anything else goes, and a lane that waited for that head alone goes
        on."""
        now = self.touch(now)
        if any(each.id == job_id for each in self.scheduled):
            self.scheduled = [each for each in self.scheduled if each.id != job_id]
            self.count(now, [job_id], "cancelled")
            return Cancellation.REMOVED
        for lane in list(self.lanes.values()):
            job = lane.find(job_id)
            if job and lane.current == job_id:
                lane.head.unwanted = True
                return Cancellation.ASKED
            if job and job.id in lane.left_alone():
                lane.wishes.append(job_id)
                lane.change += 1
                return Cancellation.ASKED
            if job:
                self.remove(now, lane, job, "cancelled")
                if lane.state is HELD:
                    lane.change += 1
                elif not lane.jobs or lane.begun == job_id:
                    self.vacate(lane, at_front=True)
                return Cancellation.REMOVED
        return None

    def pause(self, now: int, scope: str | None) -> bool:
        """Windows go stale, so that nothing further begins."""
        self.exists = True
        now = self.touch(now)
        before = scope in self.paused
        self.paused.add(scope)
        for lane in self.in_state(HELD):
            lane.change += not before and scope in (None, lane.name)
        return before

    def resume(self, now: int, scope: str | None) -> bool:
        """A lane goes behind those that are ready; a queue goes on where it was."""
        now = self.touch(now)
        before = scope in self.paused
        self.paused.discard(scope)
        if before and scope is not None and scope in self.ready:
            self.ready.remove(scope)
            self.ready.append(scope)
        return before

    def replay(self, now: int, ids: Sequence[str], *, front: bool) -> list[Replayed]:
        """O8: in ascending seq, which at the front is their place, at the tail makes way for a new one."""
        now = self.touch(now)
        back = sorted((self.dead.pop(each) for each in set(ids) & set(self.dead)), key=lambda r: r.job.seq)
        answers = []
        for record in back:
            self.seq += not front
            seq = record.job.seq if front else self.seq
            lane = self.lane(record.lane)
            lane.change += 1
            job = msgspec.structs.replace(record.job, seq=seq, eligible_at=now / SECOND, replayed=True)
            lane.insert(job, lane.most_begun(job.level) if front else len(lane.jobs))
            answers.append(Replayed(record.job.id, record.lane, record.job.seq, seq))
        self.replayed += len(back)
        return answers

    def purge(self, now: int, *, dead: bool, only: str | None = None) -> int:
        """Dead letters; or all that waits, as cancelled; of one lane, where one is named."""
        now = self.touch(now)
        if dead:
            buried = [job for job, letter in self.dead.items() if only in (None, letter.lane)]
            for job in buried:
                del self.dead[job]
            return len(buried)
        gone = [each.id for each in self.scheduled if only in (None, each.job.lane)]
        self.scheduled = [each for each in self.scheduled if each.id not in gone]
        for lane in [lane for lane in self.lanes.values() if only in (None, lane.name)]:
            kept = lane.left_alone()
            dropped = [job.id for job in lane.jobs if job.id not in kept]
            lane.jobs = [job for job in lane.jobs if job.id in kept]
            lane.change += bool(dropped)
            gone += dropped
            if lane.state is not HELD:
                self.vacate(lane, at_front=True)
        self.count(now, gone, "cancelled")
        return len(gone)
