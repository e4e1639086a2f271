"""What there is to see of one job: facts, nobody's judgement."""

from __future__ import annotations

from typing import Any

import msgspec

TASK = "glassq.selftest"
"""The name of the task, and of the logger it writes to."""


class SpanSeen(msgspec.Struct, frozen=True):
    """A span as it was exported; `parent` is a span's id, `links` are ids of traces and spans."""

    name: str
    trace: str
    span: str
    parent: str | None
    links: tuple[tuple[str, str], ...]


class Seen(msgspec.Struct, kw_only=True):
    """What there was to see of the job, before anybody judges it."""

    store: str
    queue: str
    label: str
    """The value of the metrics' label `queue`."""
    trace: str
    """Of the span the job was enqueued under."""
    recorded: bool
    """Whether that span was."""
    job: str
    ran_after: float | None
    """Seconds from the call to the execution; None when it did not run."""
    patience: float
    """Seconds it was given."""
    settled: bool
    status: int
    content_type: str
    exposition: str
    spans: list[SpanSeen]
    blind: str | None
    """The kind of a tracer provider whose spans nobody can look at."""
    line: dict[str, Any] | None
    """What the job logged."""
    exported: bool | None
    """Whether the endpoint of the environment took the spans; None when there is none."""
    removed: bool
