"""Plain jobs, which most jobs are: their attempts take the same steps as others, and fewer questions."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import Any

from glassq.model.events import AttemptStarted
from glassq.model.jobs import StoredJob
from glassq.model.waits import Waits
from glassq.policy.decide import ACKED
from glassq.registry import TaskDefinition
from glassq.worker.attempt import Attempts, Decoded, Ended, Standing
from glassq.worker.begun import Begins, Begun, Stay
from glassq.worker.fence import look_again
from glassq.worker.holdings import HeldLane

_FRESH = Standing()


class PlainAttempts:
    """First attempts of plain jobs of one lane: calls that brought at most headers along (no place among
    others, no expiry), of tasks of whose successes nothing is told but that, with nothing around them that
    would mind.

    Those who are told of attempts promptly are told before each begins; the patient ones by `tell`, but can
    see in `Bus.begun` which one runs. Belongs to the lane's thread.
    """

    def __init__(self, attempts: Attempts, lane: HeldLane) -> None:
        self._attempts = attempts
        self._bus = attempts.bus
        self._lane = lane
        self._stay = Stay(lane, attempts.clock, attempts.tell)
        self._untold: list[Begun] = []

    def perform(self, job: StoredJob, heard: tuple[float, float], waits: Waits) -> Ended | None:
        """As `Attempts.perform`; `heard` is what the store's clock has said, and when by this process's. None
        when this job is not plain: nothing has happened to it then."""
        attempts, lane = self._attempts, self._lane
        call = attempts.plain.open(job.body) if job.expires_at is None else None
        if call is None:
            return None
        task, headers, args, kwargs = call
        is_bare = not headers and self._bus.is_idle()
        if not (is_bare or self._bus.leaves_plain):
            return None
        begun = self._begin(job, task, headers, heard, waits)
        if is_bare:
            # In a context of its own, as in every attempt.
            ran = copy_context().run(attempts.executor.run_bare, begun, args, kwargs)
        else:
            code = partial(self._code, begun, args, kwargs)
            ran = attempts.executor.run(begun.subject(), code, task.timeout)
        decoded = Decoded(task, headers, args, kwargs)
        if ran.error is not None or lane.lost:
            return attempts.conclude(lane, job, _FRESH, decoded, ran)
        return Ended(job, 1, task.name, headers, decoded, ran, ACKED, did_run=True)

    def perform_first(self, job: StoredJob, heard: tuple[float, float], waits: Waits) -> Ended | None:
        """As `perform`, of a job that may have woken its worker, and `tell`: whatever can be done afterwards
        is not done before it begins. None also where jobs of its queue take long: of such a one it is told
        when it begins, and not at its end."""
        queue, tasks = self._lane.lease.queue, self._attempts.plain
        ended = self.perform(job, heard, waits) if tasks.are_quick(queue) else None
        if ended is not None:
            tasks.took(queue, ended.ran.seconds)
            self.tell()
        return ended

    def _code(self, begun: Begun, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """What runs inside whatever is around it."""
        look_again(self._lane, begun.context())
        return begun.task.func(*args, **kwargs)

    def says_no_more(self, ended: Ended) -> bool:
        """Whether nothing is told of this success but that, nothing kept of it, and it may be told with
        others."""
        if ended.decoded is None or ended.keep or ended.result is not None:
            return False
        if ended.headers and not self._bus.leaves_plain:
            return False
        return self._attempts.plain.takes(ended.decoded.task)

    def tell(self) -> None:
        """Tell the patient observers of the attempts that began since the last time, and are over."""
        if self._untold:
            self._bus.emit_late(Begins(self.untold()))

    def untold(self) -> list[Begun]:
        """The attempts that began since the last time, for whoever tells of them instead. They are over."""
        self._bus.begun.pop(self._lane.lease, None)
        untold, self._untold = self._untold, []
        return untold

    def _begin(
        self,
        job: StoredJob,
        task: TaskDefinition,
        headers: dict[str, str],
        heard: tuple[float, float],
        waits: Waits,
    ) -> Begun:
        bus, stay = self._bus, self._stay
        started = stay.clock.monotonic()
        begun = Begun(stay, job, task, started, heard[0] + started - heard[1], waits, headers)
        bus.begun[stay.lane.lease] = begun
        if bus.is_prompt(AttemptStarted):
            bus.emit_promptly(begun.event())
        self._untold.append(begun)
        return begun
