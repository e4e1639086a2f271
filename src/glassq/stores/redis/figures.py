"""A queue's figures, from what `lua/stats.lua` answers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from glassq.model.stats import LaneState, QueueStats
from glassq.stores.redis.replies import MICRO


class _Figures(msgspec.Struct, frozen=True):
    """What `stats` answers, in its order."""

    now: int
    enqueued: int
    replayed: int
    settled: int
    buried: int
    cancelled: int
    expired: int
    settled_at: int
    all_paused: int
    ready_lanes: int
    held_lanes: int
    idle_held_lanes: int
    waiting_lanes: int
    halted_lanes: int
    stopped_lanes: int
    scheduled: int
    halted: int
    paused: int
    paused_waiting: int
    dead: int
    oldest_dead: int
    oldest_job: int
    blocked: int
    attempts: int
    workers: int
    lease_tokens: int
    first_due: int
    paused_keys: int
    deferred: int

    def age(self, since: int) -> float:
        """Seconds since then, 0 for never."""
        return max(0.0, (self.now - since) / MICRO) if since else 0.0

    def depth(self) -> dict[str, int]:
        """Unsettled jobs by state. What runs is leased even in a paused lane; halted comes before paused."""
        left = self.enqueued + self.replayed - self.settled - self.scheduled - self.deferred
        leased = self.held_lanes - self.idle_held_lanes
        known = {
            "scheduled": self.scheduled,
            "deferred": self.deferred,
            "leased": leased,
            "halted": self.halted,
        }
        if self.all_paused:
            return known | {"paused": left - leased - self.halted}
        retrying = self.waiting_lanes - self.paused_waiting
        ready = left - leased - self.halted - self.paused - retrying
        return known | {"paused": self.paused, "waiting_retry": retrying, "ready": ready}

    def lanes(self) -> dict[str, int]:
        """Lanes by state; one that would be served or tried again but for a pause is paused."""
        paused_waiting = self.waiting_lanes if self.all_paused else self.paused_waiting
        paused_ready = self.ready_lanes if self.all_paused else 0
        return {
            LaneState.READY: self.ready_lanes - paused_ready,
            LaneState.LEASED: self.held_lanes,
            LaneState.WAITING_RETRY: self.waiting_lanes - paused_waiting,
            LaneState.HALTED: self.halted_lanes,
            LaneState.PAUSED: self.stopped_lanes + paused_waiting + paused_ready,
        }


def stats(queue: str, reply: Sequence[bytes]) -> QueueStats:
    """A queue's figures."""
    found = _Figures(*map(int, reply))
    return QueueStats(
        queue=queue,
        **found.depth(),
        lanes=found.lanes(),
        enqueued=found.enqueued,
        replayed=found.replayed,
        # An ack, the common end, counts one number only; the others' shares are taken from it.
        settled={
            "succeeded": found.settled - found.buried - found.cancelled - found.expired,
            "buried": found.buried,
            "cancelled": found.cancelled,
            "expired": found.expired,
        },
        dead_letters=found.dead,
        dead_letter_oldest_age=found.age(found.oldest_dead),
        oldest_job_age=found.age(found.oldest_job),
        head_blocked=found.age(found.blocked),
        head_attempts=found.attempts,
        workers=found.workers,
        lease_tokens=found.lease_tokens,
        schedule_lag=found.age(found.first_due),
        paused_whole=bool(found.all_paused),
        paused_keys=found.paused_keys,
        last_settled_at=found.settled_at / MICRO,
    )
