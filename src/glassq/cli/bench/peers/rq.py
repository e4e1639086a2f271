"""RQ, with its worker that does not fork for each job: the faster of the two."""

from __future__ import annotations

import redis
from rq import Queue, SimpleWorker

from glassq.cli.bench.peers.trial import Steps, job


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - files are for those who need them
    """A queue and a simple worker."""
    connection = redis.Redis.from_url(url)
    queue = Queue("bench", connection=connection)
    worker = SimpleWorker([queue], connection=connection)
    return Steps(
        enqueue=lambda number: queue.enqueue(job, number),
        work=lambda: worker.work(burst=True, logging_level="ERROR"),
    )
