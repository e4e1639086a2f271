"""Budgets of errors: how fast they burn, what is left of them, which alerts came of it."""

from __future__ import annotations

from collections.abc import Iterator

from glassq.observe.dashboards.assembling import Line, Row, dashboard
from glassq.observe.dashboards.colours import GREEN, MUST_BE_ZERO, ORANGE, RED, YELLOW, steps
from glassq.observe.dashboards.links import queue_of
from glassq.observe.dashboards.looks import Verdict
from glassq.observe.dashboards.panels import lines, stat, timeline
from glassq.observe.dashboards.queries import (
    RANGE,
    Query,
    alerts,
    gathered,
    grown,
    or_zero,
    recorded,
    share,
)
from glassq.observe.dashboards.schema import Panel
from glassq.observe.dashboards.tables import Column, table
from glassq.observe.dashboards.variables import DATASOURCE, DOCS, INSTANCE, JOB, QUEUES

SUCCESS, LATENCY = "success", "latency"
BUDGETS = {SUCCESS: 0.001, LATENCY: 0.01}
"""The share of jobs that may end badly, and the share that may take too long; the rules have the same."""

_WINDOWS = {"5m": YELLOW, "1h": ORANGE, "6h": RED, "3d": "purple"}
_PAGE = 14.4
"""A budget for 30 days that burns this fast is gone in two: somebody is called."""
_BURN = steps(GREEN, (1, YELLOW), (6, ORANGE), (_PAGE, RED))
_TIMES = "suffix:x"
_STATES = (Verdict(1, "pending", YELLOW), Verdict(2, "fires", RED))
_BY_QUEUE = (queue_of("__field.labels.queue"),)


def _ratio(kind: str, window: str) -> str:
    """The share of jobs that broke the promise, by queue."""
    return gathered("max", ("queue",), recorded(f"queue:glassq_slo_{kind}:error_ratio_{window}"))


def _burn(kind: str, window: str) -> str:
    """How many times faster than allowed the budget burns: at 1 it lasts exactly its 30 days."""
    return f"{_ratio(kind, window)} / {BUDGETS[kind]}"


def _good(*by: str) -> str:
    """The share of jobs that ended well in the time shown; what a human cancelled does not count."""
    ended = ("succeeded", "buried", "expired")
    return share(
        grown("jobs_processed_total", *by, outcome="succeeded"),
        grown("jobs_processed_total", *by, outcome=ended),
    )


def _in_time(*by: str) -> str:
    """The share of jobs that ended within max_age, on average over the time shown."""
    ratio = recorded("queue:glassq_slo_latency:error_ratio_5m")
    return f"1 - {gathered('avg', by, f'avg_over_time({ratio}[{RANGE}])')}"


def _burning(kind: str, alert: str, what: str) -> Iterator[Panel]:
    yield lines(
        f"{kind.capitalize()}: how fast the budget burns, by queue",
        f"{what} over the last hour, as a multiple of what the budget allows. At 1 the budget of 30 days "
        f"lasts 30 days; at {_PAGE} (dashed) it is gone in two, and somebody is called.",
        Query(_burn(kind, "1h"), "{{queue}}"),
        Query(f"vector({_PAGE})", "objective: somebody is called"),
        unit=_TIMES,
        links=_BY_QUEUE,
        runbook=alert,
    )
    yield lines(
        f"{kind.capitalize()}: the worst queue, by window",
        "A short window alone is a spike, a long one alone is over. An alert needs a long and a short one, "
        "so it comes early and goes early.",
        *(Query(f"max({_burn(kind, window)})", window) for window in _WINDOWS),
        unit=_TIMES,
        colours=_WINDOWS,
        runbook=alert,
    )


