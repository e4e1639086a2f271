"""Spans around enqueuing and executing. Needs the OpenTelemetry API alone; without an SDK it records nothing.

Spans are started and attached by hand: the library's own context manager costs several microseconds more.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import msgspec
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, Context
from opentelemetry.environment_variables import OTEL_PYTHON_TRACER_PROVIDER
from opentelemetry.trace import (
    Link,
    NoOpTracer,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
)

from glassq.observe.exemplars import remember
from glassq.observe.propagation import extract, inject
from glassq.telemetry import NOTHING_AROUND, Attempting, Outgoing, Sending
from glassq.version import __version__

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
MAX_LANES_REMEMBERED = 1024

_NO_PROVIDERS = (ProxyTracerProvider, NoOpTracerProvider)

CountContext = Callable[[str, str], None]
Attributes = dict[str, str | int | float]


class Tracing:
    """An Around that makes spans. `address` and `client_id` become attributes; `count_context` is told,
    per attempt, the queue and whether its trace context was ok, missing or invalid; a job older than
    `max_parent_age` seconds starts a new trace that links to the one it was enqueued in."""

    def __init__(
        self,
        *,
        address: str,
        client_id: str,
        count_context: CountContext | None = None,
        max_parent_age: float = 3600.0,
    ) -> None:
        self._constant = {"messaging.system": "glassq", "messaging.client.id": client_id, **_server(address)}
        self._count_context = count_context
        self._max_parent_age = max_parent_age
        self._lanes = _LaneMemory()
        self._tracer: tuple[TracerProvider | None, Tracer] = (None, NoOpTracer())

    def __call__(self, subject: Sending | Attempting) -> AbstractContextManager[None]:
        """The span, or spans, of one append or one attempt."""
        if isinstance(subject, Attempting):
            return _Process(self, subject) if subject.headers or _is_provided() else self._unseen(subject)
        if _nobody_traces():
            return NOTHING_AROUND
        if len(subject.jobs) == 1:
            return _Enqueue(self, subject)
        return _EnqueueBatch(self, subject)

    def _unseen(self, subject: Attempting) -> AbstractContextManager[None]:
        """An attempt without a trace to go on with, in a process that records none."""
        if self._count_context is not None:
            self._count_context(subject.job.queue, "missing")
        return NOTHING_AROUND

    def tracer(self) -> Tracer:
        """The tracer of the provider of this moment: one may be installed after the application was made.
        Kept per provider, because making a tracer costs more than making a span."""
        provider = trace.get_tracer_provider()
        known, tracer = self._tracer
        if known is not provider:
            tracer = provider.get_tracer("glassq", __version__, schema_url=SCHEMA_URL)
            self._tracer = (provider, tracer)
        return tracer

    def read_context(self, queue: str, headers: dict[str, str]) -> SpanContext | None:
        """The context a job was created in; counted."""
        found, result = extract(headers)
        if self._count_context is not None:
            self._count_context(queue, result)
        return found

    def may_be_parent(self, subject: Attempting) -> bool:
        """Whether the job is young enough to continue the trace it was enqueued in."""
        age = subject.time_in_queue
        if age is None:  # not its first attempt; a skew between the clocks is nothing against an hour
            age = time.time() - subject.job.enqueued_at
        return age <= self._max_parent_age

    def attributes(self, operation: str, kind: str, queue: str, extra: Attributes) -> Attributes:
        """What all spans have in common, with what this one adds."""
        return {
            **self._constant,
            "messaging.operation.name": operation,
            "messaging.operation.type": kind,
            "messaging.destination.name": queue,
            **extra,
        }

    @property
    def lanes(self) -> _LaneMemory:
        """What ran last in each lane, in this process."""
        return self._lanes


class _Enqueue(AbstractContextManager[None]):
    """`enqueue {queue}`: one job. Its context goes into the job's headers."""

    def __init__(self, tracing: Tracing, sending: Sending) -> None:
        self._tracing = tracing
        self._queue = sending.queue
        self._job = sending.jobs[0]

    def __enter__(self) -> None:
        self._span = self._tracing.tracer().start_span(f"enqueue {self._queue}", kind=SpanKind.PRODUCER)
        inject(self._span, self._job.headers)
        self._token = _attach_quietly(self._span)

    def __exit__(self, *failure: Any) -> None:
        otel_context.detach(self._token)
        try:
            if self._span.is_recording():
                extra = _job_attributes(self._job)
                self._span.set_attributes(self._tracing.attributes("enqueue", "send", self._queue, extra))
                _record_failure(self._span, failure[1])
        finally:
            self._span.end()


