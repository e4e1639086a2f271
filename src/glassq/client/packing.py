"""What a call is made into before it is stored, and what its caller gets afterwards."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import msgspec

from glassq.client.injection import check_given, taken_out
from glassq.client.options import CallOptions
from glassq.codec import Envelope, Place, seal
from glassq.errors import (
    EnqueueUncertain,
    PayloadTooLarge,
    QueueFull,
    SerializationFailed,
    StorageError,
    StorageUnavailable,
)
from glassq.model.edges import After
from glassq.model.events import EnqueueFailed, JobDeduplicated, JobEnqueued
from glassq.model.jobs import Appended, Dedup, Disposition, NewJob, Receipt, ReceiptOf
from glassq.model.names import DEFAULT_LANE, UNORDERED, Key
from glassq.registry import Registry, TaskDefinition
from glassq.telemetry import Bus, Outgoing

_FAILURES: dict[type[Exception], str] = {
    PayloadTooLarge: "payload_too_large",
    SerializationFailed: "serialization",
    QueueFull: "queue_full",
    EnqueueUncertain: "uncertain",
    StorageError: "storage_unavailable",
}
REPORTED = tuple(_FAILURES)


class Call(msgspec.Struct, frozen=True):
    """One call of a task on its way: its arguments, the ordering key they or the caller gave it, and what
    else the caller asked for."""

    task: TaskDefinition
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: Key
    options: CallOptions


class Packed(msgspec.Struct, frozen=True):
    """A call whose arguments are bytes already, and what Arounds see and add to."""

    call: Call
    payload: bytes
    outgoing: Outgoing
    place: Place | None = None
    """Its place among others, for its worker."""
    after: tuple[After, ...] = ()
    """The jobs that it comes after, for the store."""
    keep: float = 0.0
    """Seconds for which its result is kept, 0 not at all."""

    @property
    def queue(self) -> str:
        """Where it goes."""
        return self.call.task.queue

    @property
    def lane(self) -> str:
        """Which lane of that."""
        key = self.outgoing.key
        return DEFAULT_LANE if key is None else key


class Packing:
    """Makes calls into jobs, and answers of the store into receipts, and tells the observers of both."""

    def __init__(self, registry: Registry, bus: Bus, serializer: str, receipt: ReceiptOf = Receipt) -> None:
        self._kept_receipt = receipt
        self._registry = registry
        self._bus = bus
        self._serializer = serializer

    def pack(self, call: Call, step: Place | None = None) -> Packed:
        """Check and serialize a call, as a step of a workflow or by itself. Raises what keeps it from being
        enqueued."""
        task = call.task
        try:
            limit = self._registry.options(task.queue).max_payload
            options = call.options
            place, after = step, options.after() if options.depends_on else ()
            if step is None and not after:
                payload = encode_alone(call, limit)
            else:
                args, kwargs, given = taken_out(task.signature, call.args, call.kwargs)
                if step is None:
                    check_given(given, {each.name for each in after})
                payload = task.codec.encode(args, kwargs, limit, later=given)
                place = msgspec.structs.replace(step or Place(behind=True), given=given)
            key = _lane_of_its_own() if call.key is UNORDERED else call.key
            keep = options.result_ttl
            if keep is None:  # what holds now: the application's defaults may have come after the task
                keep = (self._registry.find(task.name) or task).result_ttl
            flow = None if place is None else place.flow or None
            out = Outgoing(task.name, key, {}, len(payload), None, None, options.delay, options.eta, flow)
            return Packed(call, payload, out, place, after, keep=float(keep))
        except REPORTED as error:
            self.refused(task.queue, error)
            raise

    def refused(self, queue: str, error: Exception) -> None:
        """Count what keeps a call from being enqueued."""
        reason = next(reason for kind, reason in _FAILURES.items() if isinstance(error, kind))
        if isinstance(error, StorageUnavailable) and error.reason == "closed":
            reason = error.reason
        self._bus.emit(EnqueueFailed(queue=queue, reason=reason))

    def reported(self, packed: Packed, answer: Appended, seconds: float) -> Receipt:
        """What the caller gets, once the observers have been told."""
        queue, out = packed.call.task.queue, packed.outgoing
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
        receipt = self._kept_receipt if packed.keep else Receipt
        return receipt(job_id, queue, out.key, seq, disposition)

    def job(self, packed: Packed) -> NewJob:
        """What the store is given, once Arounds have added their headers."""
        call, out = packed.call, packed.outgoing
        task, options = call.task, call.options
        return NewJob(
            body=seal(
                Envelope(out.task, self._serializer, out.headers, packed.payload, packed.place, packed.keep)
            ),
            lane=DEFAULT_LANE if out.key is None else out.key,
            level=task.priority if options.priority is None else options.priority,
            due=options.delay if options.eta is None else options.eta,
            due_is_time=options.eta is not None,
            ttl=task.ttl if options.ttl is None else options.ttl,
            dedup=_dedup(packed) if options.unique or options.dedup_id is not None else None,
            after=packed.after,
            flow=out.flow,
        )


def encode_alone(call: Call, limit: int) -> bytes:
    """The arguments of a call that comes after no other; `BadOption` for a `From` among them."""
    try:
        return call.task.codec.encode(call.args, call.kwargs, limit)
    except SerializationFailed:
        _, _, given = taken_out(call.task.signature, call.args, call.kwargs)
        check_given(given, set())
        raise


def _lane_of_its_own() -> str:
    """A name that no other lane has, nor ever had. Short, as a store keeps it several times."""
    return "~" + secrets.token_urlsafe(9)


def _dedup(packed: Packed) -> Dedup:
    """What makes a call a duplicate: the id it was given, or for a unique call what it does."""
    options = packed.call.options
    if options.dedup_id is not None:
        return Dedup(options.dedup_id, None if options.unique else options.dedup_window)
    call = packed.call
    # What no key's bytes can be stands for every job's own lane.
    key = b"\xff" if call.key is UNORDERED else (call.key or "").encode()
    parts = (call.task.name.encode(), key, packed.payload)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return Dedup(f"unique:{digest.hexdigest()}", None)
