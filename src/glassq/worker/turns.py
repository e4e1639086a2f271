"""One thread's way through lanes: turn after turn, one by one or several that are short in a bundle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from glassq.model.leases import Lease
from glassq.worker.bundles import BRIEF, Bundles, Held, Left
from glassq.worker.granted import GrantedLane
from glassq.worker.plain import PlainAttempt, PlainAttempts
from glassq.worker.succession import watch_order


class Turns:
    """Serves a lane and those that wait behind it, until none is left.

    A lane whose last settlement was sent without waiting is left, but not done with before that was heard of:
    as many are as bundles allow, oldest first. Ends in short turns go into a bundle, which is sent when it is
    due, and before anything else is done than to serve the next short turn. Where their jobs are plain, one
    loop serves them (`_sweep`), a job of one lane after a job of another: so no lane's next job waits for a
    message of its own. What is not like that has a lane for itself, once all was heard of.

    `next_lane` takes the next waiting lane; `is_watched` says whether another thread is awake that sends a
    bundle in time. `give_back` is told which lanes of a queue are not to begin after all, and gives back
    those that wait as well; `done` is told of lanes that nothing is to be heard of any more. While a turn
    goes on whose jobs are served among those of others, its lane is among the `unfinished`; `resume` is told
    of it before each further one. Where nothing else waits, and other threads `are_free`, they get a `share`;
    and where this one `is_wanted` no more, they get all.
    """

    def __init__(
        self,
        *,
        bundles: Bundles,
        next_lane: Callable[[], GrantedLane | None],
        is_watched: Callable[[], bool],
        give_back: Callable[[str, Sequence[GrantedLane]], None],
        done: Callable[[Sequence[Held]], None],
        unfinished: set[GrantedLane],
        resume: Callable[[GrantedLane], None],
        is_wanted: Callable[[], bool],
        are_free: Callable[[], bool],
        share: Callable[[Sequence[GrantedLane]], object],
    ) -> None:
        self._most, self._most_unheard = bundles.most_left, bundles.most_unheard
        self._next_lane = next_lane
        self._is_watched = is_watched
        self._give_back = give_back
        self._done = done
        self._left: deque[Left] = deque()
        self._unheard = 0
        self._following: GrantedLane | None = None
        self._going_on: deque[GrantedLane] = deque()
        self._unfinished = unfinished
        self._resume = resume
        self._is_wanted = is_wanted
        self._are_free = are_free
        self._share = share
        self._bundles = bundles
        self._bundle = bundles.begin(self._left, self._going_on)

    def run(self, first: GrantedLane) -> None:
        """Serve this lane and what follows."""
        lane: GrantedLane | None = first
        try:
            while lane is not None:
                lane = self._next(self._serve_some(lane))
        finally:
            self._bundles.end(self._bundle)
            self._hear_all()
            for queue in {lane.lease.queue for lane in self._taken()}:
                self._keep_from_beginning(queue)

    def _serve_some(self, lane: GrantedLane) -> GrantedLane | None:
        """Serve this lane, and perhaps others. Returns one that was taken then, and has not begun."""
        if lane.is_short:
            # One that is alone runs ahead of the store by itself.
            if self._going_on or (lane.has_company() if lane.served else lane.is_crowded()):
                return self._sweep(lane)
            if len(lane.grant.jobs) == 1 and lane.is_quick():
                self._bundle.send()
                return self._sweep(lane)
        self._serve(lane)
        return None

    def _serve(self, lane: GrantedLane) -> None:
        """Serve a lane by itself."""
        if lane.served:
            self._hear_all()
        self._unfinished.discard(lane)  # those that are in it wait for this one, which is at work
        self._unheard += 1
        try:
            lane.run(self._follow, self._bundle)
        except BaseException:
            self._fail(lane)
            raise
        self._left.append(lane.stay())
        self._hear_what_came()

    def _sweep(self, lane: GrantedLane) -> GrantedLane | None:
        """Serve this lane, whose turn is short, and those of its queue of which that is so: a job of each,
        while all are plain, quick and succeed, and others wait. What `_serve` and `_next` do of each in many
        steps is done here in few; whatever is not routine is left to them. Returns as `_serve_some`."""
        bundle, services, queue = self._bundle, lane.common.services, lane.held.lease.queue
        plain, begun = PlainAttempts(services.attempts, lane.held, bundle.untold), services.bus.begun
        monotonic, is_steered = services.clock.monotonic, services.storage.is_steered
        patience = services.options.patience
        over, stopping, crowded = services.over, services.stopping, services.crowded
        while True:
            held, jobs, served = lane.held, lane.grant.jobs, lane.served
            job = jobs[served]
            call = plain.open(job)
            started = monotonic()
            # fence: what `may_begin` asks, which says so where it may not; once for each job that begins.
            if call is None or held.lost or held.lapsed or started >= held.deadline or over():
                break
            plain.lane = held
            said, heard = lane.common.heard
            ahead = said - heard
            try:
                waits = lane.waits if served else lane.begins(started + ahead)
                attempt = plain.run(job, call, started, ahead, waits)
            except BaseException:
                self._fail(lane)
                raise
            begun.pop(held.lease, None)
            now, ran, goes_on = attempt.over, attempt.seconds, served + 1 < len(jobs)
            if (
                attempt.otherwise is not None
                or ran > BRIEF
                or now - heard >= patience
                or stopping()
                or is_steered(queue)  # this process has just changed it
                or not (goes_on or lane.others or crowded(queue))
            ):
                lane.attempt = attempt
                break
            lane.ran += ran
            if goes_on:
                self._go_on(lane, attempt)
            else:
                bundle.put(lane, attempt, now)
                if served:
                    self._unfinished.discard(lane)
            self._unheard += 1
            if bundle.is_due or self._unheard > self._most:
                return None
            next_lane = self._take() if self._going_on else self._next_lane()
            if next_lane is None or not (
                next_lane.is_short
                and next_lane.held.lease.queue == queue
                and next_lane.sent_after != bundle.sent
                and self._is_watched()
            ):
                return next_lane
            lane = next_lane
            lane.others = True  # the lane before goes back to the ready ones
        self._serve(lane)
        return None

    def _go_on(self, lane: GrantedLane, attempt: PlainAttempt) -> None:
        """Leave the end of its next job to the bundle. The one behind that begins once this was sent."""
        lane.served = place = lane.served + 1
        job, following = attempt.job, lane.grant.jobs[place]
        if following.seq <= job.seq:
            watch_order(lane.common.services.bus, lane.held.lease.queue, job, following)
        self._unfinished.add(lane)
        lane.sent_after = self._bundle.put(lane, attempt, attempt.over, following.id)
        self._going_on.append(lane)

    def _take(self) -> GrantedLane | None:
        """The lane to serve next: the first whose turn goes on, if its last end was sent or is to be sent
        now; otherwise one that has not begun, if there is any."""
        bundle = self._bundle
        while self._going_on and len(self._left) >= self._most_unheard:
            self._hear_oldest()
        if self._going_on and (lane := self._next_going_on()) is not None:
            if bundle.is_due or lane.sent_after != bundle.sent:
                self._resume(lane)
                return lane
            self._going_on.appendleft(lane)
        if (lane := self._next_lane()) is not None:
            return lane
        is_wanted = self._is_wanted()
        shares = not is_wanted or (len(self._going_on) > 1 and self._are_free())
        if shares:
            self._hear_all()
        if is_wanted and (lane := self._next_going_on()) is not None:
            self._resume(lane)
        if shares:
            self._share_what_goes_on()
        return lane

    def _share_what_goes_on(self) -> None:
        """Let other threads go on with it, as all was heard that was sent in it."""
        lanes = self._take_what_goes_on()
        for lane in lanes:
            lane.sent_after = -1
        self._unfinished.difference_update(lanes)
        if lanes:
            self._share(lanes)

    def _fail(self, lane: GrantedLane) -> None:
        """What should not happen has happened in it."""
        lane.fail()
        self._unfinished.discard(lane)
        self._left.append(lane.stay())

    def _follow(self, queue: str) -> Lease | None:
        """Take the lane that is served next; its lease, when whoever leaves one of this queue has to say
        that it begins."""
        self._following = following = self._next_lane()
        return None if following is None else following.begin_after(queue)

    def _next(self, taken: GrantedLane | None) -> GrantedLane | None:
        """The lane that is served next: the one that was taken, if it may be. Before there is none, all that
        is on its way is heard of."""
        if self._unheard > self._most:
            self._hear_what_came()
        while self._following is None:
            lane, taken = taken or self._take(), None
            if lane is None:
                self._bundle.send()
                if not self._left:
                    return None
                self._hear_oldest()
            elif self._goes_with_the_last(lane):
                return lane
            else:
                self._following = lane
                self._bundle.send(lane.begin_after)
                self._hear_what_came()
        lane, self._following = self._following, None
        return lane

    def _goes_with_the_last(self, lane: GrantedLane) -> bool:
        """Whether this lane may be served while the bundle is kept: its end may go with the others of it."""
        bundle = self._bundle
        if not bundle.ends.stays:
            return True
        queue, waits = lane.lease.queue, lane.sent_after == bundle.sent
        if waits or not (lane.is_short and bundle.takes(queue) and self._is_watched()):
            return False
        lane.begin_after(queue)
        return True

    def _hear_all(self) -> None:
        """Send what there is, and hear of all that is on its way."""
        self._bundle.send()
        while self._left:
            self._hear_oldest()

    def _hear_what_came(self) -> None:
        while self._left and (self._unheard > self._most or self._left[0].heard()):
            self._hear_oldest()

    def _hear_oldest(self) -> None:
        left = self._left[0]
        self._bundle.tell()  # another thread may have sent it: what began is told before its end
        try:
            left.leave()
        finally:
            self._left.popleft()  # not before: until then it is not known to be settled
            self._done(left.over)
            self._unheard -= len(left.stays)
        if left.paused:
            self._keep_from_beginning(left.lease.queue)

    def _taken(self) -> list[GrantedLane]:
        """The lanes that were taken, and in which something is to begin yet."""
        return [*self._going_on] if self._following is None else [self._following, *self._going_on]

    def _keep_from_beginning(self, queue: str) -> None:
        """Nothing more of this queue is to begin."""
        lanes: list[GrantedLane] = []
        if self._following is not None and self._following.lease.queue == queue:
            lanes, self._following = [self._following], None
        for lane in self._take_what_goes_on():
            (lanes if lane.lease.queue == queue else self._going_on).append(lane)
        if any(lane.served for lane in lanes):
            self._hear_all()
        self._give_back(queue, lanes)
        self._unfinished.difference_update(lanes)

    def _take_what_goes_on(self) -> list[GrantedLane]:
        """All lanes whose turn goes on, but for what others have taken away."""
        return [lane for _ in range(len(self._going_on)) if (lane := self._next_going_on()) is not None]

    def _next_going_on(self) -> GrantedLane | None:
        """The lane whose turn goes on next; None where there is none, or others have taken them away."""
        try:
            return self._going_on.popleft()
        except IndexError:
            return None
