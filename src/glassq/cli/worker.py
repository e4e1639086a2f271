"""`glassq worker`: run an application's jobs in this process until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from glassq.app import Glassq
from glassq.cli.heartbeat import Heartbeat
from glassq.cli.targets import Address, load_application
from glassq.cli.workerlogs import install_logging
from glassq.errors import ConfigurationError
from glassq.model.events import TelemetryDropped
from glassq.model.names import nearest
from glassq.observe.exporting import export_traces_from_environment
from glassq.telemetry import Bus

log = logging.getLogger("glassq.cli.worker")

TOKEN_VARIABLE = "GLASSQ_HTTP_TOKEN"  # noqa: S105 - the name of a variable, not a token


@click.command(short_help="Run the jobs of an application.")
@click.argument("target", metavar="MODULE:APP")
@click.option("--queues", metavar="A,B", help="Serve these queues only (default: all of the application).")
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="How many lanes run at once; one lane never runs two jobs at once.",
)
@click.option(
    "--drain",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds that running attempts get to end when the worker is stopped.",
)
@click.option("--http", type=Address(), metavar="HOST:PORT", help="Serve /metrics and the health pages here.")
@click.option(
    "--http-token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="F",
    help=f"File with the bearer token for --http (default: ${TOKEN_VARIABLE}); needed outside loopback.",
)
@click.option(
    "--health-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="F",
    help="Keep this file fresh for `glassq health`.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
)
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def worker(  # noqa: PLR0917 - click passes every option by name
    target: str,
    queues: str | None,
    concurrency: int,
    drain: float,
    http: tuple[str, int] | None,
    http_token_file: Path | None,
    health_file: Path | None,
    log_level: str,
    log_format: str,
) -> int:
    """Import MODULE, take the application APP from it, and run its jobs until SIGTERM or Ctrl-C.

    On the first signal the worker finishes the attempts it is running, gives its lanes to other
    workers and ends. Traces are exported when the standard OTEL_* variables name an OTLP endpoint.

    \b
    Examples, for `app = Glassq()` in shop/jobs.py:
      glassq worker shop.jobs:app
      glassq worker shop.jobs:app --queues payments,mails --concurrency 8
      glassq worker shop.jobs:app --http 127.0.0.1:9464 --health-file /run/glassq.health
      OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 glassq worker shop.jobs:app

    Exit codes: 0 stopped cleanly, 1 an attempt was still running when the time to drain was over,
    2 wrong usage or configuration.
    """
    install_logging(log_level, log_format)
    application = load_application(target)
    names = chosen_queues(application, queues)
    with ExitStack() as stack:
        flush = export_traces_from_environment(partial(count_dropped, application.bus))
        if flush is not None:
            stack.callback(flush)
        closing = stack.enter_context(ExitStack())
        closing.callback(application.close)
        store = application.storage.address  # opens it: what cannot work is said before anything is served
        address = None
        if http is not None:
            token = read_token(http_token_file)
            address = application.serve_http(host=http[0], port=http[1], token=token).url
        if health_file is not None:
            stack.enter_context(Heartbeat(health_file, application.health))
        click.echo(f"glassq worker of {target} on {store}")
        click.echo(f"queues {', '.join(names)}; {concurrency} lanes at once; pid {os.getpid()}")
        if address is not None:
            click.echo(f"{address}/metrics, health at {address}/healthz")
        drained = application.worker(queues=names if queues else None, concurrency=concurrency).run(drain)
        # What follows is short, and a second signal must not cut off the last traces.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if not drained:
            log.error("stopped before all running attempts had ended; their jobs will run again")
            closing.pop_all()  # closing would wait for them once more; the end of the process ends them
    return 0 if drained else 1


def count_dropped(bus: Bus, reason: str, count: int) -> None:
    """Spans that were made here and that no collector got."""
    bus.emit(TelemetryDropped(signal="traces", reason=reason, count=count))


def chosen_queues(application: Glassq, wanted: str | None) -> list[str]:
    """The queues to serve. `ConfigurationError` for one that the application does not declare, because a
    misspelt name would make a worker that waits for ever and looks healthy."""
    known = application.registry.queues()
    if not known:
        raise ConfigurationError("the application declares no queue: does the module import its tasks?")
    if wanted is None:
        return list(known)
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    if not names:
        raise ConfigurationError(f"--queues names none; the application's queues: {', '.join(known)}")
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else f"its queues: {', '.join(known)}"
            raise ConfigurationError(f"--queues: the application declares no queue {name!r}; {hint}")
    return names


def read_token(file: Path | None) -> str | None:
    """The bearer token from the file, else from the environment; None when neither has one."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    token = file.read_text(encoding="utf-8").strip()
    if not token:
        raise ConfigurationError(f"{file} is empty; it should hold the bearer token in one line")
    return token
