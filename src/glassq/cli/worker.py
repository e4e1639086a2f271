"""`glassq worker`: run an application's jobs in this process until it is told to stop."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from glassq.app import Glassq
from glassq.cli import options
from glassq.cli.targets import Address, load_application
from glassq.cli.workerlogs import install_logging
from glassq.cli.working import TOKEN_VARIABLE, work
from glassq.config import Configuration, from_dict, load
from glassq.config.fields import DEFAULT_DRAIN
from glassq.errors import ConfigurationError
from glassq.model.names import nearest

log = logging.getLogger("glassq.cli.worker")

_FIELDS = {
    "drain": "drain",
    "health_file": "health_file",
    "http_token_file": "http.token_file",
    "log_level": "log.level",
    "log_format": "log.format",
}
"""Options that are fields of a configuration, too."""
_EACH_WORKERS_OWN = ("queues", "concurrency")


@click.command(short_help="Run the jobs of an application.")
@click.argument("target", metavar="[MODULE:APP]", required=False)
@click.option(
    "--config",
    metavar="F",
    help="Take application, store, queues and workers from this file (.yaml, .toml or .json).",
)
@click.option("--only", metavar="NAME", help="Run this one of the workers in --config.")
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
    default=DEFAULT_DRAIN,
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
@options.log_level
@options.log_format
@click.pass_context
def worker(
    context: click.Context, /, target: str | None, config: str | None, only: str | None, **_: Any
) -> int:
    """Import MODULE, take the application APP from it, and run its jobs until SIGTERM or Ctrl-C.

    On the first signal the worker finishes the attempts it is running, gives its lanes to other
    workers and ends. Traces are exported when the standard OTEL_* variables name an OTLP endpoint.

    With --config all workers of the file run in this process; MODULE:APP may be in the file, too. Options
    given here go before the file's. `glassq config check F` says whether a file can be used.

    \b
    Examples, for `app = Glassq()` in shop/jobs.py:
      glassq worker shop.jobs:app
      glassq worker shop.jobs:app --queues payments,mails --concurrency 8
      glassq worker shop.jobs:app --http 127.0.0.1:9464 --health-file /run/glassq.health
      glassq worker --config glassq.yaml
      glassq worker --config glassq.yaml --only mails
      OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 glassq worker shop.jobs:app

    Exit codes: 0 stopped cleanly, 1 an attempt was still running when the time to drain was over,
    2 wrong usage or configuration.
    """
    typed = {
        option
        for option in context.params
        if context.get_parameter_source(option) is ParameterSource.COMMANDLINE
    }
    configuration = configured(context, config, typed)
    install_logging(configuration.get("log.level"), configuration.get("log.format"))
    for warning in configuration.warnings:
        log.warning("%s", warning)
    named = target or configuration.get("app")
    if named is None:
        raise ConfigurationError(f"{config}: app: is missing; name the application there, or as MODULE:APP")
    application = load_application(named)
    queues = chosen_queues(application, context.params["queues"])
    if "queues" in typed:
        (only_one,) = configuration.get("workers")
        configuration = configuration.over({"workers": [{**only_one, "queues": queues}]})
    configuration.match(application)
    configuration.apply(application)
    return work(named, application, configuration, only)


def configured(context: click.Context, config: str | None, typed: set[str]) -> Configuration:
    """What is to be run: what the file says, with the options over it that were typed, and those under it
    that were not."""
    configuration = load(config) if config else alone(context)
    for option in _EACH_WORKERS_OWN:
        if config and option in typed:
            raise click.UsageError(f"--{option} is each worker's own; write it into {config}", context)
    over: dict[str, Any] = {"log": {}, "http": {}}
    for option, path in _FIELDS.items():
        value = context.params[option]
        if value is not None and (option in typed or configuration.get(path) is None):
            group, _, field = path.rpartition(".")
            (over[group] if group else over)[field] = str(value) if isinstance(value, Path) else value
    if context.params["http"] is not None:
        over["http"]["host"], over["http"]["port"] = context.params["http"]
    if not over["http"]:
        del over["http"]
    elif "port" not in over["http"] and configuration.get("http.port") is None:
        raise click.UsageError("--http-token-file needs --http", context)
    return configuration.over(over)


def alone(context: click.Context) -> Configuration:
    """The configuration of a command line without a file: one worker."""
    if context.params["target"] is None:
        raise click.UsageError("Missing argument 'MODULE:APP'", context)
    if context.params["only"] is not None:
        raise click.UsageError("--only chooses among the workers of --config", context)
    return from_dict({"workers": [{"name": "worker", "concurrency": context.params["concurrency"]}]})


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
