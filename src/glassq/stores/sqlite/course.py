"""A lane that is run ahead: one settlement after the other, all alike but for the jobs they name."""

from __future__ import annotations

from functools import partial
from sqlite3 import Connection

from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.leases import Settled
from glassq.settling import Answered, Settling
from glassq.stores.sqlite.connection import Connections
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.liveness import Liveness
from glassq.stores.sqlite.naming import Names
from glassq.stores.sqlite.rows import micros
from glassq.stores.sqlite.settling import Run, Stepped, step


class SqliteCourse:
    """See `glassq.settling.Course`. Each job is settled at once, by a commit of its own, before the next one
    begins; what is not routine is not sent, and nothing is done about it here.

    So there is never anything on its way, and nothing to be heard that was not asked for: `is_over` is False
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
        self._job_id = self._next_id = ""
        self._unheard: list[Stepped] = []
        self._heard: list[Stepped] = []

    def send(self, job_id: str, next_id: str) -> bool:
        """See `Course.send`. One transaction."""
        self._job_id, self._next_id = job_id, next_id
        try:
            stepped = self._connections.write(self._step, shared=True)
        except StorageError:
            return False  # sent again by itself, and then known for what it is
        if stepped is None:
            return False
        self._unheard.append(stepped)
        return True

    def _step(self, cx: Connection) -> Stepped | None:
        run = self._run
        key = self._names.find(cx, run.lease.queue)
        if key is None or self._liveness.disowned(run.owner):
            return None
        return step(cx, self._known, key, run, self._job_id, self._next_id, micros(self._clock.wall()))

    def hear(self, *, wait: bool = False) -> int:  # noqa: ARG002 - what was sent was answered
        """See `Course.hear`."""
        heard, self._unheard = self._unheard, []
        self._heard += heard
        return len(heard)

    def answers(self) -> list[Settled]:
        """See `Course.answers`."""
        heard, self._heard = self._heard, []
        return [stepped.in_full(self._run) for stepped in heard]

    def leave(self) -> list[Settling]:
        """See `Course.leave`."""
        left, self._unheard = self._unheard, []
        return [Answered(partial(stepped.in_full, self._run)) for stepped in left]
