"""One queue: what holds it, how old its jobs get, where their time goes, how they end, whether order held."""

from __future__ import annotations

from glassq.observe.dashboards.assembling import Line, Row, dashboard
from glassq.observe.dashboards.colours import (
    CAUSES,
    OUTCOMES,
    QUANTILES,
    SHOULD_BE_ZERO,
    STATES,
    WITHIN_OBJECTIVE,
    steps,
)
from glassq.observe.dashboards.links import traces
from glassq.observe.dashboards.panels import heatmap, lines, stat, timeline
from glassq.observe.dashboards.queries import (
    Query,
    age,
    heat,
    objective,
    quantile,
    rate,
    share,
    value,
)
from glassq.observe.dashboards.standing import (
    VERDICTS,
    age_against_objective,
    block_against_objective,
    standing,
)
from glassq.observe.dashboards.variables import DATASOURCE, DOCS, INSTANCE, JOB, QUEUE, SERVICE, TRACES

_TRACES = (traces(),)
_JOBS = f"sum by (queue) ({value('queue_depth', 'queue', 'state')})"
_RUN_TIMES = quantile(0.95, "job_processing_duration_seconds", "task")
_AT_LEAST_ONE = steps("red", (1, "green"))


_NOW: Line = (
    stat(
        "Unsettled jobs",
        "Everything that is in the queue, in whatever state.",
        Query(_JOBS),
        unit="short",
    ),
    stat(
        "Age / max_age",
        "The oldest job's age as a share of what the application promised (`app.queue(NAME, max_age=...)`).",
        Query(age_against_objective()),
        unit="percentunit",
        thresholds=WITHIN_OBJECTIVE,
        none="no promise",
        runbook="OldestJobTooOld",
    ),
    stat(
        "Block / max_blocked",
        "How long the worst head has held up its lane, as a share of what the application promised.",
        Query(block_against_objective()),
        unit="percentunit",
        thresholds=WITHIN_OBJECTIVE,
        none="no promise",
        runbook="HeadBlocked",
    ),
    stat(
        "Attempts of the head",
        "How often the head that is in most trouble has been tried. 0 or 1 is normal.",
        Query(value("queue_head_attempts", "queue")),
        unit="none",
        thresholds=steps("green", (2, "orange")),
    ),
    stat(
        "Workers",
        "Live workers that serve the queue. One is enough to run it, two to survive the loss of one.",
        Query(value("queue_workers", "queue")),
        unit="none",
        thresholds=_AT_LEAST_ONE,
        runbook="NoConsumer",
    ),
    stat(
        "Empty in",
        "How long the present work takes at the present pace. More workers help only while there are more "
        "lanes with work than are running; within a lane the order decides.",
        Query(value("queue_drain_seconds_estimate", "queue")),
        unit="s",
        none="-",
    ),
    stat(
        "Dead letters",
        "Jobs that were given up and wait for a human: `glassq dead list QUEUE`.",
        Query(value("dead_letter_jobs", "queue")),
        unit="none",
        thresholds=SHOULD_BE_ZERO,
        runbook="DeadLetters",
    ),
    stat(
        "Since the last settlement",
        "How long ago a job of the queue ended for good. While there is work, a long silence means that the "
        "queue does not move.",
        Query(age(f"({value('queue_last_settled_timestamp_seconds', 'queue')} > 0)")),
        unit="s",
        none="never",
        runbook="QueueStalled",
    ),
)


