from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from glassq.errors import StorageUnavailable
from glassq.model.stats import QueueStats
from glassq.observe.catalogue import CATALOGUE, QUEUE_CAPACITY, QUEUE_OBJECTIVE
from glassq.observe.collector import collect_store, look_at_stores
from glassq.storage import Storage
from tests.unit.observing import MovedClock


class FakeStore:
    """Answers `stats` from a dictionary, or as the test wants."""

    kind = "sqlite"

    def __init__(self, address: str = "sqlite:///a.db", **queues: QueueStats) -> None:
        self.address = address
        self.queues = queues
        self.calls = 0
        self.error: Exception | None = None

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        """See `Storage.stats`."""
        self.calls += 1
        if self.error is not None:
            raise self.error
        return [self.queues.get(name) or QueueStats(queue=name) for name in queues]


class StuckStore(FakeStore):
    """Answers when it is let go, and not before."""

    def __init__(self) -> None:
        super().__init__("sqlite:///stuck.db")
        self.free = threading.Event()

    def stats(self, queues: Sequence[str]) -> list[QueueStats]:
        """Hangs first."""
        self.free.wait()
        return super().stats(queues)


class House:
    """A registry to which stores are attached."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.clock = MovedClock()

    def attach(self, store: FakeStore, *queues: str) -> Callable[[], None]:
        """Show these queues of a store."""
        return collect_store(self.registry, cast("Storage", store), lambda: queues, clock=self.clock)

    def scrape(self) -> dict[tuple[Any, ...], float]:
        """Every sample once: name, then the values of its labels. A sample that comes twice is an error."""
        found: dict[tuple[Any, ...], float] = {}
        for family in self.registry.collect():
            for sample in family.samples:
                key = (sample.name.removeprefix("glassq_"), *sample.labels.values())
                assert key not in found
                found[key] = sample.value
        return found


@pytest.fixture
def house() -> House:
    """A registry of its own, with a clock that stands still."""
    return House()


@pytest.fixture
def stuck() -> Iterator[StuckStore]:
    """A store that hangs, let go at the end so that its thread ends too."""
    store = StuckStore()
    yield store
    store.free.set()


DECLARED = (QUEUE_CAPACITY, QUEUE_OBJECTIVE)
"""What no store knows."""

BUSY = QueueStats(
    queue="orders",
    ready=4,
    leased=1,
    halted=2,
    lanes={"ready": 2, "leased": 1, "halted": 1},
    enqueued=100,
    settled={"succeeded": 90, "buried": 3},
    dead_letters=3,
    dead_letter_oldest_age=60.0,
    oldest_job_age=12.5,
    head_blocked=7.5,
    head_attempts=3,
    workers=2,
    last_settled_at=1.5e9,
)


def test_a_declared_queue_is_zero_and_never_absent(house: House) -> None:
    """Before the first job every gauge of the queue is there, at 0, for every state and outcome."""
    house.attach(FakeStore(), "orders")
    found = house.scrape()
    for spec in CATALOGUE:
        if spec.source == "store" and "queue" in spec.labels and not (spec.planned or spec in DECLARED):
            for value in spec.values.get(spec.labels[-1], (None,)):
                key = (spec.name.removeprefix("glassq_"), "orders", *([value] if value else []))
                assert found[key] == 0.0
    assert found["collector_up", "sqlite"] == 1.0


def test_what_no_store_tells_yet_is_named_and_claims_nothing(house: House) -> None:
    """A dashboard made for what comes finds the metric, and no 0 in it."""
    house.attach(FakeStore(), "orders")
    families = {family.name: family for family in house.registry.collect()}
    planned = [spec.name for spec in CATALOGUE if spec.planned and spec.source == "store"]
    assert planned
    assert [families[name].samples for name in planned] == [[] for _ in planned]


def test_what_the_store_reports_is_what_is_shown(house: House) -> None:
    """Depth by state, lanes, ages, totals and dead letters."""
    house.attach(FakeStore(orders=BUSY), "orders")
    found = house.scrape()
    assert [found["queue_depth", "orders", state] for state in ("ready", "leased", "halted", "paused")] == [
        4,
        1,
        2,
        0,
    ]
    assert found["queue_lanes", "orders", "ready"] == 2
    assert found["queue_oldest_job_age_seconds", "orders"] == 12.5
    assert found["queue_head_blocked_seconds", "orders"] == 7.5
    assert found["queue_enqueued_total", "orders"] == 100
    assert found["queue_settled_total", "orders", "succeeded"] == 90
    assert found["queue_settled_total", "orders", "expired"] == 0
    assert found["dead_letter_jobs", "orders"] == 3
    assert found["queue_last_settled_timestamp_seconds", "orders"] == 1.5e9


def test_one_queue_in_two_stores_is_one_series(house: House) -> None:
    """Amounts are added; of ages and attempts the worse one is shown."""
    house.attach(FakeStore("sqlite:///a.db", orders=BUSY), "orders")
    other = QueueStats(
        queue="orders", ready=1, lanes={"ready": 1}, oldest_job_age=99.0, settled={"buried": 1}
    )
    house.attach(FakeStore("sqlite:///b.db", orders=other), "orders")
    found = house.scrape()
    assert found["queue_depth", "orders", "ready"] == 5
    assert found["queue_lanes", "orders", "ready"] == 3
    assert found["queue_settled_total", "orders", "buried"] == 4
    assert found["queue_oldest_job_age_seconds", "orders"] == 99.0
    assert found["queue_head_blocked_seconds", "orders"] == 7.5


def test_two_applications_on_one_store_do_not_count_twice(house: House) -> None:
    """A store is known by its address: its queues are read once, for all applications together."""
    store = FakeStore(orders=BUSY)
    house.attach(store, "orders")
    house.attach(FakeStore(orders=BUSY), "orders", "mails")
    found = house.scrape()
    assert found["queue_depth", "orders", "ready"] == 4
    assert found["queue_depth", "mails", "ready"] == 0
    assert store.calls == 1


def test_stores_in_memory_are_all_different(house: House) -> None:
    """They share an address and nothing else."""
    house.attach(FakeStore("sqlite://", orders=BUSY), "orders")
    house.attach(FakeStore("sqlite://", orders=BUSY), "orders")
    assert house.scrape()["queue_depth", "orders", "ready"] == 8


def test_scrapes_within_a_second_cost_the_store_one_read(house: House) -> None:
    """Two scrapers and a person looking are one reader."""
    store = FakeStore()
    house.attach(store, "orders")
    house.scrape()
    house.scrape()
    assert store.calls == 1
    house.clock.sleep(1.1)
    house.scrape()
    assert store.calls == 2


def test_nothing_is_read_before_the_first_scrape(house: House) -> None:
    """Registering asks for names, not for figures."""
    store = FakeStore()
    house.attach(store, "orders")
    assert store.calls == 0


def test_a_failing_store_is_down_and_its_gauges_are_left_out(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """An old figure would be a lie, and 0 another. The log says so once, and once when it is over."""
    store = FakeStore(orders=BUSY)
    house.attach(store, "orders")
    store.error = StorageUnavailable("the disk is gone", "io")
    with caplog.at_level(logging.INFO, "glassq.collector"):
        found = house.scrape()
        for _ in range(3):
            house.clock.sleep(2)
            found = house.scrape()
        assert found["collector_up", "sqlite"] == 0.0
        assert ("queue_depth", "orders", "ready") not in found
        store.error = None
        house.clock.sleep(2)
        assert house.scrape()["collector_up", "sqlite"] == 1.0
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "the disk is gone" in caplog.records[0].getMessage()


def test_a_stuck_store_delays_a_scrape_by_its_deadline_and_only_once(house: House, stuck: StuckStore) -> None:
    """The other store is shown in full; the stuck one is asked again only when it has answered."""
    house.attach(FakeStore(orders=BUSY), "orders")
    house.attach(stuck, "mails")
    began = time.monotonic()
    found = house.scrape()
    assert time.monotonic() - began < 5
    assert found["collector_up", "sqlite"] == 0.0
    assert found["queue_depth", "orders", "ready"] == 4
    assert ("queue_depth", "mails", "ready") not in found
    threads = threading.active_count()
    house.clock.sleep(10)
    for _ in range(5):
        assert house.scrape()["collector_up", "sqlite"] == 0.0
    assert threading.active_count() <= threads
    assert house.scrape()["collector_duration_seconds", "sqlite"] == pytest.approx(10.0)


def test_a_store_that_comes_back_is_shown_again(house: House, stuck: StuckStore) -> None:
    """The answer that came too late for one scrape serves the next."""
    house.attach(stuck, "mails")
    assert house.scrape()["collector_up", "sqlite"] == 0.0
    stuck.free.set()
    next(thread for thread in threading.enumerate() if thread.name == "glassq-collector").join(5)
    assert house.scrape()["queue_depth", "mails", "ready"] == 0.0


def test_a_closed_application_is_not_read_any_more(house: House) -> None:
    """Detaching twice is harmless; the other application on the same store goes on with its own handle."""
    first, second = FakeStore(), FakeStore(orders=BUSY)
    detach = house.attach(first, "orders")
    house.attach(second, "orders")
    detach()
    detach()
    assert house.scrape()["queue_depth", "orders", "ready"] == 4
    assert (first.calls, second.calls) == (0, 1)


def test_whoever_asks_is_told_what_was_read(house: House) -> None:
    """Health learns from a scrape whether work waits, at no cost to the store."""
    heard: list[QueueStats] = []
    store = cast("Storage", FakeStore(orders=BUSY))
    collect_store(house.registry, store, lambda: ["orders"], told=heard.extend, clock=house.clock)
    house.scrape()
    assert heard == [BUSY]


def test_a_look_tells_without_waiting(house: House, stuck: StuckStore) -> None:
    """Whoever probes health begins a reading and goes on; a second look finds it under way."""
    heard = threading.Event()
    collect_store(
        house.registry,
        cast("Storage", stuck),
        lambda: ["mails"],
        told=lambda _: heard.set(),
        clock=house.clock,
    )
    look_at_stores(house.registry)
    look_at_stores(house.registry)
    assert not heard.is_set()
    stuck.free.set()
    assert heard.wait(5)
    assert stuck.calls == 1


def test_with_the_last_application_its_store_disappears(house: House) -> None:
    """No series of a store that nobody uses."""
    house.attach(FakeStore(), "orders")()
    assert house.scrape() == {}


def test_queues_beyond_the_cap_are_added_up(house: House) -> None:
    """The store gauges are as bounded as the counters."""
    store = FakeStore()
    store.queues = {f"q{number}": QueueStats(queue=f"q{number}", ready=1) for number in range(210)}
    house.attach(store, *store.queues)
    found = house.scrape()
    assert found["queue_depth", "q199", "ready"] == 1
    assert found["queue_depth", "_other", "ready"] == 10


def test_slots_that_are_overdue_count_as_a_lag(house: House) -> None:
    """The longer of what the store says of delayed jobs and what is known of schedules, for each queue."""
    store = FakeStore(orders=QueueStats(queue="orders", schedule_lag=5), mails=QueueStats(queue="mails"))
    collect_store(
        house.registry,
        cast("Storage", store),
        lambda: ["orders", "mails", "bank"],
        lags=lambda: {"orders": 3.0, "mails": 7.0, "elsewhere": 9.0},
        clock=house.clock,
    )
    found = house.scrape()
    lags = [found["schedule_lag_seconds", queue] for queue in ("orders", "mails", "bank")]
    assert lags == [5, 7, 0]
    assert ("schedule_lag_seconds", "elsewhere") not in found
