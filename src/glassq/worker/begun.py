"""A plain job's attempt that has begun: what its code and observers want to know, made when they ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from glassq.context import SLOT_HEADER, JobContext, slot_in
from glassq.model.events import AttemptStarted
from glassq.model.jobs import StoredJob
from glassq.model.runs import Run
from glassq.model.waits import Waited, Waits, seconds_between, split_together
from glassq.registry import TaskDefinition
from glassq.telemetry import Attempting
from glassq.worker.fence import check
from glassq.worker.holdings import HeldLane


class Begun(msgspec.Struct):
    """The first attempt of a plain job: a call of its task with these arguments. It began at `started` by
    this process's clock, `store_now` by the store's, and what it has waited for is among the `waits` of its
    lane. Its code was over at `over`, and had taken so many `seconds`."""

    lane: HeldLane
    tell: Callable[[JobContext, float | None, str], None]
    """Hears of its progress."""
    job: StoredJob
    task: TaskDefinition
    headers: dict[str, str]
    """What the job brought along."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    started: float
    store_now: float
    waits: Waits
    over: float = 0.0
    seconds: float = 0.0
    _context: JobContext | None = None
    _waited: Waited | None = None

    def context(self) -> JobContext:
        """The job as its own code sees it: always the same object."""
        if self._context is None:
            self._context = self._made_context()
        return self._context

    def _made_context(self) -> JobContext:
        lane, job, task = self.lane, self.job, self.task
        return JobContext(
            id=job.id,
            queue=lane.queue,
            task=task.name,
            key=lane.key,
            seq=job.seq,
            attempt=1,
            token=lane.lease.token,
            enqueued_at=job.eligible_at,
            slot=slot_in(self.headers) if SLOT_HEADER in self.headers else None,
            _check=partial(check, lane, lane.clock, self.started, task.timeout),
            _tell=self.tell,
        )

    def waited(self) -> Waited:
        """How long the job has waited, and what for."""
        if self._waited is None:
            self._waited = self.waits.split(self.job.eligible_at, self.store_now)
        return self._waited

    def subject(self) -> Attempting:
        """What is wrapped, where anything is around it."""
        seconds = seconds_between(self.job.eligible_at, self.store_now)
        return Attempting(self.context(), self.task.name, self.headers, seconds)

    def event(self) -> AttemptStarted:
        """What is told of it."""
        job, task = self.job, self.task
        in_queue, causes = self.waited()
        return AttemptStarted(
            lease=self.lane.lease,
            task=task.name,
            job_id=job.id,
            seq=job.seq,
            attempt=1,
            started=self.started,
            timeout=task.timeout,
            time_in_queue=in_queue,
            headers=self.headers,
            level=job.level,
            replayed=job.replayed,
            waits=causes,
        )


class Untold(list[Begun]):
    """Those that began one after the other, and of which the patient are not told yet: the last may run."""

    def event(self) -> AttemptStarted:
        """What is told of the last; not asked while there is none."""
        return self[-1].event()


class Begins(Run[AttemptStarted]):
    """Several of them that began in lanes of one queue; or all of one stay in a lane, which has these
    `waits`."""

    kind = AttemptStarted
    """See `Run.kind`."""

    def __init__(self, begun: Sequence[Begun], waits: Waits | None = None) -> None:
        self._begun = begun
        self._waits = waits
        self._waited: tuple[list[float], dict[str, float]] | None = None

    def make(self, index: int) -> AttemptStarted:
        """See `Run.make`."""
        return self._begun[index].event()

    def column(self, field: str) -> list[Any]:
        """See `Run.column`. What is counted of all costs no events."""
        match field:
            case "headers":
                return [each.headers for each in self._begun]
            case "time_in_queue":
                return self.waited()[0]
        return super().column(field)

    def first(self, field: str) -> Any:
        """See `Run.first`."""
        return self._begun[0].lane.lease if field == "lease" else super().first(field)

    def total(self, field: str) -> Mapping[str, float]:
        """See `Run.total`."""
        return self.waited()[1] if field == "waits" else super().total(field)

    def waited(self) -> tuple[list[float], dict[str, float]]:
        """How long each has waited, and for what all of them together."""
        if self._waited is None:
            begun, waits = self._begun, self._waits
            eligible, started = [each.job.eligible_at for each in begun], [each.store_now for each in begun]
            if waits is not None:
                self._waited = waits.split_all(eligible, started)
            else:
                self._waited = split_together([each.waits for each in begun], eligible, started)
        return self._waited

    def __len__(self) -> int:
        return len(self._begun)
