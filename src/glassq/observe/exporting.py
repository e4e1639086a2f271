"""Traces to an OTLP endpoint, when the environment names one. Called by commands, never by the library:
an application that embeds a worker decides about its tracer provider itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from opentelemetry import trace

from glassq.errors import ConfigurationError, MissingExtra
from glassq.observe.spans import FLUSH_SECONDS
from glassq.shielding import Log

log = Log("glassq.exporting")

DEFAULT_SERVICE = "glassq-worker"


def export_traces_from_environment(
    dropped: Callable[[str, int], None] | None = None,
) -> Callable[[], None] | None:
    """Send spans to the endpoint of the standard `OTEL_*` variables, over HTTP. `dropped` is told of those
    that cannot be: why, and how many.

    Returns what flushes and shuts the exporter down, or None when no endpoint is named, tracing is switched
    off, or a tracer provider is already installed. Raises `MissingExtra` without the `otel` extra, and
    `ConfigurationError` when the variables ask for gRPC.
    """
    if not _wanted() or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        from glassq.observe.spanqueue import DEFAULT_WAITING, SpanQueue
    except ImportError:
        raise MissingExtra("exporting traces", "otel") from None
    resource = Resource.create()
    if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": DEFAULT_SERVICE}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    given = _variable("OTEL_BSP_MAX_QUEUE_SIZE")
    most = int(given) if given.isdecimal() and int(given) else DEFAULT_WAITING
    provider.add_span_processor(SpanQueue(OTLPSpanExporter(), dropped or _nobody_counts, most))
    trace.set_tracer_provider(provider)

    def finish() -> None:
        # On a thread, because the exporter waits for its own, longer timeouts; shutting down flushes first.
        ending = threading.Thread(target=provider.shutdown, name="glassq-traces", daemon=True)
        ending.start()
        ending.join(FLUSH_SECONDS)
        if ending.is_alive():
            log.warning("the trace collector does not answer: the last spans are lost")

    return finish


def _nobody_counts(reason: str, count: int) -> None:
    """A program without metrics: the SDK's own log lines have to do."""


def _wanted() -> bool:
    """Whether the standard variables ask for spans over OTLP."""
    if _variable("OTEL_SDK_DISABLED").lower() == "true":
        return False
    if not _variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") and not _variable("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return False
    exporters = _variable("OTEL_TRACES_EXPORTER") or "otlp"
    if "otlp" not in [name.strip() for name in exporters.split(",")]:
        return False
    protocol = _variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or _variable("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in ("", "http/protobuf"):
        raise ConfigurationError(
            f"glassq exports traces over http/protobuf, the environment asks for {protocol!r}; unset "
            "OTEL_EXPORTER_OTLP_PROTOCOL and name the collector's HTTP port (4318 as a rule), or set "
            "OTEL_TRACES_EXPORTER=none"
        )
    return True


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()
