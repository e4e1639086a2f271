"""The reference loops as contestants: each run is timed, and leaves nothing behind."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from glassq.cli.bench import loops
from glassq.cli.bench.meters import Timed, server_cpu


class RawLoops:
    """Producers and consumers over one client, in a stream of their own."""

    def __init__(self, client: redis.Redis, stream: str) -> None:
        self._client = client
        self._stream = stream

    def add_one(self, jobs: int) -> Timed:
        """XADD, one round trip each."""
        return self._timed(jobs, lambda: loops.add_one_by_one(self._client, self._stream, jobs))

    def add_piped(self, jobs: int) -> Timed:
        """XADD in pipelines of a hundred."""
        return self._timed(jobs, lambda: loops.add_piped(self._client, self._stream, jobs))

    def read_window(self, jobs: int) -> Timed:
        """The reference loop."""
        return self._consumed(jobs, loops.WINDOW)

    def read_one(self, jobs: int) -> Timed:
        """XREADGROUP 1, run, XACK."""
        return self._consumed(jobs, 1)

    def _consumed(self, jobs: int, window: int) -> Timed:
        loops.prepare(self._client, self._stream, jobs)
        return self._timed(jobs, lambda: loops.consume(self._client, self._stream, window))

    def _timed(self, jobs: int, work: Callable[[], object]) -> Timed:
        server, cpu, wall = server_cpu(self._client), time.process_time(), time.perf_counter()
        work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        taken = Timed(jobs, wall, cpu, server_cpu(self._client) - server)
        self._client.delete(self._stream)
        return taken
