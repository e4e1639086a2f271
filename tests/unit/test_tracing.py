from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from glassq.errors import ConfigurationError, QueueFull
from glassq.observe.exemplars import exemplar_of
from glassq.observe.exporting import export_traces_from_environment
from glassq.telemetry import NOTHING_AROUND, Bus, Sending, Submitting
from tests.unit.spandesk import Desk, attempting, context_of, links, outgoing, span_id


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A real SDK provider as the global one, for this test only."""
    desk = Desk(TracerProvider())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", desk.provider)
    yield desk
    desk.provider.shutdown()


# -- producing -----------------------------------------------------------------------------------------


def test_enqueuing_one_job_is_one_producer_span(desk: Desk) -> None:
    """Child of what the caller does, named after the queue, with the store's answer and without secrets."""
    with desk.provider.get_tracer("web").start_as_current_span("POST /orders") as request:
        desk.enqueue(outgoing())
    enqueue = desk.spans()[0]
    assert (enqueue.name, enqueue.kind) == ("enqueue orders", SpanKind.PRODUCER)
    assert enqueue.parent == request.get_span_context()
    assert enqueue.attributes == {
        "messaging.system": "glassq",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders",
        "messaging.destination.partition.id": "c-7",
        "messaging.message.id": "orders/p:1",
        "messaging.client.id": "host-42",
        "server.address": "db.example",
        "server.port": 6380,
        "glassq.task.name": "charge",
        "glassq.job.sequence": 1,
    }


def test_the_job_carries_the_context_of_its_enqueue_span(desk: Desk) -> None:
    """In W3C's form, so that anything can read it."""
    job = outgoing()
    desk.enqueue(job)
    sent = context_of(desk.spans()[0])
    assert list(job.headers) == ["traceparent"]
    version, trace_id, parent_id, flags = job.headers["traceparent"].split("-")
    assert (version, trace_id) == ("00", format_trace_id(sent.trace_id))
    assert (parent_id, int(flags, 16) & 1) == (format_span_id(sent.span_id), 1)


def test_a_batch_is_a_create_span_per_job_and_one_send_span(desk: Desk) -> None:
    """Each job carries its own create span; the send span links them all and says how many."""
    jobs = [outgoing("a"), outgoing("b"), outgoing(None)]
    desk.enqueue(*jobs)
    *creates, send = desk.spans()
    assert [(span.name, span.kind) for span in creates] == [("create orders", SpanKind.PRODUCER)] * 3
    assert (send.name, send.kind) == ("enqueue orders", SpanKind.CLIENT)
    assert [link.context for link in send.links] == [context_of(span) for span in creates]
    assert (send.attributes or {})["messaging.batch.message_count"] == 3
    assert [job.headers["traceparent"].split("-")[2] for job in jobs] == [span_id(span) for span in creates]
    assert [(span.attributes or {})["messaging.message.id"] for span in creates] == [
        f"orders/p:{n}" for n in (1, 2, 3)
    ]
    assert all((span.end_time or 0) <= (send.end_time or 0) for span in creates)


def test_a_refused_enqueue_is_an_error_span(desk: Desk) -> None:
    """Status, `error.type` and one exception event; the caller gets its exception as it was."""
    with pytest.raises(QueueFull), desk.tracing(Sending("orders", [outgoing()])):
        raise QueueFull(10, 10)
    (span,) = desk.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "glassq.errors.QueueFull"
    assert [event.name for event in span.events] == ["exception"]


