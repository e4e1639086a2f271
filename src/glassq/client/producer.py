"""From a call to a receipt: checked, serialized, wrapped, appended, reported."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any

import msgspec

from glassq.client.batches import chunks, telling, windows
from glassq.client.options import CallOptions
from glassq.codec import Envelope, seal
from glassq.errors import (
    EnqueueUncertain,
    PayloadTooLarge,
    QueueFull,
    SerializationFailed,
    StorageError,
    StorageUnavailable,
)
from glassq.model.clock import Clock
from glassq.model.events import EnqueueFailed, JobDeduplicated, JobEnqueued
from glassq.model.jobs import Appended, Dedup, Disposition, NewJob, Receipt
from glassq.model.layouts import shard_of
from glassq.model.names import DEFAULT_LANE, UNORDERED, Key
from glassq.policy.retry import full_jitter
from glassq.registry import Registry, TaskDefinition
from glassq.storage import ShardedStorage, Storage
from glassq.telemetry import Bus, Outgoing, Sending

_FAILURES: dict[type[Exception], str] = {
    PayloadTooLarge: "payload_too_large",
    SerializationFailed: "serialization",
    QueueFull: "queue_full",
    EnqueueUncertain: "uncertain",
    StorageError: "storage_unavailable",
}
_REPORTED = tuple(_FAILURES)


class Call(msgspec.Struct, frozen=True):
    """One call of a task on its way: its arguments, the ordering key they or the caller gave it, and what
    else the caller asked for."""

    task: TaskDefinition
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: Key
    options: CallOptions


class _Packed(msgspec.Struct, frozen=True):
    """A call whose arguments are bytes already, and what Arounds see and add to."""

    call: Call
    payload: bytes
    outgoing: Outgoing

    @property
    def queue(self) -> str:
        """Where it goes."""
        return self.call.task.queue


class Producer:
    """Appends calls to their queues. Thread-safe: the store orders concurrent calls."""

    def __init__(
        self,
        storage: Callable[[], ShardedStorage],
        registry: Registry,
        bus: Bus,
        clock: Clock,
        *,
        serializer: str,
        random: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._bus = bus
        self._clock = clock
        self._serializer = serializer
        self._random = random

    def enqueue(self, call: Call) -> Receipt:
        """Store one call. One round trip.

        Raises `TypeError` for arguments the task does not take, `SerializationFailed`, `PayloadTooLarge`
        and `StorageError`; after any of them nothing is stored.
        """
        (receipt,) = self._send((self._pack(call),))
        return receipt

    def enqueue_many(self, calls: Iterable[Call]) -> list[Receipt]:
        """Store calls, each queue's in this order. One round trip per chunk of 100 jobs or 1 MiB of a queue.

        Each chunk is contiguous and atomic. After a failure nothing further is sent, and the error tells
        which calls are in (see `EnqueueError`). What is not one is raised as it is if none is.
        """
        accepted: dict[int, Receipt] = {}
        with telling(accepted):
            for some in self._send_windows(calls):
                accepted.update(enumerate(some, len(accepted)))
        return list(accepted.values())

    def enqueue_each(self, calls: Iterable[Call]) -> Iterator[Receipt]:
        """The same, handing out receipts as it goes; an error tells of those that were not handed out yet."""
        for some in self._send_windows(calls):
            yield from some

    def _send_windows(self, calls: Iterable[Call]) -> Iterator[list[Receipt]]:
        """The receipts of calls that were checked together, in the order of the calls."""
        first = 0
        for window in windows(calls, self._pack):
            accepted: dict[int, Receipt] = {}
            for chunk in chunks(window, self._place):
                places = [first + at for at in chunk]
                with telling(accepted, places):
                    accepted.update(zip(places, self._send([window[at] for at in chunk]), strict=True))
            yield [accepted[first + at] for at in range(len(window))]
            first += len(window)

    def _place(self, packed: _Packed) -> str:
        """What one append may be about: a queue, or a shard of one."""
        shards = self._storage().shards(packed.queue)
        return shards[0] if len(shards) == 1 else shard_of(shards, _lane(packed))

    def _pack(self, call: Call) -> _Packed:
        task = call.task
        try:
            limit = self._registry.options(task.queue).max_payload
            payload = task.codec.encode(call.args, call.kwargs, limit)
            options = call.options
            key = _lane_of_its_own() if call.key is UNORDERED else call.key
            out = Outgoing(task.name, key, {}, len(payload), None, None, options.delay, options.eta)
            return _Packed(call, payload, out)
        except _REPORTED as error:
            self._refused(task.queue, error)
            raise

    def _send(self, packed: Sequence[_Packed]) -> list[Receipt]:
        """Append one chunk, all of one queue."""
        queue = packed[0].queue
        outgoing = [each.outgoing for each in packed]
        started = perf_counter()
        try:
            storage = self._storage()  # its first use opens it, which is not part of this call's span
            with self._bus.around(Sending(queue, outgoing)):
                answers = self._append(storage, queue, [self._job(each) for each in packed])
                for out, answer in zip(outgoing, answers, strict=True):
                    out.job_id = answer.id
                    out.seq = answer.seq
        except _REPORTED as error:
            self._refused(queue, error)
            raise
        seconds = perf_counter() - started
        return [
            self._reported(queue, out, answer, seconds) for out, answer in zip(outgoing, answers, strict=True)
        ]

    def _append(self, storage: Storage, queue: str, jobs: Sequence[NewJob]) -> list[Appended]:
        """Append, waiting for room in a full queue as long as its options say."""
        options = self._registry.options(queue)
        most, replicas = options.max_length, options.replicas
        if most is None:
            return storage.append(queue, jobs, replicas=replicas)
        deadline = self._clock.monotonic() + options.full_wait
        tries = 0
        while True:
            try:
                return storage.append(queue, jobs, max_length=most, replicas=replicas)
            except QueueFull:
                remaining = deadline - self._clock.monotonic()
                if remaining <= 0:
                    raise
            self._clock.sleep(min(remaining, full_jitter(tries, self._random(), first=0.01, cap=0.5)))
            tries += 1

    def _refused(self, queue: str, error: Exception) -> None:
        """Count what keeps a call from being enqueued."""
        reason = next(reason for kind, reason in _FAILURES.items() if isinstance(error, kind))
        if isinstance(error, StorageUnavailable) and error.reason == "closed":
            reason = error.reason
        self._bus.emit(EnqueueFailed(queue=queue, reason=reason))

    def _reported(self, queue: str, out: Outgoing, answer: Appended, seconds: float) -> Receipt:
        """What the caller gets, once the observers have been told."""
        job_id, seq, disposition = answer.id, answer.seq, answer.disposition
        if disposition is Disposition.DUPLICATE:
            self._bus.emit(JobDeduplicated(queue=queue, task=out.task, job_id=job_id))
        else:
            self._bus.emit(
                JobEnqueued(
                    queue=queue,
                    task=out.task,
                    job_id=job_id,
                    key=out.key,
                    seq=seq,
                    payload_bytes=out.payload_bytes,
                    seconds=seconds,
                )
            )
        return Receipt(job_id, queue, out.key, seq, disposition)

    def _job(self, packed: _Packed) -> NewJob:
        call, out = packed.call, packed.outgoing
        task, options = call.task, call.options
        return NewJob(
            body=seal(Envelope(out.task, self._serializer, out.headers, packed.payload)),
            lane=_lane(packed),
            level=task.priority if options.priority is None else options.priority,
            due=options.delay if options.eta is None else options.eta,
            due_is_time=options.eta is not None,
            ttl=task.ttl if options.ttl is None else options.ttl,
            dedup=_dedup(packed),
        )


def _lane_of_its_own() -> str:
    """A name that no other lane has, nor ever had. Short, as a store keeps it several times."""
    return "~" + secrets.token_urlsafe(9)


def _dedup(packed: _Packed) -> Dedup | None:
    """What makes a call a duplicate: the id it was given, or for a unique call what it does."""
    options = packed.call.options
    if options.dedup_id is not None:
        return Dedup(options.dedup_id, None if options.unique else options.dedup_window)
    if not options.unique:
        return None
    call = packed.call
    # What no key's bytes can be stands for every job's own lane.
    key = b"\xff" if call.key is UNORDERED else (call.key or "").encode()
    parts = (call.task.name.encode(), key, packed.payload)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return Dedup(f"unique:{digest.hexdigest()}", None)


def _lane(packed: _Packed) -> str:
    key = packed.outgoing.key
    return DEFAULT_LANE if key is None else key
