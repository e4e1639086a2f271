"""Who starts spans, and what is said of them: what our spans need of a tracing library, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind

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


class Describable:
    """A span that takes what is said here as it is: attributes that nothing has to be done to."""

    def describe(self, attributes: Attributes) -> None:
        """Say this of it, and nothing else."""
        raise NotImplementedError
