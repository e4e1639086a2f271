"""The spans of whole programs: what a trace tells of a job's life, and what is left out of it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from opentelemetry import baggage, context, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry

from glassq import Glassq, TraceOptions


@pytest.fixture
def app(store_url: str, exporter: InMemorySpanExporter) -> Iterator[Glassq]:
    """An application on an empty store of each kind, traced."""
    with Glassq(store_url, registry=CollectorRegistry(), tracing=TraceOptions(baggage=("tenant",))) as app:
        yield app


def told(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    """What was recorded, in the order in which it began."""
    return sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)


def ids(span: ReadableSpan) -> tuple[int, int]:
    """Trace and span."""
    found = span.get_span_context()
    assert found is not None
    return found.trace_id, found.span_id


def drain(app: Glassq) -> None:
    """Run what is there."""
    assert app.worker(concurrency=2).run_until_idle(timeout=20)


def test_a_trace_tells_of_every_attempt_and_what_became_of_it(
    app: Glassq, exporter: InMemorySpanExporter
) -> None:
    """Enqueued, tried, put off, tried again, given up: one trace, each settlement below its attempt. Brought
    back by a person, and done: the replay is in the person's trace, the job goes on in its own."""
    declines = iter([True, True, False])

    @app.fifo("payments", max_retries=1, retry_wait=0.01, name="charge")
    def charge() -> None:
        if next(declines):
            raise ValueError("declined")

    charge()
    drain(app)
    with trace.get_tracer("ops").start_as_current_span("repair"):
        app.queue("payments").replay()
    drain(app)
    spans = told(exporter)
    first, attempt, retry, second, bury, repair, replay, third = spans
    assert [span.name.removesuffix(" payments") for span in spans] == [
        "enqueue",
        "process",
        "retry",
        "process",
        "bury",
        "repair",
        "replay",
        "process",
    ]
    assert {ids(span)[0] for span in (first, attempt, retry, second, bury, third)} == {ids(first)[0]}
    parents = {span.name: span.parent.span_id for span in (retry, bury, replay) if span.parent}
    assert parents == {
        "retry payments": ids(attempt)[1],
        "bury payments": ids(second)[1],
        "replay payments": ids(repair)[1],
    }
    assert [(link.context.trace_id, link.context.span_id) for link in replay.links] == [ids(first)]


