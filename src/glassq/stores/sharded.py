"""Queues that are cut into shards, as one queue each: above this they have one name, below it each shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

import msgspec

from glassq.errors import ConfigurationError, QueueClosed
from glassq.flowstorage import MAX_DELIVERIES
from glassq.keeping import MAX_VALUES
from glassq.model.edges import EdgePolicy
from glassq.model.flows import Delivered, Delivery
from glassq.model.jobs import Appended, Cancellation, JobRecord, JobState, NewJob, StoredJob
from glassq.model.keeping import Exchanged, Note, Value
from glassq.model.lanes import LaneOrder, LanesSeen, WorkerStats, first_of, workers_of
from glassq.model.layouts import Layout, shard_of
from glassq.model.leases import Claimed, Owner
from glassq.model.names import is_reserved, is_shard, queue_of, whole
from glassq.model.stats import QueueStats, merged
from glassq.model.watermarks import Watermark
from glassq.storage import (
    NO_TERMS,
    DeadRecord,
    Doorbell,
    HaltedRecord,
    Replayed,
    Storage,
    Terms,
    WaitingRecord,
)

T = TypeVar("T")
_WHOLE = Layout()


def _nothing_said(_queue: str) -> int | None:
    return None


class ShardedQueues:
    """See `glassq.storage.ShardedStorage`. `said` is how many shards the program wants a queue to have.

    A process looks once how a queue is cut, when it first puts something into it or serves it; with each
    report of a worker it looks again, and so it does when a shard is found closed. What only reads looks each
    time: a round trip more.
    """

    def __init__(self, inner: Storage, said: Callable[[str], int | None] = _nothing_said) -> None:
        self._inner = inner
        self._said = said
        self._decided: set[str] = set()
        self._shards: dict[str, tuple[str, ...]] = {}
        self._turns = 0
        self.kind = inner.kind
        self.address = inner.address
        # What is said of a lease names its shard.
        self.begin, self.settle, self.settle_later = inner.begin, inner.settle, inner.settle_later
        self.settle_together, self.course = inner.settle_together, inner.course
        self.is_steered = inner.is_steered
        self.renew, self.release = inner.renew, inner.release
        self.layouts, self.lay_out, self.close = inner.layouts, inner.lay_out, inner.close
        # And so do ids of jobs and of workflows.
        self.upstream, self.open_flow, self.flow = inner.upstream, inner.open_flow, inner.flow
        self.flow_outcomes, self.cancel_flow = inner.flow_outcomes, inner.cancel_flow

    @property
    def inner(self) -> Storage:
        """The store itself, to which each shard is a queue of its own."""
        return self._inner

    # -- producing -------------------------------------------------------------------------------------

    def append(
        self, queue: str, jobs: Sequence[NewJob], *, max_length: int | None = None, replicas: int = 0
    ) -> list[Appended]:
        """See `Storage.append`. The jobs are of one shard, which takes its part of `max_length`."""
        shards = self._shards.get(queue) or self._look(queue)
        try:
            if len(shards) == 1:
                return self._inner.append(shards[0], jobs, max_length=max_length, replicas=replicas)
            return self._append(shards, jobs, max_length, replicas)
        except QueueClosed:
            self._shards.pop(queue, None)
            return self._append(self._look(queue), jobs, max_length, replicas)

    def _append(
        self, shards: Sequence[str], jobs: Sequence[NewJob], max_length: int | None, replicas: int
    ) -> list[Appended]:
        meant = {shard_of(shards, job.lane) for job in jobs}
        if not meant:
            return []
        if len(meant) > 1:
            raise ValueError(f"one append is for one shard, got jobs for {', '.join(sorted(meant))}")
        most = None if max_length is None else max(1, max_length // len(shards))
        return self._inner.append(meant.pop(), jobs, max_length=most, replicas=replicas)

    def shards(self, queue: str) -> Sequence[str]:
        """See `ShardedStorage.shards`."""
        return self._shards.get(queue) or self._look(queue)

    # -- owning lanes ------------------------------------------------------------------------------------

    def listen(self, owner: Owner, queues: Sequence[str]) -> Doorbell:
        """See `Storage.listen`."""
        return _Bell(self._inner.listen(owner, self._all_shards(queues)), self._all_shards)

    def report(self, owner: Owner, queues: Sequence[str]) -> dict[str, Watermark]:
        """See `Storage.report`. Says it of each shard."""
        found = self._inner.layouts()
        for queue, shards in list(self._shards.items()):
            if found.get(queue, _WHOLE).shards(queue) != shards:
                self._shards.pop(queue, None)
        return self._inner.report(owner, self._all_shards(queues))

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
        """See `Storage.claim`. Each time another shard of a queue comes first, so that none always does."""

        def claim() -> Claimed:
            whole = all(len(self.shards(queue)) == 1 for queue in queues)
            return self._inner.claim(
                owner,
                queues if whole else self._all_shards(queues, self._turns),
                lanes=lanes,
                window=window,
                lease_seconds=lease_seconds,
                begin=begin,
                ahead=ahead,
                terms=terms if whole else self._terms(terms),
            )

        self._turns += 1
        try:
            return claim()
        except QueueClosed:
            self._shards.clear()
            return claim()

    # -- people ------------------------------------------------------------------------------------------

    def retry_lane(self, queue: str, lane: str) -> bool:
        """See `Storage.retry_lane`."""
        return self._inner.retry_lane(shard_of(self.shards(queue), lane), lane)

    def skip_lane(
        self, queue: str, lane: str, *, expected: str | None = None, keep: float = 0.0, note: bytes = b""
    ) -> StoredJob | None:
        """See `Storage.skip_lane`."""
        shard = shard_of(self.shards(queue), lane)
        return self._inner.skip_lane(shard, lane, expected=expected, keep=keep, note=note)

    def cancel(self, job_id: str, *, keep: float = 0.0, note: bytes = b"") -> Cancellation | None:
        """See `Storage.cancel`. Its id names a job's shard; in one that is closed there are none."""
        try:
            return self._inner.cancel(job_id, keep=keep, note=note)
        except QueueClosed:
            return None

    def get(self, job_id: str) -> JobRecord | None:
        """See `Storage.get`. As `cancel`."""
        try:
            return self._inner.get(job_id)
        except QueueClosed:
            return None

    def pause(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.pause`. A whole queue shard by shard: True when all of them were paused."""
        were = [self._inner.pause(shard, lane) for shard in self._meant(queue, lane)]
        return all(were)

    def resume(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.resume`. A whole queue shard by shard: True when any of them was paused."""
        were = [self._inner.resume(shard, lane) for shard in self._meant(queue, lane)]
        return any(were)

    def replay(self, queue: str, ids: Sequence[str], *, front: bool) -> list[Replayed]:
        """See `Storage.replay`. One step in each shard."""
        of_shard: dict[str, list[str]] = {}
        for each in ids:
            of_shard.setdefault(queue_of(each), []).append(each)
        found: list[Replayed] = []
        for shard in self._read(queue):
            if shard in of_shard:
                found += self._inner.replay(shard, of_shard[shard], front=front)
        return sorted(found, key=lambda each: each.seq)

    def purge(self, queue: str, *, dead: bool, lane: str | None = None) -> int:
        """See `Storage.purge`."""
        shards = self._read(queue) if lane is None else (shard_of(self.shards(queue), lane),)
        return sum([self._inner.purge(shard, dead=dead, lane=lane) for shard in shards])

    def forget(self, queue: str) -> bool:
        """See `Storage.forget`. How the queue is cut stays remembered."""
        shards = self._read(queue)
        if len(shards) > 1 and any(
            each.depth or each.dead_letters or each.workers for each in self._inner.stats(shards)
        ):
            return False
        gone = [self._inner.forget(shard) for shard in shards]
        return all(gone)

    # -- keeping -----------------------------------------------------------------------------------------

    def notes(self, job_id: str, limit: int = 1) -> list[Note]:
        """See `Keeping.notes`. As `cancel`."""
        try:
            return self._inner.notes(job_id, limit)
        except QueueClosed:
            return []

    def put(self, queue: str, name: str, body: bytes, seconds: float | None) -> None:
        """See `Keeping.put`. In the queue's first shard, or in the shard that is named; it goes with that
        when the queue is cut anew."""
        if is_shard(queue):
            self._inner.put(queue, name, body, seconds)
            return
        try:
            self._inner.put(self.shards(queue)[0], name, body, seconds)
        except QueueClosed:
            self._shards.pop(queue, None)
            self._inner.put(self._look(queue)[0], name, body, seconds)

    def exchange(
        self, queue: str, name: str, *, was: bytes | None, body: bytes | None, seconds: float | None = None
    ) -> Exchanged:
        """See `Keeping.exchange`."""
        return self._inner.exchange(self._home(queue), name, was=was, body=body, seconds=seconds)

    def value(self, queue: str, name: str) -> Value | None:
        """See `Keeping.value`. Where `put` puts it; in a shard that is closed there are none."""
        try:
            return self._inner.value(self._home(queue), name)
        except QueueClosed:
            return None

    def values(self, queue: str, prefix: str, *, after: str = "", limit: int = MAX_VALUES) -> list[Value]:
        """See `Keeping.values`. As `value`."""
        try:
            return self._inner.values(self._home(queue), prefix, after=after, limit=limit)
        except QueueClosed:
            return []

    def drop(self, queue: str, name: str) -> bool:
        """See `Keeping.drop`. As `value`."""
        try:
            return self._inner.drop(self._home(queue), name)
        except QueueClosed:
            return False

    def _home(self, queue: str) -> str:
        return queue if is_shard(queue) else self._read(queue)[0]

    # -- jobs that wait for others -----------------------------------------------------------------------

    def follow(self, parent: str, children: Sequence[tuple[str, EdgePolicy]]) -> JobState | None:
        """See `FlowStorage.follow`. A parent in a shard that is closed has ended: there are none in it."""
        try:
            return self._inner.follow(parent, children)
        except QueueClosed:
            return JobState.SUCCEEDED

    def outbox(self, queue: str, limit: int = MAX_DELIVERIES) -> list[Delivery]:
        """See `FlowStorage.outbox`. Of one shard: numbers are its own (see `shards`)."""
        return self._inner.outbox(self._one(queue), limit)

    def delivered(self, queue: str, numbers: Sequence[int]) -> None:
        """See `FlowStorage.delivered`. Of the same shard."""
        self._inner.delivered(self._one(queue), numbers)

    def deliver(self, queue: str, deliveries: Sequence[Delivery]) -> Delivered:
        """See `FlowStorage.deliver`. To one shard, which the ids name; in one that is closed nobody waits."""
        try:
            return self._inner.deliver(self._one(queue), deliveries)
        except QueueClosed:
            return Delivered()

    def _one(self, queue: str) -> str:
        """The shard that is named, or the only one of a queue."""
        if is_shard(queue):
            return queue
        shards = self.shards(queue)
        if len(shards) > 1:
            raise ValueError(f"{queue} has {len(shards)} shards with an outbox each; name one of them")
        return shards[0]

    # -- looking -----------------------------------------------------------------------------------------

    def waiting(self, queue: str, limit: int) -> list[WaitingRecord]:
        """See `Storage.waiting`. The sequences of several shards are of no order among each other."""
        found = self._of_each(queue, lambda shard: self._inner.waiting(shard, limit))
        return sorted(found, key=lambda each: each.job.seq)[:limit]

    def dead(self, queue: str, limit: int) -> list[DeadRecord]:
        """See `Storage.dead`. As `waiting`."""
        found = self._of_each(queue, lambda shard: self._inner.dead(shard, limit))
        return sorted(found, key=lambda each: each.job.seq)[:limit]

    def halted(self, queue: str, limit: int) -> list[HaltedRecord]:
        """See `Storage.halted`."""
        found = self._of_each(queue, lambda shard: self._inner.halted(shard, limit))
        return sorted(found, key=lambda each: each.since)[:limit]

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        """See `Storage.stats`. A queue's figures are those of its shards together, each of a moment of its
        own; a worker serves all of them, and is one."""
        layouts = self._inner.layouts()
        if not layouts:
            return self._inner.stats(queues)
        shards = [layouts.get(queue, _WHOLE).shards(queue) for queue in queues]
        found = iter(self._inner.stats(list(chain.from_iterable(shards))))
        parts = [[next(found) for _ in of_queue] for of_queue in shards]
        return [
            each[0] if len(each) == 1 else _together(queue, each)
            for queue, each in zip(queues, parts, strict=True)
        ]

    def lanes(self, queue: str, *, by: LaneOrder, limit: int, look: int) -> LanesSeen:
        """See `Storage.lanes`. Each shard is looked at, and of each so many lanes at most."""
        parts = [self._inner.lanes(shard, by=by, limit=limit, look=look) for shard in self._read(queue)]
        return first_of(parts, by, limit)

    def workers(self, queue: str) -> list[WorkerStats]:
        """See `Storage.workers`. Each shard is asked."""
        return workers_of(self._of_each(queue, self._inner.workers))

    def queues(self) -> list[str]:
        """See `Storage.queues`."""
        return sorted({whole(name) for name in self._inner.queues() if not is_reserved(name)})

    # -- inside ------------------------------------------------------------------------------------------

    def _of_each(self, queue: str, records: Callable[[str], Iterable[T]]) -> list[T]:
        return list(chain.from_iterable(map(records, self._read(queue))))

    def _meant(self, queue: str, lane: str | None) -> Sequence[str]:
        shards = self.shards(queue)
        return shards if lane is None else (shard_of(shards, lane),)

    def _read(self, queue: str) -> tuple[str, ...]:
        """The queue's shards as they are now."""
        return self._inner.layouts().get(queue, _WHOLE).shards(queue)

    def _all_shards(self, queues: Sequence[str], turn: int = 0) -> list[str]:
        """The shards of these queues, in their order, each queue's beginning with another one each turn."""
        found: list[str] = []
        for queue in queues:
            shards = self.shards(queue)
            first = turn % len(shards)
            found += [*shards[first:], *shards[:first]]
        return found

    def _terms(self, terms: Mapping[str, Terms]) -> dict[str, Terms]:
        """What holds for each shard. What a queue may have at most is shared out among its shards, those that
        come first this time first."""
        found: dict[str, Terms] = {}
        for queue, of_queue in terms.items():
            shards = self._all_shards([queue], self._turns)
            for place, shard in enumerate(shards):
                found[shard] = of_queue.share(place, len(shards))
        return found

    def _look(self, queue: str) -> tuple[str, ...]:
        """See how the queue is cut. The first time, what the program says decides, if nothing has yet; later
        somebody else may have, and then it is time to start this program anew."""
        said = self._said(queue)
        if said is None or queue in self._decided:
            layout = self._inner.layouts().get(queue, _WHOLE)
        else:
            layout = self._inner.lay_out(queue, said)
            self._decided.add(queue)
        if said not in (None, layout.count):
            raise ConfigurationError(
                f"queue {queue} was cut into {layout.count} shards while this program, which says "
                f"shards={said}, runs; start it with shards={layout.count}"
            )
        self._shards[queue] = shards = layout.shards(queue)
        return shards


def _together(queue: str, parts: Sequence[QueueStats]) -> QueueStats:
    workers = max(each.workers for each in parts)
    return msgspec.structs.replace(merged(parts), queue=queue, workers=workers)


class _Bell:
    """A doorbell that is told of queues and hears of their shards."""

    def __init__(self, inner: Doorbell, shards: Callable[[Sequence[str]], Sequence[str]]) -> None:
        self._inner = inner
        self._shards_of = shards
        self.wait, self.ring, self.close = inner.wait, inner.ring, inner.close

    def attend(self, queues: Sequence[str]) -> None:
        """See `Doorbell.attend`."""
        self._inner.attend(self._shards_of(queues))
