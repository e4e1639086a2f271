"""The reference of the command line, taken from the commands. `python -m glassq.cli.reference` prints it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from glassq.cli.commands import glassq

_HEAD = """\
# The command line

Every command of `glassq`, as `--help` says it. This page is generated; change the command, then run
`python -m glassq.cli.reference > docs/reference/cli.md`.

## Which store

A first word of the form `MODULE:APP` (`shop.jobs:app` for `app = Glassq()` in shop/jobs.py) names an
application, and its store is meant. Otherwise the store is `--url`, else `$GLASSQ_URL`, else
`sqlite:///glassq.db` in the working directory. With `--url` no word is taken for an application, so a queue
whose name looks like one can be reached.

## What is asked, printed and logged

Commands that end or drop jobs (`cancel`, `halted skip`, `dead purge`, and `dead replay --force` where it
gives up an order) ask for the queue's name to be typed, `cancel` of a workflow for the workflow's. `--yes`
answers for programs; without it, and without anybody to type, they change nothing and end with 1.

Tables are for people and may change. With `--json` a command prints one JSON document whose keys stay: times
are seconds since the epoch, ages are seconds, a lane without a key has the key `null`. Questions, errors and
the audit line go to standard error.

Each change logs one line at level INFO to the logger `glassq.audit`: who (the operating system's user), what,
in which store, queue and lane or to which ids, and the result:

    2026-03-01T09:14:07Z glassq.audit who=ann what="dead purge" store=sqlite:////srv/bank.db queue=payments
    result="12 dropped"

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed, refused, or there is nothing of that name, id or key |
| 2 | wrong usage or configuration |
| 130 | interrupted by Ctrl-C |
"""


def reference() -> str:
    """The whole page as Markdown."""
    context = click.Context(glassq, info_name="glassq", **glassq.context_settings)
    sections = [_section(command, each) for command, each in _commands(glassq, context)]
    return "\n".join([_HEAD, *sections])


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Every command below a group that does something, in the order of `--help`, with its context."""
    for name in group.list_commands(context):
        command = group.commands[name]
        below = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, below)
        else:
            yield command, below


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    records = [option.get_help_record(context) for option in options if "--help" not in option.opts]
    rows = [f"| `{_cell(name)}` | {_cell(text)} |" for name, text in filter(None, records)]
    table = ["| option | meaning |", "|---|---|", *rows, ""] if rows else []
    return "\n".join([f"## {context.command_path}", "", f"    {usage}", "", *_help(command), *table])


def _help(command: click.Command) -> Iterator[str]:
    """The help text; what it sets out line by line stands as it is."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            lines = paragraph.splitlines()[1:]
            heading, *rest = lines
            yield from [heading, "", *(f"    {line.strip()}" for line in rest), ""]
        else:
            yield from [paragraph, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
