"""Serving one claimed lane: job after job in its order, until the lane is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from itertools import chain

from glassq.model.events import LaneLeft
from glassq.model.jobs import StoredJob
from glassq.model.leases import Grant, Lease, Leaving, Settled, Settlement
from glassq.model.verdicts import Action, Outcome
from glassq.model.waits import Waits
from glassq.settling import Settling
from glassq.worker.attempt import Ended, Standing, says_only_that, settlement
from glassq.worker.bundles import Bundle
from glassq.worker.flight import InFlight
from glassq.worker.holdings import HeldLane
from glassq.worker.plain import PlainAttempt, PlainAttempts
from glassq.worker.services import Services, give_back, may_begin
from glassq.worker.succession import NONE_YET, watch_order

_QUICK = 0.005
"""Seconds of run time up to which a job's settlement is not waited for: that would cost much beside it."""
_STAY = Leaving.STAY  # as often as it is asked for, an enum's attribute costs too much
_FRESH = Standing()
"""The past of a job that was not the head when its lane was claimed."""


class LaneRun:
    """One stay in one lane. Belongs to one thread from its first job to the leaving. Its `turn` is so many
    jobs; so many were `asked` for with the grant, if others waited. `heard` is what the store's clock said
    then, and when by this process's. Some may have been `served` before, and `ran` for so many seconds.

    `run` serves it; what it sent last may not have been answered then, and `leave` waits for that.
    """

    def __init__(
        self,
        services: Services,
        lane: HeldLane,
        grant: Grant,
        *,
        waits: Waits,
        heard: tuple[float, float],
        others: bool,
        turn: int,
        asked: int,
        served: Sequence[StoredJob] = (),
        ran: float = 0.0,
    ) -> None:
        self._with = services
        self._lane = lane
        self.held = lane
        """The lane as the worker's other threads see it."""
        self._jobs = [*grant.jobs[len(served) :]]
        self._past = Standing(grant.attempts, grant.failures, grant.crashes, grant.cancelled)
        self._waits = waits
        self._change = grant.change
        self._others = others
        self._held = True
        self._passed_on = False
        self._ahead = grant.ahead > 0
        self._turn = turn
        self._window = services.options.window
        self._ends = len(grant.jobs) < asked
        self._follow: Callable[[str], Lease | None]
        self.paused = False
        """Whether the store has said that nothing more of the queue is to begin."""
        self._has_courses = True
        self._plain: PlainAttempts | None = None
        self._served = len(served)
        self.ran = ran
        """Seconds its jobs ran for."""
        self._last = served[-1] if served else NONE_YET
        self._heard = heard
        self._since = heard[1]

    @cached_property
    def _in_flight(self) -> InFlight:
        """What was sent; of a short stay mostly nothing, as others send its end."""
        most = self._with.options.most_unheard
        return InFlight(self._with.settler, self._lane, most=most, hear=self._take_in, asked=self._since)

    @property
    def stays(self) -> Sequence[LaneRun]:
        """Itself: what is sent together is heard of together."""
        return (self,)

    @property
    def over(self) -> Sequence[LaneRun]:
        """It is left."""
        return (self,)

    @property
    def lease(self) -> Lease:
        """The lease of the lane."""
        return self._lane.lease

    def run(self, follow: Callable[[str], Lease | None], bundle: Bundle) -> None:
        """See `GrantedLane.run`."""
        self._follow = follow
        self._go_alone(bundle)
        self._run_on()

    def go_on_after(
        self, ended: Ended, now: float, follow: Callable[[str], Lease | None], bundle: Bundle
    ) -> None:
        """The same from the end of its next job on, which is not to be left to the bundle."""
        self._follow = follow
        self._go_alone(bundle)
        self._has_ended(self._jobs.pop(0), ended)
        self._finish(ended, now)
        self._run_on()

    def _run_on(self) -> None:
        is_quick = False
        while self._may_start():
            plain = self._plain
            # As the jobs before it, unless something says otherwise: one behind a new window is.
            if plain is not None and (is_quick or self._in_flight.is_on_course):
                attempt = self._run_ahead(plain)
                if attempt is not None:
                    is_quick = attempt.seconds <= _QUICK
                    self._finish(attempt.ended(), attempt.over)
                    continue
                is_quick = False
                plain.tell()
                if not self._may_start():
                    return
            self._serve(self._jobs.pop(0))

    def _tell_begun(self) -> None:
        """Tell who is told late of what began, before its end is told."""
        if self._plain is not None:
            self._plain.tell()

    def _has_ended(self, job: StoredJob, ended: Ended) -> None:
        self._watch_order(job)
        self._past = _FRESH
        self._served += 1
        self.ran += ended.ran.seconds

    def _go_alone(self, bundle: Bundle) -> None:
        bundle.send()
        self._lane.catch_up = partial(self._catch_up, threading.get_ident())

    def hear_of(self, ended: Ended, settlement: Settlement, settling: Settling, at: float) -> None:
        """An end was sent with others: hear of it here, whatever was answered."""
        self._in_flight.take_on(ended, settlement, settling, at)
        if not settlement.begun:
            self._passed_on, self._held = True, False
            self.leave()
        elif self._lane.lost:
            self._in_flight.abandon()
        else:
            self._in_flight.hear_all()

    def is_settled(self) -> bool:
        """It does not go on."""
        return True

    def heard(self) -> bool:
        """Whether all that was sent has been answered. Does not wait; takes in what has come."""
        self._in_flight.hear_arrived()
        return self._in_flight.empty

    def _catch_up(self, thread: int) -> bool:
        """Hear of all that was sent, in the middle of an attempt; whether the lane is not lost. What was sent
        belongs to the lane's thread: others have to do with what the store knows."""
        if threading.get_ident() == thread:
            self._in_flight.hear_all()
        return not self._lane.lost

    def _serve(self, job: StoredJob) -> None:
        """Attempt a job and settle it, or at least send its settlement."""
        self._watch_order(job)
        ended = self._with.attempts.perform(self._lane, job, self._past, self._store_now(), self._waits)
        self._served += 1
        self.ran += ended.ran.seconds
        self._past = _FRESH
        self._finish(ended, self._with.clock.monotonic())

    def _run_ahead(self, plain: PlainAttempts) -> PlainAttempt | None:
        """Serve the jobs that are plain, on the course: while all succeed and are quick, and others do not
        wait for the lane. What `_serve` does of each in many steps is done here in few. Returns the attempt
        with which that ended: it is over, and nobody was told. Whether anything is the matter with it is
        asked by whoever sees to it."""
        flight, lane, last, queue = self._in_flight, self._lane, self._last, self._lane.lease.queue
        services, monotonic = self._with, self._with.clock.monotonic
        over, stopping, crowded = services.over, services.stopping, services.crowded
        store_ahead, waits, others = self._heard[0] - self._heard[1], self._waits, self._others
        served, seconds, turn = self._served, self.ran, self._turn
        till = flight.asked + services.options.patience
        ahead, attempt = self._jobs, None
        for job, following, call in zip(ahead, chain(ahead[1:], (None,)), plain.calls(ahead), strict=False):
            started = monotonic()
            # fence: what `_may_start` asks, which says so where it may not; once for each job that begins.
            if call is None or lane.lost or lane.lapsed or started >= lane.deadline or over():
                break
            attempt = plain.run(job, call, started, store_ahead, waits)
            if job.seq <= last.seq:
                watch_order(services.bus, queue, last, job)
            last, now, ran = job, attempt.over, attempt.seconds
            served += 1
            seconds += ran
            if (
                attempt.otherwise is not None
                or ran > _QUICK
                or following is None
                or now >= till
                or stopping()
                or (served >= turn and (others or crowded(queue)))
                or not flight.go_on(attempt, following.id, now)
            ):
                break
            attempt = None
            # While it is on a course, nothing was heard that changes what is known of the lane.
            if not flight.is_on_course:
                break
        del ahead[: served - self._served]
        self._last, self._served, self.ran = last, served, seconds
        return attempt

    def _finish(self, ended: Ended, now: float) -> None:
        """Settle what has ended, or send its settlement."""
        leaving = self._leaving() if self._may_send(ended, now) else None
        if leaving is Leaving.STAY and self._ahead and self._jobs:
            self._go_on(ended, now)
        elif leaving is Leaving.YIELD:
            self._passed_on, self._held = True, False
            following = self._follow(self._lane.lease.queue)
            self._tell_begun()
            self._in_flight.send(ended, self._settlement(ended, leaving, begins=following), now)
        else:
            self._settle(ended, now)

    def _go_on(self, ended: Ended, now: float) -> None:
        """Send that this job has succeeded and the next one begins: on a course, where there is one and this
        job is like all others on it."""
        flight, plain = self._in_flight, self._plain
        if plain is None:
            plain = self._plain = PlainAttempts(self._with.attempts, self._lane)
        is_plain = plain.says_no_more(ended)
        if is_plain and flight.go_on(ended, self._jobs[0].id, now):
            return
        settlement = self._settlement(ended, Leaving.STAY, begun=True)
        if is_plain and flight.empty and self._has_courses and says_only_that(settlement):
            course = self._with.storage.course(self._with.owner, settlement, others=self._others)
            self._has_courses = course is not None
            flight.begin(course, settlement, tell_begun=plain.tell)
            if flight.go_on(ended, self._jobs[0].id, now):
                return
        plain.tell()
        flight.send(ended, settlement, now)

    def _settle(self, ended: Ended, now: float) -> None:
        """Settle and wait for what the store says, after it has said everything else."""
        self._tell_begun()
        flight, lane = self._in_flight, self._lane
        was_sent, is_interrupted = not flight.empty, ended.ran.outcome is Outcome.INTERRUPTED
        says_nothing = lane.lost or is_interrupted or ended.verdict.action is Action.DROP
        tells_more = not says_nothing and flight.has_unasked()
        if not tells_more:
            flight.hear_all()
        if was_sent and lane.lost:
            # order: what was sent before this may not have got there, and its job be the head still.
            self._with.settler.abandoned(lane, ended)
            return
        if is_interrupted and not lane.lost:
            self._interrupted(ended)
            return
        # A callback comes before whatever happens to the lane next.
        leaving = self._leaving() if ended.callback is None else Leaving.KEEP
        what = self._settlement(ended, leaving)
        if tells_more:
            # order: sent behind all others, and repeated behind them if any of these did not get there.
            answer = flight.settle(ended, what, now)
        else:
            answer = self._with.settler.settle(lane, ended, what)
        if answer is not None and ended.callback is not None:
            self._with.callbacks.run(self._lane, ended)
            if answer.held:  # only now may what comes next begin
                self._others = answer.others
                answer = self._with.settler.move_on(self._lane, self._settlement(ended, self._leaving()))
        if answer is not None:
            self._ahead = ended.ran.seconds <= _QUICK
            self._in_flight.asked = now
            self._take_in(answer)

    def _interrupted(self, ended: Ended) -> None:
        """An attempt that was cancelled because its event loop is left: while stopping, its job goes back
        with the lane as if it had not begun. Otherwise whoever is next would be cancelled, too."""
        if not self._with.stopping():
            self.fail()
        self._with.settler.abandoned(self._lane, ended)

    # -- before ------------------------------------------------------------------------------------------

    def _may_start(self) -> bool:
        """Whether there is a next job that may begin, and the lane was not given up."""
        return self._held and bool(self._jobs) and may_begin(self._with, self._lane)

    def _may_send(self, ended: Ended, now: float) -> bool:
        """Whether the next job, or another lane, may begin before the store has answered: all is well.

        Everything that may end the stay is waited for, and so is what takes much longer than an answer: then
        little is gained by it, and what others ask of the lane reaches it at once. Whoever has not heard from
        the store for as long as leases are renewed asks first: this process may have stood still.
        """
        return (
            ended.ran.seconds <= _QUICK
            and ended.verdict.action is Action.ACK
            and now - self._in_flight.asked < self._with.options.patience
            and ended.callback is None
        )

    def _watch_order(self, job: StoredJob) -> None:
        """See `watch_order`: this job begins."""
        watch_order(self._with.bus, self._lane.lease.queue, self._last, job)
        self._last = job

    # -- after -------------------------------------------------------------------------------------------

    def _settlement(
        self, ended: Ended, leaving: Leaving, *, begun: bool = False, begins: Lease | None = None
    ) -> Settlement:
        return settlement(
            self._lane,
            ended,
            leaving=leaving,
            next_id=self._jobs[0].id if self._jobs else None,
            change=self._change,
            window=self._with.options.window if begun else self._next_window(),
            ahead=self._with.options.max_in_flight if ended.ran.seconds <= _QUICK else 0,
            begun=begun,
            begins=begins,
        )

    def _leaving(self) -> Leaving:
        """Whether to go on with this lane: not when stopping; while others wait, not past the turn or when no
        more jobs are known of."""
        if self._with.stopping():
            return Leaving.RELEASE
        turn_is_over = self._served >= self._turn or (self._ends and not self._jobs)
        return Leaving.YIELD if turn_is_over and self._is_crowded() else _STAY

    def _is_crowded(self) -> bool:
        """Whether others wait, as far as is known here."""
        return self._others or self._with.crowded(self._lane.lease.queue)

    def _next_window(self) -> int:
        """How many jobs to read next: while others wait, no more than are left of the turn."""
        size = self._with.options.window
        self._window = max(1, min(size, self._turn - self._served)) if self._others else size
        return self._window

    def _take_in(self, answer: Settled) -> None:
        """What the store said: its time, whether others wait, what replaces a used up or stale window."""
        self._note_time(answer.now)
        self._others = answer.others
        self._held = answer.held and not self._passed_on  # of what was sent before that, too
        self.paused = answer.paused
        if answer.jobs:
            self._jobs = [*answer.jobs]
            self._ends = len(answer.jobs) < self._window
            self._change = answer.change
        elif answer.change != self._change:  # the next settlement, which is waited for, brings a new window
            self._ahead = False

    def fail(self) -> None:
        """What should not happen has happened: the lane waits for the end of its lease."""
        self._with.settler.lose(self._lane, "failed")

    def leave(self) -> None:
        """Hear of everything that was sent, and give the lane back if that has not happened."""
        if not self._lane.lost:
            self._in_flight.hear_all()
        if self._lane.lost:
            self._in_flight.abandon()
        elif self._held:  # stopping
            give_back(self._with, [self._lane])
        else:
            self._with.bus.emit(LaneLeft(lease=self._lane.lease))

    # -- the store's time ------------------------------------------------------------------------------------

    def _note_time(self, now: float) -> None:
        self._heard = (now, self._with.clock.monotonic())

    def _store_now(self) -> float:
        """The store's clock: what it last said plus the time since. Two wall clocks are never compared."""
        said, at = self._heard
        return said + self._with.clock.monotonic() - at
