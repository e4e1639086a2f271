"""The same machinery with nobody watching: what telemetry costs is the difference.

There is no switch for this in the library, so the parts are put together here, without bus listeners.
"""

from __future__ import annotations

import random

from glassq.cli.bench.meters import Tally, Timed
from glassq.cli.bench.ours import CHUNK, PATIENCE, QUEUE, Ours
from glassq.client.means import Means
from glassq.client.producer import Producer
from glassq.codec import JsonSerializer
from glassq.model.leases import Owner
from glassq.registry import Registry
from glassq.stores.open import open_storage
from glassq.stores.sharded import ShardedQueues
from glassq.systemclock import SystemClock
from glassq.telemetry import Bus
from glassq.worker.engine import Worker
from glassq.worker.options import WorkerOptions


def fill_and_process_unseen(url: str, jobs: int) -> Timed:
    """What `Ours.fill_and_process` does, without metrics, health, spans and timing of the store."""
    bus, clock, storage = Bus(), SystemClock(), ShardedQueues(open_storage(url))
    serializer = JsonSerializer().name
    registry = Registry(bus)
    tally = Tally(jobs)
    with Ours(url, tally=tally) as declared:  # used to declare the task, not to run it
        registry.add(declared.noop.definition)
        producer = Producer(
            Means(
                storage=lambda: storage,
                registry=registry,
                bus=bus,
                clock=clock,
                serializer=serializer,
                random=random.random,
            )
        )
        for first in range(0, jobs, CHUNK):
            numbers = range(first, min(jobs, first + CHUNK))
            producer.enqueue_many([declared.noop.s(number).enclosed for number in numbers])
        worker = Worker(
            registry=registry,
            storage=lambda: storage,
            bus=bus,
            clock=clock,
            owner=Owner("bench", "bare"),
            options=WorkerOptions(queues=(QUEUE,)),
            serializer=serializer,
            random=random.random,
        )
        with worker:
            tally.wait(PATIENCE)
    storage.close()
    return tally.timed()
