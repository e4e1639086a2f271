"""Plain jobs, which most jobs are: their attempts take the same steps as others, and fewer questions."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial

from glassq.context import JobContext
from glassq.model.events import AttemptStarted
from glassq.model.jobs import StoredJob
from glassq.model.waits import Waits
from glassq.policy.decide import ACKED
from glassq.registry import TaskDefinition
from glassq.worker.attempt import Attempts, Decoded, Ended, Standing
from glassq.worker.fence import check
from glassq.worker.holdings import HeldLane

_FRESH = Standing()
_NO_HEADERS: dict[str, str] = {}


class PlainAttempts:
    """First attempts of plain jobs of one lane: calls that brought nothing along (no headers, no place among
    others, no expiry), of tasks of whose successes nothing is told but that, with nothing around them.

    Those who are told of attempts promptly are told before each begins; the patient ones by `tell`. Belongs
    to the lane's thread.
    """

    def __init__(self, attempts: Attempts, lane: HeldLane) -> None:
        self._attempts = attempts
        self._lane = lane
        self._task: TaskDefinition | None = None
        self._check: Callable[[JobContext, float], None]
        self._untold: list[AttemptStarted] = []

    def perform(self, job: StoredJob, heard: tuple[float, float], waits: Waits) -> Ended | None:
        """As `Attempts.perform`; `heard` is what the store's clock has said, and when by this process's. None
        when this job is not plain: nothing has happened to it then."""
        attempts, lane = self._attempts, self._lane
        call = attempts.plain.open(job.body) if job.expires_at is None else None
        if call is None or not attempts.bus.is_idle():
            return None
        task, args, kwargs = call
        context = self._begin(job, task, heard, waits)
        # In a context of its own, as in every attempt.
        ran = copy_context().run(attempts.executor.run_bare, lane, context, task, args, kwargs)
        decoded = Decoded(task, _NO_HEADERS, args, kwargs)
        if ran.error is not None or lane.lost:
            return attempts.conclude(lane, job, _FRESH, decoded, ran)
        return Ended(job, 1, task.name, _NO_HEADERS, decoded, ran, ACKED, did_run=True)

    def says_no_more(self, ended: Ended) -> bool:
        """Whether nothing is told of this success but that, nothing kept of it, and nobody traces it."""
        if ended.decoded is None or ended.headers or ended.keep or ended.result is not None:
            return False
        return self._attempts.plain.takes(ended.decoded.task)

    def tell(self) -> None:
        """Tell the patient observers of the attempts that began since the last time."""
        if self._untold:
            self._attempts.bus.emit_late(self.untold())

    def untold(self) -> list[AttemptStarted]:
        """The attempts that began since the last time, for whoever tells of them instead."""
        untold, self._untold = self._untold, []
        return untold

    def _begin(
        self, job: StoredJob, task: TaskDefinition, heard: tuple[float, float], waits: Waits
    ) -> JobContext:
        lane, attempts, lease = self._lane, self._attempts, self._lane.lease
        if task is not self._task:
            self._task, self._check = task, partial(check, lane, attempts.clock, task.timeout)
        started = attempts.clock.monotonic()
        in_queue, causes = waits.split(job.eligible_at, heard[0] + started - heard[1])
        event = AttemptStarted(
            lease=lease,
            task=task.name,
            job_id=job.id,
            seq=job.seq,
            attempt=1,
            started=started,
            timeout=task.timeout,
            time_in_queue=in_queue,
            headers=_NO_HEADERS,
            level=job.level,
            replayed=job.replayed,
            waits=causes,
        )
        attempts.bus.emit_promptly(event)
        self._untold.append(event)
        return JobContext(
            id=job.id,
            queue=lane.queue,
            task=task.name,
            key=lane.key,
            seq=job.seq,
            attempt=1,
            token=lease.token,
            enqueued_at=job.eligible_at,
            _check=self._check,
            _began=started,
            _tell=attempts.tell,
        )
