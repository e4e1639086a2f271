from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind, format_span_id

from glassq.errors import BadOption
from glassq.model.events import AttemptSettled, Event, JobsReplayed, WorkerChanged
from glassq.model.leases import Lease
from glassq.model.runs import Listed
from glassq.model.verdicts import Action, Outcome, Verdict
from glassq.observe import followups, spans
from glassq.observe.traceoptions import TraceOptions
from glassq.telemetry import Attempting, Outgoing
from tests.unit.observing import SAMPLED, SPAN
from tests.unit.spandesk import Desk, attempting, context_of, outgoing, span_id


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A real SDK provider as the global one, and a tracing that is told what happens."""
    desk = Desk(TracerProvider())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", desk.provider)
    desk.tracing.attach()
    yield desk
    desk.provider.shutdown()


def verdict(subject: Attempting, action: Action, *, wait: float = 0.0, reason: str = "") -> AttemptSettled:
    """What was committed about an attempt."""
    job = subject.job
    return AttemptSettled(
        lease=Lease(job.queue, job.key or "", job.token),
        task=subject.task,
        job_id=job.id,
        seq=job.seq,
        attempt=job.attempt,
        outcome=Outcome.SUCCEEDED if action is Action.ACK else Outcome.EXCEPTION,
        verdict=Verdict(action, reason, wait),
        seconds=0.1,
        ran=True,
        end_to_end=None,
        ordinal=1,
        headers=subject.headers,
    )


def run(desk: Desk, subject: Attempting, action: Action, **about: object) -> ReadableSpan:
    """Run an attempt, which fails unless it is acknowledged, and settle it; its process span."""
    with desk.bus.around(subject):
        pass
    if action is not Action.ACK:
        desk.exporter.clear()
        with pytest.raises(ValueError, match="declined"), desk.bus.around(subject):
            raise ValueError("declined")
    process = desk.spans()[-1]
    desk.bus.emit(verdict(subject, action, **about))  # type: ignore[arg-type]
    return process


# -- settling --------------------------------------------------------------------------------------------


def test_a_retry_is_a_span_below_the_attempt_that_failed(desk: Desk) -> None:
    """From the end of user code to the commit, and it says how long the lane waits."""
    process = run(desk, attempting({}), Action.RETRY, wait=10.0, reason="exception")
    retry = desk.spans()[-1]
    assert (retry.name, retry.kind) == ("retry orders", SpanKind.CLIENT)
    assert retry.parent is not None
    assert retry.parent.span_id == context_of(process).span_id
    assert (retry.start_time or 0) >= (process.end_time or 0)
    found = retry.attributes or {}
    assert (found["messaging.operation.name"], found["messaging.operation.type"]) == ("retry", "settle")
    assert (found["glassq.retry.wait_s"], found["glassq.settle.reason"]) == (10.0, "exception")
    assert (found["messaging.message.id"], found["glassq.job.attempt"]) == ("orders/p:1", 1)
    assert found["messaging.destination.partition.id"] == "c-7"


def test_a_burial_is_a_span_too(desk: Desk) -> None:
    """The trace of a job that was given up says so."""
    process = run(desk, attempting({}), Action.BURY, reason="timeout")
    bury = desk.spans()[-1]
    assert bury.name == "bury orders"
    assert context_of(bury).trace_id == context_of(process).trace_id
    assert (bury.attributes or {})["glassq.settle.reason"] == "timeout"


def test_a_job_that_was_buried_unrun_has_its_span_where_it_was_enqueued(desk: Desk) -> None:
    """No handler ran, so there is no process span: the burial hangs below the enqueue."""
    run(desk, attempting({}), Action.ACK)  # something was traced here before
    desk.bus.emit(verdict(attempting(SAMPLED, number=9), Action.BURY, reason="unknown_task"))
    bury = desk.spans()[-1]
    assert bury.name == "bury orders"
    assert bury.parent is not None
    assert format_span_id(bury.parent.span_id) == SPAN


def test_success_needs_no_span_unless_asked_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An acknowledgement per job is noise; who wants it says so."""
    run(desk, attempting({}), Action.ACK)
    assert [span.name for span in desk.spans()] == ["process orders"]
    asking = Desk(TracerProvider())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", asking.provider)
    asking.trace(ack_spans=True)
    asking.tracing.attach()
    process = run(asking, attempting({}), Action.ACK)
    ack = asking.spans()[-1]
    assert ack.name == "ack orders"
    assert ack.parent is not None
    assert ack.parent.span_id == context_of(process).span_id


