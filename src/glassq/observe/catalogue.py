"""Every metric once: names, types, labels, buckets and the closed sets of their label values.

Data only. The exposition is built from it, the reference page is written from it, and rules and dashboards
are checked against it. A job id, a lane, a user, an exception or a host is never a label: such facts live in
spans, logs and exemplars.
"""

from __future__ import annotations

from collections.abc import Mapping

from glassq.model.leases import ClaimCause
from glassq.model.objectives import WAIT_BOUNDS
from glassq.model.stats import LaneState
from glassq.observe.specs import MetricSpec as MetricSpec  # noqa: PLC0414 - part of what the catalogue says
from glassq.observe.specs import metric

FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
WAIT = WAIT_BOUNDS
PROC = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
SIZE = tuple(float(1 << power) for power in range(7, 21))
"""128 B to 1 MiB, doubling."""

MAX_QUEUES = 200
"""Distinct `queue` values in one process; further queues share `OTHER`."""
OTHER = "_other"
"""Stands for queues beyond the cap, and for values outside a closed set."""
MAX_WORKFLOWS = 200
"""Distinct `workflow` values in one process; workflows of further names share `OTHER`."""
UNKNOWN_TASK = "_unknown"
"""Stands for every task that this application did not register."""

FAILURE_KINDS = ("exception", "timeout", "undecodable", "unknown_task", "lease_lost", "cancelled", "crashed")
OUTCOMES = ("succeeded", "buried", "expired", "cancelled")
RECLAIMS = tuple(cause.value for cause in ClaimCause if cause is not ClaimCause.READY)
JOB_STATES = ("ready", "leased", "waiting_retry", "halted", "paused", "scheduled", "deferred")
LANE_STATES = tuple(state.value for state in LaneState)
WAIT_CAUSES = ("behind_lane", "no_worker", "backoff", "paused", "halted", "fairness")
OBJECTIVES = ("max_age", "max_blocked", "job_timeout")

# -- producing ---------------------------------------------------------------------------------------

JOBS_ENQUEUED = metric(
    "glassq_jobs_enqueued_total", "producer", "Jobs the store accepted from this process.", "queue", "task"
)
ENQUEUE_FAILURES = metric(
    "glassq_enqueue_failures_total",
    "producer",
    "Calls that could not be enqueued, or not surely.",
    "queue",
    reason=("queue_full", "payload_too_large", "serialization", "storage_unavailable", "uncertain", "closed"),
    note="After `uncertain` the job may be in the queue nevertheless: the answer was lost. `closed`: the "
    "application had been closed.",
)
SCHEDULE_SLOTS = metric(
    "glassq_schedule_slots_total",
    "worker",
    "Slots of schedules that this process dealt with as the leader.",
    "queue",
    result=("enqueued", "missed"),
    note="`missed`: nobody enqueued them in time, and the schedule's `missed` does not ask to make up for "
    "them. Of an outage no more than 1,000 slots of a schedule are counted.",
)
JOBS_DEDUPLICATED = metric(
    "glassq_jobs_deduplicated_total",
    "producer",
    "Calls that were recognised as duplicates of a job accepted before.",
    "queue",
)
ENQUEUE_DURATION = metric(
    "glassq_enqueue_duration_seconds",
    "producer",
    "Time until the store acknowledged a job; the jobs of a batch share theirs.",
    "queue",
    buckets=FAST,
)
PAYLOAD_BYTES = metric(
    "glassq_job_payload_bytes",
    "producer",
    "Serialized size of a job's arguments.",
    "queue",
    buckets=SIZE,
)

# -- working -----------------------------------------------------------------------------------------

