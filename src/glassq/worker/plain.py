"""Plain jobs, which most jobs are: their attempts take the same steps as others, and fewer questions."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial

import msgspec

from glassq.codec import open_plain
from glassq.context import JobContext
from glassq.errors import CorruptRecord
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
        self._is_plain = False
        self._untold: list[AttemptStarted] = []

    def perform(self, job: StoredJob, heard: tuple[float, float], waits: Waits) -> Ended | None:
        """As `Attempts.perform`; `heard` is what the store's clock has said, and when by this process's. None
        when this job is not plain: nothing has happened to it then."""
        call = open_plain(job.body) if job.expires_at is None else None
        if call is None:
            return None
        name, serializer, payload = call
        task = self._attempts.registry.find(name)
        if task is None or not self.takes(task) or task.is_async:
            return None
        if serializer != self._attempts.serializer or not self._attempts.bus.is_idle():
            return None
        try:
            arguments = task.codec.decode(payload)
        except CorruptRecord:
            return None
        context = self._begin(job, task, heard, waits)
        # In a context of its own, as in every attempt.
        ran = copy_context().run(self._attempts.executor.run_bare, self._lane, context, task, arguments)
        decoded = Decoded(task, _NO_HEADERS, *arguments)
        if ran.error is not None or self._lane.lost:
            return self._attempts.conclude(self._lane, job, _FRESH, decoded, ran)
        return Ended(job, 1, name, _NO_HEADERS, decoded, ran, ACKED, did_run=True)

    def says_no_more(self, ended: Ended) -> bool:
        """Whether nothing is told of this success but that, nothing kept of it, and nobody traces it."""
        if ended.decoded is None or ended.headers or ended.keep or ended.result is not None:
            return False
        return self.takes(ended.decoded.task)

    def takes(self, task: TaskDefinition) -> bool:
        """Whether of a success of this task no more is to be told than that."""
        if task is not self._task:
            self._task, self._is_plain = task, says_only_success(task)
        return self._is_plain

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
        lane, attempts, started = self._lane, self._attempts, self._attempts.clock.monotonic()
        in_queue, causes = waits.split(job.eligible_at, heard[0] + started - heard[1])
        event = AttemptStarted(
            lease=lane.lease,
            task=task.name,
            job_id=job.id,
            seq=job.seq,
            attempt=1,
            started=started,
            timeout=task.timeout,
            time_in_queue=in_queue,
            waits=causes,
            level=job.level,
            replayed=job.replayed,
        )
        self._attempts.bus.emit_promptly(event)
        self._untold.append(event)
        return JobContext(
            id=job.id,
            queue=lane.queue,
            task=task.name,
            key=lane.key,
            seq=job.seq,
            attempt=1,
            token=lane.lease.token,
            enqueued_at=job.eligible_at,
            _check=partial(check, lane, attempts.clock, started, task.timeout),
            _tell=attempts.tell,
        )


_SAYS_NOTHING_MORE = frozenset(
    {
        *("name", "queue", "func", "signature", "codec", "key", "ttl", "priority", "left_out"),
        *("max_retries", "retry_wait", "on_exhausted", "on_error", "timeout", "is_async"),
    }
)
"""What a task may say without changing what is told of its successes. Any other option may, those to come
included."""


def says_only_success(task: TaskDefinition) -> bool:
    """Whether of a success of this task no more is to be told than that."""
    fields = msgspec.structs.fields(task)
    return all(
        field.name in _SAYS_NOTHING_MORE or getattr(task, field.name) == field.default for field in fields
    )
