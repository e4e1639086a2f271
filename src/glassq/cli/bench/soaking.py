"""A soak: round after round of jobs in lanes that never were before, and what is held when all is done."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import redis
from prometheus_client import CollectorRegistry

from glassq.app import Glassq
from glassq.cli.bench.meters import MeasureFailed
from glassq.cli.bench.ours import PATIENCE
from glassq.cli.bench.resident import open_descriptors, resident_bytes

QUEUE = "bench-soak"
_FAILING, _DELAYED = 50, 100
"""One job in so many fails once; one in so many is delayed."""
_DELAY = 0.01
_CHUNK = 100
_LEAST_ROUNDS = 4
"""However slow the machine is: a beginning, a middle and an end."""


class Held(msgspec.Struct, frozen=True):
    """What is held while nothing is left to do. `seconds` since the beginning, after so many `jobs` in all;
    `server` is the memory that the server uses."""

    seconds: float
    jobs: int
    resident: int
    descriptors: int
    server: int


def soak(url: str, server: str, lanes: int, seconds: float) -> Iterator[Held]:
    """For so long rounds of two jobs in each lane, of which some fail once and some are delayed; each round
    with a worker of its own. After each round, what is held; `server` is whose memory is asked for."""
    began, jobs = time.monotonic(), 0
    with Glassq(url, registry=CollectorRegistry()) as app, redis.Redis.from_url(server) as client:
        failed: set[int] = set()

        @app.fifo(QUEUE, key="key", name="soaked", max_retries=1, retry_wait=0)
        def soaked(key: str, number: int) -> None:  # noqa: ARG001 - the key is its lane
            if number % _FAILING == 0 and number not in failed:
                failed.add(number)
                raise ValueError(number)

        while time.monotonic() < began + seconds or jobs < _LEAST_ROUNDS * 2 * lanes:
            calls = [soaked.s(f"lane-{number // 2}", number) for number in range(jobs, jobs + 2 * lanes)]
            for first in range(0, len(calls), _CHUNK):
                app.enqueue_many(calls[first : first + _CHUNK])
            for number in range(jobs, jobs + 2 * lanes, _DELAYED):
                soaked.options(delay=_DELAY)(f"lane-{number // 2}", number + 1)
            jobs += len(calls)
            _run_all(app)
            failed.clear()
            gc.collect()
            memory: Any = client.info("memory")
            used = int(memory["used_memory"])
            yield Held(time.monotonic() - began, jobs, resident_bytes(), open_descriptors(), used)


def _run_all(app: Glassq) -> None:
    """Until nothing waits, delayed jobs included."""
    ends = time.monotonic() + PATIENCE
    while any(stats.depth for stats in app.storage.stats([QUEUE])):
        if time.monotonic() > ends:
            raise MeasureFailed(f"the jobs of a round were not done within {PATIENCE:.0f} s")
        app.worker([QUEUE]).run_until_idle(PATIENCE)
