from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from random import Random
from threading import Event, Lock, Thread
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    ReadableSpan,
    Span,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    Tracer,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from glassq.observe.quickspans import MOST_ATTRIBUTES, QuickSpan, QuickTracer, _say_once, quick
from glassq.observe.spancontexts import below
from glassq.observe.spans import CREATION, SpanSource
from glassq.observe.starting import OwnWay, Starter

SAID: dict[str, str | int | float] = {"messaging.system": "glassq", "glassq.job.attempt": 1, "seconds": 0.5}


class Ids(IdGenerator):
    """The same ones for every provider."""

    def __init__(self, *, random: bool) -> None:
        self.random = random
        self.chance = Random(7)

    def generate_span_id(self) -> int:
        """The next one."""
        return self.chance.getrandbits(64) | 1

    def generate_trace_id(self) -> int:
        """The next one."""
        return self.chance.getrandbits(128) | 1

    def is_trace_id_random(self) -> bool:
        """As it was made."""
        return self.random


class Noting(Sampler):
    """Records and does not sample; adds an attribute and a tracestate; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def should_sample(self, *about: Any, **named: Any) -> SamplingResult:
        """Notes all but the context, which is new each time."""
        self.asked.append((about[1:5], [each.context for each in about[5]], named))
        state = TraceState([("vendor", "x")])
        return SamplingResult(Decision.RECORD_ONLY, {"sampler": "noting", "messaging.system": "?"}, state)

    def get_description(self) -> str:
        """Its name."""
        return "Noting"


class WatchEnds(SpanProcessor):
    """Notes what it is told of spans that have ended."""

    def __init__(self, *, writes: bool = False) -> None:
        self.writes = writes
        self.told: list[Any] = []

    def on_end(self, span: ReadableSpan) -> None:
        """All that an exporter could read of it."""
        self.told.append(seen(span))


class Watch(WatchEnds):
    """Notes all that it is told of spans, and says something of each that starts when it is to."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Sees what the span is made of."""
        above = trace.get_current_span(parent_context).get_span_context()
        self.told.append(("start", span.name, span.get_span_context(), above, span.is_recording()))
        if self.writes:
            span.set_attribute("watched", value=True)

    def _on_ending(self, span: Span) -> None:
        self.told.append(("ending", span.is_recording(), span.status.status_code))


def seen(span: ReadableSpan) -> list[Any]:
    """All that an exporter could read of a span."""
    assert type(span) is ReadableSpan
    return [
        *(span.name, span.context, span.parent, span.kind, span.start_time, span.end_time),
        *(span.status.status_code, span.status.description, span.resource, span.instrumentation_scope),
        (dict(span.attributes or {}), span.dropped_attributes, span.dropped_events, span.dropped_links),
        [(each.context, dict(each.attributes or {}), each.dropped_attributes) for each in span.links],
        [(event.name, dict(event.attributes or {}), event.timestamp) for event in span.events],
        {key: value for key, value in vars(span).items() if key == "_instrumentation_info"},
    ]


def provided(
    sampler: Sampler, *, random: bool = True, writes: bool = False, kind: type[WatchEnds] = Watch
) -> tuple[Tracer, WatchEnds]:
    """A provider's tracer, and who is told of its spans."""
    provider = TracerProvider(sampler=sampler, id_generator=Ids(random=random), shutdown_on_exit=False)
    watch = kind(writes=writes)
    provider.add_span_processor(watch)
    tracer = provider.get_tracer("glassq", "1", schema_url="https://example/1")
    assert isinstance(tracer, Tracer)
    return tracer, watch


def context(number: int, *, remote: bool = True, flags: int = 1) -> SpanContext:
    """Of some span."""
    return SpanContext(
        number, number, is_remote=remote, trace_flags=TraceFlags(flags), trace_state=TraceState([("a", "b")])
    )


