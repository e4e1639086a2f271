"""`glassq demo` on the command line. Light: what the demo needs is imported when it runs."""

from __future__ import annotations

import click

from glassq.cli.extras import require_extras
from glassq.cli.leaving import leaving_on_signals
from glassq.cli.terminal import open_console
from glassq.errors import BadOption
from glassq.stores.open import locate


@click.command(short_help="See it work: ordered webhooks through a crash, proved at the receiver.")
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=12.0,
    show_default=True,
    help="How long the producer takes; the whole demo takes a few seconds more.",
)
@click.option("--url", help="Run on this store (default: a fresh SQLite file, removed at the end).")
@click.option("--keep", is_flag=True, help="Leave /metrics and the health pages up until Ctrl-C.")
def demo(seconds: float, url: str | None, keep: bool) -> int:
    """Deliver 360 webhooks of a dozen customers, in strict order per customer, through a crash.

    A producer enqueues a shipped event log while two worker processes deliver it to a local HTTP
    receiver, which answers one delivery in ten with 503. Half way, one worker is killed with
    kill -9 in the middle of a delivery. At the end the receiver's own record shows whether every
    event arrived, and in order.

    \b
    Examples:
      glassq demo
      glassq demo --seconds 30 --keep
      glassq demo --url sqlite:///shop.db

    Exit codes: 0 every promise was kept, 1 one was broken or a process failed.
    """
    require_extras("the demo", "otel", "server")
    if url is not None and locate(url).address == "sqlite://":
        raise BadOption("--url", "a store in memory serves one process, the demo needs several; name a file")
    from glassq.cli.demo.children import ChildFailed  # these need the extra `otel`
    from glassq.cli.demo.run import Options, run

    console = open_console()
    try:
        with leaving_on_signals():
            return 0 if run(Options(seconds=seconds, url=url, keep=keep), console) else 1
    except ChildFailed as failure:
        raise click.ClickException(str(failure)) from failure
