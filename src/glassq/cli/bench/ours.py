"""glassq as a program uses it: one task that does nothing, calls to it, and a worker."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import redis
from prometheus_client import CollectorRegistry

from glassq.app import Glassq
from glassq.cli.bench.meters import Tally, Timed, server_cpu

QUEUE = "bench"
CHUNK = 100
PATIENCE = 120.0
"""Seconds for which the jobs of one run are waited for: a queue that stands still is a result, too."""


class Ours(AbstractContextManager["Ours"]):
    """An application with metrics in a registry of its own. `server`: whose CPU is read, if any. `tally`:
    who counts the jobs when another worker than its own runs them."""

    def __init__(
        self,
        url: str,
        server: redis.Redis | None = None,
        *,
        turn: int = 1,
        queue: str = QUEUE,
        tally: Tally | None = None,
    ) -> None:
        self.app = Glassq(url, registry=CollectorRegistry())
        self._server = server
        self.app.queue(queue, turn=turn)
        self._queue = queue
        self._tally = tally or Tally(0)

        @self.app.fifo(queue, name="noop")
        def noop(number: int) -> None:  # noqa: ARG001 - a job has an argument
            self._tally.hit()

        self.noop = noop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.app.close()

    def enqueue(self, jobs: int) -> Timed:
        """One call after the other."""
        self._open()
        server, cpu, wall = server_cpu(self._server), time.process_time(), time.perf_counter()
        for number in range(jobs):
            self.noop(number)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Timed(jobs, wall, cpu, server_cpu(self._server) - server)

    def enqueue_many(self, jobs: int, lanes: int = 1) -> Timed:
        """A hundred calls at a time, spread evenly over lanes."""
        self._open()
        tasks = [self.noop] if lanes == 1 else [self.noop.options(key=f"k{n}") for n in range(lanes)]
        server, cpu, wall = server_cpu(self._server), time.process_time(), time.perf_counter()
        for first in range(0, jobs, CHUNK):
            calls = range(first, min(jobs, first + CHUNK))
            self.app.enqueue_many([tasks[number % lanes].s(number) for number in calls])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Timed(jobs, wall, cpu, server_cpu(self._server) - server)

    def process(self, jobs: int) -> Timed:
        """Run so many of the jobs that are in the queue; what is left of them stays there."""
        self._tally = tally = Tally(jobs)
        before = server_cpu(self._server)
        with self.app.worker():
            tally.wait(PATIENCE)
        return tally.timed(server_cpu(self._server) - before)

    def fill_and_process(self, jobs: int, lanes: int = 1) -> Timed:
        """Put so many jobs in, then run all of them; the running is timed."""
        self.enqueue_many(jobs, lanes)
        return self.process(jobs)

    def fill_up(self, jobs: int) -> None:
        """Put in as many as are missing to so many that wait."""
        (there,) = self.app.storage.stats([self._queue])
        self.enqueue_many(jobs - there.depth)

    def purge(self) -> None:
        """Drop what waits, so that the next run starts from an empty queue."""
        self.app.storage.purge(self._queue, dead=False)

    def _open(self) -> None:
        """Opening the store is not part of the first call's time."""
        self.app.storage.stats([self._queue])
