"""One thread's way through lanes: turn after turn, one by one or several that are short in a bundle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from glassq.model.leases import Lease
from glassq.worker.bundles import Bundles, Left, Stay
from glassq.worker.granted import GrantedLane


class Turns:
    """Serves a lane and those that wait behind it, until none is left.

    A lane whose last settlement was sent without waiting is left, but not done with before that was heard of:
    as many are as bundles allow, oldest first. Ends of short turns go into a bundle, which is sent when it is
    due, and before anything else is done than to run the next short turn. `next_lane` takes the next waiting
    lane; `is_watched` says whether another thread is awake that sends a bundle in time. `give_back` is told
    which lanes of a queue are not to begin after all, and gives back those that wait as well; `done` is told
    of lanes that nothing is to be heard of any more.
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
                self._serve(lane)
                lane = self._next()
        finally:
            self._bundle.send()
            self._bundles.end(self._bundle)
            while self._left:
                self._hear_oldest()
            if self._following is not None:
                self._give_back(self._following.lease.queue, (self._following,))

    def _serve(self, lane: GrantedLane) -> None:
        self._unheard += 1
        in_bundle = False
        try:
            in_bundle = lane.run(self._follow, self._bundle)
        except BaseException:
            lane.fail()
            raise
        finally:
            if not in_bundle:
                self._left.append(lane.stay())
            if not in_bundle or self._unheard > self._most:
                self._hear_what_came()

    def _follow(self, queue: str) -> Lease | None:
        """Take the lane that is served next; its lease, when whoever leaves one of this queue has to say
        that it begins."""
        self._following = following = self._next_lane()
        return None if following is None else following.begin_after(queue)

    def _next(self) -> GrantedLane | None:
        """The lane that is served next; before there is none, all that is on its way is heard of."""
        while self._following is None:
            lane = self._next_lane()
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
        if not bundle.ends:
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