class _EnqueueBatch(AbstractContextManager[None]):
    """`create {queue}` for each job, whose context it carries, and one `enqueue {queue}` that links them."""

    def __init__(self, tracing: Tracing, sending: Sending) -> None:
        self._tracing = tracing
        self._queue = sending.queue
        self._jobs = sending.jobs

    def __enter__(self) -> None:
        tracer = self._tracing.tracer()
        self._creates: list[tuple[Span, int]] = []
        for job in self._jobs:
            span = tracer.start_span(f"create {self._queue}", kind=SpanKind.PRODUCER)
            inject(span, job.headers)
            self._creates.append((span, time.time_ns()))
        links = [Link(span.get_span_context()) for span, _ in self._creates if span.is_recording()]
        self._send = tracer.start_span(f"enqueue {self._queue}", kind=SpanKind.CLIENT, links=links)
        self._token = _attach_quietly(self._send)

    def __exit__(self, *failure: Any) -> None:
        otel_context.detach(self._token)
        try:
            for job, (span, ended) in zip(self._jobs, self._creates, strict=True):
                if span.is_recording():
                    extra = _job_attributes(job)
                    span.set_attributes(self._tracing.attributes("create", "create", self._queue, extra))
                # Kept open for the id that only the store knows; it ended when the job was made.
                span.end(end_time=ended)
            if self._send.is_recording():
                count: Attributes = {"messaging.batch.message_count": len(self._jobs)}
                self._send.set_attributes(self._tracing.attributes("enqueue", "send", self._queue, count))
                _record_failure(self._send, failure[1])
        finally:
            self._send.end()


class _Process(AbstractContextManager[None]):
    """`process {queue}`: one attempt, user code only."""

    def __init__(self, tracing: Tracing, attempting: Attempting) -> None:
        self._tracing = tracing
        self._attempting = attempting

    def __enter__(self) -> None:
        tracing, attempting = self._tracing, self._attempting
        job = attempting.job
        creation = tracing.read_context(job.queue, attempting.headers)
        context = Context()
        links = []
        if creation is not None:
            links.append(Link(creation, {"glassq.link": "creation"}))
            if tracing.may_be_parent(attempting):
                context = trace.set_span_in_context(trace.NonRecordingSpan(creation), context)
        before = tracing.lanes.before(attempting)
        if before is not None:
            links.append(before)
        self._span = tracing.tracer().start_span(
            f"process {job.queue}", context=context, kind=SpanKind.CONSUMER, links=links
        )
        if self._span.is_recording():
            extra = _attempt_attributes(attempting)
            self._span.set_attributes(tracing.attributes("process", "process", job.queue, extra))
        remember(job.id, job.attempt, self._span.get_span_context())
        tracing.lanes.note(attempting, self._span.get_span_context())
        # On the current context, so that what an application put there (baggage) stays visible to its code.
        self._token = otel_context.attach(trace.set_span_in_context(self._span))

    def __exit__(self, *failure: Any) -> None:
        otel_context.detach(self._token)
        try:
            if self._span.is_recording():
                _record_failure(self._span, failure[1])
        finally:
            self._span.end()


class _LastRun(msgspec.Struct, frozen=True):
    """The attempt that ran last in a lane."""

    job_id: str
    attempt: int
    token: int
    context: SpanContext


