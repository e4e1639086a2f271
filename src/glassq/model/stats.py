"""What a store reports about its queues."""

from __future__ import annotations

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
