"""`glassq config`: whether a configuration file can be used, and what it amounts to."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Column

from glassq.cli import cells
from glassq.cli.groups import Commands
from glassq.cli.targets import load_application
from glassq.cli.terminal import grid, open_console, print_json, sentences
from glassq.config import Configuration, load
from glassq.config.effective import effective
from glassq.errors import ConfigurationError


@click.group("config", cls=Commands, short_help="Check a configuration file, and show what it amounts to.")
def config() -> None:
    """Check a configuration file, and show what it amounts to.

    \b
    Examples:
      glassq config check glassq.yaml
      glassq config show glassq.yaml
    """


@config.command(short_help="Say everything that is wrong with a file.")
@click.argument("file", metavar="FILE")
@click.option(
    "--import",
    "imports",
    is_flag=True,
    help="Import the application, too, and compare the queues with its own.",
)
@click.option("--strict", is_flag=True, help="End with 1 when there are warnings.")
def check(file: str, imports: bool, strict: bool) -> int:
    """Read FILE as `glassq worker --config FILE` would, in this environment, without opening the store.

    Each error and warning is a line: FILE:LINE, or the variable of the environment; the whole path of the
    field; what is wrong; and the nearest word that would be right.

    \b
    Examples:
      glassq config check glassq.yaml
      glassq config check glassq.yaml --import --strict

    Exit codes: 0 it can be used, 1 there are warnings and --strict, 2 it cannot be used.
    """
    configuration = load(file)
    if imports:
        target = configuration.get("app")
        if target is None:
            raise ConfigurationError(f"{file}: app: is missing, so there is nothing to import")
        configuration.match(load_application(target))
    for warning in configuration.warnings:
        click.echo(f"warning: {warning}", err=True)
    if configuration.warnings and strict:
        return 1
    click.echo(f"OK: {_summary(configuration)}")
    return 0


def _summary(configuration: Configuration) -> str:
    workers = [worker["name"] for worker in configuration.get("workers", [])]
    queues = configuration.get("queues", {})
    described = f"workers {', '.join(workers)}" if workers else "one worker for all queues"
    return f"{described}; options of {cells.counted(len(queues), 'queue')}" if queues else described


@config.command(short_help="Show every setting, and where it comes from.")
@click.argument("file", metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
def show(file: str, as_json: bool) -> int:
    """Show every setting that `glassq worker --config FILE` would use in this environment.

    Each comes from a line of the file, a variable of the environment, or is the default. Passwords and
    tokens are not shown.

    \b
    Examples:
      glassq config show glassq.yaml
      GLASSQ__WORKERS__MAILS__CONCURRENCY=8 glassq config show glassq.yaml

    Exit codes: 0 shown, 2 the file cannot be used.
    """
    settings = list(effective(load(file)))
    if as_json:
        print_json(settings)
        return 0
    table = grid(Column("setting", no_wrap=True), sentences("value"), sentences("from"))
    for setting in settings:
        table.add_row(*map(cells.word, (setting.path, _worded(setting.value), setting.origin)))
    open_console().print(table)
    return 0


def _worded(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)
