"""What an idle worker does when work comes in, and when it is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

import pytest
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.model.events import AttemptStarted, LaneLeft, StorageCalled
from tests.processes import wait_until

PATIENCE = 20
LONG = 0.12
JOBS = 5
WARM_UP = 3


@pytest.fixture
def app(store_url: str) -> Iterator[Glassq]:
    """An application on an empty store of each kind, with metrics of its own."""
    with Glassq(store_url, registry=CollectorRegistry()) as app:
        yield app


def test_one_wake_up_is_one_claim(app: Glassq) -> None:
    """Not another one when the lane is taken up, nor when it is done with: whatever is ready by then has
    rung, and each claim competes with jobs for the interpreter and the store."""
    claims: list[str] = []
    rested: SimpleQueue[None] = SimpleQueue()

    @app.fifo("q")
    def work() -> None:
        pass

    def count(event: StorageCalled) -> None:
        if event.operation == "claim":
            claims.append(event.operation)

    app.bus.subscribe(count, StorageCalled)
    with app.worker() as worker:
        pool = worker._pool
        freed = pool._on_free

        def rest() -> None:
            freed()
            rested.put(None)

        pool._on_free = rest
        for _ in range(WARM_UP):  # what rang when it started is over by then
            work()
            rested.get(timeout=PATIENCE)
        before = len(claims)
        for _ in range(JOBS):
            work()
            rested.get(timeout=PATIENCE)
    assert len(claims) - before == JOBS


def test_lanes_left_for_want_of_a_thread_are_taken_when_one_is_free(app: Glassq) -> None:
    """Nobody rings for those again: they were ready before the worker could take them."""
    may_end, began = threading.Semaphore(0), SimpleQueue[str]()

    @app.fifo("q", key="name")
    def work(name: str) -> None:
        began.put(name)
        assert may_end.acquire(timeout=PATIENCE)

    with app.worker(concurrency=1):
        for name in ("a", "b", "c"):
            work(name)
        served = []
        for _ in range(3):
            served.append(began.get(timeout=PATIENCE))
            may_end.release()
    assert served == ["a", "b", "c"]


def test_an_idle_worker_shows_no_lanes(app: Glassq) -> None:
    """Once its last job is done: its heartbeat does not wait for the next claim."""
    left: SimpleQueue[LaneLeft] = SimpleQueue()
    may_end = threading.Event()

    @app.fifo("q")
    def work() -> None:
        assert may_end.wait(PATIENCE)

    def held() -> float | None:
        return app.metrics_registry.get_sample_value("glassq_lanes_held", {"queue": "q"})

    app.bus.subscribe(left.put, LaneLeft)
    with app.worker():
        work()
        wait_until(lambda: held() == 1, "a lane that is shown as held", held)
        may_end.set()
        left.get(timeout=PATIENCE)
        wait_until(lambda: held() == 0, "no lane that is shown as held", held)


def test_beginnings_are_told_late_only_where_jobs_are_quick(app: Glassq) -> None:
    """To the patient: nothing that can wait comes before the job a worker was woken for. But where jobs of
    its queue take long, what is told of one would come as late as it ends."""
    told: list[str] = []
    known: list[int] = []
    left: SimpleQueue[LaneLeft] = SimpleQueue()

    @app.fifo("q")
    def work(seconds: float) -> None:
        known.append(len(told))
        time.sleep(seconds)

    def together(run: Sequence[AttemptStarted]) -> None:
        told.extend([each.job_id for each in run])

    app.bus.subscribe(lambda event: told.append(event.job_id), AttemptStarted, together=together)
    app.bus.subscribe(left.put, LaneLeft)
    with app.worker():
        for number, seconds in enumerate((LONG, LONG, 0, 0), 1):
            work(seconds)
            left.get(timeout=PATIENCE)
            assert len(told) == number
    assert known == [0, 2, 3, 3]