_BLOCKED: tuple[Line, ...] = (
    (
        timeline(
            "What holds the queue",
            "The worst that is true of the queue, over time: where the band changes its colour is since "
            "when.",
            Query(standing(), "{{queue}}"),
            verdicts=VERDICTS,
            height=4,
            links=_TRACES,
            runbook="QueueStalled",
        ),
    ),
    (
        lines(
            "Worst head: blocked for",
            "Seconds since the head of the worst lane first failed or lost its worker. It falls to 0 when "
            "that job succeeds, is given up or is skipped. Dashed: what the application promised.",
            Query(value("queue_head_blocked_seconds", "queue"), "blocked"),
            Query(objective("max_blocked"), "objective max_blocked"),
            unit="s",
            colours={"blocked": "orange"},
            links=_TRACES,
            runbook="HeadBlocked",
        ),
        lines(
            "Lanes by state",
            "Lanes that have jobs. leased: a job of it runs; waiting_retry: its head is tried again later, "
            "nothing overtakes it; halted: its head failed for good and waits for a human; paused: held on "
            "purpose.",
            *(
                Query(value("queue_lanes", state=state), state)
                for state in ("leased", "ready", "waiting_retry", "paused", "halted")
            ),
            unit="short",
            stacked=True,
            colours=STATES,
            runbook="LaneHalted",
        ),
        lines(
            "Why its jobs waited",
            "Of the jobs that began, how many waited for which reason at any moment (seconds waited per "
            "second). Much behind_lane: fewer jobs per key, or shorter ones, would help, not more workers. "
            "Much fairness: more workers would help.",
            *(Query(rate("job_wait_seconds_total", cause=cause), cause) for cause in CAUSES),
            unit="none",
            stacked=True,
            colours=CAUSES,
        ),
    ),
)


_DEPTH: tuple[Line, ...] = (
    (
        lines(
            "Jobs by state",
            "All unsettled jobs; the states add up. scheduled: not due yet; ready: can run as soon as its "
            "lane's turn comes; leased: taken by a worker; the others wait with their lane.",
            *(Query(value("queue_depth", state=state), state) for state in STATES),
            unit="short",
            stacked=True,
            colours=STATES,
            runbook="NearCapacity",
        ),
        lines(
            "Age of its oldest job",
            "How long the oldest unsettled job has been there. It rises at one second per second as soon as "
            "a lane stands still. Dashed: what the application promised.",
            Query(value("queue_oldest_job_age_seconds", "queue"), "oldest"),
            Query(objective("max_age"), "objective max_age"),
            unit="s",
            colours={"oldest": "blue"},
            links=_TRACES,
            runbook="OldestJobTooOld",
        ),
        lines(
            "In and out",
            "Jobs accepted and jobs ended for good per second, both counted by the store. Where in stays "
            "above out, the queue grows.",
            Query(rate("queue_enqueued_total"), "in"),
            Query(f"sum({rate('queue_settled_total', 'queue', 'outcome')})", "out"),
            unit="ops",
            colours={"in": "blue", "out": "green"},
            runbook="BacklogWillFill",
        ),
    ),
)


def _quantiles(metric: str, *, exemplars: bool = True) -> tuple[Query, ...]:
    return tuple(
        Query(quantile(q, metric), f"p{q * 100:.0f}", exemplar=exemplars and q == 0.5)  # noqa: PLR2004
        for q in (0.5, 0.95, 0.99)
    )


_DURATIONS: tuple[Line, ...] = (
    (
        lines(
            "Time in queue",
            "From when a job could run until its first attempt began, by the store's clock. p99: 99 of 100 "
            "jobs waited no longer.",
            *_quantiles("job_time_in_queue_seconds"),
            unit="s",
            log=True,
            colours=QUANTILES,
            links=_TRACES,
        ),
        lines(
            "Run time of attempts, 95 of 100, by task",
            "How long 95 of 100 attempts ran at most. Within a lane jobs run one after the other, so this "
            "is what bounds its pace. Dashed: the timeout the application set.",
            Query(f"{_RUN_TIMES} > 0", "{{task}}", exemplar=True),
            Query(objective("job_timeout"), "objective job_timeout"),
            unit="s",
            log=True,
            links=_TRACES,
            runbook="StuckJob",
        ),
        lines(
            "From eligible to settled",
            "What a caller cares about: from when a job could run until it ended for good, retries included.",
            *_quantiles("job_end_to_end_duration_seconds"),
            unit="s",
            log=True,
            colours=QUANTILES,
            links=_TRACES,
            runbook="LatencyBudgetBurn",
        ),
    ),
    (
        heatmap(
            "Where the run times lie",
            "How many attempts took how long. Two bands mean two kinds of jobs: look at one of each.",
            Query(heat("job_processing_duration_seconds"), exemplar=True),
            unit="s",
            links=_TRACES,
        ),
        heatmap(
            "Where the times from eligible to settled lie",
            "How many jobs took how long, waiting and retries included. A rising edge is a lane that stands "
            "still.",
            Query(heat("job_end_to_end_duration_seconds"), exemplar=True),
            unit="s",
            links=_TRACES,
        ),
    ),
)


