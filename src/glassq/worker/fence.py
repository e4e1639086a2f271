"""What keeps code from running on a lease that is over: looked at right before it begins, and by it."""

from __future__ import annotations

from typing import NoReturn

from glassq.context import JobContext
from glassq.errors import AttemptTimeout, JobCancelled, LeaseLost
from glassq.model.clock import Clock
from glassq.worker.holdings import HeldLane


def check(lane: HeldLane, clock: Clock, started: float, timeout: float | None, job: JobContext) -> None:
    """What `JobContext.check` asks: raises what ends an attempt that began at `started`, if anything does."""
    if job.id in lane.cancelled:
        raise JobCancelled(f"somebody asked to cancel {job.id}")
    if not lane.ours():
        give_up(lane, job)
    if timeout is not None and clock.monotonic() - started > timeout:
        raise AttemptTimeout(late(job, timeout))


def look_again(lane: HeldLane, job: JobContext) -> None:
    """Look at the lane for the last time, right before user code."""
    # fence: this process may have stood still while observers and Arounds were told, and another one may have
    # run the job to its end.
    if not lane.ours():
        give_up(lane, job)


def give_up(lane: HeldLane, job: JobContext) -> NoReturn:
    """Nothing more runs in this stay, whatever a renewal that is on its way says later."""
    lane.lapsed = True
    raise LeaseLost(f"the lane of {job.id} is no longer this worker's; stop, it runs elsewhere")


def late(job: JobContext, timeout: float) -> str:
    """The text of a timeout."""
    return f"attempt {job.attempt} of {job.id} is past its timeout of {timeout:g} s"
