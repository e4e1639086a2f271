"""Every metric once: names, types, labels, buckets and the closed sets of their label values.

Data only. The exposition is built from it, and reference page, rules and dashboards are checked against it.
A job id, a lane, a user, an exception or a host is never a label: such facts live in spans, logs and
exemplars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from glassq.model.leases import ClaimCause
from glassq.model.stats import LaneState

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
WAIT = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
PROC = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
SIZE = tuple(float(1 << power) for power in range(7, 21))
"""128 B to 1 MiB, doubling."""

MAX_QUEUES = 200
"""Distinct `queue` values in one process; further queues share `OTHER`."""
OTHER = "_other"
"""Stands for queues beyond the cap, and for values outside a closed set."""
UNKNOWN_TASK = "_unknown"
"""Stands for every task that this application did not register."""

Source = Literal["producer", "worker", "process", "store"]


class MetricSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. `values` names the closed sets among its labels; `source` says who knows it: the
    process that produces or works (sum over instances) or the store (global: max over instances)."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    source: Source
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    values: Mapping[str, tuple[str, ...]] = {}

    @property
    def unit(self) -> str:
        """`seconds`, `bytes` or nothing, as OpenMetrics writes it."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in ("seconds", "bytes") else ""


FAILURE_KINDS = ("exception", "timeout", "undecodable", "unknown_task", "lease_lost", "cancelled", "crashed")
OUTCOMES = ("succeeded", "buried", "expired", "cancelled")
RECLAIMS = tuple(cause.value for cause in ClaimCause if cause is not ClaimCause.READY)
JOB_STATES = ("ready", "leased", "waiting_retry", "halted", "paused", "scheduled", "deferred")
LANE_STATES = tuple(state.value for state in LaneState)

# -- producing ---------------------------------------------------------------------------------------

JOBS_ENQUEUED = MetricSpec(
    name="glassq_jobs_enqueued_total",
    kind="counter",
    help="Jobs the store accepted from this process.",
    source="producer",
    labels=("queue", "task"),
)
ENQUEUE_FAILURES = MetricSpec(
    name="glassq_enqueue_failures_total",
    kind="counter",
    help="Calls that could not be enqueued, or not surely.",
    source="producer",
    labels=("queue", "reason"),
    values={
        "reason": (
            "queue_full",
            "payload_too_large",
            "serialization",
            "storage_unavailable",
            "uncertain",
            "closed",
        )
    },
)
JOBS_DEDUPLICATED = MetricSpec(
    name="glassq_jobs_deduplicated_total",
    kind="counter",
    help="Calls that were recognised as duplicates of a job accepted before.",
    source="producer",
    labels=("queue",),
)
ENQUEUE_DURATION = MetricSpec(
    name="glassq_enqueue_duration_seconds",
    kind="histogram",
    help="Time until the store acknowledged a job; the jobs of a batch share theirs.",
    source="producer",
    labels=("queue",),
    buckets=FAST,
)
PAYLOAD_BYTES = MetricSpec(
    name="glassq_job_payload_bytes",
    kind="histogram",
    help="Serialized size of a job's arguments.",
    source="producer",
    labels=("queue",),
    buckets=SIZE,
)

# -- working -----------------------------------------------------------------------------------------

