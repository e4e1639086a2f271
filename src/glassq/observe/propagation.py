"""W3C trace context in a job's headers, through whichever propagator the application chose."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping, Sequence
from functools import lru_cache
from typing import Literal

from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import DEFAULT_TRACE_STATE, Span, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from glassq.observe.spancontexts import of_parts

MAX_TRACESTATE = 512
"""What every tracing system must accept at least; a longer one is dropped whole, as the standard says."""

MAX_BAGGAGE = 1024
"""Characters. A longer one is dropped whole: it would be stored with every job."""

_BAGGAGE = W3CBaggagePropagator()
_W3C = (TraceContextTextMapPropagator, W3CBaggagePropagator)

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_TRACEPARENT_LENGTH = 55
"""Of one that has nothing behind or around it, as nearly all have not."""
_FLAGS = {f"{bits:02x}": TraceFlags(bits) for bits in range(256)}

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
    text = headers.get("traceparent", "")
    # What the library's own propagators read of a job that has one `traceparent` and nothing else of the
    # kind, as nearly all have, is read here in a third of the time.
    if (
        len(text) == _TRACEPARENT_LENGTH
        and "tracestate" not in headers
        and _is_w3c(propagate.get_global_textmap())
        and (found := read_traceparent(text)) is not None
    ):
        return found, "ok"
    if not headers:
        return None, "missing"
    context = propagate.extract(headers, context=Context())
    found = trace.get_current_span(context).get_span_context()
    if found.is_valid:
        return found, "ok"
    fields = propagate.get_global_textmap().fields
    return None, "invalid" if any(name in headers for name in fields) else "missing"


def read_traceparent(text: str) -> SpanContext | None:
    """The context that begins a text in W3C's form, whatever version it is of; None when there is none."""
    match = _TRACEPARENT.match(text)
    if match is None:
        return None
    trace_id, span_id, flags = match.groups()
    return of_parts((int(trace_id, 16), int(span_id, 16), True, _FLAGS[flags], DEFAULT_TRACE_STATE, True))


@lru_cache(maxsize=4)  # one, unless somebody keeps changing it
def _is_w3c(propagator: TextMapPropagator) -> bool:
    """Whether it finds W3C's trace context in headers, and no other: of any that is not the library's own
    nothing is known."""
    parts: Sequence[object] = (propagator,)
    if type(propagator) is CompositePropagator:
        parts = getattr(propagator, "_propagators", ())
    return any(type(part) is _W3C[0] for part in parts) and all(type(part) in _W3C for part in parts)