_ENDS: tuple[Line, ...] = (
    (
        lines(
            "Jobs ended",
            "Jobs that ended for good per second, by how, as the workers counted them. cancelled and "
            "expired jobs may have had no attempt at all.",
            *(
                Query(rate("jobs_processed_total", outcome=outcome), outcome)
                for outcome in ("succeeded", "buried", "expired", "cancelled")
            ),
            unit="ops",
            bars=True,
            colours=OUTCOMES,
        ),
        lines(
            "Share of failed attempts, by task",
            "A task whose attempts fail more than before has met a change: of its code, or of what it calls.",
            Query(
                share(
                    rate("job_attempts_total", "task", result="failed"), rate("job_attempts_total", "task")
                ),
                "{{task}}",
            ),
            unit="percentunit",
            links=_TRACES,
            runbook="FailureRatio",
        ),
        lines(
            "Failures, by kind",
            "Attempts that did not succeed. exception: the task raised; timeout: it outlasted its time; "
            "lease_lost: somebody else owns the lane now; crashed: the worker died; undecodable and "
            "unknown_task: producer and worker run different code. A point is one of them: click it to open "
            "its trace, with the error.",
            Query(rate("job_failures_total", "kind"), "{{kind}}", exemplar=True),
            unit="ops",
            bars=True,
            links=_TRACES,
            runbook="FailureRatio",
        ),
    ),
    (
        lines(
            "Retries and reclaims",
            "Failed attempts after which the job stayed at the head of its lane to be tried again, and "
            "heads taken back from an owner that was gone.",
            Query(rate("job_retries_total"), "retried"),
            Query(rate("jobs_reclaimed_total", "reason"), "reclaimed: {{reason}}"),
            unit="ops",
            bars=True,
        ),
        lines(
            "Buried, by why",
            "Jobs that were given up. They are kept: `glassq dead list QUEUE`.",
            Query(rate("jobs_buried_total", "reason"), "{{reason}}"),
            unit="ops",
            bars=True,
            runbook="DeadLetters",
        ),
        lines(
            "Dead letters: how many, how old",
            "What waits for a human, and for how long the oldest of them has.",
            Query(value("dead_letter_jobs"), "dead letters"),
            Query(f"{value('dead_letter_oldest_age_seconds')} / 3600", "age of the oldest, in hours"),
            unit="short",
            colours={"dead letters": "red", "age of the oldest, in hours": "orange"},
            runbook="DeadLetters",
        ),
    ),
)


