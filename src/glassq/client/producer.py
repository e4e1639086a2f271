"""From a call to a receipt: checked, serialized, wrapped, appended, reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter

from glassq.client.batches import chunks, telling, windows
from glassq.client.following import Edges, edges_elsewhere, follow_or_withdraw
from glassq.client.means import Means
from glassq.client.packing import REPORTED, Call, Packed, Packing
from glassq.client.parents import Homes
from glassq.codec import Place
from glassq.errors import QueueFull
from glassq.model.edges import After
from glassq.model.jobs import Appended, Disposition, NewJob, Receipt
from glassq.model.layouts import shard_of
from glassq.policy.retry import full_jitter
from glassq.storage import ShardedStorage, Storage
from glassq.telemetry import Sending


class Producer:
    """Appends calls to their queues. Thread-safe: the store orders concurrent calls."""

    def __init__(self, means: Means) -> None:
        self._storage = means.storage
        self._registry = means.registry
        self._bus = means.bus
        self._clock = means.clock
        self._packing = Packing(means.registry, means.bus, means.serializer, means.kept_receipt)
        self._random = means.random
        self.homes = Homes()

    def enqueue(self, call: Call) -> Receipt:
        """Store one call. One round trip.

        Raises `TypeError` for arguments the task does not take, `SerializationFailed`, `PayloadTooLarge`
        and `StorageError`; after any of them nothing is stored.
        """
        packed = self._packing.pack(call)
        return self.send((packed,))[0] if packed.after else self._send_one(packed)

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
        for window in windows(calls, self._packing.pack):
            accepted: dict[int, Receipt] = {}
            for chunk in cut(window, self._storage()):
                places = [first + at for at in chunk]
                with telling(accepted, places):
                    accepted.update(zip(places, self.send([window[at] for at in chunk]), strict=True))
            yield [accepted[first + at] for at in range(len(window))]
            first += len(window)

    def pack(self, call: Call, step: Place) -> Packed:
        """A call as a step of a workflow, checked and serialized; raises as `enqueue` does."""
        return self._packing.pack(call, step)

    def send(self, packed: Sequence[Packed]) -> list[Receipt]:
        """Append one chunk, all of one queue, or shard. One round trip, and those of `follow` for jobs that
        come after jobs of other shards."""
        queue = packed[0].queue
        outgoing = [each.outgoing for each in packed]
        started = perf_counter()
        try:
            storage = self._storage()  # its first use opens it, which is not part of this call's span
            if after := after_outside(packed):
                self.homes.check(storage, after)
            with self._bus.around(Sending(queue, outgoing)):
                answers = self._append(storage, queue, [self._packing.job(each) for each in packed])
                for out, answer in zip(outgoing, answers, strict=True):
                    out.job_id = answer.id
                    out.seq = answer.seq
            if edges := edges_of(packed, answers):
                follow_or_withdraw(storage, edges)
        except REPORTED as error:
            self._packing.refused(queue, error)
            raise
        seconds = perf_counter() - started
        return [
            self._packing.reported(each, answer, seconds)
            for each, answer in zip(packed, answers, strict=True)
        ]

    def _send_one(self, packed: Packed) -> Receipt:
        """The same for one call that comes after no other, as nearly all do."""
        queue, out = packed.call.task.queue, packed.outgoing
        started = perf_counter()
        try:
            storage = self._storage()
            with self._bus.around(Sending(queue, (out,))):
                (answer,) = self._append(storage, queue, (self._packing.job(packed),))
                out.job_id = answer.id
                out.seq = answer.seq
        except REPORTED as error:
            self._packing.refused(queue, error)
            raise
        return self._packing.reported(packed, answer, perf_counter() - started)

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


def cut(window: Sequence[Packed], storage: ShardedStorage) -> list[list[int]]:
    """The places of calls that go into one append each: those of one queue, or shard. Asks the store how
    queues are cut that this process does not know yet."""
    return chunks(window, lambda packed: shard_of(storage.shards(packed.queue), packed.lane))


def after_outside(packed: Sequence[Packed]) -> list[After]:
    """The jobs that calls come after which are no steps of a workflow; of those its submission takes care."""
    return [after for each in packed if each.after and each.outgoing.flow is None for after in each.after]


def edges_of(packed: Sequence[Packed], answers: Sequence[Appended]) -> Edges:
    """The edges that lead from jobs which were stored to jobs of other shards."""
    created = zip(packed, answers, strict=True)
    return edges_elsewhere(
        (answer.id, each.after)
        for each, answer in created
        if each.after and answer.disposition is Disposition.CREATED
    )
