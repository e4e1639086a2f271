"""Settling: told to the store until it answers or the lane is lost, then told to the observers."""

from __future__ import annotations

from collections.abc import Callable

from glassq.errors import StorageError, StorageUnavailable
from glassq.model.clock import Clock
from glassq.model.events import AttemptAbandoned, AttemptSettled, LaneLost, WriteFenced
from glassq.model.leases import Owner, Settled, Settlement, SettleStatus
from glassq.model.verdicts import Action
from glassq.shielding import Log
from glassq.storage import Storage
from glassq.telemetry import Bus
from glassq.worker.attempt import Ended
from glassq.worker.backoff import RetryPause
from glassq.worker.holdings import HeldLane

log = Log("glassq.worker")


class Settler:
    """Commits verdicts for one worker."""

    def __init__(
        self, storage: Storage, bus: Bus, clock: Clock, owner: Owner, random: Callable[[], float]
    ) -> None:
        self._storage = storage
        self._bus = bus
        self._clock = clock
        self._owner = owner
        self._random = random

    def settle(self, lane: HeldLane, ended: Ended, settlement: Settlement) -> Settled | None:
        """The store's answer; None when the verdict was not accepted and the job will run again."""
        if ended.verdict.action is Action.DROP:
            self.lose(lane, "expired")
            self._abandoned(lane, ended)
            return None
        answer = self.move_on(lane, settlement)
        if answer is None:
            self._abandoned(lane, ended)
            return None
        self._settled(lane, ended, answer)
        return answer

    def move_on(self, lane: HeldLane, settlement: Settlement) -> Settled | None:
        """Tell the store, for the first time or again after a callback; None when the lane is lost."""
        lane.leaving = True
        answer = self._tell(lane, settlement)
        if answer is None or answer.status is SettleStatus.FENCED:
            if answer is not None:
                self._bus.emit(WriteFenced(queue=lane.lease.queue, operation="settle"))
            self.lose(lane, "taken_over" if answer else "expired")
            return None
        lane.leaving = not answer.held
        return answer

    def _tell(self, lane: HeldLane, settlement: Settlement) -> Settled | None:
        """Repeat a settlement while the store is away, for as long as the lease lasts and once after."""
        pause = RetryPause(self._clock, self._random)
        while True:
            lasts = lane.ours()
            try:
                return self._storage.settle(self._owner, [settlement])[0]
            except StorageUnavailable as error:
                log.warning("settling %s: %s", settlement.job_id, error)
                if not lasts:
                    return None
            except StorageError:
                log.exception("settling %s cannot be done; the job runs again", settlement.job_id)
                return None
            pause.wait()

    def lose(self, lane: HeldLane, reason: str) -> None:
        """Note that a lane is no longer ours; told to the observers once."""
        if not lane.lost:
            lane.lost = True
            self._bus.emit(LaneLost(lease=lane.lease, reason=reason))

    def _abandoned(self, lane: HeldLane, ended: Ended) -> None:
        self._bus.emit(
            AttemptAbandoned(
                lease=lane.lease,
                task=ended.task_name,
                job_id=ended.job.id,
                attempt=ended.attempt,
                outcome=ended.ran.outcome,
            )
        )

    def _settled(self, lane: HeldLane, ended: Ended, answer: Settled) -> None:
        done = ended.verdict.action not in (Action.RETRY, Action.HALT)
        self._bus.emit(
            AttemptSettled(
                lease=lane.lease,
                task=ended.task_name,
                job_id=ended.job.id,
                seq=ended.job.seq,
                attempt=ended.attempt,
                outcome=ended.ran.outcome,
                verdict=ended.verdict,
                seconds=ended.ran.seconds,
                ran=ended.did_run,
                end_to_end=max(0.0, answer.now - ended.job.eligible_at) if done else None,
                ordinal=answer.ordinal,
                headers=ended.headers,
            )
        )