JOBS_PROCESSED = metric(
    "glassq_jobs_processed_total",
    "worker",
    "Jobs settled for good, once per job, by how they ended.",
    "queue",
    "task",
    outcome=OUTCOMES,
    note="The counter of a queue: throughput, and the share that succeeded.",
)
JOB_ATTEMPTS = metric(
    "glassq_job_attempts_total",
    "worker",
    "Executions of jobs, by whether they succeeded.",
    "queue",
    "task",
    result=("succeeded", "failed"),
)
JOB_FAILURES = metric(
    "glassq_job_failures_total",
    "worker",
    "Attempts that did not succeed, by what happened to them.",
    "queue",
    "task",
    kind=FAILURE_KINDS,
)
JOB_RETRIES = metric(
    "glassq_job_retries_total",
    "worker",
    "Failed attempts after which the job stayed at the head of its lane to be tried again.",
    "queue",
    "task",
)
JOBS_RECLAIMED = metric(
    "glassq_jobs_reclaimed_total",
    "worker",
    "Lane heads taken back from an owner that was gone.",
    "queue",
    reason=RECLAIMS,
)
JOBS_BURIED = metric(
    "glassq_jobs_buried_total",
    "worker",
    "Jobs given up and kept as dead letters, by why.",
    "queue",
    "task",
    reason=("exception", "timeout", "undecodable", "unknown_task", "crashed"),
)
TIME_IN_QUEUE = metric(
    "glassq_job_time_in_queue_seconds",
    "worker",
    "From eligible to first attempt, by the store's clock.",
    "queue",
    buckets=WAIT,
)
PROCESSING_DURATION = metric(
    "glassq_job_processing_duration_seconds",
    "worker",
    "Run time of one attempt.",
    "queue",
    "task",
    buckets=PROC,
    note="The histogram of a queue; each attempt is one observation.",
)
END_TO_END_DURATION = metric(
    "glassq_job_end_to_end_duration_seconds",
    "worker",
    "From eligible to settled for good, by the store's clock.",
    "queue",
    buckets=WAIT,
)
JOB_WAIT = metric(
    "glassq_job_wait_seconds_total",
    "worker",
    "Time jobs spent waiting, by what they waited for; the parts sum to the time in queue.",
    "queue",
    cause=WAIT_CAUSES,
    note="Counted when a job first starts, all of its wait at once.",
)
WORKFLOW_DURATION = metric(
    "glassq_workflow_duration_seconds",
    "worker",
    "Time from the submit of a workflow to the end of its last job, by how it ended.",
    "workflow",
    buckets=WAIT,
    status=("succeeded", "failed", "cancelled"),
    note="By the name it was submitted as; names beyond the first 200 of a process share `_other`. After the "
    "replay of a dead letter a workflow ends once more.",
)
JOBS_IN_PROGRESS = metric("glassq_jobs_in_progress", "worker", "Attempts running in this process.", "queue")
IN_PROGRESS_SECONDS = metric(
    "glassq_job_in_progress_seconds",
    "worker",
    "Run time so far of the oldest attempt running in this process.",
    "queue",
)
ORDER_VIOLATIONS = metric(
    "glassq_order_violations_total",
    "worker",
    "Breaches of the ordering contract seen by this process. Must stay 0.",
    "queue",
    kind=("duplicate", "reorder", "stale_token"),
)
LEASE_ACQUISITIONS = metric(
    "glassq_lease_acquisitions_total",
    "worker",
    "Lanes this process became the owner of, by why they could be claimed.",
    "queue",
    cause=tuple(cause.value for cause in ClaimCause),
)
LEASE_LOSSES = metric(
    "glassq_lease_losses_total",
    "worker",
    "Lanes this process lost against its will.",
    "queue",
    reason=("expired", "taken_over", "failed"),
    note="`failed`: the thread that ran the lane came to an end it was not meant to.",
)
FENCED_WRITES = metric(
    "glassq_fenced_writes_total",
    "worker",
    "Writes the store refused because the lane had a newer owner.",
    "queue",
    operation=("settle", "renew", "release"),
    note="Only settlements so far: a renewal that is refused is counted as a lost lease, and a lane that is "
    "given back too late hurts nobody.",
)
LANES_HELD = metric("glassq_lanes_held", "worker", "Lanes this process is the owner of.", "queue")
LEASE_REMAINING = metric(
    "glassq_lease_remaining_seconds",
    "worker",
    "Least time left on a lease of this process; absent while it holds none.",
    "queue",
    note="By the last renewal: when the worker's threads stand still, it falls to 0.",
)
LANES_STOLEN = metric(
    "glassq_lanes_stolen_total",
    "worker",
    "Lanes this process took that were another worker's, by `steal_from`.",
    "queue",
    note="Once per change of hands: the turns it serves while the lane stays with it are not counted.",
)
WORKER_HEARTBEAT = metric(
    "glassq_worker_heartbeat_timestamp_seconds",
    "worker",
    "When the worker's loop last turned (epoch seconds; of several workers the one longest ago).",
)
WORKER_DRAINING = metric(
    "glassq_worker_draining",
    "worker",
    "1 while a worker of this process finishes what it runs and starts nothing more.",
)
TRACE_CONTEXTS = metric(
    "glassq_trace_contexts_total",
    "worker",
    "Attempts by whether their job carried a usable trace context.",
    "queue",
    result=("ok", "missing", "invalid"),
)