Deed = Callable[[trace.Span], object]
DEEDS: Sequence[Deed] = (
    lambda span: span.set_attribute("own", "x"),
    lambda span: span.set_attribute("messaging.system", ["a", 1, None]),
    lambda span: span.set_attributes({"": 1, "odd": object(), "n": 2.5}),  # type: ignore[dict-item]
    lambda span: span.add_event("inserted", {"rows": 3}, timestamp=5),
    lambda span: span.record_exception(KeyError("k"), timestamp=6),
    lambda span: span.add_link(context(9), {"why": "own"}),
    lambda span: span.set_status(Status(StatusCode.ERROR, "bad")),
    lambda span: span.set_status(StatusCode.OK),
    lambda span: span.update_name("renamed"),
    lambda span: span.end(end_time=11),
    lambda span: isinstance(span, ReadableSpan) and span.attributes,
    lambda span: isinstance(span, ReadableSpan) and (span.events, span.links),
    lambda span: isinstance(span, ReadableSpan) and span.to_json(),
)
"""What a job's code may do to the span it runs in."""


def tell(starter: Starter, watch: WatchEnds, seed: int) -> list[Any]:
    """Make spans that chance describes; all that was told of them, and what they said of themselves."""
    chance = Random(seed)
    said: list[Any] = []
    for number in range(1, 60):
        parents = [None, context(number), context(number, remote=False, flags=chance.randrange(4))]
        links = [Link(context(number), CREATION), Link(context(number + 1))][: chance.randrange(3)]
        parent, name, kind = chance.choice(parents), f"process {number}", chance.choice(list(SpanKind))
        if chance.randrange(2):
            span = starter.start_below(parent, name, kind, links, start_time=number)
        else:
            span = starter.start_span(name, context=below(parent), kind=kind, links=links, start_time=number)
        said.append((span.get_span_context(), span.is_recording()))
        before = chance.randrange(2)
        for deed in chance.choices(DEEDS, k=chance.randrange(3)) if before else ():
            deed(span)
        if span.is_recording():
            SpanSource(address="sqlite:///q", client_id=lambda: "me").describe(
                span, "process", "process", "q", SAID
            )
        for deed in chance.choices(DEEDS, k=chance.choice((0, 0, 1, 3))):
            deed(span)
        span.end(end_time=number + 10)
        said.append((span.is_recording(), isinstance(span, ReadableSpan) and dict(span.attributes or {})))
    return [*watch.told, *said]


@pytest.mark.parametrize("sampler", [ALWAYS_ON, ALWAYS_OFF, DEFAULT_ON, TraceIdRatioBased(0.5)])
@pytest.mark.parametrize(
    ("random", "writes", "kind"),
    [(True, False, Watch), (False, True, Watch), (True, False, WatchEnds), (False, False, WatchEnds)],
)
def test_a_quick_span_is_what_the_sdks_own_would_be(
    sampler: Sampler, random: bool, writes: bool, kind: type[WatchEnds]
) -> None:
    """Whatever is done to it by whomever: its processors are told the same, at the same time."""
    for seed in range(4):
        sdk, its_watch = provided(sampler, random=random, writes=writes, kind=kind)
        tracer, watch = provided(sampler, random=random, writes=writes, kind=kind)
        starter = quick(tracer)
        assert isinstance(starter, QuickTracer)
        assert tell(starter, watch, seed) == tell(OwnWay(sdk), its_watch, seed)


def test_a_sampler_is_asked_the_same_and_heard() -> None:
    """Once for each span; its attributes, its tracestate and its decision hold as in any span."""
    one, other = Noting(), Noting()
    (sdk, its_watch), (tracer, watch) = provided(one), provided(other)
    assert tell(quick(tracer), watch, 1) == tell(OwnWay(sdk), its_watch, 1)
    assert one.asked == other.asked
    assert len(one.asked) == 59


