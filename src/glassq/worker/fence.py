"""What keeps code from running on a lease that is over: looked at right before it begins, and by it."""

from __future__ import annotations

from typing import NoReturn

from glassq.context import JobContext
from glassq.errors import AttemptTimeout, JobCancelled, LeaseLost
from glassq.model.clock import Clock
from glassq.worker.holdings import HeldLane


class Fence:
    """Answers `JobContext.check` for the jobs of one lane. `timeout` is that of the attempt that began at
    `started`."""

    __slots__ = ("_clock", "_lane", "_started", "_timeout")

    def __init__(self, lane: HeldLane, clock: Clock, started: float, timeout: float | None) -> None:
        self._lane = lane
        self._clock = clock
        self._started = started
        self._timeout = timeout

    def __call__(self, job: JobContext) -> None:
        """Raise what ends this attempt, if anything does."""
        if job.id in self._lane.cancelled:
            raise JobCancelled(f"somebody asked to cancel {job.id}")
        if not self._lane.ours():
            give_up(self._lane, job)
        timeout = self._timeout
        if timeout is not None and self._clock.monotonic() - self._started > timeout:
            raise AttemptTimeout(late(job, timeout))


def give_up(lane: HeldLane, job: JobContext) -> NoReturn:
    """Nothing more runs in this stay, whatever a renewal that is on its way says later."""
    lane.lapsed = True
    raise LeaseLost(f"the lane of {job.id} is no longer this worker's; stop, it runs elsewhere")


def late(job: JobContext, timeout: float) -> str:
    """The text of a timeout."""
    return f"attempt {job.attempt} of {job.id} is past its timeout of {timeout:g} s"
