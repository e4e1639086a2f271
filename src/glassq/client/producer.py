"""From a call to a receipt: checked, serialized, wrapped, appended, reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

from glassq.client.packing import REPORTED, Call, Packed, Packing, chunks, in_order, lane_of
from glassq.errors import EnqueueError, QueueFull, StorageError
from glassq.model.clock import Clock
from glassq.model.jobs import Appended, NewJob, Receipt
from glassq.policy.retry import full_jitter
from glassq.registry import Registry
from glassq.storage import ShardedStorage, Storage
from glassq.telemetry import Bus, Sending


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
        self._packing = Packing(registry, bus, serializer)
        self._random = random

    def enqueue(self, call: Call) -> Receipt:
        """Store one call. One round trip.

        Raises `TypeError` for arguments the task does not take, `SerializationFailed`, `PayloadTooLarge`
        and `StorageError`; after any of them nothing is stored.
        """
        (receipt,) = self._send((self._packing.pack(call),))
        return receipt

    def enqueue_many(self, calls: Sequence[Call]) -> list[Receipt]:
        """Store calls in this order. One round trip per chunk of 100 jobs or 1 MiB of one queue, or shard.

        All are checked and serialized before the first is stored. Each chunk is contiguous and atomic; when
        one fails, the error's `receipts` holds those of the chunks before it. Receipts come in the order of
        the calls.
        """
        packed = [self._packing.pack(call) for call in calls]
        receipts: dict[int, Receipt] = {}
        for chunk in chunks(packed, self._shard_of):
            try:
                receipts.update(zip(chunk, self._send([packed[index] for index in chunk]), strict=True))
            except EnqueueError as error:
                error.receipts = in_order(receipts)
                raise
            except StorageError as error:
                if not receipts:
                    raise
                failure = EnqueueError(f"{len(receipts)} of {len(calls)} calls were enqueued, then: {error}")
                failure.receipts = in_order(receipts)
                raise failure from error
        return list(in_order(receipts))

    def _shard_of(self, packed: Packed) -> str:
        return self._storage().shard(packed.call.task.queue, lane_of(packed))

    def _send(self, packed: Sequence[Packed]) -> list[Receipt]:
        """Append one chunk, all of one queue."""
        queue = packed[0].call.task.queue
        outgoing = [each.outgoing for each in packed]
        started = perf_counter()
        try:
            storage = self._storage()  # its first use opens it, which is not part of this call's span
            with self._bus.around(Sending(queue, outgoing)):
                answers = self._append(storage, queue, [self._packing.job(each) for each in packed])
                for out, answer in zip(outgoing, answers, strict=True):
                    out.job_id = answer.id
                    out.seq = answer.seq
        except REPORTED as error:
            self._packing.refused(queue, error)
            raise
        seconds = perf_counter() - started
        return [
            self._packing.reported(queue, out, answer, seconds)
            for out, answer in zip(outgoing, answers, strict=True)
        ]

    def _append(self, storage: Storage, queue: str, jobs: Sequence[NewJob]) -> list[Appended]:
        """Append, waiting for room in a full queue as long as its options say."""
        options = self._registry.options(queue)
        most, replicas = options.max_length, options.replicas
        if most is None:
            return storage.append(queue, jobs, replicas=replicas)
        waits = self._waits_for_room(self._clock.monotonic() + options.full_wait)
        while True:
            try:
                return storage.append(queue, jobs, max_length=most, replicas=replicas)
            except QueueFull:
                wait = next(waits, None)
                if wait is None:
                    raise
            self._clock.sleep(wait)

    def _waits_for_room(self, deadline: float) -> Iterator[float]:
        """Seconds to wait before each further try to get into a full queue, until the deadline."""
        tries = 0
        while (remaining := deadline - self._clock.monotonic()) > 0:
            yield min(remaining, full_jitter(tries, self._random(), first=0.01, cap=0.5))
            tries += 1
