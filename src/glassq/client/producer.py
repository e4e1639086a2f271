"""From a call to a receipt: checked, serialized, wrapped, appended, reported."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from time import perf_counter
from typing import Any

import msgspec

from glassq.client.options import CallOptions
from glassq.codec import Envelope, seal
from glassq.errors import (
    EnqueueError,
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
from glassq.model.names import DEFAULT_LANE
from glassq.policy.retry import full_jitter
from glassq.registry import Registry, TaskDefinition
from glassq.storage import MAX_APPEND_BYTES, MAX_APPEND_JOBS, ShardedStorage, Storage
from glassq.telemetry import Bus, Outgoing, Sending

_ENVELOPE_BYTES = 2048
"""What a job's envelope may add to its payload: name, trace headers (tracestate is at most 512)."""

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
    key: str | None
    options: CallOptions


class _Packed(msgspec.Struct, frozen=True):
    """A call whose arguments are bytes already, and what Arounds see and add to."""

    call: Call
    payload: bytes
    outgoing: Outgoing


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

    def enqueue_many(self, calls: Sequence[Call]) -> list[Receipt]:
        """Store calls in this order. One round trip per chunk of 100 jobs or 1 MiB of one queue, or shard.

        All are checked and serialized before the first is stored. Each chunk is contiguous and atomic; when
        one fails, the error's `receipts` holds those of the chunks before it. Receipts come in the order of
        the calls.
        """
        packed = [self._pack(call) for call in calls]
        receipts: dict[int, Receipt] = {}
        for chunk in list(_chunks(packed, lambda queue: self._storage().shards(queue))):
            try:
                receipts.update(zip(chunk, self._send([packed[index] for index in chunk]), strict=True))
            except EnqueueError as error:
                error.receipts = _in_order(receipts)
                raise
            except StorageError as error:
                if not receipts:
                    raise
                failure = EnqueueError(f"{len(receipts)} of {len(calls)} calls were enqueued, then: {error}")
                failure.receipts = _in_order(receipts)
                raise failure from error
        return list(_in_order(receipts))

    def _pack(self, call: Call) -> _Packed:
        task = call.task
        try:
            limit = self._registry.options(task.queue).max_payload
            payload = task.codec.encode(call.args, call.kwargs, limit)
            options = call.options
            out = Outgoing(task.name, call.key, {}, len(payload), None, None, options.delay, options.eta)
            return _Packed(call, payload, out)
        except _REPORTED as error:
            self._refused(task.queue, error)
            raise

    def _send(self, packed: Sequence[_Packed]) -> list[Receipt]:
        """Append one chunk, all of one queue."""
        queue = packed[0].call.task.queue
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


def _dedup(packed: _Packed) -> Dedup | None:
    """What makes a call a duplicate: the id it was given, or for a unique call what it does."""
    options = packed.call.options
    if options.dedup_id is not None:
        return Dedup(options.dedup_id, None if options.unique else options.dedup_window)
    if not options.unique:
        return None
    call = packed.call
    parts = (call.task.name.encode(), (call.key or "").encode(), packed.payload)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return Dedup(f"unique:{digest.hexdigest()}", None)


def _lane(packed: _Packed) -> str:
    key = packed.outgoing.key
    return DEFAULT_LANE if key is None else key


def _chunks(packed: Sequence[_Packed], shards_of: Callable[[str], Sequence[str]]) -> Iterator[Sequence[int]]:
    """Indices of calls that go into one append each: as many as it takes, of runs of calls to one queue.
    Those to one shard go together, in their order; there is none between shards."""
    for queue, run in groupby(range(len(packed)), key=lambda index: packed[index].call.task.queue):
        indices, shards = list(run), shards_of(queue)
        if len(shards) == 1:
            yield from _filled(packed, indices)
            continue
        of_shard: dict[str, list[int]] = {}
        for index in indices:
            of_shard.setdefault(shard_of(shards, _lane(packed[index])), []).append(index)
        for each in of_shard.values():
            yield from _filled(packed, each)


def _filled(packed: Sequence[_Packed], indices: Sequence[int]) -> Iterator[Sequence[int]]:
    chunk: list[int] = []
    size = 0
    for index in indices:
        needs = len(packed[index].payload) + _ENVELOPE_BYTES
        if chunk and (len(chunk) == MAX_APPEND_JOBS or size + needs > MAX_APPEND_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(index)
        size += needs
    yield chunk


def _in_order(receipts: Mapping[int, Receipt]) -> tuple[Receipt, ...]:
    return tuple(receipts[index] for index in sorted(receipts))
