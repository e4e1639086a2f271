"""A worker's heartbeat for those who watch: that it is at work, and how much is left of its leases."""

from __future__ import annotations

from glassq.model.clock import Clock
from glassq.model.events import WorkerBeat
from glassq.model.leases import Owner
from glassq.telemetry import Bus
from glassq.worker.holdings import Holdings

_BEAT = 0.1
"""Seconds between two heartbeats of a worker that claims all the time."""


class Beats:
    """Of one worker."""

    def __init__(self, bus: Bus, clock: Clock, owner: Owner, holdings: Holdings) -> None:
        self._bus = bus
        self._clock = clock
        self._owner = owner
        self._holdings = holdings
        self._last = 0.0

    def beat(self, *, busy: bool) -> None:
        """Tell; between two claims of a busy worker only now and then."""
        now = self._clock.monotonic()
        if busy and now - self._last < _BEAT:
            return
        self._last = now
        lanes: dict[str, int] = {}
        remaining: dict[str, float] = {}
        for lane in self._holdings.all():
            queue = lane.queue
            lanes[queue] = lanes.get(queue, 0) + 1
            remaining[queue] = min(remaining.get(queue, lane.deadline - now), lane.deadline - now)
        self._bus.emit(WorkerBeat(worker=str(self._owner), at=now, lanes=lanes, lease_remaining=remaining))