@pytest.mark.parametrize("acks", [False, True])
def test_jobs_stay_plain_unless_their_settlements_have_spans(*, acks: bool) -> None:
    """It is told later, with others, that plain jobs were settled: too late for a span that says when."""
    asking = Desk(TracerProvider())
    asking.trace(ack_spans=acks)
    asking.tracing.attach()
    assert asking.bus.leaves_plain is not acks
    asking.tracing.detach()
    assert asking.bus.leaves_plain


def test_failures_told_with_others_have_their_spans(desk: Desk) -> None:
    """Whoever tells of them: of several that are told together those that failed are followed."""
    run(desk, attempting({}), Action.ACK)
    desk.exporter.clear()
    told = [
        verdict(attempting(SAMPLED, number=number), action, reason="unknown_task")
        for number, action in enumerate((Action.ACK, Action.BURY, Action.ACK))
    ]
    desk.bus.emit_together(Listed(told))
    assert [span.name for span in desk.spans()] == ["bury orders"]
    desk.bus.emit_together(Listed(told[::2]))
    assert len(desk.spans()) == 1


def test_whoever_traces_nothing_is_told_of_no_settlement(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    """An observer of every job is not free: there is none before the first span was recorded; then one."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    with desk.bus.around(attempting({})):
        pass
    assert AttemptSettled not in desk.bus._observers
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", desk.provider)
    for number in range(3):
        run(desk, attempting({}, number=number), Action.ACK)
    assert len(desk.bus._observers[AttemptSettled]) == 1


def test_attempts_nobody_settles_do_not_fill_the_memory(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that loses lease after lease remembers the latest failures only."""
    monkeypatch.setattr(followups, "MAX_ENDED_REMEMBERED", 8)
    for number in range(50):
        with pytest.raises(ValueError, match="x"), desk.bus.around(attempting({}, number=number)):
            raise ValueError("x")
    assert len(desk.tracing.follow_ups._ended) == 8
    assert ("orders/p:49", 1) in desk.tracing.follow_ups._ended


# -- replaying, scheduling -------------------------------------------------------------------------------


def replayed(*headers: dict[str, str]) -> Event:
    """Dead letters were brought back."""
    ids = tuple(f"orders/p:{number}" for number in range(1, len(headers) + 1))
    return JobsReplayed(queue="orders", job_ids=ids, headers=headers, to="front", seconds=0.25)


def test_a_replay_is_a_span_of_whoever_ordered_it(desk: Desk) -> None:
    """Below the operator's span, linked to where the job came from, as long as it took."""
    with desk.provider.get_tracer("ops").start_as_current_span("fix") as fix:
        desk.bus.emit(replayed(SAMPLED))
    replay = desk.spans()[0]
    assert (replay.name, replay.kind) == ("replay orders", SpanKind.PRODUCER)
    assert replay.parent == fix.get_span_context()
    assert [format_span_id(link.context.span_id) for link in replay.links] == [SPAN]
    found = replay.attributes or {}
    assert (found["messaging.operation.type"], found["messaging.message.id"]) == ("send", "orders/p:1")
    assert (found["glassq.replay.to"], found["messaging.batch.message_count"]) == ("front", 1)
    assert ((replay.end_time or 0) - (replay.start_time or 0)) / 1e9 == pytest.approx(0.25)


def test_a_replay_of_many_is_one_span(desk: Desk) -> None:
    """With a link to each that had a trace."""
    desk.bus.emit(replayed(SAMPLED, {}, {"traceparent": "nonsense"}, SAMPLED))
    (replay,) = desk.spans()
    assert (replay.attributes or {})["messaging.batch.message_count"] == 4
    assert "messaging.message.id" not in (replay.attributes or {})
    assert len(replay.links) == 2


@pytest.mark.parametrize(
    ("when", "attribute"),
    [({"delay": 30.0}, "glassq.schedule.delay_s"), ({"eta": 1.9e9}, "glassq.schedule.due_at")],
)
def test_a_call_for_later_is_scheduled(desk: Desk, when: dict[str, float], attribute: str) -> None:
    """Its span says that it was put off, and until when."""
    job = Outgoing("charge", None, {}, 20, **when)  # type: ignore[arg-type]
    desk.enqueue(job)
    (span,) = desk.spans()
    assert (span.name, span.kind) == ("schedule orders", SpanKind.PRODUCER)
    found = span.attributes or {}
    assert (found["messaging.operation.name"], found["messaging.operation.type"]) == ("schedule", "send")
    assert [found[attribute]] == list(when.values())
    assert job.headers["traceparent"].split("-")[2] == span_id(span)


# -- what an application decides -------------------------------------------------------------------------


def test_allowed_baggage_travels_and_no_other(desk: Desk) -> None:
    """A named entry is there when the job runs; the rest stays with the caller, and is not let in either."""
    desk.trace(baggage=("tenant", "absent"))
    token = context.attach(baggage.set_baggage("tenant", "7 & 8", baggage.set_baggage("user", "alice")))
    try:
        job, another = outgoing(), outgoing()
        desk.enqueue(job)
        desk.enqueue(job, another)
    finally:
        context.detach(token)
    assert job.headers["baggage"] == another.headers["baggage"] == "tenant=7+%26+8"
    with desk.tracing(attempting({**job.headers, "baggage": "tenant=7+%26+8,user=mallory"})):
        assert baggage.get_all() == {"tenant": "7 & 8"}
    assert baggage.get_all() == {}


def test_too_much_baggage_stays_behind_whole(desk: Desk) -> None:
    """Half of it would be another baggage, and all of it would be stored with every job."""
    desk.trace(baggage=("tenant",))
    token = context.attach(baggage.set_baggage("tenant", "x" * 2000))
    try:
        job = outgoing()
        desk.enqueue(job)
    finally:
        context.detach(token)
    assert list(job.headers) == ["traceparent"]


def test_the_age_of_a_parent_is_the_applications_choice(desk: Desk) -> None:
    """A job that waited longer than it says begins a trace of its own."""
    desk.trace(max_parent_age=60.0)
    young, old = attempting(SAMPLED, waited=59.0), attempting(SAMPLED, number=2, waited=61.0)
    assert desk.process(young).parent is not None
    assert desk.process(old).parent is None


@pytest.mark.parametrize(
    "options", [{"max_parent_age": -1}, {"baggage": "tenant"}, {"baggage": ("a b",)}, {"baggage": (7,)}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    """A single name without its comma would allow six entries of one letter."""
    with pytest.raises(BadOption, match=next(iter(options))):
        TraceOptions(**options)  # type: ignore[arg-type]


# -- the end of a worker ---------------------------------------------------------------------------------


def test_a_worker_that_stops_flushes_its_spans(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, when all is drained; not while it still drains."""
    flushed: list[str] = []
    monkeypatch.setattr(desk.provider, "force_flush", lambda *_: flushed.append("flushed"))
    for state in ("starting", "running", "draining"):
        desk.bus.emit(WorkerChanged(worker="w", state=state))
    assert flushed == []
    desk.bus.emit(WorkerChanged(worker="w", state="stopped"))
    assert flushed == ["flushed"]


def test_a_collector_that_is_away_does_not_keep_a_worker(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment the worker ends without it."""
    monkeypatch.setattr(spans, "FLUSH_SECONDS", 0.05)
    free = threading.Event()
    monkeypatch.setattr(desk.provider, "force_flush", lambda *_: free.wait(30))
    began = time.monotonic()
    desk.bus.emit(WorkerChanged(worker="w", state="stopped"))
    assert time.monotonic() - began < 10
    free.set()


def test_without_an_sdk_there_is_nothing_to_flush(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    """The API alone ends as it began."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    desk.bus.emit(WorkerChanged(worker="w", state="stopped"))
    assert desk.spans() == []