def test_the_processors_are_told_in_the_middle_of_it() -> None:
    """Not later, with others: whoever watches starts sees what runs while it runs."""
    tracer, watch = provided(ALWAYS_ON)
    span = quick(tracer).start_span("process q")
    assert isinstance(span, QuickSpan)
    assert [told[0] for told in watch.told] == ["start"]
    span.end()
    assert len(watch.told) == 3


def test_a_processor_that_is_added_is_told_from_then_on() -> None:
    """Also of the end of a span that began before."""
    tracer, first = provided(DEFAULT_ON, kind=WatchEnds)
    starter, second = quick(tracer), Watch()
    starter.start_below(context(1), "process q", SpanKind.CONSUMER).end()
    begun = starter.start_below(context(1), "process q", SpanKind.CONSUMER)
    tracer.span_processor.add_span_processor(second)
    begun.end()
    assert (len(first.told), [told[0] for told in second.told]) == (2, ["ending", "process q"])
    starter.start_below(context(1), "process r", SpanKind.CONSUMER).end()
    assert [told[0] for told in second.told[2:]] == ["start", "ending", "process r"]


class Changed(BatchSpanProcessor):
    """Batches whose ends somebody wants to see."""

    def on_end(self, span: ReadableSpan) -> None:
        """Renames it on its way."""
        span._name = "seen"
        super().on_end(span)


@pytest.mark.parametrize("kind", [BatchSpanProcessor, Changed, SimpleSpanProcessor])
@pytest.mark.parametrize("several", [SynchronousMultiSpanProcessor, ConcurrentMultiSpanProcessor])
@pytest.mark.parametrize(("sampler", "exported"), [(DEFAULT_ON, 1), (Noting(), 0)])
def test_batches_get_the_spans_that_are_sampled(
    kind: type[BatchSpanProcessor], several: type[Any], sampler: Sampler, exported: int
) -> None:
    """The SDK's own and what was made of them, whoever tells them."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler, active_span_processor=several(), shutdown_on_exit=False)
    provider.add_span_processor(kind(kept))
    starter = quick(provider.get_tracer("glassq"))
    assert isinstance(starter, QuickTracer)
    starter.start_below(context(1), "process q", SpanKind.CONSUMER).end()
    provider.shutdown()
    assert [span.name for span in kept.get_finished_spans()] == [
        "seen" if kind is Changed else "process q"
    ] * exported


def test_who_put_something_of_its_own_on_a_processor_is_heard() -> None:
    """As instrumentation does that patches what it finds."""
    heard: list[Any] = []
    tracer, watch = provided(DEFAULT_ON, kind=WatchEnds)
    batches = BatchSpanProcessor(InMemorySpanExporter())
    vars(batches).update(on_end=heard.append, on_start=lambda span, parent_context: heard.append(span.name))
    tracer.span_processor.add_span_processor(batches)
    quick(tracer).start_below(context(1), "process q", SpanKind.CONSUMER).end()
    assert (heard[0], seen(heard[1])) == ("process q", watch.told[0])
    tracer.span_processor.shutdown()


def test_what_somebody_keeps_on_a_span_is_not_exported() -> None:
    """Exporters get what the SDK would have given them."""
    tracer, watch = provided(DEFAULT_ON, kind=WatchEnds)
    for keeps in (False, True):
        span = quick(tracer).start_below(context(1), "process q", SpanKind.CONSUMER)
        if keeps:
            vars(span)["_own"] = Lock()
        span.end()
    assert watch.told[0][6:] == watch.told[1][6:]


def test_a_tracer_that_starts_its_spans_itself_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """In the log, with the reason."""
    _say_once.cache_clear()
    caplog.set_level("INFO")
    for _ in range(2):
        tracer, _ = provided(ALWAYS_ON)
        vars(tracer)["_newer"] = True
        quick(tracer)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "this version of the OpenTelemetry SDK is not known"
    ]


def test_what_an_exporter_gets_can_be_copied() -> None:
    """As the SDK's can, for exporters that keep it."""
    tracer, _ = provided(ALWAYS_ON)
    kept = InMemorySpanExporter()
    tracer.span_processor.add_span_processor(SimpleSpanProcessor(kept))
    span = quick(tracer).start_span("process q", links=[Link(context(1), CREATION)])
    assert isinstance(span, QuickSpan)
    span.describe(dict(SAID))
    span.end()
    (one,) = kept.get_finished_spans()
    assert seen(deepcopy(one))[10:12] == seen(one)[10:12]


