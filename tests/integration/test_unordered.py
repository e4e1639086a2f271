"""`key=glassq.UNORDERED`: every job is its own lane, and all else holds as for any other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry

import glassq
from glassq import Glassq
from glassq.errors import BadOption
from glassq.model.jobs import NewJob
from glassq.stores.open import open_storage
from glassq.testing.history import check, dump, read


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


def test_each_job_is_a_lane(app: Glassq) -> None:
    """By the decorator, for one call, by a callable; one by one and many at a time."""

    @app.fifo("q", name="always", key=glassq.UNORDERED)
    def always() -> None: ...

    @app.fifo("q", name="sometimes", key=lambda key: key or glassq.UNORDERED)
    def sometimes(key: str) -> None: ...

    @app.fifo("q", name="never")
    def never() -> None: ...

    receipts = [always(), always(), never.options(key=glassq.UNORDERED)(), sometimes(""), sometimes("")]
    receipts += app.enqueue_many([always.s(), never.options(key=glassq.UNORDERED).s()])
    signature = always.s()
    receipts += app.enqueue_many([signature, signature])
    keys = [receipt.key for receipt in receipts]
    assert len(set(keys)) == len(keys) == 9
    assert all(key and key.startswith("~") and len(key) == 13 for key in keys)
    assert sometimes("a").key == "a"
    assert never().key is None
    (stats,) = app.storage.stats(["q"])
    assert sum(stats.lanes.values()) == 11
    assert app.worker().run_until_idle(20)


def test_jobs_of_one_task_run_side_by_side(app: Glassq) -> None:
    """A slow one holds up none behind it, as long as there are threads."""
    meet = threading.Barrier(3)

    @app.fifo("q", key=glassq.UNORDERED)
    def work() -> None:
        meet.wait(10)

    for _ in range(3):
        work()
    assert app.worker(concurrency=3).run_until_idle(20)
    assert not meet.broken


def test_a_job_that_fails_is_tried_again_and_holds_up_nothing(app: Glassq) -> None:
    """Its lane waits and halts as any lane does, and is named to whoever looks."""
    runs: list[int] = []

    @app.fifo("q", key=glassq.UNORDERED, max_retries=1, retry_wait=0.05, on_exhausted="halt")
    def work(number: int) -> None:
        runs.append(number)
        if number == 0 and runs.count(0) < 3:
            raise RuntimeError("not yet")

    receipts = [work(number) for number in range(4)]
    with app.worker(concurrency=1) as worker:
        assert worker.run_until_idle(20)
        (halted,) = app.queue("q").halted()
        assert (halted.head, halted.key) == (receipts[0].id, receipts[0].key)
        app.queue("q").retry(halted.key)
        assert worker.run_until_idle(20)
    assert runs.count(0) == 3
    assert [number for number in runs if number] == [1, 2, 3]


def test_a_unique_call_is_one_by_its_arguments(app: Glassq) -> None:
    """Its lane is no part of what it does."""

    @app.fifo("q", key=glassq.UNORDERED)
    def work(number: int) -> None: ...

    once = work.options(unique=True)
    first = once(1)
    assert once(1).id == first.id
    assert once(2).id != first.id


def test_it_can_be_cancelled_by_its_receipt(app: Glassq) -> None:
    """Which names its lane, as any receipt does."""

    @app.fifo("q", key=glassq.UNORDERED)
    def work() -> None: ...

    assert app.cancel(work()) == "removed"
    assert app.worker().run_until_idle(20)


def test_a_history_of_unordered_jobs_is_sound(store_url: str, tmp_path: Path) -> None:
    """The checker judges them lane by lane, and finds nothing to object to."""
    history = tmp_path / "history"
    with Glassq(store_url, registry=CollectorRegistry(), history=history) as app:

        @app.fifo("q", key=glassq.UNORDERED)
        def work(number: int) -> None: ...

        app.enqueue_many([work.s(number) for number in range(50)])
        assert app.worker().run_until_idle(20)
        dump(app.storage, history)
    report = check(read([history]))
    assert report.clean, report.findings
    assert (report.figures["lanes"], report.figures["starts"]) == (50, 50)


def test_what_is_no_key_is_refused(app: Glassq) -> None:
    """With what there is to choose from."""
    with pytest.raises(BadOption, match=r"glassq\.UNORDERED"):

        @app.fifo("q", key=7)  # type: ignore[arg-type]
        def work() -> None: ...


def test_a_hundred_thousand_lanes_cost_less_than_700_bytes_a_job(redis_url: str) -> None:
    """Memory of the server for one waiting job of 123 bytes in each; nothing is left once they are gone."""
    with redis.Redis.from_url(redis_url) as server:
        server.flushall()

        def used() -> int:
            server.memory_purge()
            return int(server.info("memory")["used_memory"])

        store = open_storage(redis_url)
        store.append("q", [NewJob(body=b"x" * 123, lane="~warm-up-0123")])
        before, jobs = used(), 100_000
        for first in range(0, jobs, 100):
            lanes = [f"~{number:012}" for number in range(first, first + 100)]
            store.append("q", [NewJob(body=b"x" * 123, lane=lane) for lane in lanes])
        per_job = (used() - before) / jobs
        store.close()
        server.flushall()
    assert per_job <= 700, per_job
