"""The SDK's spans in less time: what nobody asks of a span is not made. Needs the OpenTelemetry SDK.

A span of ours has attributes that need no cleaning, seldom an event, and links that stay what they are. For
each of them the SDK makes mappings and lists with locks of their own, as somebody might write to them: here
they are made when somebody does. All else is as ever, and at its time: the provider's sampler is asked, its
ids are taken, its limits hold, and its processors are told when a span starts and when it ends.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from threading import Lock
from time import time_ns
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, Tracer
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision
from opentelemetry.trace import INVALID_SPAN_CONTEXT, Link, SpanContext, SpanKind, Status, TraceFlags
from opentelemetry.util.types import Attributes as AnyAttributes

from glassq.observe.spancontexts import IS_PARTS, MAX_SPAN_ID, below, of_parts
from glassq.observe.spanwatchers import SpanWatchers
from glassq.observe.starting import Attributes, Describable, OwnWay, Starter
from glassq.shielding import Log

log = Log("glassq.tracing")

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
_READABLE_HAS: Final = {
    *("_name", "_context", "_kind", "_parent", "_start_time", "_end_time", "_status", "_resource"),
    *("_attributes", "_events", "_links", "_instrumentation_info", "_instrumentation_scope"),
}
_MADE: Final = {"_attributes", "_events", "_links"}
_FIELDS: Final = len(_READABLE_HAS - _MADE)
_OF_TRACERS: Final = {
    "_limits": "_span_limits",
    "_sampler": "sampler",
    "_span_processor": "span_processor",
}
"""What a span has from its tracer, and its name there."""
_COUNTS_NOTHING: Final = "NoOpTracerMetrics"
_UNSET: Final = Status()
_SAMPLED, _RANDOM, _KEPT = 1, 2, 3
"""Bits of trace flags, as W3C has them, and those that spans below have, too."""
_FLAGS_AT: Final = 3
"""Where they are in a context of a span."""
_FLAGS: Final = tuple(TraceFlags(bits) for bits in range(4))
_DROP, _SAMPLE = Decision.DROP, Decision.RECORD_AND_SAMPLE
_new = object.__new__


class QuickSpan(Span, Describable):
    """A span of the SDK whose attributes, events and links are made for whoever asks for them.

    Any thread may ask at any time: what is made first stays, and it is noted before that anybody asked. In
    its `__dict__` is what the SDK's span for exporters has, by the same names, and what was made.
    """

    __slots__ = ("_by", "_is_asked", "_linked", "_lock", "_record_end_metrics", "_said")

    _trace_config = None
    _record_exception = True
    _set_status_on_exception = True
    _context: SpanContext
    _lock: Lock
    _linked: Sequence[Link]
    _said: Attributes | None
    _is_asked: bool
    _by: QuickTracer

    def begin(
        self,
        by: QuickTracer,
        about: tuple[str, SpanContext, SpanContext | None, SpanKind],
        linked: Sequence[Link],
        at: int | None = None,
        count_end: Callable[[], None] | None = None,
    ) -> None:
        """Begin; in the place of `__init__`, which makes what is left out here."""
        name, own, parent, kind = about
        self.__dict__ = {
            **by.fields,
            "_name": name,
            "_context": own,
            "_kind": kind,
            "_parent": parent,
            "_start_time": time_ns() if at is None else at,
        }
        self._by, self._linked, self._record_end_metrics = by, linked, count_end
        self._lock, self._is_asked, self._said = Lock(), False, None

    def get_span_context(self) -> SpanContext:
        """Which span it is."""
        return self._context

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
        watchers = self._by.watchers
        if watchers.processors() is not watchers.known:
            watchers.look()
        for tell in watchers.endings:
            tell(self)
        span = self._readable_span()
        for tell in watchers.sampled_ends if self._context[_FLAGS_AT] & _SAMPLED else watchers.ends:
            tell(span)

    def _readable_span(self) -> ReadableSpan:
        fields = self.__dict__
        # With more in it, something was made, or somebody keeps something of their own there.
        if len(fields) != _FIELDS:
            return super()._readable_span()
        span = _new(ReadableSpan)
        span.__dict__ = {**fields, "_attributes": self._said, "_links": self._linked, "_events": ()}
        return span

    def __getattr__(self, name: str) -> Any:
        # Of what is not there yet: the SDK's own methods ask for it, on behalf of whoever called them.
        if name in _OF_TRACERS:
            return getattr(self._by.sdk, _OF_TRACERS[name])
        if name not in _MADE:
            raise AttributeError(f"a span has no {name!r}")
        self._is_asked = True
        return vars(self).setdefault(name, self._made(name))

    def _made(self, name: str) -> Any:
        if name == "_events":
            return self._new_events()  # type: ignore[no-untyped-call]
        if name == "_links":
            return self._new_links(self._linked)
        limits, is_over = self._by.limits, self._end_time is not None
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
        self.watchers = SpanWatchers(sdk.span_processor)
        """Who hears of its spans."""
        self.fields = {
            "_resource": sdk.resource,
            "_instrumentation_info": sdk.instrumentation_info,
            "_instrumentation_scope": sdk._instrumentation_scope,  # noqa: SLF001
            "_status": _UNSET,
            "_end_time": None,
        }
        """What is the same in all of them."""
        self._metrics = sdk._tracer_metrics  # noqa: SLF001
        self._is_counted = type(self._metrics).__name__ != _COUNTS_NOTHING
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
        span = _new(QuickSpan)
        span.begin(self, (name, own, parent, kind), links, start_time, count_end)
        if added:
            span.set_attributes(added)
        sdk.span_processor.on_start(span, parent_context=context)
        return span

    def start_below(
        self,
        parent: SpanContext | None,
        name: str,
        kind: SpanKind,
        links: Sequence[Link] = (),
        start_time: int | None = None,
    ) -> trace.Span:
        """See `Starter.start_below`. In fewer steps where nobody else has a say: below a span that is
        sampled, with the sampler that follows it, while nobody watches starts."""
        sdk, watchers = self.sdk, self.watchers
        if watchers.processors() is not watchers.known:
            watchers.look()
        is_usual = (
            sdk.sampler is DEFAULT_ON
            and not watchers.starts
            and len(links) <= self._most_links
            and not self._is_counted
            and sdk._tracer_config.is_enabled  # noqa: SLF001
        )
        trace_id, _, _, flags, state, is_valid = (is_usual and parent) or INVALID_SPAN_CONTEXT
        span_id = sdk.id_generator.generate_span_id() if is_valid and flags & _SAMPLED else 0
        if not 0 < span_id <= MAX_SPAN_ID:
            context = below(parent)
            return self.start_span(name, context=context, kind=kind, links=links, start_time=start_time)
        own = of_parts((trace_id, span_id, False, _FLAGS[flags & _KEPT], state, True))
        span = _new(QuickSpan)
        span.begin(self, (name, own, parent, kind), links, start_time)
        return span


def quick(tracer: trace.Tracer) -> Starter:
    """Who starts the spans of this tracer: itself, unless it is the SDK's own and made of what it is known to
    be made of, with limits that no span of ours could meet."""
    if type(tracer) is not Tracer:
        return OwnWay(tracer)
    if not IS_PARTS or vars(tracer).keys() != _TRACER_HAS or not _are_known(tracer.resource):
        _say_once("this version of the OpenTelemetry SDK is not known")
    elif not _is_wide(tracer._span_limits):  # noqa: SLF001
        _say_once("the tracer provider limits attributes that spans may have")
    else:
        return QuickTracer(tracer)
    return OwnWay(tracer)


@cache
def _say_once(why: str) -> None:
    log.info("%s: it makes every span in its own way, which costs more of a worker's time", why)


def _are_known(resource: Resource) -> bool:
    """Whether spans have what is known."""
    probes = _Probe("probe", INVALID_SPAN_CONTEXT), ReadableSpan("probe", resource=resource)
    return [vars(probe).keys() for probe in probes] == [_SPAN_HAS, _READABLE_HAS]


class _Probe(Span):
    """A span of the SDK that no tracer started, to see what one has."""


def _is_wide(limits: SpanLimits) -> bool:
    counts = ((limits.max_span_attributes, MOST_ATTRIBUTES), (limits.max_link_attributes, 1))
    lengths = limits.max_span_attribute_length, limits.max_attribute_length
    return all(most is None or most >= ours for most, ours in counts) and lengths == (None, None)
