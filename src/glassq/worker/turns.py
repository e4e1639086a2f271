"""One thread's way through lanes: turn after turn, each settled on the wire before the next one begins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from glassq.model.leases import Lease
from glassq.worker.lanes import LaneRun


class Turns:
    """Serves a lane and those that wait behind it, until none is left.

    A lane whose last settlement was sent without waiting is left, but not done with before that was heard
    of: up to `most` of them are, oldest first. `next_lane` takes the next waiting lane; `give_back` is told
    which lanes of a queue are not to begin after all, and gives back those that wait as well; `done` is
    told of each lane that nothing is to be heard of any more.
    """

    def __init__(
        self,
        *,
        most: int,
        next_lane: Callable[[], LaneRun | None],
        give_back: Callable[[str, Sequence[LaneRun]], None],
        done: Callable[[LaneRun], None],
    ) -> None:
        self._most = most
        self._next_lane = next_lane
        self._give_back = give_back
        self._done = done
        self._left: deque[LaneRun] = deque()
        self._following: LaneRun | None = None

    def run(self, first: LaneRun) -> None:
        """Serve this lane and what follows."""
        lane: LaneRun | None = first
        try:
            while lane is not None:
                self._serve(lane)
                lane, self._following = self._following or self._next(), None
        finally:
            while self._left:
                self._hear_oldest()
            if self._following is not None:
                self._give_back(self._following.lease.queue, (self._following,))

    def _serve(self, lane: LaneRun) -> None:
        try:
            lane.run(self._follow)
        except BaseException:
            lane.fail()
            raise
        finally:
            self._left.append(lane)
            while self._left and (len(self._left) > self._most or self._left[0].heard()):
                self._hear_oldest()

    def _follow(self, queue: str) -> Lease | None:
        """Take the lane that is served next; its lease, when whoever leaves one of this queue has to say
        that it begins."""
        self._following = following = self._next_lane()
        return None if following is None else following.begin_after(queue)

    def _next(self) -> LaneRun | None:
        """The next waiting lane; before there is none, all that is on its way is heard of."""
        while (lane := self._next_lane()) is None and self._left:
            self._hear_oldest()
        return lane

    def _hear_oldest(self) -> None:
        lane = self._left.popleft()
        try:
            lane.leave()
        finally:
            self._done(lane)
        if lane.paused:
            queue, following = lane.lease.queue, self._following
            if following is not None and following.lease.queue == queue:
                self._following = None
            else:
                following = None
            self._give_back(queue, () if following is None else (following,))
