"""Spans of what is known only once the store has committed it: how an attempt was settled, what was replayed.

They are made from events, after the fact, with the times at which it happened.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry.trace import SpanContext, SpanKind

from glassq.model.events import AttemptAbandoned, AttemptSettled, JobsReplayed
from glassq.model.names import DEFAULT_LANE, whole
from glassq.model.runs import Run
from glassq.model.verdicts import Action
from glassq.observe.propagation import extract
from glassq.observe.spancontexts import link_to
from glassq.observe.spans import CREATION, SpanSource, nobody_traces
from glassq.observe.starting import Attributes
from glassq.policy.decide import ACKED

MAX_ENDED_REMEMBERED = 1024
MAX_LINKS = 128
"""What the SDK keeps of a span's links unless it is told otherwise."""

_OPERATIONS: Mapping[Action, str] = {Action.RETRY: "retry", Action.BURY: "bury"}


class FollowUps:
    """Settle and replay spans. With `acks`, successes have a settle span, too."""

    def __init__(self, source: SpanSource, *, acks: bool) -> None:
        self._source = source
        self._operations = {**_OPERATIONS, Action.ACK: "ack"} if acks else _OPERATIONS
        self.acks = acks
        """Whether successes have one."""
        self._ended: dict[tuple[str, int], tuple[SpanContext, int]] = {}

    def ended(self, job_id: str, attempt: int, context: SpanContext) -> None:
        """The process span of an attempt ended just now: what is settled next hangs below it. Nobody asks for
        those of successes, unless there are `acks`."""
        if len(self._ended) >= MAX_ENDED_REMEMBERED:  # attempts nobody settled: their leases were lost
            self._ended.pop(next(iter(self._ended)), None)
        self._ended[job_id, attempt] = (context, time.time_ns())

    def abandoned(self, event: AttemptAbandoned) -> None:
        """Its verdict was not accepted: there is no settlement."""
        self._ended.pop((event.job_id, event.attempt), None)

    def settled(self, event: AttemptSettled) -> None:
        """`retry {queue}`, `bury {queue}`, `ack {queue}`: from the end of user code to the commit."""
        operation = self._operations.get(event.verdict.action)
        if operation is None:
            return
        parent, began = self._ended.pop((event.job_id, event.attempt), (None, None))
        if parent is None:  # user code never ran, or in a process that is gone
            parent, _ = extract(event.headers)
        if parent is None:
            return
        queue = whole(event.lease.queue)
        span = self._source.tracer().start_below(
            parent, f"{operation} {queue}", SpanKind.CLIENT, start_time=began
        )
        if span.is_recording():
            extra = _settlement_attributes(event)
            self._source.describe(span, operation, "settle", queue, extra)
        span.end()

    def settled_together(self, run: Run[AttemptSettled]) -> None:
        """The same of several. Of nearly all there is nothing to do."""
        if self.acks or any(verdict is not ACKED for verdict in run.column("verdict")):
            for event in run:
                self.settled(event)

    def replayed(self, event: JobsReplayed) -> None:
        """`replay {queue}`: below whatever the operator's program does, linked to the original creations."""
        if nobody_traces():
            return
        contexts = [found for headers in event.headers[:MAX_LINKS] if (found := extract(headers)[0])]
        now = time.time_ns()
        span = self._source.tracer().start_span(
            f"replay {event.queue}",
            kind=SpanKind.PRODUCER,
            links=[link_to(context, CREATION) for context in contexts],
            start_time=now - round(event.seconds * 1e9),
        )
        if span.is_recording():
            extra: Attributes = {
                "messaging.batch.message_count": len(event.job_ids),
                "glassq.replay.to": event.to,
            }
            if len(event.job_ids) == 1:
                extra["messaging.message.id"] = event.job_ids[0]
            self._source.describe(span, "replay", "send", event.queue, extra)
        span.end(end_time=now)


def _settlement_attributes(event: AttemptSettled) -> Attributes:
    extra: Attributes = {
        "messaging.message.id": event.job_id,
        "glassq.task.name": event.task,
        "glassq.job.attempt": event.attempt,
        "glassq.job.sequence": event.seq,
        "glassq.lease.token": event.lease.token,
    }
    if event.lease.lane != DEFAULT_LANE:
        extra["messaging.destination.partition.id"] = event.lease.lane
    if event.verdict.reason:
        extra["glassq.settle.reason"] = event.verdict.reason
    if event.verdict.action is Action.RETRY:
        extra["glassq.retry.wait_s"] = event.verdict.wait
    return extra