JOBS_PROCESSED = MetricSpec(
    name="glassq_jobs_processed_total",
    kind="counter",
    help="Jobs settled for good, once per job, by how they ended.",
    source="worker",
    labels=("queue", "task", "outcome"),
    values={"outcome": OUTCOMES},
)
JOB_ATTEMPTS = MetricSpec(
    name="glassq_job_attempts_total",
    kind="counter",
    help="Executions of jobs, by whether they succeeded.",
    source="worker",
    labels=("queue", "task", "result"),
    values={"result": ("succeeded", "failed")},
)
JOB_FAILURES = MetricSpec(
    name="glassq_job_failures_total",
    kind="counter",
    help="Attempts that did not succeed, by what happened to them.",
    source="worker",
    labels=("queue", "task", "kind"),
    values={"kind": FAILURE_KINDS},
)
JOB_RETRIES = MetricSpec(
    name="glassq_job_retries_total",
    kind="counter",
    help="Failed attempts after which the job stayed at the head of its lane to be tried again.",
    source="worker",
    labels=("queue", "task"),
)
JOBS_RECLAIMED = MetricSpec(
    name="glassq_jobs_reclaimed_total",
    kind="counter",
    help="Lane heads taken back from an owner that was gone.",
    source="worker",
    labels=("queue", "reason"),
    values={"reason": RECLAIMS},
)
JOBS_BURIED = MetricSpec(
    name="glassq_jobs_buried_total",
    kind="counter",
    help="Jobs given up and kept as dead letters, by why.",
    source="worker",
    labels=("queue", "task", "reason"),
    values={"reason": ("exception", "timeout", "undecodable", "unknown_task", "crashed")},
)
TIME_IN_QUEUE = MetricSpec(
    name="glassq_job_time_in_queue_seconds",
    kind="histogram",
    help="From eligible to first attempt, by the store's clock.",
    source="worker",
    labels=("queue",),
    buckets=WAIT,
)
PROCESSING_DURATION = MetricSpec(
    name="glassq_job_processing_duration_seconds",
    kind="histogram",
    help="Run time of one attempt.",
    source="worker",
    labels=("queue", "task"),
    buckets=PROC,
)
END_TO_END_DURATION = MetricSpec(
    name="glassq_job_end_to_end_duration_seconds",
    kind="histogram",
    help="From eligible to settled for good, by the store's clock.",
    source="worker",
    labels=("queue",),
    buckets=WAIT,
)
JOBS_IN_PROGRESS = MetricSpec(
    name="glassq_jobs_in_progress",
    kind="gauge",
    help="Attempts running in this process.",
    source="worker",
    labels=("queue",),
)
IN_PROGRESS_SECONDS = MetricSpec(
    name="glassq_job_in_progress_seconds",
    kind="gauge",
    help="Run time so far of the oldest attempt running in this process.",
    source="worker",
    labels=("queue",),
)
ORDER_VIOLATIONS = MetricSpec(
    name="glassq_order_violations_total",
    kind="counter",
    help="Breaches of the ordering contract seen by this process. Must stay 0.",
    source="worker",
    labels=("queue", "kind"),
    values={"kind": ("duplicate", "reorder", "stale_token")},
)
LEASE_ACQUISITIONS = MetricSpec(
    name="glassq_lease_acquisitions_total",
    kind="counter",
    help="Lanes this process became the owner of, by why they could be claimed.",
    source="worker",
    labels=("queue", "cause"),
    values={"cause": tuple(cause.value for cause in ClaimCause)},
)
LEASE_LOSSES = MetricSpec(
    name="glassq_lease_losses_total",
    kind="counter",
    help="Lanes this process lost against its will.",
    source="worker",
    labels=("queue", "reason"),
    values={"reason": ("expired", "taken_over")},
)
FENCED_WRITES = MetricSpec(
    name="glassq_fenced_writes_total",
    kind="counter",
    help="Writes the store refused because the lane had a newer owner.",
    source="worker",
    labels=("queue", "operation"),
    values={"operation": ("settle", "renew", "release")},
)
LANES_HELD = MetricSpec(
    name="glassq_lanes_held",
    kind="gauge",
    help="Lanes this process is the owner of.",
    source="worker",
    labels=("queue",),
)
LEASE_REMAINING = MetricSpec(
    name="glassq_lease_remaining_seconds",
    kind="gauge",
    help="Least time left on a lease of this process; absent while it holds none.",
    source="worker",
    labels=("queue",),
)
WORKER_HEARTBEAT = MetricSpec(
    name="glassq_worker_heartbeat_timestamp_seconds",
    kind="gauge",
    help="When the worker's loop last turned (epoch seconds; of several workers the one longest ago).",
    source="worker",
)
WORKER_DRAINING = MetricSpec(
    name="glassq_worker_draining",
    kind="gauge",
    help="1 while a worker of this process finishes what it runs and starts nothing more.",
    source="worker",
)
TRACE_CONTEXTS = MetricSpec(
    name="glassq_trace_contexts_total",
    kind="counter",
    help="Attempts by whether their job carried a usable trace context.",
    source="worker",
    labels=("queue", "result"),
    values={"result": ("ok", "missing", "invalid")},
)

# -- every process -----------------------------------------------------------------------------------

