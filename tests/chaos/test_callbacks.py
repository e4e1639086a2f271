"""Callbacks, observers, Arounds, log handlers and exporters that raise, sleep or hang decide nothing."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from tests.chaos.conftest import Stages
from tests.chaos.stage import Stage

WATCHING = "tests.chaos.watching"


@pytest.fixture
def deaf_collector() -> Iterator[socket.socket]:
    """A trace collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_what_raises_changes_nothing(store_url: str, stages: Stages) -> None:
    """Every observer, Around, log handler and callback raises, also what would end a thread: each job runs
    once, ends as it would have and is told once, and the worker ends in peace."""
    stage = stages(store_url, WATCHING="errors")
    stage.complaints_expected = True
    serve(stage, 8)
    assert ends_with_nothing_left(stage) == {"succeeded": 8, "buried": 8}
    assert len(stage.events("start")) == 16
    told = [event["id"] for event in stage.events("callback")]
    assert len(told) == len(set(told)) == 16


def test_what_sleeps_costs_no_lease(store_url: str, stages: Stages, deaf_collector: socket.socket) -> None:
    """Observers (of calls that renew leases, too), log handlers and callbacks that sleep for over a lease,
    and a collector that never answers: no lane is lost to the standby, nothing runs twice."""
    port = deaf_collector.getsockname()[1]
    stage = stages(store_url, WATCHING="1.6", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
    serve(stage, 1)
    assert stage.events("logged"), "the log was never used"
    assert {"claimed", "renew"} <= {event["observer"] for event in stage.events("slept")}
    deaf_collector.settimeout(0)
    connection, _ = deaf_collector.accept()  # raises where no exporter ever came
    connection.close()
    assert ends_with_nothing_left(stage) == {"succeeded": 1, "buried": 1}
    assert len(stage.events("start")) == 2
    assert not stage.events("lease.lost", "settle.fenced")


def serve(stage: Stage, jobs: int) -> None:
    """Have two workers settle so many jobs of each kind, and end."""
    assert stage.start("call", str(jobs), module=WATCHING).wait() == 0
    workers = [stage.start("work", module=WATCHING) for _ in range(2)]
    # The first may serve everything before the second has come to wait for its signal.
    stage.wait_for(lambda: len(stage.events("worker.listening")) == len(workers), "all workers")
    stage.wait_for(lambda: len(stage.events("callback")) == 2 * jobs, "the last callback")
    for worker in workers:
        worker.signal(signal.SIGTERM)
    assert [worker.wait() for worker in workers] == [0, 0]


def ends_with_nothing_left(stage: Stage) -> dict[str, int]:
    """What became of the jobs."""
    stage.check_history()
    with Glassq(stage.url, registry=CollectorRegistry()) as app:
        stats = app.queue("watched").stats()
    assert stats.depth == 0
    return {outcome: count for outcome, count in stats.settled.items() if count}
