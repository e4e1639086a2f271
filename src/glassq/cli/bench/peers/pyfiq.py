"""pyfiq as the index has it: a list on Redis and one thread for each function."""

from __future__ import annotations

from pyfiq import RedisQueueBackend, fifo, threaded_worker
from pyfiq.manager import mgr

from glassq.cli.bench.peers.trial import Steps, job


def set_up(url: str, directory: str) -> Steps:  # noqa: ARG001 - files are for those who need them
    """A queue with one function; starting the worker would name the backend, too, but runs jobs at once."""
    backend = mgr.backend = RedisQueueBackend(url)
    return Steps(enqueue=fifo("bench")(job), work=lambda: threaded_worker(backend=backend))