STORAGE_DURATION = MetricSpec(
    name="glassq_storage_operation_duration_seconds",
    kind="histogram",
    help="Time of one storage operation, failed ones included.",
    source="process",
    labels=("store", "operation"),
    buckets=FAST,
    values={
        "operation": (
            "append",
            "listen",
            "report",
            "claim",
            "settle",
            "renew",
            "release",
            "retry_lane",
            "skip_lane",
            "waiting",
            "dead",
            "halted",
            "stats",
            "queues",
        )
    },
)
STORAGE_ERRORS = MetricSpec(
    name="glassq_storage_errors_total",
    kind="counter",
    help="Storage operations that failed.",
    source="process",
    labels=("store", "error"),
    values={
        "error": ("connection", "timeout", "readonly", "oom", "auth", "cluster", "io", "enospc", "other")
    },
)
DATA_LOSSES = MetricSpec(
    name="glassq_data_loss_detected_total",
    kind="counter",
    help="Times the store was found to have lost what it had acknowledged to this process. Must stay 0.",
    source="process",
    labels=("queue",),
)
OBSERVER_FAILURES = MetricSpec(
    name="glassq_observer_failures_total",
    kind="counter",
    help="Observers that raised and were detached.",
    source="process",
)
BUILD_INFO = MetricSpec(
    name="glassq_build_info",
    kind="info",
    help="What runs here.",
    source="process",
    labels=("version", "python", "store"),
)

# -- the store, read at scrape time --------------------------------------------------------------------

QUEUE_DEPTH = MetricSpec(
    name="glassq_queue_depth",
    kind="gauge",
    help="Unsettled jobs by state; the states add up.",
    source="store",
    labels=("queue", "state"),
    values={"state": JOB_STATES},
)
QUEUE_LANES = MetricSpec(
    name="glassq_queue_lanes",
    kind="gauge",
    help="Lanes with unsettled jobs by state.",
    source="store",
    labels=("queue", "state"),
    values={"state": LANE_STATES},
)
QUEUE_OLDEST_AGE = MetricSpec(
    name="glassq_queue_oldest_job_age_seconds",
    kind="gauge",
    help="Age of the oldest unsettled job.",
    source="store",
    labels=("queue",),
)
QUEUE_HEAD_BLOCKED = MetricSpec(
    name="glassq_queue_head_blocked_seconds",
    kind="gauge",
    help="Worst lane: time since its head first failed or lost its worker.",
    source="store",
    labels=("queue",),
)
QUEUE_HEAD_ATTEMPTS = MetricSpec(
    name="glassq_queue_head_attempts",
    kind="gauge",
    help="Worst lane: attempts its head has had.",
    source="store",
    labels=("queue",),
)
QUEUE_WORKERS = MetricSpec(
    name="glassq_queue_workers",
    kind="gauge",
    help="Live workers that serve the queue.",
    source="store",
    labels=("queue",),
)
QUEUE_ENQUEUED = MetricSpec(
    name="glassq_queue_enqueued_total",
    kind="counter",
    help="Jobs ever accepted, counted by the store itself: exact over crashes and restarts.",
    source="store",
    labels=("queue",),
)
QUEUE_SETTLED = MetricSpec(
    name="glassq_queue_settled_total",
    kind="counter",
    help="Jobs ever settled for good, counted by the store itself.",
    source="store",
    labels=("queue", "outcome"),
    values={"outcome": OUTCOMES},
)
QUEUE_LAST_SETTLED = MetricSpec(
    name="glassq_queue_last_settled_timestamp_seconds",
    kind="gauge",
    help="When a job was last settled for good (epoch seconds, 0: never).",
    source="store",
    labels=("queue",),
)
DEAD_LETTER_JOBS = MetricSpec(
    name="glassq_dead_letter_jobs",
    kind="gauge",
    help="Buried jobs that wait for a human.",
    source="store",
    labels=("queue",),
)
DEAD_LETTER_OLDEST_AGE = MetricSpec(
    name="glassq_dead_letter_oldest_age_seconds",
    kind="gauge",
    help="Time since the oldest dead letter was buried.",
    source="store",
    labels=("queue",),
)
COLLECTOR_UP = MetricSpec(
    name="glassq_collector_up",
    kind="gauge",
    help="1 when the store answered this scrape in time, else 0 and its gauges are left out.",
    source="store",
    labels=("store",),
)
COLLECTOR_DURATION = MetricSpec(
    name="glassq_collector_duration_seconds",
    kind="gauge",
    help="How long the store took to answer, or has not answered yet.",
    source="store",
    labels=("store",),
)

CATALOGUE: tuple[MetricSpec, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, MetricSpec)
)
"""All of them, in the order of this file."""

BY_NAME: Mapping[str, MetricSpec] = {metric.name: metric for metric in CATALOGUE}
