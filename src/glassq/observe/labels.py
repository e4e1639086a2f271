"""The values a label may take in one process: bounded, whatever the application declares."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry

from glassq.model.names import whole
from glassq.observe.catalogue import MAX_QUEUES, OTHER


class QueueLabels:
    """Maps queue names to label values: the first `limit` names to themselves, the rest to `_other`."""

    def __init__(self, limit: int = MAX_QUEUES) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._admitted: dict[str, None] = {}

    def label(self, queue: str) -> str:
        """The value that stands for this queue from now on; a shard is shown as a part of its queue."""
        queue = whole(queue)
        if queue in self._admitted:
            return queue
        with self._lock:
            if queue not in self._admitted and len(self._admitted) >= self._limit:
                return OTHER
            self._admitted[queue] = None
            return queue


_LABELS: WeakKeyDictionary[CollectorRegistry, QueueLabels] = WeakKeyDictionary()
_LOCK = threading.Lock()


def queue_labels(registry: CollectorRegistry) -> QueueLabels:
    """The one mapping of a registry, so that events and store gauges name the same queues."""
    with _LOCK:
        return _LABELS.setdefault(registry, QueueLabels())
