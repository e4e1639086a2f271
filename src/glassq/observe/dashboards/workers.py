"""The processes that run jobs: who is there, what each is doing, whether it keeps its leases."""

from __future__ import annotations

from glassq.observe.dashboards.assembling import Line, Row, dashboard
from glassq.observe.dashboards.colours import BLUE, GREEN, ORANGE, RED, SHOULD_BE_ZERO, steps
from glassq.observe.dashboards.panels import lines, stat
from glassq.observe.dashboards.queries import (
    Query,
    age,
    gathered,
    grown,
    least,
    most,
    objective,
    observed,
    or_zero,
    rate,
    series,
    share,
    value,
)
from glassq.observe.dashboards.schema import Panel
from glassq.observe.dashboards.tables import Column, table
from glassq.observe.dashboards.variables import DATASOURCE, DOCS, INSTANCE, JOB, QUEUES

_BUILD = ("instance", "version", "python", "store")
_BEATS = least("worker_heartbeat_timestamp_seconds", "instance")


def _at_work(expr: str) -> str:
    """Of the processes that have a worker: others know the same counters, at 0."""
    return f"({expr}) and on (instance) {_BEATS}"


_CONTEXTS = {"ok": GREEN, "missing": BLUE, "invalid": RED}
_STALE = steps(GREEN, (30, ORANGE), (60, RED))
_MARGIN = steps(RED, (2, ORANGE), (4, GREEN))


_NOW: Line = (
    stat(
        "Worker processes",
        "Processes that are scraped and have a worker.",
        Query(or_zero(f"count({least('worker_heartbeat_timestamp_seconds', 'instance')})")),
        unit="none",
        thresholds=steps(RED, (1, GREEN)),
        runbook="NoConsumer",
    ),
    stat(
        "Silent for",
        "Of all workers the one whose loop turned longest ago. It turns every few seconds, whatever the "
        "jobs do.",
        Query(age(least("worker_heartbeat_timestamp_seconds"))),
        unit="s",
        thresholds=_STALE,
        none="no worker",
        runbook="WorkerStale",
    ),
    stat(
        "Jobs running",
        "Attempts that run at this moment, over all processes.",
        Query(value("jobs_in_progress")),
        unit="none",
    ),
    stat(
        "Longest attempt running",
        "Run time so far of the oldest attempt that is running. A task with a timeout ends there; one "
        "without may hang for ever, and its lane with it.",
        Query(most("job_in_progress_seconds")),
        unit="s",
        runbook="StuckJob",
    ),
    stat(
        "Lanes held",
        "Lanes that have an owner among these processes.",
        Query(value("lanes_held")),
        unit="none",
    ),
    stat(
        "Draining",
        "Processes that finish what they run and start nothing more: they were told to stop.",
        Query(value("worker_draining")),
        unit="none",
        thresholds=SHOULD_BE_ZERO,
    ),
)


_EVERY_WORKER: Panel = table(
    "Workers",
    "One line for each process with a worker. Silent for: since its loop last turned. Lease margin: the "
    "least time left on a lease; it is renewed long before, so a small one means that the process was held "
    "up.",
    Column("Silent for", age(_BEATS), "s", _STALE),
    Column("Running", _at_work(value("jobs_in_progress", "instance")), "none"),
    Column("Longest running", _at_work(most("job_in_progress_seconds", "instance")), "s"),
    Column("Lanes held", _at_work(value("lanes_held", "instance")), "none"),
    Column("Lease margin", least("lease_remaining_seconds", "instance"), "s", _MARGIN),
    Column("Attempts", _at_work(rate("job_attempts_total", "instance")), "ops"),
    Column(
        "Failed",
        share(
            rate("job_attempts_total", "instance", result="failed"), rate("job_attempts_total", "instance")
        ),
        "percentunit",
    ),
    Column("Leases lost", _at_work(grown("lease_losses_total", "instance")), "none", SHOULD_BE_ZERO),
    Column("Draining", value("worker_draining", "instance"), "none", SHOULD_BE_ZERO),
    of={"instance": "Process"},
    sort="Silent for",
)


