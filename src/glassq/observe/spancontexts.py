"""Contexts of spans, and links to them, in fewer steps, where their parts are known to be right."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    propagation,
)
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


class _PlainLink(Link):
    """A link that is made in one call instead of three."""

    def __init__(self, context: SpanContext, attributes: BoundedAttributes) -> None:
        # Not the library's own: these two are all that it sets, as is looked at below.
        self._context, self._attributes = context, attributes


def _is_plain() -> bool:
    """Whether a link of this library is its context and its attributes."""
    return vars(Link(INVALID_SPAN_CONTEXT)) == {"_context": INVALID_SPAN_CONTEXT, "_attributes": None}


link_to: Callable[[SpanContext, BoundedAttributes], Link] = _PlainLink if _is_plain() else Link
"""A link to a span that says this."""


_KEY: Final[str | None] = getattr(propagation, "_SPAN_KEY", None)
"""Under which a context has its span, if this library says so."""


def with_span(span: Span, context: Context) -> Context:
    """The context with the span in it."""
    if _KEY is None:
        return propagation.set_span_in_context(span, context)
    return Context({**context, _KEY: span})


def below(parent: SpanContext | None) -> Context:
    """A context for spans below this one, or below none, in which nothing else is."""
    return NOWHERE if parent is None else with_span(NonRecordingSpan(parent), NOWHERE)
