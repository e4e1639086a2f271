"""`glassq telemetry` on the command line. Light: what the self-test needs is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from prometheus_client import CollectorRegistry

from glassq.app import Glassq
from glassq.cli import options
from glassq.cli.extras import require_extras
from glassq.cli.groups import Commands
from glassq.cli.leaving import leaving_on_signals
from glassq.cli.stores import StoreChoice, choose_store, existing
from glassq.cli.targets import load_application
from glassq.cli.telemetry.checks import Check
from glassq.cli.terminal import print_json


@click.group(cls=Commands, short_help="Metrics, traces and logs: a self-test.")
def telemetry() -> None:
    """Metrics, traces and log lines: whether they tell of a job, from its call to its execution.

    \b
    Examples:
      glassq telemetry selftest shop.jobs:app
    """


@telemetry.command(short_help="Send one traced job and look for it in metrics, traces and logs.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP]")
@options.store_url
@options.as_json
def selftest(words: tuple[str, ...], url: str | None, as_json: bool) -> int:
    """Send one job through the store, with a trace, and check what is told of it, a line for each check.

    The job runs in this process, in a queue of its own that is taken out of the store again: no worker is
    needed, and none is disturbed. With MODULE:APP it is that application's store, registry and tracing that
    are tested; without, the store of --url, else of $GLASSQ_URL, else sqlite:///glassq.db. Spans go where the
    application or the standard OTEL_* variables send them, too.

    \b
    Checked:
      job       it was enqueued, run and settled
      scrape    its queue's counter and histogram, as Prometheus reads them over HTTP
      exemplar  the histogram names its trace
      spans     one unbroken trace, from the call to the execution
      log       a line it logs has the ids of trace, span and job
      export    the OTLP endpoint of the OTEL_* variables took its spans (when they name one)
      removal   its queue is gone from the store

    \b
    Examples:
      glassq telemetry selftest shop.jobs:app
      glassq telemetry selftest --url redis://localhost:6379/0 --json
      OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 glassq telemetry selftest shop.jobs:app

    Exit codes: 0 every check passed, 1 one failed or the store does not answer, 2 wrong usage, configuration
    or a missing package.
    """
    choice, _ = choose_store(words, url)
    require_extras("the self-test", "otel", "server")
    from glassq.cli.telemetry.checks import judge  # these need the extra `otel`
    from glassq.cli.telemetry.experiment import watch

    with leaving_on_signals(), _application(choice) as app:
        seen = watch(app)
        checks = judge(seen)
    passed = all(check.passed for check in checks)
    if as_json:
        facts = {"store": seen.store, "queue": seen.queue, "trace_id": seen.trace}
        print_json({"passed": passed, **facts, "checks": checks})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            click.echo(_line(check, width))
    return 0 if passed else 1


@contextmanager
def _application(choice: StoreChoice) -> Iterator[Glassq]:
    """The application that is meant, or one on the store that is, closed at the end."""
    if choice.target is not None:
        app = load_application(choice.target)
    else:
        app = Glassq(existing(choice.url), registry=CollectorRegistry())
    with app:
        yield app


def _line(check: Check, width: int) -> str:
    if check.passed:
        return f"ok    {check.name:<{width}}  {check.seen}"
    return f"FAIL  {check.name:<{width}}  {check.seen}; {check.to_do}"
