"""The wall: every queue at a glance, what is blocked and since when, where jobs wait."""

from __future__ import annotations

from glassq.observe.dashboards.assembling import Line, Row, dashboard
from glassq.observe.dashboards.colours import (
    CAUSES,
    MUST_BE_ONE,
    MUST_BE_ZERO,
    OUTCOMES,
    SHOULD_BE_ZERO,
    WITHIN_OBJECTIVE,
    WORKFLOWS,
)
from glassq.observe.dashboards.links import queue_of
from glassq.observe.dashboards.panels import lines, stat, timeline
from glassq.observe.dashboards.queries import (
    Query,
    alerts,
    grown,
    least,
    observed,
    or_zero,
    quantile,
    rate,
    share,
    value,
)
from glassq.observe.dashboards.schema import Panel
from glassq.observe.dashboards.standing import (
    VERDICTS,
    abandoned,
    age_against_objective,
    block_against_objective,
    standing,
)
from glassq.observe.dashboards.tables import Column, table
from glassq.observe.dashboards.variables import DATASOURCE, DOCS, INSTANCE, JOB, QUEUES

_BY_QUEUE = (queue_of("__field.labels.queue"),)


_VERDICTS: Line = (
    stat(
        "Alerts",
        "Alerts of glassq that fire now. The SLO dashboard shows which, and since when.",
        Query(or_zero(f"count({alerts('firing')})")),
        unit="none",
        thresholds=MUST_BE_ZERO,
        links=({"title": "Which, and since when", "url": "/d/glassq-slo?${__url_time_range}"},),
    ),
    stat(
        "Stores",
        "Whether every process could read its store at the last scrape. Down means that nothing is enqueued "
        "or settled, and that the figures about queues below are missing, not zero.",
        Query(least("collector_up")),
        unit="none",
        texts={"0": "down", "1": "up"},
        thresholds=MUST_BE_ONE,
        runbook="StorageDown",
    ),
    stat(
        "Halted lanes",
        "Lanes that stand still behind a job that failed for good until a human retries or skips it. The "
        "other lanes go on. `glassq halted list QUEUE` shows each with its error.",
        Query(or_zero(f"sum({value('queue_lanes', 'queue', state='halted')})")),
        unit="none",
        thresholds=MUST_BE_ZERO,
        runbook="LaneHalted",
    ),
    stat(
        "Queues without a worker",
        "Queues that have jobs to run and no live worker that serves them.",
        Query(or_zero(f"count({abandoned()} > 0)")),
        unit="none",
        thresholds=MUST_BE_ZERO,
        runbook="NoConsumer",
    ),
    stat(
        "Late queues",
        "Queues whose oldest job is older, or whose worst head has been blocked longer, than the "
        "application promised where it declares them: `app.queue(NAME, max_age=..., max_blocked=...)`.",
        Query(
            or_zero(
                f"count({age_against_objective()} > 1 or {block_against_objective()} > 1)",
            )
        ),
        unit="none",
        thresholds=MUST_BE_ZERO,
        runbook="HeadBlocked",
    ),
    stat(
        "Broken promises",
        "Breaches of the order that a worker saw, and jobs that a store acknowledged and lost, in the time "
        "shown. Anything but 0 is a defect of glassq, of the store, or a store that was restored: find out.",
        Query(
            f"({or_zero(grown('order_violations_total'))}) + ({or_zero(grown('data_loss_detected_total'))})"
        ),
        unit="none",
        decimals=0,
        thresholds=MUST_BE_ZERO,
        runbook="OrderViolation",
    ),
    stat(
        "Dead letters",
        "Jobs that were given up and wait for a human. They hold up nobody. `glassq dead list QUEUE` shows "
        "them, `glassq dead replay QUEUE` brings them back in their order.",
        Query(or_zero(f"sum({value('dead_letter_jobs', 'queue')})")),
        unit="none",
        thresholds=SHOULD_BE_ZERO,
        runbook="DeadLetters",
    ),
    stat(
        "Jobs",
        "Unsettled jobs of all queues, in all states.",
        Query(f"sum({value('queue_depth', 'queue', 'state')})"),
        unit="short",
    ),
)


