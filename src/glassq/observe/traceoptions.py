"""What an application decides about its traces. Needs no tracing library."""

from __future__ import annotations

import re

import msgspec

from glassq.errors import BadOption
from glassq.model.quantities import check_seconds

_KEY = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
"""What a name may be in a header."""


class TraceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How spans are made: `Glassq(tracing=TraceOptions(...))`. `BadOption` for what cannot be.

    `max_parent_age`: a job that begins within so many seconds of its enqueue continues the trace it was
    enqueued in; a later one begins a trace of its own that links there (0: always).
    `baggage`: the entries of OpenTelemetry's baggage that travel with a job and are there when it runs. None
    unless named: they are written into the store, and callers put much into it.
    `ack_spans`: a span for every settlement, also of jobs that succeeded.
    """

    max_parent_age: float = 3600.0
    baggage: tuple[str, ...] = ()
    ack_spans: bool = False

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        check_seconds("max_parent_age", self.max_parent_age)
        names: object = self.baggage
        if not isinstance(names, tuple) or not all(
            isinstance(key, str) and _KEY.fullmatch(key) for key in names
        ):
            raise BadOption("baggage", f"is a tuple of names as headers have them, got {names!r}")
