"""What gunicorn does around its forks."""

from __future__ import annotations

import os

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


def worker_exit(_server: object, _worker: object) -> None:
    """What is left is sent before the child goes."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()
