"""The store: whether it answers, how fast, what it refuses, and whether it keeps what it acknowledged."""

from __future__ import annotations

from glassq.observe.dashboards.assembling import Line, Row, dashboard
from glassq.observe.dashboards.colours import MUST_BE_ONE, MUST_BE_ZERO, QUANTILES, SHOULD_BE_ZERO, steps
from glassq.observe.dashboards.panels import heatmap, lines, stat
from glassq.observe.dashboards.queries import (
    RANGE,
    Query,
    gathered,
    grown,
    heat,
    least,
    most,
    observed,
    or_zero,
    quantile,
    rate,
    series,
    share,
    value,
)
from glassq.observe.dashboards.variables import DATASOURCE, DOCS, INSTANCE, JOB, QUEUES

_OPERATIONS = "storage_operation_duration_seconds"
_BUT_LISTEN = ("append", "report", "claim", "settle", "renew", "release")
_SLOW = steps("green", (0.1, "orange"), (0.25, "red"))
_ONE_SCRAPE = ("job", "instance", "queue")


def _account() -> str:
    """Of one instance at a time, since a scrape reads all its totals in one moment; of these the worst."""
    came = f"({_totals('queue_enqueued_total')} + {_totals('queue_replayed_total')})"
    left = f"({_totals('queue_settled_total')} + {_totals('queue_depth')})"
    return gathered("max", ("queue",), f"abs({came} - {left})")


def _totals(name: str) -> str:
    return gathered("sum", _ONE_SCRAPE, series(name))


def _bytes_held() -> str:
    jobs = gathered("sum", ("queue",), value("queue_depth", "queue", "state"))
    return f"{jobs} * on (queue) ({share(_enqueued('sum'), _enqueued('count'))})"


def _enqueued(part: str) -> str:
    return gathered("sum", ("queue",), f"increase({series('job_payload_bytes', f'_{part}')}[{RANGE}])")


_NOW: Line = (
    stat(
        "Store answers",
        "Whether every process could read its store at the last scrape. Down means that nothing is enqueued "
        "or settled; workers keep what they run and go on by themselves.",
        Query(least("collector_up")),
        unit="none",
        texts={"0": "down", "1": "up"},
        thresholds=MUST_BE_ONE,
        runbook="StorageDown",
    ),
    stat(
        "99 of 100 operations",
        "How long 99 of 100 operations took at most, over all kinds. `listen` is left out: it waits for "
        "work.",
        Query(quantile(0.99, _OPERATIONS, operation=_BUT_LISTEN)),
        unit="s",
        thresholds=_SLOW,
        runbook="StorageSlow",
    ),
    stat(
        "Operations",
        "Storage operations per second of all processes.",
        Query(observed(_OPERATIONS, "count")),
        unit="ops",
    ),
    stat(
        "Errors",
        "Operations that failed, in the time shown.",
        Query(or_zero(grown("storage_errors_total"))),
        unit="none",
        decimals=0,
        thresholds=SHOULD_BE_ZERO,
        runbook="StorageErrors",
    ),
    stat(
        "Outages",
        "Times a process found its store again after it could not be reached, in the time shown.",
        Query(or_zero(grown("storage_reconnects_total"))),
        unit="none",
        decimals=0,
        thresholds=SHOULD_BE_ZERO,
        runbook="StorageDown",
    ),
    stat(
        "Lost jobs found out",
        "Times the store was found to have lost what it had acknowledged, in the time shown. Must be 0.",
        Query(or_zero(grown("data_loss_detected_total"))),
        unit="none",
        decimals=0,
        thresholds=MUST_BE_ZERO,
        runbook="DataLossDetected",
    ),
)


