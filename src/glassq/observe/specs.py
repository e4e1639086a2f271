"""What there is to say about a metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram", "info"]
Source = Literal["producer", "worker", "process", "store"]


class MetricSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. `values` names the closed sets among its labels; `source` says who knows it: the
    process that produces or works (sum over instances) or the store (global: max over instances).
    `note` tells its reader what the help has no room for. A `planned` one has no series yet: its figure
    comes with a later feature, and 0 would be a claim."""

    name: str
    kind: Kind
    help: str
    source: Source
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    values: Mapping[str, tuple[str, ...]] = {}
    note: str = ""
    planned: bool = False

    @property
    def unit(self) -> str:
        """`seconds`, `bytes` or nothing, as OpenMetrics writes it."""
        last = self.name.removesuffix("_total").rpartition("_")[2]
        return last if last in ("seconds", "bytes") else ""


def metric(
    name: str,
    source: Source,
    help_: str,
    *labels: str,
    buckets: tuple[float, ...] = (),
    note: str = "",
    planned: bool = False,
    **values: tuple[str, ...],
) -> MetricSpec:
    """A metric whose name says its kind; labels with a closed set come last, with their values."""
    kind: Kind = "histogram" if buckets else "gauge"
    if name.endswith("_total"):
        kind = "counter"
    elif name.endswith("_info"):
        kind = "info"
    return MetricSpec(
        name=name,
        kind=kind,
        help=help_,
        source=source,
        labels=(*labels, *values),
        buckets=buckets,
        values=values,
        note=note,
        planned=planned,
    )
