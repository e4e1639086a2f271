"""What is counted here and what the client library would have counted look the same to whoever scrapes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as some
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.registry import Collector

from glassq.model.events import QueueDeclared, WorkerChanged
from glassq.observe.catalogue import CATALOGUE, OBSERVER_FAILURES, TIME_IN_QUEUE
from glassq.observe.families import families_of
from glassq.observe.prometheus import observe_metrics
from glassq.observe.series import Counter, Family, Histogram, counters, histograms
from glassq.observe.specs import MetricSpec
from glassq.telemetry import Bus
from tests.unit.observing import started

COUNTERS = [spec for spec in CATALOGUE if spec.kind == "counter"]
HISTOGRAMS = [spec for spec in CATALOGUE if spec.kind == "histogram"]
EXEMPLAR = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}

Shows = Family[Counter] | Family[Histogram] | prometheus_client.metrics.MetricWrapperBase


class Shown(Collector):
    """One family, without the `_created` series that none of ours has."""

    def __init__(self, family: Shows) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        """What it shows."""
        for metric in self._family.collect():
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric


def shown(family: Shows) -> str:
    """Both forms in which a family is scraped."""
    registry = CollectorRegistry()
    registry.register(Shown(family))
    scraped: str = openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    return generate_latest(registry).decode() + scraped


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exemplars carry the time: it stands still."""
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.25)


amounts_of_time = some.one_of(some.sampled_from(TIME_IN_QUEUE.buckets), some.floats(-1, 1e5))


@given(some.lists(amounts_of_time, min_size=1, max_size=60))
def test_what_is_measured_together_is_counted_as_one_by_one(amounts: list[float]) -> None:
    """Also what lies on a bound. The sums may differ by what adding in another order makes of fractions."""
    together, singly = _samples(), _samples()
    together[0].observe_all(amounts)
    for amount in amounts:
        singly[0].observe(amount)
    counted, expected = (next(iter(family.collect())).samples for _, family in (together, singly))
    assert counted[:-1] == expected[:-1]
    assert counted[-1].value == pytest.approx(expected[-1].value)


def _samples() -> tuple[Histogram, Family[Histogram]]:
    family = histograms(TIME_IN_QUEUE)
    return family.labels("orders"), family


@pytest.mark.parametrize("spec", COUNTERS, ids=lambda spec: spec.name)
def test_counters_look_like_the_librarys(spec: MetricSpec) -> None:
    """Untouched, counted, and with an exemplar; also those without labels."""
    ours = counters(spec)
    theirs = prometheus_client.Counter(spec.name, spec.help, spec.labels, unit=spec.unit, registry=None)
    for values in (['a"\\' for _ in spec.labels], ["b" for _ in spec.labels]):
        child, model = ours.labels(*values), theirs.labels(*values) if values else theirs
        assert shown(ours) == shown(theirs)
        child.inc()
        model.inc()
        child.inc(exemplar=EXEMPLAR)
        model.inc(exemplar=EXEMPLAR)
        assert shown(ours) == shown(theirs)


@pytest.mark.parametrize("spec", HISTOGRAMS, ids=lambda spec: spec.name)
@given(data=some.data())
def test_histograms_look_like_the_librarys(spec: MetricSpec, data: some.DataObject) -> None:
    """Whatever is measured, bounds themselves and what is beyond all of them included."""
    ours = histograms(spec)
    theirs = prometheus_client.Histogram(
        spec.name, spec.help, spec.labels, unit=spec.unit, registry=None, buckets=spec.buckets
    )
    values = ["a" for _ in spec.labels]
    child, model = ours.labels(*values), theirs.labels(*values)
    assert shown(ours) == shown(theirs)
    amounts = some.sampled_from(spec.buckets) | some.floats(0, 2 * spec.buckets[-1])
    for amount in data.draw(some.lists(amounts, max_size=20)):
        exemplar = data.draw(some.sampled_from([None, EXEMPLAR]))
        child.observe(amount, exemplar)
        model.observe(amount, exemplar)
    assert shown(ours) == shown(theirs)


def test_a_child_is_made_once() -> None:
    """Whoever asks for the same labels counts into the same series."""
    family = counters(OBSERVER_FAILURES)
    assert family.labels() is family.labels()


def test_threads_lose_no_count() -> None:
    """Under the lock of their registry."""
    families = families_of(CollectorRegistry())
    child = families.histogram(TIME_IN_QUEUE, "orders")

    def count() -> None:
        for _ in range(5000):
            with families.lock:
                child.observe(1.0)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    samples = {each.name: each.value for metric in families.collect() for each in metric.samples}
    assert samples["glassq_job_time_in_queue_seconds_count"] == 40_000
    assert samples["glassq_job_time_in_queue_seconds_sum"] == 40_000


def test_a_forked_child_counts_from_0_whoever_held_the_lock() -> None:
    """What its parent counted the parent shows, and it waits for no thread that it does not have."""
    families = families_of(CollectorRegistry())
    child = families.counter(OBSERVER_FAILURES)
    child.inc()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with families.lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    forked = os.fork()
    if forked == 0:
        with families.lock:
            child.inc()
        counted = [
            each.value
            for metric in families.collect()
            for each in metric.samples
            if each.name == "glassq_observer_failures_total"
        ]
        os._exit(0 if counted == [1.0] else 1)
    assert os.waitpid(forked, 0)[1] == 0
    done.set()
    thread.join()


_SHARING = """
import os
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from glassq.model.events import JobEnqueued, QueueDeclared, TaskDeclared
from glassq.observe.prometheus import observe_metrics
from glassq.telemetry import Bus

def enqueue():
    bus = Bus()
    observe_metrics(bus, CollectorRegistry(), store=lambda: "redis")
    bus.emit(QueueDeclared(queue="orders"))
    bus.emit(TaskDeclared(queue="orders", task="charge"))
    bus.emit(
        JobEnqueued(
            queue="orders", task="charge", job_id="o/p:1", key=None, seq=1, payload_bytes=300, seconds=0.003
        )
    )

if os.fork() == 0:
    enqueue()
    os._exit(0)
os.wait()
enqueue()
shared = CollectorRegistry()
MultiProcessCollector(shared)
print(generate_latest(shared).decode())
"""


def test_in_the_librarys_multiprocess_mode_its_files_hold_the_values(tmp_path: Path) -> None:
    """So that one of several processes can show what all of them counted."""
    told = subprocess.run(
        [sys.executable, "-c", _SHARING],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert 'glassq_jobs_enqueued_total{queue="orders",task="charge"} 2.0' in told
    assert 'glassq_enqueue_duration_seconds_count{queue="orders"} 2.0' in told


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_shows_neither_attempts_nor_workers_of_its_parent() -> None:
    """They run in the parent, which shows them: here the attempt would never end, the worker never beat."""
    registry, bus = CollectorRegistry(), Bus()
    observe_metrics(bus, registry, store=lambda: "redis")
    bus.emit(QueueDeclared(queue="orders"))
    bus.emit(WorkerChanged(worker="w1", state="running", queues=("orders",)))
    bus.emit(started(at=1.0))

    def shown() -> list[float | None]:
        queue = {"queue": "orders"}
        return [
            registry.get_sample_value("glassq_jobs_in_progress", queue),
            registry.get_sample_value("glassq_worker_heartbeat_timestamp_seconds"),
        ]

    running, beat = shown()
    assert running == 1.0
    assert beat is not None
    child = os.fork()
    if child == 0:
        os._exit(0 if shown() == [0.0, None] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert shown()[0] == 1.0