_ORDER: tuple[Line, ...] = (
    (
        lines(
            "Broken promises",
            "Breaches of the order that a worker saw (a job run after a later one of its lane, a settled "
            "job run again, a token that went back), and times the store lost what it had acknowledged. "
            "Must stay 0; `glassq verify` finds out what happened.",
            Query(rate("order_violations_total", "kind"), "order: {{kind}}"),
            Query(rate("data_loss_detected_total"), "jobs lost by the store"),
            unit="ops",
            bars=True,
            runbook="OrderViolation",
        ),
        lines(
            "Lanes taken, by why",
            "ready: the normal way. The others were taken from an owner: it died, fell silent until its "
            "lease ran out, or handed over as it stopped.",
            Query(rate("lease_acquisitions_total", "cause"), "{{cause}}"),
            Query(rate("lanes_stolen_total"), "stolen"),
            Query(rate("queue_lease_tokens_total"), "tokens given out by the store"),
            unit="ops",
            runbook="LeaseFlapping",
        ),
        lines(
            "Leases lost and writes refused",
            "A worker that was held up (a pause of its machine, a task that keeps the interpreter) loses "
            "its lane; what it reports afterwards is refused by its old token. That is the fence at work; "
            "often is too often.",
            Query(rate("lease_losses_total", "reason"), "lost: {{reason}}"),
            Query(rate("fenced_writes_total", "operation"), "refused: {{operation}}"),
            unit="ops",
            runbook="FencedWrites",
        ),
    ),
)


_PRODUCERS: tuple[Line, ...] = (
    (
        lines(
            "Calls by task",
            "Jobs accepted per second from the processes that are scraped, by task, and calls recognised as "
            "duplicates of a job accepted before.",
            Query(f"{rate('jobs_enqueued_total', 'task')} > 0", "{{task}}"),
            Query(rate("jobs_deduplicated_total"), "duplicates"),
            unit="ops",
            stacked=True,
        ),
        lines(
            "How long a call takes",
            "Until the store acknowledged the job: what `task(...)` costs the caller.",
            *_quantiles("enqueue_duration_seconds", exemplars=False),
            unit="s",
            log=True,
            colours=QUANTILES,
            runbook="StorageSlow",
        ),
        lines(
            "Calls refused, by why",
            "Calls that could not be enqueued, or not surely.",
            Query(rate("enqueue_failures_total", "reason"), "{{reason}}"),
            unit="ops",
            bars=True,
            runbook="EnqueueRejected",
        ),
    ),
    (
        lines(
            "Size of arguments",
            "Of a job, serialized. The limit is max_payload, 256 KiB if not set; large things belong "
            "elsewhere, with their address in the job.",
            *_quantiles("job_payload_bytes", exemplars=False),
            unit="bytes",
            colours=QUANTILES,
        ),
        lines(
            "Lateness of delayed jobs",
            "How long the delayed job, or the slot of a schedule, that is due longest has waited. Rising: no "
            "worker lets delayed jobs in, or nobody leads the schedules.",
            Query(value("schedule_lag_seconds"), "lag"),
            unit="s",
            runbook="ScheduleLag",
        ),
        lines(
            "Slots of schedules",
            "Enqueued and missed, per second. Missed: nobody led the schedules when they were due.",
            Query(rate("schedule_slots_total", "result"), "{{result}}"),
            unit="ops",
            runbook="SlotsMissed",
        ),
        lines(
            "How full it is",
            "Unsettled jobs as a share of max_length; a queue without one is never full. Over 80 % (dashed) "
            "an alert warns; at 100 % calls wait or are refused.",
            Query(f"{_JOBS} / {value('queue_capacity', 'queue')}", "full"),
            Query("vector(0.8)", "objective: a warning"),
            unit="percentunit",
            runbook="NearCapacity",
        ),
    ),
)

QUEUE_DASHBOARD = dashboard(
    "glassq-queue",
    "One queue: what holds it, how old its jobs get, where their time goes, how they end.",
    variables=(DATASOURCE, JOB, INSTANCE, QUEUE, TRACES, SERVICE, DOCS),
    rows=(
        Row("Now", _NOW),
        Row("What is blocked, why, since when", *_BLOCKED),
        Row("How much there is, and how old it gets", *_DEPTH),
        Row("How long jobs take (points are single jobs: click one to open its trace)", *_DURATIONS),
        Row("How jobs end", *_ENDS),
        Row("Order and ownership", *_ORDER),
        Row("Producers", *_PRODUCERS),
    ),
)
"""`glassq-queue`."""
