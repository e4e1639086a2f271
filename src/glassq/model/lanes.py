"""What a store reports about single lanes, and about the workers of a queue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from glassq.model.stats import LaneState


class LaneOrder(StrEnum):
    """By what lanes are listed, the most of it first."""

    DEPTH = "depth"
    """Unsettled jobs in the lane."""
    AGE = "age"
    """How long ago its first unsettled job by sequence became eligible."""
    BLOCKED = "blocked"
    """For how long it is held up: its head failed, a worker of it was lost, a human stopped it."""


class LaneStats(msgspec.Struct, frozen=True, kw_only=True):
    """One lane that has jobs, in one moment. Times are seconds by the store's clock, 0 for none."""

    lane: str
    state: LaneState
    depth: int
    """Unsettled jobs that have their place in it, the running one included; scheduled ones have none yet."""
    head: str
    """The job that is settled next, by its id. A worker that runs ahead may be some jobs further."""
    head_age: float
    """Since the head became eligible."""
    attempts: int
    """Executions of the head that have begun."""
    oldest_age: float
    """Since its first job by sequence became eligible: the head, unless a higher level is served first."""
    blocked: float
    """Since its head first failed, or its lease ended unrenewed, or it was halted or paused; whichever was
    first."""
    owner: str = ""
    """Who holds it, as `node/incarnation/worker`."""

    def amount(self, by: LaneOrder) -> float:
        """What it is listed by."""
        return {LaneOrder.DEPTH: self.depth, LaneOrder.AGE: self.oldest_age, LaneOrder.BLOCKED: self.blocked}[
            by
        ]


class LanesSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The first lanes of a queue by some order, of those that were looked at."""

    lanes: tuple[LaneStats, ...] = ()
    total: int = 0
    """Lanes that have jobs."""
    looked: int = 0
    """Lanes that were looked at."""
    exact: bool = True
    """Whether no other lane can be before those that are listed; of a queue at work, but for what changed
    hands meanwhile."""


def first_of(parts: Sequence[LanesSeen], by: LaneOrder, limit: int) -> LanesSeen:
    """The first lanes of several parts of a queue, no two of which have a lane in common."""
    lanes = [lane for part in parts for lane in part.lanes]
    lanes.sort(key=lambda lane: (-lane.amount(by), lane.lane))
    return LanesSeen(
        lanes=tuple(lanes[:limit]),
        total=sum(part.total for part in parts),
        looked=sum(part.looked for part in parts),
        exact=all(part.exact for part in parts),
    )


class KeyStats(msgspec.Struct, frozen=True, kw_only=True):
    """One key's lane as `queue.keys()` shows it: `LaneStats`, by its ordering key (None: no key)."""

    key: str | None
    state: LaneState
    depth: int
    head: str
    head_age: float
    attempts: int
    oldest_age: float
    blocked: float
    owner: str


class TopKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a queue that stand out, and how much that says."""

    queue: str
    by: LaneOrder
    lanes: int
    """Keys that have jobs."""
    looked_at: int
    exact: bool
    """Whether none that was not looked at can be before these; while the queue is at work, but for lanes that
    changed hands meanwhile."""
    keys: list[KeyStats]


class WorkerStats(msgspec.Struct, frozen=True, kw_only=True):
    """One worker that serves a queue, or holds lanes of it."""

    owner: str
    """`node/incarnation/worker`."""
    alive: bool
    """Whether it was heard of lately; one that is not may still hold lanes until their leases end."""
    heard: float | None = None
    """Seconds since it was heard of; None when that is not known (any more)."""
    host: str | None = None
    pid: int | None = None
    """Where it runs, if the store was told."""
    lanes: int = 0
    """Lanes of the queue that it holds."""
    running: int = 0
    """Of these, lanes whose head has begun: its jobs in progress."""


def workers_of(parts: Iterable[WorkerStats]) -> list[WorkerStats]:
    """Each worker once, by name, of what several parts of a queue know of it."""
    found: dict[str, WorkerStats] = {}
    for part in parts:
        known = found.get(part.owner)
        found[part.owner] = part if known is None else _of_both(known, part)
    return [found[owner] for owner in sorted(found)]


def _of_both(one: WorkerStats, other: WorkerStats) -> WorkerStats:
    heard = [each.heard for each in (one, other) if each.heard is not None]
    return WorkerStats(
        owner=one.owner,
        alive=one.alive or other.alive,
        heard=min(heard, default=None),
        host=one.host or other.host,
        pid=one.pid or other.pid,
        lanes=one.lanes + other.lanes,
        running=one.running + other.running,
    )
