"""What an application tells of itself during a test: events, errors, metrics. All of it from its own bus."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from glassq.errors import JobFailed
from glassq.model.clock import Clock
from glassq.model.events import (
    AttemptFailed,
    AttemptSettled,
    AttemptStarted,
    CallbackFailed,
    Event,
    QueueDeclared,
    TaskDeclared,
)
from glassq.model.names import DEFAULT_LANE, nearest, whole
from glassq.observe.declared import show_declared
from glassq.observe.families import family_of
from glassq.observe.figures import FIGURES
from glassq.observe.prometheus import observe_metrics
from glassq.registry import Registry
from glassq.storage import Storage
from glassq.telemetry import NOTHING_AROUND, Attempting, Bus, Subject
from glassq.testing.stepping import WorkerCrashed

E = TypeVar("E", bound=Event)


_ENDINGS = ("", "_total", "_count", "_sum", "_bucket")
"""What the names of a metric's samples may add to its own."""


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed, with what its code raised; or where no code was run (an unknown task, arguments
    that cannot be read), a `JobFailed`. `final`: the job is not tried again. `callback` names the one that
    raised, if it was not the job, which has ended as it would have."""

    job_id: str
    task: str
    key: str | None
    attempt: int
    error: BaseException
    final: bool
    callback: str | None = None


class Sample(msgspec.Struct, frozen=True):
    """One value of a metric, and its labels."""

    labels: dict[str, str]
    value: float


class Events(list[Event]):
    """Events in the order in which they were told."""

    def of(self, kind: type[E]) -> list[E]:
        """Those of one class of `glassq.model.events`."""
        return [event for event in self if isinstance(event, kind)]


class Metrics(Mapping[str, list[Sample]]):
    """The samples of one moment, by their names (`glassq_jobs_processed_total`, `..._bucket`), counted from
    the beginning of the test."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._samples: dict[str, list[Sample]] = {}
        for family in families:
            for ending in _ENDINGS if not family.samples else ():
                self._samples.setdefault(family.name + ending, [])
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append(Sample(sample.labels, sample.value))

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels among theirs; 0 where there is none. `KeyError` for a
        metric that does not exist."""
        return sum(
            (sample.value for sample in self[name] if labels.items() <= sample.labels.items()), start=0.0
        )

    def __getitem__(self, name: str) -> list[Sample]:
        try:
            return self._samples[name]
        except KeyError:
            hint = nearest(name, self._samples)
            raise KeyError(f"no metric {name}" + (f"; did you mean {hint}?" if hint else "")) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples)

    def __len__(self) -> int:
        return len(self._samples)


class Seen:
    """Listens to one application while `listening` lasts. `on_event` is called with each event, once it is
    taken in."""

    def __init__(
        self, bus: Bus, registry: Registry, storage: Storage, clock: Clock, on_event: Callable[[Event], None]
    ) -> None:
        self.events = Events()
        self.failures: list[FailedAttempt] = []
        self._errors: dict[tuple[str, int], BaseException] = {}
        self._on_event = on_event
        self._app_bus = bus
        # What counts for a test alone listens to a bus of its own: one subscription is easily taken back.
        self._bus = Bus()
        self._metrics = CollectorRegistry()
        observe_metrics(self._bus, self._metrics, store=lambda: storage.kind, clock=clock)
        show_declared(self._metrics, registry)
        self._metrics.register(_Gauges(storage, registry))
        for queue in registry.queues():
            self._bus.emit(QueueDeclared(queue=queue))
        for task in registry.tasks():
            self._bus.emit(TaskDeclared(queue=task.queue, task=task.name))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take in what is told."""
        self._app_bus.subscribe(self._take_in, *_every_event())
        self._app_bus.wrap(self._around)
        try:
            yield
        finally:
            self._app_bus.unwrap(self._around)
            self._app_bus.unsubscribe(self._take_in)

    def metrics(self) -> Metrics:
        """The samples of this moment."""
        return Metrics(self._metrics.collect())

    def begun(self, key: str | None, queue: str | None) -> list[AttemptStarted]:
        """The first attempts of a key's jobs, in the order in which they began."""
        lane, known, begun = key or DEFAULT_LANE, set[str](), []
        for event in self.events.of(AttemptStarted):
            elsewhere = queue is not None and whole(event.lease.queue) != queue
            if event.lease.lane == lane and not elsewhere and event.job_id not in known:
                known.add(event.job_id)
                begun.append(event)
        return begun

    def _take_in(self, event: Event) -> None:
        self.events.append(event)
        self._bus.emit(event)
        if isinstance(event, AttemptFailed):
            self._failed(event)
        elif isinstance(event, CallbackFailed):
            self._callback_failed(event)
        self._on_event(event)

    def _failed(self, event: AttemptFailed) -> None:
        said = event.failure
        error = self._errors.pop((event.job_id, event.attempt), None) if event.ran else None
        lane = event.lease.lane
        self.failures.append(
            FailedAttempt(
                job_id=event.job_id,
                task=event.task,
                key=None if lane == DEFAULT_LANE else lane,
                attempt=event.attempt,
                error=error or JobFailed(said.type, said.message, said.traceback),
                final=event.verdict.final,
            )
        )

    def _callback_failed(self, event: CallbackFailed) -> None:
        """Told by whoever has just caught the error, of the job that was settled last."""
        error, job = sys.exception(), self.events.of(AttemptSettled)[-1]
        if error is not None and not isinstance(error, WorkerCrashed):
            lane = job.lease.lane
            self.failures.append(
                FailedAttempt(
                    job_id=job.job_id,
                    task=event.task,
                    key=None if lane == DEFAULT_LANE else lane,
                    attempt=job.attempt,
                    error=error,
                    final=job.verdict.final,
                    callback=event.callback,
                )
            )

    def _around(self, subject: Subject) -> Any:
        return self._noting(subject) if isinstance(subject, Attempting) else NOTHING_AROUND

    @contextmanager
    def _noting(self, attempting: Attempting) -> Iterator[None]:
        """Keep what a job's code raises: events have its text alone."""
        try:
            yield
        except BaseException as error:
            self._errors[attempting.job.id, attempting.job.attempt] = error
            raise


class _Gauges(Collector):
    """What the store says of itself, read in the thread that asks: nothing here may be of a moment ago."""

    def __init__(self, storage: Storage, registry: Registry) -> None:
        self._storage = storage
        self._registry = registry

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry's check for duplicates; reads nothing."""
        return [family_of(spec) for spec, _ in FIGURES]

    def collect(self) -> Iterable[Metric]:
        """One `stats` call."""
        stats = self._storage.stats(self._registry.queues())
        for spec, figure in FIGURES:
            family = family_of(spec)
            for queue in stats:
                for rest, value in figure(queue):
                    family.add_metric((queue.queue, *rest), value)
            yield family


def _every_event() -> tuple[type[Event], ...]:
    return tuple(Event.__subclasses__())
