"""The same figures through OpenTelemetry's API, for those who collect metrics that way. Opt-in: its counters
cost many times what a bound Prometheus child does, and nobody needs both.

Names and attributes are those of the semantic conventions for messaging where there are any.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import Histogram, Meter

from glassq.model.events import AttemptSettled, AttemptStarted, EnqueueFailed, JobDeduplicated, JobEnqueued
from glassq.model.names import whole
from glassq.model.verdicts import Action, Outcome
from glassq.observe.catalogue import FAST, PROC, WAIT
from glassq.observe.spans import SCHEMA_URL
from glassq.telemetry import Bus
from glassq.version import __version__

Attributes = dict[str, str]

_ENDS = {
    Action.ACK: "succeeded",
    Action.BURY: "buried",
    Action.EXPIRE: "expired",
    Action.CANCEL: "cancelled",
}
_ADVISES = "explicit_bucket_boundaries_advisory" in inspect.signature(Meter.create_histogram).parameters
"""Whether the API knows that a histogram may say which bounds suit it; before 1.30 views have to."""


def observe_otel_metrics(bus: Bus) -> None:
    """Count what happens on `bus` with the meter provider of the application, installed sooner or later."""
    _Counting(metrics.get_meter("glassq", __version__, schema_url=SCHEMA_URL)).attach(bus)


class _Counting:
    """The instruments of one application."""

    def __init__(self, meter: Meter) -> None:
        self._sent = meter.create_counter(
            "messaging.client.sent.messages", "{message}", "Jobs given to the store, or meant to be."
        )
        self._consumed = meter.create_counter(
            "messaging.client.consumed.messages", "{message}", "Attempts whose end was committed."
        )
        self._processed = meter.create_counter(
            "glassq.jobs.processed", "{job}", "Jobs settled for good, once per job."
        )
        self._deduplicated = meter.create_counter(
            "glassq.jobs.deduplicated", "{job}", "Calls recognised as duplicates of an earlier one."
        )
        self._operation_seconds = _seconds(
            meter, "messaging.client.operation.duration", "Until the store acknowledged a job.", FAST
        )
        self._process_seconds = _seconds(
            meter, "messaging.process.duration", "Run time of one attempt.", PROC
        )
        self._wait_seconds = _seconds(
            meter, "glassq.job.time_in_queue", "From eligible to first attempt.", WAIT
        )

    def attach(self, bus: Bus) -> None:
        """Subscribe, each event to what it feeds."""
        bus.subscribe(self._enqueued, JobEnqueued)
        bus.subscribe(self._not_enqueued, EnqueueFailed)
        bus.subscribe(self._duplicate, JobDeduplicated)
        bus.subscribe(self._started, AttemptStarted)
        bus.subscribe(self._settled, AttemptSettled)

    def _enqueued(self, event: JobEnqueued) -> None:
        about = _about(event.queue, "enqueue", "send")
        self._sent.add(1, about)
        self._operation_seconds.record(event.seconds, about)

    def _not_enqueued(self, event: EnqueueFailed) -> None:
        self._sent.add(1, {**_about(event.queue, "enqueue", "send"), "error.type": event.reason})

    def _duplicate(self, event: JobDeduplicated) -> None:
        self._deduplicated.add(1, _about(event.queue, "enqueue", "send"))

    def _started(self, event: AttemptStarted) -> None:
        if event.time_in_queue is not None:
            self._wait_seconds.record(event.time_in_queue, _about(event.lease.queue, "process", "process"))

    def _settled(self, event: AttemptSettled) -> None:
        about = _about(event.lease.queue, "process", "process")
        if event.outcome is not Outcome.SUCCEEDED:
            about["error.type"] = event.outcome.value
        self._consumed.add(1, about)
        if event.ran:
            self._process_seconds.record(event.seconds, about)
        end = _ENDS.get(event.verdict.action)
        if end is not None:
            self._processed.add(1, {**_about(event.lease.queue, "process", "process"), "glassq.outcome": end})


def _about(queue: str, operation: str, kind: str) -> Attributes:
    return {
        "messaging.system": "glassq",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": whole(queue),
    }


def _seconds(meter: Meter, name: str, description: str, bounds: Sequence[float]) -> Histogram:
    advice: dict[str, Any] = {"explicit_bucket_boundaries_advisory": bounds} if _ADVISES else {}
    return meter.create_histogram(name, "s", description, **advice)
