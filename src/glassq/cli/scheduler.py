"""`glassq scheduler`: lead the schedules in a process that runs no jobs."""

from __future__ import annotations

import logging
import os

import click

from glassq.cli import options
from glassq.cli.targets import load_application
from glassq.cli.workerlogs import install_logging
from glassq.config.fields import DEFAULT_DRAIN
from glassq.worker.crew import run_together

log = logging.getLogger("glassq.cli.scheduler")


@click.command(short_help="Lead the schedules without running jobs.")
@click.argument("target", metavar="MODULE:APP")
@options.log_level
@options.log_format
def scheduler(target: str, log_level: str, log_format: str) -> int:
    """Enqueue what schedules order, until SIGTERM or Ctrl-C, and run no jobs.

    Every `glassq worker` does this beside its work; one of all that may leads, the others stand by. So this
    is for stores whose workers were told not to (`schedules: false`).

    \b
    Examples:
      glassq scheduler shop.jobs:app

    Exit codes: 0 stopped cleanly, 1 the store did not answer in time, 2 wrong usage or configuration.
    """
    install_logging(log_level, log_format)
    with load_application(target) as app:
        click.echo(f"glassq scheduler of {target} on {app.storage.address}; pid {os.getpid()}")
        drained = run_together([app.scheduler()], DEFAULT_DRAIN)
    return 0 if drained else 1
