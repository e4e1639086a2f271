"""From a store's report to the samples of its gauges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from glassq.model.stats import QueueStats
from glassq.observe.catalogue import (
    DEAD_LETTER_JOBS,
    DEAD_LETTER_OLDEST_AGE,
    LANE_STATES,
    OUTCOMES,
    QUEUE_DEPTH,
    QUEUE_ENQUEUED,
    QUEUE_HEAD_ATTEMPTS,
    QUEUE_HEAD_BLOCKED,
    QUEUE_LANES,
    QUEUE_LAST_SETTLED,
    QUEUE_LEASE_TOKENS,
    QUEUE_OLDEST_AGE,
    QUEUE_PAUSED,
    QUEUE_REPLAYED,
    QUEUE_SETTLED,
    QUEUE_WORKERS,
    SCHEDULE_LAG,
    MetricSpec,
)

Figure = Callable[[QueueStats], Iterable[tuple[tuple[str, ...], float]]]
"""The samples of one metric for one queue: label values after the queue's, and the value."""


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


def _field(name: str) -> Figure:
    return lambda stats: [((), float(getattr(stats, name)))]


def _each(values: Sequence[str], counts: Callable[[QueueStats], Mapping[str, int]]) -> Figure:
    """One sample per value of a closed set: 0 rather than absent."""
    return lambda stats: [((value,), float(counts(stats).get(value, 0))) for value in values]


FIGURES: tuple[tuple[MetricSpec, Figure], ...] = (
    (QUEUE_DEPTH, lambda stats: [((state,), float(jobs)) for state, jobs in stats.by_state().items()]),
    (QUEUE_LANES, _each(LANE_STATES, lambda stats: stats.lanes)),
    (QUEUE_PAUSED, _field("paused_whole")),
    (QUEUE_OLDEST_AGE, _field("oldest_job_age")),
    (QUEUE_HEAD_BLOCKED, _field("head_blocked")),
    (QUEUE_HEAD_ATTEMPTS, _field("head_attempts")),
    (QUEUE_WORKERS, _field("workers")),
    (QUEUE_ENQUEUED, _field("enqueued")),
    (QUEUE_REPLAYED, _field("replayed")),
    (QUEUE_SETTLED, _each(OUTCOMES, lambda stats: stats.settled)),
    (QUEUE_LAST_SETTLED, _field("last_settled_at")),
    (QUEUE_LEASE_TOKENS, _field("lease_tokens")),
    (SCHEDULE_LAG, _field("schedule_lag")),
    (DEAD_LETTER_JOBS, _field("dead_letters")),
    (DEAD_LETTER_OLDEST_AGE, _field("dead_letter_oldest_age")),
)