_WORK: tuple[Line, ...] = (
    (
        lines(
            "Attempts running, by process",
            "How many jobs each process runs at once. At its concurrency it is busy; far below it while "
            "lanes are ready, ask why.",
            Query(_at_work(value("jobs_in_progress", "instance")), "{{instance}}"),
            unit="short",
            stacked=True,
        ),
        lines(
            "Time spent running, by queue",
            "Seconds of run time per second: how many jobs of each queue ran at any moment, on average. "
            "Where it comes up to the concurrency of all workers together, more workers help.",
            Query(observed("job_processing_duration_seconds", "sum", "queue"), "{{queue}}"),
            unit="short",
            stacked=True,
        ),
        lines(
            "Longest attempt running, of job_timeout",
            "Run time so far of the oldest attempt that is running, as a share of what the application "
            "promised. A ramp that does not end is a job that hangs. Dashed: the promise.",
            Query(f"{most('job_in_progress_seconds', 'queue')} / {objective('job_timeout')}", "{{queue}}"),
            Query("vector(1)", "objective"),
            unit="percentunit",
            runbook="StuckJob",
        ),
    ),
    (
        lines(
            "Attempts, by process",
            "Executions per second. Processes need not share evenly: a lane stays where it is warm.",
            Query(_at_work(rate("job_attempts_total", "instance")), "{{instance}}"),
            unit="ops",
            stacked=True,
        ),
        lines(
            "Failed attempts, by process",
            "The share of a process' attempts that failed. One process worse than the others has a problem "
            "of its own: its host, its network, its version.",
            Query(
                share(
                    rate("job_attempts_total", "instance", result="failed"),
                    rate("job_attempts_total", "instance"),
                ),
                "{{instance}}",
            ),
            unit="percentunit",
            runbook="FailureRatio",
        ),
        lines(
            "Silence of the loop, by process",
            "Seconds since each worker's loop last turned. Past 30 s its liveness probe fails.",
            Query(age(_BEATS), "{{instance}}"),
            unit="s",
            runbook="WorkerStale",
        ),
    ),
    (
        lines(
            "Event loop blocked for, by process",
            "How long the event loop of each process' async jobs has done nothing, from 1 s on: code that "
            "does not await holds all of them up. The log of that process names the job and the line.",
            Query(most("event_loop_blocked_seconds", "instance"), "{{instance}}"),
            unit="s",
        ),
        lines(
            "Blocks of the event loop, by process",
            "How often that has happened, also between two scrapes.",
            Query(_at_work(grown("event_loop_blocks_total", "instance")), "{{instance}}"),
            unit="short",
            bars=True,
        ),
    ),
)


_LEASES: tuple[Line, ...] = (
    (
        lines(
            "Lanes held, by process",
            "Lanes each process owns. When one dies, its lanes go to the others within the lease time; when "
            "it is stopped, at once.",
            Query(_at_work(value("lanes_held", "instance")), "{{instance}}"),
            unit="short",
            stacked=True,
        ),
        lines(
            "Lease margin, by process",
            "The least time left on a lease of each process. At 0 the lane is lost, and what ran may run "
            "again.",
            Query(least("lease_remaining_seconds", "instance"), "{{instance}}"),
            unit="s",
            runbook="LeaseMargin",
        ),
        lines(
            "Lanes that changed hands, by why",
            "Lanes taken from an owner, in attempts to keep the order going: it died, fell silent, or "
            "handed over as it stopped; and lanes taken from a worker they were assigned to.",
            Query(rate("jobs_reclaimed_total", "reason"), "{{reason}}"),
            Query(rate("lanes_stolen_total"), "stolen"),
            unit="ops",
            bars=True,
            runbook="LeaseFlapping",
        ),
    ),
    (
        lines(
            "Lanes taken by process",
            "How often each process became the owner of a lane.",
            Query(_at_work(rate("lease_acquisitions_total", "instance")), "{{instance}}"),
            unit="ops",
        ),
        lines(
            "Leases lost, by process",
            "Lanes a process lost against its will: it was held up longer than the lease lasts.",
            Query(_at_work(rate("lease_losses_total", "instance")), "{{instance}}"),
            unit="ops",
            bars=True,
            runbook="LeaseFlapping",
        ),
        lines(
            "Writes refused, by process",
            "What a process reported about a lane that had a newer owner by then. The fence kept it out.",
            Query(_at_work(rate("fenced_writes_total", "instance")), "{{instance}}"),
            unit="ops",
            bars=True,
            runbook="FencedWrites",
        ),
    ),
)


_TELEMETRY: tuple[Line, ...] = (
    (
        lines(
            "Attempts with a trace",
            "Whether jobs carried a usable trace context. missing: the caller traces nothing; invalid: "
            "something broke it on the way, and the job begins a trace of its own.",
            *(Query(rate("trace_contexts_total", result=result), result) for result in _CONTEXTS),
            unit="ops",
            stacked=True,
            colours=_CONTEXTS,
            runbook="TraceContextLost",
        ),
        lines(
            "Telemetry lost",
            "Spans that were made and could not be handed on, and observers that raised and were detached: "
            "from then on what they counted stands still.",
            Query(rate("telemetry_dropped_total", "signal", "reason"), "{{signal}}: {{reason}}"),
            Query(rate("observer_failures_total"), "observers detached"),
            unit="ops",
            bars=True,
            runbook="ObserverDetached",
        ),
        table(
            "What runs where",
            "The version of glassq and of Python in each process, and the kind of its store. More than one "
            "version is normal during a release only.",
            Column("Processes", gathered("sum", _BUILD, series("build_info")), "none"),
            of={"instance": "Process", "version": "glassq", "python": "Python", "store": "Store"},
            height=8,
        ),
    ),
)


WORKERS = dashboard(
    "glassq-workers",
    "The processes that run jobs: who is there, what each is doing, whether it keeps its leases.",
    variables=(DATASOURCE, JOB, INSTANCE, QUEUES, DOCS),
    rows=(
        Row("Now", _NOW),
        Row("Process by process", (_EVERY_WORKER,)),
        Row("Work", *_WORK),
        Row("Leases", *_LEASES),
        Row("Telemetry itself", *_TELEMETRY),
    ),
)
"""`glassq-workers`."""
