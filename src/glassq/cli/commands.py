"""Every command of `glassq`, registered here and nowhere else, and the one place errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from glassq.cli.bench.command import bench
from glassq.cli.config import config
from glassq.cli.dashboards import dashboards
from glassq.cli.dead import dead
from glassq.cli.demo.command import demo
from glassq.cli.femtoqueue import import_femtoqueue
from glassq.cli.groups import Commands
from glassq.cli.halted import halted
from glassq.cli.health import main as ask_health_file
from glassq.cli.job import job
from glassq.cli.jobs import cancel, peek, purge
from glassq.cli.pausing import pause, resume
from glassq.cli.rules.command import rules
from glassq.cli.schedule import schedule
from glassq.cli.scheduler import scheduler
from glassq.cli.stats import stats
from glassq.cli.telemetry.command import telemetry
from glassq.cli.verify import verify
from glassq.cli.worker import worker
from glassq.cli.workflow import workflow
from glassq.errors import ConfigurationError, GlassqError
from glassq.version import __version__

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted by Ctrl-C.",
)
@click.version_option(__version__, "-V", "--version", message="glassq %(version)s")
def glassq() -> None:
    """A strictly ordered FIFO job queue that you can see through.

    \b
    Start here:
      glassq demo                                  a real run with a crash in it, in half a minute
      glassq worker shop.jobs:app                  run the jobs of `app` in shop/jobs.py
      glassq worker shop.jobs:app --http :9464     the same, with /metrics and health pages
      glassq stats                                 what is in the queues

    The store is the application's own; without one it is $GLASSQ_URL, else sqlite:///glassq.db
    in the working directory.
    """


@click.command(
    "health",
    short_help="Probe a worker's health file (for containers).",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="--live|--ready")
def probe(arguments: tuple[str, ...]) -> int:
    """Ask the file that `glassq worker --health-file` keeps fresh: whether the worker is alive and ready.

    It starts in milliseconds and needs neither the store nor the network, so a container may ask often.

    \b
    One of:
      --live       its loop turns
      --ready      it takes jobs

    \b
    And:
      --file F     the worker's --health-file (default: $GLASSQ_HEALTH_FILE)
      --max-age S  fail when the file is older than this many seconds (default: 30)

    \b
    Examples:
      glassq worker shop.jobs:app --health-file /run/glassq.health
      glassq health --live --file /run/glassq.health
      GLASSQ_HEALTH_FILE=/run/glassq.health glassq health --ready

    Exit codes: 0 pass, 1 fail (also when the file is missing or old), 2 wrong usage.
    """
    # For the list of commands and the reference: `main` hands the real call to the probe, without click.
    return ask_health_file(arguments)


for command in (
    demo,
    worker,
    config,
    stats,
    peek,
    job,
    workflow,
    dead,
    halted,
    pause,
    resume,
    cancel,
    purge,
    schedule,
    scheduler,
    bench,
    verify,
    import_femtoqueue,
    rules,
    dashboards,
    telemetry,
    probe,
):
    glassq.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; every expected error ends as one line on stderr and an exit code."""
    try:
        # Outside standalone mode click returns what the command returned, or the code of `ctx.exit`.
        code = glassq.main(list(arguments) or ["--help"], prog_name="glassq", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "glassq"
        return _fail(f"{error.format_message().rstrip('.')} (see '{where} --help')", USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except GlassqError as error:
        return _fail(str(error), USAGE if isinstance(error, ConfigurationError) else FAILED)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read along (`| head`) has seen enough. The interpreter must not complain of it at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code if isinstance(code, int) else DONE


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {message}", err=True)
    return code