# -- every process -----------------------------------------------------------------------------------

STORAGE_DURATION = metric(
    "glassq_storage_operation_duration_seconds",
    "process",
    "Time of one storage operation, failed ones included.",
    "store",
    operation=(
        "append",
        "listen",
        "report",
        "claim",
        "settle",
        "renew",
        "release",
        "configure",
        "cancel",
        "get",
        "replay",
        "scan",
        "stats",
        "put",
        "deliver",
    ),
    buckets=FAST,
    note="A series appears with the first operation of its kind. `configure`: pause, resume, purge, and what "
    "people do to halted lanes; `scan`: lists; `stats`: what the gauges of the store are read with; "
    "`put`: values that are kept, or dropped; `deliver`: ends of jobs told to those that wait for them.",
)
STORAGE_ERRORS = metric(
    "glassq_storage_errors_total",
    "process",
    "Storage operations that failed.",
    "store",
    error=("connection", "timeout", "readonly", "oom", "auth", "cluster", "io", "enospc", "other"),
)
STORAGE_RECONNECTS = metric(
    "glassq_storage_reconnects_total",
    "process",
    "Times this process found its store again after it could not be reached.",
    "store",
    note="Outages, not connections: one that all threads of a process waited for counts once. A SQLite file "
    "counts when another one had taken its place.",
)
DATA_LOSSES = metric(
    "glassq_data_loss_detected_total",
    "process",
    "Times the store was found to have lost what it had acknowledged to this process. Must stay 0.",
    "queue",
)
TELEMETRY_DROPPED = metric(
    "glassq_telemetry_dropped_total",
    "process",
    "Telemetry this process made and could not hand on.",
    signal=("traces",),
    reason=("queue_full", "export_failed"),
    note="Spans of `glassq worker`, which exports them itself. An application that installs its own exporter "
    "has to watch that one. What cannot be counted: the spans of a process that is killed.",
)
OBSERVER_FAILURES = metric(
    "glassq_observer_failures_total", "process", "Observers that raised and were detached."
)
BUILD_INFO = metric("glassq_build_info", "process", "What runs here.", "version", "python", "store")

# -- the store, read at scrape time --------------------------------------------------------------------

