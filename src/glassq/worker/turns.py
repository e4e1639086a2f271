"""One thread's way through lanes: turn after turn, one by one or several that are short in a bundle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from glassq.model.leases import Lease
from glassq.worker.bundles import BRIEF, Bundles, Left, Stay
from glassq.worker.granted import GrantedLane
from glassq.worker.plain import PlainAttempts


class Turns:
    """Serves a lane and those that wait behind it, until none is left.

    A lane whose last settlement was sent without waiting is left, but not done with before that was heard of:
    as many are as bundles allow, oldest first. Ends of short turns go into a bundle, which is sent when it is
    due, and before anything else is done than to run the next short turn. Where turns are one plain job each,
    one loop serves them (`_sweep`).

    `next_lane` takes the next waiting lane; `is_watched` says whether another thread is awake that sends a
    bundle in time. `give_back` is told which lanes of a queue are not to begin after all, and gives back
    those that wait as well; `done` is told of lanes that nothing is to be heard of any more.
    """

    def __init__(
        self,
        *,
        bundles: Bundles,
        next_lane: Callable[[], GrantedLane | None],
        is_watched: Callable[[], bool],
        give_back: Callable[[str, Sequence[GrantedLane]], None],
        done: Callable[[Sequence[Stay]], None],
    ) -> None:
        self._most = bundles.most_left
        self._next_lane = next_lane
        self._is_watched = is_watched
        self._give_back = give_back
        self._done = done
        self._left: deque[Left] = deque()
        self._unheard = 0
        self._following: GrantedLane | None = None
        self._bundles = bundles
        self._bundle = bundles.begin(self._left)

    def run(self, first: GrantedLane) -> None:
        """Serve this lane and what follows."""
        lane: GrantedLane | None = first
        try:
            while lane is not None:
                lane = self._next(self._serve_some(lane))
        finally:
            self._bundle.send()
            self._bundles.end(self._bundle)
            while self._left:
                self._hear_oldest()
            if self._following is not None:
                self._give_back(self._following.lease.queue, (self._following,))

    def _serve_some(self, lane: GrantedLane) -> GrantedLane | None:
        """Serve this lane, and perhaps others. Returns one that was taken then, and has not begun."""
        if lane.is_single:
            if lane.is_crowded():
                return self._sweep(lane)
            if lane.is_quick():
                self._bundle.send()
                return self._sweep(lane)
        self._serve(lane)
        return None

    def _serve(self, lane: GrantedLane) -> None:
        self._unheard += 1
        try:
            in_bundle = lane.run(self._follow, self._bundle)
        except BaseException:
            self._fail(lane)
            raise
        if not in_bundle:
            self._left.append(lane.stay())
            self._hear_what_came()

    def _sweep(self, lane: GrantedLane) -> GrantedLane | None:
        """Serve this lane, which has one job, and those of its queue behind it of which that is so, while all
        jobs are plain, quick and succeed, and others wait. What `_serve` and `_next` do of each in many steps
        is done here in few; whatever is not routine is left to them. Returns as `_serve_some`."""
        bundle, services, queue = self._bundle, lane.common.services, lane.held.lease.queue
        plain, begun = PlainAttempts(services.attempts, lane.held, bundle.untold), services.bus.begun
        monotonic, patience, is_steered = (
            services.clock.monotonic,
            services.options.patience,
            services.storage.is_steered,
        )
        over, stopping, crowded = services.over, services.stopping, services.crowded
        while True:
            held, job = lane.held, lane.grant.jobs[0]
            call = plain.open(job)
            started = monotonic()
            # fence: what `may_begin` asks, which says so where it may not; once for each job that begins.
            if call is None or held.lost or held.lapsed or started >= held.deadline or over():
                break
            plain.lane = held
            said, heard = lane.common.heard
            ahead = said - heard
            try:
                attempt = plain.run(job, call, started, ahead, lane.served(started + ahead))
            except BaseException:
                self._fail(lane)
                raise
            begun.pop(held.lease, None)
            lane.attempt, lane.ran = attempt, (ran := attempt.seconds)
            now = attempt.over
            if (
                attempt.otherwise is not None
                or ran > BRIEF
                or now - heard >= patience
                or stopping()
                or is_steered(queue)  # this process has just changed it
                or not (lane.others or crowded(queue))
            ):
                break
            bundle.put(lane, attempt, now)
            self._unheard += 1
            if bundle.is_due or self._unheard > self._most:
                return None
            following = self._next_lane()
            if following is None or not (
                following.is_single and following.held.lease.queue == queue and self._is_watched()
            ):
                return following
            lane = following
            lane.others = True  # the lane before goes back to the ready ones
        self._serve(lane)
        return None

    def _fail(self, lane: GrantedLane) -> None:
        """What should not happen has happened in it."""
        lane.fail()
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
            lane, taken = taken or self._next_lane(), None
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
        """Whether this lane may be served while the bundle is kept: it may be left with the others of it."""
        bundle = self._bundle
        if not bundle.ends.stays:
            return True
        queue = lane.lease.queue
        if not (lane.is_short and bundle.takes(queue) and self._is_watched()):
            return False
        lane.begin_after(queue)
        return True

    def _hear_what_came(self) -> None:
        while self._left and (self._unheard > self._most or self._left[0].heard()):
            self._hear_oldest()

    def _hear_oldest(self) -> None:
        left = self._left.popleft()
        self._bundle.tell()  # another thread may have sent it: what began is told before its end
        try:
            left.leave()
        finally:
            self._done(left.stays)
            self._unheard -= len(left.stays)
        if left.paused:
            queue, following = left.lease.queue, self._following
            if following is not None and following.lease.queue == queue:
                self._following = None
            else:
                following = None
            self._give_back(queue, () if following is None else (following,))
