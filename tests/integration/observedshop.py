"""The shop of docker-compose.yml without containers: real Redis, producer, two workers, real Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from glassq.cli.demo.otlp import SpanCollector
from tests.conformance.redisservers import free_port
from tests.integration.monitored import Prometheus, scraping
from tests.integration.theatre import EXAMPLES, Theatre

MINUTE = 60
HAPPENED = {
    "a job was given up": "glassq_dead_letter_jobs > 0",
    "a lane halted": 'glassq_queue_lanes{state="halted"} > 0',
    "a job waits for its time": 'glassq_queue_depth{state="scheduled"} > 0',
    "a workflow ended": "glassq_workflow_duration_seconds_count > 0",
    "a job was tried again": "glassq_job_retries_total > 0",
    "the pace is known": "glassq_queue_drain_seconds_estimate",
    "there is enough to look back on": f"count_over_time(up[2m]) >= {MINUTE}",
}
"""What the shop does within a minute, as Prometheus shows it."""


@contextmanager
def observed_shop(folder: Path, redis_url: str) -> Iterator[tuple[Prometheus, SpanCollector]]:
    """The shop after about a minute: orders come in and are worked off, with retries, dead letters, delayed
    jobs and a lane that halted."""
    with SpanCollector() as collector, closing(Theatre(folder, redis_url, "stack", collector)) as theatre:
        theatre.start("shop", str(EXAMPLES / "stack/producer.py"), PORT=str(free_port()), RATE="8")
        workers = [theatre.worker("shop:app", name, ACME="down") for name in ("worker-a", "worker-b")]
        addresses = [theatre.address("shop"), *workers]
        with scraping(folder, [address.partition("//")[2] for address in addresses]) as prometheus:
            for what, expression in HAPPENED.items():
                happened = partial(prometheus.series, expression)
                prometheus.wait_until(happened, what, partial(prometheus.series, "up"), 150)
            yield prometheus, collector
