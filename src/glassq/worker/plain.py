"""Plain jobs, which most jobs are: their attempts take the same steps as others, and fewer questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from itertools import islice, repeat
from typing import Any

from glassq.context import JobContext
from glassq.model.events import AttemptStarted
from glassq.model.jobs import StoredJob
from glassq.model.verdicts import Outcome
from glassq.model.waits import Waits
from glassq.policy.decide import ACKED
from glassq.worker.attempt import Attempts, Decoded, Ended, Standing
from glassq.worker.begun import Begins, Begun, Untold
from glassq.worker.executors import Ran
from glassq.worker.fence import look_again
from glassq.worker.holdings import HeldLane
from glassq.worker.plaintasks import Call

_TOGETHER = 32
"""Jobs that are opened together at most."""
_FRESH = Standing()
_SUCCEEDED = Outcome.SUCCEEDED


class PlainAttempt(Begun):
    """One that is over. It succeeded, which is told of it without more, unless it came to something else."""

    otherwise: Ended | None = None
    """What it came to then."""

    def ended(self) -> Ended:
        """See `Success.ended`; or what it came to otherwise."""
        if self.otherwise is not None:
            return self.otherwise
        ran = Ran(_SUCCEEDED, None, None, self.seconds)
        name, decoded = self.task.name, self.decoded()
        return Ended(self.job, 1, name, self.headers, decoded, ran, ACKED, did_run=True)

    def decoded(self) -> Decoded:
        """The job as it was run."""
        return Decoded(self.task, self.headers, self.args, self.kwargs)


class PlainAttempts:
    """First attempts of plain jobs of a lane: calls that brought at most headers along (no place among
    others, no expiry), of tasks of whose successes nothing is told but that, with nothing around them that
    would mind.

    Those who are told of attempts promptly are told before each begins; the patient ones by `tell`, but can
    see in `Bus.begun` which one runs. Belongs to the lane's thread, which may have one for all lanes that it
    runs one after the other, and a list in which it keeps what is to be told.
    """

    def __init__(self, attempts: Attempts, lane: HeldLane, untold: Untold | None = None) -> None:
        self._attempts = attempts
        self._tasks = attempts.plain
        self._bus = attempts.bus
        self.lane = lane
        """That of the next attempt."""
        self._tell = attempts.tell
        self._untold = Untold() if untold is None else untold
        self._noted: HeldLane | None = None

    def open(self, job: StoredJob) -> Call | None:
        """What this job calls; None when it is not plain."""
        call = self._tasks.open(job.body) if job.expires_at is None else None
        if call is None or self._bus.leaves_plain or (not call[1] and self._bus.is_idle()):
            return call
        return None

    def calls(self, jobs: Iterable[StoredJob]) -> Iterator[Call | None]:
        """As `open` of each of these jobs when its turn comes, in less time: those behind it are opened with
        it, and once more where what they mean has changed before their turn."""
        registry, bus, left = self._attempts.registry, self._bus, iter(jobs)
        while several := [*islice(left, _TOGETHER)]:
            edition, leaves_plain = registry.edition, bus.leaves_plain
            opened = self._tasks.open_together(several) if leaves_plain else None
            for job, call in zip(several, opened or repeat(None), strict=False):
                is_as_before = registry.edition == edition and bus.leaves_plain is leaves_plain
                yield (call if is_as_before else None) or self.open(job)

    def run(self, job: StoredJob, call: Call, started: float, ahead: float, waits: Waits) -> PlainAttempt:
        """Attempt a plain job, of which this is the call. It was `started` when the caller looked at the
        lane, right before this, by this process's clock. The store's is so much `ahead`."""
        bus, lane, (task, headers, args, kwargs) = self._bus, self.lane, call
        attempt = PlainAttempt(
            lane, self._tell, job, task, headers, args, kwargs, started, started + ahead, waits
        )
        self._untold.append(attempt)
        if lane is not self._noted:
            self._noted, bus.begun[lane.lease] = lane, self._untold
        is_told = AttemptStarted in bus.prompt_kinds
        if is_told:
            bus.emit_promptly(attempt.event())
        is_idle = bus.is_idle
        if not headers and is_idle():
            # In a context of its own, as in every attempt. fence: who is told may take any time, so the lane
            # is looked at once more, right before user code.
            ran = copy_context().run(self._attempts.run_bare, attempt, look_again if is_told else None)
        else:
            ran = self._run_wrapped(attempt)
        if ran is not None or lane.lost:
            ran = ran or Ran(_SUCCEEDED, None, None, attempt.seconds)
            attempt.otherwise = self._attempts.conclude(lane, job, _FRESH, attempt.decoded(), ran)
        return attempt

    def _run_wrapped(self, attempt: Begun) -> Ran | None:
        """Run it inside whatever is around it. None when it succeeded."""
        attempts, subject = self._attempts, attempt.subject()
        ran = attempts.executor.run(subject, partial(self._code, attempt, subject.job), attempt.task.timeout)
        attempt.over, attempt.seconds = attempts.clock.monotonic(), ran.seconds
        return None if ran.outcome is _SUCCEEDED else ran

    def _code(self, begun: Begun, context: JobContext) -> Any:
        """What runs there."""
        look_again(begun.lane, context)
        return begun.task.func(*begun.args, **begun.kwargs)

    def says_no_more(self, ended: Ended) -> bool:
        """Whether nothing is told of this success but that, nothing kept of it, and it may be told with
        others."""
        if ended.decoded is None or ended.keep or ended.result is not None:
            return False
        if ended.headers and not self._bus.leaves_plain:
            return False
        return self._attempts.plain.takes(ended.decoded.task)

    def tell(self) -> None:
        """Tell the patient observers of the attempts that began since the last time, and are over. All were
        in this stay: one lane's that runs several."""
        untold = self.untold()
        if untold:
            self._bus.emit_late(Begins(untold, untold[0].waits))

    def untold(self) -> Sequence[Begun]:
        """The attempts that began since the last time, for whoever tells of them instead. They are over."""
        untold, self._untold = self._untold, Untold()
        if untold:
            self._noted = None
            self._bus.begun.pop(self.lane.lease, None)
        return untold