_SPEED: tuple[Line, ...] = (
    (
        lines(
            "Operations by kind",
            "Calls per second. append: jobs come in; claim: a worker takes a lane; settle: an attempt "
            "ended; renew: leases are kept; listen: a worker waits for work; stats: these gauges.",
            Query(observed(_OPERATIONS, "count", "operation"), "{{operation}}"),
            unit="ops",
            stacked=True,
        ),
        lines(
            "99 of 100, by kind",
            "How long 99 of 100 operations of each kind took at most. The buckets end at 2.5 s.",
            Query(quantile(0.99, _OPERATIONS, "operation", operation=_BUT_LISTEN), "{{operation}}"),
            unit="s",
            log=True,
            runbook="StorageSlow",
        ),
        lines(
            "How long calls wait for it",
            "What enqueueing costs the caller: until the store acknowledged the job.",
            *(Query(quantile(q, "enqueue_duration_seconds"), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99)),
            unit="s",
            log=True,
            colours=QUANTILES,
            runbook="StorageSlow",
        ),
    ),
    (
        heatmap(
            "Where the times of appends lie",
            "How many appends took how long. A second band is a disk that flushes, or a server that is busy.",
            Query(heat(_OPERATIONS, operation="append")),
            unit="s",
        ),
        heatmap(
            "Where the times of settlements lie",
            "How many settlements took how long. A worker's next job waits for this one.",
            Query(heat(_OPERATIONS, operation="settle")),
            unit="s",
        ),
    ),
)


_ERRORS: Line = (
    lines(
        "Errors by kind",
        "Failed operations per second. connection, timeout: it cannot be reached; oom, enospc: it is full; "
        "readonly: a replica, or a disk that was remounted; auth: the password or its rights.",
        Query(rate("storage_errors_total", "error"), "{{error}}"),
        unit="ops",
        bars=True,
        runbook="StorageErrors",
    ),
    lines(
        "Share of operations that failed",
        "Of all operations of each kind of store.",
        Query(
            share(rate("storage_errors_total", "store"), observed(_OPERATIONS, "count", "store")), "{{store}}"
        ),
        unit="percentunit",
        runbook="StorageErrors",
    ),
    lines(
        "Outages survived, by process",
        "Times a process found its store again. All at the same moment: the store; one alone: its network.",
        Query(rate("storage_reconnects_total", "instance"), "{{instance}}"),
        unit="ops",
        bars=True,
        runbook="StorageDown",
    ),
)


_HOLDS: tuple[Line, ...] = (
    (
        lines(
            "Jobs held, by queue",
            "Unsettled jobs and dead letters: what the store has to keep.",
            Query(f"sum by (queue) ({value('queue_depth', 'queue', 'state')})", "{{queue}}"),
            Query(value("dead_letter_jobs", "queue"), "{{queue}}: dead letters"),
            unit="short",
            stacked=True,
        ),
        lines(
            "Accepted + replayed - settled - held",
            "The store's own account of each queue. It is 0 at all times: nothing is lost, nothing appears "
            "by itself. Anything else is a defect of glassq or of the store.",
            Query(_account(), "{{queue}}"),
            unit="none",
            runbook="DataLossDetected",
        ),
        lines(
            "Bytes of arguments held, by queue",
            "An estimate: unsettled jobs, times the mean size of the arguments that were enqueued in the "
            "time shown. What a job takes besides is not in it.",
            Query(_bytes_held(), "{{queue}}"),
            unit="bytes",
            stacked=True,
        ),
        lines(
            "What a scrape costs",
            "How long the store took to answer for these gauges, at worst. Past 0.5 s they are left out, "
            "and `Store answers` says down.",
            Query(most("collector_duration_seconds", "store"), "{{store}}"),
            unit="s",
            runbook="StorageSlow",
        ),
    ),
)


STORAGE = dashboard(
    "glassq-storage",
    "The store: whether it answers, how fast, what it refuses, whether it keeps what it acknowledged.",
    variables=(DATASOURCE, JOB, INSTANCE, QUEUES, DOCS),
    rows=(
        Row("Now", _NOW),
        Row("How fast it answers", *_SPEED),
        Row("What goes wrong", _ERRORS),
        Row("What it holds", *_HOLDS),
    ),
)
"""`glassq-storage`."""