def test_a_refused_submit_is_an_error_span(desk: Desk) -> None:
    """It ends with what its caller is told, above the enqueues that went well."""

    def refused() -> None:
        with desk.tracing(Submitting("~orders/ab", "nightly", "orders", 2)):
            desk.enqueue(outgoing())
            raise QueueFull(10, 10)

    with pytest.raises(QueueFull):
        refused()
    enqueue, submit = desk.spans()
    assert (submit.name, enqueue.parent) == ("submit nightly", context_of(submit))
    assert (submit.status.status_code, enqueue.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert (submit.attributes or {})["messaging.message.conversation_id"] == "~orders/ab"


def test_baggage_does_not_travel(desk: Desk) -> None:
    """What callers put into baggage is not written into the store."""
    token = context.attach(baggage.set_baggage("user", "alice@example.org"))
    try:
        job = outgoing()
        desk.enqueue(job)
    finally:
        context.detach(token)
    assert list(job.headers) == ["traceparent"]


@pytest.mark.parametrize(("members", "kept"), [(1, True), (3, False)])
def test_a_long_tracestate_is_dropped_whole(desk: Desk, members: int, kept: bool) -> None:
    """Up to 512 characters travel along; a longer one must not bloat every job."""
    state = trace.TraceState([(f"vendor{number}", "x" * 200) for number in range(members)])
    parent = trace.SpanContext(7, 9, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=state)
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    job = outgoing()
    desk.enqueue(job)
    context.detach(token)
    assert ("tracestate" in job.headers) is kept
    assert "traceparent" in job.headers


def test_driver_instrumentation_is_silent_inside_our_append(desk: Desk) -> None:
    """The append is described by the enqueue span; the driver adds no span of its own."""
    with desk.tracing(Sending("orders", [outgoing()])):
        assert context.get_value(_SUPPRESS_INSTRUMENTATION_KEY) is True
    assert context.get_value(_SUPPRESS_INSTRUMENTATION_KEY) is None


def test_unsampled_contexts_travel_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision not to sample is a decision for the whole trace; nothing is recorded on the way."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ALWAYS_OFF))
    job = outgoing()
    desk.enqueue(job)
    assert not int(job.headers["traceparent"][-2:], 16) & 1
    with desk.tracing(attempting(job.headers)):
        assert not trace.get_current_span().is_recording()
    assert desk.counted == [("orders", "ok")]


def test_without_an_sdk_nothing_is_recorded_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, desk: Desk
) -> None:
    """The API alone is enough to enqueue and to run."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    job = outgoing()
    desk.enqueue(job, outgoing())
    assert job.headers == {}
    assert desk.tracing(Submitting("~orders/ab", "nightly", "orders", 2)) is NOTHING_AROUND
    with desk.tracing(attempting(job.headers)):
        assert not trace.get_current_span().get_span_context().is_valid
    assert desk.counted == []


# -- executing -----------------------------------------------------------------------------------------


def test_the_process_span_continues_the_trace_of_the_enqueue(desk: Desk) -> None:
    """Child of the creation context and linked to it, with what identifies the attempt."""
    job = outgoing()
    desk.enqueue(job)
    span = desk.process(attempting(job.headers))
    enqueue = desk.spans()[0]
    assert (span.name, span.kind) == ("process orders", SpanKind.CONSUMER)
    assert span.parent is not None
    assert span.parent.span_id == context_of(enqueue).span_id
    assert context_of(span).trace_id == context_of(enqueue).trace_id
    assert links(span) == {"creation": span_id(enqueue)}
    assert span.attributes == {
        "messaging.system": "glassq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.destination.partition.id": "c-7",
        "messaging.message.id": "orders/p:1",
        "messaging.client.id": "host-42",
        "server.address": "db.example",
        "server.port": 6380,
        "glassq.task.name": "charge",
        "glassq.job.attempt": 1,
        "glassq.job.sequence": 1,
        "glassq.lease.token": 41,
        "glassq.job.time_in_queue_s": 0.5,
    }


def test_the_handler_runs_inside_its_span(desk: Desk) -> None:
    """What it starts becomes a child; afterwards the thread's context is as it was."""
    with desk.tracing(attempting({})):
        inside = trace.get_current_span()
        with desk.provider.get_tracer("db").start_as_current_span("INSERT"):
            pass
    insert, process = desk.spans()
    assert insert.parent == inside.get_span_context() == process.get_span_context()
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(("waited", "same"), [(3599.0, True), (3601.0, False), (None, False)])
def test_an_old_job_starts_a_trace_of_its_own(desk: Desk, waited: float | None, same: bool) -> None:
    """Above an hour the creation context is only linked; a retry's age is measured from its enqueue."""
    job = outgoing()
    desk.enqueue(job)
    span = desk.process(attempting(job.headers, waited=waited))
    enqueue = desk.spans()[0]
    assert (context_of(span).trace_id == context_of(enqueue).trace_id) is same
    assert (span.parent is not None) is same
    assert links(span) == {"creation": span_id(enqueue)}


