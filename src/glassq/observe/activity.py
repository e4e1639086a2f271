"""What one application is doing right now: its attempts in progress and its workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from glassq.forking import begin_in_children
from glassq.model.clock import Clock
from glassq.model.events import LoopBlocked, LoopFreed, WorkerBeat, WorkerChanged
from glassq.observe.catalogue import (
    IN_PROGRESS_SECONDS,
    JOBS_IN_PROGRESS,
    LANES_HELD,
    LEASE_REMAINING,
    LOOP_BLOCKED,
    WORKER_DRAINING,
    WORKER_HEARTBEAT,
    MetricSpec,
)
from glassq.observe.running import Running

Samples = list[tuple[tuple[str, ...], float]]


class _Worker(msgspec.Struct, kw_only=True):
    """A worker that has not stopped, as of its last beat (times of this process)."""

    state: str
    beat_wall: float
    beat_at: float
    lanes: Mapping[str, int] = {}
    lease_remaining: Mapping[str, float] = {}


class Activity:
    """Fed by the bus, read by scrapes. Single dictionary operations only, so it needs no lock."""

    def __init__(self, clock: Clock, running: Running) -> None:
        self.clock = clock
        self.queues: dict[str, str] = {}
        self._running = running
        begin_in_children(self)

    def begin(self) -> None:
        """Begin, here and in a forked child: the parent's workers run in the parent."""
        self._workers: dict[str, _Worker] = {}
        self._blocked_since: float | None = None

    def declare(self, queue: str, label: str) -> None:
        """Show this queue, at 0, under its label."""
        self.queues[queue] = label

    def worker_changed(self, event: WorkerChanged) -> None:
        """A worker entered a state; one that stopped is forgotten."""
        if event.state == "stopped":
            self._workers.pop(event.worker, None)
            return
        known = self._workers.get(event.worker)
        if known is not None:
            known.state = event.state
            return
        self._workers[event.worker] = _Worker(
            state=event.state, beat_wall=self.clock.wall(), beat_at=self.clock.monotonic()
        )

    def worker_beat(self, event: WorkerBeat) -> None:
        """A worker's loop turned."""
        known = self._workers.get(event.worker)
        self._workers[event.worker] = _Worker(
            state=known.state if known else "running",
            beat_wall=self.clock.wall(),
            beat_at=self.clock.monotonic(),
            lanes=event.lanes,
            lease_remaining=event.lease_remaining,
        )

    def loop_changed(self, event: LoopBlocked | LoopFreed) -> None:
        """An event loop stands still, or goes on."""
        blocked = isinstance(event, LoopBlocked)
        self._blocked_since = self.clock.monotonic() - event.seconds if blocked else None

    @property
    def loop_blocked(self) -> float:
        """Seconds for which the event loop has been blocked by now."""
        since = self._blocked_since
        return 0.0 if since is None else self.clock.monotonic() - since

    def running(self) -> Iterable[tuple[str, float]]:
        """Label of the queue and seconds so far, for each attempt in progress."""
        now = self.clock.monotonic()
        for attempt in self._running.attempts():
            queue = attempt.lease.queue
            yield self.queues.get(queue, queue), max(0.0, now - attempt.started)

    def workers(self) -> Iterable[_Worker]:
        """Workers that have not stopped."""
        return self._workers.copy().values()


def live_samples(activities: Iterable[Activity]) -> list[tuple[MetricSpec, Samples]]:
    """The gauges about work in progress, over all applications of the process."""
    counts: dict[str, int] = {}
    oldest: dict[str, float] = {}
    held: dict[str, int] = {}
    remaining: dict[str, float] = {}
    beats: list[float] = []
    draining: list[bool] = []
    blocked = 0.0
    for activity in activities:
        blocked = max(blocked, activity.loop_blocked)
        labels = activity.queues.copy()
        for label in labels.values():
            counts.setdefault(label, 0)
            oldest.setdefault(label, 0.0)
            held.setdefault(label, 0)
        for label, seconds in activity.running():
            counts[label] = counts.get(label, 0) + 1
            oldest[label] = max(oldest.get(label, 0.0), seconds)
        for worker in activity.workers():
            beats.append(worker.beat_wall)
            draining.append(worker.state == "draining")
            for queue, lanes in worker.lanes.items():
                label = labels.get(queue, queue)
                held[label] = held.get(label, 0) + lanes
            # Of a worker that stands still nobody renews the leases either.
            silent = activity.clock.monotonic() - worker.beat_at
            for queue, seconds in worker.lease_remaining.items():
                label = labels.get(queue, queue)
                remaining[label] = max(0.0, min(remaining.get(label, seconds), seconds - silent))
    return [
        (JOBS_IN_PROGRESS, _by_queue(counts)),
        (IN_PROGRESS_SECONDS, _by_queue(oldest)),
        (LANES_HELD, _by_queue(held)),
        (LEASE_REMAINING, _by_queue(remaining)),
        (WORKER_HEARTBEAT, [((), min(beats))] if beats else []),
        (WORKER_DRAINING, [((), float(any(draining)))] if draining else []),
        (LOOP_BLOCKED, [((), blocked)] if beats else []),
    ]


def _by_queue(values: Mapping[str, float]) -> Samples:
    return [((label,), float(value)) for label, value in values.items()]
