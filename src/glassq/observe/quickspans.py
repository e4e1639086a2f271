"""The SDK's spans in less time: what nobody asks of a span is not made. Needs the OpenTelemetry SDK.

A span of ours has attributes that need no cleaning, seldom an event, and links that stay what they are. For
each of them the SDK makes mappings and lists with locks of their own, as somebody might write to them: here
they are made when somebody does. All else is as ever, and at its time: the provider's sampler is asked, its
ids are taken, its limits hold, and its processors are told when a span starts and when it ends.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from threading import Lock
from time import time_ns
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, Tracer
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, SpanContext, SpanKind, Status, TraceFlags
from opentelemetry.util.types import Attributes as AnyAttributes

from glassq.observe.starting import Attributes, Describable, Starter

MOST_ATTRIBUTES: Final = 32
"""No span of ours has more."""

_TRACER_HAS: Final = {
    *("sampler", "resource", "span_processor", "id_generator", "instrumentation_info", "_span_limits"),
    *("_instrumentation_scope", "_tracer_config", "_tracer_metrics"),
}
_SPAN_HAS: Final = {
    *("_name", "_context", "_kind", "_parent", "_start_time", "_end_time", "_status", "_lock", "_resource"),
    *("_attributes", "_events", "_links", "_limits", "_sampler", "_trace_config", "_span_processor"),
    *("_instrumentation_info", "_instrumentation_scope", "_record_end_metrics", "_record_exception"),
    "_set_status_on_exception",
}
_UNSET: Final = Status()
_SAMPLED, _RANDOM = 1, 2
"""Bits of trace flags, as W3C has them."""
_FLAGS: Final = tuple(TraceFlags(bits) for bits in range(4))
_DROP, _SAMPLE = Decision.DROP, Decision.RECORD_AND_SAMPLE


class QuickSpan(Span, Describable):
    """A span of the SDK whose attributes, events and links are made for whoever asks for them.

    Any thread may ask at any time: what is made first stays, and it is noted before that anybody asked.
    """

    _end_time: int | None = None
    _status = _UNSET
    _trace_config = None
    _record_exception = True
    _set_status_on_exception = True
    _said: Attributes | None = None
    _is_asked = False

    # Not the SDK's own, which makes what is left out here.
    def __init__(
        self,
        by: QuickTracer,
        name: str,
        about: tuple[SpanContext, SpanContext | None, SpanKind, Sequence[Link]],
        start_time: int | None,
        count_end: Callable[[], None] | None,
    ) -> None:
        self._name = name
        self._context, self._parent, self._kind, self._linked = about
        self._start_time = time_ns() if start_time is None else start_time
        self._lock = Lock()
        self._record_end_metrics = count_end
        self._limits = by.limits
        self._instrumentation_scope = by.scope
        sdk = by.sdk
        self._resource = sdk.resource
        self._sampler = sdk.sampler
        self._span_processor = sdk.span_processor
        self._instrumentation_info = sdk.instrumentation_info

    def describe(self, attributes: Attributes) -> None:
        """Say all that we have to say of it: at most `MOST_ATTRIBUTES`."""
        self._said = attributes
        if self._is_asked:
            self.set_attributes(attributes)

    def end(self, end_time: int | None = None) -> None:
        """End it; its processors are told."""
        with self._lock:
            is_quick = not self._is_asked and self._end_time is None
            if is_quick:
                self._end_time = time_ns() if end_time is None else end_time
        if not is_quick:
            super().end(end_time)
            return
        if self._record_end_metrics is not None:
            self._record_end_metrics()
        processor = self._span_processor
        processor._on_ending(self)  # noqa: SLF001 - as the SDK does
        processor.on_end(self._readable_span())

    def _readable_span(self) -> ReadableSpan:
        if self._is_asked:
            return super()._readable_span()
        return ReadableSpan(
            name=self._name,
            context=self._context,
            parent=self._parent,
            resource=self._resource,
            attributes=self._said,
            links=self._linked,
            kind=self._kind,
            status=self._status,
            start_time=self._start_time,
            end_time=self._end_time,
            instrumentation_info=self._instrumentation_info,
            instrumentation_scope=self._instrumentation_scope,
        )

    def __getattr__(self, name: str) -> Any:
        # Of what is not there yet: the SDK's own methods ask for it, on behalf of whoever called them.
        if name not in {"_attributes", "_events", "_links"}:
            raise AttributeError(f"a span has no {name!r}")
        self._is_asked = True
        return vars(self).setdefault(name, self._made(name))

    def _made(self, name: str) -> Any:
        if name == "_events":
            return self._new_events()  # type: ignore[no-untyped-call]
        if name == "_links":
            return self._new_links(self._linked)
        limits, is_over = self._limits, self._end_time is not None
        return BoundedAttributes(
            limits.max_span_attributes, self._said, is_over, limits.max_span_attribute_length
        )


class QuickTracer:
    """Starts spans for a tracer of the SDK, as that one would."""

    def __init__(self, sdk: Tracer) -> None:
        self.sdk = sdk
        """The tracer itself."""
        # Of what is private, `quick` looks whether it is what is known.
        self.limits = sdk._span_limits  # noqa: SLF001
        """What its provider keeps of a span."""
        self.scope = sdk._instrumentation_scope  # noqa: SLF001
        """What its spans say of who made them."""
        self._metrics = sdk._tracer_metrics  # noqa: SLF001
        self._most_links = sys.maxsize if self.limits.max_links is None else self.limits.max_links

    def start_span(
        self,
        name: str,
        *,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        start_time: int | None = None,
    ) -> trace.Span:
        """See `Starter.start_span`."""
        sdk = self.sdk
        if len(links) > self._most_links or not sdk._tracer_config.is_enabled:  # noqa: SLF001
            return sdk.start_span(name, context, kind, links=links, start_time=start_time)
        ids = sdk.id_generator
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is not None and parent.is_valid:
            trace_id, bits = parent.trace_id, parent.trace_flags & _RANDOM
        else:
            parent, trace_id, bits = None, ids.generate_trace_id(), 0
            if ids.is_trace_id_random():
                bits = _RANDOM
        added: AnyAttributes = None
        if sdk.sampler is DEFAULT_ON:  # what it answers is known
            decision = _SAMPLE if parent is None or parent.trace_flags & _SAMPLED else _DROP
            state = None if parent is None else parent.trace_state
        else:
            sampled = sdk.sampler.should_sample(context, trace_id, name, kind, None, links)
            decision, state, added = sampled.decision, sampled.trace_state, sampled.attributes
        flags = _FLAGS[bits | _SAMPLED if decision is _SAMPLE else bits]
        own = SpanContext(
            trace_id, ids.generate_span_id(), is_remote=False, trace_flags=flags, trace_state=state
        )
        count_end = self._metrics.start_span(parent, decision)
        if decision is _DROP:
            return trace.NonRecordingSpan(own)
        span = QuickSpan(self, name, (own, parent, kind, links), start_time, count_end)
        if added:
            span.set_attributes(added)
        sdk.span_processor.on_start(span, parent_context=context)
        return span


def quick(tracer: trace.Tracer) -> Starter:
    """Who starts the spans of this tracer: itself, unless it is the SDK's own and made of what it is known to
    be made of, with limits that no span of ours could meet."""
    if type(tracer) is not Tracer or vars(tracer).keys() != _TRACER_HAS:
        return tracer
    if vars(_Probe("probe", INVALID_SPAN_CONTEXT)).keys() != _SPAN_HAS:
        return tracer
    found = QuickTracer(tracer)
    return found if _is_wide(found.limits) else tracer


class _Probe(Span):
    """A span of the SDK that no tracer started, to see what one has."""


def _is_wide(limits: SpanLimits) -> bool:
    counts = ((limits.max_span_attributes, MOST_ATTRIBUTES), (limits.max_link_attributes, 1))
    lengths = limits.max_span_attribute_length, limits.max_attribute_length
    return all(most is None or most >= ours for most, ours in counts) and lengths == (None, None)
