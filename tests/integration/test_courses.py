"""A lane that is run ahead on a course, and one whose settlements are sent one by one, come to the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import redis
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.model.events import AttemptFailed, AttemptSettled, AttemptStarted, LaneLeft, StorageCalled
from glassq.model.leases import Owner, Settlement
from glassq.stores.redis.course import RedisCourse
from glassq.stores.redis.store import RedisStorage
from glassq.stores.sqlite.course import SqliteCourse
from glassq.stores.sqlite.store import SqliteStorage

KINDS = ("quick",) * 12 + ("slow", "fails_once", "fails", "told", "expires")
KEYS = ("a", "b", "c")
COUNTED = (
    *("glassq_jobs_processed", "glassq_job_attempts", "glassq_job_failures", "glassq_jobs_buried"),
    *("glassq_job_retries", "glassq_job_processing_duration", "glassq_job_time_in_queue"),
    *("glassq_job_end_to_end", "glassq_trace_contexts", "glassq_order_violations"),
)
"""What is counted of each job, and does not depend on time."""


class Play(NamedTuple):
    """What came of a program: what each lane told, what is left in the store, and how much was counted."""

    lanes: dict[str, list[tuple[object, ...]]]
    dead: list[int]
    left: dict[str, int]
    counted: dict[str, float]
    stored: int


class Store(NamedTuple):
    """Whose courses are tried, and where it is found, empty."""

    storage: type[Any]
    course: type[Any]
    empty: Callable[[], str]


@pytest.fixture(params=["redis", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each store in turn."""
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_url")

        def emptied() -> str:
            with redis.Redis.from_url(url) as client:
                client.flushall()
            return url

        return Store(RedisStorage, RedisCourse, emptied)
    names = iter(range(9))
    return Store(SqliteStorage, SqliteCourse, lambda: f"sqlite:///{tmp_path}/{next(names)}.db")


