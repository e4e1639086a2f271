"""A thousand keys, half of all jobs on one of them: the others hardly notice.

`GLASSQ_TEST_SKEW=<jobs per key>` measures more of it; with `--log-cli-level=INFO` it tells what stands in
`docs/explanation/fairness.md`.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import redis
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.client.task import Task

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

KEYS: Final = 1000
JOBS: Final = int(os.environ.get("GLASSQ_TEST_SKEW", "10"))
"""Of each key; the hot one has as many as all others together, or as each of them. Where a worker stands
still for a moment, its lanes fall back by a turn: of five turns that would be a fifth, and say little of how
turns are shared."""
HOT: Final = "hot"


class Run:
    """When which key ran a job, in seconds since the workers started."""

    def __init__(self, url: str, workers: int, slots: int, calls: list[str]) -> None:
        self.ran: list[tuple[float, str]] = []
        with ExitStack() as stack:
            apps = [stack.enter_context(Glassq(url, registry=CollectorRegistry())) for _ in range(workers)]
            tasks = [self._task(app) for app in apps]
            for first in range(0, len(calls), 100):
                apps[0].enqueue_many([tasks[0].s(key) for key in calls[first : first + 100]])
            self._began = time.monotonic()
            for app in apps:
                app.worker(concurrency=slots).start()
            deadline = self._began + 300
            while len(self.ran) < len(calls):
                assert time.monotonic() < deadline, f"{len(self.ran)} of {len(calls)} ran"
                time.sleep(0.01)

    def _task(self, app: Glassq) -> Task[[str], None]:
        @app.fifo("q", key="key", name="work")
        def work(key: str) -> None:
            self.ran.append((time.monotonic() - self._began, key))

        return work

    def p99(self) -> float:
        """Of all keys but the hot one the worst, by the wait that 99% of its jobs did not exceed."""
        waits: dict[str, list[float]] = {}
        for wait, key in self.ran:
            waits.setdefault(key, []).append(wait)  # ascending, as they ran
        return max(each[len(each) * 99 // 100] for key, each in waits.items() if key != HOT)

    def evenness(self) -> float:
        """Jain's index of the turns of all keys, up to the moment when the first of them had no more jobs."""
        total = Counter(key for _, key in self.ran)
        turns: Counter[str] = Counter(dict.fromkeys(total, 0))
        for _, key in self.ran:
            turns[key] += 1
            if turns[key] == total[key]:
                break
        counts = list(turns.values())
        return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))


@pytest.mark.parametrize(("workers", "slots"), [(1, 1), (4, 4)])
@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_a_key_with_half_of_all_jobs_delays_the_others_little(
    store: str, redis_url: str, tmp_path: Path, workers: int, slots: int
) -> None:
    """The wait of every other key is at most twice what it is when the hot one has as few jobs as they have,
    and turns are shared evenly (Jain's index at least 0.99) while all keys have jobs."""
    keys = [f"k{number}" for number in range(KEYS - 1)]

    def place(name: str) -> str:
        if store == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.db"
        with redis.Redis.from_url(redis_url) as server:
            server.flushall()
        return redis_url

    calls = [key for _ in range(JOBS) for key in keys]
    uniform = Run(place("uniform"), workers, slots, [HOT] * JOBS + calls)
    skewed = Run(place("skewed"), workers, slots, [HOT] * len(calls) + calls)
    ratio = skewed.p99() / uniform.p99()
    log.info(
        "%s, %dx%d: p99 %.2f s, with the hot key %.2f s (%.2fx); evenness %.4f, %.4f; %.0f, %.0f jobs/s",
        store,
        workers,
        slots,
        uniform.p99(),
        skewed.p99(),
        ratio,
        uniform.evenness(),
        skewed.evenness(),
        len(uniform.ran) / uniform.ran[-1][0],
        len(skewed.ran) / skewed.ran[-1][0],
    )
    assert ratio <= 2
    assert uniform.evenness() >= 0.99
    assert skewed.evenness() >= 0.99
