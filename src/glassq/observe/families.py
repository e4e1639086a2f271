"""One set of metric families per prometheus registry, whoever and however many observe into it."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from glassq.forking import begin_in_children
from glassq.observe.activity import Activity, live_samples
from glassq.observe.batches import MOST, Batch
from glassq.observe.catalogue import BUILD_INFO, CATALOGUE, MAX_WORKFLOWS, OTHER, MetricSpec
from glassq.observe.labels import NameLabels, QueueLabels, queue_labels
from glassq.observe.series import Counter, Family, Histogram, counters, histograms, kept_in_files
from glassq.version import __version__

T = TypeVar("T")


class ByValue(dict[str, Counter]):
    """The children of a closed set of label values. A value outside the set is counted as `_other`,
    which is born on first use: a growing set of values can never grow the exposition."""

    def __init__(self, family: Family[Counter], fixed: tuple[str, ...], values: tuple[str, ...]) -> None:
        super().__init__((value, family.labels(*fixed, value)) for value in values)
        self._family = family
        self._fixed = fixed

    def __missing__(self, value: str) -> Counter:
        return self._family.labels(*self._fixed, OTHER)


class Families(Collector):
    """All families this process counts into, exposed as one collector.

    They are not registered one by one, as gauges about work in progress are computed at scrape time. Whoever
    counts holds `lock` for it: once for an event, whatever number of children that counts into.
    """

    def __init__(self, queues: QueueLabels) -> None:
        self.queues = queues
        self.workflows = NameLabels(MAX_WORKFLOWS)
        self._stores: list[Callable[[], str]] = []
        self._activities: WeakSet[Activity] = WeakSet()
        own = [spec for spec in CATALOGUE if spec.source != "store"]
        self._counters = {spec.name: counters(spec) for spec in own if spec.kind == "counter"}
        self._histograms = {spec.name: histograms(spec) for spec in own if spec.kind == "histogram"}
        self._batches: dict[tuple[str, ...], Batch[Any]] = {}
        # What another process shows from files has to be in them.
        self._most = 1 if kept_in_files() else MOST
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child. It counts from 0: what the parent counted the parent shows, and
        no sum may have that twice. Another thread of the parent may have held the lock, too."""
        # Reentrant, because a signal handler may enqueue while its thread counts something.
        self.lock = threading.RLock()
        for family in (*self._counters.values(), *self._histograms.values()):
            family.reset()
        for batch in self._batches.values():
            batch.begin(self.lock)

    def counter(self, spec: MetricSpec, *labels: str) -> Counter:
        """A counter's child, at 0 when it is new."""
        return self._counters[spec.name].labels(*labels)

    def histogram(self, spec: MetricSpec, *labels: str) -> Histogram:
        """A histogram's child, empty when it is new."""
        return self._histograms[spec.name].labels(*labels)

    def counters(self, spec: MetricSpec, *fixed: str) -> ByValue:
        """All children over the closed set of the last label, at 0 when they are new."""
        return ByValue(self._counters[spec.name], fixed, spec.values[spec.labels[-1]])

    def batch(self, count: Callable[[Sequence[T]], None], *place: str) -> Batch[T]:
        """What is noted to be counted by `count`: one batch for each place, as there is one child for each
        labels."""
        with self.lock:
            return self._batches.setdefault(place, Batch(self.lock, count, most=self._most))

    def add_activity(self, activity: Activity, store: Callable[[], str]) -> None:
        """Show one more application's work in progress for as long as it lives, and its kind of store."""
        with self.lock:
            self._activities.add(activity)
            self._stores.append(store)

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry's check for duplicates; reads nothing."""
        for family in (*self._counters.values(), *self._histograms.values()):
            yield from family.describe()
        for spec in CATALOGUE:
            if spec.kind in ("gauge", "info") and spec.source != "store":
                yield family_of(spec)

    def collect(self) -> Iterable[Metric]:
        """Everything this process counted, and what is in progress right now."""
        for batch in tuple(self._batches.values()):
            batch.settle()
        for family in (*self._counters.values(), *self._histograms.values()):
            with self.lock:
                metrics = family.collect()
            yield from metrics
        with self.lock:
            activities = list(self._activities)
            stores = sorted({store() for store in self._stores})
        for spec, samples in live_samples(activities):
            live = family_of(spec)
            for labels, value in samples:
                live.add_metric(labels, value)
            yield live
        build = family_of(BUILD_INFO)
        for store in stores:
            facts = {"version": __version__, "python": platform.python_version(), "store": store}
            build.add_metric((), facts)
        yield build


def family_of(spec: MetricSpec) -> Any:
    """An empty family for samples that are computed at scrape time."""
    if spec.kind == "counter":
        return CounterMetricFamily(spec.name, spec.help, labels=spec.labels, unit=spec.unit)
    if spec.kind == "info":
        return InfoMetricFamily(spec.name.removesuffix("_info"), spec.help, labels=())
    return GaugeMetricFamily(spec.name, spec.help, labels=spec.labels, unit=spec.unit)


_FAMILIES: WeakKeyDictionary[CollectorRegistry, Families] = WeakKeyDictionary()
_LOCK = threading.Lock()


def families_of(registry: CollectorRegistry) -> Families:
    """The families of a registry, made and registered when they are first asked for."""
    with _LOCK:
        families = _FAMILIES.get(registry)
        if families is None:
            families = Families(queue_labels(registry))
            registry.register(families)
            _FAMILIES[registry] = families
        return families
