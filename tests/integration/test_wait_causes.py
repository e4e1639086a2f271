"""A real worker counts what its jobs waited for: the parts sum to the time in queue."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.context import current_job
from glassq.model.events import AttemptStarted
from glassq.observe.catalogue import WAIT_CAUSES

JOBS = 6
WAIT = 0.2


def test_the_parts_sum_to_the_time_in_queue(store_url: str) -> None:
    """Jobs of two keys, one thread, heads that fail once, and nobody who serves them at first."""
    registry, told = CollectorRegistry(), list[AttemptStarted]()
    with Glassq(store_url, registry=registry) as app:

        @app.fifo("orders", key="customer", max_retries=1, retry_wait=WAIT)
        def charge(customer: str, number: int) -> None:
            if number == 0 and current_job().attempt == 1:
                raise ValueError(number)

        app.bus.subscribe(told.append, AttemptStarted)
        for number in range(JOBS // 2):
            for customer in "ab":
                charge(customer, number)
        assert app.worker(concurrency=1).run_until_idle(timeout=10)

    def value(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"glassq_{name}", {"queue": "orders", **labels}) or 0.0

    parts = {cause: value("job_wait_seconds_total", cause=cause) for cause in WAIT_CAUSES}
    assert value("job_time_in_queue_seconds_count") == JOBS
    assert sum(parts.values()) == pytest.approx(value("job_time_in_queue_seconds_sum"))
    assert parts["no_worker"] > 0
    assert parts["backoff"] >= WAIT
    assert [event.waits is not None for event in told] == [event.attempt == 1 for event in told]
