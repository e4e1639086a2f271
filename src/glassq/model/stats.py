"""What a store reports about its queues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec


class LaneState(StrEnum):
    """Where a lane is."""

    READY = "ready"
    LEASED = "leased"
    WAITING_RETRY = "waiting_retry"
    HALTED = "halted"
    PAUSED = "paused"


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """One queue, read in one consistent moment. Ages are seconds by the store's clock, 0 when there is
    nothing to be old. The seven job states add up to everything unsettled."""

    queue: str
    ready: int = 0
    leased: int = 0
    waiting_retry: int = 0
    halted: int = 0
    paused: int = 0
    scheduled: int = 0
    deferred: int = 0
    lanes: dict[str, int] = {}
    enqueued: int = 0
    settled: dict[str, int] = {}
    dead_letters: int = 0
    dead_letter_oldest_age: float = 0.0
    oldest_job_age: float = 0.0
    head_blocked: float = 0.0
    head_attempts: int = 0
    workers: int = 0
    paused_whole: bool = False
    """Whether the queue itself is paused, not only single lanes of it."""
    paused_keys: int = 0
    """Lanes that are paused by themselves, also those that have no jobs now."""
    replayed: int = 0
    """Dead letters that were brought back: enqueued + replayed = settled + left."""
    last_settled_at: float = 0.0
    lease_tokens: int = 0
    """Times a lane was handed to a worker; one more where a person resumed or emptied a lane that waited."""
    schedule_lag: float = 0.0
    """How long the first scheduled job is overdue: nobody has let it into its lane yet."""

    @property
    def depth(self) -> int:
        """All unsettled jobs."""
        return sum(self.by_state().values())

    def by_state(self) -> dict[str, int]:
        """The seven states of `glassq_queue_depth`."""
        return {
            "ready": self.ready,
            "leased": self.leased,
            "waiting_retry": self.waiting_retry,
            "halted": self.halted,
            "paused": self.paused,
            "scheduled": self.scheduled,
            "deferred": self.deferred,
        }


def merged(parts: Sequence[QueueStats]) -> QueueStats:
    """Several queues shown as one: amounts are added, of ages and attempts the worst counts."""
    if len(parts) == 1:
        return parts[0]
    return QueueStats(
        queue=parts[0].queue,
        ready=sum(part.ready for part in parts),
        leased=sum(part.leased for part in parts),
        waiting_retry=sum(part.waiting_retry for part in parts),
        halted=sum(part.halted for part in parts),
        paused=sum(part.paused for part in parts),
        scheduled=sum(part.scheduled for part in parts),
        deferred=sum(part.deferred for part in parts),
        lanes=_added(part.lanes for part in parts),
        enqueued=sum(part.enqueued for part in parts),
        replayed=sum(part.replayed for part in parts),
        settled=_added(part.settled for part in parts),
        dead_letters=sum(part.dead_letters for part in parts),
        workers=sum(part.workers for part in parts),
        paused_whole=any(part.paused_whole for part in parts),
        paused_keys=sum(part.paused_keys for part in parts),
        dead_letter_oldest_age=max(part.dead_letter_oldest_age for part in parts),
        oldest_job_age=max(part.oldest_job_age for part in parts),
        lease_tokens=sum(part.lease_tokens for part in parts),
        schedule_lag=max(part.schedule_lag for part in parts),
        head_blocked=max(part.head_blocked for part in parts),
        head_attempts=max(part.head_attempts for part in parts),
        last_settled_at=max(part.last_settled_at for part in parts),
    )


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
