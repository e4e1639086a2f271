"""Contexts of spans in fewer steps, where their parts are known to be right."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import DEFAULT_TRACE_STATE, NonRecordingSpan, Span, SpanContext, TraceFlags
from opentelemetry.trace.propagation import _SPAN_KEY
from opentelemetry.trace.span import TraceState

Parts = tuple[int, int, bool, TraceFlags, TraceState, bool]
"""Of a span's context: its trace, itself, whether it is remote, flags, state, and whether it is valid."""

MAX_SPAN_ID: Final = 2**64 - 1
NOWHERE: Final = Context()
"""A context with nothing in it."""


def _are_its_parts() -> bool:
    """Whether a context of this library is the tuple of its parts."""
    parts: Parts = (1, 2, True, TraceFlags(3), DEFAULT_TRACE_STATE, True)
    return tuple(SpanContext(1, 2, is_remote=True, trace_flags=parts[3])) == parts


def _looked_at(parts: Parts) -> SpanContext:
    trace_id, span_id, is_remote, flags, state, _ = parts
    return SpanContext(trace_id, span_id, is_remote, flags, state)


IS_PARTS: Final = _are_its_parts()
"""Whether a context may be taken apart as a tuple."""

of_parts: Callable[[Parts], SpanContext] = partial(tuple.__new__, SpanContext) if IS_PARTS else _looked_at
"""The context of these parts. Nothing is looked at: whoever has them knows that they are right."""


def with_span(span: Span, context: Context) -> Context:
    """The context with the span in it."""
    return Context({**context, _SPAN_KEY: span})


def below(parent: SpanContext | None) -> Context:
    """A context for spans below this one, or below none, in which nothing else is."""
    return NOWHERE if parent is None else with_span(NonRecordingSpan(parent), NOWHERE)
