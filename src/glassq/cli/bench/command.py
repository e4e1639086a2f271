"""`glassq bench` on the command line. Light: what the benchmark needs is imported when it runs."""

from __future__ import annotations

import click

from glassq.cli.bench.sizes import FULL, QUICK, USUAL, Sizes, scaled
from glassq.cli.leaving import leaving_on_signals
from glassq.cli.options import as_json
from glassq.cli.terminal import open_console, print_json


@click.command(short_help="Measure this queue beside the raw client, on this machine.")
@click.option("--quick", is_flag=True, help="A smoke test in less than a minute; expect noise.")
@click.option("--full", is_flag=True, help="Everything: a backlog of a million, 10,000 lanes, memory.")
@click.option("--peers", is_flag=True, help="Run the installed ones of rq, celery, dramatiq, huey, ... too.")
@click.option(
    "--url",
    metavar="URL",
    help="Measure on this Redis server (default: one that is started for this run).",
)
@click.option("--sqlite-only", is_flag=True, help="Leave Redis out.")
@click.option(
    "--scale",
    type=click.FloatRange(0.01, 100),
    default=1.0,
    show_default=True,
    metavar="F",
    help="So many times the jobs in each measure.",
)
@as_json
def bench(
    quick: bool, full: bool, peers: bool, url: str | None, sqlite_only: bool, scale: float, as_json: bool
) -> int:
    """Measure rates, latency, CPU, memory and crashes, and say which floors hold.

    Ours and the raw redis-py client take turns in the same run, so the ratios mean something on any
    machine. Times do not, so they are judged at the pace of the machine on which their floors were
    set: raw loops in the same rounds tell how fast this one is. A row whose rounds differ too much
    says so instead of giving a verdict. Without --quick or --full it takes a few minutes.

    On a server named by --url only keys named glassq-bench:* are written, and removed at the end;
    with --peers its database must be empty and is emptied. SQLite is measured in temporary files.

    \b
    Examples:
      glassq bench --quick
      glassq bench --json > bench.json
      glassq bench --url redis://localhost:6379/9
      make bench                                   with every peer, in an environment of its own

    Exit codes: 0 every floor that was measured holds, 1 one does not, or it was too noisy to tell,
    2 wrong usage.
    """
    if quick and full:
        raise click.UsageError("--quick and --full exclude each other.")
    if sqlite_only and (url is not None or peers):
        raise click.UsageError("--sqlite-only leaves nothing for --url or --peers to do.")
    from glassq.cli.bench.judge import exit_code
    from glassq.cli.bench.report import document, table
    from glassq.cli.bench.run import Options, run

    sizes = scaled(_sizes(quick=quick, full=full), scale)
    with leaving_on_signals():
        report = run(Options(sizes=sizes, url=url, peers=peers, file_only=sqlite_only), _tell)
    if as_json:
        print_json(document(report))
    else:
        open_console().print(table(report))
    return exit_code(report.rows)


def _sizes(*, quick: bool, full: bool) -> Sizes:
    return QUICK if quick else FULL if full else USUAL


def _tell(what: str) -> None:
    click.echo(f"measuring: {what}", err=True)