@pytest.mark.parametrize("asked_first", [True, False])
def test_what_has_ended_stays_as_it_is(asked_first: bool) -> None:
    """Also for who writes past the span."""
    tracer, _ = provided(ALWAYS_ON)
    span = quick(tracer).start_span("process q")
    assert isinstance(span, QuickSpan)
    if asked_first:
        span.set_attribute("own", "x")
    span.end()
    assert "own" in (span.attributes or {}) or not asked_first
    with pytest.raises(TypeError, match="immutable"):
        vars(span)["_attributes"]["late"] = 1


@pytest.mark.parametrize(
    "limits",
    [
        {"max_span_attributes": MOST_ATTRIBUTES - 1},
        {"max_span_attribute_length": 100},
        {"max_attribute_length": 100},
        {"max_link_attributes": 0},
    ],
)
def test_limits_that_could_be_met_are_the_sdks_business(limits: Mapping[str, int]) -> None:
    """It cuts, drops and counts as the provider was told."""
    provider = TracerProvider(span_limits=SpanLimits(**limits), shutdown_on_exit=False)
    tracer = provider.get_tracer("glassq")
    assert isinstance(quick(tracer), OwnWay)


def test_links_past_the_limit_are_dropped_and_counted() -> None:
    """By the SDK, of a span that has more than it keeps."""
    provider = TracerProvider(span_limits=SpanLimits(max_links=1), shutdown_on_exit=False)
    starter = quick(provider.get_tracer("glassq"))
    assert isinstance(starter, QuickTracer)
    span = starter.start_span("replay q", links=[Link(context(1)), Link(context(2))])
    assert isinstance(span, Span)
    assert (span.dropped_links, [each.context for each in span.links]) == (1, [context(2)])


def test_a_tracer_that_is_not_known_starts_its_spans_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of another kind, one that has what the known ones have not, and one whose spans have it."""
    none = trace.NoOpTracer()
    assert isinstance(quick(none), OwnWay)
    tracer, _ = provided(ALWAYS_ON)
    tracer.__dict__["_newer"] = True
    assert isinstance(quick(tracer), OwnWay)
    init = Span.__init__

    def newer(self: Span, *about: Any, **named: Any) -> None:
        init(self, *about, **named)
        self.__dict__["_newer"] = True

    tracer, _ = provided(ALWAYS_ON)
    monkeypatch.setattr(Span, "__init__", newer)
    assert isinstance(quick(tracer), OwnWay)


def test_a_tracer_that_is_switched_off_makes_nothing() -> None:
    """As its provider may say at any time."""
    tracer, watch = provided(ALWAYS_ON)
    starter = quick(tracer)
    tracer._tracer_config.is_enabled = False
    assert not starter.start_span("process q").is_recording()
    assert not watch.told


def test_threads_may_write_to_a_span_while_it_is_described() -> None:
    """What each of them says is there, whoever was first."""
    tracer, watch = provided(ALWAYS_ON)
    starter = quick(tracer)
    for number in range(30):
        span = starter.start_span("process q")
        assert isinstance(span, QuickSpan)
        ready = Event()

        def write(span: Span = span, ready: Event = ready, number: int = number) -> None:
            ready.wait()
            span.set_attribute("number", number)

        threads = [Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.set()
        span.describe(dict(SAID))
        for thread in threads:
            thread.join()
        span.end()
        assert watch.told[-1][10][0] == {**SAID, "number": number}
