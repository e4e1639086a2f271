"""What is read off while something runs: time, and CPU of both sides."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from itertools import count
from typing import Any

import msgspec
import redis


class MeasureFailed(Exception):
    """When a measure cannot be finished; the text says what did not happen."""


class Timed(msgspec.Struct, frozen=True):
    """One run of something: how many jobs, how long, CPU seconds of this process and of the server."""

    jobs: int
    seconds: float
    client_cpu: float = 0.0
    server_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Jobs a second."""
        return self.jobs / self.seconds

    @property
    def client_micros(self) -> float:
        """Microseconds of CPU a job took in this process."""
        return self.client_cpu / self.jobs * 1e6

    @property
    def server_micros(self) -> float:
        """Microseconds of CPU a job took in the server."""
        return self.server_cpu / self.jobs * 1e6


def added_up(runs: Iterable[Timed]) -> Timed:
    """Several runs as one."""
    return Timed(*map(sum, zip(*map(msgspec.structs.astuple, runs), strict=True)))


class Tally:
    """Counts jobs as they start and keeps the time from the first to the last that is expected."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._numbers = count(1)
        self._done = threading.Event()
        self._began = self._ended = (0.0, 0.0)
        self._seen = 0

    def hit(self) -> bool:
        """A job starts; True for the last one that is expected. From any thread: taking a number is one step
        of the interpreter."""
        number = next(self._numbers)
        self._seen = number
        if number == 1:
            self._began = (time.perf_counter(), time.process_time())
        if number == self._expected:
            self._ended = (time.perf_counter(), time.process_time())
            self._done.set()
        return number == self._expected

    def wait(self, patience: float) -> None:
        """Until the last expected job started; `MeasureFailed` after `patience` seconds."""
        if not self._done.wait(patience):
            raise MeasureFailed(f"{self._seen:,} of {self._expected:,} jobs ran within {patience:.0f} s")

    def timed(self, server_cpu: float = 0.0) -> Timed:
        """First start to last start, which is one job less than were expected."""
        jobs = max(1, self._expected - 1)
        wall, cpu = (end - begin for begin, end in zip(self._began, self._ended, strict=True))
        # The server was also busy for jobs past the last expected one.
        return Timed(jobs, max(wall, 1e-9), cpu, server_cpu * jobs / max(jobs, self._seen))


def server_cpu(client: redis.Redis | None) -> float:
    """CPU seconds the server has used so far; 0 without one."""
    if client is None:
        return 0.0
    used: dict[str, Any] = client.info("cpu")
    return float(used["used_cpu_sys"]) + float(used["used_cpu_user"])
