"""The reference of the metrics, taken from the catalogue. `python -m glassq.cli.metrics` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from glassq.observe.catalogue import CATALOGUE, FAST, MAX_QUEUES, OTHER, PROC, SIZE, UNKNOWN_TASK, WAIT
from glassq.observe.specs import MetricSpec, Source

_HEAD = f"""\
# Metrics

Every metric glassq exposes, from `observe/catalogue.py`. This page is generated; change the catalogue, then
run `python -m glassq.cli.metrics > docs/reference/metrics.md`.

`glassq worker --http HOST:PORT` and `app.serve_http()` serve them at `/metrics`, and so does whatever exposes
the Prometheus registry that `Glassq(registry=...)` was given. The counter and the histogram of a queue are
`glassq_jobs_processed_total` and `glassq_job_processing_duration_seconds`.

## Reading them

- Seconds and bytes, never multiples. Every counter of a declared queue is there at 0 before it counts, so
  that the first event is an increase.
- What a process did (the first three tables) is its own share: `sum` over instances. What the store says, or
  the code declares (the last table), every process shows alike: `max` over instances.
- Times in queue, ages and waits are by the store's clock alone: two clocks that differ make no wait negative.
- `queue` has at most {MAX_QUEUES} values in a process, further queues share `{OTHER}`; `task` names
  registered tasks, any other is `{UNKNOWN_TASK}`. A value outside a closed set is counted as `{OTHER}`.
- Job, ordering key, user, exception and host are never labels. They are in spans and log lines, and on the
  histograms' exemplars (`trace_id`, `span_id`), which Prometheus asks for as OpenMetrics and keeps with
  `--enable-feature=exemplar-storage`.
- When a store does not answer within half a second, `glassq_collector_up` is 0 and the gauges read from it
  are left out: an old figure would be a lie. `/metrics` itself answers all the same.
- A forked child counts from 0, whatever its parent had counted.
- A pre-fork server (gunicorn) has a registry in each of its processes, and a scrape meets one of them. Alert
  on what the store counts itself: `glassq_queue_enqueued_total`, `glassq_queue_settled_total`. The client
  library's multiprocess mode (`PROMETHEUS_MULTIPROC_DIR`) adds counters and histograms of all processes up,
  without exemplars, without gauges and without the last table.

## Buckets

| name | upper bounds |
|---|---|
"""

_SECTIONS: dict[Source, tuple[str, str]] = {
    "producer": ("Enqueuing", "Counted by the process that enqueues: `sum` over instances."),
    "worker": ("Working", "Counted by the process whose worker it is: `sum` over instances."),
    "process": ("Every process", "Counted by each process for itself: `sum` over instances."),
    "store": ("The store", "Read from the store at scrape time, or declared in code: `max` over instances."),
}

_BUCKETS = {"FAST": FAST, "WAIT": WAIT, "PROC": PROC}


def reference() -> str:
    """The whole page as Markdown."""
    buckets = [f"| {name} | {_bounds(bounds)} s |" for name, bounds in _BUCKETS.items()]
    sizes = f"| SIZE | {', '.join(f'{size:,.0f}' for size in SIZE)} B |"
    sections = [line for source in _SECTIONS for line in _section(source)]
    return "\n".join([_HEAD + "\n".join([*buckets, sizes]), *sections, ""])


def _section(source: Source) -> Iterator[str]:
    title, explanation = _SECTIONS[source]
    yield from [
        "",
        f"## {title}",
        "",
        explanation,
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    for spec in CATALOGUE:
        if spec.source == source:
            yield f"| `{spec.name}` | {_kind(spec)} | {_labels(spec)} | {_meaning(spec)} |"


def _kind(spec: MetricSpec) -> str:
    if not spec.buckets:
        return spec.kind
    named = next((name for name, bounds in _BUCKETS.items() if bounds == spec.buckets), "SIZE")
    return f"{spec.kind} {named}"


def _labels(spec: MetricSpec) -> str:
    """Each label, those of a closed set with their values."""
    return "; ".join(
        f"{label}: {', '.join(spec.values[label])}" if label in spec.values else label
        for label in spec.labels
    )


def _meaning(spec: MetricSpec) -> str:
    return f"{spec.help} {spec.note}".strip().replace("|", "\\|")


def _bounds(bounds: tuple[float, ...]) -> str:
    return ", ".join(f"{bound:g}" for bound in bounds)


if __name__ == "__main__":
    print(reference(), end="")
