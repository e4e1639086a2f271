"""How the self-test judges what was seen: each promise is broken in turn, and the others stand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from glassq.cli.telemetry.checks import Check, judge
from glassq.cli.telemetry.evidence import TASK, Seen, SpanSeen

QUEUE = "glassq-selftest-1"
TRACE, OTHER = "a" * 32, "b" * 32
ROOT = SpanSeen("glassq telemetry selftest", TRACE, "1" * 16, None, ())
ENQUEUE = SpanSeen(f"enqueue {QUEUE}", TRACE, "2" * 16, ROOT.span, ())
PROCESS = SpanSeen(f"process {QUEUE}", TRACE, "3" * 16, ENQUEUE.span, ((TRACE, ENQUEUE.span),))
LABELS = f'queue="{QUEUE}",task="{TASK}"'
EXPOSITION = f"""\
# TYPE glassq_jobs_processed counter
glassq_jobs_processed_total{{{LABELS},outcome="succeeded"}} 1.0
# TYPE glassq_job_processing_duration_seconds histogram
glassq_job_processing_duration_seconds_bucket{{{LABELS},le="0.005"}} 1.0 # \
{{trace_id="{TRACE}",span_id="{PROCESS.span}"}} 0.001 1.0
glassq_job_processing_duration_seconds_bucket{{{LABELS},le="+Inf"}} 1.0
glassq_job_processing_duration_seconds_count{{{LABELS}}} 1.0
glassq_job_processing_duration_seconds_sum{{{LABELS}}} 0.001
# EOF
"""
LINE = {"queue": QUEUE, "task": TASK, "job_id": "j", "trace_id": TRACE, "span_id": PROCESS.span}
GOOD = Seen(
    store="sqlite:///jobs.db",
    queue=QUEUE,
    label=QUEUE,
    trace=TRACE,
    recorded=True,
    job="j",
    ran_after=0.004,
    patience=20.0,
    settled=True,
    status=200,
    content_type="application/openmetrics-text; version=1.0.0; charset=utf-8",
    exposition=EXPOSITION,
    spans=[ENQUEUE, ROOT, PROCESS],
    blind=None,
    line=LINE,
    exported=True,
    removed=True,
)


def judged(**changes: Any) -> dict[str, Check]:
    """The checks of what was good, but for these facts."""
    return {check.name: check for check in judge(msgspec.structs.replace(GOOD, **changes))}


def test_what_is_as_it_should_be_passes_with_nothing_to_do() -> None:
    """Each check says what it saw. Nothing exported because nothing is to be is no failure."""
    checks = judged()
    assert all(check.passed and check.seen and check.to_do is None for check in checks.values())
    assert checks["job"].seen == "j ran 4 ms after its call and was settled, on sqlite:///jobs.db"
    assert checks["spans"].seen == f"{ROOT.name} > {ENQUEUE.name} > {PROCESS.name} in trace {TRACE}"
    assert "export" not in judged(exported=None)


@pytest.mark.parametrize(
    ("changes", "fails", "seen"),
    [
        ({"ran_after": None, "settled": False}, {"job"}, "j did not run within 20 s"),
        ({"settled": False}, {"job"}, "was not settled"),
        ({"exposition": "# EOF\n"}, {"scrape", "exemplar"}, "glassq_jobs_processed_total is missing"),
        ({"status": 503}, {"scrape", "exemplar"}, "/metrics answered 503"),
        ({"content_type": "text/plain"}, {"scrape", "exemplar"}, "as text/plain"),
        (
            {"exposition": EXPOSITION.replace(PROCESS.span, "4" * 16)},
            {"exemplar"},
            "no bucket of glassq_job_processing_duration_seconds names trace",
        ),
        ({"spans": [ENQUEUE, ROOT]}, {"spans"}, f"2 spans ({ENQUEUE.name}, {ROOT.name})"),
        ({"line": None}, {"log"}, "no line"),
        ({"line": {**LINE, "span_id": ENQUEUE.span}}, {"log"}, "not with the job's own span_id"),
        ({"exported": False}, {"export"}, "did not take"),
        ({"removed": False}, {"removal"}, "still in the store"),
    ],
)
def test_what_is_not_fails_and_says_what_to_do(changes: dict[str, Any], fails: set[str], seen: str) -> None:
    """No check hides behind another: those that do not depend on the fact still pass."""
    checks = judged(**changes)
    assert {name for name, check in checks.items() if not check.passed} == fails
    assert any(seen in checks[name].seen for name in fails)
    assert all(checks[name].to_do for name in fails)


def test_a_trace_is_whole_by_parent_or_by_the_link_that_was_asked_for() -> None:
    """Neither one that begins anew without a link, nor one whose middle is another trace's."""
    anew = msgspec.structs.replace(PROCESS, trace=OTHER, parent=None)
    lost = msgspec.structs.replace(anew, links=())
    beside = msgspec.structs.replace(PROCESS, parent="5" * 16, links=())
    passed = [judged(spans=[ENQUEUE, ROOT, process])["spans"].passed for process in (anew, lost, beside)]
    assert passed == [True, False, False]


def test_a_provider_that_shows_its_spans_to_nobody_is_named() -> None:
    """Where to look instead is said, with the trace to look for."""
    check = judged(spans=[], blind="vendor.Provider")["spans"]
    assert check.to_do is not None
    assert "vendor.Provider" in check.to_do
    assert TRACE in check.to_do
