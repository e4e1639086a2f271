"""What jobs wait for, by the clock: an oracle that looks at every lane a quarter of a second at a time.

It shares nothing with the stores, which keep stretches of time and look at them when a lane is claimed. Here
each waiting job has an account per cause, and every step of the clock is put on one of them. What passes
while a lane is held is put aside until it is known whether its owner lived.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from glassq.model.leases import Lease, Owner
from glassq.model.waits import WaitCause

STEP = 250_000
"""µs. Everything in these plays happens at multiples of it."""
ALIVE = 60_000_000
"""µs for which a worker counts as alive after it was heard of."""


class Waiter(msgspec.Struct):
    """A job that has not been started: what it has waited for so far."""

    id: str
    spent: Counter[str] = msgspec.field(default_factory=Counter)
    aside: int = 0


class WatchedLane(msgspec.Struct):
    """A lane with jobs. `until` is the end of the lease or of the wait for a retry."""

    state: str = "ready"
    until: int = 0
    lease: Lease | None = None
    waiters: dict[str, Waiter] = msgspec.field(default_factory=dict)

    def put_aside(self, cause: WaitCause) -> None:
        """It is known what became of the time under the last lease."""
        for waiter in self.waiters.values():
            waiter.spent[cause] += waiter.aside
            waiter.aside = 0


class Oracle:
    """One queue."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.lanes: dict[str, WatchedLane] = {}
        self.paused: set[str | None] = set()
        self.alive: dict[Owner, int] = {}

    def lane(self, name: str) -> WatchedLane:
        """The lane, ready when there was none."""
        return self.lanes.setdefault(name, WatchedLane())

    def pass_step(self) -> None:
        """Everybody waits for a step longer."""
        for name, lane in self.lanes.items():
            cause = self.cause(name, lane)
            for waiter in lane.waiters.values():
                if cause is None:
                    waiter.aside += STEP
                else:
                    waiter.spent[cause] += STEP
        self.now += STEP

    def cause(self, name: str, lane: WatchedLane) -> WaitCause | None:
        """Of the step that begins now; None while somebody holds the lane."""
        if lane.state == "held":
            return None
        if lane.state == "halted":
            return WaitCause.HALTED
        if lane.state == "waiting" and self.now < lane.until:
            return WaitCause.BACKOFF
        if self.paused & {None, name}:
            return WaitCause.PAUSED
        if all(until <= self.now for until in self.alive.values()):
            return WaitCause.NO_WORKER
        return WaitCause.FAIRNESS

    # -- what happens to lanes -----------------------------------------------------------------------------

    def take_back(self) -> None:
        """A claim comes: leases that have ended were a dead owner's."""
        for lane in self.lanes.values():
            if lane.state == "held" and lane.until <= self.now:
                lane.put_aside(WaitCause.NO_WORKER)
                lane.state = "ready"
            elif lane.state == "waiting" and lane.until <= self.now:
                lane.state = "ready"

    def hold(self, lease: Lease, length: int) -> None:
        """The lane has an owner, who was heard of now."""
        lane = self.lane(lease.lane)
        lane.state, lane.lease, lane.until = "held", lease, self.now + length

    def renewed(self, lease: Lease, length: int) -> None:
        """Its owner lives."""
        lane = self.lanes[lease.lane]
        lane.put_aside(WaitCause.BEHIND_LANE)
        lane.until = self.now + length

    def leave(self, name: str, state: str, until: int = 0) -> None:
        """Its owner has given it up, or it stops."""
        lane = self.lanes[name]
        lane.put_aside(WaitCause.BEHIND_LANE)
        lane.state, lane.until = state, until

    def start(self, name: str, job: str) -> dict[str, int] | None:
        """What a job has waited for that starts now, for the first time; else None."""
        waiter = self.lanes[name].waiters.pop(job, None)
        if waiter is None:
            return None
        waiter.spent[WaitCause.BEHIND_LANE] += waiter.aside
        return {str(cause): spent for cause, spent in waiter.spent.items() if spent}

    def wait_for(self, name: str, job: str) -> None:
        """A job comes into its lane."""
        self.lane(name).waiters[job] = Waiter(job)

    def tidy(self, name: str, places: dict[str, str]) -> None:
        """A lane without jobs is gone."""
        if self.lanes[name].state != "held" and name not in places.values():
            del self.lanes[name]

    def may_start(self, lease: Lease, job: str) -> bool:
        """Whether a job runs, or may begin: not under a lease that has ended."""
        lane = self.lanes.get(lease.lane)
        if lane is None or job not in lane.waiters:
            return True
        return lane.state == "held" and lane.lease == lease and self.now < lane.until
