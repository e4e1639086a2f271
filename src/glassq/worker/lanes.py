"""Serving one claimed lane: job after job in its order, until the lane is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.events import LaneLeft, OrderViolated
from glassq.model.jobs import StoredJob
from glassq.model.leases import Grant, Leaving, Owner, Settled, Settlement
from glassq.shielding import Log
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.attempt import Attempts, Ended, Standing, settlement
from glassq.worker.callbacks import Callbacks
from glassq.worker.holdings import HeldLane
from glassq.worker.options import WorkerOptions
from glassq.worker.settle import Settler

log = Log("glassq.worker")


class Services(msgspec.Struct, frozen=True):
    """What the lanes of one worker share."""

    storage: Storage
    bus: Bus
    clock: Clock
    owner: Owner
    options: WorkerOptions
    attempts: Attempts
    settler: Settler
    callbacks: Callbacks
    stopping: Callable[[], bool]


class LaneRun:
    """One stay in one lane. Runs in one thread from the claim to the leaving."""

    def __init__(self, services: Services, lane: HeldLane, grant: Grant, *, now: float, others: bool) -> None:
        self._with = services
        self._lane = lane
        self._jobs = deque(grant.jobs)
        self._past = Standing(grant.attempts, grant.failures, grant.crashes, grant.cancelled)
        self._change = grant.change
        self._others = others
        self._served = 0
        self._last: StoredJob | None = None
        self._note_time(now)

    def run(self) -> None:
        """Serve the lane until it is empty, given up or lost."""
        held = True
        while held and self._jobs and self._may_start():
            held = self._serve(self._jobs.popleft())
        if held:  # stopping
            self._release()
        elif not self._lane.lost:
            self._with.bus.emit(LaneLeft(lease=self._lane.lease))

    def _serve(self, job: StoredJob) -> bool:
        """Attempt a job and settle it; whether the lane is still held."""
        self._watch_order(job)
        ended = self._with.attempts.perform(self._lane, job, self._past, self._store_now())
        self._served += 1
        # A callback comes before whatever happens to the lane next.
        leaving = self._leaving() if ended.callback is None else Leaving.KEEP
        answer = self._with.settler.settle(self._lane, ended, self._settlement(ended, leaving))
        if answer is None:
            return False
        if ended.callback is not None:
            self._with.callbacks.run(self._lane, ended)
            if answer.held:  # only now may what comes next begin
                self._others = answer.others
                answer = self._with.settler.move_on(self._lane, self._settlement(ended, self._leaving()))
                if answer is None:
                    return False
        self._take_in(answer)
        return answer.held

    # -- before ------------------------------------------------------------------------------------------

    def _may_start(self) -> bool:
        """Whether the next job may begin: not while stopping, not on a lease that may have ended."""
        # fence: the one place in a worker that lets a job begin.
        if not self._lane.ours():
            self._with.settler.lose(self._lane, "expired")
            return False
        return not self._with.stopping()

    def _watch_order(self, job: StoredJob) -> None:
        """Report what must never happen: a job after a later one, or the same one twice in one stay."""
        # order: within a level the sequence only grows; replays keep an old one and are exempt.
        last = self._last
        if last is not None and last.level == job.level and not job.replayed and job.seq <= last.seq:
            kind = "duplicate" if job.seq == last.seq else "reorder"
            self._with.bus.emit(OrderViolated(queue=self._lane.lease.queue, kind=kind))
        self._last = job

    # -- after -------------------------------------------------------------------------------------------

    def _settlement(self, ended: Ended, leaving: Leaving) -> Settlement:
        return settlement(
            self._lane,
            ended,
            leaving=leaving,
            next_id=self._jobs[0].id if self._jobs else None,
            change=self._change,
            window=self._with.options.window,
        )

    def _leaving(self) -> Leaving:
        """Whether to go on with this lane: not when stopping, not past the turn while others wait."""
        if self._with.stopping():
            return Leaving.RELEASE
        if self._others and self._served >= self._with.options.turn:
            return Leaving.YIELD
        return Leaving.STAY

    def _take_in(self, answer: Settled) -> None:
        """What the store said: its time, whether others wait, what replaces a used up or stale window."""
        self._note_time(answer.now)
        self._others = answer.others
        self._past = Standing()
        if answer.jobs or answer.change != self._change:
            self._jobs = deque(answer.jobs)
        self._change = answer.change

    def _release(self) -> None:
        if self._lane.lost:
            return
        self._lane.leaving = True
        try:
            self._with.storage.release(self._with.owner, [self._lane.lease])
        except StorageError as error:
            log.warning("cannot release %s, its lease will end by itself: %s", self._lane.lease, error)
        self._with.bus.emit(LaneLeft(lease=self._lane.lease))

    # -- the store's time ------------------------------------------------------------------------------------

    def _note_time(self, now: float) -> None:
        self._heard = (now, self._with.clock.monotonic())

    def _store_now(self) -> float:
        """The store's clock: what it last said plus the time since. Two wall clocks are never compared."""
        said, at = self._heard
        return said + self._with.clock.monotonic() - at
