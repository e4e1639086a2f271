"""Spans around enqueuing and executing. Needs the OpenTelemetry API alone; without an SDK it records nothing.

Spans are started and attached by hand: the library's own context manager costs several microseconds more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode

from glassq.model.events import (
    AttemptAbandoned,
    AttemptSettled,
    Event,
    JobsReplayed,
    TraceContextRead,
    WorkerChanged,
)
from glassq.observe.exemplars import remember
from glassq.observe.followups import FollowUps
from glassq.observe.lanespans import LaneMemory
from glassq.observe.propagation import extract, inject, with_baggage
from glassq.observe.spancontexts import link_to, with_span
from glassq.observe.spans import (
    CREATION,
    NOTHING_SAID,
    UPSTREAM,
    SpanSource,
    asks_for_provider,
    flush_spans,
    is_provided,
    nobody_traces,
    say,
    this_process,
)
from glassq.observe.starting import Attributes
from glassq.observe.traceoptions import TraceOptions
from glassq.telemetry import (
    NOTHING_AROUND,
    Attempting,
    AttemptLinks,
    Bus,
    Observer,
    Outgoing,
    Sending,
    Subject,
    Submitting,
    Together,
)

_CONSUMER = SpanKind.CONSUMER


class Tracing:
    """Makes spans: an Around for what is wrapped, an observer for what is told. `address` and `client_id`
    become attributes."""

    def __init__(
        self,
        bus: Bus,
        *,
        address: str,
        client_id: Callable[[], str] = this_process,
        options: TraceOptions | None = None,
    ) -> None:
        self.source = SpanSource(address=address, client_id=client_id)
        self.options = options or TraceOptions()
        self.lanes = LaneMemory()
        self.follow_ups = FollowUps(self.source, acks=self.options.ack_spans)
        self._bus = bus
        self.to_follow = self._settlements()
        """What is to be subscribed with the first span that is recorded."""

    def _settlements(self) -> list[tuple[Observer, type[Event], Together | None]]:
        ups = self.follow_ups
        return [
            (ups.abandoned, AttemptAbandoned, None),
            (ups.settled, AttemptSettled, ups.settled_together),
        ]

    def attach(self) -> None:
        """Begin: wrap what is wrapped, listen to what is told."""
        # A span of a settlement says when that was: it is told of at once.
        self._bus.wrap(self, idle=asks_for_provider(), leaves_plain=not self.options.ack_spans)
        self._bus.subscribe(self.follow_ups.replayed, JobsReplayed)
        self._bus.subscribe(self._worker_changed, WorkerChanged)

    def detach(self) -> None:
        """End, until it is attached again."""
        self._bus.unwrap(self)
        self.to_follow = self._settlements()
        self._bus.unsubscribe(self.follow_ups.replayed)
        self._bus.unsubscribe(self._worker_changed)
        for observer, _, _ in self.to_follow:
            self._bus.unsubscribe(observer)

    def follow(self) -> None:
        """A span was recorded: from now on settlements have theirs. Whoever traces nothing has no observer
        of every job."""
        while self.to_follow:
            try:
                observer, kind, together = self.to_follow.pop()
            except IndexError:  # another thread was first: each is subscribed once
                return
            self._bus.subscribe(observer, kind, together=together)

    @staticmethod
    def _worker_changed(event: WorkerChanged) -> None:
        if event.state == "stopped":
            flush_spans()

    def __call__(self, subject: Subject) -> AbstractContextManager[None]:
        """The span, or spans, of one append, one submit or one attempt."""
        if isinstance(subject, Attempting):
            return _Process(self, subject) if subject.headers or is_provided() else NOTHING_AROUND
        if nobody_traces():
            return NOTHING_AROUND
        if isinstance(subject, Submitting):
            return _Submit(self, subject)
        if len(subject.jobs) == 1:
            return _Enqueue(self, subject)
        return _EnqueueBatch(self, subject)

    def read_context(self, queue: str, headers: dict[str, str]) -> SpanContext | None:
        """The context a job was created in."""
        if not headers:
            return None
        found, result = extract(headers)
        self._bus.emit(TraceContextRead(queue=queue, result=result))
        return found

    def may_be_parent(self, subject: Attempting) -> bool:
        """Whether the job is young enough to continue the trace it was enqueued in."""
        age = subject.time_in_queue
        if age is None:  # not its first attempt; a skew between the clocks is nothing against an hour
            age = time.time() - subject.job.enqueued_at
        return age <= self.options.max_parent_age


@contextmanager
def instead_of(own: Tracing | None, other: Tracing) -> Iterator[None]:
    """Have `other` make the spans of a bus, in the place of its own tracing, for as long as this lasts."""
    if own is not None:
        own.detach()
    other.attach()
    try:
        yield
    finally:
        other.detach()
        if own is not None:
            own.attach()


class _Enqueue(AbstractContextManager[None]):
    """`enqueue {queue}`, or `schedule {queue}` for later: one job. Its context goes into its headers."""

    def __init__(self, tracing: Tracing, sending: Sending) -> None:
        self._tracing = tracing
        self._queue = sending.queue
        self._job = sending.jobs[0]
        put_off = self._job.delay is not None or self._job.eta is not None
        self._operation = "schedule" if put_off else "enqueue"

    def __enter__(self) -> None:
        self._span = self._tracing.source.tracer().start_span(
            f"{self._operation} {self._queue}", kind=SpanKind.PRODUCER
        )
        inject(self._span, self._job.headers, self._tracing.options.baggage)
        self._token = _attach_quietly(self._span)

    def __exit__(self, *failure: Any) -> None:
        otel_context.detach(self._token)
        try:
            if self._span.is_recording():
                extra = _job_attributes(self._job)
                self._tracing.source.describe(self._span, self._operation, "send", self._queue, extra)
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
        tracer = self._tracing.source.tracer()
        self._creates: list[tuple[Span, int]] = []
        for job in self._jobs:
            span = tracer.start_span(f"create {self._queue}", kind=SpanKind.PRODUCER)
            inject(span, job.headers, self._tracing.options.baggage)
            self._creates.append((span, time.time_ns()))
        links = [
            link_to(span.get_span_context(), NOTHING_SAID) for span, _ in self._creates if span.is_recording()
        ]
        self._send = tracer.start_span(f"enqueue {self._queue}", kind=SpanKind.CLIENT, links=links)
        self._token = _attach_quietly(self._send)

    def __exit__(self, *failure: Any) -> None:
        otel_context.detach(self._token)
        try:
            for job, (span, ended) in zip(self._jobs, self._creates, strict=True):
                if span.is_recording():
                    extra = _job_attributes(job)
                    self._tracing.source.describe(span, "create", "create", self._queue, extra)
                # Kept open for the id that only the store knows; it ended when the job was made.
                span.end(end_time=ended)
            if self._send.is_recording():
                count: Attributes = {"messaging.batch.message_count": len(self._jobs)}
                self._tracing.source.describe(self._send, "enqueue", "send", self._queue, count)
                _record_failure(self._send, failure[1])
        finally:
            self._send.end()


class _Submit(AbstractContextManager[None]):
    """`submit {workflow}`: around the enqueues of all its jobs, which are in one trace by it."""

    def __init__(self, tracing: Tracing, submitting: Submitting) -> None:
        self._tracing = tracing
        self._submitting = submitting

    def __enter__(self) -> None:
        self._span = self._tracing.source.tracer().start_span(
            f"submit {self._submitting.name}", kind=SpanKind.PRODUCER
        )
        self._token = _attach_quietly(self._span)

    def __exit__(self, *failure: Any) -> None:
        otel_context.detach(self._token)
        try:
            if self._span.is_recording():
                extra: Attributes = {
                    "messaging.message.conversation_id": self._submitting.flow,
                    "messaging.batch.message_count": self._submitting.steps,
                }
                queue = self._submitting.queue
                self._tracing.source.describe(self._span, "submit", "send", queue, extra)
                _record_failure(self._span, failure[1])
        finally:
            self._span.end()


class _Process(AbstractContextManager[None]):
    """`process {queue}`: one attempt, user code only."""

    __slots__ = ("_attempting", "_recorded", "_span", "_token", "_tracing")

    def __init__(self, tracing: Tracing, attempting: Attempting) -> None:
        self._tracing = tracing
        self._attempting = attempting

    def __enter__(self) -> None:
        tracing, attempting = self._tracing, self._attempting
        job = attempting.job
        cause, links = tracing.read_context(job.queue, attempting.headers), []
        if cause is not None:
            links.append(link_to(cause, CREATION))
        if attempting.links is not None and (before_it := _upstream_contexts(attempting.links)):
            # What a job comes after caused it to run, rather than whoever submitted it.
            cause = before_it[0]
            links = [link_to(each, UPSTREAM) for each in before_it] + links
        parent = cause if cause is not None and tracing.may_be_parent(attempting) else None
        lane = tracing.lanes.of(job)
        before = lane.before(job)
        if before is not None:
            links.append(before)
        tracer = tracing.source.tracer()
        self._span = span = tracer.start_below(parent, f"process {job.queue}", _CONSUMER, links)
        self._recorded = span.is_recording()
        if self._recorded:
            say(span, _attempt_attributes(attempting, lane.common(tracing.source, job, attempting.task)))
            if tracing.to_follow:
                tracing.follow()
        if attempting.links is not None:
            inject(span, attempting.links.trail)
        context = span.get_span_context()
        remember(job.id, job.attempt, context)
        lane.note(job, context)
        # On the current context, so that what an application put there stays visible to its code.
        inside = with_span(span, otel_context.get_current())
        if tracing.options.baggage:
            inside = with_baggage(inside, attempting.headers, tracing.options.baggage)
        self._token = otel_context.attach(inside)

    def __exit__(self, *failure: Any) -> None:
        otel_context.detach(self._token)
        failed = failure[1] is not None
        try:
            if failed and self._span.is_recording():
                _record_failure(self._span, failure[1])
        finally:
            self._span.end()
            follow_ups = self._tracing.follow_ups
            if self._recorded and (failed or follow_ups.acks):
                job = self._attempting.job
                follow_ups.ended(job.id, job.attempt, self._span.get_span_context())


def _upstream_contexts(links: AttemptLinks) -> Sequence[SpanContext]:
    """The process spans of the jobs that a job came directly after, in the order of its steps. Looked for
    only where spans are recorded: it may take a round trip."""
    if not is_provided():
        return ()
    found = (extract(headers)[0] for headers in links.trails())
    return [context for context in found if context is not None]


def _attach_quietly(span: Span) -> Any:
    """Make the span current, and keep driver instrumentation from adding a span for our own append."""
    context = trace.set_span_in_context(span)
    return otel_context.attach(
        otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True, context=context)
    )


def _job_attributes(job: Outgoing) -> Attributes:
    extra: Attributes = {"glassq.task.name": job.task}
    if job.delay is not None:
        extra["glassq.schedule.delay_s"] = job.delay
    if job.eta is not None:
        extra["glassq.schedule.due_at"] = job.eta
    if job.key is not None:
        extra["messaging.destination.partition.id"] = job.key
    if job.job_id is not None:
        extra["messaging.message.id"] = job.job_id
    if job.seq is not None:
        extra["glassq.job.sequence"] = job.seq
    if job.flow is not None:
        extra["messaging.message.conversation_id"] = job.flow
    return extra


def _attempt_attributes(attempting: Attempting, common: Attributes) -> Attributes:
    job = attempting.job
    said: Attributes = {
        **common,
        "messaging.message.id": job.id,
        "glassq.job.attempt": job.attempt,
        "glassq.job.sequence": job.seq,
        "glassq.lease.token": job.token,
    }
    if attempting.time_in_queue is not None:
        said["glassq.job.time_in_queue_s"] = attempting.time_in_queue
    if job.workflow is not None:
        said["messaging.message.conversation_id"] = job.workflow
    return said


def _record_failure(span: Span, error: BaseException | None) -> None:
    """Status, `error.type` and one exception event. Tracebacks carry no local values, so no arguments."""
    if error is None:
        return
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    span.set_status(Status(StatusCode.ERROR, name))
    span.set_attribute("error.type", name)
    span.record_exception(error)
