"""One call seen from outside: its trace across processes, its metrics, its log lines."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from glassq.cli.demo.otlp import Span, SpanCollector
from tests.integration.processes import Stage

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

SHOP = '''
"""A shop whose worker runs in another process."""
import logging, os, sys
from glassq import Glassq
from opentelemetry import trace

app = Glassq()
log = logging.getLogger("shop")

@app.fifo("payments", key="order", max_retries=1, retry_wait=0.05, name="charge")
def charge(order: str, fail_once: bool) -> None:
    from glassq import current_job
    log.warning("charging")
    if fail_once and current_job().attempt == 1:
        raise ValueError("declined")

if __name__ == "__main__":
    from glassq.observe.exporting import export_traces_from_environment
    flush = export_traces_from_environment()
    with trace.get_tracer("shop").start_as_current_span("POST /orders"):
        charge("o-1", False)
        charge("o-2", True)
        app.enqueue_many([charge.s("o-3", False), charge.s("o-4", False)])
    flush()
'''


@pytest.fixture
def collector() -> Iterator[SpanCollector]:
    """A real OTLP/HTTP receiver."""
    with SpanCollector() as collector:
        yield collector


class Shop:
    """The shop's producer and worker as processes that export to the collector."""

    def __init__(self, folder: Path, collector: SpanCollector) -> None:
        (folder / "shop.py").write_text(SHOP)
        self._folder = folder
        self._stage = Stage(
            folder,
            f"sqlite:///{folder}/jobs.db",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            PYTHONPATH=str(folder),
        )

    def produce(self) -> None:
        """Enqueue four calls."""
        command = [sys.executable, "shop.py"]
        environment = {**self._stage.environment, "OTEL_SERVICE_NAME": "producer"}
        subprocess.run(command, cwd=self._folder, env=environment, check=True, timeout=60)

    def worker(self) -> tuple[subprocess.Popen[str], str]:
        """`glassq worker`, and the address it serves."""
        command = [sys.executable, "-m", "glassq", "worker", "shop:app", "--http", "127.0.0.1:0"]
        with (self._folder / "log").open("w") as log:
            child = subprocess.Popen(
                [*command, "--log-format", "json"],
                cwd=self._folder,
                env=self._stage.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("http://"):
                return child, line.split("/metrics")[0]
        raise AssertionError((self._folder / "log").read_text())

    def logged(self) -> list[dict[str, str]]:
        """The worker's log, parsed."""
        return [json.loads(line) for line in (self._folder / "log").read_text().splitlines()]


def fetch(url: str, accept: str = "*/*") -> str:
    """The body of a page."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as response:
        body: str = response.read().decode()
    return body


def named(spans: tuple[Span, ...] | list[Span], name: str) -> list[Span]:
    """Spans of this name, oldest first."""
    return sorted((span for span in spans if span.name == name), key=lambda span: span.started)


def test_one_trace_from_the_call_to_the_execution(tmp_path: Path, collector: SpanCollector) -> None:
    """Across processes each attempt's span is a child of, and linked to, the span of its enqueue; log lines
    written in the job carry its ids; `/metrics` passes promtool and its exemplars name exported traces."""
    shop = Shop(tmp_path, collector)
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

    _one_unbroken_trace(spans)
    _log_lines_carry_ids(shop.logged(), spans)
    _metrics_are_sound(text)
    _exemplars_name_exported_traces(open_text, spans)


def _one_unbroken_trace(spans: list[Span]) -> None:
    (root,) = named(spans, "POST /orders")
    sends = named(spans, "enqueue payments")
    creates = named(spans, "create payments")
    processes = named(spans, "process payments")
    assert {span.trace for span in spans} == {root.trace}
    assert (len(sends), len(creates), len(processes)) == (3, 2, 5)
    assert {span.service for span in processes} == {"glassq-worker"}
    assert {span.service for span in sends} == {"producer"}
    creations = {span.attributes["messaging.message.id"]: span for span in (*sends[:2], *creates)}
    for span in processes:
        creation = creations[span.attributes["messaging.message.id"]]
        assert span.parent == creation.id
        assert creation.id in span.links
    first, second = (
        span for span in processes if span.attributes["messaging.destination.partition.id"] == "o-2"
    )
    assert (first.failed, second.failed) == (True, False)
    assert (first.attributes["glassq.job.attempt"], second.attributes["glassq.job.attempt"]) == ("1", "2")
    assert first.id in second.links, "an attempt links the one before it"
    assert first.attributes["error.type"] == "ValueError"


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
