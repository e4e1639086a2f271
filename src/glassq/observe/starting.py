"""Who starts spans, and what is said of them: what our spans need of a tracing library, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind

from glassq.observe.spancontexts import below

Attributes = dict[str, str | int | float]


class Starter(Protocol):
    """What is needed of a tracer."""

    def start_span(
        self,
        name: str,
        *,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        start_time: int | None = None,
    ) -> Span:
        """A span that has started, below the one in the context; see `opentelemetry.trace.Tracer`."""
        ...

    def start_below(
        self,
        parent: SpanContext | None,
        name: str,
        kind: SpanKind,
        links: Sequence[Link] = (),
        start_time: int | None = None,
    ) -> Span:
        """A span that has started below this one, or below none, whatever the current one is."""
        ...


class OwnWay:
    """A tracer of any library, which starts its spans itself."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self.start_span = tracer.start_span
        """See `Starter.start_span`."""

    def start_below(
        self,
        parent: SpanContext | None,
        name: str,
        kind: SpanKind,
        links: Sequence[Link] = (),
        start_time: int | None = None,
    ) -> Span:
        """See `Starter.start_below`."""
        context = below(parent)
        return self.start_span(name, context=context, kind=kind, links=links, start_time=start_time)


class Describable:
    """A span that takes what is said here as it is: attributes that nothing has to be done to."""

    def describe(self, attributes: Attributes) -> None:
        """Say this of it, and nothing else."""
        raise NotImplementedError