class _LaneMemory:
    """The process span that ran last in each lane of this process; the least recently used are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes: OrderedDict[tuple[str, str | None], _LastRun] = OrderedDict()

    def before(self, attempting: Attempting) -> Link | None:
        """A link to the job's previous attempt, or to the job that ran just before it in its lane."""
        job = attempting.job
        last = self._lanes.get((job.queue, job.key))
        if last is None:
            return None
        if last.job_id == job.id:
            return Link(last.context, {"glassq.link": "previous_attempt"})
        if last.token == job.token:  # under another token somebody else may have run jobs in between
            return Link(last.context, {"glassq.link": "predecessor"})
        return None

    def note(self, attempting: Attempting, context: SpanContext) -> None:
        """This attempt runs now."""
        if not context.is_valid:
            return
        job = attempting.job
        with self._lock:
            self._lanes[job.queue, job.key] = _LastRun(job.id, job.attempt, job.token, context)
            self._lanes.move_to_end((job.queue, job.key))
            if len(self._lanes) > MAX_LANES_REMEMBERED:
                self._lanes.popitem(last=False)


def _nobody_traces() -> bool:
    """Whether there is neither a provider nor a trace to continue: every span would be nothing."""
    return not _is_provided() and not trace.get_current_span().get_span_context().is_valid


_installed = vars(trace)


def _is_provided() -> bool:
    """Whether somebody has installed a provider, or names one in the environment."""
    # Asked for with every job. Where there is none the library looks into the environment each time, which
    # costs more than all the rest of an attempt that nobody traces.
    if _installed.get("_TRACER_PROVIDER", trace) is None and not _is_named():
        return False
    return not isinstance(trace.get_tracer_provider(), _NO_PROVIDERS)


@cache
def _is_named() -> bool:
    return OTEL_PYTHON_TRACER_PROVIDER in os.environ


def _attach_quietly(span: Span) -> Any:
    """Make the span current, and keep driver instrumentation from adding a span for our own append."""
    context = trace.set_span_in_context(span)
    return otel_context.attach(
        otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True, context=context)
    )


def _job_attributes(job: Outgoing) -> Attributes:
    extra: Attributes = {"glassq.task.name": job.task}
    if job.key is not None:
        extra["messaging.destination.partition.id"] = job.key
    if job.job_id is not None:
        extra["messaging.message.id"] = job.job_id
    if job.seq is not None:
        extra["glassq.job.sequence"] = job.seq
    return extra


def _attempt_attributes(attempting: Attempting) -> Attributes:
    job = attempting.job
    extra: Attributes = {
        "messaging.message.id": job.id,
        "glassq.task.name": attempting.task,
        "glassq.job.attempt": job.attempt,
        "glassq.job.sequence": job.seq,
        "glassq.lease.token": job.token,
    }
    if job.key is not None:
        extra["messaging.destination.partition.id"] = job.key
    if attempting.time_in_queue is not None:
        extra["glassq.job.time_in_queue_s"] = attempting.time_in_queue
    return extra


def _record_failure(span: Span, error: BaseException | None) -> None:
    """Status, `error.type` and one exception event. Tracebacks carry no local values, so no arguments."""
    if error is None:
        return
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    span.set_status(Status(StatusCode.ERROR, name))
    span.set_attribute("error.type", name)
    span.record_exception(error)


def _server(address: str) -> Attributes:
    """`server.address` and `server.port` of a store that has a server; nothing for a file."""
    parts = urlsplit(address)
    found: Attributes = {}
    if parts.hostname:
        found["server.address"] = parts.hostname
        # A list of cluster nodes has several ports: none of them is "the" port.
        port = parts.netloc.rpartition(":")[2]
        if "," not in parts.netloc and port.isdecimal():
            found["server.port"] = int(port)
    elif parts.scheme == "unix":
        found["server.address"] = parts.path
    return found
