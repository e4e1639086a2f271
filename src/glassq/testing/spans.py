"""Spans that end during a test. Needs the extra `otel`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from glassq.errors import ConfigurationError


class _Keeper(SpanProcessor):
    """Hands ended spans to the tests that run now. A provider lets go of no processor, so it gets one."""

    def __init__(self) -> None:
        self.lists: tuple[list[ReadableSpan], ...] = ()

    def on_end(self, span: ReadableSpan) -> None:
        """See `SpanProcessor.on_end`."""
        for spans in self.lists:
            spans.append(span)


_KEEPERS: WeakKeyDictionary[TracerProvider, _Keeper] = WeakKeyDictionary()
_LOCK = threading.Lock()


@contextmanager
def kept_spans() -> Iterator[list[ReadableSpan]]:
    """The spans that end while this lasts, of whoever makes them in this process, in the order of their ends.

    The program's provider is used; where it has installed none, the first use installs one for good, as
    OpenTelemetry has it. Raises `ConfigurationError` for a provider that is not the SDK's.
    """
    spans: list[ReadableSpan] = []
    with _LOCK:
        keeper = _keeper_of(_provider())
        keeper.lists = (*keeper.lists, spans)
    try:
        yield spans
    finally:
        with _LOCK:
            keeper.lists = tuple(each for each in keeper.lists if each is not spans)


def _provider() -> TracerProvider:
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    if not isinstance(provider, TracerProvider):
        raise ConfigurationError(
            "spans=True needs a tracer provider of the OpenTelemetry SDK, and this program has installed a "
            f"{type(provider).__qualname__}; install opentelemetry.sdk.trace.TracerProvider, or leave it out"
        )
    return provider


def _keeper_of(provider: TracerProvider) -> _Keeper:
    keeper = _KEEPERS.get(provider)
    if keeper is None:
        keeper = _KEEPERS[provider] = _Keeper()
        provider.add_span_processor(keeper)
    return keeper
