"""What the self-test expects of what was seen, and what to do where it is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from glassq.cli.telemetry.evidence import TASK, Seen, SpanSeen
from glassq.observe.catalogue import JOBS_PROCESSED, PROCESSING_DURATION

_OPENMETRICS = "application/openmetrics-text"
_FOUND = 200


class Check(msgspec.Struct, frozen=True):
    """One promise: whether it was kept, what was seen, and what to do when it was not."""

    name: str
    passed: bool
    seen: str
    to_do: str | None


def judge(seen: Seen) -> list[Check]:
    """Every check, in the order of a job's life."""
    samples = list(_samples(seen))
    process = next((span for span in seen.spans if span.name == f"process {seen.queue}"), None)
    checks = [
        _job(seen),
        _scrape(seen, samples),
        _exemplar(seen, samples, process),
        _spans(seen, process),
        _log(seen, process),
    ]
    if seen.exported is not None:
        checks.append(_export(seen, taken=seen.exported))
    return [*checks, _removal(seen)]


def _check(name: str, passed: bool, seen: str, to_do: str) -> Check:
    return Check(name, passed, seen, None if passed else to_do)


def _job(seen: Seen) -> Check:
    if seen.ran_after is None:
        what = f"{seen.job} did not run within {seen.patience:g} s"
    else:
        what = f"{seen.job} ran {seen.ran_after * 1000:.0f} ms after its call"
        what += " and was settled" if seen.settled else " and was not settled"
    return _check(
        "job",
        seen.ran_after is not None and seen.settled,
        f"{what}, on {seen.store}",
        "read what the worker logged; `glassq bench` shows how fast a store answers",
    )


def _scrape(seen: Seen, samples: list[Sample]) -> Check:
    labels = {"queue": seen.label, "task": TASK}
    counter = _value(samples, JOBS_PROCESSED.name, {**labels, "outcome": "succeeded"})
    histogram = _value(samples, f"{PROCESSING_DURATION.name}_count", labels)
    if seen.status != _FOUND or not seen.content_type.startswith(_OPENMETRICS):
        what = f"/metrics answered {seen.status} as {seen.content_type or 'nothing'}"
    else:
        what = (
            f"{JOBS_PROCESSED.name} {_shown(counter)}, {PROCESSING_DURATION.name}_count {_shown(histogram)}"
        )
    return _check(
        "scrape",
        bool(counter and histogram),
        f"{what} for queue {seen.label}",
        "look for an observer that was detached, in the log and in glassq_observer_failures_total",
    )


def _exemplar(seen: Seen, samples: list[Sample], process: SpanSeen | None) -> Check:
    buckets = [
        sample
        for sample in samples
        if sample.name == f"{PROCESSING_DURATION.name}_bucket"
        and sample.labels["queue"] == seen.label
        and sample.exemplar is not None
    ]
    found = next((each for each in buckets if _is_of(each, seen, process)), None)
    if found is not None and found.exemplar is not None:
        named = found.exemplar.labels
        what = (
            f'{found.name}{{le="{found.labels["le"]}"}} names trace {named["trace_id"]}, '
            f"span {named['span_id']}"
        )
    else:
        what = f"no bucket of {PROCESSING_DURATION.name} names trace {seen.trace}"
    return _check("exemplar", found is not None, what, _why_no_trace(seen) or _NO_EXEMPLARS)


_NO_EXEMPLARS = "unset PROMETHEUS_MULTIPROC_DIR if it is set: the client library keeps no exemplars with it"


def _is_of(sample: Sample, seen: Seen, process: SpanSeen | None) -> bool:
    named: Mapping[str, str] = sample.exemplar.labels if sample.exemplar else {}
    if process is not None:
        return (named.get("trace_id"), named.get("span_id")) == (process.trace, process.span)
    return named.get("trace_id") == seen.trace


