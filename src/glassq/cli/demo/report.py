"""What the demo says, line by line: the opening, the crash as it happens, and the report at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from glassq.cli.demo.board import Glyphs
from glassq.cli.demo.ledger import Delivery
from glassq.cli.demo.otlp import Span
from glassq.cli.demo.proof import Finding
from glassq.cli.demo.stage import Stage
from glassq.cli.demo.tracetree import tree
from glassq.stores.open import locate

_LABEL = 18


def opening(stage: Stage) -> RenderableType:
    """What is going to happen."""
    shops = len({event.customer for event in stage.events})
    title = Text("\nglassq demo", "bold")
    title.append("   webhooks in strict order per customer, through a crash", "not bold")
    plan = Text(
        f"{len(stage.events)} order and subscription events of {shops} customers are enqueued, and two "
        "worker processes deliver them over HTTP. The receiver answers every tenth event with 503 at first, "
        "and half way one of the workers gets kill -9.\n",
        "bright_black",
    )
    return Group(title, Padding(plan, (0, 2)))


def cast(stage: Stage) -> RenderableType:
    """Who is up, and where."""
    rows = [("store", locate(stage.url).address), ("receiver", stage.receiver.url)]
    rows += [
        (worker.name, f"pid {worker.pid}, {stage.endpoints[worker.name]}/metrics and /healthz")
        for worker in stage.workers
    ]
    return Group(_rows(rows), "")


class Story:
    """Tells each thing that happens once."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._killed = False
        self._taken_over = False

    def news(self) -> list[Text]:
        """What happened since the last call, one line each."""
        crash = self._stage.crash
        lines: list[Text] = []
        if crash.delivery is None or crash.victim is None:
            return lines
        at = crash.at - self._stage.started
        event = crash.delivery.event
        if not self._killed:
            self._killed = True
            lines.append(_moment(at, "bold red", f"kill -9 {crash.victim.name} (pid {crash.victim.pid})"))
            lines[-1].append(f" while it delivers #{event.n} {event.type} of {event.customer}")
        seconds = crash.takeover_seconds(self._stage.receiver.ledger.deliveries())
        if seconds is not None and not self._taken_over:
            self._taken_over = True
            lines.append(
                _moment(at + seconds, "bold green", f"{self._stage.survivor.name} took the lane over")
            )
            lines[-1].append(f" and delivers #{event.n} again, {seconds * 1000:.0f} ms after the kill")
        return lines


def findings(heading: str, found: Sequence[Finding], glyphs: Glyphs) -> RenderableType:
    """Every promise with its mark and its facts."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=_LABEL)
    grid.add_column()
    for each in found:
        mark = Text(glyphs.kept, "bold green") if each.kept else Text(glyphs.broken, "bold red")
        grid.add_row(mark, Text(each.promise, "bold"), Text(each.facts, "" if each.kept else "red"))
    return Group(_heading(heading), Padding(grid, (0, 2), expand=False))


def figures(stage: Stage, deliveries: Sequence[Delivery], metrics: Counter[str]) -> RenderableType:
    """How fast, how often again; the counters are those the surviving worker serves on /metrics."""
    accepted = [each for each in deliveries if each.accepted and each.answered_at is not None]
    seconds = max(each.answered_at or 0.0 for each in accepted) - deliveries[0].arrived_at
    refused = sum(each.refused for each in deliveries)
    name = stage.survivor.name
    takeover = stage.crash.takeover_seconds(deliveries)
    rows = [
        ("throughput", f"{len(accepted) / seconds:.1f} deliveries a second over {seconds:.1f} s"),
        ("retries", f"{refused} in all, {metrics['glassq_job_retries_total']} of them by {name}"),
        ("reclaims", f"{metrics['glassq_jobs_reclaimed_total']} by {name}{_after(takeover)}"),
        ("order violations", f"{metrics['glassq_order_violations_total']}"),
    ]
    return Group(_heading("Figures"), _rows(rows))


def traced(trace: Sequence[Span]) -> RenderableType:
    """The span tree of one delivery."""
    return Group(
        _heading("One delivery, as its processes traced it"), Padding(tree(trace), (0, 2), expand=False)
    )


def endpoints(stage: Stage, ready: int, *, keep: bool) -> RenderableType:
    """Where to look, now or next time."""
    endpoint = stage.endpoints[stage.survivor.name]
    rows = [
        ("metrics", f"{endpoint}/metrics"),
        ("health", f"{endpoint}/healthz, also /livez /startupz /readyz (answered {ready})"),
    ]
    if keep:
        rows.append(("queues", f"glassq stats --url {stage.url}"))
        rows.append(("stop", "Ctrl-C"))
    else:
        rows.append(("look yourself", "glassq demo --keep leaves them up until Ctrl-C"))
    return Group(_heading("Endpoints"), _rows(rows))


def verdict(found: Sequence[Finding], seconds: float, glyphs: Glyphs) -> RenderableType:
    """The last line."""
    broken = [each.promise for each in found if not each.kept]
    if broken:
        return Text(f"\n{glyphs.broken} not kept: {', '.join(broken)}\n", "bold red")
    return Text(f"\n{glyphs.kept} all {len(found)} promises kept, in {seconds:.0f} s\n", "bold green")


def _heading(text: str) -> Text:
    return Text(f"\n{text}", "bold")


def _rows(rows: Sequence[tuple[str, str]]) -> Padding:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", no_wrap=True, min_width=_LABEL - 2)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(label, Text(value))
    return Padding(grid, (0, 2), expand=False)


def _moment(seconds: float, style: str, what: str) -> Text:
    text = Text(f"  {seconds:5.1f} s   ", "bright_black")
    text.append(what, style)
    return text


def _after(takeover: float | None) -> str:
    return f", the first after {takeover * 1000:.0f} ms" if takeover is not None else ""
