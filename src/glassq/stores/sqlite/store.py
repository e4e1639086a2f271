"""The embedded store: verbs in, transactions out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from sqlite3 import Connection
from typing import TypeVar

from glassq.errors import ConfigurationError, QueueClosed, QueueFull, ShardsInUse
from glassq.flowstorage import parents_of
from glassq.model.clock import Clock
from glassq.model.jobs import Appended, Cancellation, NewJob, StoredJob
from glassq.model.layouts import Layout
from glassq.model.leases import (
    Claimed,
    Lease,
    Leaving,
    Owner,
    Renewed,
    Settled,
    Settlement,
    SettleStatus,
)
from glassq.model.names import job_id, queue_of
from glassq.model.verdicts import Action
from glassq.model.watermarks import Watermark
from glassq.settling import Answered, Together
from glassq.storage import (
    MAX_APPEND_JOBS,
    NO_TERMS,
    PLAIN_TERMS,
    Replayed,
    Terms,
    append_size,
)
from glassq.stores.sqlite import arriving, claiming, inflows, serving, settling, steering
from glassq.stores.sqlite.bells import Bell
from glassq.stores.sqlite.changes import Change, Changes
from glassq.stores.sqlite.claiming import Claim
from glassq.stores.sqlite.connection import Connections
from glassq.stores.sqlite.course import SqliteCourse
from glassq.stores.sqlite.deferring import tie_jobs
from glassq.stores.sqlite.departing import take_from_the_gone
from glassq.stores.sqlite.disk import Disk
from glassq.stores.sqlite.doorbell import SqliteDoorbell
from glassq.stores.sqlite.flowrecords import sweep_flows
from glassq.stores.sqlite.following import FollowingVerbs
from glassq.stores.sqlite.jumps import pass_time
from glassq.stores.sqlite.keeping import KeepingVerbs
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.legnotes import LegNotes
from glassq.stores.sqlite.liveness import Liveness
from glassq.stores.sqlite.location import Location, prepare
from glassq.stores.sqlite.naming import Names, lay_out
from glassq.stores.sqlite.notes import sweep
from glassq.stores.sqlite.reading import ReadingVerbs
from glassq.stores.sqlite.rows import MICRO, micros, queue_row
from glassq.stores.sqlite.steering import Keep
from glassq.stores.steered import Steering
from glassq.stores.together import answered, check_together
from glassq.systemclock import SystemClock

R = TypeVar("R")
U = TypeVar("U")


class SqliteStorage(FollowingVerbs, KeepingVerbs, ReadingVerbs):
    """`glassq.storage.Storage` on one SQLite file. Thread-safe; usable again in a forked child."""

    kind = "sqlite"

    def __init__(
        self, location: Location, *, clock: Clock | None = None, reconnected: Callable[[], None] | None = None
    ) -> None:
        path = prepare(location) if location.path is not None else None
        self.address = f"sqlite:///{path}" if path else "sqlite://"
        self._path = path
        self._grace = location.grace
        self._clock = clock or SystemClock()
        self._disk = Disk(path) if path else None
        self._liveness = Liveness(path)
        self._names = Names()
        self._reconnected = reconnected
        # Where each commit is flushed to the disk, lanes share them: what else one costs is nothing then.
        self._known = Known(LegNotes(path) if path and location.synchronous == "normal" else None)
        self._steering = Steering()
        self._begin_producing()
        self._connections = Connections(path, location, self._known, self._forked, self._forget)
        self._changes = Changes(self._connections, self._liveness, self._disk, self._clock)
        if self._disk is not None:
            self._disk.lay_ballast()

    @classmethod
    def open(
        cls, url: str, *, clock: Clock | None = None, reconnected: Callable[[], None] | None = None
    ) -> SqliteStorage:
        """Open `sqlite:///path`; `BadOption`, `StorageUnavailable`, `FormatMismatch` or `ConfigurationError`
        when it cannot be used. `reconnected` is called when another file took its place, and is open."""
        return cls(Location.parse(url), clock=clock, reconnected=reconnected)

    # -- producing -------------------------------------------------------------------------------------

    def append(
        self, queue: str, jobs: Sequence[NewJob], *, max_length: int | None = None, replicas: int = 0
    ) -> list[Appended]:
        """See `Storage.append`. One transaction."""
        if replicas:
            raise ConfigurationError(
                'a SQLite file has no replicas; leave durability at "memory", or use Redis for this queue'
            )
        size = append_size(jobs)
        if self._disk is not None:
            self._disk.require_room(size)
        if self._known.inflows and len(jobs) == 1 and inflows.is_plain(jobs[0]):
            put_in = self._connections.do_now(lambda cx: self._put_in(cx, queue, jobs[0], max_length))
            if put_in is not None:
                return [put_in]
        parents_of(jobs)

        def append(change: Change) -> list[Appended] | QueueFull | QueueClosed | None:
            key = self._names.find(change.cx, queue)
            if key is None:
                return None
            try:
                return self._append(change, queue, key, jobs, max_length)
            except (QueueFull, QueueClosed) as refusal:  # before anything was written: nothing to undo
                return refusal

        answer = self._changes.make(append, shared=True)
        if answer is None:
            # Not shared: others would find a queue, and remember it, that may be rolled back with them.
            answer = self._changes.make(
                lambda change: self._append(
                    change, queue, self._names.make(change.cx, queue), jobs, max_length
                )
            )
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _append(
        self, change: Change, queue: str, key: int, jobs: Sequence[NewJob], max_length: int | None
    ) -> list[Appended]:
        # Only a lane that was idle rings: the owner of a busy one looks for more by itself.
        if not self._known.queue(change.cx, key).incarnation:
            raise QueueClosed(queue)
        answers, change.ring = arriving.append(
            change.cx,
            self._known,
            key,
            jobs,
            partial(self._identify, queue),
            max_length=max_length,
            clock=change.clock,
        )
        if [job for job in jobs if job.after or job.flow]:
            opened = tie_jobs(change.cx, self._known, self._names.find, key, jobs, answers)
            change.ring = change.ring or opened
        return answers

    def _put_in(self, cx: Connection, queue: str, job: NewJob, max_length: int | None) -> Appended | None:
        key, clock = self._names.known(queue), micros(self._clock.wall())
        if key is None:
            return None
        identify = partial(self._identify, queue)
        return inflows.put_in(cx, self._known, key, job, identify, max_length=max_length, clock=clock)

    def _identify(self, queue: str) -> str:
        """The next id of this producer."""
        self._produced += 1
        return job_id(queue, self._producer, self._produced)

    # -- owning lanes ------------------------------------------------------------------------------------

    def listen(self, owner: Owner, queues: Sequence[str]) -> SqliteDoorbell:
        """See `Storage.listen`. Makes the worker's FIFO; one transaction."""
        bell = Bell(self._path)

        def listen(change: Change) -> None:
            self._register(change, owner, bell.name, queues)
            change.ring = True  # the others learn that there is one more to watch

        try:
            self._changes.make(listen)
        except BaseException:
            bell.close()
            raise
        self._liveness.adopt(str(owner), bell)
        return SqliteDoorbell(
            str(owner), bell, self._liveness, self._connections, self._path, leave=self._leave
        )

    def _leave(self, owner: str) -> None:
        self._changes.insist(lambda change: serving.note_gone(change.cx, owner, change.now))

    def report(self, owner: Owner, queues: Sequence[str]) -> dict[str, Watermark]:
        """See `Storage.report`. One transaction."""
        bell = self._liveness.bell_of(str(owner))

        def report(change: Change) -> dict[str, Watermark]:
            self._register(change, owner, bell, queues)
            return {name: self._names.stood(change.cx, name) for name in queues}

        return self._changes.insist(report)

    def _register(self, change: Change, owner: Owner, bell: str | None, queues: Sequence[str]) -> None:
        for name in queues:
            key = self._names.find(change.cx, name)
            if key is not None:
                serving.note_served(change.cx, key, change.touch(key))
                sweep(change.cx, key, change.clock)
        serving.register(change.cx, str(owner), bell, queues, change.now)
        sweep_flows(change.cx, change.clock)

    def claim(
        self,
        owner: Owner,
        queues: Sequence[str],
        *,
        lanes: int,
        window: int,
        lease_seconds: float,
        begin: int | None = None,
        terms: Mapping[str, Terms] = NO_TERMS,
        ahead: int = 0,  # noqa: ARG002 - what is settled here is answered at once
    ) -> Claimed:
        """See `Storage.claim`. One transaction for all queues. Grants no lane that does not begin at once."""

        def claim(change: Change) -> Claimed:
            cx, left, begun, done = change.cx, lanes, lanes if begin is None else begin, list[Claimed]()
            claims, stood = self._claims(change, owner, queues, micros(lease_seconds))
            times = {claim.queue: claim.now for claim in claims}
            take_from_the_gone(cx, self._liveness, owner, times, change.now)
            for claim in claims:
                done.append(claim.carry_out(cx, terms.get(claim.name, PLAIN_TERMS), left, begun, window))
                left -= len(done[-1].grants)
                begun = max(0, begun - len(done[-1].grants))
            return claiming.together(done, change.now / MICRO, stood)

        return self._changes.insist(claim)

    def begin(self, owner: Owner, lease: Lease) -> None:
        """See `Storage.begin`. All lanes that are granted here have begun."""

    def _claims(
        self, change: Change, owner: Owner, queues: Sequence[str], lease: int
    ) -> tuple[list[Claim], dict[str, Watermark]]:
        """What is claimed from which queues, and where all of them stood."""
        claims, stood = [], dict.fromkeys(queues, Watermark())
        for name in stood:
            key = self._names.find(change.cx, name)
            if key is None:
                change.now = change.clock
            else:
                row = queue_row(change.cx, key)
                stood[name] = row.watermark
                change.now = pass_time(change.cx, key, row.seen, change.clock)
                claims.append(Claim(key, name, row, owner, lease, change.now, self._grace))
        return claims, stood

    def settle(self, owner: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """See `Storage.settle`. One transaction."""

        def settle(change: Change) -> list[Settled]:
            answers = [self._settle(change, owner, each) for each in settlements]
            return answers if len(answers) == 1 else settling.found_alike(settlements, answers)

        return self._changes.insist(settle, shared=True)

    def course(self, owner: Owner, settlement: Settlement, *, others: bool) -> SqliteCourse | None:
        """See `Storage.course`. One transaction for each job. None while jobs of the queue concern others."""
        queue = settlement.lease.queue
        if self._known.is_tied(self._names.known(queue)):
            return None
        run = settling.Run(str(owner), settlement.lease, settlement.change, others)
        return SqliteCourse(self._connections, self._known, self._names, self._liveness, self._clock, run)

    def settle_later(self, owner: Owner, settlement: Settlement) -> Answered:
        """See `Storage.settle_later`. What is settled here is answered at once."""
        return Answered(lambda: self.settle(owner, [settlement])[0])

    def is_steered(self, queue: str) -> bool:
        """See `Storage.is_steered`."""
        return self._steering.has_steered and self._steering.is_fresh(queue)

    def settle_together(self, owner: Owner, settlements: Sequence[Settlement]) -> Together:
        """See `Storage.settle_together`. One transaction, and answered at once."""
        check_together(settlements)
        return answered(len(settlements), partial(self.settle, owner, list(settlements)))

    def _settle(self, change: Change, owner: Owner, settlement: Settlement) -> Settled:
        name = str(owner)
        key = self._names.find(change.cx, settlement.lease.queue)
        if key is None:
            return Settled(status=SettleStatus.FENCED, now=change.clock / MICRO, found=Watermark())
        if self._liveness.disowned(name):
            found = queue_row(change.cx, key).watermark
            return Settled(status=SettleStatus.FENCED, now=change.clock / MICRO, found=found)
        if settlement.action is Action.RETRY or settlement.leaving in (Leaving.YIELD, Leaving.RELEASE):
            change.ring = True
        return settling.settle(change, self._known, key, name, settlement)

    def renew(self, owner: Owner, leases: Sequence[Lease], *, lease_seconds: float) -> Renewed:
        """See `Storage.renew`. One transaction."""
        length = micros(lease_seconds)

        def renew(change: Change) -> Renewed:
            lost, cancelled = set(), set()
            stood = {name: self._names.stood(change.cx, name) for name in {lease.queue for lease in leases}}
            for lease in leases:
                key = self._held_queue(change, owner, lease)
                asked = None
                if key is not None:
                    asked = settling.renew(change.cx, self._known, key, str(owner), lease, length, change.now)
                if asked is None:
                    lost.add(lease)
                elif asked:
                    cancelled.add(asked)
            return Renewed(frozenset(lost), frozenset(cancelled), stood)

        return self._changes.insist(renew)

    def release(self, owner: Owner, leases: Sequence[Lease], *, front: bool = True) -> None:
        """See `Storage.release`. One transaction."""

        def release(at: Change) -> None:
            for lease in leases:
                key = self._held_queue(at, owner, lease)
                if key is not None:
                    freed = settling.release(at.cx, self._known, key, str(owner), lease, at.now, front=front)
                    at.ring = at.ring or freed

        self._changes.insist(release)

    # -- people ------------------------------------------------------------------------------------------

    def retry_lane(self, queue: str, lane: str) -> bool:
        """See `Storage.retry_lane`. One transaction."""
        return self._steer(queue, None, lambda at, key: steering.restart(at.cx, key, lane, at.now)) or False

    def skip_lane(
        self, queue: str, lane: str, *, expected: str | None = None, keep: float = 0.0, note: bytes = b""
    ) -> StoredJob | None:
        """See `Storage.skip_lane`. One transaction."""
        kept = Keep(micros(keep), note)
        return self._steer(
            queue, None, lambda at, key: steering.skip(at.cx, key, lane, at.now, expected, kept)
        )

    def cancel(self, job_id: str, *, keep: float = 0.0, note: bytes = b"") -> Cancellation | None:
        """See `Storage.cancel`. One transaction."""
        kept = Keep(micros(keep), note)
        return self._steer(
            queue_of(job_id), None, lambda at, key: steering.cancel(at.cx, key, job_id, at.now, kept)
        )

    def pause(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.pause`. One transaction."""

        def pause(change: Change) -> bool:
            key = self._names.make(change.cx, queue)  # it may be paused before anything is put into it
            return steering.pause(change.cx, key, lane, change.touch(key))

        self._steering.note(queue)
        return self._changes.insist(pause)

    def resume(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.resume`. One transaction."""
        return self._steer(queue, None, lambda at, key: steering.resume(at.cx, key, lane, at.now)) or False

    def replay(self, queue: str, ids: Sequence[str], *, front: bool) -> list[Replayed]:
        """See `Storage.replay`. One transaction."""
        if len(ids) > MAX_APPEND_JOBS:
            raise ValueError(f"one replay takes {MAX_APPEND_JOBS} ids, got {len(ids)}")
        return self._steer(queue, [], lambda at, key: steering.replay(at.cx, key, ids, at.now, front=front))

    def purge(self, queue: str, *, dead: bool, lane: str | None = None) -> int:
        """See `Storage.purge`. One transaction."""
        purge = steering.purge_dead if dead else steering.purge_waiting
        return self._steer(queue, 0, lambda change, key: purge(change.cx, key, lane, change.now))

    def forget(self, queue: str) -> bool:
        """See `Storage.forget`. One transaction."""
        held = self._steer(queue, None, lambda change, key: not steering.forget(change.cx, key, queue))
        self._names.forget(queue)
        return not held

    def lay_out(self, queue: str, count: int) -> Layout:
        """See `Storage.lay_out`. One transaction."""
        layout = self._changes.insist(lambda change: lay_out(change.cx, self._names, queue, count))
        if isinstance(layout, ShardsInUse):
            raise layout
        return layout

    def close(self) -> None:
        """See `Storage.close`."""
        self._liveness.close()
        self._connections.close()

    # -- inside ------------------------------------------------------------------------------------------

    def _steer(self, queue: str, unknown: U, work: Callable[[Change, int], R]) -> R | U:
        """Do what a person asked of a queue and wake the workers; `unknown` answers for no such queue."""

        def steer(change: Change) -> R | U:
            key = self._names.find(change.cx, queue)
            if key is None:
                return unknown
            change.touch(key)
            change.ring = True
            return work(change, key)

        self._steering.note(queue)
        return self._changes.insist(steer)

    def _held_queue(self, change: Change, owner: Owner, lease: Lease) -> int | None:
        """The queue of a lease this process may act on; None when it was inherited by fork or never was."""
        if self._liveness.disowned(str(owner)):
            return None
        key = self._names.find(change.cx, lease.queue)
        change.touch(key)
        return key

    def _forget(self) -> None:
        """Another file has taken the place of the one that was open: nothing of that is known in it."""
        self._names.forget()
        if self._reconnected is not None:
            self._reconnected()

    def _begin_producing(self) -> None:
        # Random, so that no two producers ever share a number; new in a forked child for the same reason.
        self._producer = secrets.token_hex(6)
        self._produced = 0

    def _forked(self) -> None:
        """In the child: another producer, and the owner of nothing."""
        self._begin_producing()
        self._liveness.forked()
