"""One call seen from outside: its trace across processes, its metrics, its log lines."""

from __future__ import annotations

import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from glassq.cli.demo.otlp import Span, SpanCollector
from tests.integration.tracedshop import TracedShop, check_one_unbroken_trace, named

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def collector() -> Iterator[SpanCollector]:
    """A real OTLP/HTTP receiver."""
    with SpanCollector() as collector:
        yield collector


def fetch(url: str, accept: str = "*/*") -> str:
    """The body of a page."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as response:
        body: str = response.read().decode()
    return body


def test_one_trace_from_the_call_to_the_execution(tmp_path: Path, collector: SpanCollector) -> None:
    """Across processes each attempt's span is a child of, and linked to, the span of its enqueue; log lines
    written in the job carry its ids; `/metrics` passes promtool and its exemplars name exported traces."""
    shop = TracedShop(tmp_path, collector.url)
    shop.produce()
    worker, address = shop.worker()
    try:
        spans = collector.wait_for(
            lambda seen: list(seen) if len(named(list(seen), "process payments")) == 5 else None, timeout=60
        )
        assert spans is not None, "the spans of five attempts"
        text = fetch(f"{address}/metrics")
        open_text = fetch(f"{address}/metrics", OPENMETRICS)
        assert '"status": "pass"' in fetch(f"{address}/readyz").replace('":"', '": "')
    finally:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
        if worker.stdout is not None:
            worker.stdout.close()

    check_one_unbroken_trace(spans)
    _log_lines_carry_ids(shop.logged(), spans)
    _metrics_are_sound(text)
    _exemplars_name_exported_traces(open_text, spans)


def _log_lines_carry_ids(lines: list[dict[str, str]], spans: list[Span]) -> None:
    charged = [line for line in lines if line.get("message") == "charging"]
    assert len(charged) == 5
    by_span = {span.id: span for span in named(spans, "process payments")}
    for line in charged:
        span = by_span[line["span_id"]]
        assert line["trace_id"] == span.trace
        assert line["job_id"] == span.attributes["messaging.message.id"]


def _metrics_are_sound(text: str) -> None:
    if shutil.which("promtool"):
        command = ["promtool", "check", "metrics"]
        checked = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        ours = [line for line in (checked.stdout + checked.stderr).splitlines() if "glassq_" in line]
        assert ours == []
        assert "error" not in checked.stderr.lower()
    for line in (
        'glassq_jobs_processed_total{outcome="succeeded",queue="payments",task="charge"} 4.0',
        'glassq_job_attempts_total{queue="payments",result="failed",task="charge"} 1.0',
        'glassq_job_retries_total{queue="payments",task="charge"} 1.0',
        'glassq_job_processing_duration_seconds_count{queue="payments",task="charge"} 5.0',
        'glassq_order_violations_total{kind="reorder",queue="payments"} 0.0',
        'glassq_queue_depth{queue="payments",state="ready"} 0.0',
        'glassq_queue_oldest_job_age_seconds{queue="payments"} 0.0',
        'glassq_queue_head_blocked_seconds{queue="payments"} 0.0',
        'glassq_dead_letter_jobs{queue="payments"} 0.0',
        'glassq_collector_up{store="sqlite"} 1.0',
    ):
        assert line in text, line


def _exemplars_name_exported_traces(text: str, spans: list[Span]) -> None:
    exported = {(span.trace, span.id) for span in spans}
    exemplars = [
        sample.exemplar.labels
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert exemplars
    assert {(found["trace_id"], found["span_id"]) for found in exemplars} <= exported
