"""Which trace a measurement points to: sampled contexts only, and not more often than a scrape can use."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from opentelemetry.trace import SpanContext, TraceFlags, format_span_id, format_trace_id

from glassq.model.clock import Clock
from glassq.model.runs import Run

SECONDS_BETWEEN = 1.0
"""A child keeps only its latest exemplar, so more than one per second is work for nobody."""

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
)


class _Remembered(threading.local):
    """The process span that ran last in this thread, with the attempt it belonged to."""

    attempt: tuple[str, int] | None = None
    context: SpanContext | None = None


_last = _Remembered()


def remember(job_id: str, attempt: int, context: SpanContext) -> None:
    """Keep an attempt's span for the measurements that are made after it has ended."""
    _last.attempt = (job_id, attempt)
    _last.context = context


def may_be_traced(headers: Mapping[str, str]) -> bool:
    """Whether an attempt with these headers, which began or ended in this thread, can have an exemplar."""
    return bool(headers) or _last.attempt is not None


def any_may_be_traced(attempts: Run[Any]) -> bool:
    """The same of several, which began or ended in this thread."""
    return _last.attempt is not None or any(attempts.column("headers"))


def span_of(job_id: str, attempt: int, headers: Mapping[str, str]) -> SpanContext | None:
    """The span of this attempt, sampled or not.

    Its own process span when it ran in this thread, else the span that enqueued it: the same trace.
    """
    if _last.attempt == (job_id, attempt) and _last.context is not None:
        return _last.context if _last.context.is_valid else None
    traceparent = headers.get("traceparent")
    match = _TRACEPARENT.match(traceparent) if traceparent else None
    if match is None:
        return None
    trace, span, flags = (int(match[name], 16) for name in ("trace", "span", "flags"))
    return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags))


def exemplar_of(job_id: str, attempt: int, headers: Mapping[str, str]) -> dict[str, str] | None:
    """Trace and span of this attempt when it is sampled."""
    span = span_of(job_id, attempt, headers)
    if span is None or not span.trace_flags.sampled:
        return None
    return {"trace_id": format_trace_id(span.trace_id), "span_id": format_span_id(span.span_id)}


class AttemptRef(Protocol):
    """What identifies an attempt: both attempt events have it."""

    @property
    def job_id(self) -> str:
        """The job."""
        ...

    @property
    def attempt(self) -> int:
        """Which attempt of it, from 1."""
        ...


class Ration:
    """Hands out an exemplar at most once per second; one ration per child."""

    __slots__ = ("_clock", "_next")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = float("-inf")

    def take(self, of: AttemptRef, headers: Mapping[str, str]) -> dict[str, str] | None:
        """The attempt's exemplar, or None when it has none or the last one is too fresh. Not worth a call
        unless it `may_be_traced`."""
        now = self._clock.monotonic()
        if now < self._next:
            return None
        exemplar = exemplar_of(of.job_id, of.attempt, headers)
        if exemplar is not None:
            self._next = now + SECONDS_BETWEEN
        return exemplar
