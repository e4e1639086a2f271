"""Commands that end or drop jobs ask first: the queue's name is typed, because a `y` is typed too fast."""

from __future__ import annotations

import sys

import click


class Refused(click.ClickException):
    """When the human, or whatever stands in for one, did not confirm."""


def confirm(name: str, consequence: str, *, store: str, yes: bool, of: str = "queue") -> None:
    """Say what is about to happen and return once the name `of` the queue was typed; at once with `--yes`.

    Asks on standard error, so that standard output stays the command's own. Raises `Refused` for any
    other answer, and where nobody can answer.
    """
    if yes:
        return
    click.echo(f"{consequence}\nThe store is {store}.", err=True)
    click.echo(f"Type the {of}'s name, {name}, to go on: ", err=True, nl=False)
    answer = sys.stdin.readline() if sys.stdin else ""  # a process may be started without one
    if answer.strip() == name:
        return
    if not answer:
        click.echo(err=True)
        raise Refused(f"nothing was changed: nobody typed the {of}'s name; --yes goes on without asking")
    raise Refused(f"nothing was changed: {answer.strip()!r} is not the {of}'s name")
