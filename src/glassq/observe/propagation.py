"""W3C trace context in a job's headers, through whichever propagator the application chose."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Literal

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext

MAX_TRACESTATE = 512
"""What every tracing system must accept at least; a longer one is dropped whole, as the standard says."""

ContextResult = Literal["ok", "missing", "invalid"]


def inject(span: Span, headers: MutableMapping[str, str]) -> None:
    """Write the span's context into the headers, sampled or not; nothing when there is no trace.

    Only the span travels: baggage would put whatever the caller's caller added to it into the store.
    """
    propagate.inject(headers, context=trace.set_span_in_context(span, Context()))
    if len(headers.get("tracestate", "")) > MAX_TRACESTATE:
        del headers["tracestate"]


def extract(headers: Mapping[str, str]) -> tuple[SpanContext | None, ContextResult]:
    """The context a job was created in, and whether its headers were usable. Never raises for bad headers."""
    if not headers:
        return None, "missing"
    context = propagate.extract(headers, context=Context())
    found = trace.get_current_span(context).get_span_context()
    if found.is_valid:
        return found, "ok"
    fields = propagate.get_global_textmap().fields
    return None, "invalid" if any(name in headers for name in fields) else "missing"
