"""Watches that the jobs of a stay in a lane begin in their order: reports what must never happen."""

from __future__ import annotations

from glassq.model.events import OrderViolated
from glassq.model.jobs import StoredJob
from glassq.telemetry import Bus

NONE_YET = StoredJob(id="", seq=-1, level=0, body=b"", eligible_at=0.0)
"""Comes before the first job of a stay."""


def watch_order(bus: Bus, queue: str, last: StoredJob, job: StoredJob) -> None:
    """Report a job that comes after a later one of its stay, or twice in it. `last` is the one before."""
    # order: within a level the sequence only grows; replays keep an old one and are exempt.
    if job.seq <= last.seq and last.level == job.level and not job.replayed:
        kind = "duplicate" if job.seq == last.seq else "reorder"
        bus.emit(OrderViolated(queue=queue, kind=kind))
