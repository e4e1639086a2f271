"""When a queue will be empty, from the totals its store keeps."""

from __future__ import annotations

import threading
from collections import deque

import msgspec

from glassq.model.stats import QueueStats

PACE_SECONDS = 300.0
"""How far back a pace is measured: the last change of it should show, one slow job should not."""
LEAST_SECONDS = 10.0
"""Over less than this a pace says nothing. Also the distance between two points that are kept."""


class _Point(msgspec.Struct, frozen=True):
    """How many jobs had been settled at a moment (this process's monotonic clock)."""

    at: float
    settled: int


class Paces:
    """Remembers what successive scrapes saw of each queue. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points: dict[str, deque[_Point]] = {}

    def drain_seconds(self, label: str, stats: QueueStats, now: float) -> float | None:
        """Seconds until what is in the queue now is settled: 0 for an empty one, infinite for one in which
        nothing moves, None while it has not been watched long enough.

        A queue that was empty in between has no pace from before that: what comes next is measured anew.
        """
        left = stats.depth - stats.scheduled - stats.deferred
        seen = _Point(now, sum(stats.settled.values()))
        with self._lock:
            points = self._points.setdefault(label, deque())
            # Fewer than before: the store lost some, and what follows cannot be compared.
            if left <= 0 or (points and seen.settled < points[-1].settled):
                points.clear()
            if left <= 0:
                return 0.0
            while points and now - points[0].at > PACE_SECONDS:
                points.popleft()
            if not points or now - points[-1].at >= LEAST_SECONDS:
                points.append(seen)
            first = points[0]
        elapsed, settled = now - first.at, seen.settled - first.settled
        if elapsed < LEAST_SECONDS:
            return None
        return left * elapsed / settled if settled else float("inf")
