"""A traced job leaves the same spans whether it was run as a plain one or in all the steps of any job."""

from __future__ import annotations

from contextvars import ContextVar
from itertools import pairwise, repeat
from random import Random
from typing import Any, NamedTuple

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, format_span_id
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from glassq import Glassq, TraceOptions, current_job
from glassq.worker.plain import PlainAttempts

JOBS = 120
KINDS = ("quick",) * 8 + ("queries", "fails_once", "fails")
KEYS = ("a", "b", None)
LEFT: ContextVar[str] = ContextVar("left", default="nothing")

DIFFERS = (
    *("messaging.message.id", "glassq.job.sequence"),
    *("glassq.job.time_in_queue_s", "glassq.lease.token"),
)
"""Attributes whose values differ from run to run."""

Identity = tuple[Any, ...]


class Play(NamedTuple):
    """What came of a program: its spans, without what differs from run to run, and what its jobs saw."""

    spans: list[Identity]
    seen: list[Identity]
    contexts: dict[str, float | None]


@pytest.mark.parametrize("seed", range(2))
def test_both_ways_leave_the_same_spans(
    store_url: str, exporter: InMemorySpanExporter, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names, kinds, parents, links, attributes, status and events; and the jobs see the same."""
    plain: list[bool] = []
    run = PlainAttempts.run

    def noting(self: PlainAttempts, *about: Any) -> Any:
        attempt = run(self, *about)
        plain.append(bool(attempt.headers))
        return attempt

    monkeypatch.setattr(PlainAttempts, "run", noting)
    plainly = play(store_url, exporter, Random(seed))
    assert sum(plain) > JOBS / 4
    began = len(plain)
    monkeypatch.setattr(PlainAttempts, "open", lambda *_: None)
    monkeypatch.setattr(PlainAttempts, "calls", lambda *_: repeat(None))
    monkeypatch.setattr(PlainAttempts, "says_no_more", lambda *_: False)
    generally = play(store_url, exporter, Random(seed))
    assert plainly == generally
    assert len(plain) == began


def play(url: str, exporter: InMemorySpanExporter, chance: Random) -> Play:
    """Run a program that chance makes, to its end."""
    exporter.clear()
    seen: list[Identity] = []
    with Glassq(url, registry=CollectorRegistry(), tracing=TraceOptions(baggage=("tenant",))) as app:
        app.queue("q", turn=JOBS)
        numbers = enqueue(app, chance, seen)
        assert app.worker(concurrency=1).run_until_idle(timeout=30)
        spans = exporter.get_finished_spans()
        check_exemplars(app, spans)
        check_lanes(spans)
        results = ("ok", "missing", "invalid")
        value = app.metrics_registry.get_sample_value
        contexts = {
            each: value("glassq_trace_contexts_total", {"queue": "q", "result": each}) for each in results
        }
        app.queue("q").purge_dead()
    known = {span.context.span_id: (span.name, *number_of(span, numbers)) for span in spans if span.context}
    told = sorted((told_of(span, known, numbers) for span in spans), key=repr)
    return Play(told, sorted(seen, key=repr), contexts)


def enqueue(app: Glassq, chance: Random, seen: list[Identity]) -> dict[str, int]:
    """Calls of tasks of all kinds, one by one and in batches, some of them in no trace; their numbers."""
    tasks = declare(app, seen)
    numbers: dict[str, int] = {}
    for number in range(0, JOBS, 2):
        calls = [
            tasks[chance.choice(KINDS)].options(key=chance.choice(KEYS)).s(each)
            for each in (number, number + 1)
        ]
        token = context.attach(baggage.set_baggage("tenant", str(number), baggage.set_baggage("user", "al")))
        for at, receipt in enumerate(app.enqueue_many(calls)):
            numbers[receipt.id] = number + at
        context.detach(token)
    return numbers


def declare(app: Glassq, seen: list[Identity]) -> dict[str, Any]:
    """One task of each kind. Each notes what is around it, and leaves something behind."""

    def look(number: int) -> None:
        span, job = trace.get_current_span(), current_job()
        assert isinstance(span, ReadableSpan)
        seen.append((number, job.attempt, span.name, LEFT.get(), repr(baggage.get_all())))
        LEFT.set(str(number))
        context.attach(baggage.set_baggage("left", number))

    @app.fifo("q", name="quick")
    def quick(number: int) -> None:
        look(number)

    @app.fifo("q", name="queries")
    def queries(number: int) -> None:
        look(number)
        with trace.get_tracer("db").start_as_current_span("INSERT") as span:
            span.set_attribute("number", number)
        trace.get_current_span().add_event("inserted")

    @app.fifo("q", name="fails_once", retry_wait=0.001)
    def fails_once(number: int) -> None:
        look(number)
        if current_job().attempt == 1:
            raise ValueError(number)

    @app.fifo("q", name="fails", max_retries=1, retry_wait=0.001)
    def fails(number: int) -> None:
        look(number)
        raise ValueError(number)

    return {"quick": quick, "queries": queries, "fails_once": fails_once, "fails": fails}


def number_of(span: ReadableSpan, numbers: dict[str, int]) -> Identity:
    """Which job and attempt of it a span is about, if it is about one."""
    about = span.attributes or {}
    job = about.get("messaging.message.id")
    number = about.get("number") if job is None else numbers[str(job)]
    return number, about.get("glassq.job.attempt")


def told_of(span: ReadableSpan, known: dict[int, Identity], numbers: dict[str, int]) -> Identity:
    """What a span says, but for its ids, times and lease, and the places in a queue that was used before."""
    differs = (
        "messaging.message.id",
        "glassq.job.time_in_queue_s",
        "glassq.lease.token",
        "glassq.job.sequence",
    )
    about = [(key, None if key in differs else value) for key, value in (span.attributes or {}).items()]

    def named(other: SpanContext | None) -> Identity | None:
        return None if other is None else known[other.span_id]

    return (
        *(span.name, number_of(span, numbers), span.kind, named(span.parent), about),
        [(kind_of(link), named(link.context)) for link in span.links if kind_of(link) != "predecessor"],
        [(event.name, dict(event.attributes or {}).get("exception.type")) for event in span.events],
        (span.status.status_code, span.status.description),
    )


def kind_of(link: Link) -> object:
    """What it is a link to."""
    return (link.attributes or {}).get("glassq.link")


def check_lanes(spans: tuple[ReadableSpan, ...]) -> None:
    """Each attempt is linked to the one that ran before it in its lane, under the same lease or of the same
    job. Where a lease ends depends on time."""
    lanes: dict[Any, list[tuple[Any, Any, SpanContext | None, dict[Any, SpanContext]]]] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        about = span.attributes or {}
        if span.name == "process q":
            lane = lanes.setdefault(about.get("messaging.destination.partition.id"), [])
            links = {kind_of(link): link.context for link in span.links}
            lane.append((about["messaging.message.id"], about["glassq.lease.token"], span.context, links))
    for lane in lanes.values():
        for (job, token, context_before, _), (then, its, _, links) in pairwise(lane):
            kind = "previous_attempt" if job == then else "predecessor" if token == its else "none"
            assert {kind: links.get(kind)} == {kind: context_before if kind != "none" else None}
            assert len(links) == (1 if kind == "none" else 2)


def check_exemplars(app: Glassq, spans: tuple[ReadableSpan, ...]) -> None:
    """What is measured when a job has ended points to the very attempt, though it was told of with others."""
    attempts = {format_span_id(span.context.span_id) for span in spans if span.context and span.parent}
    attempts &= {format_span_id(s.context.span_id) for s in spans if s.context and s.name == "process q"}
    text = generate_latest(app.metrics_registry).decode()  # type: ignore[no-untyped-call]
    found = [
        sample.exemplar.labels["span_id"]
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar and family.name != "glassq_job_time_in_queue_seconds"
    ]
    assert len(found) > 3
    assert attempts.issuperset(found)
