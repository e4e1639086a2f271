"""A lane that is run ahead: one settlement after the other, all alike but for the jobs they name."""

from __future__ import annotations

from sqlite3 import Connection

from glassq.errors import StorageError
from glassq.model.clock import Clock
from glassq.model.leases import Settled
from glassq.settling import Settling
from glassq.stores.sqlite.connection import Connections
from glassq.stores.sqlite.known import Known
from glassq.stores.sqlite.liveness import Liveness
from glassq.stores.sqlite.naming import Names
from glassq.stores.sqlite.rows import micros
from glassq.stores.sqlite.settling import Run, Stepped, step


class SqliteCourse:
    """See `glassq.settling.Course`. Each job is settled at once, by a commit of its own, before the next one
    begins; what is not routine is not sent, and nothing is done about it here.

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
        self._job_id = self._next_id = ""
        self._heard: list[Stepped] = []

    def send(self, job_id: str, next_id: str) -> int | None:
        """See `Course.send`. One transaction."""
        self._job_id, self._next_id = job_id, next_id
        try:
            stepped = self._connections.write(self._step, shared=True)
        except StorageError:
            return None  # sent again by itself, and then known for what it is
        if stepped is None:
            return None
        self._heard.append(stepped)
        return 1

    def _step(self, cx: Connection) -> Stepped | None:
        run = self._run
        key = self._names.find(cx, run.lease.queue)
        if key is None or self._liveness.disowned(run.owner):
            return None
        return step(cx, self._known, key, run, self._job_id, self._next_id, micros(self._clock.wall()))

    def hear(self) -> int:
        """See `Course.hear`: all has been."""
        return 0

    def answers(self) -> list[Settled]:
        """See `Course.answers`."""
        heard, self._heard = self._heard, []
        return [stepped.in_full(self._run) for stepped in heard]

    def leave(self) -> list[tuple[Settling, int]]:
        """See `Course.leave`: nothing is on its way."""
        return []
