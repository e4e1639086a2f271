from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from glassq.observe.spanqueue import SpanQueue


class Collector(SpanExporter):
    """Takes spans once it is let; `answer` is what becomes of them."""

    def __init__(self, answer: SpanExportResult | Exception = SpanExportResult.SUCCESS) -> None:
        self.free = threading.Event()
        self.answer = answer
        self.got: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Waits to be let."""
        self.free.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is SpanExportResult.SUCCESS:
            self.got += [span.name for span in spans]
        return self.answer


@contextmanager
def spans_to(collector: Collector, dropped: Counter[str], **options: object) -> Iterator[TracerProvider]:
    """A provider whose spans go there, four waiting at most."""
    provider = TracerProvider(shutdown_on_exit=False, **options)  # type: ignore[arg-type]
    provider.add_span_processor(
        SpanQueue(collector, lambda reason, count: dropped.update({reason: count}), waiting=4)
    )
    try:
        yield provider
    finally:
        collector.free.set()
        provider.shutdown()


def end(provider: TracerProvider, count: int) -> None:
    """Begin and end so many spans, named by their number."""
    for number in range(count):
        provider.get_tracer("test").start_span(str(number)).end()


@pytest.fixture
def dropped() -> Counter[str]:
    """How many were dropped, by why."""
    return Counter()


def test_what_there_is_no_room_for_is_counted(dropped: Counter[str]) -> None:
    """Every span either arrives or is counted, however slow the collector is."""
    collector = Collector()
    with spans_to(collector, dropped) as provider:
        end(provider, 100)
        assert dropped["queue_full"] >= 90
    assert len(collector.got) + dropped["queue_full"] == 100
    assert dropped["export_failed"] == 0


@pytest.mark.parametrize("answer", [SpanExportResult.FAILURE, ConnectionError("away")], ids=["no", "raises"])
def test_a_batch_the_collector_does_not_take_is_counted(
    dropped: Counter[str], answer: SpanExportResult | Exception
) -> None:
    """Whether it says so or breaks; the spans behind it have room again."""
    collector = Collector(answer)
    collector.free.set()
    with spans_to(collector, dropped) as provider:
        for _ in range(3):
            end(provider, 4)
            provider.force_flush()
    assert dropped == {"export_failed": 12}


def test_what_is_not_sampled_is_not_missed(dropped: Counter[str]) -> None:
    """Nobody meant to export it."""
    with spans_to(Collector(), dropped, sampler=ALWAYS_OFF) as provider:
        end(provider, 50)
    assert not dropped