QUEUE_DEPTH = metric(
    "glassq_queue_depth", "store", "Unsettled jobs by state; the states add up.", "queue", state=JOB_STATES
)
QUEUE_LANES = metric(
    "glassq_queue_lanes", "store", "Lanes with unsettled jobs by state.", "queue", state=LANE_STATES
)
QUEUE_CAPACITY = metric(
    "glassq_queue_capacity",
    "store",
    "Unsettled jobs the queue takes at most (`max_length`); absent when it is not bounded.",
    "queue",
    note="Shown by the processes that declare it, also while the store is away.",
)
QUEUE_PAUSED = metric(
    "glassq_queue_paused", "store", "1 while the whole queue is paused; single lanes do not count.", "queue"
)
QUEUE_WORKERS = metric("glassq_queue_workers", "store", "Live workers that serve the queue.", "queue")
QUEUE_STORAGE_BYTES = metric(
    "glassq_queue_storage_bytes",
    "store",
    "Bytes the queue takes up in its store. No series: no store can tell it at the cost of a scrape.",
    "queue",
    planned=True,
    note="The dashboard of the store shows an estimate: unsettled jobs times the mean of "
    "`glassq_job_payload_bytes`.",
)
QUEUE_OLDEST_AGE = metric(
    "glassq_queue_oldest_job_age_seconds", "store", "Age of the oldest unsettled job.", "queue"
)
QUEUE_HEAD_BLOCKED = metric(
    "glassq_queue_head_blocked_seconds",
    "store",
    "Worst lane: time since its head first failed or lost its worker.",
    "queue",
)
QUEUE_HEAD_ATTEMPTS = metric(
    "glassq_queue_head_attempts", "store", "Worst lane: attempts its head has had.", "queue"
)
QUEUE_ENQUEUED = metric(
    "glassq_queue_enqueued_total",
    "store",
    "Jobs ever accepted, counted by the store itself: exact over crashes and restarts.",
    "queue",
    note="Nothing is lost and nothing appears by itself: enqueued + replayed = settled + depth, always.",
)
QUEUE_REPLAYED = metric(
    "glassq_queue_replayed_total",
    "store",
    "Dead letters ever brought back, counted by the store itself.",
    "queue",
)
QUEUE_SETTLED = metric(
    "glassq_queue_settled_total",
    "store",
    "Jobs ever settled for good, counted by the store itself.",
    "queue",
    outcome=OUTCOMES,
)
QUEUE_LAST_SETTLED = metric(
    "glassq_queue_last_settled_timestamp_seconds",
    "store",
    "When a job was last settled for good (epoch seconds, 0: never).",
    "queue",
)
QUEUE_LEASE_TOKENS = metric(
    "glassq_queue_lease_tokens_total",
    "store",
    "Times a lane was handed to a worker, each with a new fencing token; counted by the store itself.",
    "queue",
    note="The tokens themselves grow with the time, not by one.",
)
QUEUE_OBJECTIVE = metric(
    "glassq_queue_objective_seconds",
    "store",
    "What the queue was declared to keep: `app.queue(name, max_age=60, max_blocked=30, job_timeout=10)`.",
    "queue",
    objective=OBJECTIVES,
    note="Alert rules take their thresholds from it; what is not declared is absent, and held to 60, 300 and "
    "900 s by the rules. Shown by the processes that declare it, also while the store is away: declare it in "
    "a module that workers and producers import. Where they differ the longest counts.",
)
QUEUE_DRAIN = metric(
    "glassq_queue_drain_seconds_estimate",
    "store",
    "Time to settle what is in the queue now, at its pace of the last 5 minutes; +Inf when nothing moves.",
    "queue",
    note="Scheduled and deferred jobs are left out, jobs that come meanwhile too. From the totals the store "
    "keeps, as this process saw them: absent until two scrapes 10 s apart found jobs.",
)
DEAD_LETTER_JOBS = metric("glassq_dead_letter_jobs", "store", "Buried jobs that wait for a human.", "queue")
DEAD_LETTER_OLDEST_AGE = metric(
    "glassq_dead_letter_oldest_age_seconds",
    "store",
    "Time since the oldest dead letter was buried.",
    "queue",
)
SCHEDULE_LAG = metric(
    "glassq_schedule_lag_seconds",
    "store",
    "Time by which the first scheduled job is overdue to join its lane, or a schedule's slot to be enqueued.",
    "queue",
    note="Workers let due jobs in when they look for lanes: while none serves the queue, it grows. Slots are "
    "enqueued by the leader of the schedules, and shown by the processes whose application declares any.",
)
COLLECTOR_UP = metric(
    "glassq_collector_up",
    "store",
    "1 when the store answered this scrape in time, else 0 and its gauges are left out.",
    "store",
)
COLLECTOR_DURATION = metric(
    "glassq_collector_duration_seconds",
    "store",
    "How long the store took to answer, or has not answered yet.",
    "store",
)

CATALOGUE: tuple[MetricSpec, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, MetricSpec)
)
"""All of them, in the order of this file."""

BY_NAME: Mapping[str, MetricSpec] = {spec.name: spec for spec in CATALOGUE}
