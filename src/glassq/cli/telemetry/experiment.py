"""One traced job on its real way, in this process, and all that is told of it. Needs the extras `otel` and
`server`."""

from __future__ import annotations

import io
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    ProxyTracerProvider,
    Span,
    SpanContext,
    TraceFlags,
    format_span_id,
    format_trace_id,
)

from glassq.app import Glassq
from glassq.cli.telemetry.evidence import TASK, Seen, SpanSeen
from glassq.observe.exporting import export_traces_from_environment
from glassq.observe.labels import queue_labels
from glassq.observe.logs import JobLogFilter, JsonFormatter

ROOT = "glassq telemetry selftest"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

_RUN_SECONDS = 20.0
_HTTP_SECONDS = 5.0


def watch(app: Glassq) -> Seen:
    """Send the job, run it, look. Raises what the store raises when it does not answer."""
    dropped: list[str] = []
    finish = export_traces_from_environment(lambda reason, count: dropped.append(f"{count} {reason}"))
    spans = InMemorySpanExporter()
    blind = _look_on(spans)
    queue = f"glassq-selftest-{secrets.token_hex(6)}"
    lines = io.StringIO()
    try:
        with _removing(app, queue) as removed, _logging(lines) as log:
            ran = _Job(app, queue, log)
            status, content_type, exposition = _scrape(app)
    finally:
        exported = None
        if finish is not None:
            _flush()
            exported = not dropped
            finish()
    logged = lines.getvalue().splitlines()
    return Seen(
        store=app.address,
        queue=queue,
        label=queue_labels(app.metrics_registry).label(queue),
        trace=format_trace_id(ran.context.trace_id),
        recorded=ran.recorded,
        job=ran.job,
        ran_after=ran.after,
        patience=_RUN_SECONDS,
        settled=ran.settled,
        status=status,
        content_type=content_type,
        exposition=exposition,
        spans=[_as_seen(span) for span in spans.get_finished_spans()],
        blind=blind,
        line=json.loads(logged[-1]) if logged else None,
        exported=exported,
        removed=removed(),
    )


class _Job:
    """Enqueued under a span of its own, and run by a worker of this process."""

    def __init__(self, app: Glassq, queue: str, log: logging.Logger) -> None:
        self.after: float | None = None

        @app.fifo(queue, name=TASK, max_retries=0)
        def selftest() -> None:
            self.after = time.monotonic() - began
            log.info("the self-test's job runs")

        began = time.monotonic()
        root = _root()
        self.context, self.recorded = root.get_span_context(), _is_recorded(root)
        with trace.use_span(root, end_on_exit=True):
            self.job = selftest().id
        self.settled = app.worker(queues=[queue], concurrency=1).run_until_idle(_RUN_SECONDS)


def _root() -> Span:
    """A sampled span, where the sampler can be moved to it: one that follows its parents is."""
    tracer = trace.get_tracer("glassq.selftest")
    span = tracer.start_span(ROOT)
    if _is_recorded(span):
        return span
    asked = SpanContext(
        trace_id=secrets.randbits(128) | 1,
        span_id=secrets.randbits(64) | 1,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return tracer.start_span(ROOT, context=trace.set_span_in_context(NonRecordingSpan(asked)))


def _is_recorded(span: Span) -> bool:
    return span.is_recording() and span.get_span_context().trace_flags.sampled


def _look_on(spans: InMemorySpanExporter) -> str | None:
    """Let whatever provider there is show its spans here, too; its kind when it shows them to nobody."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, ProxyTracerProvider):
        provider = TracerProvider(shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    add: Callable[[object], None] | None = getattr(provider, "add_span_processor", None)
    if add is None:
        return f"{type(provider).__module__}.{type(provider).__qualname__}"
    add(SimpleSpanProcessor(spans))
    return None


def _flush() -> None:
    force: Callable[[], object] | None = getattr(trace.get_tracer_provider(), "force_flush", None)
    if force is not None:
        force()


@contextmanager
def _removing(app: Glassq, queue: str) -> Iterator[Callable[[], bool]]:
    """Take the queue out of the store at the end, whatever happened; tells whether that was possible."""
    removed: list[bool] = []
    try:
        yield lambda: any(removed)
    finally:
        for dead in (False, True):
            app.storage.purge(queue, dead=dead)
        removed.append(app.storage.forget(queue))


@contextmanager
def _logging(lines: io.StringIO) -> Iterator[logging.Logger]:
    """A logger set up as that of `glassq worker --log-format json`, writing here."""
    handler = logging.StreamHandler(lines)
    handler.addFilter(JobLogFilter())
    handler.setFormatter(JsonFormatter())
    log = logging.getLogger(TASK)
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield log
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before


def _scrape(app: Glassq) -> tuple[int, str, str]:
    """Read the application's metrics as Prometheus does: over HTTP, as OpenMetrics."""
    server = app.serve_http(port=0)
    try:
        address = urlsplit(server.url)
        connection = HTTPConnection(str(address.hostname), address.port or 0, timeout=_HTTP_SECONDS)
        connection.request("GET", "/metrics", headers={"Accept": OPENMETRICS})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.getheader("Content-Type", ""), body
    finally:
        server.close()


def _as_seen(span: ReadableSpan) -> SpanSeen:
    context = span.get_span_context()
    return SpanSeen(
        name=span.name,
        trace=format_trace_id(context.trace_id) if context else "",
        span=format_span_id(context.span_id) if context else "",
        parent=format_span_id(span.parent.span_id) if span.parent else None,
        links=tuple(
            (format_trace_id(link.context.trace_id), format_span_id(link.context.span_id))
            for link in span.links
        ),
    )
