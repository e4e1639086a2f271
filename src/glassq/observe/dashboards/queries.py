"""PromQL about the metrics of the catalogue. A name, a label or a value that does not exist is refused here,
while the dashboards are built, not found out by an empty panel.

Who knows a metric decides how instances are put together: what each process counts about itself is added;
what every process reads from the store is the same everywhere, so the largest stands for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from glassq.observe.catalogue import BY_NAME
from glassq.observe.specs import MetricSpec

Where = str | tuple[str, ...]
"""A label's value, or several of which any will do."""

WINDOW = "$__rate_interval"
"""The window of rates: Grafana makes it at least four scrapes long."""
RANGE = "$__range"
"""The whole time shown."""


class Query(msgspec.Struct, frozen=True):
    """An expression and what its series are called. With `exemplar`, traces are shown as points beside it."""

    expr: str
    legend: str = ""
    exemplar: bool = False


def known(name: str) -> MetricSpec:
    """The catalogue's entry; names are written without their prefix."""
    spec = BY_NAME.get(f"glassq_{name}")
    if spec is None:
        raise ValueError(f"the catalogue has no metric glassq_{name}")
    return spec


def series(name: str, suffix: str = "", /, **where: Where) -> str:
    """The series of a metric that the reader chose, and of these only those with the given labels."""
    spec = known(name)
    chosen = ['job=~"$job"', 'instance=~"$instance"']
    if "queue" in spec.labels:
        chosen.append('queue=~"$queue"')
    matchers = (_matcher(spec, label, value) for label, value in where.items())
    return f"{spec.name}{suffix}{{{', '.join((*chosen, *matchers))}}}"


def _matcher(spec: MetricSpec, label: str, value: Where) -> str:
    values = (value,) if isinstance(value, str) else value
    allowed = spec.values.get(label)
    if label not in spec.labels or (allowed is not None and not set(values) <= set(allowed)):
        raise ValueError(f"{spec.name} has no {label}={value!r}")
    return f'{label}="{value}"' if isinstance(value, str) else f'{label}=~"{"|".join(values)}"'


def value(name: str, *by: str, **where: Where) -> str:
    """What a gauge says now."""
    return _together(name, by, series(name, **where))


def least(name: str, *by: str, **where: Where) -> str:
    """The smallest of all instances."""
    return gathered("min", by, series(name, **where))


def most(name: str, *by: str, **where: Where) -> str:
    """The largest of all instances."""
    return gathered("max", by, series(name, **where))


def rate(name: str, *by: str, window: str = WINDOW, **where: Where) -> str:
    """How fast a counter grows, per second."""
    return _together(name, by, f"rate({series(name, **where)}[{window}])")


def grown(name: str, *by: str, window: str = RANGE, **where: Where) -> str:
    """By how much a counter grew."""
    return _together(name, by, f"increase({series(name, **where)}[{window}])")


def quantile(q: float, name: str, *by: str, **where: Where) -> str:
    """The value that this share of a histogram's observations did not exceed."""
    return f"histogram_quantile({q}, {_buckets(name, by, 'rate', where)})"


def heat(name: str, **where: Where) -> str:
    """How many observations fell into each bucket of a histogram."""
    return _buckets(name, (), "increase", where)


def observed(name: str, part: str, *by: str, **where: Where) -> str:
    """How fast a histogram's `count` or `sum` grows, per second."""
    return _together(name, by, f"rate({series(name, f'_{part}', **where)}[{WINDOW}])")


def age(moment: str) -> str:
    """Seconds since a moment; never less than none, for a scrape takes its time after it was begun."""
    return f"clamp_min(time() - {moment}, 0)"


def recorded(name: str, **where: str) -> str:
    """The series of a recording rule that the reader chose; a test compares the names with the rules."""
    chosen = ('job=~"$job"', 'queue=~"$queue"', *(f'{label}="{value}"' for label, value in where.items()))
    return f"{name}{{{', '.join(chosen)}}}"


def objective(which: str) -> str:
    """What the application promises about a queue, in seconds, and where it promises nothing what the rules
    hold it to. Without the rules, no series there."""
    held_to = recorded(f"queue:glassq_queue_objective_seconds:{which}")
    return gathered("max", ("queue",), f"{series('queue_objective_seconds', objective=which)} or {held_to}")


def alerts(state: str) -> str:
    """The alerts of glassq in this state: `pending` or `firing`. Some are about no job or no queue."""
    return f'ALERTS{{system="glassq", alertstate="{state}", job=~"$job|", queue=~"$queue|"}}'


def share(part: str, whole: str) -> str:
    """One divided by the other; nothing where there is no whole."""
    return f"{part} / ({whole} > 0)"


def or_zero(expr: str) -> str:
    """0 where there is nothing to add up: no news is good news, and a panel should say so."""
    return f"({expr}) or vector(0)"


def gathered(how: str, by: Sequence[str], expr: str) -> str:
    """The series of all instances, put together."""
    return f"{how} by ({', '.join(by)}) ({expr})" if by else f"{how}({expr})"


def _together(name: str, by: Sequence[str], expr: str) -> str:
    return gathered("max" if known(name).source == "store" else "sum", by, expr)


def _buckets(name: str, by: Sequence[str], growth: str, where: dict[str, Where]) -> str:
    return gathered("sum", ("le", *by), f"{growth}({series(name, '_bucket', **where)}[{WINDOW}])")
