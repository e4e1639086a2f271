"""A lane that is run ahead: one settlement after the other, all alike but for the jobs they name."""

from __future__ import annotations

from sqlite3 import Connection

from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.leases import Settled
from glassq.settling import Settling
from glassq.stores.sqlite import legs
from glassq.stores.sqlite.connection import Connections
from glassq.stores.sqlite.known import Known, Leg
from glassq.stores.sqlite.legs import Stepped
from glassq.stores.sqlite.liveness import Liveness
from glassq.stores.sqlite.naming import Names
from glassq.stores.sqlite.rows import micros
from glassq.stores.sqlite.settling import Run, step


class SqliteCourse:
    """See `glassq.settling.Course`. Each job is settled at once, before the next one begins: noted, on a leg,
    or taken out by a commit of its own where a leg begins. What is not routine is not sent, and nothing is
    done about it here.

    So there is never anything on its way, and nothing to be heard but what was just sent: `is_over` is False
    for good.
    """

    is_over = False
    """See `Course.is_over`."""

    def __init__(
        self,
        connections: Connections,
        known: Known,
        names: Names,
        liveness: Liveness,
        clock: Clock,
        run: Run,
    ) -> None:
        self._connections = connections
        self._known = known
        self._names = names
        self._liveness = liveness
        self._clock = clock
        self._run = run
        self._leg: Leg | None = None
        self._job_id = self._next_id = ""
        self._heard: list[Stepped] = []

    def send(self, job_id: str, next_id: str) -> int | None:
        """See `Course.send`. One transaction; on a leg a note."""
        self._job_id, self._next_id = job_id, next_id
        connections = self._connections
        try:
            stepped = connections.note(self._go_on) or connections.write(self._step, shared=True)
        except StorageError:
            return None  # sent again by itself, and then known for what it is
        if stepped is None:
            return None
        self._heard.append(stepped)
        return 1

    def _go_on(self, cx: Connection) -> Stepped | None:
        leg = self._leg or self._find_leg(cx)
        if leg is None:
            return None
        now = micros(self._clock.wall())
        return legs.go_on(self._known, leg, self._job_id, self._next_id, now)

    def _find_leg(self, cx: Connection) -> Leg | None:
        """The leg on which the last settlement let the lane go on, if that is as it was left then."""
        run, known = self._run, self._known
        queue = self._names.find(cx, run.lease.queue)
        leg = None if queue is None else known.leg_of(queue, run.lease.lane)
        if leg is None or not leg.lane.belongs(run.owner, run.lease):
            return None
        if leg.lane.change != run.change or known.others(cx, leg.lane.queue) != run.others:
            return None
        self._leg = leg
        return leg

    def _step(self, cx: Connection) -> Stepped | None:
        """The same where it is not on a leg; then one begins, unless somebody else has just written, and is
        likely to again. What is done here may be undone: then the leg is over with it."""
        run, known, lease = self._run, self._known, self._run.lease
        queue = self._names.find(cx, lease.queue)
        if queue is None or self._liveness.disowned(run.owner):
            return None
        anew = not known.legs
        legs.end(cx, known, queue, lease.lane)  # a lane is on one leg at most
        alone = known.knows(queue, lease.lane)
        stepped = step(cx, known, queue, run, self._job_id, self._next_id, micros(self._clock.wall()))
        lane = known.held(cx, queue, run.owner, lease)
        if alone and stepped is not None and lane is not None:
            self._leg = legs.begin(cx, known, lane, known.queue(cx, queue), anew=anew)
        return stepped

    def hear(self) -> int:
        """See `Course.hear`: all has been."""
        return 0

    def answers(self) -> list[Settled]:
        """See `Course.answers`."""
        heard, self._heard = self._heard, []
        return self._run.all_in_full(heard)

    def leave(self) -> list[tuple[Settling, int]]:
        """See `Course.leave`: nothing is on its way."""
        return []
