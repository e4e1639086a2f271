"""The values a label may take in one process: bounded, whatever the application declares."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry

from glassq.model.names import whole
from glassq.observe.catalogue import MAX_QUEUES, OTHER


class NameLabels:
    """Maps names to label values: the first `limit` names to themselves, the rest to `_other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._admitted: dict[str, None] = {}

    def label(self, name: str) -> str:
        """The value that stands for this name from now on."""
        if name in self._admitted:
            return name
        with self._lock:
            if name not in self._admitted and len(self._admitted) >= self._limit:
                return OTHER
            self._admitted[name] = None
            return name


class QueueLabels(NameLabels):
    """The same for names of queues."""

    def __init__(self, limit: int = MAX_QUEUES) -> None:
        super().__init__(limit)

    def label(self, name: str) -> str:
        """The value that stands for this queue from now on; a shard is shown as a part of its queue."""
        return super().label(whole(name))


_LABELS: WeakKeyDictionary[CollectorRegistry, QueueLabels] = WeakKeyDictionary()
_LOCK = threading.Lock()


def queue_labels(registry: CollectorRegistry) -> QueueLabels:
    """The one mapping of a registry, so that events and store gauges name the same queues."""
    with _LOCK:
        return _LABELS.setdefault(registry, QueueLabels())
