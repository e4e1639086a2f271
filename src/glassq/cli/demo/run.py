"""The demo from beginning to end: produce, crash, wait, prove, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from glassq.cli.demo import report
from glassq.cli.demo.board import Glyphs, board, tally
from glassq.cli.demo.children import ChildFailed
from glassq.cli.demo.endpoints import get, totals
from glassq.cli.demo.otlp import Span
from glassq.cli.demo.proof import Finding, Killed, prove
from glassq.cli.demo.settings import CONCURRENCY
from glassq.cli.demo.stage import Stage
from glassq.cli.demo.tracetree import any_trace, retried_trace

_STALL = 20.0
"""Seconds without anything new after which the demo gives up."""

_REFRESH = 0.2
_PLAIN_EVERY = 2.0

Refresh = Callable[[], None]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said. `seconds` is how long the producer takes over the log."""

    seconds: float
    url: str | None = None
    keep: bool = False


def run(options: Options, console: Console) -> bool:
    """Play the demo; True when every promise was kept. All its processes have ended when this is left.

    `ChildFailed` when one of them fails or nothing moves any more.
    """
    glyphs = Glyphs.of(console)
    with Stage(options.url) as stage:
        console.print(report.opening(stage))
        with console.status("starting two worker processes ..."):
            stage.start_workers()
        console.print(report.cast(stage))
        stage.start_producer(options.seconds)
        with _curtain(stage, console, glyphs) as refresh:
            _play(stage, console, refresh, patience=_STALL + options.seconds / 10)
        kept = _judge(stage, console, glyphs, keep=options.keep)
        if options.keep:
            _keep(stage, console)
    return kept


def _play(stage: Stage, console: Console, refresh: Refresh, *, patience: float) -> None:
    """Wait until every event is accepted, telling of the crash and the take-over as they happen."""
    story = report.Story(stage)
    seen, since = -1, time.monotonic()
    while stage.receiver.ledger.accepted() < len(stage.events):
        for line in story.news():
            console.print(line)
        refresh()
        stage.check()
        moved = len(stage.receiver.ledger.deliveries())
        if moved != seen:
            seen, since = moved, time.monotonic()
        elif time.monotonic() - since > patience:
            words = "".join(f"\n{worker.name}{worker.last_words()}" for worker in stage.workers)
            raise ChildFailed(f"nothing was delivered for {patience:.0f} s{words}")
        time.sleep(_REFRESH)
    for line in story.news():
        console.print(line)
    refresh()
    if stage.producer is not None and stage.producer.wait(_STALL) != 0:
        raise ChildFailed(f"the producer failed{stage.producer.last_words()}")


@contextmanager
def _curtain(stage: Stage, console: Console, glyphs: Glyphs) -> Iterator[Refresh]:
    """Yields what redraws: a moving picture on a terminal, elsewhere a line every two seconds."""
    names = {worker.pid: worker.name.removeprefix("worker ") for worker in stage.workers}
    told = 0.0

    def line() -> None:
        nonlocal told
        if stage.elapsed - told >= _PLAIN_EVERY:
            told = stage.elapsed
            deliveries = stage.receiver.ledger.deliveries()
            console.print("  " + tally(told, stage.lanes.read(deliveries), deliveries))

    def picture() -> None:
        deliveries = stage.receiver.ledger.deliveries()
        lanes = stage.lanes.read(deliveries)
        summary = Text(f"  {tally(stage.elapsed, lanes, deliveries)}", "bold")
        live.update(Group(board(lanes, names, glyphs, console.width), "", summary), refresh=True)

    if not console.is_terminal:
        yield line
        return
    with Live(console=console, auto_refresh=False) as live:
        yield picture


def _judge(stage: Stage, console: Console, glyphs: Glyphs, *, keep: bool) -> bool:
    """Prove, report and say the verdict; True when every promise was kept."""
    survivor = stage.survivor
    endpoint = stage.endpoints[survivor.name]
    try:
        metrics = totals(get(endpoint, "metrics")[1], stage.queue)
        ready = get(endpoint, "readyz")[0]
    except OSError as error:
        raise ChildFailed(f"{survivor.name} does not answer on {endpoint}: {error}") from error
    deliveries = stage.receiver.ledger.deliveries()
    trace = stage.collector.wait_for(retried_trace, timeout=5.0) or stage.collector.wait_for(any_trace, 0.0)
    if stage.crash.victim is None:
        raise ChildFailed("no worker was killed, because none delivered in the second half")
    seen = prove(stage.events, deliveries, Killed(stage.crash.victim.pid, CONCURRENCY))
    beside = [_traced(trace)]
    if not keep:
        code = survivor.stop(timeout=15.0)
        facts = f"{survivor.name} drained on SIGTERM and ended with exit code {code}"
        beside.append(Finding("clean stop", code == 0, facts))
    console.print(report.findings("Proved at the receiver", seen, glyphs))
    console.print(report.findings("Proved beside it", beside, glyphs))
    console.print(report.figures(stage, deliveries, metrics))
    if trace:
        console.print(report.traced(trace))
    console.print(report.endpoints(stage, ready, keep=keep))
    console.print(report.verdict([*seen, *beside], stage.elapsed, glyphs))
    return all(finding.kept for finding in (*seen, *beside))


def _traced(trace: list[Span] | None) -> Finding:
    if not trace:
        return Finding("traced", False, "no exported trace leads from an enqueue span to its process span")
    services = sorted({span.service for span in trace})
    return Finding("traced", True, f"one trace of {len(trace)} spans across {', '.join(services)}")


def _keep(stage: Stage, console: Console) -> None:
    """Leave everything up until Ctrl-C; `ChildFailed` when the surviving worker ends by itself."""
    try:
        while True:
            stage.check()
            time.sleep(_REFRESH)
    except KeyboardInterrupt:
        console.print("\nstopping")