def test_the_line_about_a_failed_attempt_has_its_process_span(
    app: Glassq, exporter: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """From the log to the trace: each line leads to the span of the very attempt it is about, though that has
    ended when the line is written."""

    @app.fifo("payments", max_retries=1, retry_wait=0.01, name="charge")
    def charge() -> None:
        raise ValueError("declined")

    job = charge().id
    drain(app)
    lines = [vars(record) for record in caplog.records if record.name == "glassq.jobs"]
    assert [(line["levelname"], line["glassq_attempt"]) for line in lines] == [("WARNING", 1), ("ERROR", 2)]
    assert {line["glassq_job_id"] for line in lines} == {job}
    assert all(line["exc_text"].endswith("ValueError: declined") for line in lines)
    attempts = [ids(span) for span in told(exporter) if span.name == "process payments"]
    assert [(int(line["trace_id"], 16), int(line["span_id"], 16)) for line in lines] == attempts


def test_a_delayed_call_and_a_batch_have_their_own_shapes(
    app: Glassq, exporter: InMemorySpanExporter
) -> None:
    """One span that says it was scheduled; one for each job of a batch, and one that sends them."""

    @app.fifo("payments", name="charge")
    def charge(order: int) -> None:
        pass

    charge.options(delay=0.01)(1)
    app.enqueue_many([charge.s(2), charge.s(3)])
    names = [span.name for span in told(exporter)]
    assert names == ["schedule payments", "create payments", "create payments", "enqueue payments"]


def test_drivers_have_nothing_to_instrument(
    app: Glassq, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What instrumentation wraps is never called by the store, so no poll makes a span; and what a task
    calls is instrumented as everywhere else."""
    seen: list[str] = []

    def wrapped(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return call(*args, **kwargs)

        return wrapper

    for owner, name in (
        (redis.Redis, "execute_command"),
        (redis.client.Pipeline, "execute"),
        (redis.client.Pipeline, "immediate_execute_command"),
        (sqlite3, "connect"),
        (sqlite3.dbapi2, "connect"),
    ):
        monkeypatch.setattr(owner, name, wrapped(name, getattr(owner, name)))
    suppressed: list[object] = []

    @app.fifo("payments", name="charge")
    def charge() -> None:
        suppressed.append(context.get_value(_SUPPRESS_INSTRUMENTATION_KEY))
        sqlite3.connect(":memory:").close()

    charge()
    drain(app)
    app.queue("payments").stats()
    assert seen == ["connect"]
    assert suppressed == [None]
    assert [span.name for span in told(exporter)] == ["enqueue payments", "process payments"]


def test_a_call_from_a_coroutine_or_its_thread_is_in_its_trace(
    app: Glassq, exporter: InMemorySpanExporter
) -> None:
    """The context of asyncio's tasks, and of threads they hand work to, is the one that counts; what of the
    baggage is allowed arrives with it."""
    tenants: list[object] = []

    @app.fifo("payments", name="charge")
    def charge(order: str) -> None:
        tenants.append(baggage.get_all())

    async def handle(order: str) -> tuple[int, int]:
        context.attach(baggage.set_baggage("tenant", order, baggage.set_baggage("user", "alice")))
        with trace.get_tracer("web").start_as_current_span(order) as request:
            if order == "thread":
                await asyncio.to_thread(charge, order)
            else:
                charge(order)
            found = request.get_span_context()
            return found.trace_id, found.span_id

    async def serve() -> list[tuple[int, int]]:
        return await asyncio.gather(*(asyncio.create_task(handle(each)) for each in ("loop", "thread")))

    requests = asyncio.run(serve())
    drain(app)
    enqueued = [span for span in told(exporter) if span.name == "enqueue payments"]
    assert {(span.parent.trace_id, span.parent.span_id) for span in enqueued if span.parent} == set(requests)
    assert sorted(map(str, tenants)) == ["{'tenant': 'loop'}", "{'tenant': 'thread'}"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_traces_like_its_parent(app: Glassq, exporter: InMemorySpanExporter) -> None:
    """Its calls are in the trace it was forked in, and its worker makes the spans of what it runs, once; they
    say which process made them."""

    @app.fifo("payments", max_retries=0, name="charge")
    def charge() -> None:
        raise ValueError("declined")

    charge()
    drain(app)  # the parent follows settlements already
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        found: list[object] = ["the child failed"]
        try:
            exporter.clear()
            charge()
            drained = app.worker(concurrency=1).run_until_idle(timeout=20)
            clients = {str((span.attributes or {})["messaging.client.id"]) for span in told(exporter)}
            found = [drained, [span.name for span in told(exporter)], *clients]
        except BaseException as error:  # a child must never go on as a second pytest
            found = [repr(error)]
        finally:
            os.write(writing, json.dumps(found).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    assert status == 0
    names = ["enqueue payments", "process payments", "bury payments"]
    assert json.loads(said) == [True, names, f"{socket.gethostname()}-{child}"]


def test_a_workflow_is_one_conversation_and_its_steps_cause_each_other(
    app: Glassq, exporter: InMemorySpanExporter
) -> None:
    """Every span of its jobs names the workflow; a step's span is a child of that of the first step before
    it, and linked to those of all of them and to where it was created. Whoever submits it without a span has
    all of its jobs in one trace nevertheless: that of `submit`."""

    @app.fifo("left")
    def step(name: str) -> None:
        """Succeeds."""

    @app.fifo("right")
    def other(name: str) -> None:
        """In another queue."""

    first, second, third = step.s("a"), other.s("b"), step.s("c")
    workflow = app.submit((first | second) >> third, name="nightly")
    with app.worker():
        assert workflow.wait(20) == "succeeded"
    spans = told(exporter)
    (submit,) = [span for span in spans if span.name == "submit nightly"]
    assert (submit.parent, submit.kind) == (None, SpanKind.PRODUCER)
    assert (submit.attributes or {})["messaging.batch.message_count"] == 3
    assert {ids(span)[0] for span in spans} == {ids(submit)[0]}
    made = [span for span in spans if span.name.startswith(("create", "enqueue"))]
    assert {span.parent and span.parent.span_id for span in made} == {ids(submit)[1]}
    of_jobs = [span for span in spans if span.name.split()[0] in ("create", "process")]
    conversations = {
        (span.attributes or {}).get("messaging.message.conversation_id") for span in [submit, *of_jobs]
    }
    assert conversations == {workflow.id}
    by_job = {
        (span.attributes or {})["messaging.message.id"]: span
        for span in spans
        if span.name.startswith("process")
    }
    a, b, c = (by_job[step.job] for step in workflow.graph().steps)
    assert c.parent is not None
    assert (c.parent.trace_id, c.parent.span_id) == ids(a)
    links = [
        ((link.attributes or {})["glassq.link"], (link.context.trace_id, link.context.span_id))
        for link in c.links
    ]
    assert [span for kind, span in links if kind == "upstream"] == [ids(a), ids(b)]
    assert [kind for kind, _ in links].count("creation") == 1
