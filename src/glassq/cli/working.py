"""A process of workers: from a configuration and its application to an exit code."""

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
from glassq.config import Configuration
from glassq.config.fields import DEFAULT_HOST
from glassq.errors import ConfigurationError
from glassq.model.events import TelemetryDropped
from glassq.observe.exporting import export_traces_from_environment
from glassq.telemetry import Bus
from glassq.worker.crew import run_together
from glassq.worker.engine import Worker

log = logging.getLogger("glassq.cli.worker")

TOKEN_VARIABLE = "GLASSQ_HTTP_TOKEN"  # noqa: S105 - the name of a variable, not a token


def work(target: str, application: Glassq, configuration: Configuration, only: str | None) -> int:
    """Run the configuration's workers, or `only` one of them, until a signal; the exit code."""
    with ExitStack() as stack:
        flush = export_traces_from_environment(partial(count_dropped, application.bus))
        if flush is not None:
            stack.callback(flush)
        closing = stack.enter_context(ExitStack())
        closing.callback(application.close)
        store = application.storage.address  # opens it: what cannot work is said before anything is served
        workers = configuration.workers(application, only)
        application.health.expect(len(workers))
        address = served(application, configuration)
        health_file = configuration.get("health_file")
        if health_file is not None:
            stack.enter_context(Heartbeat(Path(health_file), application.health))
        click.echo(f"glassq worker of {target} on {store}")
        for name, worker in workers.items():
            click.echo(f"{name + ': ' if len(workers) > 1 or only else ''}{described(worker)}")
        if address is not None:
            click.echo(f"{address}/metrics, health at {address}/healthz")
        drained = run_together(list(workers.values()), configuration.get("drain"))
        # What follows is short, and a second signal must not cut off the last traces.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if not drained:
            log.error("stopped before all running attempts had ended; their jobs will run again")
            closing.pop_all()  # closing would wait for them once more; the end of the process ends them
    return 0 if drained else 1


def described(worker: Worker) -> str:
    """A worker in one line."""
    return f"queues {', '.join(worker.queues)}; {worker.concurrency} lanes at once; pid {os.getpid()}"


def served(application: Glassq, configuration: Configuration) -> str | None:
    """Serve the pages where that is wanted; where they are."""
    port = configuration.get("http.port")
    if port is None:
        return None
    file = configuration.get("http.token_file")
    token = configuration.get("http.token") or read_token(None if file is None else Path(file))
    return application.serve_http(configuration.get("http.host", DEFAULT_HOST), port, token=token).url


def count_dropped(bus: Bus, reason: str, count: int) -> None:
    """Spans that were made here and that no collector got."""
    bus.emit(TelemetryDropped(signal="traces", reason=reason, count=count))


def read_token(file: Path | None) -> str | None:
    """The bearer token from the file, else from the environment; None when neither has one."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"{file} cannot be read for the bearer token: {why}") from None
    if not token:
        raise ConfigurationError(f"{file} is empty; it should hold the bearer token in one line")
    return token
