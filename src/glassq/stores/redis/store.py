"""The store on Redis: verbs in, scripts out."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any

import redis

from glassq.errors import EnqueueUncertain, JobNotFound, QueueClosed, QueueFull, StorageUnavailable
from glassq.flowstorage import never_was, parents_of
from glassq.model.clock import Clock
from glassq.model.jobs import Appended, Cancellation, JobRecord, NewJob, StoredJob
from glassq.model.layouts import Layout
from glassq.model.leases import Claimed, Grant, Lease, Owner, Renewed
from glassq.model.names import is_queue, is_shard, queue_of
from glassq.model.watermarks import Watermark
from glassq.storage import (
    MAX_APPEND_JOBS,
    NO_TERMS,
    PLAIN_TERMS,
    Replayed,
    Terms,
    append_size,
)
from glassq.stores.redis import purging, replies, requests, scripts
from glassq.stores.redis.claims import Claims
from glassq.stores.redis.cluster import Cluster
from glassq.stores.redis.commands import APPEND_PATIENCE, REPLICA_SECONDS, Commands
from glassq.stores.redis.connections import Argument
from glassq.stores.redis.doorbell import RedisDoorbell
from glassq.stores.redis.failures import Full, Never, Unanswered
from glassq.stores.redis.flows import FlowVerbs
from glassq.stores.redis.keeping import KeepingVerbs
from glassq.stores.redis.keys import Keys
from glassq.stores.redis.layouts import Layouts
from glassq.stores.redis.location import Location
from glassq.stores.redis.register import Register
from glassq.stores.redis.replies import full_id, local_id, micros
from glassq.stores.redis.searching import find_in_lanes
from glassq.stores.redis.server import Server
from glassq.stores.redis.sessions import Sessions
from glassq.stores.redis.settling import SettlingVerbs
from glassq.stores.redis.views import LookingVerbs
from glassq.stores.steered import Steering

ALIVE_SECONDS = 60.0
"""A worker that did not report for this long, or for a lease, counts as gone. Its leases end by
themselves."""


class RedisStorage(SettlingVerbs, KeepingVerbs, FlowVerbs, LookingVerbs):
    """`glassq.storage.Storage` on a Redis or Valkey server, or a cluster. Thread-safe; usable again in a
    forked child."""

    kind = "redis"

    def __init__(
        self, location: Location, *, clock: Clock | None = None, reconnected: Callable[[], None] | None = None
    ) -> None:
        self.address = location.address
        kind = Cluster if location.in_cluster else Server
        self._is_one = not location.in_cluster
        self._server: Commands = kind(location, clock=clock, reconnected=reconnected)
        self._keys = Keys(location.namespace)
        self._layouts = Layouts(self._server, self._keys)
        self._register = Register(self._server, self._keys.registry)
        self._sessions = Sessions()
        self._steering = Steering()
        self._lease_seconds = 0.0
        self._claims = Claims(self._server, self._keys)
        self._may_send_ahead = False  # before the first settlement was answered

    @classmethod
    def open(
        cls,
        place: str | redis.Redis,
        *,
        clock: Clock | None = None,
        reconnected: Callable[[], None] | None = None,
    ) -> RedisStorage:
        """Open `redis://`, `rediss://`, `unix://`, `redis+cluster://`, or what a ready client speaks to;
        `BadOption` for what cannot be used. Connects at the first verb: `ConfigurationError` for a server
        that must not be used.

        `clock` stands in for the server's, in tests that move time. All handles on a store need the same.
        `reconnected` is called when the server answers again after it did not.
        """
        location = Location.parse(place) if isinstance(place, str) else Location.of_client(place)
        return cls(location, clock=clock, reconnected=reconnected)

    # -- producing -------------------------------------------------------------------------------------

    def append(
        self, queue: str, jobs: Sequence[NewJob], *, max_length: int | None = None, replicas: int = 0
    ) -> list[Appended]:
        """See `Storage.append`. `EnqueueUncertain` also when an answer was lost for good."""
        append_size(jobs)
        if len(jobs) != 1 or jobs[0].after:
            parents_of(jobs)
        if not jobs:
            return []
        self._register.enter(queue)
        session = self._sessions.take()
        number = session.take(len(jobs))
        call = requests.append(self._keys.counters(queue), session.name, number, jobs, max_length, queue)
        copies = replicas
        try:
            if replicas:
                reply, copies = self._server.carry_out_and_copy(
                    call, replicas=replicas, patience=APPEND_PATIENCE
                )
            else:
                reply = self._server.carry_out(call, patience=APPEND_PATIENCE)
        except (Unanswered, Full, Never) as error:
            first = full_id(queue, f"{session.name}:{number}")
            raise _told(error, queue, first, len(jobs), max_length) from error
        except QueueClosed as closed:  # refused whole
            if not self._layouts.mend(queue, closed.mark):
                self._register.strike(queue)
                raise
            return self.append(queue, jobs, max_length=max_length, replicas=replicas)
        self._sessions.give_back(session)
        if replies.asks_to_look(reply):
            self._look_for_parents(queue)
        answers = replies.appended(queue, session.name, number, len(jobs), reply)
        found = answers[0].found
        if found is not None and not found.counts.enqueued:
            self._register.enter_again(queue)
        if copies < replicas:
            first = full_id(queue, f"{session.name}:{number}")
            raise EnqueueUncertain(
                f"{copies} of {replicas} replicas have {first} after {REPLICA_SECONDS:g} s; it is in queue "
                f"{queue}, and lost if the server fails now: check the replicas",
                first,
            )
        return answers

    # -- owning lanes ------------------------------------------------------------------------------------

    def listen(self, owner: Owner, queues: Sequence[str]) -> RedisDoorbell:
        """See `Storage.listen`."""
        last = {queue: ring.decode() for queue, (ring, _) in self._report(owner, queues).items()}

        def leave(queues: Sequence[str]) -> None:
            self._server.run_each(
                scripts.LEAVE,
                [
                    (self._keys.counters(queue), (str(owner), owner.node, owner.incarnation))
                    for queue in queues
                ],
            )

        return RedisDoorbell(self._server, self._keys.doorbell, last, leave)

    def report(self, owner: Owner, queues: Sequence[str]) -> dict[str, Watermark]:
        """See `Storage.report`."""
        return {queue: replies.watermark(stood) for queue, (_, stood) in self._report(owner, queues).items()}

    def _report(self, owner: Owner, queues: Sequence[str]) -> dict[str, tuple[bytes, bytes]]:
        """The last ring of each queue, and where it stood."""
        where = f"{os.getpid()}:{socket.gethostname()}"
        arguments = (str(owner), owner.node, owner.incarnation, self._alive(), where)
        answers = self._server.run_each(
            scripts.REPORT, [(self._keys.counters(queue), arguments) for queue in queues]
        )
        return dict(zip(queues, answers, strict=True))

    def _alive(self) -> int:
        """µs for which a worker counts as alive; it reports about three times in a lease."""
        return micros(max(ALIVE_SECONDS, self._lease_seconds))

    def claim(
        self,
        owner: Owner,
        queues: Sequence[str],
        *,
        lanes: int,
        window: int,
        lease_seconds: float,
        begin: int | None = None,
        ahead: int = 0,
        terms: Mapping[str, Terms] = NO_TERMS,
    ) -> Claimed:
        """See `Storage.claim`. One round trip per queue."""
        grants: list[Grant] = []
        others: dict[str, int] = {}
        stood: dict[str, Watermark] = {}
        looked: dict[str, str] = {}
        answers: list[Claimed] = []
        self._lease_seconds = lease_seconds
        begun = 0
        failures: list[StorageUnavailable] = []
        for queue in queues:
            if grants and len(grants) >= lanes and is_shard(queue):
                others[queue] = 1
                continue
            its = terms.get(queue, PLAIN_TERMS)
            most, at_once = its.within(lanes - len(grants), (lanes if begin is None else begin) - begun)
            beginning = b"%d+" % at_once if its.together else at_once
            wanted = requests.wanted(most, window, lease_seconds, beginning, its.turn, ahead)
            choice = its.choice
            chosen = None if choice is None else requests.choice(queue, choice, lease_seconds, self._alive())
            try:
                found = self._claims.make(owner, queue, wanted, chosen, self._patience(queues))
                if len(queues) == 1:
                    return found
            except StorageUnavailable as error:
                failures.append(error)
                if self._is_one:
                    break
                continue
            answers.append(found)
            begun += min(at_once, len(found.grants))
            grants += found.grants
            others |= found.others
            stood |= found.found
            looked |= found.looked
        if failures and not grants:  # else what was granted must reach the worker first
            raise failures[0]
        return Claimed(
            grants=tuple(grants),
            now=answers[-1].now if answers else self._server.time(),
            others=others,
            alone=not failures and all(each.alone for each in answers),
            next_due=min((each.next_due for each in answers if each.next_due is not None), default=None),
            found=stood,
            looked=looked,
        )

    def begin(self, owner: Owner, lease: Lease) -> None:  # noqa: ARG002 - the token names the owner
        """See `Storage.begin`."""
        self._run(scripts.BEGIN, lease.queue, lease.lane, lease.token)

    def renew(self, owner: Owner, leases: Sequence[Lease], *, lease_seconds: float) -> Renewed:
        """See `Storage.renew`. One round trip per queue and 100 lanes."""
        lost: set[Lease] = set()
        unheard: set[Lease] = set()
        cancelled: set[str] = set()
        found: dict[str, Watermark] = {}
        groups = requests.by_queue(lease.queue for lease in leases)
        for queue, chosen in groups:
            held = [leases[index] for index in chosen]
            asking = (str(owner), micros(lease_seconds), *requests.named(held))
            try:
                indices, asked, stood = self._run(
                    scripts.RENEW, queue, *asking, patience=self._patience(groups)
                )
            except StorageUnavailable:
                unheard.update(held)
                if self._is_one or len(unheard) == len(leases):
                    raise
                continue
            lost.update(held[index - 1] for index in indices)
            cancelled.update(full_id(queue, job.decode()) for job in asked)
            found[queue] = replies.watermark(stood)
        return Renewed(frozenset(lost), frozenset(cancelled), found, frozenset(unheard))

    def release(self, owner: Owner, leases: Sequence[Lease], *, front: bool = True) -> None:
        """See `Storage.release`. One round trip per queue and 100 lanes."""
        for queue, chosen in requests.by_queue(lease.queue for lease in leases):
            held = [leases[index] for index in chosen]
            self._run(scripts.RELEASE, queue, str(owner), int(front), *requests.named(held))

    # -- people ------------------------------------------------------------------------------------------

    def retry_lane(self, queue: str, lane: str) -> bool:
        """See `Storage.retry_lane`. Not repeated after a lost answer."""
        return bool(self._run(scripts.RESTART, queue, lane, repeatable=False))

    def skip_lane(
        self, queue: str, lane: str, *, expected: str | None = None, keep: float = 0.0, note: bytes = b""
    ) -> StoredJob | None:
        """See `Storage.skip_lane`. Not repeated after a lost answer: the lane may have halted anew."""
        job = "" if expected is None else local_id(queue, expected)
        head = self._run(scripts.SKIP, queue, lane, job, micros(keep), note, repeatable=False)
        return None if head is None else replies.stored_job(queue, head)

    def cancel(self, job_id: str, *, keep: float = 0.0, note: bytes = b"") -> Cancellation | None:
        """See `Storage.cancel`. Two round trips, and one for every 2,000 jobs that are read."""
        queue = queue_of(job_id)
        if not is_queue(queue):
            return None
        job = local_id(queue, job_id)
        asked = (job, micros(keep), note)
        self._steering.note(queue)
        done = self._run(scripts.CANCEL, queue, *asked, repeatable=False)
        if done is None:
            found = find_in_lanes(self._server, self._keys.counters(queue), job)
            if found is not None:
                done = self._run(scripts.CANCEL, queue, *asked, *found[:3], repeatable=False)
        return None if done is None else Cancellation(done.decode())

    def get(self, job_id: str) -> JobRecord | None:
        """See `Storage.get`. Two round trips, and one for every 2,000 jobs that are read."""
        queue = queue_of(job_id)
        if not is_queue(queue):
            return None
        job = local_id(queue, job_id)
        kept = self._run(scripts.LOOKUP, queue, job)
        if kept is None:
            found = find_in_lanes(self._server, self._keys.counters(queue), job)
            if found is not None:
                return replies.found_record(queue, found)
            kept = self._run(scripts.LOOKUP, queue, job)  # it may have been buried meanwhile
        if kept is None:
            return None
        if kept[0] == b"scheduled":
            return replies.scheduled_record(queue, *kept[1:])
        if kept[0] == b"deferred":
            return replies.deferred_record(job_id, kept[1])
        return replies.buried_record(queue, kept[1])

    def pause(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.pause`."""
        self._register.enter(queue)  # it may be paused before anything is put into it
        self._steering.note(queue)
        return bool(self._run(scripts.PAUSE, queue, *requests.scope(lane)))

    def resume(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.resume`. Not repeated after a lost answer."""
        return bool(self._run(scripts.RESUME, queue, *requests.scope(lane), repeatable=False))

    def replay(self, queue: str, ids: Sequence[str], *, front: bool) -> list[Replayed]:
        """See `Storage.replay`. Not repeated after a lost answer."""
        if len(ids) > MAX_APPEND_JOBS:
            raise ValueError(f"one replay takes {MAX_APPEND_JOBS} ids, got {len(ids)}")
        jobs = [local_id(queue, each) for each in ids]
        self._steering.note(queue)
        found = self._run(scripts.REPLAY, queue, int(front), *jobs, repeatable=False)
        return [
            Replayed(full_id(queue, job.decode()), lane.decode(), int(was), int(seq))
            for job, lane, was, seq in found
        ]

    def purge(self, queue: str, *, dead: bool, lane: str | None = None) -> int:
        """See `Storage.purge`. A round trip for every 500 jobs; of one lane for every 100 of it, and of the
        queue's dead letters or scheduled jobs."""
        self._steering.note(queue)
        key = self._keys.counters(queue)
        if lane is None:
            return purging.purge(self._server, key, dead=dead)
        return purging.purge_lane(self._server, key, lane, dead=dead)

    def forget(self, queue: str) -> bool:
        """See `Storage.forget`. Two round trips, and one for every 1,000 notes and values."""
        if not purging.forget(self._server, self._keys.counters(queue)):
            return False
        self._register.strike(queue)
        return True

    def queues(self) -> list[str]:
        """See `Storage.queues`."""
        return self._register.all()

    def layouts(self) -> dict[str, Layout]:
        """See `Storage.layouts`."""
        return self._layouts.all()

    def lay_out(self, queue: str, count: int) -> Layout:
        """See `Storage.lay_out`. One round trip; some for each shard where it is cut anew."""
        return self._layouts.lay_out(queue, count)

    def close(self) -> None:
        """See `Storage.close`."""
        self._server.close()

    def _patience(self, asked: Sized) -> float | None:
        """How long one queue of several is waited for: in a cluster the others are not to wait with it."""
        return None if self._is_one or len(asked) == 1 else 0.0

    def _run(
        self,
        script: scripts.Script,
        queue: str,
        *arguments: Argument,
        patience: float | None = None,
        repeatable: bool = True,
    ) -> Any:
        return self._server.run(
            script, self._keys.counters(queue), *arguments, patience=patience, repeatable=repeatable
        )


def _told(
    error: Unanswered | Full | Never, queue: str, first: str, count: int, most: int | None
) -> EnqueueUncertain | QueueFull | JobNotFound:
    """What the caller is told of an append of so many jobs from this one on that was refused, or got no
    answer."""
    if isinstance(error, Full):
        return QueueFull(error.depth, most or 0)
    if isinstance(error, Never):
        return never_was(full_id(queue, error.job))
    return EnqueueUncertain(
        f"{error}; {count} job(s) from {first} on may or may not be in queue {queue}", first
    )
