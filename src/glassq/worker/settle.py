"""Settling: told to the store until it answers or the lane is lost, then told to the observers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from glassq.errors import StorageError, StorageUnavailable
from glassq.model.clock import Clock
from glassq.model.events import (
    AttemptAbandoned,
    AttemptFailed,
    AttemptSettled,
    LaneLeft,
    LaneLost,
    SettlementDelayed,
    WorkflowEnded,
    WriteFenced,
)
from glassq.model.leases import Owner, Settled, Settlement, SettleStatus
from glassq.model.runs import Run
from glassq.model.several import Several, several
from glassq.model.verdicts import Action, Failure, Outcome, Verdict
from glassq.policy.decide import ACKED
from glassq.settling import Settling, Together
from glassq.shielding import Log
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.attempt import Ended, Success
from glassq.worker.backoff import RetryPause
from glassq.worker.begun import Begins, Begun
from glassq.worker.comings import Leavings
from glassq.worker.holdings import HeldLane

log = Log("glassq.worker")

_NO_FAILURES = (Outcome.EXPIRED, Outcome.CANCELLED, Outcome.INTERRUPTED)
"""Outcomes that come with an error, and that somebody asked for."""


class Settler:
    """Commits verdicts for one worker."""

    def __init__(
        self,
        storage: Storage,
        bus: Bus,
        clock: Clock,
        owner: Owner,
        random: Callable[[], float],
        relay: Callable[[Sequence[str]], None] = lambda _: None,
    ) -> None:
        self._relay = relay
        self._storage = storage
        self._bus = bus
        self._clock = clock
        self._owner = owner
        self._random = random

    def settle(self, lane: HeldLane, ended: Ended, settlement: Settlement) -> Settled | None:
        """The store's answer; None when the verdict was not accepted and the job will run again."""
        if ended.verdict.action is Action.DROP:
            self.lose(lane, "expired")
            self.abandoned(lane, ended)
            return None
        answer = self.move_on(lane, settlement)
        if answer is None:
            self.abandoned(lane, ended)
            return None
        self.settled(lane, ended, answer)
        return answer

    def send(self, settlement: Settlement) -> Settling:
        """Tell the store without waiting for what it says."""
        return self._storage.settle_later(self._owner, settlement)

    def send_together(self, settlements: Sequence[Settlement]) -> Together:
        """Tell the store of ends in several lanes, in one message, without waiting."""
        return self._storage.settle_together(self._owner, settlements)

    def move_on(self, lane: HeldLane, settlement: Settlement) -> Settled | None:
        """Tell the store, for the first time or again after a callback; None when the lane is lost."""
        lane.leaving = True
        answer = self._tell(lane, settlement)
        if answer is None:
            self.lose(lane, "expired")
            return None
        if answer.status is SettleStatus.FENCED:
            self.fenced(lane)
            return None
        lane.leaving = not answer.held
        return answer

    def _tell(self, lane: HeldLane, settlement: Settlement) -> Settled | None:
        try:
            return self.insist(lane, settlement)
        except StorageUnavailable:
            return None
        except StorageError:
            log.exception("settling %s cannot be done; the job runs again", settlement.job_id)
            return None

    def insist(self, lane: HeldLane, settlement: Settlement) -> Settled:
        """Repeat a settlement while the store is away, for as long as the lease lasts and once after. Raises
        `StorageUnavailable` when it still is, and any other `StorageError` when the store refuses."""
        pause = RetryPause(self._clock, self._random)
        while True:
            lasts = lane.ours()
            try:
                return self._storage.settle(self._owner, [settlement])[0]
            except StorageUnavailable as error:
                log.warning("settling %s: %s", settlement.job_id, error)
                self.delayed(settlement)
                if not lasts:
                    raise
            pause.wait()

    def delayed(self, settlement: Settlement) -> None:
        """Tell that an attempt is over which is not settled yet: nobody may take it for one that runs."""
        self._bus.emit(SettlementDelayed(lease=settlement.lease, job_id=settlement.job_id))

    def fenced(self, lane: HeldLane) -> None:
        """The store has refused a settlement: somebody else holds the lane."""
        self._bus.emit(WriteFenced(queue=lane.lease.queue, operation="settle"))
        self.lose(lane, "taken_over")

    def lose(self, lane: HeldLane, reason: str) -> None:
        """Note that a lane is no longer ours; told to the observers once."""
        if not lane.lost:
            lane.lost = True
            self._bus.emit(LaneLost(lease=lane.lease, reason=reason))

    def abandoned(self, lane: HeldLane, ended: Ended) -> None:
        """Tell that an attempt was not settled as far as is known: its job runs again."""
        self._bus.emit(
            AttemptAbandoned(
                lease=lane.lease,
                task=ended.task_name,
                job_id=ended.job.id,
                attempt=ended.attempt,
                outcome=ended.ran.outcome,
            )
        )
        if ended.failure is not None:
            self._failed(lane, ended, ended.failure, Verdict(Action.DROP, ended.verdict.reason))

    def settled(self, lane: HeldLane, ended: Ended, answer: Settled) -> None:
        """Tell that an attempt was settled."""
        self._bus.emit(_settled(lane, ended, answer))
        if ended.failure is not None:
            self._failed(lane, ended, ended.failure, ended.verdict)
        if answer.relay:
            self.relay(lane)
        for flow in answer.ended:
            self._bus.emit(
                WorkflowEnded(workflow=flow.id, name=flow.name, status=flow.status, seconds=flow.seconds)
            )

    def relay(self, lane: HeldLane) -> None:
        """See to it that what ended in this lane is told elsewhere."""
        self._relay((lane.lease.queue,))

    def settled_together(self, lane: HeldLane, ends: Sequence[Success], answers: Sequence[Settled]) -> None:
        """Tell that some attempts, at least one, have succeeded and were settled, and nothing else."""
        self._bus.emit_together(Successes((lane,) * len(ends), ends, several(answers)))

    def settled_each(
        self,
        lanes: Sequence[HeldLane],
        ends: Sequence[Success],
        answers: Several[Settled],
        left: Sequence[HeldLane],
    ) -> None:
        """The same of attempts of which each was in a lane of its own, all of one queue, and that some of
        these lanes were `left` with it."""
        self._bus.emit_together(Successes(lanes, ends, answers))
        if left and self._bus.is_heard(LaneLeft):
            self._bus.emit_together(Leavings([lane.lease for lane in left]))

    def begun_together(self, begun: Sequence[Begun]) -> None:
        """Tell the patient observers of attempts in one queue, of which the others were told promptly."""
        self._bus.emit_late(Begins(begun))

    def _failed(self, lane: HeldLane, ended: Ended, failure: Failure, verdict: Verdict) -> None:
        """Tell why an attempt failed, unless it was to end so: seldom, so not part of what is always told."""
        if ended.ran.outcome in _NO_FAILURES:
            return
        self._bus.emit(
            AttemptFailed(
                lease=lane.lease,
                task=ended.task_name,
                job_id=ended.job.id,
                attempt=ended.attempt,
                outcome=ended.ran.outcome,
                verdict=verdict,
                ran=ended.did_run,
                headers=ended.headers,
                failure=failure,
            )
        )