_EVERY_QUEUE: Panel = table(
    "Queues",
    "One line for each queue; click its name for the details. `of max_age` and `of max_blocked` compare "
    "with what the application promised: from 80 % on it is orange, over 100 % red. `Empty in` is how long "
    "the present work takes at the present pace.",
    Column("State", standing(), "none", verdicts=VERDICTS, width=150),
    Column("Jobs", f"sum by (queue) ({value('queue_depth', 'queue', 'state')})", "short"),
    Column("Oldest", value("queue_oldest_job_age_seconds", "queue"), "s"),
    Column("of max_age", age_against_objective(), "percentunit", WITHIN_OBJECTIVE),
    Column("Head blocked", value("queue_head_blocked_seconds", "queue"), "s"),
    Column("of max_blocked", block_against_objective(), "percentunit", WITHIN_OBJECTIVE),
    Column("Head attempts", value("queue_head_attempts", "queue"), "none"),
    Column("Workers", value("queue_workers", "queue"), "none"),
    Column("In", rate("queue_enqueued_total", "queue"), "ops"),
    Column("Out", f"sum by (queue) ({rate('queue_settled_total', 'queue', 'outcome')})", "ops"),
    Column("Empty in", value("queue_drain_seconds_estimate", "queue"), "s"),
    Column("Dead letters", value("dead_letter_jobs", "queue"), "none", SHOULD_BE_ZERO),
    of={"queue": "Queue"},
    sort="State",
    links=(queue_of("__value.raw"),),
)


_BLOCKED: tuple[Line, ...] = (
    (
        timeline(
            "What holds each queue",
            "The worst that is true of each queue, over time: where a band changes its colour is since "
            "when. A retried head holds its own lane only; a halted lane waits for a human; no worker holds "
            "everything.",
            Query(standing(), "{{queue}}"),
            verdicts=VERDICTS,
            links=_BY_QUEUE,
            runbook="QueueStalled",
        ),
        lines(
            "How long heads have been blocked, of what was promised",
            "For the worst lane of each queue: how long ago its head first failed or lost its worker, as a "
            "share of the queue's max_blocked. It falls to 0 when that job succeeds, is given up or is "
            "skipped. Dashed: the promise.",
            Query(block_against_objective(), "{{queue}}"),
            Query("vector(1)", "objective"),
            unit="percentunit",
            links=_BY_QUEUE,
            runbook="HeadBlocked",
        ),
    ),
    (
        lines(
            "Why jobs waited",
            "Of the jobs that began, how many waited for which reason at any moment (seconds waited per "
            "second). behind_lane: jobs before it in its own lane, the price of order; no_worker: nobody "
            "served the queue; backoff, halted, paused: what happened to the head of its lane; fairness: "
            "other lanes had their turn.",
            *(Query(rate("job_wait_seconds_total", cause=cause), cause) for cause in CAUSES),
            unit="none",
            stacked=True,
            colours=CAUSES,
        ),
        lines(
            "Age of the oldest jobs, of what was promised",
            "How long the oldest unsettled job of each queue has been there, as a share of the queue's "
            "max_age. In a strict FIFO this is the first sign of trouble: it rises evenly as soon as a lane "
            "stands still. Dashed: the promise.",
            Query(age_against_objective(), "{{queue}}"),
            Query("vector(1)", "objective"),
            unit="percentunit",
            links=_BY_QUEUE,
            runbook="OldestJobTooOld",
        ),
    ),
)


