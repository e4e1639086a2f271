"""Enqueues the job of a slot as a call of its task would be: traced, counted, and only once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter
from typing import Final

import msgspec

from glassq.codec import Envelope, seal
from glassq.context import SLOT_HEADER
from glassq.errors import EnqueueUncertain, QueueFull, StorageError, StorageUnavailable
from glassq.model.events import EnqueueFailed, JobDeduplicated, JobEnqueued
from glassq.model.jobs import Appended, Dedup, Disposition, NewJob, Receipt, ReceiptOf
from glassq.model.names import DEFAULT_LANE
from glassq.registry import Registry
from glassq.schedules.records import Order
from glassq.storage import ShardedStorage
from glassq.telemetry import Bus, Outgoing, Sending

_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (QueueFull, "queue_full"),
    (EnqueueUncertain, "uncertain"),
)


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a schedule. `mark` tells it from all others, and is remembered for `remembered` seconds."""

    order: Order
    mark: str
    remembered: float
    due: int | None = None
    """When it is due, in epoch seconds; None when it is run by hand."""
    put_off_to: float | None = None
    """When its job is to join its lane, where that is later."""

    @property
    def lane(self) -> str:
        """Which lane its job goes to."""
        if self.order.unordered:
            # The same whoever enqueues it: its lane's name says in which shard it is, and is known.
            return "~" + hashlib.sha256(self.mark.encode()).hexdigest()[:12]
        return DEFAULT_LANE if self.order.key is None else self.order.key


class Enqueuing:
    """Appends what schedules order."""

    def __init__(
        self, storage: Callable[[], ShardedStorage], registry: Registry, bus: Bus, kept_receipt: ReceiptOf
    ) -> None:
        self._kept_receipt = kept_receipt
        self._storage = storage
        self._registry = registry
        self._bus = bus

    def enqueue(self, slot: Slot) -> Receipt:
        """One job. One round trip. Raises `QueueFull` and `StorageError`; may be repeated after each."""
        order = slot.order
        headers = {} if slot.due is None else {SLOT_HEADER: datetime.fromtimestamp(slot.due, UTC).isoformat()}
        key = slot.lane if order.unordered else order.key
        out = Outgoing(order.task, key, headers, len(order.payload), eta=slot.put_off_to)
        started = perf_counter()
        try:
            with self._bus.around(Sending(order.queue, [out])):
                answer = self._append(slot, out.headers)
                out.job_id, out.seq = answer.id, answer.seq
        except (QueueFull, StorageError) as error:
            self._bus.emit(EnqueueFailed(queue=order.queue, reason=_reason(error)))
            raise
        self._tell(order, key, answer, perf_counter() - started)
        receipt = self._kept_receipt if order.keep else Receipt
        return receipt(answer.id, order.queue, key, answer.seq, answer.disposition)

    def _append(self, slot: Slot, headers: dict[str, str]) -> Appended:
        order = slot.order
        options = self._registry.options(order.queue)
        job = NewJob(
            body=seal(Envelope(order.task, order.serializer, headers, order.payload, keep=order.keep or 0.0)),
            lane=slot.lane,
            level=order.level,
            due=slot.put_off_to,
            due_is_time=slot.put_off_to is not None,
            ttl=order.ttl,
            dedup=Dedup(slot.mark, slot.remembered),
        )
        [answer] = self._storage().append(
            order.queue, [job], max_length=options.max_length, replicas=options.replicas
        )
        return answer

    def _tell(self, order: Order, key: str | None, answer: Appended, seconds: float) -> None:
        if answer.disposition is Disposition.DUPLICATE:
            self._bus.emit(JobDeduplicated(queue=order.queue, task=order.task, job_id=answer.id))
            return
        self._bus.emit(
            JobEnqueued(
                queue=order.queue,
                task=order.task,
                job_id=answer.id,
                key=key,
                seq=answer.seq,
                payload_bytes=len(order.payload),
                seconds=seconds,
            )
        )


def _reason(error: Exception) -> str:
    if isinstance(error, StorageUnavailable) and error.reason == "closed":
        return error.reason
    return next((reason for kind, reason in _REASONS if isinstance(error, kind)), "storage_unavailable")
