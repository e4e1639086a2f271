"""Gauges about what is declared in code: limits and objectives. They hold also while the store is away."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from weakref import WeakKeyDictionary, WeakSet

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from glassq.observe.catalogue import OBJECTIVES, QUEUE_CAPACITY, QUEUE_OBJECTIVE
from glassq.observe.families import family_of
from glassq.observe.labels import QueueLabels, queue_labels
from glassq.registry import Registry


def show_declared(registry: CollectorRegistry, declared: Registry) -> None:
    """Show what an application declares about its queues in every scrape, for as long as it lives."""
    with _LOCK:
        collector = _COLLECTORS.get(registry)
        if collector is None:
            collector = _COLLECTORS[registry] = _DeclaredCollector(queue_labels(registry))
            registry.register(collector)
    collector.add(declared)


class _DeclaredCollector(Collector):
    """All applications of a registry. Where several queues stand under one label, the strictest counts."""

    def __init__(self, labels: QueueLabels) -> None:
        self._labels = labels
        self._lock = threading.Lock()
        self._declared: WeakSet[Registry] = WeakSet()

    def add(self, declared: Registry) -> None:
        """One more application."""
        with self._lock:
            self._declared.add(declared)

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry's check for duplicates."""
        return [family_of(QUEUE_CAPACITY), family_of(QUEUE_OBJECTIVE)]

    def collect(self) -> Iterable[Metric]:
        """What is declared now; nothing for what is not."""
        with self._lock:
            applications = list(self._declared)
        capacities: dict[tuple[str, ...], float] = {}
        objectives: dict[tuple[str, ...], float] = {}
        for application in applications:
            for queue in application.queues():
                options, label = application.options(queue), self._labels.label(queue)
                _keep_least(capacities, (label,), options.max_length)
                for objective in OBJECTIVES:
                    _keep_least(objectives, (label, objective), getattr(options, objective))
        for spec, values in ((QUEUE_CAPACITY, capacities), (QUEUE_OBJECTIVE, objectives)):
            family = family_of(spec)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family


def _keep_least(values: dict[tuple[str, ...], float], labels: tuple[str, ...], value: float | None) -> None:
    if value is not None:
        values[labels] = min(values.get(labels, float("inf")), float(value))


_COLLECTORS: WeakKeyDictionary[CollectorRegistry, _DeclaredCollector] = WeakKeyDictionary()
_LOCK = threading.Lock()