_NOW: Line = (
    stat(
        "Ended well",
        "The share of jobs that succeeded in the time shown, of those that succeeded, were buried or "
        "expired. The objective is 99.9 %.",
        Query(_good()),
        unit="percentunit",
        decimals=3,
        thresholds=steps(RED, (0.999, GREEN)),
        none="no job ended",
        runbook="SuccessBudgetBurn",
    ),
    stat(
        "In time",
        "The share of jobs that ended within their queue's max_age from when they could run, on average "
        "over the time shown. The objective is 99 %.",
        Query(_in_time()),
        unit="percentunit",
        decimals=2,
        thresholds=steps(RED, (0.99, GREEN)),
        none="no job ended",
        runbook="LatencyBudgetBurn",
    ),
    stat(
        "Success burns at",
        "Of the worst queue, over the last hour: how many times faster than allowed.",
        Query(f"max({_burn(SUCCESS, '1h')})"),
        unit=_TIMES,
        decimals=1,
        thresholds=_BURN,
        none="no job ended",
        runbook="SuccessBudgetBurn",
    ),
    stat(
        "Latency burns at",
        "Of the worst queue, over the last hour: how many times faster than allowed.",
        Query(f"max({_burn(LATENCY, '1h')})"),
        unit=_TIMES,
        decimals=1,
        thresholds=_BURN,
        none="no job ended",
        runbook="LatencyBudgetBurn",
    ),
    stat(
        "Alerts firing",
        "Alerts of glassq that fire now.",
        Query(or_zero(f"count({alerts('firing')})")),
        unit="none",
        thresholds=MUST_BE_ZERO,
    ),
    stat(
        "Alerts pending",
        "Alerts of glassq whose condition holds, but not long enough yet to tell anybody.",
        Query(or_zero(f"count({alerts('pending')})")),
        unit="none",
        thresholds=steps(GREEN, (1, YELLOW)),
    ),
)

_ALERTS = timeline(
    "Which alerts, and since when",
    "Every alert of glassq that was pending or fired in the time shown; the band's beginning is since when. "
    "Each has a page that says what it means, the first command, and how it ends.",
    Query(
        gathered("max", ("alertname", "queue"), f"2 * {alerts('firing')} or 1 * {alerts('pending')}"),
        "{{alertname}} {{queue}}",
    ),
    verdicts=_STATES,
    height=9,
    links=_BY_QUEUE,
)

_QUEUES = table(
    "Budgets by queue",
    "One line for each queue: what was kept in the time shown, and how fast the budgets burn over the "
    "windows that the alerts look at. Over 1 the budget will not last.",
    Column("Ended well", _good("queue"), "percentunit", steps(RED, (0.999, GREEN))),
    Column("Success burn 5m", _burn(SUCCESS, "5m"), _TIMES, _BURN),
    Column("Success burn 1h", _burn(SUCCESS, "1h"), _TIMES, _BURN),
    Column("Success burn 6h", _burn(SUCCESS, "6h"), _TIMES, _BURN),
    Column("In time", _in_time("queue"), "percentunit", steps(RED, (0.99, GREEN))),
    Column("Latency burn 5m", _burn(LATENCY, "5m"), _TIMES, _BURN),
    Column("Latency burn 1h", _burn(LATENCY, "1h"), _TIMES, _BURN),
    Column("Latency burn 6h", _burn(LATENCY, "6h"), _TIMES, _BURN),
    of={"queue": "Queue"},
    sort="Success burn 1h",
    links=(queue_of("__value.raw"),),
)

SLO = dashboard(
    "glassq-slo",
    "Budgets of errors: how fast they burn, what is left of them, which alerts came of it.",
    variables=(DATASOURCE, JOB, INSTANCE, QUEUES, DOCS),
    rows=(
        Row("Are the promises kept?", _NOW),
        Row("Alerts", (_ALERTS,)),
        Row("Queue by queue", (_QUEUES,)),
        Row(
            "How fast the budgets burn",
            tuple(_burning(SUCCESS, "SuccessBudgetBurn", "Jobs that were buried or expired")),
            tuple(_burning(LATENCY, "LatencyBudgetBurn", "Jobs that took longer than max_age")),
        ),
    ),
)
"""`glassq-slo`."""
