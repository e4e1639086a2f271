"""`glassq schedule`: what the clock calls. List schedules, add and remove them, hold them up, run one now."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, get_args

import click
from rich.table import Table
from rich.text import Text

from glassq.app import Glassq
from glassq.cli import cells, options
from glassq.cli.audit import Entry, audited
from glassq.cli.groups import Commands
from glassq.cli.stores import OpenStore, choose_store
from glassq.cli.targets import load_application
from glassq.cli.terminal import grid, names, numbers, print_json, print_rows, sentences
from glassq.client.means import Means
from glassq.client.task import Signature, signature_of
from glassq.errors import BadOption
from glassq.model.schedules import ScheduleView
from glassq.policy.slots import Missed
from glassq.registry import Registry
from glassq.scheduling import Schedules
from glassq.systemclock import SystemClock
from glassq.telemetry import Bus

_NAME_COLUMNS = 40


@click.group(cls=Commands, short_help="What the clock calls: list, add, pause, resume, run-now, remove.")
def schedule() -> None:
    """Look at schedules, add them at run time and remove them, hold one up, or run it now.

    Schedules are stored; one of all workers that may lead enqueues what is due.

    \b
    Examples:
      glassq schedule list
      glassq schedule add shop.jobs:app eu-report shop.jobs.report --cron "0 9 * * *" --args '["eu"]'
      glassq schedule pause eu-report
      glassq schedule run-now eu-report
      glassq schedule remove eu-report
    """


@schedule.command("list", short_help="Show all schedules with their next slot.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP]")
@options.store_url
@options.as_json
def list_schedules(words: tuple[str, ...], url: str | None, as_json: bool) -> int:
    """Show all stored schedules: when they are due, what they call, and how far they are behind.

    Arguments are never shown: they may be secrets.

    \b
    Examples:
      glassq schedule list
      glassq schedule list --url redis://localhost:6379/0 --json
    """
    choice, _ = choose_store(words, url)
    with choice.opened() as store:
        found = _of(store).all()
    if as_json:
        print_json(found)
    elif found:
        print_rows(table(found))
    else:
        click.echo("no schedule is stored; a worker stores those its application declares")
    return 0


@schedule.command(short_help="Add a schedule of a task.")
@click.argument("target", metavar="MODULE:APP")
@click.argument("name", metavar="NAME")
@click.argument("task", metavar="TASK")
@click.option("--cron", metavar="E", help='Due by a cron expression, for example "0 9 * * 1-5".')
@click.option("--timezone", metavar="Z", default="UTC", show_default=True, help="In which --cron is read.")
@click.option("--every", type=click.IntRange(1), metavar="S", help="Due every so many seconds.")
@click.option("--at", metavar="T", help="Due once, for example at 2026-12-01T09:00:00+01:00.")
@click.option("--args", "arguments", metavar="JSON", help="Its arguments: a list, or an object of names.")
@click.option(
    "--missed",
    type=click.Choice(get_args(Missed)),
    default="last",
    show_default=True,
    help="What becomes of slots that nobody enqueued in time.",
)
@click.option(
    "--jitter",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    metavar="S",
    help="Put each job off by less than so many seconds.",
)
@options.as_json
def add(
    target: str, name: str, task: str, at: str | None, arguments: str | None, *, as_json: bool, **said: Any
) -> int:
    """Add a schedule NAME that calls the task TASK of an application, from its next slot on.

    \b
    Examples:
      glassq schedule add shop.jobs:app eu-report shop.jobs.report --cron "0 9 * * *" --args '["eu"]'
      glassq schedule add shop.jobs:app sweep shop.jobs.sweep --every 300 --missed skip
      glassq schedule add shop.jobs:app launch shop.jobs.open --at 2026-12-01T09:00:00+01:00

    Exit codes: 0 added, 2 wrong usage, also when there is a schedule of this name.
    """
    with load_application(target) as app:
        call = _call(app, task, arguments)
        with audited("schedule add", store=app.storage.address, schedule=name, task=task) as entry:
            app.schedules.add(name, call, at=_moment(at), **said)
            entry.result = "added"
        view = next(each for each in app.schedules.all() if each.name == name)
    if as_json:
        print_json(view)
    else:
        click.echo(f"schedule {name} is added; its first slot is {_time(view.next_at)}")
    return 0


def _call(app: Glassq, task: str, arguments: str | None) -> Signature[Any]:
    try:
        given = [] if arguments is None else json.loads(arguments)
    except ValueError as error:
        raise BadOption("--args", f"is JSON, got {arguments!r}: {error}") from None
    if not isinstance(given, list | dict):
        raise BadOption("--args", f"is a list of arguments, or an object of named ones, got {arguments}")
    positional, named = (given, {}) if isinstance(given, list) else ([], given)
    try:
        return signature_of(app.registry.task(task), tuple(positional), named)
    except TypeError as error:
        raise BadOption("--args", f"are not what {task} takes: {error}") from None


def _moment(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise BadOption("--at", f"{text!r} is not a time such as 2026-12-01T09:00:00+01:00") from None


@schedule.command(short_help="Let no further slot of a schedule be enqueued.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] NAME")
@options.store_url
def pause(words: tuple[str, ...], url: str | None) -> int:
    """Let no further slot of a schedule be enqueued. Its jobs that are in the queue are not touched.

    \b
    Examples:
      glassq schedule pause eu-report
    """
    with _changing("schedule pause", words, url) as (schedules, name, entry):
        schedules.pause(name)
        entry.result = "paused"
    click.echo(f"schedule {name} is paused; `glassq schedule resume` lets it go on")
    return 0


@schedule.command(short_help="Undo `pause`.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] NAME")
@options.store_url
def resume(words: tuple[str, ...], url: str | None) -> int:
    """Let a paused schedule go on with its first slot after now. Those before were not missed.

    \b
    Examples:
      glassq schedule resume eu-report
    """
    with _changing("schedule resume", words, url) as (schedules, name, entry):
        schedules.resume(name)
        entry.result = "resumed"
    click.echo(f"schedule {name} goes on")
    return 0


@schedule.command("run-now", short_help="Enqueue the call of a schedule once, now.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] NAME")
@options.store_url
def run_now(words: tuple[str, ...], url: str | None) -> int:
    """Enqueue the call of a schedule once more, at the tail of its lane. Its slots are not touched.

    \b
    Examples:
      glassq schedule run-now eu-report
    """
    with _changing("schedule run-now", words, url) as (schedules, name, entry):
        job = schedules.run_now(name).id
        entry.result = f"enqueued {job}"
    click.echo(f"enqueued {job}")
    return 0


@schedule.command(short_help="Forget a schedule.")
@click.argument("words", nargs=-1, metavar="[MODULE:APP] NAME")
@options.store_url
def remove(words: tuple[str, ...], url: str | None) -> int:
    """Forget a schedule. Its jobs that are in the queue are not touched.

    One that an application declares in code is stored again by the next of its workers that starts: remove
    it there first.

    \b
    Examples:
      glassq schedule remove eu-report
    """
    with _changing("schedule remove", words, url) as (schedules, name, entry):
        schedules.remove(name)
        entry.result = "removed"
    click.echo(f"schedule {name} is removed")
    return 0


@contextmanager
def _changing(what: str, words: Sequence[str], url: str | None) -> Iterator[tuple[Schedules, str, Entry]]:
    """Around a change of the one schedule that is named."""
    choice, (name,) = choose_store(words, url, "NAME")
    with choice.opened() as store, audited(what, store=store.storage.address, schedule=name) as entry:
        yield _of(store), name, entry


def _of(store: OpenStore) -> Schedules:
    """The schedules of a store, whatever application they are of."""
    bus = Bus()
    return Schedules(
        Means(
            storage=lambda: store.storage,
            registry=Registry(bus),
            bus=bus,
            clock=SystemClock(),
            serializer="",
            random=random.random,
        )
    )


def table(found: Sequence[ScheduleView]) -> Table:
    """A row for each."""
    rows = grid(
        names("schedule", [each.name for each in found], _NAME_COLUMNS),
        sentences("due"),
        sentences("calls"),
        sentences("next"),
        numbers("enqueued"),
        numbers("missed"),
    )
    for each in found:
        rows.add_row(
            cells.word(each.name),
            cells.word(each.timetable),
            cells.word(f"{each.task} on {each.queue}"),
            _next(each),
            cells.count(each.slots_enqueued),
            cells.count(each.slots_missed, alarming=True),
        )
    return rows


def _next(each: ScheduleView) -> Text:
    if each.paused:
        return Text("paused", "yellow")
    if each.lag:
        return Text(f"{cells.duration(each.lag)} overdue", "bold red")
    return Text(_time(each.next_at), "" if each.next_at else "dim")


def _time(moment: float | None) -> str:
    return "never again" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%SZ}"
