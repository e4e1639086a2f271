"""Which trace a measurement points to: sampled contexts only, and not more often than a scrape can use."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Protocol

from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from glassq.model.clock import Clock
from glassq.model.runs import Run
from glassq.observe.propagation import read_traceparent

SECONDS_BETWEEN = 1.0
"""A child keeps only its latest exemplar, so more than one per second is work for nobody."""

MOST_REMEMBERED: Final = 128
"""Attempts of a thread: more than are told of together, as settlements that are on their way."""


class _Remembered(threading.local):
    """The process spans that ran last in this thread, the latest last, with the attempts they belonged to."""

    def __init__(self) -> None:
        self.latest: deque[tuple[str, int, SpanContext]] = deque(maxlen=MOST_REMEMBERED)


_here = _Remembered()


def remember(job_id: str, attempt: int, context: SpanContext) -> None:
    """Keep an attempt's span for the measurements that are made after it has ended."""
    _here.latest.append((job_id, attempt, context))


def may_be_traced(headers: Mapping[str, str]) -> bool:
    """Whether an attempt with these headers, which began or ended in this thread, can have an exemplar."""
    return bool(headers) or bool(_here.latest)


def any_may_be_traced(attempts: Run[Any]) -> bool:
    """The same of several, which began or ended in this thread."""
    return bool(_here.latest) or attempts.any("headers")


def span_of(job_id: str, attempt: int, headers: Mapping[str, str]) -> SpanContext | None:
    """The span of this attempt, sampled or not.

    Its own process span when it ran in this thread, else the span that enqueued it: the same trace.
    """
    for its_job, its_attempt, context in reversed(_here.latest):
        if its_job == job_id and its_attempt == attempt:
            return context if context.is_valid else None
    traceparent = headers.get("traceparent")
    return read_traceparent(traceparent) if traceparent else None


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

    def is_due(self) -> bool:
        """Whether the last one is old enough."""
        return self._clock.monotonic() >= self._next

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