class Successes(Run[AttemptSettled]):
    """Attempts that succeeded and were settled, and nothing else, with their lanes and answers."""

    kind = AttemptSettled
    """See `Run.kind`."""
    alike: Mapping[str, Any] = {"outcome": Outcome.SUCCEEDED, "verdict": ACKED}
    """See `Run.alike`."""

    def __init__(self, lanes: Sequence[HeldLane], ends: Sequence[Success], answers: Several[Settled]) -> None:
        if len(answers) != len(ends):
            raise ValueError(f"{len(answers)} answers to {len(ends)} settlements")
        self._lanes = lanes
        self._ends = ends
        self._answers = answers

    def make(self, index: int) -> AttemptSettled:
        """See `Run.make`."""
        return _settled(self._lanes[index], self._ends[index].ended(), self._answers[index])

    def first(self, field: str) -> Any:
        """See `Run.first`."""
        return self._lanes[0].lease if field == "lease" else super().first(field)

    def common(self, field: str) -> Any:
        """See `Run.common`."""
        if field == "task":
            tasks = [end.task for end in self._ends]
            task = tasks[0]
            if tasks.count(task) == len(tasks):  # as nearly always
                return task.name
        return super().common(field)

    def column(self, field: str) -> list[Any]:
        """See `Run.column`. What is counted of all costs no events."""
        ends = self._ends
        told: list[Any]
        match field:
            case "end_to_end":
                heard = zip(self._answers.column("now"), ends, strict=True)
                told = [now - end.job.eligible_at for now, end in heard]
                if min(told) < 0:
                    told = [max(0.0, seconds) for seconds in told]
            case "seconds":
                told = [end.seconds for end in ends]
            case "headers":
                told = [end.headers for end in ends]
            case "task":
                told = [end.task.name for end in ends]
            case "job_id":
                told = [end.job.id for end in ends]
            case "lease":
                told = [lane.lease for lane in self._lanes]
            case _:
                told = super().column(field)
        return told

    def __len__(self) -> int:
        return len(self._ends)


_NOT_DONE = (Action.RETRY, Action.HALT)


def _settled(lane: HeldLane, ended: Ended, answer: Settled) -> AttemptSettled:
    job, ran, verdict = ended.job, ended.ran, ended.verdict
    done = verdict is ACKED or verdict.action not in _NOT_DONE
    return AttemptSettled(
        lease=lane.lease,
        task=ended.task_name,
        job_id=job.id,
        seq=job.seq,
        attempt=ended.attempt,
        outcome=ran.outcome,
        verdict=verdict,
        seconds=ran.seconds,
        ran=ended.did_run,
        end_to_end=max(0.0, answer.now - job.eligible_at) if done else None,
        ordinal=answer.ordinal,
        headers=ended.headers,
    )
