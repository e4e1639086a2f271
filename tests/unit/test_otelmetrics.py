from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.metrics import _internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry

from glassq import Glassq
from glassq.model.events import EnqueueFailed, JobDeduplicated, JobEnqueued
from glassq.model.verdicts import Action, Outcome
from glassq.observe.catalogue import PROC
from glassq.observe.otelmetrics import observe_otel_metrics
from glassq.telemetry import Bus
from tests.unit.observing import settled, started


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """What a real SDK's provider, the global one for this test, has collected."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(_internal, "_METER_PROVIDER", provider)
    yield reader
    provider.shutdown()


@pytest.fixture
def bus(reader: InMemoryMetricReader) -> Bus:
    """A bus whose events are counted there."""
    bus = Bus()
    observe_otel_metrics(bus)
    return bus


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """The data points by the names of their instruments."""
    data = reader.get_metrics_data()
    return {
        metric.name: list(metric.data.data_points)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_enqueues_are_sent_messages(bus: Bus, reader: InMemoryMetricReader) -> None:
    """By queue, failed ones with why; what the store took in is timed."""
    bus.emit(
        JobEnqueued(queue="orders", task="t", job_id="j", key=None, seq=1, payload_bytes=3, seconds=0.004)
    )
    bus.emit(EnqueueFailed(queue="orders", reason="queue_full"))
    bus.emit(JobDeduplicated(queue="orders", task="t", job_id="j"))
    found = points(reader)
    sent = {each.attributes.get("error.type"): each.value for each in found["messaging.client.sent.messages"]}
    assert sent == {None: 1, "queue_full": 1}
    (timed,) = found["messaging.client.operation.duration"]
    assert (timed.count, timed.sum) == (1, 0.004)
    assert timed.attributes == {
        "messaging.system": "glassq",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders",
    }
    assert [each.value for each in found["glassq.jobs.deduplicated"]] == [1]


def test_attempts_are_processed_messages(bus: Bus, reader: InMemoryMetricReader) -> None:
    """Each attempt is one observation, in buckets that suit seconds; a job is counted once, by its end."""
    bus.emit(started(waited=2.0))
    bus.emit(settled(Outcome.EXCEPTION, Action.RETRY, seconds=0.5))
    bus.emit(settled(seconds=0.02))
    bus.emit(settled(Outcome.UNKNOWN_TASK, Action.BURY, ran=False))
    found = points(reader)
    durations = {each.attributes.get("error.type"): each for each in found["messaging.process.duration"]}
    assert {kind: each.sum for kind, each in durations.items()} == {"exception": 0.5, None: 0.02}
    assert tuple(durations[None].explicit_bounds) == PROC
    consumed = found["messaging.client.consumed.messages"]
    assert sum(each.value for each in consumed) == 3
    ends = {each.attributes["glassq.outcome"]: each.value for each in found["glassq.jobs.processed"]}
    assert ends == {"succeeded": 1, "buried": 1}
    assert [each.sum for each in found["glassq.job.time_in_queue"]] == [2.0]


@pytest.mark.parametrize("asked", [True, False])
def test_an_application_has_to_ask_for_them(reader: InMemoryMetricReader, asked: bool) -> None:
    """Installed or not, a meter provider gets nothing from an application that did not."""
    with Glassq("sqlite://", registry=CollectorRegistry(), otel_metrics=asked) as app:
        app.fifo("q", name="nothing")(print)()
    assert ("messaging.client.sent.messages" in points(reader)) is asked


def test_a_provider_that_comes_later_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application is often made before its telemetry is set up."""
    monkeypatch.setattr(_internal, "_METER_PROVIDER", None)
    monkeypatch.setattr(_internal, "_METER_PROVIDER_SET_ONCE", type(_internal._METER_PROVIDER_SET_ONCE)())
    monkeypatch.setattr(_internal, "_PROXY_METER_PROVIDER", _internal._ProxyMeterProvider())
    bus = Bus()
    observe_otel_metrics(bus)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    bus.emit(EnqueueFailed(queue="orders", reason="closed"))
    assert [each.value for each in points(reader)["messaging.client.sent.messages"]] == [1]
    provider.shutdown()
