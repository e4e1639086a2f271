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
from glassq.model.verdicts import Action
from glassq.shielding import Log
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.attempt import Attempts, Ended, Standing, settlement
from glassq.worker.callbacks import Callbacks
from glassq.worker.flight import InFlight
from glassq.worker.holdings import HeldLane
from glassq.worker.options import WorkerOptions
from glassq.worker.settle import Settler

log = Log("glassq.worker")


_QUICK = 0.005
"""Seconds of run time up to which a job's settlement is not waited for."""
_FRESH = Standing()
"""The past of a job that was not the head when its lane was claimed."""


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
        self._held = True
        self._ahead = False
        self._asked = services.clock.monotonic()
        self._in_flight = InFlight(
            services.settler, lane, most=services.options.max_in_flight, hear=self._take_in
        )
        self._served = 0
        self._last: StoredJob | None = None
        self._note_time(now)

    def run(self) -> None:
        """Serve the lane until it is empty, given up or lost."""
        while self._may_start():
            self._serve(self._jobs.popleft())
        self._leave()

    def _serve(self, job: StoredJob) -> None:
        """Attempt a job and settle it, or at least send its settlement."""
        self._watch_order(job)
        ended = self._with.attempts.perform(self._lane, job, self._past, self._store_now())
        self._served += 1
        self._past = _FRESH
        now = self._with.clock.monotonic()
        if self._may_go_on(ended, now):
            self._in_flight.send(ended, self._settlement(ended, Leaving.STAY, begun=True), now)
        else:
            self._settle(ended, now)

    def _settle(self, ended: Ended, now: float) -> None:
        """Settle and wait for what the store says, after it has said everything else."""
        self._in_flight.hear_all()
        # A callback comes before whatever happens to the lane next.
        leaving = self._leaving() if ended.callback is None else Leaving.KEEP
        answer = self._with.settler.settle(self._lane, ended, self._settlement(ended, leaving))
        if answer is not None and ended.callback is not None:
            self._with.callbacks.run(self._lane, ended)
            if answer.held:  # only now may what comes next begin
                self._others = answer.others
                answer = self._with.settler.move_on(self._lane, self._settlement(ended, self._leaving()))
        if answer is not None:
            self._ahead = _is_quick(ended)
            self._take_in(answer, now)

    # -- before ------------------------------------------------------------------------------------------

    def _may_start(self) -> bool:
        """Whether there is a next job that may begin: not in a lane that was given up, not on a lease that
        may have ended, not while stopping. What has been answered was heard when the last one was sent."""
        if self._lane.lost or not self._held or not self._jobs:
            return False
        # fence: the one place in a worker that lets a job begin.
        if not self._lane.ours():
            self._with.settler.lose(self._lane, "expired")
            return False
        return not self._with.stopping()

    def _may_go_on(self, ended: Ended, now: float) -> bool:
        """Whether the next job may begin before the store has answered: all is well, and what is next known.

        Everything that may end the stay is waited for, and so is what takes much longer than an answer: then
        little is gained by it, and what others ask of the lane reaches it at once. Whoever has not heard from
        the store for as long as leases are renewed asks first: this process may have stood still.
        """
        return (
            self._ahead
            and now - self._asked < self._with.options.lease_seconds / 3
            and bool(self._jobs)
            and ended.verdict.action is Action.ACK
            and ended.callback is None
            and _is_quick(ended)
            and self._leaving() is Leaving.STAY
        )

    def _watch_order(self, job: StoredJob) -> None:
        """Report what must never happen: a job after a later one, or the same one twice in one stay."""
        # order: within a level the sequence only grows; replays keep an old one and are exempt.
        last = self._last
        if last is not None and last.level == job.level and not job.replayed and job.seq <= last.seq:
            kind = "duplicate" if job.seq == last.seq else "reorder"
            self._with.bus.emit(OrderViolated(queue=self._lane.lease.queue, kind=kind))
        self._last = job

    # -- after -------------------------------------------------------------------------------------------

    def _settlement(self, ended: Ended, leaving: Leaving, *, begun: bool = False) -> Settlement:
        return settlement(
            self._lane,
            ended,
            leaving=leaving,
            next_id=self._jobs[0].id if self._jobs else None,
            change=self._change,
            window=self._with.options.window,
            ahead=self._with.options.max_in_flight if _is_quick(ended) else 0,
            begun=begun,
        )

    def _leaving(self) -> Leaving:
        """Whether to go on with this lane: not when stopping, not past the turn while others wait."""
        if self._with.stopping():
            return Leaving.RELEASE
        if self._others and self._served >= self._with.options.turn:
            return Leaving.YIELD
        return Leaving.STAY

    def _take_in(self, answer: Settled, asked: float) -> None:
        """What the store said: its time, whether others wait, what replaces a used up or stale window."""
        self._asked = asked
        self._note_time(answer.now)
        self._others = answer.others
        self._held = answer.held
        if answer.jobs:
            self._jobs = deque(answer.jobs)
            self._change = answer.change
        elif answer.change != self._change:  # the next settlement, which is waited for, brings a new window
            self._ahead = False

    def _leave(self) -> None:
        """Hear of everything that was sent, and give the lane back if that has not happened."""
        if not self._lane.lost:
            self._in_flight.hear_all()
        if self._lane.lost:
            self._in_flight.abandon()
        elif self._held:  # stopping
            self._release()
        else:
            self._with.bus.emit(LaneLeft(lease=self._lane.lease))

    def _release(self) -> None:
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


def _is_quick(ended: Ended) -> bool:
    """Whether waiting for the store would cost much beside this attempt."""
    return ended.ran.seconds <= _QUICK