@pytest.mark.parametrize(
    ("headers", "result"),
    [
        ({"x-tenant": "7"}, "missing"),
        ({"traceparent": ""}, "invalid"),
        ({"traceparent": "00-zz-zz-01"}, "invalid"),
        ({"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01"}, "invalid"),
        ({"traceparent": "\x00" * 10_000, "tracestate": "=" * 10_000}, "invalid"),
    ],
)
def test_a_bad_context_is_counted_and_never_in_the_way(
    desk: Desk, headers: dict[str, str], result: str
) -> None:
    """Headers are foreign text: at worst the job starts a new trace."""
    span = desk.process(attempting(headers))
    assert desk.counted == [("orders", result)]
    assert span.parent is None
    assert span.links == ()


def test_each_attempt_is_a_span_linked_to_the_one_before(desk: Desk) -> None:
    """The name says nothing of the attempt; the attribute and the link do."""
    first = desk.process(attempting({}, attempt=1, token=41))
    second = desk.process(attempting({}, attempt=2, token=42))
    assert second.name == first.name
    assert links(second) == {"previous_attempt": span_id(first)}


def test_a_job_links_to_its_predecessor_in_the_lane(desk: Desk) -> None:
    """While one worker keeps the lane; under a new lease somebody else may have run jobs in between."""
    first = desk.process(attempting({}, number=1, token=41))
    second = desk.process(attempting({}, number=2, token=41))
    third = desk.process(attempting({}, number=3, token=50))
    assert links(second) == {"predecessor": span_id(first)}
    assert links(third) == {}


def test_a_failed_handler_is_an_error_span_without_arguments(desk: Desk) -> None:
    """Status, `error.type` and one exception event, whose traceback holds no values."""

    def handler(card: str) -> None:
        raise ValueError("declined")

    with pytest.raises(ValueError, match="declined"), desk.tracing(attempting({})):
        handler(card="4111-" + "1111")
    (span,) = desk.spans()
    assert (span.attributes or {})["error.type"] == "ValueError"
    assert span.status.status_code is StatusCode.ERROR
    (event,) = span.events
    assert "4111-1111" not in str(dict(event.attributes or {}))


class Broken(Exception):
    """An exception that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_unprintable_exception_still_ends_the_span(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """The context is restored and the span exported; the job's own exception is what the worker sees."""
    bus = Bus()
    bus.wrap(desk.tracing)
    with pytest.raises(Broken), bus.around(attempting({})):
        raise Broken
    (span,) = desk.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert not trace.get_current_span().get_span_context().is_valid


def test_exemplars_point_to_the_process_span_after_it_ended(desk: Desk) -> None:
    """Measurements are made after the commit; the span that ran last in this thread is remembered."""
    job = outgoing()
    desk.enqueue(job)
    subject = attempting(job.headers)
    span = desk.process(subject)
    found = exemplar_of(subject.job.id, 1, job.headers)
    assert found == {"trace_id": format_trace_id(context_of(span).trace_id), "span_id": span_id(span)}
    other = exemplar_of("orders/p:99", 1, job.headers)
    assert other is not None
    assert other["span_id"] == span_id(desk.spans()[0])


def test_lanes_are_forgotten_before_they_fill_the_memory(desk: Desk) -> None:
    """A million keys must not make a million entries; the latest are kept."""
    for number in range(1100):
        desk.process(attempting({}, number=number, key=f"c-{number}"))
    assert len(desk.tracing.lanes._lanes) == 1024
    assert ("orders", "c-1099") in desk.tracing.lanes._lanes


# -- exporting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9"},
    ],
)
def test_no_provider_is_installed_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """Only the standard variables switch exporting on, and they can switch it off."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert export_traces_from_environment() is None
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_an_installed_provider_is_left_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that set its own provider up keeps it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert export_traces_from_environment() is None
    assert trace.get_tracer_provider() is desk.provider


def test_grpc_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans sent over HTTP to a gRPC port would vanish: better no start than no traces."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ConfigurationError, match="4318"):
        export_traces_from_environment()
