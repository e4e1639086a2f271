"""Spans of one provider, and the tracing under test, for the tests of both."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, format_span_id

from glassq.context import JobContext
from glassq.model.events import TraceContextRead
from glassq.observe.traceoptions import TraceOptions
from glassq.observe.tracing import Tracing
from glassq.telemetry import Attempting, Bus, Outgoing, Sending


class Desk:
    """Spans of one provider, and the tracing under test."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self.exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.counted: list[tuple[str, str]] = []
        self.bus = Bus()
        self.bus.subscribe(lambda event: self.counted.append((event.queue, event.result)), TraceContextRead)
        self.trace()

    def trace(self, **options: Any) -> None:
        """Trace with these options from now on."""
        self.tracing = Tracing(
            self.bus,
            address="redis://user:secret@db.example:6380/0",
            client_id=lambda: "host-42",
            options=TraceOptions(**options),
        )

    def spans(self) -> list[ReadableSpan]:
        """What has ended so far."""
        return list(self.exporter.get_finished_spans())

    def enqueue(self, *jobs: Outgoing) -> None:
        """Append jobs, as the producer does."""
        with self.tracing(Sending("orders", jobs)):
            for number, job in enumerate(jobs, 1):
                job.job_id, job.seq = f"orders/p:{number}", number

    def process(self, subject: Attempting) -> ReadableSpan:
        """Run one attempt; its span."""
        with self.tracing(subject):
            pass
        return self.spans()[-1]


def outgoing(key: str | None = "c-7") -> Outgoing:
    """A call on its way into the store."""
    return Outgoing(task="charge", key=key, headers={}, payload_bytes=20)


def attempting(
    headers: dict[str, str],
    *,
    number: int = 1,
    attempt: int = 1,
    token: int = 41,
    waited: float | None = 0.5,
    key: str = "c-7",
) -> Attempting:
    """An attempt of it."""
    job = JobContext(
        id=f"orders/p:{number}",
        queue="orders",
        task="charge",
        key=key,
        seq=number,
        attempt=attempt,
        token=token,
        enqueued_at=0.0,
        _check=lambda _: None,
    )
    return Attempting(job, "charge", headers, waited)


def links(span: ReadableSpan) -> dict[Any, str]:
    """Span ids by what the link is."""
    return {
        (link.attributes or {}).get("glassq.link"): format_span_id(link.context.span_id)
        for link in span.links
    }


def context_of(span: ReadableSpan) -> SpanContext:
    """The span's own context."""
    found = span.get_span_context()
    assert found is not None
    return found


def span_id(span: ReadableSpan) -> str:
    """As it is shown."""
    return format_span_id(context_of(span).span_id)