@pytest.mark.parametrize("seed", range(4))
def test_a_course_comes_to_what_single_settlements_come_to(
    store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random programs, run both ways: the same attempts in the same order in each lane, with the same ends,
    and the same in the store and in the metrics. What goes in one message is one call, and what does depends
    on which lanes are ready at a time: so each end is counted."""
    begun: list[str] = []
    course, send, settle_together = store.storage.course, store.course.send, store.storage.settle_together
    with_others = [0]

    def sending(self: Any, job_id: str, next_id: str) -> int | None:
        heard: int | None = send(self, job_id, next_id)
        if heard is not None:
            begun.append(job_id)
        return heard

    def settling(self: Any, owner: Owner, settlements: Sequence[Settlement]) -> Any:
        with_others[0] += len(settlements) - 1
        return settle_together(self, owner, settlements)

    def played() -> Play:
        with_others[0] = 0
        played = play(store.empty(), Random(seed))
        return played._replace(stored=played.stored + with_others[0])

    monkeypatch.setattr(store.storage, "settle_together", settling)
    monkeypatch.setattr(store.course, "send", sending)
    together = played()
    assert len(begun) > 50
    begun.clear()

    def none(self: Any, owner: Owner, settlement: Settlement, *, others: bool) -> None:
        assert course(self, owner, settlement, others=others) is not None

    monkeypatch.setattr(store.storage, "course", none)
    singly = played()
    assert begun == []
    assert together == singly


@pytest.mark.parametrize("kinds", [("quick",), KINDS[:-1]], ids=["quick", "any"])
def test_what_began_is_told_before_its_end_to_those_who_are_patient(
    store: Store, kinds: tuple[str, ...]
) -> None:
    """Over several windows, by whichever way a job goes: each once, in the order of the lane."""
    app, chance = Glassq(store.empty(), registry=CollectorRegistry()), Random(7)
    tasks, told, runs = declare(app), list[tuple[str, str]](), list[int]()

    def hear(event: Any) -> None:
        told.append((type(event).__name__, event.job_id))

    def hear_all(run: Any) -> None:
        runs.append(len(run))
        for event in run:
            hear(event)

    app.bus.subscribe(hear, AttemptStarted, AttemptSettled, together=hear_all)
    jobs = [tasks[chance.choice(kinds)](number).id for number in range(300)]
    with app.worker(concurrency=1) as worker:
        assert worker.run_until_idle(timeout=30)
    app.close()
    for job in jobs:
        assert told.index(("AttemptStarted", job)) < told.index(("AttemptSettled", job))
    settled = [job for kind, job in told if kind == "AttemptSettled"]
    assert [*dict.fromkeys(settled)] == jobs
    assert kinds != ("quick",) or (len(told) == 2 * len(jobs) and max(runs) > 1)


def play(url: str, chance: Random) -> Play:
    """Run a program that chance makes, to its end."""
    app = Glassq(url, registry=CollectorRegistry())
    numbers: dict[str, int] = {}
    lanes: dict[str, list[tuple[object, ...]]] = {key: [] for key in KEYS}
    calls: list[StorageCalled] = []
    tasks = declare(app)
    app.queue("q", turn=100)
    for number in range(400):
        kind = chance.choice(KINDS)
        options: dict[str, Any] = {"key": chance.choice(KEYS)}
        if kind == "expires":
            kind, options["ttl"] = "quick", 0.001
        numbers[tasks[kind].options(**options)(number).id] = number
    time.sleep(0.002)

    def note(event: Any) -> None:
        about: tuple[object, ...] = (numbers[event.job_id], event.attempt)
        if isinstance(event, AttemptSettled):
            about = (*about, event.seq, event.outcome, event.verdict, event.ran, event.ordinal > 0)
        lanes[event.lease.lane].append((type(event).__name__, *about))

    app.bus.subscribe(note, AttemptStarted, AttemptSettled, AttemptFailed)
    app.bus.subscribe(
        lambda event: calls.append(event) if event.operation == "settle" else None, StorageCalled
    )
    left: list[LaneLeft] = []
    app.bus.subscribe(left.append, LaneLeft)
    with app.worker(concurrency=1) as worker:
        assert worker.run_until_idle(timeout=30)
    assert left
    stats = app.storage.stats(["q"])[0]
    dead = [numbers[each.id] for each in app.queue("q").dead_letters()]
    counted = {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for metric in app.metrics_registry.collect()
        for sample in metric.samples
        if sample.name.startswith(COUNTED) and sample.name.endswith(("_total", "_count"))
    }
    slow = {"queue": "q", "task": "slow"}
    value = app.metrics_registry.get_sample_value
    assert (
        value("glassq_jobs_processed_total", {**slow, "outcome": "succeeded"})
        == value("glassq_job_attempts_total", {**slow, "result": "succeeded"})
        == value("glassq_job_processing_duration_seconds_count", slow)
    )
    app.close()
    # How far ahead of its end an attempt is told does not matter, its order among its like does.
    told = {lane: sorted(events, key=lambda each: str(each[0])) for lane, events in lanes.items()}
    return Play(told, dead, dict(stats.settled), counted, len(calls))


def declare(app: Glassq) -> dict[str, Any]:
    """One task of each kind."""
    failed: set[int] = set()

    @app.fifo("q", name="quick")
    def quick(number: int) -> None:
        assert number >= 0

    @app.fifo("q", name="slow")
    def slow(number: int) -> None:
        time.sleep(0.006 + 0 * number)

    @app.fifo("q", name="fails_once", retry_wait=0.0)
    def fails_once(number: int) -> None:
        if number not in failed:
            failed.add(number)
            raise ValueError(number)

    @app.fifo("q", name="fails", max_retries=0)
    def fails(number: int) -> None:
        raise ValueError(number)

    @app.fifo("q", name="told", on_success=lambda *_: None)
    def told(number: int) -> None:
        assert number >= 0

    return {
        "quick": quick,
        "slow": slow,
        "fails_once": fails_once,
        "fails": fails,
        "told": told,
    }
