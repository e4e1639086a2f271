"""One delivery as a tree of spans, as the processes of the demo exported them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rich.text import Text
from rich.tree import Tree

from glassq.cli.demo.otlp import Span

_ATTEMPT = "glassq.job.attempt"
_GUIDE = 4
"""Columns by which each level of the tree is indented."""


def retried_trace(spans: Sequence[Span]) -> list[Span] | None:
    """The spans of a job that failed at least once and then succeeded, by time; None if there is none."""
    return _widest(spans, failures=1)


def any_trace(spans: Sequence[Span]) -> list[Span] | None:
    """The spans of a job whose enqueue and successful process span are there; None if there is none."""
    return _widest(spans, failures=0)


def _widest(spans: Sequence[Span], *, failures: int) -> list[Span] | None:
    """Of all traces that are complete, one that went through the most processes: it shows the most."""
    traces: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        traces[span.trace].append(span)
    complete = [trace for trace in traces.values() if _is_complete(trace, failures)]
    if not complete:
        return None
    widest = max(complete, key=lambda trace: len({span.service for span in trace}))
    return sorted(widest, key=lambda span: span.started)


def _is_complete(trace: Sequence[Span], failures: int) -> bool:
    attempts = [span for span in trace if span.name.startswith("process ")]
    failed = sum(span.failed for span in attempts)
    return any(span.name.startswith("enqueue ") for span in trace) and failures <= failed < len(attempts)


def tree(trace: Sequence[Span]) -> Tree:
    """The spans by parenthood, each with when it began, how long it took and where it ran."""
    start = trace[0].started
    known = {span.id for span in trace}
    root = Tree(Text(f"trace {trace[0].trace}", "dim"), guide_style="dim")

    width = max(len(_title(span)) for span in trace) + 2 * _GUIDE

    def grow(branch: Tree, children: Sequence[Span], depth: int) -> None:
        for span in children:
            # What follows the title is aligned over all depths.
            label = _label(span, span.started - start, width - depth * _GUIDE)
            grow(branch.add(label), [each for each in trace if each.parent == span.id], depth + 1)

    grow(root, [span for span in trace if span.parent not in known], 0)
    return root


def _title(span: Span) -> str:
    attempt = span.attributes.get(_ATTEMPT)
    return f"{span.name}, attempt {attempt}" if attempt else span.name


def _label(span: Span, after: float, width: int) -> Text:
    label = Text(f"{_title(span):<{width}}")
    label.append(f"{f'+{after * 1000:.0f} ms':>9}{span.seconds * 1000:>8.1f} ms   ", "cyan")
    label.append(f"{span.service:<11}")
    if span.failed:
        label.append(_error(span), "bold red")
    elif _ATTEMPT in span.attributes:
        label.append("ok", "green")
    return label


def _error(span: Span) -> str:
    return span.attributes.get("error.type", span.message).rpartition(".")[2] or "error"
