"""Redis is killed and comes back, while producers and workers go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.errors import StorageUnavailable
from glassq.stores.open import open_storage
from tests.conformance.redisservers import free_port, running, system_server
from tests.integration.processes import staged

AOF = ("--appendonly", "yes", "--appendfsync", "everysec")
ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
"""With `everysec` a server whose last fsync still runs answers before it writes: `kill -9` loses that."""


@pytest.mark.slow
def test_a_killed_server_that_comes_back_costs_nothing(tmp_path: Path) -> None:
    """`kill -9` of the server under load, twice: every acknowledged job runs, in its order; the workers come
    back by themselves, and each call of a producer got a receipt or an error."""
    port = free_port()
    with staged(tmp_path, f"redis://127.0.0.1:{port}/0", LEASE="2") as stage:
        with running(system_server(), tmp_path, *AOF, port=port):
            producers = [stage.start("insist", f"p{index}", "400", "0.002") for index in range(2)]
            for _ in range(2):
                stage.worker()
            stage.wait_for(lambda: len(stage.entries("end")) >= 150, "some jobs")
        with running(system_server(), tmp_path, *AOF, port=port):
            stage.wait_for(lambda: len(stage.entries("end")) >= 400, "more jobs after the first outage")
        with running(system_server(), tmp_path, *AOF, port=port) as url:
            assert [producer.wait(timeout=60) for producer in producers] == [0, 0]
            acknowledged = {entry["id"]: entry["seq"] for entry in stage.entries("enqueued")}
            stage.wait_for(
                lambda: acknowledged.keys() <= {entry["id"] for entry in stage.entries("end")},
                "every acknowledged job",
                timeout=60,
            )
            stage.wait_for(lambda: open_stats(url) == (0, 0), "the store to say so")

    answered = stage.entries("enqueued", "uncertain", "refused")
    assert len(answered) == 800, "a call got neither a receipt nor an error"
    assert len(acknowledged) >= 400
    seen: set[str] = set()
    first = [e["seq"] for e in stage.entries("start") if not (e["id"] in seen or seen.add(e["id"]))]  # type: ignore[func-returns-value]
    assert first == sorted(first), "reordered"
    asked = {entry["id"] for entry in stage.entries("enqueued", "uncertain")}
    assert {entry["id"] for entry in stage.entries("start")} <= asked, "a job nobody was told of"


def test_a_server_that_comes_back_is_counted(tmp_path: Path) -> None:
    """One outage is one reconnect, as a scrape shows it, however many calls failed meanwhile."""
    port = free_port()

    def reconnects() -> float | None:
        return registry.get_sample_value("glassq_storage_reconnects_total", {"store": "redis"})

    registry = CollectorRegistry()
    with Glassq(f"redis://127.0.0.1:{port}/0", registry=registry) as app:
        with running(system_server(), tmp_path, *ALWAYS, port=port):
            app.queue("payments").pause()
            assert reconnects() == 0
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                app.queue("payments").stats()
        assert reconnects() == 0
        with running(system_server(), tmp_path, *ALWAYS, port=port):
            assert app.queue("payments").stats().paused_whole
            assert app.queue("payments").stats().paused_whole
            assert reconnects() == 1


def open_stats(url: str) -> tuple[int, int]:
    """What is left in the queue: jobs and lanes."""
    storage = open_storage(url)
    try:
        stats = storage.stats(["ledger"])[0]
    finally:
        storage.close()
    return stats.depth, sum(stats.lanes.values())