def _spans(seen: Seen, process: SpanSeen | None) -> Check:
    enqueue = next((span for span in seen.spans if span.name == f"enqueue {seen.queue}"), None)
    passed = False
    if enqueue is None or process is None:
        what = f"{len(seen.spans)} spans ({', '.join(span.name for span in seen.spans) or 'none'})"
    elif process.trace == seen.trace and process.parent == enqueue.span and enqueue.trace == seen.trace:
        passed, what = True, f"{_path(seen, process)} in trace {seen.trace}"
    elif (enqueue.trace, enqueue.span) in process.links:
        passed = True
        what = (
            f"{process.name} has a trace of its own, {process.trace}, linked to {enqueue.trace}, as "
            "TraceOptions(max_parent_age=...) asks for"
        )
    else:
        what = f"{enqueue.name} in trace {enqueue.trace}, {process.name} in trace {process.trace}, not linked"
    return _check("spans", passed, what, _why_no_trace(seen) or _BROKEN)


_BROKEN = "let the propagators carry trace contexts: OTEL_PROPAGATORS=tracecontext,baggage"


def _path(seen: Seen, span: SpanSeen) -> str:
    """The names from the root down to a span."""
    by_id = {each.span: each for each in seen.spans}
    names = [span.name]
    while span.parent in by_id:
        span = by_id[span.parent]
        names.append(span.name)
    return " > ".join(reversed(names))


def _why_no_trace(seen: Seen) -> str | None:
    """What keeps any trace from being seen."""
    if seen.blind is not None:
        return (
            f"the tracer provider ({seen.blind}) takes no span processor: look for trace {seen.trace} where "
            "it sends its spans"
        )
    if not seen.recorded:
        return (
            "the sampler leaves every trace out, or OTEL_SDK_DISABLED is set: use one that follows its "
            "parents, OTEL_TRACES_SAMPLER=parentbased_traceidratio"
        )
    return None


def _log(seen: Seen, process: SpanSeen | None) -> Check:
    line = seen.line or {}
    trace = process.trace if process is not None else seen.trace
    expected = {"job_id": seen.job, "queue": seen.queue, "task": TASK, "trace_id": trace}
    if process is not None:
        expected["span_id"] = process.span
    missing = [name for name, value in expected.items() if line.get(name) != value]
    shown = ", ".join(f"{name}={line[name]}" for name in ("trace_id", "span_id", "job_id") if name in line)
    what = f"a line with {shown or 'no ids'}" if line else "no line"
    if line and missing:
        what += f", not with the job's own {', '.join(missing)}"
    advice = "let nothing call logging.disable()" if not line else _why_no_trace(seen)
    return _check(
        "log", not missing, what, advice or "report this: the job's context is not the one it runs in"
    )


def _export(seen: Seen, *, taken: bool) -> Check:
    return _check(
        "export",
        taken,
        f"the OTLP endpoint {'took' if taken else 'did not take'} the spans of trace {seen.trace}",
        "see whether OTEL_EXPORTER_OTLP_ENDPOINT names the collector's HTTP port, 4318 as a rule",
    )


def _removal(seen: Seen) -> Check:
    return _check(
        "removal",
        seen.removed,
        f"queue {seen.queue} is {'gone from' if seen.removed else 'still in'} the store",
        "something of it still runs; it holds no job of yours",
    )


# -- the exposition --------------------------------------------------------------------------------------


def _samples(seen: Seen) -> Iterator[Sample]:
    if seen.status == _FOUND and seen.content_type.startswith(_OPENMETRICS):
        for family in text_string_to_metric_families(seen.exposition):  # type: ignore[no-untyped-call]
            yield from family.samples


def _value(samples: list[Sample], name: str, labels: Mapping[str, str]) -> float | None:
    matching = (each for each in samples if each.name == name and labels.items() <= each.labels.items())
    return next((each.value for each in matching), None)


def _shown(value: float | None) -> str:
    return "is missing" if value is None else f"is {value:g}"
