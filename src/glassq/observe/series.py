"""The counters and histograms of this process, made to be counted into on every job.

The client library's children check, lock and search so much that a count cost a microsecond and an
observation more. It still shows what is counted; and in its multiprocess mode it counts, as its files hold
the values then.

These are not locked one by one: whoever counts holds the lock of their registry, once for all that one event
counts into.
"""

from __future__ import annotations

import math
import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import add, sub
from typing import Any, Final, Generic, Protocol, TypeVar

import prometheus_client
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from glassq.observe.specs import MetricSpec

_Sample = tuple[str, Mapping[str, str], float, Exemplar | None]
"""Suffix of the name, labels besides the family's, value, exemplar."""


class Counter(Protocol):
    """What is counted by one."""

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Count one, or so many."""


class Histogram(Protocol):
    """What is measured."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count one measurement."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Count measurements, at least one."""


C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)


class Family(Protocol[C_co]):
    """A metric with all its children."""

    def labels(self, *labels: str) -> C_co:
        """The child of these label values, at 0 when it is new."""

    def describe(self) -> Iterable[Metric]:
        """Its name, type and help, without samples."""

    def collect(self) -> Iterable[Metric]:
        """The same with its samples, none of them `_created`."""

    def reset(self) -> None:
        """Let all children be as they were born, for a forked child of this process."""


def counters(spec: MetricSpec) -> Family[Counter]:
    """The family of a counter."""
    if kept_in_files():
        return _Library(
            prometheus_client.Counter(spec.name, spec.help, spec.labels, unit=spec.unit, registry=None),
            lambda child: child,
        )
    return _Own(spec, _Count)


def histograms(spec: MetricSpec) -> Family[Histogram]:
    """The family of a histogram."""
    if kept_in_files():
        return _Library(
            prometheus_client.Histogram(
                spec.name, spec.help, spec.labels, unit=spec.unit, registry=None, buckets=spec.buckets
            ),
            _InFiles,
        )
    return _Own(spec, _Distribution)


def kept_in_files() -> bool:
    """Whether the client library is in its multiprocess mode."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ


class _Library(Generic[C]):
    """A family of the client library."""

    def __init__(self, family: Any, as_ours: Callable[[Any], C]) -> None:
        self._family = family
        self._as_ours = as_ours

    def labels(self, *labels: str) -> C:
        """See `Family.labels`."""
        return self._as_ours(self._family.labels(*labels) if labels else self._family)

    def describe(self) -> Iterable[Metric]:
        """See `Family.describe`."""
        found: Iterable[Metric] = self._family.describe()
        return found

    def collect(self) -> Iterator[Metric]:
        """See `Family.collect`."""
        for metric in self._family.collect():
            metric.samples = [each for each in metric.samples if not each.name.endswith("_created")]
            yield metric

    def reset(self) -> None:
        """See `Family.reset`. Nothing to do: its values belong to a process, and it sees the fork itself."""


class _InFiles:
    """A histogram's child of the client library."""

    __slots__ = ("observe",)

    def __init__(self, child: Any) -> None:
        self.observe: Callable[..., None] = child.observe
        """See `Histogram.observe`."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """See `Histogram.observe_all`."""
        for amount in amounts:
            self.observe(amount)


class _Child(Protocol):
    """One series, or the series of one histogram."""

    def samples(self) -> list[_Sample]:
        """What is shown."""

    def reset(self) -> None:
        """Count from 0. In place: whoever counts is bound to it."""


Own = TypeVar("Own", bound=_Child)


class _Own(Generic[Own]):
    """A family of this module's."""

    def __init__(self, spec: MetricSpec, make: Callable[[MetricSpec], Own]) -> None:
        self._spec = spec
        self._make = make
        self._children: dict[tuple[str, ...], Own] = {}

    def labels(self, *labels: str) -> Own:
        """See `Family.labels`."""
        child = self._children.get(labels)
        return child if child is not None else self._children.setdefault(labels, self._make(self._spec))

    def describe(self) -> list[Metric]:
        """See `Family.describe`."""
        spec = self._spec
        return [Metric(spec.name.removesuffix("_total"), spec.help, spec.kind, spec.unit)]

    def collect(self) -> list[Metric]:
        """See `Family.collect`."""
        (metric,) = self.describe()
        for values, child in self._children.copy().items():
            labels = dict(zip(self._spec.labels, values, strict=True))
            for suffix, more, value, exemplar in child.samples():
                metric.add_sample(metric.name + suffix, {**labels, **more}, value, None, exemplar)
        return [metric]

    def reset(self) -> None:
        """See `Family.reset`."""
        for child in self._children.values():
            child.reset()


_NO_LABELS: Final[Mapping[str, str]] = {}


class _Count:
    """A number that grows."""

    __slots__ = ("_exemplar", "_value")

    def __init__(self, _: MetricSpec) -> None:
        self.reset()

    def reset(self) -> None:
        """See `_Child.reset`."""
        self._value = 0.0
        self._exemplar: Exemplar | None = None

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """See `Counter.inc`."""
        self._value += amount
        if exemplar is not None:
            self._exemplar = Exemplar(exemplar, amount, time.time())

    def samples(self) -> list[_Sample]:
        """See `_Child.samples`."""
        return [("_total", _NO_LABELS, self._value, self._exemplar)]


class _Distribution:
    """How often something was how large, and the sum."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, spec: MetricSpec) -> None:
        self._bounds = spec.buckets
        self.reset()

    def reset(self) -> None:
        """See `_Child.reset`."""
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """See `Histogram.observe`."""
        bucket = bisect_left(self._bounds, amount)
        self._counts[bucket] += 1
        self._sum += amount
        if exemplar is not None:
            self._exemplars[bucket] = Exemplar(exemplar, amount, time.time())

    def observe_all(self, amounts: Sequence[float]) -> None:
        """See `Histogram.observe_all`."""
        total, count, counts = sum(amounts), len(amounts), self._counts
        bucket = bisect_left(self._bounds, min(amounts))
        # Each in one step: a signal handler that counts, too, does so before it or after it.
        self._sum += total
        if bucket == bisect_left(self._bounds, max(amounts)):  # as mostly of what was noted within a moment
            counts[bucket] += count
            return
        ordered = sorted(amounts)  # so that each bound is looked for once, and not once for each amount
        upto = list(map(bisect_right, repeat(ordered), self._bounds))
        counts[:] = map(add, counts, map(sub, (*upto, count), (0, *upto)))

    def samples(self) -> list[_Sample]:
        """See `_Child.samples`."""
        shown: list[_Sample] = []
        count = 0
        for bucket, bound in enumerate((*self._bounds, math.inf)):
            count += self._counts[bucket]
            shown.append(("_bucket", {"le": _text(bound)}, float(count), self._exemplars.get(bucket)))
        return [*shown, ("_count", _NO_LABELS, float(count), None), ("_sum", _NO_LABELS, self._sum, None)]


def _text(bound: float) -> str:
    """A bound as the exposition writes it."""
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
    return text
