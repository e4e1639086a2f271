"""From a store's report to the samples of its gauges."""

from __future__ import annotations

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