_FLOWS: tuple[Line, ...] = (
    (
        lines(
            "Enqueued",
            "Jobs accepted per second. Counted by the store in the transaction that accepts them: exact, "
            "also for producers that nobody scrapes.",
            Query(rate("queue_enqueued_total", "queue"), "{{queue}}"),
            unit="ops",
            links=_BY_QUEUE,
        ),
        lines(
            "Settled",
            "Jobs that ended for good per second, by how. Buried: given up and kept; expired: too old to "
            "begin; cancelled: somebody took them out.",
            *(
                Query(f"sum({rate('queue_settled_total', 'queue', outcome=outcome)})", outcome)
                for outcome in ("succeeded", "buried", "expired", "cancelled")
            ),
            unit="ops",
            stacked=True,
            colours=OUTCOMES,
        ),
        lines(
            "Unsettled jobs",
            "How many jobs each queue holds, in all states. Level or falling is healthy at any height; "
            "rising means that more comes in than goes out.",
            Query(f"sum by (queue) ({value('queue_depth', 'queue', 'state')})", "{{queue}}"),
            unit="short",
            links=_BY_QUEUE,
            runbook="BacklogWillFill",
        ),
    ),
    (
        lines(
            "Failed attempts",
            "The share of attempts that failed. A retried job fails several times and still succeeds; what "
            "is given up shows under dead letters.",
            Query(
                share(
                    rate("job_attempts_total", "queue", result="failed"), rate("job_attempts_total", "queue")
                ),
                "{{queue}}",
            ),
            unit="percentunit",
            links=_BY_QUEUE,
            runbook="FailureRatio",
        ),
        lines(
            "From eligible to settled, 99 of 100 jobs",
            "The time that 99 of 100 jobs did not exceed from when they could run until they ended for "
            "good. The points are single jobs: click one to open its trace.",
            Query(quantile(0.99, "job_end_to_end_duration_seconds", "queue"), "{{queue}}", exemplar=True),
            unit="s",
            log=True,
            links=_BY_QUEUE,
            runbook="LatencyBudgetBurn",
        ),
        lines(
            "Refused calls",
            "Calls that could not be enqueued, or not surely, per second, by why. `uncertain`: the store's "
            "answer never came; call again with a deduplication id. `queue_full`: max_length was reached.",
            Query(rate("enqueue_failures_total", "reason"), "{{reason}}"),
            unit="ops",
            bars=True,
            runbook="EnqueueRejected",
        ),
    ),
)

_WORKFLOWS: tuple[Line, ...] = (
    (
        lines(
            "Workflows ended, by how",
            "Per second. failed: all jobs have ended, and one was given up or too old to begin; cancelled: "
            "somebody stopped the workflow or a step of it.",
            *(
                Query(observed("workflow_duration_seconds", "count", status=status), status)
                for status in ("succeeded", "failed", "cancelled")
            ),
            unit="ops",
            stacked=True,
            colours=WORKFLOWS,
        ),
        lines(
            "How long workflows take, 99 of 100",
            "From the submit to the end of the last job, by the name they were submitted as.",
            Query(quantile(0.99, "workflow_duration_seconds", "workflow"), "{{workflow}}"),
            unit="s",
            log=True,
        ),
        lines(
            "Jobs that wait for others",
            "Deferred jobs of each queue: they join their lanes when what they come after has ended. Level "
            "for long: nothing ends any more.",
            Query(value("queue_depth", "queue", state="deferred"), "{{queue}}"),
            unit="short",
            links=_BY_QUEUE,
            runbook="DeferredStuck",
        ),
    ),
)

OVERVIEW = dashboard(
    "glassq-overview",
    "Every queue at a glance: what is blocked, why, since when, and what burns.",
    variables=(DATASOURCE, JOB, INSTANCE, QUEUES, DOCS),
    rows=(
        Row("Is anything wrong?", _VERDICTS),
        Row("Every queue", (_EVERY_QUEUE,)),
        Row("What is blocked, why, since when", *_BLOCKED),
        Row("What goes in and out", *_FLOWS),
        Row("Workflows", *_WORKFLOWS),
    ),
)
"""`glassq-overview`."""
