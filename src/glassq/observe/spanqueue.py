"""Spans on their way to a collector, none of which gets lost uncounted. Needs the OpenTelemetry SDK."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from glassq.forking import begin_in_children

DEFAULT_WAITING = 2048
"""How many spans wait at most unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise; what the SDK takes, too."""

_BATCH = 512
"""What the SDK sends at once; it refuses to wait for less than a batch."""

Dropped = Callable[[str, int], None]
"""Told why spans were dropped, and how many."""


class SpanQueue(BatchSpanProcessor):
    """The SDK's batches, with a bound of our own in front of the SDK's, which drops without a word a program
    could read: here the span that does not fit is dropped, and counted."""

    def __init__(self, exporter: SpanExporter, dropped: Dropped, waiting: int = DEFAULT_WAITING) -> None:
        self._most = waiting
        self._dropped = dropped
        begin_in_children(self)
        super().__init__(
            _Handing(exporter, self._left, dropped),
            max_queue_size=waiting,
            max_export_batch_size=waiting if waiting < _BATCH else None,  # None: what the SDK was told
        )

    def begin(self) -> None:
        """Begin, here and in a forked child, where none waits: the SDK leaves them to the parent."""
        self._lock = threading.Lock()
        self._waiting = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Let a sampled span wait for its batch, if there is room."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            fits = self._waiting < self._most
            self._waiting += fits
        if fits:
            super().on_end(span)
        else:
            self._dropped("queue_full", 1)

    def _left(self, count: int) -> None:
        with self._lock:
            self._waiting -= count


class _Handing(SpanExporter):
    """Hands batches to the exporter, and says which of them it did not get rid of."""

    def __init__(self, exporter: SpanExporter, left: Callable[[int], None], dropped: Dropped) -> None:
        self._exporter = exporter
        self._left = left
        self._dropped = dropped

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch; one that fails is gone."""
        self._left(len(spans))
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is not SpanExportResult.SUCCESS:
                self._dropped("export_failed", len(spans))
        return result

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)
