"""pyfiq's names: those of its repository (`ThreadedWorker`) and of its first version (`threaded_worker`).

Both work on the default application, so a program may mix them with the rest of glassq.
"""

from __future__ import annotations

from glassq.default import ThreadedWorker, fifo

__all__ = ["RedisQueueBackend", "ThreadedWorker", "fifo", "threaded_worker"]


class RedisQueueBackend:
    """Where the queues are, as pyfiq's first version says it. Making one opens nothing."""

    def __init__(self, redis_url: str = "redis://localhost") -> None:
        self.redis_url = redis_url


def threaded_worker(backend: RedisQueueBackend | None = None) -> ThreadedWorker:
    """Work on all queues, those declared later too, in threads of the program (default: `redis://localhost`).

    The worker runs already when it is returned (pyfiq returned nothing): its `stop` ends it. Raises what
    `ThreadedWorker` and its `start` raise.
    """
    chosen = RedisQueueBackend() if backend is None else backend
    return ThreadedWorker(redis_url=chosen.redis_url).start()
