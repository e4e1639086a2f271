"""What gunicorn does around its forks."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

workers = 2
preload_app = True  # the application is imported once and forked; glassq opens its store in each child


def post_fork(_server: object, _worker: object) -> None:
    """Tracing begins in the child: an exporter's thread and connections do not survive a fork."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)


def post_worker_init(worker: Any) -> None:
    """With WORK_HERE=1 each child runs jobs beside its requests. Not before the fork: threads stay behind."""
    if os.environ.get("WORK_HERE") == "1":
        from shop import app  # the one that this child serves

        worker.jobs = app.worker(concurrency=2).start()


def worker_exit(_server: object, worker: Any) -> None:
    """Jobs that run are waited for, and what is left of traces is sent, before the child goes."""
    if hasattr(worker, "jobs"):
        worker.jobs.stop(drain=10)
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()
