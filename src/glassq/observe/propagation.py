"""W3C trace context in a job's headers, through whichever propagator the application chose."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Literal

from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext

MAX_TRACESTATE = 512
"""What every tracing system must accept at least; a longer one is dropped whole, as the standard says."""

MAX_BAGGAGE = 1024
"""Characters. A longer one is dropped whole: it would be stored with every job."""

_BAGGAGE = W3CBaggagePropagator()

ContextResult = Literal["ok", "missing", "invalid"]


def inject(span: Span, headers: MutableMapping[str, str], allowed: Sequence[str] = ()) -> None:
    """Write the span's context into the headers, sampled or not; nothing when there is no trace.

    Of the current baggage only what is allowed travels: the rest would put whatever the caller's caller
    added to it into the store.
    """
    propagate.inject(headers, context=trace.set_span_in_context(span, Context()))
    if len(headers.get("tracestate", "")) > MAX_TRACESTATE:
        del headers["tracestate"]
    if allowed:
        _BAGGAGE.inject(headers, context=_allowed_of(baggage.get_all(), allowed, Context()))
        if len(headers.get("baggage", "")) > MAX_BAGGAGE:
            del headers["baggage"]


def with_baggage(context: Context, headers: Mapping[str, str], allowed: Sequence[str]) -> Context:
    """The context with what of the baggage in the headers is allowed here, whatever others let in."""
    return _allowed_of(baggage.get_all(_BAGGAGE.extract(headers, Context())), allowed, context)


def _allowed_of(entries: Mapping[str, object], allowed: Sequence[str], context: Context) -> Context:
    for key in allowed:
        if key in entries:
            context = baggage.set_baggage(key, entries[key], context)
    return context


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
