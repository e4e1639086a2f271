"""How many lanes a worker takes beyond those its free threads begin at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Final

from glassq.model.clock import Clock
from glassq.model.leases import Claimed
from glassq.worker.bundles import Held
from glassq.worker.granted import GrantedLane
from glassq.worker.pool import LanePool

_HORIZON: Final = 0.01
"""Seconds: as many lanes are taken as were served in so long. Few at a time cost rate, for a claim costs as
much as some lanes; many would keep other workers from lanes they could begin at once."""
_MOST: Final = 96
"""More save little; and when this worker is killed, all of them wait for the end of a lease."""
_MOST_AMONG_OTHERS: Final = 48
"""Beside other workers more would cost fairness, as those that hold many get on at different speeds: unless
so many are a small part of all that are ready."""
_PART: Final = 0.05
"""Such a part."""
_OWN_WORK: Final = 0.00005
"""Seconds of the interpreter around each job: what runs for less gains nothing by more threads."""
PATIENCE: Final = 0.05
"""Seconds after which a lane that waits for a thread is given back for others to serve."""

_RAN: Callable[[Held], float] = attrgetter("ran")


class Reach:
    """Goes by how fast lanes were served of late: quick turns reach far, slow ones take nothing ahead.

    And where jobs are shorter than what is done around them, threads would only wait for each other: then
    fewer are wanted. Belongs to the thread that claims, but for `note`.
    """

    def __init__(self, clock: Clock, pool: LanePool[GrantedLane]) -> None:
        self._clock = clock
        self._pool = pool
        self._looked = clock.monotonic()
        self._done = self._stepped = self._moved = 0
        self._moved_at = self._looked
        self._ran = 0.0
        self._unrun = 0
        self._lanes = 0
        self._most = _MOST_AMONG_OTHERS
        self.crowded = False
        """Whether the last claim found more lanes than there are threads."""

    def look(self, claimed: Claimed) -> None:
        """What was claimed is about to be put into the pool."""
        lanes = self._pool.busy + len(self._pool) + len(claimed.grants)
        self.crowded = bool(claimed.others) or lanes > self._pool.size
        few = max(_MOST_AMONG_OTHERS, int(sum(claimed.others.values()) * _PART))
        self._most = _MOST if claimed.alone else min(few, _MOST)

    def note(self, lanes: Iterable[Held]) -> None:
        """Lanes were served."""
        ran = list(map(_RAN, lanes))
        self._ran += sum(ran)  # two threads at once may lose some: good enough for a guess
        self._unrun += ran.count(0.0)

    def lanes(self) -> int:
        """How many more lanes may wait for a thread now."""
        now, done, steps = self._clock.monotonic(), self._pool.served, self._pool.steps
        if steps != self._moved:
            self._moved, self._moved_at = steps, now
        # Where nothing ran, as of a job that was given up, nothing is known of how long jobs take.
        elapsed, served = now - self._looked, done - self._done - self._unrun
        if served > 0:
            self._lanes = min(self._most, int(served * _HORIZON / max(elapsed, _HORIZON / _MOST)))
            # A lane that has a thread to itself costs less than two that take turns in one.
            few, stepped = self.crowded and self._lanes > 0, steps - self._stepped - self._unrun
            self._pool.want(1 + int(self._ran / stepped / _OWN_WORK) if few else None)
            self._looked, self._done, self._stepped, self._ran, self._unrun = now, done, steps, 0.0, 0
        elif now - self._moved_at > PATIENCE:
            self.forget()
        return max(0, self._lanes - len(self._pool))

    def forget(self) -> None:
        """Jobs take longer than they did: let all threads work, and take nothing ahead."""
        self._lanes = 0
        self._pool.want()

    def is_late(self, lane: GrantedLane) -> bool:
        """Whether a lane has waited for too long."""
        return self._clock.monotonic() - lane.since > PATIENCE
