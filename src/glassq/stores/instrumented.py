"""The one place where storage is timed, and watched for a loss of data: a wrapper that tells the bus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import ParamSpec, TypeVar

from glassq.errors import StorageError, StorageUnavailable
from glassq.flowstorage import MAX_DELIVERIES
from glassq.keeping import MAX_VALUES
from glassq.model.edges import EdgePolicy
from glassq.model.events import StorageCalled
from glassq.model.flows import Delivered, Delivery, FlowRecord, Upstream
from glassq.model.jobs import (
    Appended,
    Cancellation,
    Disposition,
    JobRecord,
    JobState,
    NewJob,
    StoredJob,
)
from glassq.model.keeping import Exchanged, Note, Value
from glassq.model.lanes import LaneOrder, LanesSeen, WorkerStats
from glassq.model.layouts import Layout
from glassq.model.leases import Claimed, Lease, Owner, Renewed, Settled, Settlement
from glassq.model.several import Several
from glassq.model.stats import QueueStats
from glassq.model.watermarks import Watermark
from glassq.settling import Course, Settling, Together
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
from glassq.stores.calls import Settles
from glassq.stores.remembering import Known, Memory
from glassq.stores.timedcourse import TimedCourse
from glassq.stores.together import by_queue
from glassq.telemetry import Bus

P = ParamSpec("P")
R = TypeVar("R")


class Heard:
    """A settlement on its way, whose answer is told to somebody else, too, when it is asked for."""

    __slots__ = ("answer", "arrived")

    def __init__(self, arrived: Callable[[], bool], take_in: Callable[[], Settled]) -> None:
        self.arrived = arrived
        self.answer = take_in


class InstrumentedStorage:
    """A `Storage` that emits `StorageCalled` after each operation, and `DataLossDetected` when an answer
    shows that the store lost what it had acknowledged here; otherwise the store it wraps."""

    def __init__(self, inner: Storage, bus: Bus) -> None:
        self._inner = inner
        self._bus = bus
        self._memory = Memory(bus)
        self.kind = inner.kind
        self.address = inner.address
        self.is_steered = inner.is_steered
        """See `Storage.is_steered`."""

    def _timed(self, operation: str, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._since(perf_counter(), operation, call, *args, **kwargs)

    def _since(
        self, started: float, operation: str, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        failure = None
        try:
            return call(*args, **kwargs)
        except StorageError as error:
            failure = error
            raise
        finally:
            self._tell(operation, started, failure)

    def _tell(self, operation: str, started: float, failure: StorageError | None) -> None:
        error = None
        if failure is not None:
            error = failure.reason if isinstance(failure, StorageUnavailable) else "other"
        seconds = perf_counter() - started
        self._bus.emit(StorageCalled(store=self.kind, operation=operation, seconds=seconds, error=error))

    def append(
        self, queue: str, jobs: Sequence[NewJob], *, max_length: int | None = None, replicas: int = 0
    ) -> list[Appended]:
        """See `Storage.append`."""
        before = self._memory.known(queue)
        started, failure = perf_counter(), None
        try:
            answers = self._inner.append(queue, jobs, max_length=max_length, replicas=replicas)
        except StorageError as error:
            failure = error
            raise
        finally:
            self._tell("append", started, failure)
        found = answers[0].found if answers else None
        if found is not None:
            created = last = 0
            for answer in answers:
                created += answer.disposition is Disposition.CREATED
                seq = answer.seq
                if seq is not None and seq > last:
                    last = seq
            self._memory.learn_of(queue, before, found, found.after(seq=last, enqueued=created))
        return answers

    def listen(self, owner: Owner, queues: Sequence[str]) -> Doorbell:
        """See `Storage.listen`."""
        return self._timed("listen", self._inner.listen, owner, queues)

    def report(self, owner: Owner, queues: Sequence[str]) -> dict[str, Watermark]:
        """See `Storage.report`."""
        before = self._memory.recall(queues)
        found = self._timed("report", self._inner.report, owner, queues)
        self._memory.learn(before, found)
        return found

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
        """See `Storage.claim`."""
        before = self._memory.recall(queues)
        started, failure = perf_counter(), None
        try:
            claimed = self._inner.claim(
                owner,
                queues,
                lanes=lanes,
                window=window,
                lease_seconds=lease_seconds,
                begin=begin,
                ahead=ahead,
                terms=terms,
            )
        except StorageError as error:
            failure = error
            raise
        finally:
            self._tell("claim", started, failure)
        self._memory.learn(before, claimed.found)
        return claimed

    def begin(self, owner: Owner, lease: Lease) -> None:
        """See `Storage.begin`."""
        self._timed("begin", self._inner.begin, owner, lease)

    def settle(self, owner: Owner, settlements: Sequence[Settlement]) -> list[Settled]:
        """See `Storage.settle`."""
        before = self._memory.recall(each.lease.queue for each in settlements)
        answers = self._timed("settle", self._inner.settle, owner, settlements)
        self._learn_settled(before, settlements, answers)
        return answers

    def _learn_settled(
        self, before: Mapping[str, Known], settlements: Sequence[Settlement], answers: Sequence[Settled]
    ) -> None:
        found: dict[str, Watermark] = {}
        left: dict[str, Watermark] = {}
        for settlement, answer in zip(settlements, answers, strict=True):
            if answer.found is not None:
                queue = settlement.lease.queue
                found.setdefault(queue, answer.found)
                left[queue] = left.get(queue, answer.found).after(settled=answer.ordinal)
        self._memory.learn(before, found, left)

    def settle_later(self, owner: Owner, settlement: Settlement) -> Settling:
        """See `Storage.settle_later`. Timed from the sending until its answer is taken in."""
        queue = settlement.lease.queue
        before = self._memory.known(queue)
        started = perf_counter()
        return self._heard(queue, self._inner.settle_later(owner, settlement), before, started)

    def _heard(self, queue: str, sent: Settling, before: Known, started: float) -> Heard:
        def take_in() -> Settled:
            answer = self._since(started, "settle", sent.answer)
            self._learn_of(queue, before, answer)
            return answer

        return Heard(sent.arrived, take_in)

    def _learn_of(self, queue: str, before: Known, answer: Settled) -> None:
        found = answer.found
        if found is not None:
            self._memory.learn_of(queue, before, found, found.after(settled=answer.ordinal))

    def settle_together(self, owner: Owner, settlements: Sequence[Settlement]) -> Together:
        """See `Storage.settle_together`. Timed as one call for each queue."""
        return by_queue(settlements, partial(self._settle_together, owner))

    def _settle_together(self, owner: Owner, queue: str, settlements: Sequence[Settlement]) -> Together:
        before = self._memory.known(queue)
        started = perf_counter()

        def take_in() -> Several[Settled]:
            answers = self._since(started, "settle", sent.answers)
            self._learn_ends(queue, before, answers)
            return answers

        sent = self._inner.settle_together(owner, settlements)
        return Together(len(sent), sent.arrived, take_in)

    def _learn_ends(self, queue: str, before: Known, answers: Several[Settled]) -> None:
        """Take in the answers to settlements of one queue that were carried out in one step."""
        found: Watermark | None = answers.first("found") if answers else None
        if found is not None:
            left = found.after(settled=max(answers.column("ordinal")))
            self._memory.learn_of(queue, before, found, left)

    def course(self, owner: Owner, settlement: Settlement, *, others: bool) -> Course | None:
        """See `Storage.course`. Each settlement is timed from its sending until its answer is taken in."""
        queue = settlement.lease.queue

        def answered(seconds: Sequence[float], before: Known, answers: Sequence[Settled]) -> None:
            self._bus.emit_together(Settles(self.kind, seconds))
            self._memory.learn_settled(queue, before, answers)

        inner = self._inner.course(owner, settlement, others=others)
        known, heard = partial(self._memory.known, queue), partial(self._heard, queue)
        return None if inner is None else TimedCourse(inner, known, answered, heard)

    def renew(self, owner: Owner, leases: Sequence[Lease], *, lease_seconds: float) -> Renewed:
        """See `Storage.renew`."""
        before = self._memory.recall(lease.queue for lease in leases)
        renewed = self._timed("renew", self._inner.renew, owner, leases, lease_seconds=lease_seconds)
        self._memory.learn(before, renewed.found)
        return renewed

    def release(self, owner: Owner, leases: Sequence[Lease], *, front: bool = True) -> None:
        """See `Storage.release`."""
        self._timed("release", self._inner.release, owner, leases, front=front)

    def retry_lane(self, queue: str, lane: str) -> bool:
        """See `Storage.retry_lane`."""
        return self._timed("configure", self._inner.retry_lane, queue, lane)

    def skip_lane(
        self, queue: str, lane: str, *, expected: str | None = None, keep: float = 0.0, note: bytes = b""
    ) -> StoredJob | None:
        """See `Storage.skip_lane`."""
        skip = self._inner.skip_lane
        return self._timed("configure", skip, queue, lane, expected=expected, keep=keep, note=note)

    def cancel(self, job_id: str, *, keep: float = 0.0, note: bytes = b"") -> Cancellation | None:
        """See `Storage.cancel`."""
        return self._timed("cancel", self._inner.cancel, job_id, keep=keep, note=note)

    def get(self, job_id: str) -> JobRecord | None:
        """See `Storage.get`."""
        return self._timed("get", self._inner.get, job_id)

    def pause(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.pause`."""
        return self._timed("configure", self._inner.pause, queue, lane)

    def resume(self, queue: str, lane: str | None = None) -> bool:
        """See `Storage.resume`."""
        return self._timed("configure", self._inner.resume, queue, lane)

    def replay(self, queue: str, ids: Sequence[str], *, front: bool) -> list[Replayed]:
        """See `Storage.replay`."""
        return self._timed("replay", self._inner.replay, queue, ids, front=front)

    def purge(self, queue: str, *, dead: bool, lane: str | None = None) -> int:
        """See `Storage.purge`."""
        return self._timed("configure", self._inner.purge, queue, dead=dead, lane=lane)

    def forget(self, queue: str) -> bool:
        """See `Storage.forget`."""
        forgotten = self._timed("configure", self._inner.forget, queue)
        if forgotten:
            self._memory.forget(queue)
        return forgotten

    def waiting(self, queue: str, limit: int) -> list[WaitingRecord]:
        """See `Storage.waiting`."""
        return self._timed("scan", self._inner.waiting, queue, limit)

    def dead(self, queue: str, limit: int) -> list[DeadRecord]:
        """See `Storage.dead`."""
        return self._timed("scan", self._inner.dead, queue, limit)

    def halted(self, queue: str, limit: int) -> list[HaltedRecord]:
        """See `Storage.halted`."""
        return self._timed("scan", self._inner.halted, queue, limit)

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        """See `Storage.stats`."""
        return self._timed("stats", self._inner.stats, queues)

    def lanes(self, queue: str, *, by: LaneOrder, limit: int, look: int) -> LanesSeen:
        """See `Storage.lanes`."""
        return self._timed("scan", self._inner.lanes, queue, by=by, limit=limit, look=look)

    def workers(self, queue: str) -> list[WorkerStats]:
        """See `Storage.workers`."""
        return self._timed("scan", self._inner.workers, queue)

    def queues(self) -> list[str]:
        """See `Storage.queues`."""
        return self._timed("scan", self._inner.queues)

    def layouts(self) -> dict[str, Layout]:
        """See `Storage.layouts`."""
        return self._timed("scan", self._inner.layouts)

    def lay_out(self, queue: str, count: int) -> Layout:
        """See `Storage.lay_out`."""
        return self._timed("configure", self._inner.lay_out, queue, count)

    def notes(self, job_id: str, limit: int = 1) -> list[Note]:
        """See `Keeping.notes`."""
        return self._timed("get", self._inner.notes, job_id, limit)

    def put(self, queue: str, name: str, body: bytes, seconds: float | None) -> None:
        """See `Keeping.put`."""
        self._timed("put", self._inner.put, queue, name, body, seconds)

    def exchange(
        self, queue: str, name: str, *, was: bytes | None, body: bytes | None, seconds: float | None = None
    ) -> Exchanged:
        """See `Keeping.exchange`."""
        exchange = self._inner.exchange
        return self._timed("put", exchange, queue, name, was=was, body=body, seconds=seconds)

    def value(self, queue: str, name: str) -> Value | None:
        """See `Keeping.value`."""
        return self._timed("get", self._inner.value, queue, name)

    def values(self, queue: str, prefix: str, *, after: str = "", limit: int = MAX_VALUES) -> list[Value]:
        """See `Keeping.values`."""
        return self._timed("scan", self._inner.values, queue, prefix, after=after, limit=limit)

    def drop(self, queue: str, name: str) -> bool:
        """See `Keeping.drop`."""
        return self._timed("put", self._inner.drop, queue, name)

    # -- jobs that wait for others -------------------------------------------------------------------------

    def follow(self, parent: str, children: Sequence[tuple[str, EdgePolicy]]) -> JobState | None:
        """See `FlowStorage.follow`."""
        return self._timed("deliver", self._inner.follow, parent, children)

    def deliver(self, queue: str, deliveries: Sequence[Delivery]) -> Delivered:
        """See `FlowStorage.deliver`."""
        return self._timed("deliver", self._inner.deliver, queue, deliveries)

    def outbox(self, queue: str, limit: int = MAX_DELIVERIES) -> list[Delivery]:
        """See `FlowStorage.outbox`."""
        return self._timed("scan", self._inner.outbox, queue, limit)

    def delivered(self, queue: str, numbers: Sequence[int]) -> None:
        """See `FlowStorage.delivered`."""
        self._timed("deliver", self._inner.delivered, queue, numbers)

    def upstream(self, job_id: str) -> tuple[Upstream, ...]:
        """See `FlowStorage.upstream`."""
        return self._timed("get", self._inner.upstream, job_id)

    def open_flow(self, flow: str, *, name: str, total: int, body: bytes, keep_seconds: float) -> None:
        """See `FlowStorage.open_flow`."""
        open_flow = self._inner.open_flow
        self._timed("put", open_flow, flow, name=name, total=total, body=body, keep_seconds=keep_seconds)

    def flow(self, flow: str) -> FlowRecord | None:
        """See `FlowStorage.flow`."""
        return self._timed("get", self._inner.flow, flow)

    def flow_outcomes(self, flow: str) -> dict[str, JobState]:
        """See `FlowStorage.flow_outcomes`."""
        return self._timed("scan", self._inner.flow_outcomes, flow)

    def cancel_flow(self, flow: str) -> bool:
        """See `FlowStorage.cancel_flow`."""
        return self._timed("put", self._inner.cancel_flow, flow)

    def close(self) -> None:
        """See `Storage.close`."""
        self._inner.close()
