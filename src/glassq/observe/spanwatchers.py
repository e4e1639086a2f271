"""Who hears of a provider's spans: its processors, without those that are known to make nothing of it. Needs
the OpenTelemetry SDK."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

_SEVERAL_HAS: Final = {"_span_processors", "_lock"}
_SEVERAL: Final = attrgetter("_span_processors")
_EXPORTING: Final = (SpanProcessor, SimpleSpanProcessor, BatchSpanProcessor)
"""What processors of these kinds do when a span starts, or is about to end, is nothing."""


class SpanWatchers:
    """The processors of one provider, which may get more of them at any time: they are to be looked at anew
    where `processors()` are not the `known` ones."""

    starts: Sequence[Callable[..., None]]
    endings: Sequence[Callable[[Any], None]]
    ends: Sequence[Callable[[ReadableSpan], None]]
    sampled_ends: Sequence[Callable[[ReadableSpan], None]]
    """The same, for spans that are sampled."""

    def __init__(self, processor: SpanProcessor) -> None:
        is_known = type(processor) is SynchronousMultiSpanProcessor and vars(processor).keys() == _SEVERAL_HAS
        several = partial(_SEVERAL, processor) if is_known else partial(tuple, (processor,))
        self.processors: Callable[[], Sequence[SpanProcessor]] = several
        """All of them, as they are now: always the same object while there are no others."""
        self.look()

    def look(self) -> None:
        """Learn whom to tell."""
        found = self.processors()
        self.starts = [each.on_start for each in found if not _is_of(_EXPORTING, each, "on_start")]
        self.endings = [each._on_ending for each in found if not _is_of(_EXPORTING, each, "_on_ending")]  # noqa: SLF001 - as the SDK does
        self.ends = [each.on_end for each in found]
        self.sampled_ends = [_batching(each) or each.on_end for each in found]
        self.known = found  # last, as other threads look whether it is


def _batching(processor: SpanProcessor) -> Callable[[ReadableSpan], None] | None:
    """What the SDK's batches do with the end of a span, once they have seen that it is sampled."""
    if type(processor) is not BatchSpanProcessor or not _is_of((BatchSpanProcessor,), processor, "on_end"):
        return None
    return getattr(getattr(processor, "_batch_processor", None), "emit", None)


def _is_of(kinds: Sequence[type[SpanProcessor]], processor: SpanProcessor, method: str) -> bool:
    """Whether the processor does what these kinds do."""
    return method not in vars(processor) and getattr(type(processor), method) in {
        getattr(kind, method) for kind in kinds
    }
